//! Random scripts: connections that wait for each other's pushes, watch each other's keys and queue transactions.
//!
//! A template is a line of words; words in capitals that [`ScriptGenerator::word`] knows stand for something random.
//! Times to live are short, and over before the next move (`lockstep.rs` waits for that); blocking commands wait
//! without end, or so shortly that the move waits for them.

use crate::{Act, CONNECTIONS, Manner, Move, hosts};
use slotmesh_base::Rng;

type Rows = &'static [(u64, &'static str)];

/// What never waits.
const PLAIN: Rows = &[
    (10, "LPUSH K ELEMENT"),
    (10, "RPUSH K ELEMENT"),
    (6, "RPUSH K ELEMENT ELEMENT ELEMENT"),
    (2, "LPUSHX K ELEMENT"),
    (2, "LINSERT K BEFORE ELEMENT ELEMENT"),
    (2, "LSET K 0 ELEMENT"),
    (3, "LPOP K"),
    (2, "RPOP K 2"),
    (1, "LTRIM K 1 -1"),
    (1, "LREM K 0 ELEMENT"),
    (2, "LMPOP 2 K K END"),
    (3, "SORT K ALPHA STORE K"),
    (1, "SORT K BY nosort GET # GET * STORE K"),
    (1, "SORT_RO K ALPHA GET {tag}*"),
    (4, "LMOVE K K END END"),
    (3, "RPOPLPUSH K K"),
    (2, "LRANGE K 0 -1"),
    (1, "LLEN K"),
    (5, "DEL K"),
    (1, "UNLINK K K"),
    (1, "EXISTS K K"),
    (1, "TYPE K"),
    (1, "DBSIZE"),
    (7, "RENAME K K"),
    (3, "RENAMENX K K"),
    (5, "COPY K K"),
    (2, "COPY K K REPLACE"),
    (3, "COPY K K DB DATABASE REPLACE"),
    (4, "MOVE K DATABASE"),
    (1, "FLUSHALL"),
    (1, "FLUSHDB"),
    (3, "SELECT DATABASE"),
    (2, "PEXPIRE K 30"),
    (1, "PEXPIRE K -1"),
    (1, "PERSIST K"),
    (1, "PING"),
];

/// What makes strings, which lists are not, or changes several keys at once.
const OTHERS: Rows = &[
    (4, "SET K ELEMENT"),
    (1, "GETDEL K"),
    (2, "GET K"),
    (1, "APPEND K ELEMENT"),
    (2, "INCR K"),
    (2, "MSET K ELEMENT K ELEMENT"),
    (2, "MSETNX K ELEMENT K ELEMENT"),
    (1, "MGET K K"),
    (1, "SET K ELEMENT PX 30"),
];

/// By the connection that never waits, outside transactions: ours refuses it inside.
const UNBLOCK: Rows = &[
    (4, "CLIENT UNBLOCK ANYONE"),
    (2, "CLIENT UNBLOCK ANYONE TIMEOUT"),
    (2, "CLIENT UNBLOCK ANYONE ERROR"),
    (1, "CLIENT UNBLOCK 999999999"),
    (1, "CLIENT UNBLOCK ANYONE NOSUCH"),
    (1, "CLIENT UNBLOCK x"),
];

const TRANSACTION: Rows = &[
    (8, "MULTI"),
    (14, "EXEC"),
    (2, "DISCARD"),
    (8, "WATCH K"),
    (4, "WATCH K K"),
    (1, "UNWATCH"),
    (1, "NOSUCH K"),
    (1, "GET"),
    (1, "WATCH"),
    (1, "MULTI x"),
    (1, "RESET"),
    (1, "HELLO 3"),
];

const BLOCKING: Rows = &[
    (10, "BLPOP K 0"),
    (6, "BRPOP K 0"),
    (8, "BLMOVE K K END END 0"),
    (5, "BRPOPLPUSH K K 0"),
    (4, "BLMPOP 0 1 K END"),
];

const BLOCKING_ON_SEVERAL: Rows =
    &[(6, "BLPOP K K 0"), (3, "BRPOP K K K 0"), (4, "BLMPOP 0 2 K K END"), (4, "BLMPOP 0 3 K K K END COUNT 2")];

const EXCHANGE: Rows = &[(1, "SWAPDB 0 1"), (1, "SELECT DATABASE")];

