//! RDB files of a running node: written while it serves, read when it starts, by it and by redis-server; what becomes of
//! saves that fail, of files that are wrong, and of processes that are killed.

use slotmesh_conform::{
    Connection, Program, Server, await_condition, field, node_command, show, unused_port, without_test_variables,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for a save or a load, in seconds.
const SECONDS_MAX: u64 = 30;
const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

/// A node with so many shards and DEBUG, in whose folder `prepare` has put something.
fn node(shards: usize, args: &[&str], prepare: impl FnOnce(&Path)) -> Server {
    let count = shards.to_string();
    let own = ["--save", "", "--cores", &count, "--shards", &count];
    let args = [&own[..], &DEBUG, args].concat();
    let server = Server::start_with(unused_port(), "slotmesh", node_command(), &args, prepare);
    server.await_info("persistence", "loading", "0");
    server
}

fn redis(program: &Program, prepare: impl FnOnce(&Path)) -> Server {
    let args = ["--save", "", "--enable-debug-command", "yes"];
    Server::start_with(unused_port(), "redis-server", program.command(), &args, prepare)
}

fn dump_of(server: &Server) -> Vec<u8> {
    fs::read(server.dir().join("dump.rdb")).expect("the server saves")
}

fn put_dump(bytes: &[u8]) -> impl FnOnce(&Path) + '_ {
    move |dir| fs::write(dir.join("dump.rdb"), bytes).expect("a folder of our own")
}

fn digest(server: &Server) -> String {
    show(&server.say("DEBUG DIGEST"))
}

/// Keys of all forms in several databases.
fn fill(server: &Server) {
    let mut connection = server.connect();
    for db in [0, 3, 9] {
        connection.say(&format!("SELECT {db}"));
        for number in 0..300 {
            connection.say(&format!("SET key:{number} {}", "v".repeat(number)));
            connection.say(&format!("SET number:{number} {}", i64::from(number as i32) * 7_919_777 - 5));
            connection.say(&format!("SET later:{number} x PXAT {}", 4_000_000_000_000_u64 + number as u64));
            connection.say(&format!("RPUSH list:{number} a {number} {}", "e".repeat(number * 3 % 700)));
        }
        for element in 0..3000 {
            connection.say(&format!("RPUSH long element-{element}"));
        }
    }
}

fn assert_sound(file: &Path) {
    let checked = Command::new("redis-check-rdb").arg(file).output().expect("it is installed");
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains("RDB looks OK"), "{text}");
}

#[test]
fn files_go_between_any_two_with_any_number_of_shards() {
    let one = node(3, &[], |_| ());
    fill(&one);
    let expected = digest(&one);
    assert_eq!(one.say("SAVE"), b"+OK\r\n");
    assert_sound(&one.dir().join("dump.rdb"));
    let ours = dump_of(&one);
    for shards in [1, 2] {
        assert_eq!(digest(&node(shards, &[], put_dump(&ours))), expected, "{shards} shards");
    }
    for program in Program::peers().into_iter().filter(|program| matches!(program, Program::Redis(_))) {
        let theirs = redis(&program, put_dump(&ours));
        assert_eq!(digest(&theirs), expected, "{} reads ours", theirs.name());
        theirs.order("SAVE");
        assert_eq!(digest(&node(2, &[], put_dump(&dump_of(&theirs)))), expected, "we read that of {}", theirs.name());
    }
}

