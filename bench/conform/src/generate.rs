//! Random requests from a grammar (`grammar.rs`). Afterwards a few are spoilt on purpose: an argument is lost, doubled or
//! replaced by junk.
//!
//! Times to live are either over or far off and drawn from wide ranges: which of two is the later one must not
//! depend on the milliseconds between two servers' runs.

use crate::grammar::{AUTHENTICATION, CONFIGURATION, DATA, LISTS, REST, Rows, SORTS, STRINGS, TRANSACTIONS};
use crate::vocabulary::*;
use crate::{Grammar, Step, hosts};
use slotmesh_base::Rng;
use slotmesh_rdb::Crc64;

/// The password of servers that want one.
pub const PASSWORD: &str = "correct horse";

/// How far apart what a request is about may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Anywhere in one process.
    Process,
    /// On the hosts of a cluster: keys of one request are on one slot unless it is split by key, and so are those that a
    /// connection watches and those of its transactions; there is one database (`hosts.rs`).
    Hosts,
}

/// Makes random requests.
pub struct Generator {
    rng: Rng,
    grammar: Grammar,
    reach: Reach,
    /// Which keys transactions are about, where they must be on one slot.
    family: usize,
    /// Where the keys of a request stand.
    key_places: Vec<usize>,
    /// Whether a transaction may be open: there ours refuses what asks all clients.
    is_queueing: bool,
}

impl Generator {
    /// The same seed makes the same requests.
    pub fn new(seed: u64, grammar: Grammar) -> Self {
        Self::reaching(Reach::Process, seed, grammar)
    }

