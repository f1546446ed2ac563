//! Random requests from a grammar: a table of templates with weights.
//!
//! A template is a line of words. Words in capitals that [`Generator::expand`] knows stand for something random
//! (`K` a key, `V` a value, …); a `?` behind one makes it optional, `*` repeats it up to three times, `+` one to four
//! times. All other words stand for themselves. Afterwards a few requests are spoilt on purpose: an argument is
//! lost, doubled or replaced by junk.
//!
//! Times to live are either over or far off and drawn from wide ranges: which of two is the later one must not
//! depend on the milliseconds between two servers' runs.

use crate::Step;
use slotmesh_base::Rng;

/// The password of servers that want one.
pub const PASSWORD: &str = "correct horse";

/// Which requests are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grammar {
    /// Every command that reads or changes data or the connection, and what describes commands.
    Everything,
    /// Fewer commands on fewer keys, most of them valid: states get deeper.
    Data,
    /// Commands on lists, on few keys: lists get long.
    Lists,
    /// AUTH, HELLO and the like, against a server with a password.
    Authentication,
    /// CONFIG GET and CONFIG SET.
    Configuration,
}

type Rows = &'static [(u64, &'static str)];

const DATA: Rows = &[
    (12, "SET K V"),
    (14, "SET K V SETOPTION*"),
    (14, "GET K"),
    (3, "GETSET K V"),
    (4, "GETDEL K"),
    (3, "SETNX K V"),
    (3, "SETEX K SECONDS V"),
    (3, "PSETEX K MILLIS V"),
    (5, "APPEND K V"),
    (4, "STRLEN K"),
    (5, "INCR K"),
    (3, "DECR K"),
    (5, "INCRBY K INT"),
    (5, "DECRBY K INT"),
    (7, "MGET K+"),
    (6, "MSET K V K V"),
    (3, "MSET K V"),
    (3, "MSET K V K V K V K V"),
    (4, "DEL K+"),
    (4, "UNLINK K+"),
    (4, "EXISTS K+"),
    (3, "TOUCH K+"),
    (3, "TYPE K"),
    (6, "EXPIRE K SECONDS EXPIREOPTION*"),
    (5, "PEXPIRE K MILLIS EXPIREOPTION*"),
    (4, "EXPIREAT K UNIXSECONDS EXPIREOPTION*"),
    (4, "PEXPIREAT K UNIXMILLIS EXPIREOPTION*"),
    (4, "TTL K"),
    (4, "PTTL K"),
    (3, "EXPIRETIME K"),
    (3, "PEXPIRETIME K"),
    (4, "PERSIST K"),
    (3, "DBSIZE"),
    (2, "KEYS PATTERN"),
    (1, "SCAN-ALL"),
    (1, "SCAN-ALL MATCH PATTERN"),
    (1, "SCAN-ALL COUNT 3 MATCH PATTERN"),
    (1, "SCAN-ALL TYPE string COUNT 100"),
    (1, "SCAN-ALL TYPE hash"),
    (1, "RANDOMKEY-MEMBER"),
    (2, "SELECT DB"),
    (5, "LPUSH K ELEMENT+"),
    (5, "RPUSH K ELEMENT+"),
    (2, "RPUSHX K ELEMENT"),
    (3, "LPOP K INT?"),
    (3, "RPOP K"),
    (2, "LLEN K"),
    (3, "LRANGE K INDEX INDEX"),
    (2, "LINDEX K INDEX"),
    (2, "LSET K PLACE ELEMENT"),
    (2, "LREM K INDEX ELEMENT"),
    (2, "LTRIM K INDEX INDEX"),
    (2, "LPOS K ELEMENT POSITIONOPTION*"),
    (2, "RPOPLPUSH T T"),
    (2, "LMPOP 2 T T END"),
    (1, "SCAN-ALL TYPE list"),
    (1, "OBJECT ENCODING K"),
];