const BLOCKING_ON_ONE: Rows = &[
    (4, "BLPOP KEY0 0"),
    (2, "BRPOP KEY0 KEY0 0"),
    (4, "BLMOVE KEY0 KEY2 END END 0"),
    (2, "BRPOPLPUSH KEY0 KEY1 0"),
    (2, "BLMPOP 0 1 KEY0 END COUNT 2"),
];

const BLOCKING_ON_SINGLE: Rows = &[(6, "BLPOP K 0"), (3, "BRPOP K 0"), (3, "BLMPOP 0 1 K END COUNT 2")];

const TIMED: Rows = &[
    (4, "BLPOP K 0.02"),
    (2, "BRPOP K K 0.01"),
    (2, "BLMOVE K K END END 0.01"),
    (2, "BRPOPLPUSH K K 0.005"),
    (2, "BLMPOP 0.01 2 K K END COUNT 2"),
    (1, "BLPOP K -1"),
    (1, "BLPOP K x"),
    (1, "BLMOVE K K NOSUCH END 1"),
    (1, "BLMPOP 1 0 K END"),
];

/// Where the keys of a script lie, and how much happens at once.
///
/// With several shards, a client that waits for keys of several of them is served when its core has them in hand,
/// which may be behind what stands in the same pipeline or transaction as the push that serves it; and what two clients
/// had sent behind their waits runs in any order when one push serves both. With one shard, and in Redis, it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Two keys on one slot, three on others.
    Spread,
    /// All keys on one slot; nothing behind a command that waits.
    Together,
    /// Keys as with [`Layout::Spread`]; nothing behind a command that waits.
    Apart,
    /// Keys as with [`Layout::Spread`]; one command at a time, none behind one that waits.
    OneByOne,
    /// As [`Layout::Together`], on any of the hosts of a cluster: one database, nothing about all keys in transactions.
    OnAHost,
}

const TOGETHER: &[&str] = &["{tag}a", "{tag}b", "{tag}c", "{tag}d", "{tag}e"];
const SPREAD: &[&str] = &["a", "b", "c", "{tag}a", "{tag}b"];

/// What the keys of a script hold, and how clients wait for them.
///
/// Redis 7.0 serves a client that waits for several keys from the one that first got a list; 7.2 runs the client's
/// command anew, which takes from the first key of it that has one, and fails if an earlier one holds a string. So
/// where 7.0 is the oracle, and a client waits for several keys, there are no strings, and one key at a time changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// Lists and strings; clients wait for one key.
    Strings,
    /// Lists; clients wait for several keys, and what they get goes nowhere else; no transactions.
    SeveralKeys,
    /// Lists and strings; SWAPDB; clients wait for one key, always the same: in which order Redis looks at several
    /// that have come by SWAPDB depends on the seed of its hash function.
    Exchanges,
    /// Lists and strings; a client waits for one key, and what it gets goes nowhere else.
    SingleKeys,
    /// Lists and strings; clients wait for several keys; no SWAPDB.
    Everything,
}

/// So many moves, drawn from a seed.
pub fn random_script(seed: u64, flavour: Flavour, layout: Layout, count: usize) -> Vec<Move> {
    let keys = if matches!(layout, Layout::Together | Layout::OnAHost) { TOGETHER } else { SPREAD };
    let mut generator = ScriptGenerator { rng: Rng::new(seed), flavour, keys, layout, may_queue: false };
    (0..count).map(|_| generator.step()).collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Blocking,
    Transaction,
    Unblock,
}

struct ScriptGenerator {
    rng: Rng,
    flavour: Flavour,
    keys: &'static [&'static str],
    layout: Layout,
    /// Whether what is drawn may be queued for a transaction.
    may_queue: bool,
}

