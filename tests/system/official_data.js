// Every data operation of the old service's client for Node.js, as its users write them.
// Arguments: the package, the key, the server, a file, the collection of many files, their number.
const assert = require("assert");
const fs = require("fs");
const [where, key, api, local, crowd, count] = process.argv.slice(2);
const algorithmia = require(where);
const client = algorithmia(key, api);

// The client's callbacks get a body, or whether something is there; never an exception.
const asked = (work) => new Promise((resolve) => work((...got) => resolve(got)));
const names = ["plain.txt", "two%20words.txt", "%D0%9F%D0%B0%D1%80.png", "100%25.txt", "a+b.txt"];
const bytes = Buffer.from([...Array(65536).keys()].map((number) => number % 256));

async function listed(directory) {
  const found = [];
  const items = directory.iterator();
  for (;;) {
    const [error, item] = await asked((done) => items.next(done));
    assert.ifError(error);
    if (item === undefined) return found;
    found.push(item);
  }
}

async function main() {
  const directory = client.dir("data://.my/node");
  assert.strictEqual((await asked((done) => directory.exists(done)))[0], false);
  let [answer] = await asked((done) => directory.create(done));
  assert.deepStrictEqual(answer, { result: "data://.my/node" });
  [answer] = await asked((done) => directory.create(done));
  assert.strictEqual(answer.error.message, "directory already exists");
  assert.strictEqual((await asked((done) => directory.exists(done)))[0], true);
  assert((await listed(client.dir("data://.my"))).some((one) => one.basename() === "node"));

  for (const name of names) {
    const file = directory.file(name);
    assert.strictEqual((await asked((done) => file.exists(done)))[0], false);
    [answer] = await asked((done) => file.put(bytes, done));
    assert.strictEqual(answer.result, `data://.my/node/${decodeURIComponent(name)}`);
    const [error, back] = await asked((done) => file.get(done));
    assert.ifError(error);
    assert(bytes.equals(back));
    assert.strictEqual((await asked((done) => file.exists(done)))[0], true);
  }
  const found = await listed(directory);
  assert.deepStrictEqual(
    found.map((one) => one.basename()).sort(),
    names.map(decodeURIComponent).sort(),
  );
  assert(found.every((one) => one.size === bytes.length && !isNaN(Date.parse(one.last_modified))));

  const file = directory.file("values");
  await asked((done) => file.putJson(JSON.stringify({ a: [1, null, "ü"] }), done));
  assert.deepStrictEqual((await asked((done) => file.getJson(done)))[0], { a: [1, null, "ü"] });
  await asked((done) => file.putString("text ü", done));
  assert.strictEqual((await asked((done) => file.getString(done)))[0], "text ü");
  [answer] = await asked((done) => directory.putFile(local, done));
  assert(answer.result.endsWith("/local.bin"));
  const [, copy] = await asked((done) => directory.file("local.bin").get(done));
  assert(fs.readFileSync(local).equals(copy));

  [answer] = await asked((done) => file.delete(done));
  assert.deepStrictEqual(answer, { result: { deleted: 1 } });
  [answer] = await asked((done) => file.delete(done));
  assert.strictEqual(answer.error.message, "path not found");
  const [error] = await asked((done) => file.get(done));
  assert.strictEqual(error.message, "path not found");
  [answer] = await asked((done) => directory.delete(false, done));
  assert.strictEqual(answer.error.message, "directory not empty");
  [answer] = await asked((done) => directory.delete(true, done));
  assert.deepStrictEqual(answer, { result: { deleted: names.length + 2 } });
  assert.strictEqual((await asked((done) => directory.exists(done)))[0], false);

  const many = (await listed(client.dir(crowd))).map((one) => one.basename());
  assert.strictEqual(many.length, Number(count));
  assert.strictEqual(new Set(many).size, Number(count));
  console.log("done");
}

process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
main();
