//! Replies that wait for the disk (`appendfsync always`, and FLUSHALL where there are save points).
//!
//! *The idea.* Nothing that a turn has written for clients leaves before all that any shard had done by then is on the
//! disk: neither the reply to a write nor what others have read of it. So as in Redis nobody ever sees what may be gone
//! after a crash. One sync serves all that waited for it; meanwhile requests are taken up and run, but for those of the
//! clients whose replies wait.

use crate::engine::Engine;
use crate::persistence::Needs;
use slotmesh_io::{SocketId, Sockets};
use std::collections::VecDeque;

/// What a core holds back.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    held: VecDeque<Held>,
}

/// What waits for one state of the disk.
#[derive(Debug)]
struct Held {
    needs: Needs,
    /// Each with the bytes that are kept back for it.
    sockets: Vec<(SocketId, usize)>,
}

impl Engine {
    /// Holds back what must not leave yet, and lets go what may. Before anything is sent.
    #[inline]
    pub(crate) fn fence(&mut self, sockets: &mut Sockets) {
        self.publish_own_gain();
        if self.promises.holds_replies || self.process.durability.is_flushed() || !self.fence.held.is_empty() {
            self.hold_replies(sockets);
        }
    }

    fn hold_replies(&mut self, sockets: &mut Sockets) {
        let needs = self.process.durability.needs(self.promises);
        if !needs.is_nothing() {
            let mut held = Vec::new();
            let connections = &self.connections;
            let is_clients = |id: SocketId| {
                let connection = connections.get(id.index as usize).and_then(Option::as_deref);
                connection.is_none_or(|connection| connection.socket != id || !connection.client.is_attached())
            };
            sockets.hold_turn(is_clients, &mut held);
            for (id, _) in &held {
                if let Some(connection) = self.connection(id.index).filter(|connection| connection.socket == *id) {
                    connection.pipeline.hold();
                }
            }
            if !held.is_empty() {
                self.fence.held.push_back(Held { needs, sockets: held });
            }
        }
        self.let_go(sockets);
        if !self.fence.held.is_empty() {
            self.process.durability.wait(self.core);
            self.let_go(sockets);
        }
    }

    /// Lets go what the disk has.
    fn let_go(&mut self, sockets: &mut Sockets) {
        let mut again = Vec::new();
        while let Some(front) = self.fence.held.front_mut() {
            // They need wait no longer for what is promised no more.
            front.needs.limit_to(self.promises);
            if !self.process.durability.has(&front.needs) {
                break;
            }
            let Some(Held { sockets: held, .. }) = self.fence.held.pop_front() else { break };
            for (id, kept) in held {
                match sockets.let_go(id, kept) {
                    Some(more) => again.push((id, more)),
                    None => {
                        if let Some(connection) = self.connection(id.index).filter(|connection| connection.socket == id)
                        {
                            connection.pipeline.end_hold();
                        }
                        self.has_released = true;
                    }
                }
            }
        }
        if again.is_empty() {
            return;
        }
        // What has come behind it has needs of its own.
        let needs = self.process.durability.needs(self.promises);
        self.fence.held.push_back(Held { needs, sockets: again });
    }

    /// Tells what our shard has begun: before anybody hears of it, and before the shard may leave.
    #[inline]
    pub(crate) fn publish_own_gain(&mut self) {
        let core = self.core;
        if let Some(shard) = self.lending.desk.home() {
            self.process.durability.publish(core, shard, self.promises);
        }
    }
}
