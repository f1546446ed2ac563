//! The house keeps its order: arrows between crates, sizes of files, room cards, words that must not stand.
//!
//! The rules are those of the README. Each test prints all offences at once; a rule's exceptions stand beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no source of ours.
const NOT_OURS: &[&str] = &[".git", "target", "corpus", "artifacts"];

/// All that the top level may hold, and whether it must.
const TOP_LEVEL: &[(&str, bool)] = &[
    (".cargo", false),
    (".ci", true),
    (".clippy.toml", true),
    (".git", false),
    (".gitignore", true),
    (".rustfmt.toml", true),
    ("Cargo.lock", true),
    ("Cargo.toml", true),
    ("LICENSE", true),
    ("Makefile", true),
    ("README.md", true),
    ("bench", true),
    ("conf", true),
    ("proxy", true),
    ("shard", true),
    ("target", false),
];

/// The arrows: for each package its folder, the rooms that it may use, and those outside crates that not everybody
/// may use.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("slotmesh-base", "shard/base", &["crc16"]),
    ("slotmesh-resp", "shard/resp", &["slotmesh-base"]),
    ("slotmesh-keyspace", "shard/keyspace", &["slotmesh-base"]),
    ("slotmesh-rdb", "shard/rdb", &["slotmesh-base", "slotmesh-keyspace"]),
    ("slotmesh-command", "shard/command", &["slotmesh-base", "slotmesh-resp", "slotmesh-keyspace", "slotmesh-rdb"]),
    ("slotmesh-cluster", "shard/cluster", &["slotmesh-base", "slotmesh-resp"]),
    ("slotmesh-replication", "shard/replication", &["slotmesh-base", "slotmesh-resp"]),
    ("slotmesh-persistence", "shard/persistence", &["slotmesh-base"]),
    (
        "slotmesh-shard",
        "shard",
        &[
            "slotmesh-base",
            "slotmesh-resp",
            "slotmesh-keyspace",
            "slotmesh-rdb",
            "slotmesh-command",
            "slotmesh-cluster",
            "slotmesh-replication",
            "slotmesh-persistence",
            "slotmesh-conf",
        ],
    ),
    ("slotmesh-conf", "conf", &["config"]),
    ("slotmesh-io", "proxy/io", &["monoio", "io-uring", "io-uring06", "libc"]),
    (
        "slotmesh",
        "proxy",
        &[
            "slotmesh-base",
            "slotmesh-resp",
            "slotmesh-keyspace",
            "slotmesh-command",
            "slotmesh-cluster",
            "slotmesh-rdb",
            "slotmesh-replication",
            "slotmesh-persistence",
            "slotmesh-shard",
            "slotmesh-conf",
            "slotmesh-io",
            "hdrhistogram",
        ],
    ),
    (
        "slotmesh-bench",
        "bench",
        &["slotmesh-base", "slotmesh-resp", "slotmesh-io", "monoio", "io-uring", "hdrhistogram", "libc"],
    ),
    ("slotmesh-sim", "bench/sim", &["slotmesh-base", "slotmesh-cluster"]),
    // libc: to start the node where the kernel forbids it something.
    (
        "slotmesh-conform",
        "bench/conform",
        &["slotmesh-base", "slotmesh-resp", "slotmesh-keyspace", "slotmesh-rdb", "libc"],
    ),
];

/// Crates of the outside that only the packages with an arrow to them may name.
const GUARDED: &[&str] = &["monoio", "io-uring", "io-uring06", "hdrhistogram", "config", "crc16", "libc"];

/// Rooms where a clock, a thread or a socket does not exist.
const NO_STD: &[&str] =
    &["shard/base", "shard/resp", "shard/keyspace", "shard/rdb", "shard/cluster", "shard/persistence"];

const LINES_MAX: usize = 800;
const TEST_LINES_MAX: usize = 1500;

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "misc", "types", "manager", "helpers"];

/// Macros of unfinished work.
const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "dbg!("];

/// Where `unsafe` may stand.
const UNSAFE_PLACES: &[&str] = &["proxy/io/", "shard/keyspace/", "bench/conform/tests/forbidden/"];

