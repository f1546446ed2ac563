//! What a run consists of.

use crate::keys::Distribution;
use crate::workload::{Share, Sizes};

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
    pub(crate) sizes: Sizes,
    pub(crate) distribution: Distribution,
    pub(crate) seed: u64,
    /// Whether the threads look for replies a moment before they sleep.
    pub(crate) spins: bool,
}

impl Load {
    /// The load that sets all keys of `range` once.
    pub(crate) fn filling(&self, kind: crate::workload::CommandKind, from: u64, to: u64) -> Self {
        Self {
            clients: self.clients.clamp(self.threads, 16),
            pipeline: 64,
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
        let keys = match self.distribution {
            Distribution::Zipf(exponent) => format!("{} keys by Zipf {exponent}", self.keys),
            Distribution::Uniform | Distribution::Sequence { .. } => format!("{} keys", self.keys),
        };
        let mix: Vec<_> = self.mix.iter().map(ToString::to_string).collect();
        let Sizes { key_bytes, value_bytes } = self.sizes;
        format!(
            "{}: {mode}, {} clients, pipeline {}, {keys} of {key_bytes} B, values of {value_bytes} B, seed {}",
            mix.join(","),
            self.clients,
            self.pipeline,
            self.seed
        )
    }
}
