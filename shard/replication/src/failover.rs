//! FAILOVER outside of clusters: a master hands its role to a replica without losing a write.
//!
//! Clients wait with their writes; as soon as a replica has all that was written, the master follows it, and says in its
//! PSYNC that the other is to lead from there on. Whatever goes wrong before the answer leaves all as it was.
//!
//! Mirrors Redis 7.2 `replication.c` (`failoverCommand`, `failoverCron`).

use crate::{Replica, ReplicaState};
use slotmesh_base::Monotonic;

/// What FAILOVER asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FailoverOrder {
    /// The replica that shall lead: its address, and its port for clients. Else whichever is first.
    pub target: Option<(String, u16)>,
    /// Whether the target leads when the time is over, whatever it lacks.
    pub is_forced: bool,
    /// How long a replica has until it has all, in ms; `None` for ever.
    pub timeout_ms: Option<u64>,
}

/// What is to be done now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FailoverStep {
    /// Nothing.
    Wait,
    /// Follow this node, and have it lead.
    Follow(String, u16),
    /// Go on as before: nobody was ready in time.
    GiveUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Writes that were begun before come to their end.
    Settles,
    /// Until a replica has all.
    Waits,
    /// The other was asked to lead.
    Asks,
    /// It does not: we lead again.
    Returns,
}

/// A failover that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failover {
    order: FailoverOrder,
    ends_at: Option<Monotonic>,
    stage: Stage,
}

impl Failover {
    /// Begins one.
    pub fn begin(order: FailoverOrder, now: Monotonic) -> Self {
        let ends_at = order.timeout_ms.map(|timeout_ms| now.plus_millis(timeout_ms));
        Self { order, ends_at, stage: Stage::Settles }
    }

    /// The word of INFO (`master_failover_state`).
    pub fn name(&self) -> &'static str {
        match self.stage {
            Stage::Settles | Stage::Waits => "waiting-for-sync",
            Stage::Asks | Stage::Returns => "failover-in-progress",
        }
    }

    /// When time asks for a step.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.ends_at.filter(|_| matches!(self.stage, Stage::Settles | Stage::Waits))
    }

    /// Nothing is written any more.
    pub fn settled(&mut self) {
        if self.stage == Stage::Settles {
            self.stage = Stage::Waits;
        }
    }

    /// What is to be done, when the stream has this offset and these replicas.
    pub fn step<K>(&mut self, now: Monotonic, offset: u64, replicas: &[Replica<K>]) -> FailoverStep {
        if !matches!(self.stage, Stage::Settles | Stage::Waits) {
            return FailoverStep::Wait;
        }
        let is_over = self.ends_at.is_some_and(|end| now >= end);
        let is_meant = |replica: &&Replica<K>| self.order.target.as_ref().is_none_or(|target| is_at(replica, target));
        let has_all = |replica: &&Replica<K>| replica.state == ReplicaState::Online && replica.acked == offset;
        let heir = replicas.iter().filter(is_meant).find(has_all).filter(|_| self.stage == Stage::Waits);
        let heir = heir.map(|replica| (replica.facts.host().to_owned(), replica.facts.listening_port));
        match (heir, &self.order.target) {
            (Some((host, port)), _) => self.ask(host, port),
            (None, Some((host, port))) if is_over && self.order.is_forced => self.ask(host.clone(), *port),
            (None, _) if is_over => FailoverStep::GiveUp,
            (None, _) => FailoverStep::Wait,
        }
    }

    fn ask(&mut self, host: String, port: u16) -> FailoverStep {
        self.stage = Stage::Asks;
        FailoverStep::Follow(host, port)
    }

    /// Whether the other was asked to lead and has not answered.
    pub fn is_asking(&self) -> bool {
        self.stage == Stage::Asks
    }

    /// Whether we are to lead again.
    pub fn is_returning(&self) -> bool {
        self.stage == Stage::Returns
    }

    /// The other does not lead; whether we did not any more, and are to lead again.
    pub fn fail(&mut self) -> bool {
        let was_asking = self.is_asking();
        self.stage = Stage::Returns;
        was_asking
    }
}

/// Whether this is where a replica lives.
fn is_at<K>(replica: &Replica<K>, (host, port): &(String, u16)) -> bool {
    replica.facts.host().eq_ignore_ascii_case(host) && replica.facts.listening_port == *port
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReplicaFacts, Request, Source, SourceSettings};
    use slotmesh_base::Rng;

    /// A master with replicas at ports 1 and 2, of which the second has all.
    fn source() -> Source<u32> {
        let settings = SourceSettings {
            backlog_bytes: 1 << 20,
            backlog_ttl_s: 0,
            ping_period_s: 10,
            timeout_s: 60,
            output_hard_bytes: 0,
            output_soft_bytes: 0,
            output_soft_s: 0,
        };
        let mut source = Source::new(settings, Rng::new(1));
        for key in 1..=2 {
            let facts =
                ReplicaFacts { listening_port: key as u16, peer_host: "h".to_owned(), ..ReplicaFacts::default() };
            source.attach(key, facts, Request::Everything, true, Monotonic(0));
            source.begin_image(key);
            source.end_image(key, false, Monotonic(0));
        }
        source.append(b"*1\r\n$4\r\nPING\r\n");
        source.acknowledge(2, 14, None, Monotonic(0));
        source
    }

    fn failover(order: FailoverOrder) -> Failover {
        let mut failover = Failover::begin(order, Monotonic(0));
        failover.settled();
        failover
    }

    #[test]
    fn the_first_replica_that_has_all_leads_once_nothing_is_written() {
        let source = source();
        let mut failover = Failover::begin(FailoverOrder::default(), Monotonic(0));
        assert_eq!(failover.step(Monotonic(0), 14, source.replicas()), FailoverStep::Wait);
        failover.settled();
        assert_eq!(failover.step(Monotonic(0), 15, source.replicas()), FailoverStep::Wait);
        assert_eq!(failover.name(), "waiting-for-sync");
        assert_eq!(failover.step(Monotonic(0), 14, source.replicas()), FailoverStep::Follow("h".to_owned(), 2));
        assert_eq!((failover.name(), failover.is_asking()), ("failover-in-progress", true));
        assert_eq!(failover.step(Monotonic(u64::MAX), 14, source.replicas()), FailoverStep::Wait);
        assert!(failover.fail());
    }

    #[test]
    fn a_target_has_its_time() {
        let source = source();
        let order = FailoverOrder { target: Some(("H".to_owned(), 1)), is_forced: false, timeout_ms: Some(5) };
        let mut patient = failover(order.clone());
        assert_eq!(patient.step(Monotonic(4_999_999), 14, source.replicas()), FailoverStep::Wait);
        assert_eq!(patient.step(Monotonic(5_000_000), 14, source.replicas()), FailoverStep::GiveUp);
        assert!(!patient.fail(), "it led all the time");
        let mut forced = failover(FailoverOrder { is_forced: true, ..order });
        assert_eq!(forced.step(Monotonic(5_000_000), 14, source.replicas()), FailoverStep::Follow("H".to_owned(), 1));
    }
}