impl ScriptGenerator {
    fn step(&mut self) -> Move {
        // The first connection never waits, so that a script goes on.
        let connection = self.below(CONNECTIONS + 1).saturating_sub(1);
        let (kind, waits) = (self.below(100), connection > 0);
        self.may_queue = waits;
        let has_transactions = self.flavour != Flavour::SeveralKeys;
        let is_piped = self.layout != Layout::OneByOne;
        let act = match kind {
            0..2 if waits => Act::Close,
            2..26 if waits => self.say(&[Kind::Blocking]),
            26..30 if waits => self.timed(),
            30..46 if waits && has_transactions => self.say(&[Kind::Transaction]),
            46..56 if has_transactions => self.whole_transaction(),
            56..62 if is_piped => {
                let count = 2 + self.below(3);
                self.say(&vec![Kind::Plain; count])
            }
            62..66 if waits && self.layout == Layout::Spread => self.say(&[Kind::Plain, Kind::Blocking, Kind::Plain]),
            62..66 if waits && is_piped => self.say(&[Kind::Plain, Kind::Plain, Kind::Blocking]),
            _ if !waits && self.below(5) == 0 => self.say(&[Kind::Unblock]),
            _ => self.say(&[Kind::Plain]),
        };
        Move { connection, act }
    }

    fn say(&mut self, kinds: &[Kind]) -> Act {
        let requests = kinds.iter().map(|kind| self.draw(*kind)).collect();
        Act::Say { requests, manner: self.manner() }
    }

    fn manner(&self) -> Manner {
        if self.layout == Layout::Spread { Manner::Behind } else { Manner::IfFree }
    }

    fn timed(&mut self) -> Act {
        Act::Say { requests: vec![self.request(TIMED)], manner: Manner::Awaited }
    }

    fn whole_transaction(&mut self) -> Act {
        self.may_queue = true;
        let mut requests = vec![vec![b"MULTI".to_vec()]];
        for _ in 0..self.below(if self.layout == Layout::OneByOne { 2 } else { 5 }) {
            let kind = if self.below(5) == 0 { Kind::Blocking } else { Kind::Plain };
            requests.push(self.draw(kind));
        }
        requests.push(vec![b"EXEC".to_vec()]);
        Act::Say { requests, manner: self.manner() }
    }

    fn draw(&mut self, kind: Kind) -> Vec<Vec<u8>> {
        let has_others = self.flavour != Flavour::SeveralKeys && self.below(6) == 0;
        let has_several = matches!(self.flavour, Flavour::SeveralKeys | Flavour::Everything) && self.below(3) == 0;
        let exchanges = self.flavour == Flavour::Exchanges;
        let is_exchange = exchanges && self.below(12) == 0;
        self.request(match kind {
            Kind::Plain if is_exchange => EXCHANGE,
            Kind::Blocking if exchanges => BLOCKING_ON_ONE,
            Kind::Blocking if self.flavour == Flavour::SingleKeys => BLOCKING_ON_SINGLE,
            Kind::Plain if has_others => OTHERS,
            Kind::Plain => PLAIN,
            Kind::Blocking if has_several => BLOCKING_ON_SEVERAL,
            // What a waiter is served must not be another key's at once.
            Kind::Blocking if self.flavour == Flavour::SeveralKeys => BLOCKING_ON_SINGLE,
            Kind::Blocking => BLOCKING,
            Kind::Transaction => TRANSACTION,
            Kind::Unblock => UNBLOCK,
        })
    }

    fn request(&mut self, rows: Rows) -> Vec<Vec<u8>> {
        let total = rows.iter().map(|row| row.0).sum();
        let mut at = self.rng.below(total);
        let chosen = rows.iter().find(|row| match at.checked_sub(row.0) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        let template = chosen.expect("the weights add up to the total").1;
        let args: Vec<Vec<u8>> = template.split(' ').map(|word| self.word(word)).collect();
        let is_left_out = hosts::is_refused(&args) || (self.may_queue && hosts::is_of_all(&args));
        if self.layout == Layout::OnAHost && is_left_out { vec![b"PING".to_vec()] } else { args }
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        let text = match word {
            "K" => self.keys[self.below(self.keys.len())].to_owned(),
            "KEY0" | "KEY1" | "KEY2" => self.keys[usize::from(word.as_bytes()[3] - b'0')].to_owned(),
            "ELEMENT" => ["1", "2", "3", "x", "y", "z"][self.below(6)].to_owned(),
            "END" => ["LEFT", "RIGHT"][self.below(2)].to_owned(),
            "DATABASE" => ["0", "1"][self.below(2)].to_owned(),
            "ANYONE" => format!("@{}", self.below(CONNECTIONS)),
            literal => literal.to_owned(),
        };
        text.into_bytes()
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).expect("below a usize")
    }
}
