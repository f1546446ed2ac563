// What a plain client of Node.js does with a gateway that hides a cluster; port and password are arguments.
const Redis = require("ioredis");
const assert = require("node:assert");
const [port, password] = [Number(process.argv[2]), process.argv[3] || undefined];
const connect = () => new Redis({ port, password, host: "127.0.0.1", maxRetriesPerRequest: 0 });

async function main() {
  const r = connect();
  assert.equal(await r.ping(), "PONG");
  await r.flushall();
  assert.equal(await r.set("a", "1", "EX", 100), "OK");
  assert.equal(await r.get("a"), "1");
  assert.equal(await r.incrby("counter", 5), 5);
  const names = Array.from({ length: 300 }, (_, i) => `key:${i}`);
  assert.equal(await r.mset(Object.fromEntries(names.map((n) => [n, n]))), "OK");
  assert.deepEqual(await r.mget(names), names);
  assert.equal(await r.del("key:1", "key:2", "nosuch"), 2);
  assert.equal(await r.dbsize(), 300);
  const seen = new Set();
  for await (const keys of r.scanStream({ match: "key:*", count: 50 })) keys.forEach((k) => seen.add(k));
  assert.equal(seen.size, 298);
  // Sent at once, without waiting: the replies belong to their requests.
  const values = await Promise.all(names.slice(10).map((n) => r.get(n)));
  assert.deepEqual(values, names.slice(10));
  const piped = await r.pipeline(names.slice(10).map((n) => ["get", n])).exec();
  assert.deepEqual(piped.map(([, v]) => v), names.slice(10));
  const done = await r.multi().set("{t}a", "1").incr("{t}b").get("{t}a").exec();
  assert.deepEqual(done.map(([, v]) => v), ["OK", 1, "1"]);
  await assert.rejects(r.rename("key:10", "key:11"), /slot/);
  const waiter = connect();
  const wait = waiter.blpop("list:x", 30);
  await r.rpush("list:x", "job");
  assert.deepEqual(await wait, ["list:x", "job"]);
  const listener = connect();
  await listener.subscribe("news");
  const heard = new Promise((resolve) => listener.on("message", (channel, text) => resolve([channel, text])));
  await r.publish("news", "hello");
  assert.deepEqual(await heard, ["news", "hello"]);
  [r, waiter, listener].forEach((c) => c.disconnect());
  console.log("done");
}
main().catch((error) => {
  console.log(error);
  process.exit(1);
});
