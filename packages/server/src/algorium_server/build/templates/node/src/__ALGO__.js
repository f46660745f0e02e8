// To call other algorithms and reach data; no key is needed here.
const client = require('algorithmia').client();

/*
 * Called once for every request. Text and JSON arrive as values, binary input as a Buffer.
 * Call cb(error) or cb(null, result), or return a promise of the result.
 */
exports.apply = function (input, cb) {
  cb(null, 'Hello ' + input);
};