const LISTS: Rows = &[
    (8, "LPUSH K ELEMENT+"),
    (8, "RPUSH K ELEMENT+"),
    (4, "LPUSH K MANY"),
    (4, "RPUSH K MANY"),
    (2, "LPUSHX K ELEMENT+"),
    (2, "RPUSHX K ELEMENT+"),
    (5, "LPOP K"),
    (5, "RPOP K"),
    (3, "LPOP K NUMBER"),
    (3, "RPOP K NUMBER"),
    (1, "RPOP K INT"),
    (3, "LLEN K"),
    (8, "LRANGE K INDEX INDEX"),
    (2, "LRANGE K 0 -1"),
    (6, "LINDEX K INDEX"),
    (10, "LSET K PLACE ELEMENT"),
    (14, "LINSERT K SIDE ELEMENT ELEMENT"),
    (5, "LREM K INDEX ELEMENT"),
    (3, "LTRIM K INDEX INDEX"),
    (3, "LTRIM K NUMBER -2"),
    (10, "LPOS K ELEMENT POSITIONOPTION*"),
    (6, "LMOVE T T END END"),
    (3, "RPOPLPUSH T T"),
    (4, "LMPOP 1 K END"),
    (3, "LMPOP 3 T T T END COUNT NUMBER"),
    (1, "LMPOP INT T T END COUNT INT"),
    (1, "LMPOP 1 T END JUNK+"),
    (1, "LMOVE T T END JUNK"),
    (1, "SET K V"),
    (1, "DEL K"),
    (1, "EXPIRE K SECONDS"),
    (1, "TYPE K"),
];

const REST: Rows = &[
    (4, "PING"),
    (2, "PING TEXT"),
    (3, "ECHO TEXT"),
    (1, "FLUSHDB FLUSHOPTION?"),
    (1, "FLUSHALL FLUSHOPTION?"),
    (1, "HELLO"),
    (2, "HELLO PROTOCOL"),
    (2, "HELLO PROTOCOL HELLOOPTION"),
    (1, "HELLO PROTOCOL SETNAME TEXT"),
    (1, "RESET"),
    (1, "QUIT"),
    (3, "CLIENT SETNAME TEXT"),
    (3, "CLIENT GETNAME"),
    (1, "CLIENT ID"),
    (1, "CLIENT INFO"),
    (1, "CLIENT LIST"),
    (1, "CLIENT LIST TYPE CLIENTTYPE"),
    (1, "CLIENT LIST ID INT+"),
    (1, "CLIENT LIST JUNK+"),
    (1, "CLIENT SETINFO LIBOPTION TEXT"),
    (1, "CLIENT JUNK"),
    (1, "CLIENT"),
    (1, "SCAN INT SCANOPTION*"),
    (1, "SCAN JUNK SCANOPTION*"),
    (1, "SCAN-ALL SCANOPTION*"),
    (1, "COMMAND COUNT"),
    (1, "COMMAND"),
    (2, "COMMAND INFO COMMANDNAME+"),
    (2, "COMMAND DOCS COMMANDNAME+"),
    (3, "COMMAND GETKEYS COMMANDNAME K*"),
    (3, "COMMAND GETKEYS SET K V SETOPTION*"),
    (2, "COMMAND GETKEYS MSET K V K V"),
    (3, "COMMAND GETKEYSANDFLAGS SET K V SETOPTION*"),
    (2, "COMMAND GETKEYSANDFLAGS COMMANDNAME K*"),
    (1, "COMMAND GETKEYS LMPOP NUMBER K K END"),
    (1, "COMMAND GETKEYSANDFLAGS LMPOP 2 K K END"),
    (1, "COMMAND GETKEYSANDFLAGS LMOVE K K END END"),
    (1, "OBJECT JUNK"),
    (1, "COMMAND LIST"),
    (1, "COMMAND LIST FILTERBY PATTERN PATTERN"),
    (1, "COMMAND LIST FILTERBY MODULE TEXT"),
    (1, "COMMAND LIST FILTERBY ACLCAT CATEGORY"),
    (1, "COMMAND LIST FILTERBY JUNK JUNK"),
    (1, "COMMAND JUNK"),
    (1, "INFO"),
    (1, "INFO SECTION+"),
    (1, "TIME"),
    (1, "AUTH TEXT"),
    (1, "AUTH default TEXT"),
    (1, "AUTH TEXT TEXT"),
    (1, "CONFIG GET DIRECTIVE"),
    (1, "CONFIG JUNK"),
    (3, "JUNK TEXT*"),
    (1, "NOSUCHCOMMAND V+"),
];

