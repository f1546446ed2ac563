//! What an operator does with the node: files, signals, the log, a supervisor, CPUs.

use slotmesh_conform::{Connection, Server, await_condition, is_self_test, node_command, unused_port};
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A node that the test starts in its own way, in a directory of its own; ended and removed at the end.
struct Node {
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
    /// The process that serves, if it is not the child.
    daemon: Option<u32>,
}

impl Node {
    fn new() -> Self {
        let port = unused_port();
        let dir = std::env::temp_dir().join(format!("slotmesh-operator-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).expect("the directory for temporary files can be written to");
        Self { dir, port, child: None, daemon: None }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("names are UTF-8").to_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("a directory of ours");
        self.path(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A start with our port and directory behind these arguments.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = node_command();
        command.args(args).arg("--port").arg(self.port.to_string()).arg("--dir").arg(&self.dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn start(&mut self, mut command: Command) {
        self.child = Some(command.spawn().expect("the node can be run"));
        self.await_service();
    }

    fn await_service(&self) {
        await_condition("the node answers PING", 30, || {
            Connection::tcp(("127.0.0.1", self.port))
                .is_ok_and(|mut node| node.try_send(b"PING\r\n").is_ok() && node.try_reply().is_ok())
        });
    }

    fn say(&self, line: &str) -> String {
        let mut connection = Connection::tcp(("127.0.0.1", self.port)).expect("the node accepts");
        say(&mut connection, line)
    }

    fn pid(&self) -> u32 {
        self.daemon.or(self.child.as_ref().map(Child::id)).expect("it was started")
    }

    fn terminate(&mut self) {
        signal("TERM", self.pid());
        if let Some(child) = &mut self.child {
            await_condition("the node ends", 20, || matches!(child.try_wait(), Ok(Some(_))));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(pid) = self.daemon.filter(|&pid| is_alive(pid)) {
            signal("KILL", pid);
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The reply to a line as people type it, quotes and all.
fn say(connection: &mut Connection, line: &str) -> String {
    connection.try_send(format!("{line}\r\n").as_bytes()).expect("the node reads");
    String::from_utf8_lossy(&connection.try_reply().expect("the node answers")).into_owned()
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
}

fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

/// The log's lines without process id and time: role, sign, text.
fn lines(log: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.splitn(7, ' ').collect();
        match words.as_slice() {
            [head, _, _, _, _, sign, text] => {
                let role = head.split(':').nth(1).unwrap_or_default();
                Some(format!("{role} {sign} {text}"))
            }
            [head, _, _, _, sign, text] => {
                Some(format!("{} {sign} {text}", head.split(':').nth(1).unwrap_or_default()))
            }
            _ => None,
        }
    };
    log.lines().filter_map(line).collect()
}

#[test]
fn a_node_in_the_background_keeps_its_pid_file_and_its_log() {
    let mut node = Node::new();
    let (pid_file, log) = (node.path("pid"), node.path("log"));
    let args = ["--daemonize", "yes", "--pidfile", &pid_file, "--logfile", &log, "--cores", "1"];
    let status = node.command(&args).status().expect("the node can be run");
    assert!(status.success(), "{status}");
    node.await_service();
    await_condition("the pid file is written", 10, || node.text("pid").ends_with('\n'));
    let pid: u32 = node.text("pid").trim().parse().expect("a process id");
    node.daemon = Some(pid);
    assert!(node.say("INFO server").contains(&format!("process_id:{pid}\r\n")));
    for stream in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{stream}")).expect("it runs");
        assert_eq!(target, Path::new("/dev/null"), "stream {stream}");
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).unwrap_or_default();
    assert_eq!(session, pid.to_string(), "a session of its own");

    let before = node.text("log");
    let first = &lines(&before)[0];
    assert!(is_self_test() || first.starts_with("C * oO0Oo"), "{before}");
    for words in ["M * Server initialized", "M * Ready to accept connections"] {
        assert!(lines(&before).iter().any(|line| line.starts_with(words)), "{words}: {before}");
    }
    // As logrotate does.
    fs::rename(&log, node.path("log.1")).expect("a directory of ours");
    signal("TERM", pid);
    await_condition("the node ends", 20, || !is_alive(pid));
    let after = node.text("log");
    for words in ["Received SIGTERM scheduling shutdown...", "# User requested shutdown", "* Removing the pid file."] {
        assert!(after.contains(words), "{words}: {after}");
    }
    assert!(!Path::new(&pid_file).exists(), "{after}");
}

#[test]
fn a_port_in_use_is_told_in_the_log_too_and_leaves_the_other_pid_file_alone() {
    let first = Server::slotmesh(1, 1, &[]);
    let node = Node::new();
    let pid_file = node.file("pid", "of the first\n");
    let log = node.path("log");
    let port = first.port().to_string();
    let mut command = node.command(&["--logfile", &log, "--pidfile", &pid_file]);
    // The last one wins.
    let status = command.args(["--port", &port]).status().expect("the node can be run");
    assert_eq!(status.code(), Some(1));
    assert!(node.text("log").contains(&format!("Failed listening on port {port} (tcp)")), "{}", node.text("log"));
    assert!(is_self_test() || node.text("pid") == "of the first\n");
}

#[test]
fn the_suites_of_redis_find_what_they_look_for() {
    let mut node = Node::new();
    let out = fs::File::create(node.path("out")).expect("a directory of ours");
    let file = node.file("a.conf", "always-show-logo yes\ndaemonize no\nloglevel verbose\nlogfile ''\nmaxmemory 1gb\n");
    let mut command = node.command(&[&file]);
    command.stdout(out);
    node.start(command);
    let told = node.text("out");
    let pid = node.pid();
    let position = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"));
    assert!(position(&format!(" PID: {pid}")) < position("Server initialized"));
    assert!(position("Server initialized") <= position("Ready to accept connections"));
    assert!(is_self_test() || told.contains("'maxmemory' ("), "{told}");
    node.terminate();
}

#[test]
fn systemd_is_told_of_readiness_and_of_the_end() {
    for is_abstract in [false, true] {
        let mut node = Node::new();
        let path = node.path("notify");
        let socket = if is_abstract {
            let address = SocketAddr::from_abstract_name(path.as_bytes()).expect("a short name");
            UnixDatagram::bind_addr(&address)
        } else {
            UnixDatagram::bind(&path)
        };
        let socket = socket.expect("a name of ours");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout is allowed");
        let name = if is_abstract { format!("@{path}") } else { path };
        // Supervised, it stays in the foreground.
        let mut command = node.command(&["--supervised", "systemd", "--daemonize", "yes", "--cores", "1"]);
        command.env("NOTIFY_SOCKET", name);
        let told = || {
            let mut bytes = [0; 1024];
            let length = socket.recv(&mut bytes).expect("a datagram in time");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        node.start(command);
        let ready = told();
        assert!(ready.contains("READY=1\n") && ready.contains("STATUS=Ready to accept connections\n"), "{ready}");
        node.terminate();
        assert!(told().contains("STOPPING=1\n"));
    }
}

/// The file of the Debian package, on hosts that have it: as its unit starts it, and as its init script does; what
/// belongs to another user is put elsewhere.
#[test]
fn the_packaged_file_starts_the_node() {
    let Ok(text) = fs::read_to_string("/etc/redis/redis.conf") else {
        eprintln!("SKIPPED: no /etc/redis/redis.conf here");
        return;
    };
    for args in [&["--supervised", "systemd", "--daemonize", "no"] as &[&str], &[]] {
        let mut node = Node::new();
        let (file, log, pid_file) = (node.file("redis.conf", &text), node.path("log"), node.path("pid"));
        let mut command = node.command(&[&[file.as_str()], args].concat());
        command.args(["--logfile", &log, "--pidfile", &pid_file]);
        if args.is_empty() {
            assert!(command.status().expect("the node can be run").success());
            node.await_service();
            node.daemon = node.text("pid").trim().parse().ok();
        } else {
            node.start(command);
        }
        assert_eq!(node.say("CONFIG GET tcp-backlog"), "*2\r\n$11\r\ntcp-backlog\r\n$3\r\n511\r\n");
        node.terminate();
    }
}

/// A rewritten file starts us and redis-server alike, and both answer the same.
#[test]
fn a_rewritten_file_starts_both_servers_alike() {
    let mut node = Node::new();
    let text = "# of the operator\n\nhz 20\nhz 30\nmaxmemory 100mb\nslave-priority 7\nsave 60 1\nsave 300 2\n\n\n\
        # last\nclient-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit replica 1mb 1mb 60\n\
        client-output-buffer-limit pubsub 32mb 8mb 60\ntimeout 5\n";
    let file = node.file("a.conf", text);
    node.start(node.command(&[&file]));
    for line in [
        "CONFIG SET timeout 0 save \"\" requirepass \"\" maxmemory-policy allkeys-lru",
        "CONFIG SET notify-keyspace-events KEA latency-tracking-info-percentiles \"50 99.5\" hz 40",
        "CONFIG REWRITE",
    ] {
        assert_eq!(node.say(line), "+OK\r\n", "{line}");
    }
    let ours = node.text("a.conf");
    for words in
        ["# of the operator\n\nhz 40\n", "\nreplica-priority 7\n", "\nsave \"\"\n", "\n# last\n", "timeout 0\n"]
    {
        assert!(ours.contains(words), "{words}: {ours}");
    }
    assert!(ours.contains("# Generated by CONFIG REWRITE\n") && !ours.contains("\n\n\n"), "{ours}");
    let asked = "CONFIG GET hz maxmemory replica-priority save client-output-buffer-limit timeout maxmemory-policy \
        notify-keyspace-events latency-tracking-info-percentiles port dir";
    let settings = |node: &Node| {
        let mut lines: Vec<String> = node.say(asked).lines().map(str::to_owned).collect();
        // Both name each setting before its value; the order is each server's own.
        let mut pairs: Vec<_> = lines.split_off(1).chunks(4).map(|pair| pair.join(" ")).collect();
        pairs.sort();
        pairs
    };
    let (before, port) = (settings(&node), node.port);
    node.terminate();
    for program in [node_command(), Command::new("redis-server")] {
        let mut again = Node::new();
        again.port = port;
        let mut command = program;
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        again.start(command);
        assert_eq!(settings(&again), before);
        // What it rewrites itself is what we have written.
        assert_eq!(again.say("CONFIG REWRITE"), "+OK\r\n");
        let mut lines =
            [ours.clone(), node.text("a.conf")].map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        let generated = |lines: &mut Vec<String>| {
            let at = lines.iter().position(|line| line.starts_with("# Generated")).expect("the signature");
            let mut rest = lines.split_off(at);
            // It writes its users too.
            rest.retain(|line| !line.is_empty() && !line.starts_with("user default on nopass "));
            rest.sort();
            rest
        };
        let generated = lines.each_mut().map(generated);
        assert_eq!(lines[0], lines[1]);
        assert_eq!(generated[0], generated[1]);
        again.terminate();
    }
}

#[test]
fn config_rewrite_tells_why_it_cannot() {
    let mut node = Node::new();
    node.start(node.command(&[]));
    assert_eq!(node.say("CONFIG REWRITE"), "-ERR The server is running without a config file\r\n");
    node.terminate();
    let file = node.file("a.conf", "hz 20\n");
    node.start(node.command(&[&file]));
    fs::remove_file(&file).expect("a file of ours");
    fs::create_dir(&file).expect("a directory of ours");
    assert_eq!(node.say("CONFIG REWRITE"), "-ERR Rewriting config file: Is a directory\r\n");
    node.terminate();
}

#[test]
fn config_set_of_several_values_is_all_or_nothing() {
    let server = Server::slotmesh(1, 1, &["--enable-protected-configs", "yes"]);
    let mut node = server.connect();
    for (line, refused) in [
        ("CONFIG SET hz 50 maxclients 0", "'maxclients') - argument must be between 1 and 4294967295 inclusive"),
        ("CONFIG SET hz 50 dir /nowhere/at/all", "'dir') - No such file or directory"),
        ("CONFIG SET hz 50 timeout 1 databases 2", "') - can't set immutable config"),
        ("CONFIG SET hz 50 hz 60", "'hz') - duplicate parameter"),
        (
            "CONFIG SET oom-score-adj-values \"0 0 9999\" hz 50",
            "'oom-score-adj-values') - Invalid oom-score-adj-values",
        ),
    ] {
        let reply = say(&mut node, line);
        assert!(reply.starts_with("-ERR CONFIG SET failed (possibly related to argument '"), "{line}: {reply}");
        assert!(reply.contains(refused), "{line}: {reply}");
        assert_eq!(node.say("CONFIG GET hz"), b"*2\r\n$2\r\nhz\r\n$2\r\n10\r\n", "{line}");
    }
    assert_eq!(node.say("CONFIG SET dir /"), b"+OK\r\n");
    assert_eq!(node.say("CONFIG GET dir"), b"*2\r\n$3\r\ndir\r\n$1\r\n/\r\n");
    let cwd = fs::read_link(format!("/proc/{}/cwd", server.pid())).expect("it runs");
    assert_eq!(cwd, Path::new("/"));
}

#[test]
fn the_oom_score_follows_the_settings() {
    let server = Server::slotmesh(1, 1, &["--oom-score-adj", "absolute", "--oom-score-adj-values", "17", "200", "800"]);
    let score = || fs::read_to_string(format!("/proc/{}/oom_score_adj", server.pid())).expect("it runs");
    await_condition("the score is set", 10, || score().trim() == "17");
    let mut node = server.connect();
    assert_eq!(say(&mut node, "CONFIG SET oom-score-adj-values \"23 200 800\""), "+OK\r\n");
    assert_eq!(score().trim(), "23");
}

#[test]
fn the_process_is_named_by_its_template() {
    let server = Server::slotmesh(1, 1, &[]);
    let title = || {
        let bytes = fs::read(format!("/proc/{}/cmdline", server.pid())).expect("it runs");
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    };
    if title().contains("--port") {
        eprintln!("SKIPPED: this kernel does not let processes name themselves");
        return;
    }
    assert!(title().ends_with(&format!(" 127.0.0.1:{}", server.port())), "{}", title());
    let mut node = server.connect();
    assert_eq!(say(&mut node, "CONFIG SET proc-title-template \"mine {port}\""), "+OK\r\n");
    assert_eq!(title(), format!("mine {}", server.port()));
    let refused = "-ERR CONFIG SET failed (possibly related to argument 'proc-title-template') - template format is \
        invalid or contains unknown variables\r\n";
    assert_eq!(say(&mut node, "CONFIG SET proc-title-template \"{pid}\""), refused);
}

/// With a list of CPUs each core thread runs on one of them and nowhere else.
#[test]
fn core_threads_are_bound_to_the_listed_cpus() {
    let allowed = fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let allowed = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let first = allowed.trim().split([',', '-']).next().unwrap_or_default().to_owned();
    let last = allowed.trim().rsplit([',', '-']).next().unwrap_or_default().to_owned();
    if is_self_test() || first == last {
        eprintln!("SKIPPED: one CPU only");
        return;
    }
    let list = format!("{last},{first}");
    let server = Server::slotmesh(2, 2, &["--server_cpulist", &list]);
    let tasks = || {
        let mut found: Vec<(String, String)> = fs::read_dir(format!("/proc/{}/task", server.pid()))
            .expect("it runs")
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
            .filter_map(|status| {
                let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                Some((field("Name:")?.to_owned(), field("Cpus_allowed_list:")?.to_owned()))
            })
            .filter(|(name, _)| name.starts_with("core-"))
            .collect();
        found.sort();
        found
    };
    let mut cpus = [first, last];
    cpus.sort_by_key(|cpu| cpu.parse::<usize>().unwrap_or(0));
    let expected: Vec<_> = cpus.into_iter().enumerate().map(|(core, cpu)| (format!("core-{core}"), cpu)).collect();
    await_condition("the threads are bound", 10, || tasks() == expected);
}

#[test]
fn the_gateway_moves_while_it_runs() {
    for cores in [1, 2] {
        let server = Server::slotmesh(cores, cores, &[]);
        let (elsewhere, taken) = (unused_port(), Server::slotmesh(1, 1, &[]));
        let mut old = server.connect();
        assert_eq!(old.say(&format!("CONFIG SET port {elsewhere}")), b"+OK\r\n");
        assert_eq!(old.say("PING"), b"+PONG\r\n", "who is connected stays so");
        let connect = |port| Connection::tcp(("127.0.0.1", port));
        assert!(connect(server.port()).is_err());
        for _ in 0..10 {
            assert_eq!(connect(elsewhere).expect("it moved there").say("PING"), b"+PONG\r\n");
        }
        assert_eq!(old.say("CONFIG GET port"), format!("*2\r\n$4\r\nport\r\n$5\r\n{elsewhere}\r\n").as_bytes());
        if is_self_test() {
            return;
        }
        // All or nothing, also where the system refuses.
        let both = format!("CONFIG SET timeout 77 port {}", taken.port());
        let refused = b"-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs.\r\n";
        assert_eq!(old.say(&both), refused);
        assert_eq!(old.say("CONFIG GET timeout"), b"*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
        assert_eq!(connect(elsewhere).expect("it stayed there").say("PING"), b"+PONG\r\n");
        assert!(server.log().contains(&format!("Failed listening on port {} (tcp)", taken.port())), "{}", server.log());
        assert_eq!(
            old.ask(&["CONFIG", "SET", "bind", "nosuch.invalid"]),
            b"-ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.\r\n"
        );
        assert_eq!(old.ask(&["CONFIG", "SET", "bind", "* -::*"]), b"+OK\r\n");
        assert_eq!(Connection::tcp(("127.0.0.2", elsewhere)).expect("all addresses").say("PING"), b"+PONG\r\n");
        assert_eq!(old.ask(&["CONFIG", "SET", "bind", "127.0.0.1"]), b"+OK\r\n");
        assert!(Connection::tcp(("127.0.0.2", elsewhere)).is_err());
        assert_eq!(old.say("CONFIG SET port 0"), b"+OK\r\n");
        assert!(connect(elsewhere).is_err());
        assert_eq!(server.connect_unix().say(&format!("CONFIG SET port {elsewhere}")), b"+OK\r\n");
        assert_eq!(connect(elsewhere).expect("it is back").say("PING"), b"+PONG\r\n");
    }
}

#[test]
fn a_pattern_includes_the_files_of_a_folder() {
    let mut node = Node::new();
    fs::create_dir_all(node.path("conf.d/folder.conf")).expect("a directory of ours");
    node.file("conf.d/20.conf", "maxclients 20\nhz 20\n");
    node.file("conf.d/100.conf", "maxclients 100\ntimeout 100\n");
    node.file("conf.d/not", "nonsense\n");
    let dir = node.path("conf.d");
    let file =
        node.file("main.conf", &format!("hz 1\ninclude {dir}/*.conf\ninclude {dir}/*.none\nmaxmemory-samples 3\n"));
    let command = node.command(&[&file]);
    node.start(command);
    let mut connection = Connection::tcp(("127.0.0.1", node.port)).expect("it serves");
    for (name, value) in [("maxclients", "20"), ("hz", "20"), ("timeout", "100"), ("maxmemory-samples", "3")] {
        let reply = say(&mut connection, &format!("CONFIG GET {name}"));
        assert!(reply.contains(&format!("\r\n{value}\r\n")), "{reply}");
    }
}