#[test]
fn a_save_in_the_background_tells_what_it_does() {
    let server = node(2, &[], |_| ());
    let mut connection = server.connect();
    connection.say("DEBUG POPULATE 200000 k 100");
    connection.say("SET a 1");
    let before: i64 = server.info("persistence", "rdb_changes_since_last_save").parse().expect("a number");
    assert!(before > 0);
    connection.send(b"BGSAVE\r\nBGSAVE\r\nSAVE\r\nSET b 2\r\n");
    assert_eq!(connection.reply(), b"+Background saving started\r\n");
    let busy = b"-ERR Background save already in progress\r\n";
    assert_eq!((connection.reply(), connection.reply()), (busy.to_vec(), busy.to_vec()));
    assert_eq!(connection.reply(), b"+OK\r\n", "writers do not wait");
    assert_eq!(server.info("persistence", "rdb_bgsave_in_progress"), "1");
    server.await_info("persistence", "rdb_bgsave_in_progress", "0");
    let text = connection.text("INFO persistence");
    let value = |name| field(&text, name).expect("a field of INFO");
    assert_eq!((value("rdb_last_bgsave_status"), value("rdb_saves")), ("ok".into(), "1".into()));
    assert_eq!(connection.say("LASTSAVE"), format!(":{}\r\n", value("rdb_last_save_time")).into_bytes());
    let log = server.log();
    for line in ["Background saving started by pid", "DB saved on disk", "Background saving terminated with success"] {
        assert!(log.contains(line), "{log}");
    }
    let loaded = node(1, &[], put_dump(&dump_of(&server)));
    // b came before the snapshot or behind it, and is a change since the save in that case.
    let unsaved = value("rdb_changes_since_last_save");
    let saved = if unsaved == "1" { "1" } else { "2" };
    assert_eq!((unsaved.len(), loaded.say("EXISTS a b")), (1, format!(":{saved}\r\n").into_bytes()));
    assert_eq!(loaded.info("persistence", "rdb_last_load_keys_loaded"), format!("20000{saved}"));
    connection.say("MULTI");
    connection.say("BGSAVE");
    assert_eq!(connection.say("EXEC"), b"*1\r\n+Background saving scheduled\r\n");
    server.await_info("persistence", "rdb_saves", "2");
}

#[test]
fn save_points_save_and_a_flush_empties_the_file() {
    let server = node(2, &[], |_| ());
    server.order("SET a 1");
    let set_points = |points: &str| server.connect().ask(&["CONFIG", "SET", "save", points]);
    assert_eq!(set_points("1 1"), b"+OK\r\n");
    let file = server.dir().join("dump.rdb");
    await_condition("a save point saves", SECONDS_MAX, || file.exists());
    server.await_log("changes in 1 seconds. Saving...");
    server.await_info("persistence", "rdb_changes_since_last_save", "0");
    assert_eq!(set_points("3600 100"), b"+OK\r\n");
    let long = fs::metadata(&file).expect("it is there").len();
    server.order("FLUSHALL");
    await_condition("the file is of no keys", SECONDS_MAX, || fs::metadata(&file).is_ok_and(|data| data.len() < long));
    assert_sound(&file);
}

#[test]
fn what_is_over_is_not_loaded_by_a_master_and_is_by_a_replica() {
    let server = node(1, &[], |_| ());
    server.order("DEBUG SET-ACTIVE-EXPIRE 0");
    server.order("SET gone 1 PX 1");
    server.order("SET here 1");
    server.order("SAVE");
    std::thread::sleep(Duration::from_millis(5));
    let master = node(2, &[], put_dump(&dump_of(&server)));
    let (loaded, expired) = ("rdb_last_load_keys_loaded", "rdb_last_load_keys_expired");
    assert_eq!((master.info("persistence", loaded), master.info("persistence", expired)), ("1".into(), "1".into()));
    assert_eq!(master.say("DBSIZE"), b":1\r\n");
    let replica = node(2, &["--replicaof", "127.0.0.1 1"], put_dump(&dump_of(&server)));
    assert_eq!(replica.say("DBSIZE"), b":2\r\n", "its master removes it");
}

