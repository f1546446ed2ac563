//! What a run consists of.

use crate::keys::Distribution;
use crate::workload::{CommandKind, Population, Share, Sizes};

/// When a run ends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Extent {
    /// After so many requests.
    Requests(u64),
    /// When no more requests are sent after so many seconds.
    Seconds(f64),
}

/// The load of one run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Load {
    /// Whether the endpoint is a node of a cluster whose masters are all loaded, each with the keys of its slots.
    pub(crate) is_cluster: bool,
    /// Connections.
    pub(crate) clients: usize,
    /// Requests that a connection sends at once.
    pub(crate) pipeline: u64,
    pub(crate) threads: usize,
    /// CPUs that the threads are pinned to, in turn; none: not pinned.
    pub(crate) cpus: Vec<usize>,
    pub(crate) extent: Extent,
    /// Seconds of the same load before anything is measured.
    pub(crate) warmup_seconds: f64,
    /// Requests per second over all connections (open loop); `None`: as fast as replies come (closed loop).
    pub(crate) rate: Option<f64>,
    pub(crate) mix: Vec<Share>,
    pub(crate) keys: u64,
    pub(crate) lists: u64,
    /// Elements of each list when lists are filled.
    pub(crate) list_elements: usize,
    pub(crate) sizes: Sizes,
    pub(crate) distribution: Distribution,
    pub(crate) seed: u64,
    /// Whether the threads look for replies a moment before they sleep.
    pub(crate) spins: bool,
}

impl Load {
    /// What its commands draw from.
    pub(crate) fn population(&self) -> Population {
        Population { keys: self.keys, lists: self.lists }
    }

    /// Its commands as far as they want the same to be there before; each stands for the others.
    pub(crate) fn fillers(&self) -> Vec<CommandKind> {
        let mut fillers = Vec::new();
        for share in &self.mix {
            let filler = share.kind.filler(self.list_elements);
            if !fillers.contains(&filler) {
                fillers.push(filler);
            }
        }
        fillers
    }

    /// Whether any of its commands is one of lists.
    pub(crate) fn is_about_lists(&self) -> bool {
        self.fillers().iter().any(|filler| matches!(filler, CommandKind::Renew(_)))
    }

    /// The load that sends `kind` for all keys, lists or hash tags from `from` to below `to` once.
    pub(crate) fn filling(&self, kind: CommandKind, from: u64, to: u64) -> Self {
        Self {
            // Of a cluster each master wants its own.
            clients: if self.is_cluster { self.clients } else { self.clients.clamp(self.threads, 16) },
            // A list is filled by one long request.
            pipeline: if let CommandKind::Renew(_) = kind { 1 } else { 64 },
            extent: Extent::Requests(to - from),
            warmup_seconds: 0.0,
            rate: None,
            mix: vec![Share { kind, weight: 1 }],
            distribution: Distribution::Sequence { from, to },
            ..self.clone()
        }
    }

    /// What the load is, in one line.
    pub(crate) fn describe(&self) -> String {
        let mode = match self.rate {
            Some(rate) => format!("open loop at {rate} requests/s"),
            None => "closed loop".to_owned(),
        };
        let cluster = if self.is_cluster { " spread over the masters of a cluster" } else { "" };
        let keys = match self.distribution {
            Distribution::Zipf(exponent) => format!("{} keys by Zipf {exponent}", self.keys),
            Distribution::Uniform | Distribution::Sequence { .. } => format!("{} keys", self.keys),
        };
        let lists = if self.is_about_lists() { format!(", {} lists", self.lists) } else { String::new() };
        let mix: Vec<_> = self.mix.iter().map(ToString::to_string).collect();
        let Sizes { key_bytes, value_bytes } = self.sizes;
        format!(
            "{}: {mode}, {} clients{cluster}, pipeline {}, {keys}{lists}; keys of {key_bytes} B, values of {value_bytes} B, seed {}",
            mix.join(","),
            self.clients,
            self.pipeline,
            self.seed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::default_load;
    use crate::workload::parse_mix;

    #[test]
    fn what_a_mix_needs_is_filled_once() {
        let fillers = |mix| Load { mix: parse_mix(mix).unwrap(), list_elements: 7, ..default_load() }.fillers();
        assert_eq!(fillers("get:3,set,multi-any:5"), [CommandKind::Set]);
        assert_eq!(fillers("lpush,get,rpop,lrange"), [CommandKind::Renew(7), CommandKind::Set]);
        assert_eq!(fillers("multi:4"), [CommandKind::Multi(4)]);
    }

    #[test]
    fn lists_are_told_where_they_matter() {
        let describe = |mix| Load { mix: parse_mix(mix).unwrap(), ..default_load() }.describe();
        assert!(describe("rpop").contains("1000000 keys, 1000 lists; keys of 16 B"), "{}", describe("rpop"));
        assert!(describe("get").contains("1000000 keys; keys of 16 B"), "{}", describe("get"));
    }
}
