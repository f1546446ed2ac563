//! How soon the kernel ends us when memory runs out: `oom-score-adj` and its values.

use crate::log::Log;
use slotmesh_conf::{Settings, directive};
use std::io;
use std::sync::Mutex;

/// The kernel's file.
const FILE: &str = "/proc/self/oom_score_adj";
/// The kernel's bounds.
const SCORES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// The score, and what it was before we changed it.
#[derive(Debug, Default)]
pub(crate) struct OomScore {
    before: Mutex<Option<i32>>,
}

impl OomScore {
    /// Makes the score what the settings say; once they say no again, what it was. Reference: `setOOMScoreAdj`.
    ///
    /// # Errors
    /// If the kernel refuses; the log says why.
    pub(crate) fn apply(&self, settings: &Settings, log: &Log) -> io::Result<()> {
        let mut before = self.before.lock().expect("no holder panics");
        let mode = settings.value(directive::OOM_SCORE_ADJ);
        let score = match (mode, *before) {
            ("no", None) => return Ok(()),
            ("no", Some(score)) => {
                *before = None;
                score
            }
            (_, known) => {
                let base = match known {
                    Some(base) => base,
                    None => read()
                        .inspect_err(|error| log.warning(format_args!("Unable to read oom_score_adj: {error}")))?,
                };
                *before = Some(base);
                // We are a master, whose value is the first.
                let value = settings.value(directive::OOM_SCORE_ADJ_VALUES).first();
                let value = value.and_then(|value| value.parse().ok()).unwrap_or(0);
                if mode == "relative" { base + value } else { value }
            }
        };
        let score = score.clamp(*SCORES.start(), *SCORES.end());
        std::fs::write(FILE, score.to_string())
            .inspect_err(|error| log.warning(format_args!("Unable to write oom_score_adj: {error}")))
    }
}

fn read() -> io::Result<i32> {
    let text = std::fs::read_to_string(FILE)?;
    text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}
