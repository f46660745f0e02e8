const assert = require('node:assert');
const { test } = require('node:test');
const { promisify } = require('node:util');
const apply = promisify(require('../src/HelloNode.js').apply);

test('text is greeted', async () => {
  assert.strictEqual(await apply('Jane'), 'Hello Jane');
});

test('a name is greeted', async () => {
  assert.deepStrictEqual(await apply({ name: 'Jane' }), { greeting: 'Hello Jane' });
});

test('bytes come back', async () => {
  assert.deepStrictEqual(await apply(Buffer.from([0, 255])), Buffer.from([0, 255]));
});

test('everything else is an error', async () => {
  for (const input of [null, 5, [], {}]) {
    await assert.rejects(apply(input), { error_type: 'InputError' });
  }
});