const AUTHENTICATION: Rows = &[
    (6, "AUTH PASSWORD"),
    (4, "AUTH USER PASSWORD"),
    (2, "AUTH"),
    (2, "AUTH USER PASSWORD TEXT"),
    (3, "HELLO"),
    (4, "HELLO PROTOCOL"),
    (8, "HELLO PROTOCOL HELLOOPTION"),
    (6, "PING"),
    (3, "PING TEXT TEXT"),
    (4, "GET K"),
    (3, "SET K V"),
    (2, "MGET K+"),
    (2, "DBSIZE"),
    (2, "NOSUCHCOMMAND V"),
    (2, "GET"),
    (5, "RESET"),
    (1, "QUIT"),
    (1, "ECHO V"),
    (2, "CLIENT GETNAME"),
    (2, "CLIENT SETNAME TEXT"),
    (1, "CLIENT JUNK"),
    (1, "CONFIG GET requirepass"),
    (1, "SELECT DB"),
    (1, "COMMAND COUNT"),
    (1, "MGET K K K K K K K K K"),
];

const CONFIGURATION: Rows = &[
    (6, "CONFIG GET DIRECTIVE"),
    (2, "CONFIG GET DIRECTIVE DIRECTIVE"),
    (1, "CONFIG GET DIRECTIVE JUNK"),
    (20, "CONFIG SET DIRECTIVE DIRECTIVEVALUE"),
    (6, "CONFIG SET DIRECTIVE DIRECTIVEVALUE DIRECTIVE DIRECTIVEVALUE"),
    (2, "CONFIG SET DIRECTIVE"),
    (2, "CONFIG SET DIRECTIVE DIRECTIVEVALUE DIRECTIVE"),
    (2, "CONFIG SET JUNK JUNK"),
    (1, "CONFIG RESETSTAT"),
    (1, "CONFIG GET"),
    (1, "CONFIG"),
];

const KEYS: &[&str] =
    &["a", "b", "c", "d", "key:1", "key:2", "{tag}1", "{tag}2", "{tag}", "x{tag}y", "{}a", "{a", "a}b{c}", "", "long"];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "-9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "00",
    "01",
    "-0",
    "+1",
    " 1",
    "1 ",
    "1.0",
    "1e3",
    "0x10",
    "",
    "abc",
    "-",
    "123456789012345678901234567890",
];
const SECONDS_EDGES: &[&str] = &[
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775",
    "abc",
    "",
    "1.5",
    "0100x",
];
const MILLIS_EDGES: &[&str] =
    &["0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775806", "abc", "", "10 "];
const UNIX_EDGES: &[&str] = &[
    "0",
    "-1",
    "1",
    "1000000000",
    "4102444800",
    "33177117420",
    "9223372036854775807",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775808",
    "x",
];
/// For SET: a key whose time is over when it is set is not there, but Redis counts it in DBSIZE until it is looked for.
const AHEAD_EDGES: &[&str] =
    &["0", "-1", "9223372036854775807", "9223372036854775", "9223372036854776", "-9223372036854775808", "x"];
