/*
 * Text and JSON arrive as values, binary input as a Buffer; what goes to the callback is sent back
 * the same way.
 */
exports.apply = function (input, cb) {
  if (Buffer.isBuffer(input)) {
    return cb(null, input);
  }
  if (typeof input === 'string') {
    return cb(null, 'Hello ' + input);
  }
  if (input === null || typeof input.name !== 'string') {
    return cb(Object.assign(new Error('text, bytes or an object with a name is expected'), {
      error_type: 'InputError',
    }));
  }
  cb(null, { greeting: 'Hello ' + input.name });
};