    /// The same, of requests that reach so far.
    pub fn reaching(reach: Reach, seed: u64, grammar: Grammar) -> Self {
        let family = seed as usize % hosts::FAMILIES.len();
        Self { rng: Rng::new(seed), grammar, reach, family, key_places: Vec::new(), is_queueing: false }
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
        let (rest, is_list) = (self.chance(40), self.chance(60));
        let template = match self.grammar {
            Grammar::Everything if rest => self.row(REST),
            Grammar::Everything | Grammar::Data => self.row(DATA),
            Grammar::Strings => self.row(STRINGS),
            Grammar::Lists => self.row(LISTS),
            Grammar::Sorts => self.row(SORTS),
            Grammar::Transactions if rest => self.row(TRANSACTIONS),
            Grammar::Transactions if is_list => self.row(LISTS),
            Grammar::Transactions => self.row(DATA),
            Grammar::Authentication => self.row(AUTHENTICATION),
            Grammar::Configuration => self.row(CONFIGURATION),
        };
        let mut args = Vec::new();
        self.key_places.clear();
        self.expand_line(template, &mut args);
        if self.reach == Reach::Hosts && self.is_queueing && hosts::is_of_all(&args) {
            args = vec![b"PING".to_vec()];
        }
        match &args[0][..] {
            b"SCAN-ALL" => return Step::ScanAll(args.split_off(1)),
            b"RANDOMKEY-MEMBER" => return Step::RandomKey,
            _ => {}
        }
        match &args[0][..] {
            b"MULTI" => self.is_queueing = true,
            b"EXEC" | b"DISCARD" | b"RESET" | b"QUIT" => self.is_queueing = false,
            _ => {}
        }
        let is_mostly_valid =
            !matches!(self.grammar, Grammar::Everything | Grammar::Authentication | Grammar::Configuration);
        let spoilt = if is_mostly_valid { 1 } else { 6 };
        // A time to wait that is spoilt may have no end.
        let may_wait = args[0].starts_with(b"BL") || args[0].starts_with(b"BR");
        let ends_queueing = matches!(&args[0][..], b"EXEC" | b"DISCARD" | b"RESET");
        let has_effects = args.len() > 2 && args[0] == b"HELLO" || may_wait || ends_queueing;
        let is_together = self.reach == Reach::Hosts && self.bring_together(&mut args);
        if self.chance(spoilt) && !has_effects && !is_together {
            self.spoil(&mut args);
        }
        if self.reach == Reach::Hosts && hosts::is_refused(&args) {
            args = vec![b"PING".to_vec()];
        }
        if self.is_queueing && is_unlike_in_transactions(&args) {
            args = vec![b"PING".to_vec()];
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
            "K" => {
                self.key_places.push(args.len());
                return args.push(self.key());
            }
            "V" => return args.push(self.value()),
            "STRINGVALUE" => return args.push(self.string_value()),
            "FLOAT" => self.float(),
            "BIT" => self.bit(),
            "FARBIT" => self.pick(FAR_BITS).to_owned(),
            "RANGEOFFSET" => self.pick(RANGE_OFFSETS).to_owned(),
            "BITVALUE" => self.pick(BIT_VALUES).to_owned(),
            "UNIT" => self.pick(&["BIT", "BYTE", "bit", "byte", "BITS"]).to_owned(),
            "BITOPERATION" => self.pick(BIT_OPERATIONS).to_owned(),
            "FIELDOPERATION" => return self.expand_one_of(FIELD_OPERATIONS, args),
            "FIELDREAD" => return self.expand_line("GET FIELDTYPE FIELDOFFSET", args),
            "FIELDTYPE" => self.field_type(),
            "FIELDOFFSET" if self.chance(30) => format!("#{}", self.below(8)),
            "FIELDOFFSET" => self.bit(),
            "FIELDNUMBER" if self.chance(60) => (self.below(600) as i64 - 300).to_string(),
            "FIELDNUMBER" => self.pick(INTEGERS).to_owned(),
            "GETEXOPTION" => return self.expand_one_of(GETEX_OPTIONS, args),
            "LCSOPTION" => return self.expand_one_of(LCS_OPTIONS, args),
            "ELEMENT" => return args.push(self.element()),
            "MANY" => return (0..100).for_each(|_| args.push(self.element())),
            "POSITIONOPTION" => return self.expand_one_of(POSITION_OPTIONS, args),
            "WEIGHT" => self.pick(WEIGHTS).to_owned(),
            "SORTOPTION" => return self.expand_one_of(SORT_OPTIONS, args),
            "SORTLIMIT" => return self.expand_one_of(SORT_LIMITS, args),
            "SORTPATTERN" => self.pick(SORT_PATTERNS).to_owned(),
            "PAYLOAD" => return args.push(self.payload()),
            "RESTOREOPTION" => return self.expand_one_of(RESTORE_OPTIONS, args),
            "RESTORETIME" if self.chance(50) => "0".to_owned(),
            // As a time to live a millisecond would be over on one of the two sides only.
            "RESTORETIME" if self.chance(50) => match self.time(UNIX_EDGES, 4_000_000_000_000, 1_000_000_000) {
                brief if brief == "1" => "0".to_owned(),
                time => time,
            },
            "RESTORETIME" => self.time(MILLIS_EDGES, 100_000, 10_000_000_000),
            "COPYOPTION" => return self.expand_one_of(COPY_OPTIONS, args),
            "UNBLOCKOPTION" => self.pick(&["TIMEOUT", "ERROR", "error", "FOO"]).to_owned(),
            "SHORTTIME" => self.pick(SHORT_TIMES).to_owned(),
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

    /// Puts keys of one slot into a request whose keys must be on one; whether it is such a request.
    fn bring_together(&mut self, args: &mut [Vec<u8>]) -> bool {
        let is_of_transaction = self.is_queueing || args[0] == b"WATCH";
        if !is_of_transaction && (self.key_places.len() < 2 || hosts::is_split(&args[0])) {
            return false;
        }
        let family = if is_of_transaction { self.family } else { self.below(hosts::FAMILIES.len()) };
        for place in std::mem::take(&mut self.key_places) {
            args[place] = self.pick(hosts::FAMILIES[family]).into();
        }
        true
    }

    fn key(&mut self) -> Vec<u8> {
        if self.reach == Reach::Hosts && (self.grammar != Grammar::Everything || self.chance(70)) {
            let family = self.below(hosts::FAMILIES.len());
            return self.pick(hosts::FAMILIES[family]).into();
        }
        let known = match self.grammar {
            Grammar::Data => &KEYS[..8],
            Grammar::Lists => &KEYS[5..8],
            Grammar::Strings | Grammar::Sorts | Grammar::Transactions => &KEYS[3..8],
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

    /// Few different bytes, so that strings have much in common.
    fn string_value(&mut self) -> Vec<u8> {
        let longest = [4, 24, 60, 300][self.below(4)];
        let length = self.below(longest);
        match self.below(5) {
            0 => vec![0xff; length],
            1 => vec![0; length],
            2 => self.pick(INTEGERS).into(),
            _ => (0..length).map(|_| b"abcd"[self.below(4)]).collect(),
        }
    }

    /// A value as DUMP gives it: one that both have, or is refused by both.
    fn payload(&mut self) -> Vec<u8> {
        let mut payload = match self.below(10) {
            0..4 => string_body(&self.string_value()),
            4 => self.pick_bytes(BODIES),
            5 | 6 => {
                let elements: Vec<_> = (0..1 + self.below(20)).map(|_| vec![b'e'; self.below(60)]).collect();
                listpack_body(&elements)
            }
            7 | 8 => {
                let elements: Vec<_> = (0..self.below(20)).map(|_| self.element()).collect();
                list_body(&elements)
            }
            _ => self.pick_bytes(BAD_BODIES),
        };
        payload.extend(10_u16.to_le_bytes());
        payload.extend(Crc64::of(&payload).to_le_bytes());
        if self.chance(3) {
            let at = self.below(payload.len());
            payload[at] ^= 0x40;
        }
        payload
    }

    fn pick_bytes(&mut self, from: &[&'static [u8]]) -> Vec<u8> {
        from[self.below(from.len())].to_vec()
    }

    /// Numbers with all sorts of digits and exponents, edges among them.
    fn float(&mut self) -> String {
        let sign = ["", "", "-", "+"][self.below(4)];
        let digits: u64 = self.rng.next_u64() >> self.below(64);
        match self.below(8) {
            0 => self.pick(FLOATS).to_owned(),
            1 => self.pick(INTEGERS).to_owned(),
            2 => format!("{sign}{digits}"),
            3 => format!("{sign}{}.{}", self.below(100), digits),
            4 => format!("{sign}{digits}e{}", self.below(60) as i64 - 30),
            5 => format!("{sign}{}.{digits}E{}", self.below(10), self.below(10_000) as i64 - 5000),
            6 => format!("{sign}0x{digits:x}.{:x}p{}", self.below(4096), self.below(200) as i64 - 100),
            _ => format!("{sign}{}.{}", self.below(1000), self.below(1000)),
        }
    }

    fn bit(&mut self) -> String {
        match self.below(20) {
            0 => self.pick(BAD_BITS).to_owned(),
            1 => self.below(20_000).to_string(),
            _ => self.below(100).to_string(),
        }
    }

    fn field_type(&mut self) -> String {
        if self.chance(5) {
            return self.pick(BAD_FIELDS).to_owned();
        }
        let sign = ["i", "u"][self.below(2)];
        let bits = if self.chance(50) { 1 + self.below(16) } else { 1 + self.below(64) };
        format!("{sign}{bits}")
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

/// What ours refuses in a transaction, and whose arity 7.2 sees otherwise: it decides what becomes of the whole
/// transaction.
fn is_unlike_in_transactions(args: &[Vec<u8>]) -> bool {
    const UNLIKE: [&str; 5] = ["list", "unblock", "setinfo", "getkeys", "getkeysandflags"];
    let is_container = matches!(&args[0][..], b"CLIENT" | b"COMMAND");
    is_container && args.get(1).is_some_and(|word| UNLIKE.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes())))
}

/// A string as it stands in RDB.
fn string(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("texts are short");
    let head = if length < 64 { vec![length as u8] } else { (0x4000 | length).to_be_bytes().to_vec() };
    [&head, text].concat()
}

/// A value of type string.
fn string_body(text: &[u8]) -> Vec<u8> {
    [vec![0], string(text)].concat()
}

/// A list as strings one by one, the form of Redis before 3.2.
fn list_body(elements: &[Vec<u8>]) -> Vec<u8> {
    let strings = elements.iter().map(|element| string(element));
    [vec![1, elements.len() as u8], strings.collect::<Vec<_>>().concat()].concat()
}

/// A list of one listpack; its elements have less than 64 bytes and are no numbers.
fn listpack_body(elements: &[Vec<u8>]) -> Vec<u8> {
    let entry = |element: &Vec<u8>| {
        let length = element.len() as u8;
        [&[0x80 | length], &element[..], &[length + 1]].concat()
    };
    let entries = elements.iter().map(entry).collect::<Vec<_>>().concat();
    let total = (entries.len() + 7) as u32;
    let listpack = [&total.to_le_bytes()[..], &(elements.len() as u16).to_le_bytes(), &entries, &[0xff]].concat();
    [vec![18, 1, 2], string(&listpack)].concat()
}
