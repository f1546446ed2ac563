use super::Settings;
use crate::declaration::Standing;
use crate::error::{Reason, SetError};
use crate::parse;
use crate::value::{LogLevel, Value};
use crate::{Secret, directive};

fn one(settings: &Settings, name: &str) -> String {
    let found = settings.get(&[name]);
    assert_eq!(found.len(), 1, "{name}");
    found[0].1.clone()
}

fn refused(settings: &mut Settings, pairs: &[(&str, &str)]) -> String {
    let before = settings.clone();
    let error = settings.set(pairs).unwrap_err().to_string();
    assert_eq!(*settings, before, "{pairs:?} changed something although it was refused");
    error
}

#[test]
fn names_are_declared_once_in_lower_case() {
    let mut names: Vec<&str> = Vec::new();
    for row in directive::TABLE {
        names.push(row.name);
        names.extend(row.aliases);
        assert_eq!(row.doc.is_empty(), row.standing != Standing::Used, "{}", row.name);
    }
    assert!(names.iter().all(|name| name.bytes().all(|byte| !byte.is_ascii_uppercase())));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_default_is_read_by_its_row_and_read_back_from_its_print() {
    let settings = Settings::default();
    // Redis prints nothing for "no master", which its own syntax cannot say.
    for (row, value) in settings.rows().filter(|(row, _)| row.name != "replicaof") {
        let words: Vec<String> = match value {
            Value::Text(text) => vec![text.clone()],
            other => other.to_string().split_whitespace().map(str::to_owned).collect(),
        };
        assert_eq!(parse::parse(row, &words, None).as_ref(), Ok(value), "{}", row.name);
    }
}

#[test]
fn handles_give_the_defaults_of_the_design() {
    let settings = Settings::default();
    assert_eq!(settings.value(directive::BIND), ["127.0.0.1", "-::1"]);
    assert_eq!(settings.value(directive::PORT), 6379);
    assert_eq!(settings.value(directive::TCP_BACKLOG), 511);
    assert_eq!(settings.value(directive::DATABASES), 16);
    assert_eq!(settings.value(directive::MAXCLIENTS), 10000);
    assert_eq!(settings.value(directive::LOGLEVEL), LogLevel::Notice);
    assert_eq!(settings.value(directive::SERVER_CPULIST), [0; 0]);
    assert_eq!((settings.value(directive::CORES), settings.value(directive::SHARDS)), (0, 0));
    let hot = settings.hot();
    assert_eq!(hot.proto_max_bulk_len_bytes, 512 << 20);
    assert_eq!(hot.query_buffer_limit_bytes, 1 << 30);
    assert_eq!(hot.output_limits.replica.hard_bytes, 256 << 20);
    assert_eq!(hot.output_limits.pubsub.soft_seconds, 60);
    assert!(hot.protected_mode && hot.requirepass.is_none());
}

#[test]
fn values_print_as_redis_prints_them() {
    let mut settings = Settings::default();
    let cases = [
        ("maxmemory", "100mb", "104857600"),
        ("maxmemory-clients", "5%", "5%"),
        ("protected-mode", "NO", "no"),
        ("loglevel", "Verbose", "verbose"),
        ("save", "900 1 60 5", "900 1 60 5"),
        ("save", "", ""),
        ("hz", "1000", "500"),
        ("hz", "0", "1"),
        ("notify-keyspace-events", "Ex", "xE"),
        ("latency-tracking-info-percentiles", "50.0 99.90", "50 99.9"),
        ("shutdown-on-sigterm", "force nosave", "nosave force"),
        ("oom-score-adj-values", "1 2 3", "1 2 3"),
        ("client-output-buffer-limit", "replica 1kb 2k 3", "normal 0 0 0 slave 1024 2000 3 pubsub 33554432 8388608 60"),
        ("client-output-buffer-limit", "normal 1 2 3 pubsub 4 5 6", "normal 1 2 3 slave 1024 2000 3 pubsub 4 5 6"),
    ];
    for (name, value, printed) in cases {
        settings.set(&[(name, value)]).unwrap();
        assert_eq!(one(&settings, name), printed, "{name} {value}");
    }
    assert_eq!(one(&Settings::default(), "bind"), "127.0.0.1 -::1");
    assert_eq!(one(&Settings::default(), "unixsocketperm"), "0");
}

#[test]
fn config_get_finds_names_aliases_and_patterns() {
    let settings = Settings::default();
    let names =
        |patterns: &[&str]| -> Vec<String> { settings.get(patterns).into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(&["MaxClients"]), ["MaxClients"]);
    assert_eq!(names(&["slave-priority"]), ["slave-priority"]);
    assert_eq!(names(&["port", "p?rt", "PORT"]), ["port"]);
    assert_eq!(names(&["tcp-*"]), ["tcp-backlog", "tcp-keepalive"]);
    assert_eq!(names(&["nothing", "noth*"]), [""; 0]);
    assert_eq!(names(&["*max-*list*-value"]).len(), 5);
    // Hidden ones need their exact name; those of files only have no value.
    assert_eq!(names(&["watchdog-perio*"]), [""; 0]);
    assert_eq!(names(&["watchdog-period"]), ["watchdog-period"]);
    assert_eq!(names(&["user", "loadmodule", "lua-replicate-commands"]), [""; 0]);
    assert!(settings.get(&[b"\xff".as_slice()]).is_empty());
}

#[test]
fn config_set_is_all_or_nothing_with_the_texts_of_redis() {
    let mut settings = Settings::default();
    let failed = "CONFIG SET failed (possibly related to argument";
    let cases: [(&[(&str, &str)], String); 14] = [
        (&[("nope", "1"), ("port", "1")], "Unknown option or number of arguments for CONFIG SET - 'nope'".to_owned()),
        // The first name that is wrong is told.
        (&[("databases", "1"), ("Nope", "1")], format!("{failed} 'databases') - can't set immutable config")),
        (
            &[("Nope", "1"), ("databases", "1")],
            "Unknown option or number of arguments for CONFIG SET - 'Nope'".to_owned(),
        ),
        (&[("hz", "5"), ("Databases", "1")], format!("{failed} 'Databases') - can't set immutable config")),
        (&[("dir", "/tmp")], format!("{failed} 'dir') - can't set protected config")),
        (&[("hz", "5"), ("HZ", "6")], format!("{failed} 'HZ') - duplicate parameter")),
        (
            &[("hz", "5"), ("maxclients", "abc")],
            format!("{failed} 'maxclients') - argument couldn't be parsed into an integer"),
        ),
        (
            &[("maxclients", "0")],
            format!("{failed} 'maxclients') - argument must be between 1 and 4294967295 inclusive"),
        ),
        (
            &[("maxclients", "-5")],
            format!("{failed} 'maxclients') - argument must be between 1 and 4294967295 inclusive"),
        ),
        (&[("maxmemory", "1x")], format!("{failed} 'maxmemory') - argument must be a memory value")),
        (&[("slave-read-only", "maybe")], format!("{failed} 'slave-read-only') - argument must be 'yes' or 'no'")),
        (
            &[("loglevel", "x")],
            format!(
                "{failed} 'loglevel') - argument(s) must be one of the following: \
                 debug, verbose, notice, warning, nothing"
            ),
        ),
        (
            &[("client-output-buffer-limit", "normal 1 2 3 x 1 1 1")],
            format!(
                "{failed} 'client-output-buffer-limit') - Invalid client class specified in buffer \
                 limit configuration."
            ),
        ),
        (&[("hz", "5"), ("tls-port", "1")], format!("{failed} 'tls-port') - not supported yet")),
    ];
    for (pairs, text) in cases {
        assert_eq!(refused(&mut settings, pairs), text);
    }
    assert_eq!(
        settings.set(&[(b"masterauth".as_slice(), b"\xff".as_slice())]),
        Err(SetError::Refused { name: "masterauth", reason: Reason::NotUtf8 })
    );
}

/// As Redis's suite does with all that CONFIG GET * answers.
#[test]
fn config_set_takes_what_config_get_answers() {
    let mut settings = Settings::default();
    settings.set(&[("save", "1 2 3 4"), ("latency-tracking-info-percentiles", "50 99.9")]).unwrap();
    let before = settings.clone();
    let mut taken = 0;
    for (name, value) in before.get(&["*"]) {
        match settings.set(&[(&name, &value)]) {
            Ok(changed) => {
                assert!(changed.is_empty(), "{name} '{value}' is another value when it is read back");
                taken += 1;
            }
            Err(error) => assert!(matches!(error, SetError::Fixed(_) | SetError::Protected(_)), "{name}: {error}"),
        }
    }
    assert!(taken > 100 && settings == before, "{taken}");
}

#[test]
fn what_is_asked_for_and_missing_is_told() {
    let mut settings = Settings::default();
    let mut told = |name: &str, value: &str| {
        settings.set(&[(name, value)]).unwrap();
        settings.missing(directive::find(name).unwrap()).is_some()
    };
    assert!(told("maxmemory", "1gb") && !told("maxmemory", "0") && !told("hz", "20"));
}

#[test]
fn config_set_tells_what_changed() {
    let mut settings = Settings::default();
    let changed = settings.set(&[("hz", "10"), ("timeout", "7"), ("appendonly", "no")]).unwrap();
    assert_eq!(changed.iter().map(|row| row.name).collect::<Vec<_>>(), ["timeout"]);
    assert_eq!(settings.hot().timeout_s, 7);
    settings.set(&[("slave-priority", "5"), ("replica-priority", "6")]).unwrap();
    assert_eq!(one(&settings, "slave-priority"), "6");
}

#[test]
fn secrets_are_answered_but_not_printed() {
    let mut settings = Settings::default();
    settings.set(&[("requirepass", "hunter2"), ("masterauth", "hunter2")]).unwrap();
    assert_eq!(one(&settings, "requirepass"), "hunter2");
    assert_eq!(settings.hot().requirepass.as_ref().map(Secret::reveal), Some("hunter2"));
    assert!(!format!("{settings:?} {:?}", settings.hot()).contains("hunter2"));
    settings.set(&[("requirepass", "")]).unwrap();
    assert_eq!(settings.hot().requirepass, None);
}

#[test]
fn the_working_directory_is_shown() {
    let mut settings = Settings::default();
    settings.set_working_directory("/var/lib/data");
    assert_eq!(one(&settings, "dir"), "/var/lib/data");
}

/// Names and defaults that redis-server 7.2.6 answers to CONFIG GET *: the directives of its own that we do not know
/// yet would be missing here, and one whose default we misremember differs.
#[test]
fn names_and_defaults_are_those_of_redis() {
    // Not the same here: a machine's own, or our choice.
    let ours = ["bind", "maxclients", "aclfile"];
    let settings = Settings::default();
    for line in include_str!("redis-7.2.txt").lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let held = one(&settings, name);
        assert!(held == value || ours.contains(&name), "{name}: '{held}', not '{value}'");
    }
}

#[test]
fn directives_of_ours_can_be_set_to_what_they_are() {
    let mut settings = Settings::default();
    assert_eq!(settings.set(&[("cores", "0"), ("shards", "0"), ("io-backend", "auto"), ("hz", "7")]).unwrap().len(), 1);
    for (name, value) in [("cores", "1"), ("shards", "1"), ("io-backend", "epoll"), ("gateway-port", "1")] {
        let error = settings.set(&[("hz", "9"), (name, value)]).unwrap_err();
        assert_eq!(error, SetError::Fixed(name.to_owned()));
    }
    assert_eq!(settings.get(&["hz"])[0].1, "7", "all or nothing");
}
