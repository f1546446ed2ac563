# Reads and writes until standard input ends; values name their keys. Arguments: port, password, how the one error begins
# that may come.
import sys, threading, redis

port, password, unknown = int(sys.argv[1]), sys.argv[2] or None, sys.argv[3]
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
# A failover of stock nodes may take longer than the five seconds that it waits by itself.
r = redis.Redis(port=port, password=password, decode_responses=True, retry=None, socket_timeout=60)
number = 0
while not ended.is_set():
    number += 1
    key, pair = f"py:{number % 97}", f"{{py:{number % 97}}}"
    value = f"{key}={number}"
    assert r.set(key, value)
    got = r.get(key)
    assert got is None or got.startswith(key + "="), got
    pipe = r.pipeline(transaction=False)
    for i in range(20):
        pipe.set(f"pypipe:{i}", f"pypipe:{i}={number}")
        pipe.get(f"pypipe:{i}")
    replies = pipe.execute()
    for i in range(20):
        assert replies[2 * i] is True, replies
        got = replies[2 * i + 1]
        assert got is None or got.startswith(f"pypipe:{i}="), replies
    values = r.mget([f"pypipe:{i}" for i in range(20)])
    assert all(v is None or v.startswith(f"pypipe:{i}=") for i, v in enumerate(values)), values
    try:
        assert r.incr(f"pycount:{number % 11}") > 0
        with r.pipeline(transaction=True) as pipe:
            pipe.set(pair + "a", value).set(pair + "b", value).get(pair + "a")
            assert pipe.execute()[2].startswith(key + "=")
    except redis.ResponseError as error:
        assert str(error).startswith(unknown[1:]), error
assert number > 10, number
print("done")
