//! The text of `--help`.

/// All options; `arguments.rs` reads them.
pub(crate) const TEXT: &str = "\
slotmesh-bench: a load generator for servers of the Redis protocol

USAGE
  slotmesh-bench [ENDPOINT] [OPTIONS]            load one server (default 127.0.0.1:6379)
  slotmesh-bench --compare A B ... [OPTIONS]     load servers in interleaved rounds, print ratios
  slotmesh-bench --echo-server PORT [OPTIONS]    answer this program's GET and SET without a store:
                                                 the physical limit
  slotmesh-bench suite [OPTIONS]                 measure bench/RESULTS.md

  ENDPOINT is [name=]host:port[,pid=PID], or a unix socket's path for host:port. With the pid of the
  server's process its CPU time per request is reported.

LOAD
  --cluster             the endpoint is a node of a cluster: connections go round the masters that CLUSTER SLOTS
                        names, each request to the master of its key's slot. A request that is redirected (MOVED)
                        is sent where it belongs, counted, and its latency goes on; ASK is an error
  --clients N           connections [50]
  --pipeline N          requests that a connection sends at once [1]
  --threads N           load threads, each with its own data loop [1]
  --cpus LIST           CPUs to pin them to, such as 1 or 2-5,7 [not pinned]
  --requests N          requests in all [1M]
  --seconds S           run for a time instead
  --warmup S            seconds of load before anything is measured [0.1]
  --rate R              open loop: R requests/s in all, at a constant schedule, whatever the server does;
                        latency counts from when a request should have been sent. Without it a connection
                        sends its next batch when it has the replies of the last one (closed loop)
  --mix LIST            commands with weights [get]: get:9,set:1; of get set setex incr append setbit
                        getrange expire mget:KEYS del exists lpush rpop lrange:ELEMENTS multi:SETS multi-any:SETS ping echo (mget:10:2 is
                        an mget of ten keys with weight 2; lrange is lrange:100, multi is multi:10).
                        A multi is MULTI, SETs of keys with one hash tag, EXEC, and counts as one request;
                        the keys of a multi-any have nothing in common
  --keys N              different keys [1M]
  --lists N             different lists of lpush, rpop and lrange [1000]; with as many pushes as pops in
                        the mix they stay as long as they are
  --key-bytes N         their length [16]
  --value-bytes N       length of values [32]
  --zipf S              choose keys by Zipf's law with exponent S [evenly]
  --preload             set every key once before the run; fill every list anew if the mix has such commands
  --list-elements N     elements of each list that is filled [300]
  --seed N              seed of all chance [1]
  --spin                look for replies a moment before sleeping

  Numbers may end in k, M or G (thousands). Error replies, unasked replies and missing replies fail the run.

OUTPUT
  --json FILE           figures as JSON
  --svg FILE            latency by percentile as a plot

COMPARISON
  --rounds N            rounds; in each, every server runs once, in a shuffled order [9]
  --baseline NAME       the server that ratios are to [the first]

ECHO SERVER
  --cpu N               CPU to pin it to; --key-bytes and --value-bytes as those of the load

SUITE
  --out FILE            where the tables go [bench/RESULTS.md]
  --only PARTS          of speed,lists,commands,snapshots,failover,sync,memory,shards,cluster,durability,saves,gateway,tools [all];
                        the other sections of the file stay
  --quick               a smoke run of about a minute
  --redis PATH          [redis-server]
  --slotmesh PATH       [beside this program]
  --server-cpu N        CPU of the servers [0]
  --cpus LIST           CPUs of the load [1]

  --help, --version

Exit code: 0, 1 if a run failed, 2 for wrong arguments.
";
