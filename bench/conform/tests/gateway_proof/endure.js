// Reads and writes until standard input ends; values name their keys. Arguments: port, password, how the one error begins
// that may come.
const Redis = require("ioredis");
const assert = require("node:assert");
const [port, password, unknown] = [Number(process.argv[2]), process.argv[3] || undefined, process.argv[4]];
let ended = false;
process.stdin.on("end", () => (ended = true)).resume();

async function main() {
  const r = new Redis({ port, password, host: "127.0.0.1", maxRetriesPerRequest: 0, retryStrategy: null });
  let number = 0;
  while (!ended) {
    number += 1;
    const keys = Array.from({ length: 32 }, (_, i) => `js:${i}`);
    // All in flight at once.
    const replies = await Promise.all(keys.flatMap((k) => [r.set(k, `${k}=${number}`), r.get(k)]));
    keys.forEach((k, i) => {
      assert.equal(replies[2 * i], "OK");
      const got = replies[2 * i + 1];
      assert(got === null || got.startsWith(k + "="), got);
    });
    const values = await r.mget(keys);
    values.forEach((v, i) => assert(v === null || v.startsWith(keys[i] + "="), v));
    try {
      assert((await r.incr(`jscount:${number % 11}`)) > 0);
    } catch (error) {
      assert(("-" + error.message).startsWith(unknown), error.message);
    }
  }
  assert(number > 10);
  r.disconnect();
  console.log("done");
}
main().catch((error) => {
  console.log(error);
  process.exit(1);
});
