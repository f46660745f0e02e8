'use strict';
/*
 * The pipe of Node.js: `node node.js ENTRY`, or `node node.js --check ENTRY` to only load it.
 *
 * ENTRY exports apply(input, callback). The first call of callback(error, result) is the answer.
 * Beyond what the old service knew, apply may also return a promise, and an apply with a single
 * parameter may simply return its result. ENTRY may be a CommonJS or an ECMAScript module.
 *
 * Source: runtime specification, "Worker protocol".
 */
const fs = require('fs');
const path = require('path');
const { pathToFileURL } = require('url');

const FIFO = process.env.ALGORIUM_FIFO || '/tmp/algoout';
const NEWLINE = 10;
const NO_TRACE = '[None]'; // what the old service said of errors that are no Error

async function load(entry) {
  const file = path.resolve(entry);
  let loaded;
  try {
    loaded = require(file);
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM' && error.code !== 'ERR_REQUIRE_ASYNC_MODULE') {
      throw error;
    }
    loaded = await import(pathToFileURL(file).href);
  }
  for (const candidate of [loaded, loaded.default]) {
    if (candidate && typeof candidate.apply === 'function' && Object.hasOwn(candidate, 'apply')) {
      return candidate;
    }
  }
  throw new Error(`${entry} exports no function apply(input, callback)`);
}

function decode(line) {
  const request = JSON.parse(line);
  switch (request.content_type) {
    case 'text':
    case 'json':
      return request.data;
    case 'binary':
      return Buffer.from(request.data, 'base64');
    default:
      throw new Error(`Invalid content_type: ${request.content_type}`);
  }
}

function encode(result) {
  if (result instanceof Uint8Array) {
    const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
    return { result: bytes.toString('base64'), metadata: { content_type: 'binary' } };
  }
  const type = typeof result === 'string' ? 'text' : 'json';
  return { result: result === undefined ? null : result, metadata: { content_type: type } };
}

function describe(error) {
  const described = { message: String(error), stacktrace: NO_TRACE };
  if (error instanceof Error) {
    const lines = String(error.stack).split('\n');
    described.stacktrace = lines.filter((line) => !line.includes(__filename)).join('\n');
  }
  const type = error.error_type === undefined ? error.errorType : error.error_type;
  if (typeof type === 'string') {
    described.error_type = type;
  }
  return { error: described };
}

function call(algorithm, input) {
  return new Promise((resolve, reject) => {
    const callback = (error, result) => (error ? reject(error) : resolve(result));
    const returned = algorithm.apply(input, callback);
    const isPromise = returned && typeof returned.then === 'function';
    if (isPromise || algorithm.apply.length === 1) {
      resolve(returned);
    } else if (returned !== undefined && algorithm.apply.length === 0) {
      resolve(returned);
    }
  });
}

async function answer(algorithm, line) {
  let response;
  try {
    response = JSON.stringify(encode(await call(algorithm, decode(line))));
  } catch (error) {
    response = JSON.stringify(describe(error === undefined ? new Error('undefined') : error));
  }
  return Buffer.from(response + '\n');
}

function write(fd, data) {
  for (let at = 0; at < data.length; ) {
    at += fs.writeSync(fd, data, at);
  }
}

function serve(algorithm) {
  const fifo = fs.openSync(FIFO, 'a');
  let pieces = [];
  let isBusy = false;
  let isOver = false;
  const leaveIfDone = () => isOver && !isBusy && process.exit(0);

  function take(line) {
    if (isBusy || line.length === 0) {
      return; // one at a time; the platform never sends a second one
    }
    isBusy = true;
    answer(algorithm, line).then((response) => {
      write(fifo, response);
      isBusy = false;
      leaveIfDone();
    });
  }

  process.stdin.on('data', (data) => {
    for (let end; (end = data.indexOf(NEWLINE)) >= 0; data = data.subarray(end + 1)) {
      pieces.push(data.subarray(0, end));
      const line = Buffer.concat(pieces).toString();
      pieces = [];
      take(line);
    }
    pieces.push(data);
  });
  process.stdin.on('end', () => {
    isOver = true;
    leaveIfDone();
  });
  process.stdout.write('PIPE_INIT_COMPLETE\n');
}

const isCheck = process.argv[2] === '--check';
const entry = process.argv[isCheck ? 3 : 2];
process.argv.splice(1, process.argv.length, path.resolve(entry)); // what the author would expect
load(entry).then(
  (algorithm) => (isCheck ? process.exit(0) : serve(algorithm)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
