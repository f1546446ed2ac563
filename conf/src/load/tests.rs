use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Files, Loaded, Reader, load};
use crate::command_line::Invocation;
use crate::declaration::{Change, Kind};
use crate::directive;
use crate::error::{ConfError, Reason};
use crate::settings::Settings;

/// Files by path, `-` for standard input.
fn reader(files: &[(&str, &str)]) -> Reader {
    let files: HashMap<String, String> =
        files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    Arc::new(move |path: &Path| {
        let found = files.get(path.to_str().unwrap_or_default());
        found.cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    })
}

fn run(files: &[(&str, &str)], environment: &[(&str, &str)], arguments: &[&str]) -> Result<Loaded, ConfError> {
    let line = match Invocation::parse(arguments.iter().map(Into::into))? {
        Invocation::Serve(line) | Invocation::CheckConfig(line) => line,
        other => panic!("{other:?} is not a run"),
    };
    let pair = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    load(&line, environment.iter().map(pair), &reader(files))
}

fn file(text: &str) -> Result<Loaded, ConfError> {
    run(&[("a.conf", text)], &[], &["a.conf"])
}

fn value(loaded: &Loaded, name: &str) -> String {
    loaded.settings.get(&[name])[0].1.clone()
}

fn message(result: Result<Loaded, ConfError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_file_is_read_as_redis_reads_it() {
    let loaded = file(
        "# comment\n\n  \t\r\nPORT 7000\r\nport 7001\n  maxclients   \"12\"  \n\
         requirepass 'it''s'\n",
    );
    // A quote that goes on behind its end is unbalanced.
    assert!(message(loaded).contains("Unbalanced quotes"));
    let loaded = file(
        "# comment\n\n  \t\r\nPORT 7000\r\nport 7001\n  maxclients   \"12\"  \n\
         requirepass \"a b\\x41\\\"\" \nbind \"10.0.0.1 ::1\"\nlogfile \"\"\nmaxmemory 1gb\n\
         save 900 1\nsave 60 5 30 6\nclient-output-buffer-limit normal 1 2 3\n\
         client-output-buffer-limit slave 4 5 6 normal 7 8 9\nslave-read-only no\n\
         lua-replicate-commands yes\nunixsocket /tmp/a#b",
    )
    .unwrap();
    for (name, expected) in [
        ("port", "7001"),
        ("maxclients", "12"),
        ("requirepass", "a bA\""),
        ("bind", "10.0.0.1 ::1"),
        ("maxmemory", "1073741824"),
        ("save", "900 1 60 5 30 6"),
        ("client-output-buffer-limit", "normal 7 8 9 slave 4 5 6 pubsub 33554432 8388608 60"),
        ("replica-read-only", "no"),
        ("unixsocket", "/tmp/a#b"),
    ] {
        assert_eq!(value(&loaded, name), expected, "{name}");
    }
}

#[test]
fn save_lines_replace_the_default_and_an_empty_one_takes_all_back() {
    assert_eq!(value(&file("port 1").unwrap(), "save"), "3600 1 300 100 60 10000");
    assert_eq!(value(&file("save \"\"").unwrap(), "save"), "");
    assert_eq!(value(&file("save 900 1\nsave \"\"").unwrap(), "save"), "");
    assert_eq!(value(&file("save \"\"\nsave 900 1").unwrap(), "save"), "900 1");
}

#[test]
fn later_sources_win() {
    let files = [
        ("a.conf", "port 1\nhz 1\ntimeout 1\nmaxclients 1\nclient-output-buffer-limit normal 1 1 1"),
        ("-", "hz 2\ntimeout 2\nmaxclients 2"),
    ];
    let environment = [
        ("SLOTMESH_TIMEOUT", "3"),
        ("SLOTMESH_MAXCLIENTS", "3"),
        ("SLOTMESH_CLIENT_OUTPUT_BUFFER_LIMIT", "pubsub 2 2 2"),
        ("PORT", "9"),
    ];
    let arguments = ["a.conf", "--maxclients", "4", "--client-output-buffer-limit", "replica 3 3 3", "-"];
    let loaded = run(&files, &environment, &arguments).unwrap();
    for (name, expected) in [
        ("port", "1"),
        ("hz", "2"),
        ("timeout", "3"),
        ("maxclients", "4"),
        ("client-output-buffer-limit", "normal 1 1 1 slave 3 3 3 pubsub 2 2 2"),
    ] {
        assert_eq!(value(&loaded, name), expected, "{name}");
    }
}

#[test]
fn the_environment_takes_single_values_as_they_are() {
    let environment = [
        ("SLOTMESH_REQUIREPASS", "a \"b"),
        ("SLOTMESH_BIND", "10.0.0.1 -::1"),
        ("SLOTMESH_SERVER_CPULIST", "0-1"),
        ("slotmesh_tcp_backlog", "9"),
        ("SLOTMESH_SAVE", ""),
    ];
    let loaded = run(&[], &environment, &[]).unwrap();
    assert_eq!(value(&loaded, "requirepass"), "a \"b");
    assert_eq!(loaded.settings.value(directive::BIND), ["10.0.0.1", "-::1"]);
    assert_eq!(loaded.settings.value(directive::SERVER_CPULIST), [0, 1]);
    assert_eq!(loaded.settings.value(directive::TCP_BACKLOG), 9);
    assert_eq!(value(&loaded, "save"), "");
}

#[test]
fn a_wrong_line_is_named_with_its_reason() {
    for (line, text) in [
        ("maxclients abc", "'maxclients abc': argument couldn't be parsed into an integer"),
        ("MaxClients  1 2", "'MaxClients 1 2': wrong number of arguments"),
        ("port", "'port': wrong number of arguments"),
        ("port 70000", "'port 70000': argument must be between 0 and 65535 inclusive"),
        ("protected-mode 1", "'protected-mode 1': argument must be 'yes' or 'no'"),
        ("maxmemory 1x", "'maxmemory 1x': argument must be a memory value"),
        ("unixsocketperm 888", "'unixsocketperm 888': argument couldn't be parsed as an octal number"),
        ("unixsocketperm 1000", "'unixsocketperm 1000': argument must be between 0 and 777 inclusive"),
        ("save 1", "'save 1': Invalid save parameters"),
        ("dbfilename a/b", "'dbfilename a/b': dbfilename can't be a path, just a filename"),
        ("server_cpulist x", "'server_cpulist x': argument must be a list of CPUs such as 0-3,8 or 0-7:2"),
        ("logfile \"a", "'logfile \"a': Unbalanced quotes in configuration line"),
        ("nonsense 1", "'nonsense': Bad directive or wrong number of arguments"),
        ("gateway-port 65536", "'gateway-port 65536': argument must be between 0 and 65535 inclusive"),
        ("aclfile u", "'aclfile u': not supported yet"),
        ("slaveof a b", "'slaveof a b': Invalid master port"),
        ("tls-port 1", "'tls-port 1': not supported yet"),
        ("loadmodule /x.so", "'loadmodule /x.so': not supported yet"),
        ("user default on nopass ~* &* +@all -get", "'user (secret)': not supported yet"),
        ("user other on nopass", "'user (secret)': not supported yet"),
        ("rename-command A B", "'rename-command A B': not supported yet"),
        ("graph.threads 2", "'graph.threads': not supported yet"),
        ("include b.conf", "'include b.conf': can't open the included file: entity not found"),
    ] {
        assert_eq!(message(file(&format!("hz 10\n\n{line}\n"))), format!("a.conf:3: {text}"));
    }
}

/// Every row whose values have bounds: one beyond each end is refused with the place and the bounds.
#[test]
fn a_value_out_of_its_bounds_is_refused_with_its_place_and_the_bounds() {
    let mut bounded = 0;
    for row in directive::TABLE.iter().filter(|row| row.answers_config()) {
        let beyond: Vec<(String, String)> = match row.kind {
            Kind::Integer { min, max } => [i128::from(min) - 1, i128::from(max) + 1]
                .into_iter()
                .map(|number| {
                    let bounds = format!("argument must be between {min} and {max} inclusive");
                    let fits = i64::try_from(number).is_ok();
                    (number.to_string(), if fits { bounds } else { Reason::NotInteger.to_string() })
                })
                .collect(),
            Kind::Memory { min, max } => {
                let bounds = format!("argument must be between {min} and {max} inclusive");
                let below = min.checked_sub(1).map(|bytes| (bytes.to_string(), bounds.clone()));
                let above = max.checked_add(1).map(|bytes| (bytes.to_string(), bounds));
                let unreadable = ("-1".to_owned(), Reason::NotMemory.to_string());
                below.into_iter().chain(above).chain([unreadable]).collect()
            }
            Kind::MemoryOrPercent => vec![("101%".to_owned(), Reason::PercentTooLarge.to_string())],
            Kind::Octal { max } => {
                vec![(format!("{:o}", max + 1), format!("argument must be between 0 and {max:o} inclusive"))]
            }
            Kind::Boolean => vec![("maybe".to_owned(), Reason::NotBoolean.to_string())],
            Kind::Choice(names) | Kind::Flags(names) => {
                vec![("neither".to_owned(), format!("argument(s) must be one of the following: {}", names.join(", ")))]
            }
            Kind::Template => vec![("{pid}".to_owned(), Reason::BadTemplate.to_string())],
            Kind::FileName { .. } => vec![("a/b".to_owned(), "just a".to_owned())],
            Kind::HostName => vec![("x".repeat(256), Reason::HostNameTooLong.to_string())],
            Kind::CpuList => vec![("0-1024".to_owned(), Reason::NotCpuList.to_string())],
            Kind::Words { max } => vec![("a ".repeat(max + 1), Reason::TooManyAddresses.to_string())],
            Kind::SavePoints => vec![("0 1".to_owned(), Reason::BadSavePoints.to_string())],
            Kind::OutputLimits => vec![("normal 1 -1 1".to_owned(), Reason::OutputLimitNumber.to_string())],
            Kind::Percentiles => vec![("50 101".to_owned(), Reason::PercentilesOutOfBounds.to_string())],
            Kind::OomScores => vec![("0 0 2001".to_owned(), Reason::BadOomScores.to_string())],
            Kind::KeyspaceEvents => vec![("q".to_owned(), Reason::BadEventClass.to_string())],
            Kind::Master => vec![("host 65536".to_owned(), Reason::BadMasterPort.to_string())],
            Kind::Text | Kind::Opaque => continue,
        };
        for (text, reason) in beyond {
            bounded += 1;
            let told = message(file(&format!("# a comment\n{} {text}\n", row.name)));
            assert!(told.starts_with(&format!("a.conf:2: '{} ", row.name)), "{told}");
            assert!(told.contains(&reason), "{told}: not '{reason}'");
            let refused = Settings::default().set(&[(row.name, text.trim_end())]).unwrap_err().to_string();
            assert!(row.change != Change::Live || refused.contains(&reason), "{refused}: not '{reason}'");
        }
    }
    assert!(bounded > 200, "only {bounded} values");
}

#[test]
fn a_wrong_variable_or_option_is_named_with_its_place() {
    let environment = [("SLOTMESH_MAXCLIENTS", "abc")];
    assert_eq!(
        message(run(&[], &environment, &[])),
        "environment: 'SLOTMESH_MAXCLIENTS=abc': argument couldn't be parsed into an integer"
    );
    assert_eq!(
        message(run(&[], &[("SLOTMESH_NONSENSE", "abc")], &[])),
        "environment: 'SLOTMESH_NONSENSE': Bad directive or wrong number of arguments"
    );
    assert_eq!(
        message(run(&[], &[], &["--hz", "10", "--maxclients", "abc"])),
        "command line, argument 3: '--maxclients abc': argument couldn't be parsed into an integer"
    );
    assert_eq!(message(run(&[], &[], &["--port"])), "command line, argument 1: '--port': wrong number of arguments");
    assert!(message(run(&[], &[], &["gone.conf"])).starts_with("can't open config file 'gone.conf': "));
}

#[test]
fn a_wrong_line_stops_the_start_even_where_it_is_overridden() {
    let files = [("a.conf", "maxclients abc")];
    assert!(message(run(&files, &[], &["a.conf", "--maxclients", "5"])).starts_with("a.conf:1: "));
}

#[test]
fn what_is_not_supported_may_be_overridden() {
    let files = [("a.conf", "tls-port 1")];
    assert!(run(&files, &[], &["a.conf", "--tls-port", "0"]).is_ok());
    let text = message(run(&files, &[("SLOTMESH_TLS_PORT", "2")], &["a.conf"]));
    assert_eq!(text, "environment: 'tls-port 2': not supported yet");
}

#[test]
fn secrets_are_left_out_of_errors() {
    for line in [
        "requirepass hunter2 x",
        "requirepass \"hunter2",
        "REQUIREPASS 'hunter2",
        "requirepas hunter2",
        "masterauth hunter2 hunter2",
        "user default on >hunter2",
        "requirepass \"\\xff\" hunter2",
    ] {
        let text = message(file(line));
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = message(run(&[], &[], &["--requirepass", "hunter2", "x"]));
    assert!(!text.contains("hunter2"), "{text}");
    let text = message(run(&[], &[], &["--requirepass \"hunter2"]));
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn an_error_is_one_short_line() {
    let long = format!("SLOT\u{7}{}", "x".repeat(10_000));
    let text = message(run(&[], &[("SLOTMESH_HZ", &format!("1\n{long}"))], &[]));
    assert!(!text.contains(char::is_control) && text.len() < 400, "{text}");
}

#[test]
fn includes_are_read_in_place_and_bounded() {
    let files = [("a.conf", "port 1\ninclude b.conf\nhz 3\nsave 9 9"), ("b.conf", "port 2\nhz 2\nsave 8 8")];
    let loaded = run(&files, &[], &["a.conf"]).unwrap();
    assert_eq!((value(&loaded, "port"), value(&loaded, "hz")), ("2".to_owned(), "3".to_owned()));
    assert_eq!(value(&loaded, "save"), "8 8 9 9");
    let wrong = [("a.conf", "include b.conf"), ("b.conf", "\nhz x")];
    assert!(message(run(&wrong, &[], &["a.conf"])).starts_with("b.conf:2: 'hz x': "));
    let circle = [("a.conf", "include a.conf")];
    assert_eq!(
        message(run(&circle, &[], &["a.conf"])),
        "a.conf:1: 'include a.conf': included files are nested too deep"
    );
}

/// Files in one folder.
struct Folder(Vec<(&'static str, &'static str)>);

impl Files for Folder {
    fn read(&self, path: &Path) -> io::Result<String> {
        let found = self.0.iter().find(|(name, _)| Path::new(name) == path);
        match found {
            Some((_, "a folder")) => Err(io::ErrorKind::IsADirectory.into()),
            Some((_, "unreadable")) => Err(io::ErrorKind::PermissionDenied.into()),
            Some((_, text)) => Ok((*text).to_owned()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        if folder == Path::new(".") { self.0.iter().map(|(name, _)| (*name).to_owned()).collect() } else { Vec::new() }
    }
}

#[test]
fn a_pattern_includes_all_files_that_fit_in_their_order() {
    let run = |files: &[(&'static str, &'static str)]| {
        let Ok(Invocation::Serve(line)) = Invocation::parse(["main".into()]) else { panic!("a run") };
        load(&line, [], &(Arc::new(Folder(files.to_vec())) as Reader))
    };
    let main = ("main", "port 1\ninclude *.conf\nhz 3");
    let loaded = run(&[main, ("b.conf", "port 2\nhz 2"), ("a.conf", "port 3\ntimeout 5"), ("c.conf", "a folder")]);
    let loaded = loaded.unwrap();
    assert_eq!(["port", "hz", "timeout"].map(|name| value(&loaded, name)), ["2", "3", "5"]);
    // An empty folder of files is no error; a file that cannot be read is one.
    assert_eq!(value(&run(&[main]).unwrap(), "port"), "1");
    assert_eq!(
        message(run(&[main, ("a.conf", "unreadable")])),
        "main:2: 'include *.conf': can't open the included file: permission denied"
    );
    assert!(message(run(&[main, ("a.conf", "hz x")])).starts_with("a.conf:1: 'hz x'"));
    // Files that include each other end, however many ways there are.
    let circle = message(run(&[main, ("a.conf", "include *.conf"), ("b.conf", "include *.conf")]));
    assert!(circle.ends_with("included files are nested too deep"), "{circle}");
    let wide = [main, ("a.conf", "include b*\ninclude b*"), ("b0", "include c*\ninclude c*")];
    assert!(run(&wide).is_ok());
}

#[test]
fn shards_need_cores() {
    assert!(file("shards 4").is_ok());
    assert!(file("shards 4\ncores 4").is_ok());
    assert_eq!(message(file("shards 4\ncores 2")), "a.conf:1: 'shards 4': there can't be more shards than cores");
}

#[test]
fn a_master_is_named_outside_of_clusters() {
    let loaded = file("slaveof 10.0.0.1 6379").unwrap();
    assert_eq!(value(&loaded, "replicaof"), "10.0.0.1 6379");
    assert_eq!(value(&file("replicaof a 1\nreplicaof no one").unwrap(), "replicaof"), "");
    let both = file("cluster-enabled yes\nreplicaof a 1");
    let why = "replicaof directive not allowed in cluster mode";
    assert_eq!(message(both), format!("a.conf:2: 'replicaof a 1': {why}"));
    assert!(file("cluster-enabled yes\nreplicaof no one").is_ok());
}

#[test]
fn what_does_nothing_is_named() {
    let loaded = file("port 1\nactiverehashing yes\nmaxmemory-samples 2\nport 2").unwrap();
    let named: Vec<_> =
        loaded.without_effect.iter().map(|set| (set.name, set.origin.to_string(), set.is_default)).collect();
    assert_eq!(
        named,
        [("activerehashing", "a.conf:2".to_owned(), true), ("maxmemory-samples", "a.conf:3".to_owned(), false),]
    );
}

#[test]
fn the_default_user_may_be_named_with_all_its_rights() {
    file("user default on nopass sanitize-payload ~* &* +@all\nuser default on").unwrap();
}

#[test]
fn what_promises_a_bound_is_taken_and_the_log_says_what_is_missing() {
    let loaded = file("maxmemory 1gb\nsave 900 1").unwrap();
    let lines: Vec<_> = loaded.without_effect.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["'maxmemory' (a.conf:1) is accepted and has no effect yet: memory is not bounded, nothing is evicted",]
    );
    assert_eq!((value(&loaded, "appendonly"), value(&loaded, "save")), ("no".to_owned(), "900 1".to_owned()));
}

/// What Redis's test suite starts its servers with (`default.conf`, `minimal.conf`, and what the suite adds), and the
/// files of the cluster tests.
#[test]
fn the_files_of_the_test_suites_start_the_node() {
    let default = "always-show-logo yes\nnotify-keyspace-events KEA\ndaemonize no\npidfile /var/run/redis.pid\n\
        port 6379\ntimeout 0\nbind 127.0.0.1\nloglevel verbose\nlogfile ''\ndatabases 16\n\
        latency-monitor-threshold 1\nrepl-diskless-sync-delay 0\nsave ''\nrdbcompression yes\n\
        dbfilename dump.rdb\ndir ./\nslave-serve-stale-data yes\nappendonly no\nappendfsync everysec\n\
        no-appendfsync-on-rewrite no\nactiverehashing yes\nenable-protected-configs yes\n\
        enable-debug-command yes\nenable-module-command yes\npropagation-error-behavior panic\n\
        shutdown-on-sigterm force\nunixsocket /tmp/redis.socket\n\
        appendonly yes\nauto-aof-rewrite-percentage 0\nappendfsync always\nsave 100 100\n";
    let minimal = "always-show-logo yes\ndaemonize no\npidfile /var/run/redis.pid\nloglevel verbose\n";
    let cluster = "port 30000\nrepl-diskless-sync-delay 0\ndir ./redis_0\nlogfile log.txt\nappendonly yes\n\
        shutdown-on-sigterm force\nenable-protected-configs yes\nenable-debug-command yes\n\
        cluster-enabled yes\ncluster-ping-interval 1000\ncluster-node-timeout 5000\n\
        cluster-replica-validity-factor 10\nsave ''\n";
    for text in [default, minimal, cluster] {
        file(text).unwrap();
    }
    assert_eq!(value(&file(default).unwrap(), "shutdown-on-sigterm"), "force");
}

/// What a packaged redis.conf sets (Debian 12), comments left out.
#[test]
fn a_packaged_redis_conf_starts_the_node() {
    let text = include_str!("packaged.conf");
    let loaded = file(text).unwrap();
    assert_eq!(value(&loaded, "dir"), "/var/lib/redis");
    assert_eq!(value(&loaded, "daemonize"), "yes");
    assert_eq!(
        value(&loaded, "client-output-buffer-limit"),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    );
    assert!(loaded.without_effect.iter().any(|set| set.name == "activerehashing"));
}

/// The full file too, comments and all, on hosts that have it.
#[test]
fn the_hosts_own_redis_conf_is_read() {
    if let Ok(text) = std::fs::read_to_string("/etc/redis/redis.conf") {
        run(&[("redis.conf", &text)], &[], &["redis.conf", "--daemonize", "no"]).unwrap();
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*|([a-z-]{1,10} [\\x00-\\x7f]{0,20}\n){0,5}") {
        let _ = file(&text);
        let _ = run(&[], &[("SLOTMESH_BIND", &text)], &[&text, "--bind", &text]);
    }

    #[test]
    fn an_error_names_file_and_line(lines in proptest::collection::vec("[a-z-]{1,12}( [\\x20-\\x7e]{0,20})?|#.*", 0..6)) {
        if let Err(error) = file(&lines.join("\n")) {
            let told = error.to_string();
            let line = told.strip_prefix("a.conf:").and_then(|rest| rest.split(':').next()?.parse().ok());
            proptest::prop_assert!(line.is_some_and(|line: usize| (1..=lines.len()).contains(&line)), "{}", told);
        }
    }
}
