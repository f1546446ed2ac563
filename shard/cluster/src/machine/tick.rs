//! What time itself asks for, ten times a second (Redis: `clusterCron`).

use super::{Actions, Cluster, Now, TICK_MS};
use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use alloc::vec::Vec;

/// Ticks between two PINGs to a node at random.
const TICKS_PER_RANDOM_PING: u64 = 10;
/// How many nodes chance draws, of which the one is asked that was silent longest.
const RANDOM_CANDIDATES: usize = 5;
/// Shortest life of a handshake, in ms.
const SHORTEST_HANDSHAKE_MS: i64 = 1000;
/// How much later than the sibling before it a shard asks a node of which nobody in the process has heard, in ms.
const STAGGER_MS: i64 = 200;

/// What a tick finds to be done for a node.
enum Task {
    Drop,
    Dial,
    /// Close a link that may be dead.
    Doubt,
    Ping,
    Suspect,
    /// It stays suspected; with a single voter that is enough.
    Condemn,
}

impl Cluster {
    pub(super) fn tick(&mut self, now: Now, actions: &mut Actions) {
        self.ticks += 1;
        self.next_tick = now.monotonic.plus_millis(TICK_MS);
        self.ping_somebody(now, actions);
        let mut tasks: Vec<(NodeIndex, Task)> = Vec::new();
        let due: Vec<NodeIndex> = self.table.due(now.ms()).filter(|&node| node != self.myself).collect();
        for node in due {
            match self.task(now, node) {
                Some(task) => tasks.push((node, task)),
                None => self.table.rest_until(node, self.rest(node)),
            }
        }
        let mut suspects = Vec::new();
        for (node, task) in tasks {
            match task {
                Task::Drop => self.drop_node(node, actions),
                Task::Dial => self.dial(now, node, actions),
                Task::Doubt => self.hang_up(node, actions),
                Task::Ping => self.ping(now, node, false, actions),
                Task::Suspect => {
                    self.suspect(node, actions);
                    suspects.push(node);
                }
                Task::Condemn => self.condemn_if_agreed(now, node, actions),
            }
        }
        self.detect_crashes(now, &mut suspects, actions);
        self.share_suspicion(now, &suspects, actions);
        self.time_manual(now, actions);
        self.tell_taker(now, actions);
        self.advance_manual(now, actions);
        self.consider_migration(now, actions);
        self.due.election = true;
        self.due.state |= !self.state.is_ok();
    }

    /// What is to be done for a node, if anything.
    fn task(&self, now: Now, node: NodeIndex) -> Option<Task> {
        let (timeout, row) = (self.settings.timeout(), self.table.row(node));
        let since = |ms: i64| now.ms() - ms;
        if row.is_in_handshake() && since(row.created_at) > timeout.max(SHORTEST_HANDSHAKE_MS) {
            return Some(Task::Drop);
        }
        if row.has(NodeFlags::NO_ADDRESS) {
            // Another node answers where it lived. Redis leaves it at that, and its slots with it: nobody is asked to
            // take them as long as it is not suspected.
            let is_lost = since(row.data_received.max(row.pong_received).max(row.created_at)) > timeout;
            return match (is_lost && !row.is_in_handshake(), row.is_bad()) {
                (true, false) => Some(Task::Suspect),
                (true, true) if row.has(NodeFlags::PFAIL) && self.is_lone_voter() => Some(Task::Condemn),
                _ => None,
            };
        }
        if row.ping_sent != 0 {
            let (unanswered, silent) = (since(row.ping_sent), since(row.data_received));
            if unanswered.min(silent) > timeout && !row.is_in_handshake() {
                if !row.is_bad() {
                    return Some(Task::Suspect);
                }
                if row.has(NodeFlags::PFAIL) && self.is_lone_voter() {
                    return Some(Task::Condemn);
                }
            }
            let is_doubtful = unanswered > timeout / 2 && silent > timeout / 2 && since(row.linked_at) > timeout;
            if row.link.is_some() && is_doubtful {
                return Some(Task::Doubt);
            }
        }
        if row.link.is_none() {
            return Some(Task::Dial);
        }
        let patience = timeout / 2 + self.stagger(now, node);
        let is_silent = row.ping_sent == 0 && since(row.pong_received) > patience;
        (is_silent && !row.is_in_handshake()).then_some(Task::Ping)
    }

    /// Until when there will be nothing to be done for a node for which there is nothing now, unless its row changes: ten
    /// times a second a look at each row of a large cluster would cost more than all its messages.
    fn rest(&self, node: NodeIndex) -> i64 {
        let row = self.table.row(node);
        if row.is_in_handshake() || row.ping_sent != 0 || row.link.is_none() {
            return 0;
        }
        // Newer PONGs make it later, siblings that we leave it to as well.
        row.pong_received + self.settings.timeout() / 2
    }

    /// How long we leave a node to our siblings: what they hear counts for us, so that one question is enough for the
    /// process. Who asks first changes with time, that each link is tried now and then.
    fn stagger(&self, now: Now, node: NodeIndex) -> i64 {
        let shards = self.siblings.len() as i64;
        let id = &self.table.row(node).id;
        if shards <= 1 || self.sibling(id).is_some() {
            return 0;
        }
        let turn = now.ms() / self.settings.timeout().max(1);
        let name: i64 = id.as_bytes().iter().map(|&digit| i64::from(digit)).sum();
        let rank = (i64::from(self.settings.shard) + name + turn).rem_euclid(shards);
        // However many we are, the last one asks before a quarter of the timeout has passed.
        rank * STAGGER_MS.min(self.settings.timeout() / 4 / shards)
    }

    /// Asks the node that was silent longest among some at random; the shards of a process take turns.
    fn ping_somebody(&mut self, now: Now, actions: &mut Actions) {
        let shards = self.siblings.len().max(1) as u64;
        let turn = u64::from(self.settings.shard) % shards * TICKS_PER_RANDOM_PING;
        if self.ticks % (TICKS_PER_RANDOM_PING * shards) != turn {
            return;
        }
        let mut oldest: Option<(i64, NodeIndex)> = None;
        for _ in 0..RANDOM_CANDIDATES {
            let node = NodeIndex(self.rng.below(self.table.places() as u64) as u16);
            let Some(row) = self.table.at(node) else { continue };
            if !row.is_linked || row.ping_sent != 0 || row.has(NodeFlags::MYSELF | NodeFlags::HANDSHAKE) {
                continue;
            }
            if oldest.is_none_or(|(at, _)| row.pong_received < at) {
                oldest = Some((row.pong_received, node));
            }
        }
        if let Some((_, node)) = oldest {
            self.ping(now, node, false, actions);
        }
    }
}
