//! Files that are wrong at any place, or cannot be had: the start ends with one line that names file and place, with the exit
//! code of redis-server, and nothing on the disk has changed. What starts all the same has cut off nothing but an end.

use slotmesh_base::Rng;
use slotmesh_conform::{Server, await_condition, node_command, unused_port, without_test_variables};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Longest wait for the end of a start, in seconds.
const SECONDS_MAX: u64 = 30;
const DUMP: &str = "dump.rdb";
const FOLDER: &str = "appendonlydir";
const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const BASE: &str = "appendonlydir/appendonly.aof.2.base.rdb";
const INCREMENT: &str = "appendonlydir/appendonly.aof.2.incr.aof";
/// Words that keep redis-server and ours alike.
const LOGGED: [&str; 2] = ["--appendonly", "yes"];

/// Files by their names below a folder.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn with(files: &Files) -> Self {
        let path = std::env::temp_dir().join(format!("slotmesh-bad-{}-{}", std::process::id(), unused_port()));
        for (name, bytes) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().expect("it is in the folder")).expect("a folder of our own");
            fs::write(file, bytes).expect("a folder of our own");
        }
        // For whoever runs as another user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("our own folder");
        Self(path)
    }

    /// All files.
    fn files(&self) -> Files {
        let mut files = Files::new();
        for folder in [self.0.clone(), self.0.join(FOLDER)] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_file()) {
                let name = entry.path().strip_prefix(&self.0).expect("it is below").to_owned();
                files.insert(name, fs::read(entry.path()).expect("root reads anything"));
            }
        }
        files
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(mode)).expect("our own file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that is ended if the test is.
struct Start(Child);

impl Drop for Start {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server in a folder, which must fail: what it says, and its exit code.
fn refused(mut command: Command, folder: &Path, args: &[&str]) -> (String, Option<i32>) {
    let said = folder.with_extension("said");
    let out = fs::File::create(&said).expect("a folder for temporary files");
    command.args(["--port", &unused_port().to_string(), "--dir"]).arg(folder).args(args);
    command.stdin(Stdio::null()).stdout(out.try_clone().expect("an open file")).stderr(out);
    let mut start = Start(command.spawn().expect("the server can be run"));
    let mut code = None;
    await_condition("a start that cannot succeed ends", SECONDS_MAX, || {
        let status = start.0.try_wait().expect("our own child");
        code = status.and_then(|status| status.code());
        status.is_some()
    });
    let text = fs::read_to_string(&said).expect("it was written");
    let _ = fs::remove_file(said);
    (text, code)
}

/// The one line of the log that says why a start has failed.
fn reason(text: &str) -> &str {
    assert!(!text.contains("panicked") && !text.contains("Ready to accept"), "{text}");
    let mut warnings = text.lines().filter(|line| line.contains(" # ") && !line.contains("Warning: no config file"));
    let line = warnings.next().unwrap_or_else(|| panic!("no reason: {text}"));
    assert_eq!(warnings.next(), None, "one line: {text}");
    line
}

/// Ours does not start with these files: its line, which names `file`. Nothing has changed, and redis-server ends with the
/// same code if it is asked.
fn refusal(files: &Files, args: &[&str], file: &str, asks_oracle: bool) -> String {
    let folder = Folder::with(files);
    let (text, code) = refused(node_command(), &folder.0, args);
    let line = reason(&text).to_owned();
    assert!(line.contains(Path::new(file).file_name().expect("a file").to_str().expect("text")), "{file}: {line}");
    assert_eq!(&folder.files(), files, "nothing has changed: {line}");
    if asks_oracle {
        let theirs = Folder::with(files);
        let (said, their_code) = refused(without_test_variables(Command::new("redis-server")), &theirs.0, args);
        assert_eq!(code, their_code, "{said}");
    }
    assert_eq!(code, Some(1), "{text}");
    line
}

/// The number behind the last "offset" of a line.
fn offset(line: &str) -> u64 {
    let digits = line.rsplit_once(" offset ").unwrap_or_else(|| panic!("no offset: {line}")).1;
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no offset: {line}"))
}

fn fill(server: &Server) {
    server.await_info("persistence", "loading", "0");
    let mut connection = server.connect();
    for number in 0..60 {
        connection.say(&format!("SET key:{number} {}", "v".repeat(number)));
        connection.say(&format!("RPUSH list:{number} a {number} {}", "e".repeat(number * 3)));
        connection.say(&format!("SET later:{number} x PXAT 4000000000000"));
    }
}

/// An RDB file of ours.
fn dump() -> Files {
    let server = Server::slotmesh(1, 1, &[]);
    fill(&server);
    assert_eq!(server.say("SAVE"), b"+OK\r\n");
    Files::from([(PathBuf::from(DUMP), fs::read(server.dir().join(DUMP)).expect("it was saved"))])
}

/// An append-only file of ours, with something in its base and in its increment.
fn log() -> Files {
    let mut server = Server::slotmesh(1, 1, &LOGGED);
    fill(&server);
    server.say("BGREWRITEAOF");
    let log = || server.log().contains("Background AOF rewrite finished successfully");
    await_condition("it is rewritten", SECONDS_MAX, log);
    server.say("RPUSH list a b c");
    server.say("SET after 1");
    assert_eq!(server.say("WAITAOF 1 0 5000"), b"*2\r\n:1\r\n:0\r\n");
    server.signal("KILL");
    server.await_end();
    let names = [MANIFEST, BASE, INCREMENT];
    let read = |name: &&str| fs::read(server.dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    names.iter().map(|name| (PathBuf::from(name), read(name))).collect()
}

fn changed(files: &Files, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    let mut files = files.clone();
    change(files.get_mut(Path::new(name)).expect("it is there"));
    files
}

#[test]
fn a_file_that_is_cut_anywhere_is_told_with_the_place() {
    let mut rng = Rng::new(7);
    for (files, name, args) in [(dump(), DUMP, &[][..]), (log(), BASE, &LOGGED)] {
        let size = files[Path::new(name)].len() as u64;
        for turn in 0..50 {
            // Both ends for certain. A base of no bytes is one without commands.
            let cut = [size - 1, 1].get(turn).copied().unwrap_or_else(|| 1 + rng.below(size - 1));
            let line = refusal(&changed(&files, name, |bytes| bytes.truncate(cut as usize)), args, name, turn < 3);
            assert!(offset(&line) <= cut, "{line}");
        }
    }
}

#[test]
fn a_bit_that_is_another_is_told_with_the_place() {
    let mut rng = Rng::new(8);
    for (files, name, args) in [(dump(), DUMP, &[][..]), (log(), BASE, &LOGGED)] {
        let size = files[Path::new(name)].len() as u64;
        for turn in 0..50 {
            let (at, bit) = (rng.below(size), rng.below(8));
            // A base that does not begin as an image does is one of commands.
            let at = if name == BASE { at.max(5) } else { at };
            let line = refusal(&changed(&files, name, |bytes| bytes[at as usize] ^= 1 << bit), args, name, turn < 3);
            assert!(offset(&line) <= size, "{line}");
        }
    }
}

#[test]
fn a_wrong_checksum_is_told_unless_nobody_wants_to_know() {
    let files = dump();
    let size = files[Path::new(DUMP)].len();
    let wrong = changed(&files, DUMP, |bytes| bytes[size - 1] ^= 0x80);
    let line = refusal(&wrong, &[], DUMP, true);
    assert!(line.contains("Wrong RDB checksum expected: (") && line.contains(") but got ("), "{line}");
    let prepare = |dir: &Path| fs::write(dir.join(DUMP), &wrong[Path::new(DUMP)]).expect("a folder of our own");
    let args = ["--save", "", "--rdbchecksum", "no"];
    let server = Server::start_with(unused_port(), "slotmesh", node_command(), &args, prepare);
    server.await_info("persistence", "loading", "0");
    assert_eq!(server.say("DBSIZE"), b":180\r\n");
}

#[test]
fn a_file_that_the_manifest_names_and_that_is_not_there_is_told() {
    let files = log();
    for name in [BASE, INCREMENT] {
        let mut files = files.clone();
        files.remove(Path::new(name));
        let line = refusal(&files, &LOGGED, name, true);
        assert!(line.contains("No such file or directory"), "{line}");
    }
}

/// A server as somebody who may not do anything.
fn as_nobody(program: &Path) -> Command {
    let mut command = without_test_variables(Command::new("setpriv"));
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
    command
}

#[test]
fn a_file_that_may_not_be_read_or_written_is_told() {
    let (dump, log) = (dump(), log());
    for (files, name, mode, args) in [
        (&dump, DUMP, 0o000, &[][..]),
        (&log, MANIFEST, 0o000, &LOGGED),
        (&log, BASE, 0o000, &LOGGED),
        (&log, INCREMENT, 0o000, &LOGGED),
        (&log, INCREMENT, 0o444, &LOGGED),
        (&log, FOLDER, 0o000, &LOGGED),
    ] {
        let folder = Folder::with(files);
        folder.set_mode(name, mode);
        let (text, code) = refused(as_nobody(slotmesh_conform::binary()), &folder.0, args);
        let line = reason(&text);
        let file = Path::new(name).file_name().and_then(|file| file.to_str()).expect("text");
        assert!(line.contains("Permission denied") && line.contains(file), "{name}: {line}");
        let (said, their_code) = refused(as_nobody(Path::new("redis-server")), &folder.0, args);
        assert_eq!(code, their_code, "{name}: {text}\n{said}");
        folder.set_mode(name, 0o755);
        assert_eq!(&folder.files(), files, "{name}: nothing has changed");
    }
}

#[test]
fn a_folder_that_may_not_be_written_to_is_told() {
    let folder = Folder::with(&Files::from([(PathBuf::from("other"), Vec::new())]));
    folder.set_mode("", 0o555);
    let (text, code) = refused(as_nobody(slotmesh_conform::binary()), &folder.0, &LOGGED);
    let line = reason(&text);
    assert!(line.contains("Permission denied") && line.contains(FOLDER), "{line}");
    let (said, their_code) = refused(as_nobody(Path::new("redis-server")), &folder.0, &LOGGED);
    assert_eq!(code, their_code, "{text}\n{said}");
    folder.set_mode("", 0o777);
    assert_eq!(folder.files().len(), 1);
}

/// A server whose folder is a small disk, full of what is in the folder and of zeros.
fn on_full_disk(program: &Path) -> Command {
    let script = "cp -r \"$5\" \"$5.kept\" && mount -t tmpfs -o size=128k none \"$5\" && cp -r \"$5.kept\"/. \"$5\" && \
                  rm -r \"$5.kept\"; cat /dev/zero > \"$5/filler\" 2> /dev/null; exec \"$@\"";
    let mut command = without_test_variables(Command::new("unshare"));
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(program);
    command
}

#[test]
fn a_disk_that_is_full_at_the_start_is_told_where_something_is_to_be_written() {
    let folder = Folder::with(&Files::from([(PathBuf::from("other"), Vec::new())]));
    let (text, code) = refused(on_full_disk(slotmesh_conform::binary()), &folder.0, &LOGGED);
    let line = reason(&text);
    assert!(line.contains("No space left on device") && line.contains("appendonly.aof.1.base.rdb"), "{line}");
    let (said, their_code) = refused(on_full_disk(Path::new("redis-server")), &folder.0, &LOGGED);
    assert_eq!(code, their_code, "{text}\n{said}");
}

#[test]
fn what_is_on_a_full_disk_is_served_and_kept() {
    let log = log();
    let prepare = |dir: &Path| {
        for (name, bytes) in &log {
            fs::create_dir_all(dir.join(FOLDER)).expect("a folder of our own");
            fs::write(dir.join(name), bytes).expect("a folder of our own");
        }
    };
    let args = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    let command = on_full_disk(slotmesh_conform::binary());
    let mut server = Server::start_with(unused_port(), "slotmesh", command, &args, prepare);
    server.await_info("persistence", "loading", "0");
    assert_eq!(server.say("GET after"), b"$1\r\n1\r\n");
    let seen = format!("/proc/{}/root{}", server.pid(), server.dir().display());
    await_condition("writes are refused", SECONDS_MAX, || {
        server.say("APPEND more 0123456789").starts_with(b"-MISCONF")
    });
    for (name, bytes) in &log {
        let now = fs::read(Path::new(&seen).join(name)).expect("nothing is removed");
        assert!(now.starts_with(bytes), "{}", name.display());
    }
    assert!(server.is_alive());
}
