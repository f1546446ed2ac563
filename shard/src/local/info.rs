//! INFO: which sections, in which order. The sections themselves stand in `info/`, one file each or several small
//! ones together.
//!
//! Fields are named and printed as in Redis 7.2 (`server.c` `genRedisInfoString`). What we do not have or do not
//! measure is left out, except where clients are known to read it: there stands what is true of a master without
//! replicas, persistence, scripts or modules.

mod commands;
mod keyspace;
mod memory;
mod replication;
mod server;
mod shards;
mod state;
mod stats;

use super::{CoreFacts, Node, ProcessFacts};
use slotmesh_base::UnixMillis;
use slotmesh_conf::Settings;
use slotmesh_resp::{Args, Reply};
use std::fmt::{Display, Write};

/// All that sections are printed from.
struct Facts<'a> {
    node: &'a dyn Node,
    settings: &'a Settings,
    process: ProcessFacts,
    cores: Vec<CoreFacts>,
    now: UnixMillis,
    /// The port that the client has come to, if it is that of a node of a cluster.
    node_port: Option<u16>,
}

impl Facts<'_> {
    /// A counter of all cores together.
    fn total(&self, counter: impl Fn(&CoreFacts) -> u64) -> u64 {
        self.cores.iter().map(counter).sum()
    }
}

/// A section: its name in requests, its title, whether INFO without arguments shows it, and its fields.
struct Section {
    name: &'static str,
    title: &'static str,
    default: bool,
    write: fn(&Facts<'_>, &mut Fields),
}

const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", default: true, write: server::server },
    Section { name: "clients", title: "Clients", default: true, write: server::clients },
    Section { name: "memory", title: "Memory", default: true, write: memory::memory },
    Section { name: "persistence", title: "Persistence", default: true, write: state::persistence },
    Section { name: "stats", title: "Stats", default: true, write: stats::stats },
    Section { name: "replication", title: "Replication", default: true, write: replication::replication },
    Section { name: "cpu", title: "CPU", default: true, write: stats::cpu },
    Section { name: "modules", title: "Modules", default: true, write: state::nothing },
    Section { name: "commandstats", title: "Commandstats", default: false, write: commands::commandstats },
    Section { name: "errorstats", title: "Errorstats", default: true, write: commands::errorstats },
    Section { name: "latencystats", title: "Latencystats", default: false, write: commands::latencystats },
    Section { name: "cluster", title: "Cluster", default: true, write: state::cluster },
    Section { name: "shards", title: "Shards", default: true, write: shards::shards },
    Section { name: "io", title: "Io", default: true, write: shards::io },
    Section { name: "keyspace", title: "Keyspace", default: true, write: keyspace::keyspace },
];

pub(super) fn info(args: Args<'_>, node: &dyn Node, now: UnixMillis, reply: &mut Reply<'_>) {
    let facts = Facts {
        node,
        settings: node.settings(),
        process: node.process(),
        cores: node.cores(),
        now,
        node_port: node.cluster().map(|member| member.node().port),
    };
    let mut fields = Fields::default();
    for section in SECTIONS.iter().filter(|section| is_wanted(section, args)) {
        fields.begin(section.title);
        (section.write)(&facts, &mut fields);
    }
    reply.verbatim(b"txt", fields.text.as_bytes());
}

/// Names in any case and any number; unknown ones add nothing (Redis 7.2 `server.c` `genInfoSectionDict`).
fn is_wanted(section: &Section, args: Args<'_>) -> bool {
    let named = |word: &[u8]| {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        is(section.name)
            || is("all")
            || is("everything")
            || (section.default && is("default"))
            || (section.name == "modules" && is("module_list"))
    };
    if args.len() == 1 { section.default } else { args.iter_from(1).any(named) }
}

/// The text of INFO, growing.
#[derive(Default)]
struct Fields {
    text: String,
}

impl Fields {
    fn begin(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        self.line(format_args!("# {title}"));
    }

    fn field(&mut self, name: impl Display, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    /// The bytes, and under `name_human` the same for people.
    fn memory(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(format_args!("{name}_human"), Human(bytes));
    }

    fn fields(&mut self, fields: &[(&str, &str)]) {
        fields.iter().for_each(|(name, value)| self.field(name, value));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        write!(self.text, "{line}\r\n").expect("memory takes everything");
    }
}

/// Bytes for people, with two decimals and the largest unit that keeps the number above one (Redis:
/// `bytesToHuman`).
struct Human(u64);

impl Display for Human {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [(u32, char); 5] = [(50, 'P'), (40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
        match UNITS.iter().find(|(bits, _)| self.0 >> bits > 0) {
            Some((bits, unit)) => write!(f, "{:.2}{unit}", self.0 as f64 / (1u64 << bits) as f64),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Microseconds as seconds with six decimals.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::{Human, Seconds};

    #[test]
    fn bytes_are_printed_as_redis_prints_them() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_234_567, "1.18M"),
            (5 << 30, "5.00G"),
            ((1 << 40) - 1, "1024.00G"),
            (3 << 40, "3.00T"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Human(bytes).to_string(), text);
        }
        assert_eq!(Seconds(12_000_034).to_string(), "12.000034");
    }
}
