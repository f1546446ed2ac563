//! DEBUG SNAPSHOT: walks a snapshot of our shard beside the clients' commands, as a full sync or a save does, and
//! throws away what it shows. A slice per turn.

use crate::engine::{Engine, Hands};
use crate::hop::{ReplyKind, ReturnAddress};
use crate::post::Freight;
use slotmesh_base::Monotonic;
use slotmesh_base::limits::SNAPSHOT_ENTRIES_PER_STEP;
use slotmesh_keyspace::{SnapshotEntry, SnapshotId, SnapshotWalk, ValueRef};
use slotmesh_resp::{Protocol, Reply};
use std::ops::ControlFlow;

/// Bytes of entries that are gathered before they are thrown away.
const BUFFER_BYTES: usize = 64 * 1024;

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Drill {
    /// Who wants to know, and where the answer goes.
    asker: (u16, ReturnAddress),
    id: SnapshotId,
    began: Monotonic,
    turns: u64,
    sink: Sink,
    copies_peak_bytes: usize,
}

/// Takes entries in the form in which they could be written to a file, and forgets them.
#[derive(Debug, Default)]
struct Sink {
    entries: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Sink {
    fn take(&mut self, entry: SnapshotEntry<'_>) {
        self.entries += 1;
        let buffer = &mut self.buffer;
        let before = buffer.len();
        buffer.extend_from_slice(&entry.db.to_le_bytes());
        buffer.extend_from_slice(&entry.expires_at.map_or(0, |at| at.0).to_le_bytes());
        buffer.extend_from_slice(entry.key);
        match entry.value {
            ValueRef::String(string) => buffer.extend_from_slice(string),
            ValueRef::List(list) => list.visit(0..list.len(), |element| match element {
                slotmesh_keyspace::Element::Integer(number) => buffer.extend_from_slice(&number.to_le_bytes()),
                slotmesh_keyspace::Element::Bytes(bytes) => buffer.extend_from_slice(bytes),
            }),
            _ => {}
        }
        self.bytes += (buffer.len() - before) as u64;
        if buffer.len() > BUFFER_BYTES {
            buffer.clear();
            buffer.shrink_to(2 * BUFFER_BYTES);
        }
    }
}

impl Engine {
    /// Begins a walk of our shard; the answer, if there is one at once.
    pub(crate) fn begin_drill(&mut self, asker: (u16, ReturnAddress), copies_bytes_max: usize) -> Option<Vec<u8>> {
        let (core, began) = (self.core, self.monotonic);
        let Some(shard) = self.lending.home() else { return Some(answer(&format!("core={core} has no shard\r\n"))) };
        match shard.begin_snapshot(copies_bytes_max) {
            Some((id, _)) => {
                let sink = Sink::default();
                self.drills.push(Drill { asker, id, began, turns: 0, sink, copies_peak_bytes: 0 });
                None
            }
            None => Some(answer(&format!("core={core} has too many snapshots\r\n"))),
        }
    }

    /// Walks each snapshot by a slice; whether there is more to walk now.
    pub(crate) fn walk_drills(&mut self, hands: &mut Hands<'_>) -> bool {
        if self.drills.is_empty() {
            return false;
        }
        let Self { lending, walk_time, drills, .. } = self;
        let Some(shard) = lending.desk.home_mut() else { return false };
        let mut ended = Vec::new();
        drills.retain_mut(|drill| {
            drill.turns += 1;
            drill.copies_peak_bytes = shard.snapshot_copies_peak_bytes(drill.id).max(drill.copies_peak_bytes);
            let sink = &mut drill.sink;
            let step = || match shard.walk_snapshot(drill.id, SNAPSHOT_ENTRIES_PER_STEP, &mut |entry| sink.take(entry))
            {
                SnapshotWalk::More => ControlFlow::Continue(SnapshotWalk::More),
                outcome => ControlFlow::Break(outcome),
            };
            match walk_time.spend(step) {
                SnapshotWalk::More => return true,
                SnapshotWalk::Done => ended.push((drill.asker, drill.tell("done"))),
                SnapshotWalk::Dropped => ended.push((drill.asker, drill.tell("dropped"))),
            }
            false
        });
        for ((asker, back), (outcome, mut text, began)) in ended {
            let millis = self.monotonic.nanos_since(began) / 1_000_000;
            text = format!("core={} {outcome} {text} milliseconds={millis}\r\n", self.core);
            if asker == self.core {
                self.accept_part(back, &answer(&text));
                self.release(hands, back.socket.index);
                // Its client may only have waited for this to go.
                self.answered.push(back.socket.index);
            } else {
                self.post.send(hands.mail, asker, ReplyKind::Answer, back, Freight::Bytes(answer(&text)));
            }
        }
        !self.drills.is_empty()
    }
}

impl Drill {
    fn tell(&self, outcome: &'static str) -> (&'static str, String, Monotonic) {
        let Self { sink: Sink { entries, bytes, .. }, turns, copies_peak_bytes, .. } = self;
        (
            outcome,
            format!("entries={entries} bytes={bytes} copies_peak_bytes={copies_peak_bytes} turns={turns}"),
            self.began,
        )
    }
}

fn answer(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Reply::new(&mut bytes, Protocol::Resp2).bulk(text.as_bytes());
    bytes
}