/// Without a lone zero byte: Redis reads some numbers as C strings, for which that is an empty one.
const ELEMENTS: &[&str] = &["0", "1", "2", "-1", "7", "127", "128", "-4096", "65536", "a", "b", "c", "01", ""];
/// No rank of -2^63: 7.0 computes with it, 7.2 refuses it.
const POSITION_OPTIONS: &[&str] = &[
    "RANK 1",
    "RANK 2",
    "RANK -1",
    "RANK -2",
    "rank 3",
    "COUNT 0",
    "COUNT 1",
    "COUNT 2",
    "count 3",
    "MAXLEN 0",
    "MAXLEN 1",
    "MAXLEN 20",
    "maxlen 300",
    "RANK PLACE",
    "COUNT INT",
    "MAXLEN INT",
    "RANK",
    "JUNK 1",
];
const JUNK: &[&str] = &[
    "", "foo", "NX", "EX", "0", "-1", "PX", "GET", "a b", "\r\n", "\u{e9}", "'quoted'", "\"", "{tag}1", "id", "list",
    "setname", "count", "info", "docs", "help", "nosuch", "FOO\0BAR",
];
const SET_OPTIONS: &[&str] = &[
    "NX",
    "XX",
    "GET",
    "KEEPTTL",
    "EX SECONDS",
    "PX MILLIS",
    "EXAT AHEADSECONDS",
    "PXAT AHEADMILLIS",
    "nx",
    "Xx",
    "gEt",
    "keepttl",
    "EX 100000",
    "EX",
    "PX",
    "JUNK",
    "EX SECONDS",
    "PX MILLIS",
    "GET NX",
    "XX GET",
    "GET KEEPTTL",
];
const EXPIRE_OPTIONS: &[&str] = &["NX", "XX", "GT", "LT", "nx", "xx", "gt", "lt", "JUNK"];
const SCAN_OPTIONS: &[&str] = &[
    "COUNT 10",
    "COUNT 1",
    "COUNT 0",
    "COUNT -1",
    "COUNT abc",
    "COUNT INT",
    "MATCH PATTERN",
    "TYPE string",
    "TYPE list",
    "MATCH",
    "COUNT",
    "JUNK",
    "count 100",
    "match *",
];
const PATTERNS: &[&str] = &[
    "*", "a", "a*", "*a*", "key:*", "key:?", "[abc]", "[^a]", "[a-c]", "[z-a]", "{tag}*", "{tag}1", "*{tag}*", "?",
    "??", "", "\\a", "\\*", "[a", "nosuch", "**", "[\\]]", "{a", "{}*", "g*", "*|*", "config|*", "set*",
];
const HELLO_OPTIONS: &[&str] = &["AUTH USER PASSWORD", "auth default", "JUNK", "AUTH default PASSWORD"];
const SECTIONS: &[&str] =
    &["server", "clients", "memory", "stats", "keyspace", "all", "default", "everything", "nosuch"];
const NAMES: &[&str] = &[
    "get",
    "set",
    "mget",
    "mset",
    "del",
    "ping",
    "config",
    "config|get",
    "client|list",
    "client",
    "command",
    "nosuch",
    "GET",
    "Set",
    "config|nosuch",
    "get|x",
    "append",
    "expire",
    "ttl",
    "scan",
    "hello",
    "auth",
    "select",
    "echo",
    "info",
    "randomkey",
    "flushall",
    "getdel",
    "setex",
    "keys",
    "exists",
    "touch",
    "unlink",
    "incrby",
    "reset",
    "quit",
    "lpush",
    "lmove",
    "lmpop",
    "object|encoding",
];
const CATEGORIES: &[&str] =
    &["string", "read", "keyspace", "connection", "dangerous", "fast", "nosuch", "@read", "STRING"];
/// Directives that both have, with values that both take or refuse.
const DIRECTIVES: &[&str] = &[
    "timeout",
    "tcp-keepalive",
    "hz",
    "active-expire-effort",
    "proto-max-bulk-len",
    "client-query-buffer-limit",
    "client-output-buffer-limit",
    "loglevel",
    "maxmemory",
    "maxmemory-policy",
    "protected-mode",
    "TIMEOUT",
    "maxmemory-samples",
    "slowlog-max-len",
    "lazyfree-lazy-expire",
    "list-compress-depth",
    "repl-backlog-size",
    "databases",
    "unixsocketperm",
    "tcp-backlog",
    "notify-keyspace-events",
    "lua-time-limit",
    "save",
    "hash-max-listpack-entries",
    "hash-max-ziplist-entries",
    "latency-tracking-info-percentiles",
    "no-such-directive",
];
const VALUES: &[&str] = &[
    "0",
    "1",
    "10",
    "100",
    "500",
    "501",
    "-1",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "yes",
    "no",
    "YES",
    "maybe",
    "",
    "1mb",
    "1k",
    "1GB",
    "10xb",
    "1 mb",
    "notice",
    "debug",
    "verbose",
    "nosuch",
    "noeviction",
    "allkeys-lru",
    "normal 0 0 0",
    "pubsub 1mb 1mb 10",
    "normal 1 2",
    "foo 0 0 0",
    "normal 100mb 50mb 60 replica 0 0 0",
    "normal -1 0 0",
    "KEA",
    "Kx",
    "3600 1",
    "3600",
    "50 99",
    "101",
    "777",
    "888",
];

/// Makes random requests.
pub struct Generator {
    rng: Rng,
    grammar: Grammar,
}

