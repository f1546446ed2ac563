# What a plain client does with a gateway that hides a cluster; port and password are arguments.
import sys, threading, redis

port, password = int(sys.argv[1]), sys.argv[2] or None


def connect(protocol=2):
    return redis.Redis(port=port, password=password, protocol=protocol, decode_responses=True)


for protocol in (2, 3):
    r = connect(protocol)
    assert r.ping() and r.flushall() and r.dbsize() == 0
    assert r.set("a", "1", ex=100) and r.get("a") == "1" and 90 < r.ttl("a") <= 100
    assert r.set("a", "2", nx=True) is None and r.set("a", "3", get=True) == "1"
    assert r.incr("counter", 5) == 5 and r.decr("counter") == 4 and r.incrbyfloat("float", 1.5) == 1.5
    # Over all shards.
    names = [f"key:{i}" for i in range(300)]
    assert r.mset({name: name for name in names}) and r.mget(names) == names
    assert r.mget("key:7", "nosuch", "key:99") == ["key:7", None, "key:99"]
    assert r.exists("key:1", "key:2", "nosuch") == 2 and r.delete("key:1", "key:2") == 2 and r.unlink("key:3") == 1
    assert r.touch("key:4", "key:5", "key:1") == 2
    assert sorted(r.scan_iter(match="key:9*")) == ["key:9"] + [f"key:{i}" for i in range(90, 100)]
    assert len(r.keys("key:*")) == 297 and r.dbsize() == 300 and r.randomkey() is not None
    assert sorted(r.scan_iter(count=7)) == sorted(r.keys())
    # Lists, moved within a slot.
    assert r.rpush("{jobs}new", *range(5)) == 5 and r.lrange("{jobs}new", 0, -1) == ["0", "1", "2", "3", "4"]
    assert r.lmove("{jobs}new", "{jobs}busy", "LEFT", "RIGHT") == "0" and r.lrem("{jobs}busy", 1, "0") == 1
    assert r.rename("{jobs}new", "{jobs}old") and r.lpop("{jobs}old", 2) == ["1", "2"]
    # Pipelines: the replies in their order.
    pipe = r.pipeline(transaction=False)
    for i in range(5000):
        pipe.incr(f"pipe:{i % 13}")
    assert pipe.execute() == [i // 13 + 1 for i in range(5000)]
    # Transactions on one slot, with WATCH.
    with r.pipeline(transaction=True) as pipe:
        pipe.set("{t}a", 1).incr("{t}b").rpush("{t}list", 1, 2, 3).lrange("{t}list", 0, -1).get("{t}nosuch")
        assert pipe.execute() == [True, 1, 3, ["1", "2", "3"], None]
    r.set("{t}counter", 0)

    def add(count):
        own = connect(protocol)
        for _ in range(count):
            own.transaction(lambda pipe: (lambda value: (pipe.multi(), pipe.set("{t}counter", value + 1)))(
                int(pipe.get("{t}counter"))), "{t}counter")

    threads = [threading.Thread(target=add, args=(25,)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert r.get("{t}counter") == "100"
    # What cannot be done across hosts says so as Redis does.
    for impossible in (lambda: r.rename("key:10", "key:11"), lambda: r.lmove("key:10", "key:11", "LEFT", "RIGHT")):
        try:
            impossible()
            assert False
        except redis.RedisError as error:
            assert "slot" in str(error), error
    # Waiting.
    waiter = connect(protocol)
    found = []
    threads = [threading.Thread(target=lambda key=key: found.append(connect(protocol).blpop(key, timeout=30)))
               for key in ("list:a", "list:b", "list:c", "list:d")]
    [thread.start() for thread in threads]
    for key in ("list:a", "list:b", "list:c", "list:d"):
        assert r.rpush(key, f"for {key}") >= 1
    [thread.join() for thread in threads]
    assert sorted(map(list, found)) == [[f"list:{x}", f"for list:{x}"] for x in "abcd"], found
    assert waiter.blpop("nosuch", timeout=0.05) is None
    # Messages.
    listener = connect(protocol).pubsub(ignore_subscribe_messages=True)
    listener.subscribe("news")
    listener.psubscribe("ne*")
    while len([c for c in r.pubsub_channels()]) < 1:
        pass
    r.publish("news", "hello")
    heard = []
    while len(heard) < 2:
        message = listener.get_message(timeout=30)
        assert message is None or message["data"] == "hello", message
        heard += [message] if message else []
    listener.close()
    # What is said of the gateway's process.
    assert r.info("server")["redis_version"].startswith("7.2") and r.config_get("maxclients") == {"maxclients": "10000"}
    r.client_setname("python")
    assert r.client_getname() == "python" and any(c["name"] == "python" for c in r.client_list())
    try:
        r.execute_command("GET")
        assert False
    except redis.ResponseError as error:
        assert "wrong number of arguments" in str(error)
print("done")