#[test]
fn clients_hear_that_data_are_loaded_and_nothing_is_saved_meanwhile() {
    let server = node(2, &[], |_| ());
    server.say("DEBUG POPULATE 8000");
    server.order("SAVE");
    let dump = dump_of(&server);
    let args = ["--save", "1 1", "--key-load-delay", "1000", "--cores", "2", "--shards", "2"];
    let mut slow = Server::start_with(unused_port(), "slotmesh", node_command(), &args, put_dump(&dump));
    let mut connection = slow.connect();
    let loading = b"-LOADING Redis is loading the dataset in memory\r\n";
    for request in ["GET a", "SET a 1", "SAVE", "BGSAVE", "FLUSHALL", "PING"] {
        assert_eq!(show(&connection.say(request)), show(loading), "{request}");
    }
    let text = connection.text("INFO persistence");
    let number = |name| field(&text, name).and_then(|text| text.parse::<f64>().ok()).unwrap_or(-1.0);
    assert_eq!(number("loading"), 1.0, "{text}");
    assert_eq!(number("loading_total_bytes"), dump.len() as f64);
    assert!(number("loading_loaded_perc") > 0.0 && number("loading_loaded_perc") < 100.0, "{text}");
    assert!(number("loading_eta_seconds") >= 1.0 && number("loading_start_time") > 1e9, "{text}");
    slow.await_log("% of ");
    slow.signal("TERM");
    assert_eq!(slow.await_end(), Some(0));
    assert!(!slow.log().contains("Ready to accept connections"), "it was not ready");
    assert_eq!(dump_of(&slow), dump, "what was loaded in part does not take the place of the whole");
}

#[test]
fn the_end_of_the_process_saves_as_redis_does() {
    for (points, order, is_saved) in [
        ("", "SHUTDOWN", false),
        ("", "SHUTDOWN SAVE", true),
        ("900 1", "SHUTDOWN", true),
        ("900 1", "SHUTDOWN NOSAVE", false),
        ("900 1", "TERM", true),
        ("", "TERM", false),
    ] {
        let args = ["--save", points, "--cores", "2", "--shards", "2"];
        let mut server = Server::start("slotmesh", node_command(), &args);
        server.order("SET a 1");
        match order {
            "TERM" => server.signal("TERM"),
            _ => server.connect().send(format!("{order}\r\n").as_bytes()),
        }
        assert_eq!(server.await_end(), Some(0), "{points} {order}");
        assert_eq!(server.dir().join("dump.rdb").exists(), is_saved, "{points} {order}");
        if is_saved {
            assert!(server.log().contains("Saving the final RDB snapshot before exiting."));
            server.restart();
            server.await_info("persistence", "loading", "0");
            assert_eq!(server.say("GET a"), b"$1\r\n1\r\n");
        }
    }
}