impl Generator {
    /// The same seed makes the same requests.
    pub fn new(seed: u64, grammar: Grammar) -> Self {
        Self { rng: Rng::new(seed), grammar }
    }

    /// So many steps.
    pub fn steps(&mut self, count: usize) -> Vec<Step> {
        (0..count).map(|_| self.step()).collect()
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).expect("below a usize")
    }

    fn step(&mut self) -> Step {
        let rest = self.chance(40);
        let template = match self.grammar {
            Grammar::Everything if rest => self.row(REST),
            Grammar::Everything | Grammar::Data => self.row(DATA),
            Grammar::Lists => self.row(LISTS),
            Grammar::Authentication => self.row(AUTHENTICATION),
            Grammar::Configuration => self.row(CONFIGURATION),
        };
        let mut args = Vec::new();
        self.expand_line(template, &mut args);
        match &args[0][..] {
            b"SCAN-ALL" => return Step::ScanAll(args.split_off(1)),
            b"RANDOMKEY-MEMBER" => return Step::RandomKey,
            _ => {}
        }
        let spoilt = if matches!(self.grammar, Grammar::Data | Grammar::Lists) { 1 } else { 6 };
        // Several keys that are not split must stay on one shard.
        let is_whole = matches!(&args[0][..], b"LMOVE" | b"RPOPLPUSH" | b"LMPOP");
        let has_effects = args.len() > 2 && args[0] == b"HELLO" || is_whole;
        if self.chance(spoilt) && !has_effects {
            self.spoil(&mut args);
        }
        if self.chance(25) {
            self.change_case(&mut args[0]);
        }
        Step::Command(args)
    }

    fn row(&mut self, rows: Rows) -> &'static str {
        let total = rows.iter().map(|row| row.0).sum();
        let mut at = self.rng.below(total);
        for (weight, template) in rows {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return template,
            }
        }
        unreachable!("the weights add up to the total")
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn expand_line(&mut self, line: &str, args: &mut Vec<Vec<u8>>) {
        for word in line.split(' ') {
            let (word, times) = match word.as_bytes().last() {
                Some(b'?') => (&word[..word.len() - 1], self.below(2)),
                Some(b'*') if word.len() > 1 => (&word[..word.len() - 1], self.below(4)),
                Some(b'+') => (&word[..word.len() - 1], 1 + self.below(4)),
                _ => (word, 1),
            };
            for _ in 0..times {
                self.expand(word, args);
            }
        }
    }

    fn expand(&mut self, word: &str, args: &mut Vec<Vec<u8>>) {
        let text = match word {
            "K" => return args.push(self.key()),
            "V" => return args.push(self.value()),
            "ELEMENT" => return args.push(self.element()),
            "MANY" => return (0..100).for_each(|_| args.push(self.element())),
            "POSITIONOPTION" => return self.expand_one_of(POSITION_OPTIONS, args),
            "T" => self.pick(&["{tag}1", "{tag}2", "{tag}1", "{tag}2", "{tag}"]).to_owned(),
            "END" => self.pick(&["LEFT", "RIGHT", "left", "Right"]).to_owned(),
            "SIDE" => self.pick(&["BEFORE", "AFTER", "before", "After", "BESIDE"]).to_owned(),
            "INDEX" if self.chance(5) => self.pick(INTEGERS).to_owned(),
            "INDEX" | "PLACE" => self.index().to_string(),
            "NUMBER" => self.below(30).to_string(),
            "TEXT" => return args.push(self.text()),
            "SECONDS" => self.time(SECONDS_EDGES, 100, 10_000_000),
            "MILLIS" => self.time(MILLIS_EDGES, 100_000, 10_000_000_000),
            "UNIXSECONDS" => self.time(UNIX_EDGES, 4_000_000_000, 1_000_000),
            "AHEADSECONDS" => self.time(AHEAD_EDGES, 4_000_000_000, 1_000_000),
            "UNIXMILLIS" => self.time(UNIX_EDGES, 4_000_000_000_000, 1_000_000_000),
            "AHEADMILLIS" => self.time(AHEAD_EDGES, 4_000_000_000_000, 1_000_000_000),
            "SETOPTION" => return self.expand_one_of(SET_OPTIONS, args),
            "SCANOPTION" => return self.expand_one_of(SCAN_OPTIONS, args),
            "HELLOOPTION" => return self.expand_one_of(HELLO_OPTIONS, args),
            "EXPIREOPTION" => return self.expand_one_of(EXPIRE_OPTIONS, args),
            "INT" => self.pick(INTEGERS).to_owned(),
            "JUNK" => self.pick(JUNK).to_owned(),
            "PATTERN" => self.pick(PATTERNS).to_owned(),
            "DB" => self.pick(&["0", "0", "0", "1", "15", "16", "-1", "x", "", "9999999999"]).to_owned(),
            "FLUSHOPTION" => self.pick(&["SYNC", "ASYNC", "async", "foo"]).to_owned(),
            "PROTOCOL" => self.pick(&["2", "3", "3", "1", "4", "x", "", "-3", "9223372036854775808"]).to_owned(),
            "CLIENTTYPE" => self.pick(&["normal", "master", "replica", "slave", "pubsub", "foo", ""]).to_owned(),
            "LIBOPTION" => self.pick(&["lib-name", "LIB-VER", "foo"]).to_owned(),
            "COMMANDNAME" => self.pick(NAMES).to_owned(),
            "SECTION" => self.pick(SECTIONS).to_owned(),
            "CATEGORY" => self.pick(CATEGORIES).to_owned(),
            "DIRECTIVE" => self.pick(DIRECTIVES).to_owned(),
            "DIRECTIVEVALUE" => self.pick(VALUES).to_owned(),
            "USER" => self.pick(&["default", "default", "nobody", ""]).to_owned(),
            "PASSWORD" => self.pick(&[PASSWORD, PASSWORD, "wrong", ""]).to_owned(),
            literal => literal.to_owned(),
        };
        args.push(text.into_bytes());
    }

    fn expand_one_of(&mut self, lines: &[&'static str], args: &mut Vec<Vec<u8>>) {
        let line = self.pick(lines);
        self.expand_line(line, args);
    }

    fn key(&mut self) -> Vec<u8> {
        let known = match self.grammar {
            Grammar::Data => &KEYS[..8],
            Grammar::Lists => &KEYS[5..8],
            _ => KEYS,
        };
        match self.pick(known) {
            "long" => vec![b'k'; 1 + self.below(400)],
            key => key.as_bytes().to_vec(),
        }
    }

    /// Short where replies wait for clients without authentication: Redis bounds their sum (see `batch_max` of the
    /// differential test).
    fn value(&mut self) -> Vec<u8> {
        if self.grammar == Grammar::Authentication {
            return vec![b'v'; self.below(40)];
        }
        match self.below(10) {
            0..4 => self.pick(INTEGERS).into(),
            4 => Vec::new(),
            5 => (0..=u8::MAX).collect(),
            6 => vec![b'v'; self.below(20_000)],
            _ => vec![b'v'; self.below(80)],
        }
    }

    fn element(&mut self) -> Vec<u8> {
        match self.below(40) {
            0 => vec![b'v'; 4000 + self.below(6000)],
            1..6 => vec![b'v'; self.below(200)],
            6..12 => self.below(100_000).to_string().into_bytes(),
            _ => self.pick(ELEMENTS).into(),
        }
    }

    /// Mostly near an end.
    fn index(&mut self) -> i64 {
        let width = if self.chance(70) { 8 } else { 900 };
        self.below(2 * width) as i64 - width as i64
    }

    fn text(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => self.pick(JUNK).into(),
            1 => self.value(),
            2 => b"two words".to_vec(),
            _ => b"text".to_vec(),
        }
    }

    fn time(&mut self, edges: &[&'static str], from: u64, width: u64) -> String {
        if self.chance(25) { self.pick(edges).to_owned() } else { (from + self.rng.below(width)).to_string() }
    }

    fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        match self.below(4) {
            0 if args.len() > 1 => drop(args.pop()),
            1 => args.push(self.pick(JUNK).into()),
            2 if args.len() > 1 => {
                let at = 1 + self.below(args.len() - 1);
                args[at] = self.pick(JUNK).into();
            }
            _ => args.extend(args.last().cloned()),
        }
    }

    fn change_case(&mut self, word: &mut [u8]) {
        for byte in word {
            if self.chance(50) {
                byte.make_ascii_lowercase();
            }
        }
    }
}
