const assert = require('node:assert');
const { test } = require('node:test');
const { apply } = require('../src/__ALGO__.js');

test('it says hello', (_, done) => {
  apply('Jane', (error, result) => {
    assert.ifError(error);
    assert.strictEqual(result, 'Hello Jane');
    done();
  });
});