/// Where the text of an error reply may stand.
const ERROR_PLACES: &[&str] = &[
    "shard/base/src/reply_error.rs",
    "shard/resp/src/encode.rs",
    "shard/cluster/src/redirect.rs",
    "shard/command/src/family/",
    "shard/command/src/describe.rs",
    "shard/command/src/describe/unknown.rs",
    "shard/src/local/",
    // It reads the errors of nodes.
    "shard/src/gateway/answer.rs",
    "bench/",
];

/// How the text of an error reply begins in a source file.
const ERROR_STARTS: &[&str] =
    &["\"ERR ", "\"-ERR ", "\"WRONGTYPE", "\"-WRONGTYPE", "\"NOAUTH", "\"WRONGPASS", "\"MOVED "];

/// Readers of clocks, and sleeping.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", "thread::sleep"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench lies in the root").to_owned()
}

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn stem(&self) -> &str {
        Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || matches!(self.stem(), "tests" | "testing")
    }

    /// Examples measure; nothing is built from them.
    fn is_example(&self) -> bool {
        self.path.contains("/examples/")
    }

    /// The text without comments and without the tests at its bottom.
    fn code(&self) -> String {
        let shipped = self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        shipped.lines().filter(is_code).collect::<Vec<_>>().join("\n")
    }
}

fn collect(dir: &Path, root: &Path, found: &mut Vec<Source>) {
    let entries = fs::read_dir(dir).expect("the tree can be read");
    for path in entries.map(|entry| entry.expect("the tree can be read").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !NOT_OURS.contains(&name) {
            collect(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "toml") {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            let path = path.strip_prefix(root).expect("below the root").to_str().expect("names are UTF-8").to_owned();
            found.push(Source { path, text });
        }
    }
}

fn sources(extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), &root(), &mut found);
    found.retain(|source| source.path.ends_with(extension));
    assert!(found.len() > 5, "the tree was found");
    found
}

/// Rust files but for this one, which spells what it looks for.
fn rust() -> Vec<Source> {
    let mut found = sources(".rs");
    found.retain(|source| source.path != "bench/tests/tidy.rs");
    found
}

fn assert_none(what: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{what}:\n  {}", offences.join("\n  "));
}

/// Lines of code that hold one of `words`, as `path: word`.
fn mentions(sources: &[Source], words: &[&str]) -> Vec<String> {
    let of = |source: &Source| {
        let code = source.code();
        let found: Vec<_> = words.iter().filter(|word| code.contains(**word)).collect();
        found.into_iter().map(|word| format!("{}: {word}", source.path)).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of).collect()
}

fn is_below(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

/// The crates that a manifest names as dependencies of code that ships, and of tests.
fn dependencies(manifest: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut ships, mut tests, mut section) = (Vec::new(), Vec::new(), "");
    for line in manifest.lines().map(str::trim) {
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if name.is_empty() || line.starts_with('#') {
            continue;
        } else if section.ends_with("dev-dependencies") {
            tests.push(name);
        } else if section.ends_with("dependencies") {
            ships.push(name);
        }
    }
    (ships, tests)
}

#[test]
fn crates_use_only_what_their_arrows_allow() {
    let mut offences = Vec::new();
    let members = sources("/Cargo.toml");
    for member in members.iter().filter(|member| !member.path.starts_with("bench/fuzz/")) {
        let folder = member.path.trim_end_matches("/Cargo.toml");
        let Some((package, _, allowed)) = ARROWS.iter().find(|arrow| arrow.1 == folder) else {
            offences.push(format!("{folder}: has no arrows in tidy.rs"));
            continue;
        };
        if !member.text.contains(&format!("name = \"{package}\"")) {
            offences.push(format!("{folder}: is not called {package}"));
        }
        let (ships, tests) = dependencies(&member.text);
        let is_guarded = |name: &&&str| name.starts_with("slotmesh") || GUARDED.contains(*name);
        for name in ships.iter().chain(&tests).filter(is_guarded).filter(|name| !allowed.contains(name)) {
            offences.push(format!("{package} -> {name}"));
        }
    }
    assert_none("arrows that do not exist", &offences);
}

