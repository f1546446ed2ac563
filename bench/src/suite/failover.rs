//! How long slots take no writes when the host of their master dies, falls silent, or is to be relieved: clusters of
//! ours and of redis-server, which take their turns.
//!
//! A write is tried at the master and at its replica in turn until one of them takes it, as a client of a cluster
//! would; then comes the next one. What is told is when the first write was taken after the blow, or, where nobody
//! dies, how long a write took at most.

mod hosts;
mod writers;

use super::Scale;
use super::servers::Programs;
use crate::arguments::SuiteOptions;
use crate::failure::Failure;
use crate::report::figure;
use crate::statistics::{Spread, median};
use hosts::{Cluster, Kind, Layout};
use indicatif::ProgressBar;
use slotmesh_base::Rng;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use writers::{Writer, Writers};

/// `cluster-node-timeout` of all nodes.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for slots to take writes again.
const DEADLINE: Duration = Duration::from_secs(60);
/// A blow falls at any moment of the second behind a quiet cluster: what nodes do once a second has no favourite.
const PHASE_MILLIS: u64 = 1000;
/// Writes that each group takes before a blow.
const WRITES_BEFORE: usize = 20;
/// A handover is watched for so long after the new master has taken its first write.
const AFTERWARDS: Duration = Duration::from_millis(300);
/// Before a planned failover: masters of Redis vote for the replicas of one master once in two node timeouts, and there
/// are three groups in turn.
const VOTES_RENEWED: Duration = NODE_TIMEOUT;

/// What happens to masters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    /// SIGKILL of the host's processes.
    Kill,
    /// SIGSTOP of them: the host is there and says nothing.
    Silence,
    /// SIGTERM: the master is told to stop.
    Stop,
    /// CLUSTER FAILOVER at the replica.
    Handover,
}

/// A line of the table: what happens where, and what it may take.
struct Trial {
    title: &'static str,
    layout: Layout,
    blow: Blow,
    /// Longest time that ours may take, in seconds.
    target_seconds: Option<f64>,
}

const TRIALS: [Trial; 5] = [
    Trial { title: "`kill -9` of a master", layout: Layout::Apart, blow: Blow::Kill, target_seconds: Some(1.0) },
    Trial {
        title: "`kill -9` of a host with two masters and two replicas",
        layout: Layout::Shared,
        blow: Blow::Kill,
        target_seconds: Some(1.5),
    },
    Trial {
        title: "a silent host (SIGSTOP of a master)",
        layout: Layout::Apart,
        blow: Blow::Silence,
        target_seconds: Some(1.5 * NODE_TIMEOUT.as_secs() as f64 + 1.0),
    },
    Trial {
        title: "SIGTERM of a master: the longest write",
        layout: Layout::Apart,
        blow: Blow::Stop,
        target_seconds: Some(0.2),
    },
    Trial {
        title: "planned (CLUSTER FAILOVER): the longest write",
        layout: Layout::Apart,
        blow: Blow::Handover,
        target_seconds: None,
    },
];

const KINDS: [Kind; 2] = [Kind::Redis, Kind::Slotmesh];

/// Measures both; the text of the section.
///
/// # Errors
/// If a server failed, a cluster does not recover, or slots take no writes within a minute.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let rounds = TRIALS.iter().map(|trial| trial.rounds(scale.failures)).sum::<usize>();
    let bar = ProgressBar::new((rounds * KINDS.len()) as u64);
    let mut rng = Rng::new(options.seed);
    let load = super::other_load();
    let mut rows = String::new();
    let mut kept = Vec::new();
    for layout in [Layout::Apart, Layout::Shared] {
        let mut clusters = Vec::new();
        for kind in KINDS {
            clusters.push(Cluster::form(programs, kind, layout)?);
        }
        for trial in TRIALS.iter().filter(|trial| trial.layout == layout) {
            let mut seconds = [Vec::new(), Vec::new()];
            for round in 0..trial.rounds(scale.failures) {
                for (cluster, seconds) in clusters.iter_mut().zip(&mut seconds) {
                    let taken = strike(cluster, trial.blow, round, &mut rng)?;
                    bar.suspend(|| eprintln!("{}: {}: {} s", cluster.name(), trial.title, figure(taken)));
                    seconds.push(taken);
                    bar.inc(1);
                    let is_late = trial.target_seconds.is_some_and(|target| taken > target);
                    if is_late && cluster.kind() == Kind::Slotmesh {
                        kept.push(cluster.keep_logs());
                    }
                }
            }
            rows += &trial.row(&seconds);
        }
    }
    bar.finish_and_clear();
    kept.dedup();
    kept.iter().for_each(|path| eprintln!("a target was missed; the logs of that cluster: {}", path.display()));
    Ok(introduction(scale.failures, &load) + &rows)
}

