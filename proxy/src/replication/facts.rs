//! What INFO and ROLE say of a stream.

use super::{NANOS_PER_SECOND, Replication};
use crate::board::ReplicationCounts;
use slotmesh_base::Monotonic;
use slotmesh_cluster::machine;
use slotmesh_conf::{Settings, directive};
use slotmesh_replication::{Backlog, FollowerPhase};
use slotmesh_shard::{MasterLine, ReplicaLine, ReplicationFacts};

impl Replication {
    /// For INFO and ROLE.
    pub(crate) fn facts(&self, settings: &Settings, now: Monotonic) -> ReplicationFacts {
        let history = self.source.history();
        let replicas = self.source.replicas().iter().map(|replica| ReplicaLine {
            host: replica.facts.host().to_owned(),
            port: replica.facts.listening_port,
            state: replica.state.name(),
            offset: replica.acked,
            on_disk: replica.acked_on_disk,
            lag_s: replica.lag_s(now),
        });
        ReplicationFacts {
            master: self.master_line(now),
            replicas: replicas.collect(),
            id: Some(history.id()),
            before: history.before(),
            offset: history.offset(),
            backlog: self.source.backlog().map(|backlog| (backlog.first(), backlog.len())),
            backlog_bytes_wanted: self.source.backlog_bytes_wanted(),
            failover: self.failover_name(),
            priority: settings.value(directive::REPLICA_PRIORITY),
            is_announced: settings.value(directive::REPLICA_ANNOUNCED),
            good_replicas: (self.rules.replicas_min > 0).then(|| self.source.count_fresh(self.rules.lag_s_max, now)),
        }
    }

    /// For the board of our core.
    pub(crate) fn counts(&self) -> ReplicationCounts {
        ReplicationCounts {
            syncs: self.source.syncs(),
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
            held_bytes: self.source.backlog().map_or(0, Backlog::len) as u64,
            replicas: self.source.replicas().len() as u64,
        }
    }

    fn master_line(&self, now: Monotonic) -> Option<MasterLine> {
        let link = self.link.as_ref()?;
        let (host, port) = link.follower.master();
        let seconds = |since: Monotonic| now.nanos_since(since) / NANOS_PER_SECOND;
        Some(MasterLine {
            host: host.to_owned(),
            port,
            state: link.follower.phase().name(),
            is_up: link.follower.phase() == FollowerPhase::Follows,
            heard_s: link.socket.map(|_| seconds(link.follower.heard_at())),
            image_bytes: link.image_bytes(),
            down_s: link.follower.down_since().filter(|_| link.is_synced()).map(seconds),
            read_offset: self.source.history().offset() + link.unapplied(),
            is_read_only: self.rules.is_read_only,
        })
    }

    /// For the cluster's machine.
    pub(crate) fn machine_facts(&self) -> machine::ReplicationFacts {
        let offset = self.source.history().offset();
        let link = match &self.link {
            Some(link) if link.is_synced() => match link.follower.down_since() {
                None => machine::MasterLink::Up { heard_at: link.follower.heard_at() },
                Some(since) => machine::MasterLink::Down { since },
            },
            _ => machine::MasterLink::NeverSynced,
        };
        machine::ReplicationFacts { offset, link }
    }
}