#[test]
fn a_shutdown_waits_for_replicas_and_can_be_aborted() {
    let master = node(2, &["--repl-diskless-sync-delay", "0"], |_| ());
    let replica = Program::Redis(None).alone(&[]);
    replica.follow(&master);
    master.order("SET a 1");
    master.await_same(&replica);
    replica.pause();
    master.order("SET b 2");
    let (mut asker, mut writer) = (master.connect(), master.connect());
    asker.send(b"SHUTDOWN\r\n");
    master.await_log("Waiting for replicas before shutting down.");
    writer.send(b"SET c 3\r\n");
    assert_eq!(master.say("GET b"), b"$1\r\n2\r\n", "reads go on");
    assert_eq!(master.say("GET c"), b"$-1\r\n", "writes wait");
    assert_eq!(master.say("SHUTDOWN ABORT"), b"+OK\r\n");
    assert_eq!(asker.reply(), b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert_eq!(writer.reply(), b"+OK\r\n");
    assert_eq!(master.say("SHUTDOWN ABORT"), b"-ERR No shutdown in progress.\r\n");
    let mut master = master;
    master.connect().send(b"SHUTDOWN\r\n");
    await_condition("it waits again", SECONDS_MAX, || master.log().matches("Waiting for replicas").count() == 2);
    assert!(master.is_alive());
    replica.signal("CONT");
    assert_eq!(master.await_end(), Some(0));
    assert_eq!(replica.say("GET c"), b"$1\r\n3\r\n", "the replica has all");
}

#[test]
fn all_that_was_acknowledged_before_a_shutdown_is_in_the_file() {
    let args = ["--save", "900 1", "--cores", "2", "--shards", "2"];
    let mut server = Server::start("slotmesh", node_command(), &args);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let mut connection = server.connect();
            std::thread::spawn(move || {
                for number in 0.. {
                    let said = connection.try_send(format!("SET w{writer}:{number} 1\r\n").as_bytes());
                    if said.is_err() || connection.try_reply().ok().as_deref() != Some(b"+OK\r\n") {
                        return number;
                    }
                }
                0
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    let acknowledged: Vec<i32> = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
    assert_eq!(server.await_end(), Some(0));
    assert!(acknowledged.iter().sum::<i32>() > 100, "{acknowledged:?}");
    server.restart();
    server.await_info("persistence", "loading", "0");
    let mut connection = server.connect();
    for (writer, count) in acknowledged.into_iter().enumerate() {
        for number in 0..count {
            let value = connection.say(&format!("GET w{writer}:{number}"));
            assert_eq!(value, b"$1\r\n1\r\n", "w{writer}:{number} of {count} was acknowledged");
        }
    }
}

#[test]
fn a_save_that_fails_is_told_stops_writes_and_does_not_end_the_process() {
    // As somebody else than root, who may write anywhere.
    let mut command = without_test_variables(Command::new("setpriv"));
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(node_command().get_program());
    let args = ["--save", "3600 1", "--cores", "2", "--shards", "2", "--enable-debug-command", "yes"];
    let folder = |dir: &Path, mode| fs::set_permissions(dir, fs::Permissions::from_mode(mode)).expect("our own folder");
    let mut server = Server::start_with(unused_port(), "slotmesh", command, &args, |dir| folder(dir, 0o777));
    server.order("SET a 1");
    folder(server.dir(), 0o555);
    let failed = server.say("SAVE");
    assert_eq!(failed, b"-ERR\r\n");
    assert_eq!(server.info("persistence", "rdb_last_bgsave_status"), "err");
    server.await_log("Failed opening the temp RDB file temp-");
    let misconf = show(&server.say("SET a 2"));
    assert!(misconf.starts_with("-MISCONF Redis is configured to save RDB snapshots, but it"), "{misconf}");
    assert!(show(&server.say("PING")).starts_with("-MISCONF") && server.say("GET a") == b"$1\r\n1\r\n");
    let refused = server.say("SHUTDOWN");
    assert_eq!(refused, b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert_eq!(server.say("GET a"), b"$1\r\n1\r\n", "it serves on");
    server.order("CONFIG SET stop-writes-on-bgsave-error no");
    server.order("SET a 3");
    server.order("CONFIG SET stop-writes-on-bgsave-error yes");
    folder(server.dir(), 0o777);
    server.order("SAVE");
    server.order("SET a 4");
    assert_eq!(server.info("persistence", "rdb_last_bgsave_status"), "ok");
    folder(server.dir(), 0o555);
    server.connect().send(b"SHUTDOWN SAVE FORCE\r\n");
    assert_eq!(server.await_end(), Some(0));
    folder(server.dir(), 0o777);
}

#[test]
fn a_full_disk_leaves_the_last_file_and_no_other() {
    // A file system of its own, in a mount namespace of its own.
    let script = "mount -t tmpfs -o size=2m none \"$1\" && shift && exec \"$@\"";
    let dir = std::env::temp_dir().join(format!("slotmesh-full-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder of our own");
    let folder = dir.to_string_lossy().into_owned();
    let mut command = without_test_variables(Command::new("unshare"));
    command.args(["--mount", "sh", "-c", script, "sh", &folder]).arg(node_command().get_program());
    let args = ["--save", "", "--cores", "2", "--shards", "2", "--enable-protected-configs", "yes"];
    let server = Server::start("slotmesh", command, &[&args[..], &DEBUG].concat());
    server.order(&format!("CONFIG SET dir {folder}"));
    server.order("SET a 1");
    server.order("SAVE");
    server.say("DEBUG POPULATE 60000 k 100");
    server.order("CONFIG SET rdbcompression no");
    assert_eq!(server.say("SAVE"), b"-ERR\r\n");
    server.await_log("Write error saving DB on disk(write): No space left on device");
    // Through the process, since nobody else sees what is mounted there.
    let seen = format!("/proc/{}/root{folder}", server.pid());
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&seen).expect("our own child");
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    await_condition("nothing is left of it", SECONDS_MAX, || names() == ["dump.rdb"]);
    assert_eq!(server.say("GET a"), b"$1\r\n1\r\n");
    let loaded = node(1, &[], put_dump(&fs::read(format!("{seen}/dump.rdb")).expect("the last one")));
    assert_eq!(loaded.say("DBSIZE"), b":1\r\n");
    drop(server);
    let _ = fs::remove_dir_all(dir);
}

/// A server whose files may take two megabytes, and the folder where they are: a file system of its own, in a mount
/// namespace of its own.
fn on_small_disk(program: &Program) -> (Server, String) {
    let script = "mount -t tmpfs -o size=2m none \"$1\" && shift && exec \"$@\"";
    let dir = std::env::temp_dir().join(format!("slotmesh-small-{}-{}", std::process::id(), unused_port()));
    fs::create_dir_all(&dir).expect("a folder of our own");
    let folder = dir.to_string_lossy().into_owned();
    let mut command = without_test_variables(Command::new("unshare"));
    command.args(["--mount", "sh", "-c", script, "sh", &folder]).arg(program.command().get_program());
    let own = match program {
        Program::Slotmesh(_) => &["--cores", "2", "--shards", "2"][..],
        Program::Redis(_) => &[],
    };
    let args = ["--save", "3600 1", "--rdbcompression", "no", "--enable-protected-configs", "yes"];
    let server = Server::start("small", command, &[&args[..], &DEBUG, own].concat());
    server.order(&format!("CONFIG SET dir {folder}"));
    (server, folder)
}

/// What is answered on the way to a full disk and back.
fn full_and_back(program: &Program) -> Vec<String> {
    let (server, folder) = on_small_disk(program);
    let mut connection = server.connect();
    let mut say = |lines: &[&str]| -> Vec<String> {
        lines.iter().map(|line| format!("{line}: {}", show(&connection.say(line)))).collect()
    };
    let save = |says: &mut Vec<String>| {
        says.push(show(&server.say("BGSAVE")));
        server.await_info("persistence", "rdb_bgsave_in_progress", "0");
        says.push(server.info("persistence", "rdb_last_bgsave_status"));
    };
    let mut says = say(&["SET a 1", "SAVE", "DEBUG POPULATE 60000 k 100", "SET a 2"]);
    save(&mut says);
    says.extend(say(&["SET a 3", "DEL a", "PING", "GET a", "EXISTS k:1", "INFO nothing", "MULTI", "SET b 1", "EXEC"]));
    says.extend(say(&["FLUSHALL", "CONFIG SET stop-writes-on-bgsave-error no", "SET a 4", "GET a"]));
    says.extend(say(&["CONFIG SET stop-writes-on-bgsave-error yes", "SET a 5", "CONFIG SET save \"\"", "SET a 6"]));
    server.connect().ask(&["CONFIG", "SET", "save", "3600 1"]);
    says.extend(say(&["SET a 7"]));
    let mut enlarge = Command::new("nsenter");
    enlarge.args(["--mount", "--target", &server.pid().to_string(), "mount", "-o", "remount,size=40m", &folder]);
    assert!(enlarge.status().is_ok_and(|status| status.success()), "we may mount");
    // Room alone is no proof.
    says.extend(say(&["SET a 8"]));
    save(&mut says);
    says.extend(say(&["SET a 9", "GET a", "DBSIZE"]));
    drop(server);
    let _ = fs::remove_dir_all(folder);
    says
}

#[test]
fn a_full_disk_refuses_writes_until_a_save_succeeds() {
    let expected = full_and_back(&Program::Redis(None));
    assert!(expected.iter().any(|line| line.starts_with("SET a 3: -MISCONF Redis is configured to save RDB")));
    assert_eq!(full_and_back(&Program::Slotmesh(2)), expected);
}

#[test]
fn with_save_points_flushall_is_answered_when_the_file_holds_nothing() {
    let ours = |shards: &str, more: &[&str]| {
        let args = ["--save", "3600 1000", "--cores", "2", "--shards", shards];
        let server = Server::start("slotmesh", node_command(), &[&args[..], &DEBUG, more].concat());
        server.await_info("persistence", "loading", "0");
        server
    };
    let redis = Server::start("redis-server", Program::Redis(None).command(), &["--save", "3600 1000"]);
    let servers =
        [redis, ours("1", &[]), ours("2", &[]), ours("2", &["--appendonly", "yes", "--appendfsync", "always"])];
    for server in &servers {
        let mut connection = server.connect();
        for (round, way) in ["FLUSHALL", "FLUSHALL ASYNC", "MULTI\r\nFLUSHALL\r\nEXEC", "FLUSHALL"].iter().enumerate() {
            for key in 0..50 {
                assert_eq!(connection.say(&format!("SET key:{key} {round}")), b"+OK\r\n");
            }
            assert_eq!(connection.say("SAVE"), b"+OK\r\n");
            let has_keys = || dump_of(server).windows(4).any(|bytes| bytes == b"key:");
            assert!(has_keys(), "{way}");
            connection.send(format!("{way}\r\n").as_bytes());
            let replies = connection.replies(way.lines().count());
            let has = has_keys();
            let last = show(&replies[replies.len() - 1]);
            assert!(!has && last.ends_with("+OK\\r\\n"), "{way}: {last}");
        }
    }
}

/// Starts the node on a file that it refuses: what it says.
fn refused(dump: &[u8], args: &[&str]) -> String {
    let dir = std::env::temp_dir().join(format!("slotmesh-refused-{}-{}", std::process::id(), unused_port()));
    fs::create_dir_all(&dir).expect("a folder of our own");
    put_dump(dump)(&dir);
    let port = unused_port().to_string();
    let mut command = node_command();
    command.args(["--port", &port, "--dir"]).arg(&dir).args(args).stdin(Stdio::null());
    let output = command.output().expect("the node starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(fs::read(dir.join("dump.rdb")).expect("it is there"), dump, "nothing was changed");
    assert!(!text.contains("panicked"), "{text}");
    let _ = fs::remove_dir_all(dir);
    text
}

#[test]
fn a_wrong_file_stops_the_start_with_its_place() {
    let server = node(1, &[], |_| ());
    server.say("DEBUG POPULATE 1000 k 50");
    server.order("SAVE");
    let dump = dump_of(&server);
    let says = |text: &str, parts: &[&str]| {
        for part in parts.iter().chain(&["dump.rdb", "Fatal error loading the DB"]) {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    says(&refused(&dump[..dump.len() / 2], &[]), &["Unexpected EOF reading RDB file", "at offset"]);
    let mut flipped = dump.clone();
    flipped[dump.len() / 2] ^= 0x10;
    says(&refused(&flipped, &[]), &["at offset"]);
    says(&refused(b"", &[]), &["Unexpected EOF", "at offset 0"]);
    says(&refused(b"REDIS0042", &[]), &["Can't handle RDB format version 42"]);
    says(&refused(b"something else", &[]), &["Wrong signature trying to load DB from file"]);
    let peer = redis(&Program::Redis(None), |_| ());
    peer.say("HSET profile name x");
    peer.order("SAVE");
    says(&refused(&dump_of(&peer), &["--shards", "1"]), &["Key 'profile' is a hash (type 16)", "at offset"]);
}

/// How many processes are killed in a save.
fn kills() -> u32 {
    std::env::var("SLOTMESH_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(30)
}

#[test]
fn a_process_that_is_killed_while_it_saves_starts_from_one_moment_of_its_data() {
    let args = ["--save", "", "--cores", "2", "--shards", "2", "--enable-debug-command", "yes"];
    let mut server = Server::start("slotmesh", node_command(), &args);
    server.say("DEBUG POPULATE 30000 k 50");
    server.order("SAVE");
    for kill in 0..kills() {
        let stops = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (server, stops) = (&server, &stops);
                scope.spawn(move || {
                    let mut connection = server.connect();
                    for number in 0.. {
                        // The two keys are of one shard or of two: both are changed at once, or neither.
                        let block =
                            format!("MULTI\r\nSET one:{writer} {number}\r\nSET two:{writer} {number}\r\nEXEC\r\n");
                        if stops.load(Ordering::Relaxed) || connection.try_send(block.as_bytes()).is_err() {
                            return;
                        }
                        for _ in 0..4 {
                            if connection.try_reply().is_err() {
                                return;
                            }
                        }
                    }
                });
            }
            let mut connection = server.connect();
            let until = Instant::now() + Duration::from_millis(u64::from(kill * 37 % 150));
            while Instant::now() < until {
                connection.say("BGSAVE");
            }
            server.signal("KILL");
            stops.store(true, Ordering::Relaxed);
        });
        server.restart();
        server.await_info("persistence", "loading", "0");
        for writer in 0..2 {
            let value = |name: &str| show(&server.say(&format!("GET {name}:{writer}")));
            assert_eq!(value("one"), value("two"), "kill {kill}: half of a transaction was saved");
        }
        let keys = show(&server.say("DBSIZE"));
        assert!(["30000", "30002", "30004"].iter().any(|count| keys.contains(count)), "kill {kill}: {keys}");
    }
    assert_sound(&server.dir().join("dump.rdb"));
}

#[test]
fn a_replica_and_a_master_that_start_again_resync_partially() {
    let kinds = || [Program::Slotmesh(1), Program::Redis(None)];
    for (master, replica) in kinds().into_iter().flat_map(|master| kinds().map(|replica| (master.clone(), replica))) {
        let mut master = master.alone(&[]);
        let mut replica = replica.alone(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
        let pair = format!("{} -> {}", master.name(), replica.name());
        replica.await_link();
        let mut connection = master.connect();
        connection.say("SELECT 2");
        connection.say("SET a 1");
        master.await_same(&replica);
        replica.connect().send(b"SHUTDOWN SAVE\r\n");
        replica.await_end();
        connection.say("SET b 2");
        replica.restart();
        replica.await_link();
        connection.say("SET c 3");
        master.await_same(&replica);
        assert_eq!(master.syncs(), (1, 1), "{pair}: the replica");
        master.connect().send(b"SHUTDOWN SAVE\r\n");
        master.await_end();
        master.restart();
        master.await_info("persistence", "loading", "0");
        replica.await_link();
        master.order("SET d 4");
        master.await_same(&replica);
        assert_eq!(master.syncs(), (0, 1), "{pair}: the master");
    }
}

#[test]
fn debug_reload_is_one_moment_for_everybody() {
    let server = node(2, &[], |_| ());
    fill(&server);
    let before = digest(&server);
    server.order("SET watched 1");
    let mut watcher: Connection = server.connect();
    watcher.say("WATCH watched");
    server.order("DEBUG RELOAD");
    assert_eq!(server.say("DEL watched"), b":1\r\n");
    assert_eq!(digest(&server), before);
    server.order("SET more 1");
    server.order("DEBUG RELOAD NOSAVE");
    assert_eq!(server.say("EXISTS more watched"), b":1\r\n", "the file is of before");
}