fn introduction(rounds: usize, load: &str) -> String {
    let timeout = NODE_TIMEOUT.as_secs();
    format!(
        "Seconds from the blow to the first write that is taken for the slots of the masters concerned (of several \
         masters: of the last one); of what is planned the longest time that a write took from its first try on. \
         `cluster-node-timeout` {timeout} s; {rounds} kills of each kind, a third as many of the rest; redis-server and \
         slotmesh in turn; nothing is bound to a CPU; {load}. A write is tried each millisecond, at the old master and at its replica in turn (one that does not \
         answer is left for the other one after {} ms; in a planned failover it is waited for). After each blow the \
         dead are started again and the next one falls when all replicas are in step. Masters and replicas on six \
         hosts: a process each, three groups. On three hosts of four nodes: six groups, of which no two nodes share a \
         host; a host is one process of `shards 4`, or four of redis-server, killed at once. The targets are for the \
         worst.\n\n\
         | | redis: median | worst | slotmesh: median | worst | target | |\n\
         |---|--:|--:|--:|--:|--:|---|\n",
        writers::PATIENCE.as_millis(),
    )
}

impl Trial {
    /// How often it is done, where masters are killed so often.
    fn rounds(&self, kills: usize) -> usize {
        if self.blow == Blow::Kill { kills } else { (kills / 3).max(1) }
    }

    fn row(&self, [redis, slotmesh]: &[Vec<f64>; 2]) -> String {
        let worst = |values: &[f64]| Spread::of(values).map_or(f64::NAN, |spread| spread.max);
        let mut row = format!("| {} ", self.title);
        for values in [redis, slotmesh] {
            let _ = write!(row, "| {} | {} ", figure(median(values)), figure(worst(values)));
        }
        let (target, verdict) = match self.target_seconds {
            None => (String::new(), ""),
            Some(target) if worst(slotmesh) <= target => (format!("≤ {target}"), "pass"),
            Some(target) => (format!("≤ {target}"), "FAIL"),
        };
        row + &format!("| {target} | {verdict} |\n")
    }
}

/// Strikes once and lets the cluster recover; how long slots took no writes, in seconds.
fn strike(cluster: &mut Cluster<'_>, blow: Blow, round: usize, rng: &mut Rng) -> Result<f64, Failure> {
    cluster.await_health()?;
    if blow == Blow::Handover {
        std::thread::sleep(VOTES_RENEWED);
    }
    let targets = cluster.targets()?;
    let patience = if blow == Blow::Handover { DEADLINE } else { writers::PATIENCE };
    let taken = std::thread::scope(|scope| {
        let mut writers = Writers::start(scope, targets.iter().map(Writer::of), patience);
        let taken = writers.await_writes(targets.len(), WRITES_BEFORE, DEADLINE).and_then(|()| {
            std::thread::sleep(Duration::from_millis(rng.below(PHASE_MILLIS)));
            match blow {
                Blow::Kill | Blow::Silence => fell(cluster, blow, round, &mut writers),
                Blow::Stop | Blow::Handover => hand_over(cluster, blow, round % targets.len(), &mut writers),
            }
        });
        writers.stop();
        taken
    })?;
    cluster.recover()?;
    Ok(taken)
}

/// Takes a host away; when the last group that had its master there takes a write.
fn fell(cluster: &mut Cluster<'_>, blow: Blow, round: usize, writers: &mut Writers) -> Result<f64, Failure> {
    let targets = cluster.targets()?;
    let host = match cluster.layout() {
        Layout::Apart => cluster.host_of(targets[round % targets.len()].master),
        Layout::Shared => round % cluster.layout().hosts(),
    };
    let concerned: Vec<usize> =
        (0..targets.len()).filter(|group| cluster.host_of(targets[*group].master) == host).collect();
    let begin = Instant::now();
    match blow {
        Blow::Kill => cluster.kill(host),
        Blow::Silence | Blow::Stop | Blow::Handover => cluster.silence(host)?,
    }
    let mut last = Duration::ZERO;
    for group in concerned {
        let replica = targets[group].replica;
        let accepted = writers
            .first_write(group, cluster.port(replica), begin, DEADLINE)
            .ok_or_else(|| cluster.failure("no write was taken within the deadline"))?;
        last = last.max(accepted - begin);
    }
    Ok(last.as_secs_f64())
}

/// Makes a replica the master, by its own order or since its master is told to stop; the longest time that a write of
/// the group took.
fn hand_over(cluster: &mut Cluster<'_>, blow: Blow, group: usize, writers: &mut Writers) -> Result<f64, Failure> {
    let target = &cluster.targets()?[group];
    let mut client = cluster.client(target.replica)?;
    let begin = Instant::now();
    match blow {
        Blow::Stop => cluster.end(cluster.host_of(target.master))?,
        Blow::Kill | Blow::Silence | Blow::Handover => _ = client.ask(&["CLUSTER", "FAILOVER"])?,
    }
    let longest = writers
        .longest_write(group, cluster.port(target.replica), begin, AFTERWARDS, DEADLINE)
        .ok_or_else(|| cluster.failure("the replica took no write within the deadline"))?;
    Ok(longest.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_for_the_worst_of_ours() {
        let trial = &TRIALS[0];
        let row = trial.row(&[vec![7.0, 9.0, 8.0], vec![0.2, 0.9, 0.3]]);
        assert_eq!(row, "| `kill -9` of a master | 8.00 | 9.00 | 0.300 | 0.900 | ≤ 1 | pass |\n");
        let row = trial.row(&[vec![7.0], vec![0.2, 1.1, 0.3]]);
        assert_eq!(row, "| `kill -9` of a master | 7.00 | 7.00 | 0.300 | 1.10 | ≤ 1 | FAIL |\n");
    }
}
