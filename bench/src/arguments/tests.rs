use super::*;

fn parsed(line: &str) -> Result<Invocation, ArgumentError> {
    parse(line.split_whitespace().map(str::to_owned))
}

fn single(line: &str) -> Single {
    match parsed(line) {
        Ok(Invocation::Single(single)) => single,
        other => panic!("{line}: {other:?}"),
    }
}

fn problem(line: &str) -> String {
    parsed(line).expect_err(line).to_string()
}

#[test]
fn without_arguments_it_loads_the_default_port() {
    let single = single("");
    assert_eq!(single.endpoint.name, "127.0.0.1:6379");
    assert_eq!(single.load, default_load());
}

#[test]
fn options_have_values_behind_a_space_or_an_equals_sign() {
    let single = single("127.0.0.1:7000 --clients=500 --pipeline 8 --keys 2M --seconds 1.5 --zipf 0.99 --cpus 1,3-4");
    assert_eq!((single.load.clients, single.load.pipeline, single.load.keys), (500, 8, 2_000_000));
    assert_eq!(single.load.extent, Extent::Seconds(1.5));
    assert_eq!(single.load.distribution, Distribution::Zipf(0.99));
    assert_eq!(single.load.cpus, [1, 3, 4]);
    assert!(self::single("--cluster --mix multi,mget:1").load.is_cluster);
    let load = self::single("--mix lpush,rpop --lists 2k --list-elements 50").load;
    assert_eq!((load.lists, load.list_elements), (2000, 50));
}

#[test]
fn comparisons_take_the_endpoints_that_follow() {
    let line = "--rounds 5 --compare a=127.0.0.1:1,pid=3 b=127.0.0.1:2 --baseline b --preload";
    let Ok(Invocation::Compare(comparison)) = parsed(line) else { panic!("{line}") };
    assert_eq!((comparison.endpoints.len(), comparison.baseline, comparison.rounds), (2, 1, 5));
    assert!(comparison.preload);
    assert_eq!(comparison.endpoints[0].pids, [3]);
}

#[test]
fn the_other_modes_have_their_options() {
    let Ok(Invocation::Echo(echo)) = parsed("--echo-server 7001 --cpu 0 --value-bytes 5") else { panic!("echo") };
    assert_eq!((echo.port, echo.cpu, echo.sizes.value_bytes), (7001, Some(0), 5));
    let Ok(Invocation::Suite(suite)) = parsed("suite") else { panic!("suite") };
    assert_eq!(suite.parts, Part::ALL);
    let Ok(Invocation::Suite(suite)) = parsed("suite --quick --only memory,speed --cpus 3") else { panic!("suite") };
    assert_eq!(suite.parts, [Part::Memory, Part::Speed]);
    assert_eq!((suite.quick, suite.load_cpus), (true, vec![3]));
    assert_eq!(parsed("--clients 3 --help"), Ok(Invocation::Help));
}

#[test]
fn wrong_arguments_are_named() {
    for (line, expected) in [
        ("--client 3", "unknown argument --client"),
        ("--clients", "--clients wants a value"),
        ("--clients 0", "--clients wants a number from 1 to 100k, not '0'"),
        ("--rate -1", "--rate wants requests per second, not '-1'"),
        ("--seconds nan", "--seconds wants a time in seconds, not 'nan'"),
        ("--keys 99999999999G", "--keys wants a number of keys, not '99999999999G'"),
        ("--mix flushall", "--mix wants commands with weights, as get:9,set:1, not 'flushall'"),
        ("--cpus 3-1", "--cpus wants CPUs such as 0-3,5, not '3-1'"),
        ("--echo-server 70000", "--echo-server wants a port, not '70000'"),
        ("nowhere", "an endpoint wants [name=]host:port[,pid=PID] or a path, not 'nowhere'"),
        ("--compare 127.0.0.1:1", "--compare wants at least two endpoints"),
        ("--compare a=127.0.0.1:1 a=127.0.0.1:2", "endpoints to compare want different names (name=host:port)"),
        ("--compare 127.0.0.1:1 127.0.0.1:2 --baseline c", "--baseline names none of the endpoints"),
        ("127.0.0.1:1 127.0.0.1:2", "several endpoints want --compare"),
        ("--requests 1 --seconds 1", "--requests and --seconds exclude each other"),
        ("--threads 3 --clients 2", "--threads cannot be more than --clients"),
        ("--key-bytes 9 --keys 1M", "--key-bytes is too small for so many --keys"),
        ("--mix rpop --key-bytes 6 --keys 10", "--key-bytes is too small for so many --lists"),
        (
            "--cluster --mix get,mget:2",
            "--cluster wants commands whose keys are of one slot: no mget of several, no multi-any",
        ),
        ("--lists 0", "--lists wants a number of lists, not '0'"),
        ("--list-elements 100001", "--list-elements wants a number from 1 to 100k, not '100001'"),
        ("suite --echo-server 1", "suite, --compare and --echo-server exclude each other"),
        (
            "suite --only speed,size",
            "--only wants some of speed,lists,commands,snapshots,failover,sync,memory,shards,cluster,durability,saves,gateway,tools, not 'speed,size'",
        ),
    ] {
        assert_eq!(problem(line), expected);
    }
}

/// Every option of the help is read, and every option that is read stands in the help.
#[test]
fn help_and_parser_agree() {
    let help = crate::help::TEXT;
    for line in help.lines() {
        for word in line.split_whitespace().filter(|word| word.starts_with("--")) {
            let name = word.trim_end_matches([',', ';', ')']);
            let is_read = Options::wants_value(name) || Options::default().take_flag(name) || name == "--compare";
            assert!(is_read, "{name} stands in the help but is not read");
        }
    }
}