#[test]
fn the_top_level_is_as_agreed() {
    let entries = fs::read_dir(root()).expect("the root can be read");
    let names: BTreeSet<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let is_known = |name: &&String| TOP_LEVEL.iter().any(|(known, _)| known == name);
    let mut offences: Vec<_> =
        names.iter().filter(|name| !is_known(name)).map(|name| format!("{name}: why?")).collect();
    let missing = TOP_LEVEL.iter().filter(|(name, must)| *must && !names.contains(*name));
    offences.extend(missing.map(|(name, _)| format!("{name}: missing")));
    assert_none("top level", &offences);
}

#[test]
fn files_are_short() {
    let limit = |source: &Source| if source.is_test() { TEST_LINES_MAX } else { LINES_MAX };
    let size = |source: &Source| (source.text.lines().count(), limit(source));
    let long = |source: &Source| matches!(size(source), (lines, limit) if lines > limit);
    let found = sources(".rs");
    let offences: Vec<_> = found
        .iter()
        .filter(|source| long(source))
        .map(|source| format!("{}: {:?}", source.path, size(source)))
        .collect();
    assert_none("files with more lines than allowed", &offences);
}

#[test]
fn every_room_has_its_card() {
    let found = rust();
    let cards =
        found.iter().filter(|source| source.path.ends_with("src/lib.rs") || source.path.ends_with("src/main.rs"));
    let is_bare = |source: &&Source| !source.text.starts_with("//! ") || !source.text.contains("ot here*: ");
    let is_bare = |source: &&Source| is_bare(source) && !source.text.contains("Not here: ");
    let offences: Vec<_> = cards.filter(is_bare).map(|source| source.path.clone()).collect();
    assert_none("rooms without a card that says what is *not here*", &offences);
    let lacks_wall =
        |room: &&&str| !found.iter().any(|s| s.path == format!("{room}/src/lib.rs") && s.text.contains("#![no_std]"));
    let offences: Vec<_> = NO_STD.iter().filter(lacks_wall).map(|room| (*room).to_owned()).collect();
    assert_none("rooms that must be no_std", &offences);
}

#[test]
fn names_say_something() {
    let is_empty = |source: &&Source| {
        Path::new(&source.path).components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            EMPTY_NAMES.contains(&part.trim_end_matches(".rs"))
        })
    };
    let found = rust();
    let offences: Vec<_> = found.iter().filter(is_empty).map(|source| source.path.clone()).collect();
    assert_none("names that say nothing", &offences);
}

#[test]
fn work_is_finished() {
    assert_none("unfinished work", &mentions(&rust(), UNFINISHED));
}

#[test]
fn unsafe_stands_in_its_places_only() {
    let mut found = rust();
    found.retain(|source| !is_below(&source.path, UNSAFE_PLACES));
    assert_none("unsafe code", &mentions(&found, &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]));
}

#[test]
fn error_texts_stand_in_their_places_only() {
    let mut found = rust();
    found.retain(|source| !is_below(&source.path, ERROR_PLACES) && !source.is_test());
    // The shard's own tests between other code.
    found.iter_mut().for_each(|source| source.text = without_inner_tests(&source.text));
    assert_none("texts of error replies", &mentions(&found, ERROR_STARTS));
}

/// The text up to the first test module.
fn without_inner_tests(text: &str) -> String {
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn deciders_read_no_clock() {
    let mut found = rust();
    found.retain(|source| source.path.starts_with("shard/") && !source.is_example());
    assert_none("clocks under shard/", &mentions(&found, CLOCKS));
}

#[test]
fn families_do_not_know_each_other() {
    const FOLDER: &str = "shard/command/src/family/";
    let mut found = rust();
    found.retain(|source| source.path.starts_with(FOLDER) && !source.is_test() && source.stem() != "mod");
    let family = |source: &Source| source.path[FOLDER.len()..].split(['/', '.']).next().unwrap_or_default().to_owned();
    let families: BTreeSet<String> = found.iter().map(family).collect();
    let mut offences = Vec::new();
    for source in &found {
        let code = source.code();
        for other in families.iter().filter(|other| **other != family(source)) {
            // A sibling is reached through `family::`, or through `super::` by a file that lies beside it.
            let is_beside = !source.path[FOLDER.len()..].contains('/');
            if code.contains(&format!("family::{other}")) || is_beside && code.contains(&format!("super::{other}::")) {
                offences.push(format!("{} -> {other}", source.path));
            }
        }
    }
    assert_none("families that use each other", &offences);
}
