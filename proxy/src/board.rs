//! What a core shows of itself to the others: counters, written by the core once per turn and read by INFO.

use slotmesh_base::UnixMillis;
use slotmesh_io::LoopStats;
use slotmesh_replication::SyncCounts;
use slotmesh_shard::{CoreFacts, DbFacts, Shard};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters that a core keeps for itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: u64,
    pub(crate) commands: u64,
    pub(crate) errors: u64,
    pub(crate) hops_out: u64,
    pub(crate) hops_in: u64,
    /// Clients that wait, and those of them whose wait ends by itself.
    pub(crate) blocked_clients: u64,
    pub(crate) timeouts: u64,
    pub(crate) reads: u64,
    /// Nanoseconds of turns, and of active expiry.
    pub(crate) busy_nanos: u64,
    pub(crate) expiry_nanos: u64,
    pub(crate) replication: ReplicationCounts,
}

/// What a core counts of the stream that it owns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplicationCounts {
    pub(crate) syncs: SyncCounts,
    /// Bytes from a master, and to replicas.
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    /// Bytes held of the stream, for replicas that follow and for those that may come.
    pub(crate) held_bytes: u64,
    /// Replicas that get it.
    pub(crate) replicas: u64,
}

/// The numbers of one core, in the order of [`Board::publish`].
const NUMBERS: usize = 39;

/// Where those of the shard begin.
const SHARD: usize = 27;
/// Where that of the thread's CPU time stands.
const CPU: usize = NUMBERS - 1;

/// One core's board. Numbers of one turn may be read half old, half new: they are statistics.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Board {
    cpu: Option<usize>,
    slots: Option<(u16, u16)>,
    /// Connected clients, those on their way from the listener included: written by the dealer and the core.
    pub(crate) clients: AtomicU64,
    numbers: [AtomicU64; NUMBERS],
    dbs: Vec<[AtomicU64; 3]>,
}

/// What costs a look at every connection, taken less often.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BufferBytes {
    pub(crate) input: u64,
    pub(crate) output: u64,
    /// The most of one client.
    pub(crate) input_max: u64,
    pub(crate) output_max: u64,
}

impl Board {
    /// The board of a core that is pinned to `cpu` and owns `slots`.
    pub(crate) fn new(cpu: Option<usize>, slots: Option<(u16, u16)>, databases: usize) -> Self {
        Self {
            cpu,
            slots,
            clients: AtomicU64::new(0),
            numbers: std::array::from_fn(|_| AtomicU64::new(0)),
            dbs: (0..databases).map(|_| Default::default()).collect(),
        }
    }

    /// Shows the counters of the loop and the connections.
    pub(crate) fn publish(&self, io: LoopStats, own: Counters, buffers: BufferBytes) {
        let numbers = [
            own.connections,
            own.commands,
            own.errors,
            own.hops_out,
            own.hops_in,
            io.received_bytes,
            io.sent_bytes,
            io.turns,
            io.enters,
            io.buffers_exhausted,
            io.wakes,
            buffers.input,
            buffers.output,
            own.blocked_clients,
            own.timeouts,
            own.reads,
            own.busy_nanos,
            own.expiry_nanos,
            buffers.input_max,
            buffers.output_max,
            own.replication.syncs.full,
            own.replication.syncs.partial,
            own.replication.syncs.refused,
            own.replication.input_bytes,
            own.replication.output_bytes,
            own.replication.held_bytes,
            own.replication.replicas,
        ];
        debug_assert_eq!(numbers.len(), SHARD, "the shard's numbers follow");
        for (place, number) in self.numbers.iter().zip(numbers) {
            place.store(number, Relaxed);
        }
    }

    /// Shows the CPU that the core's thread has used.
    pub(crate) fn publish_cpu(&self, micros: u64) {
        self.numbers[CPU].store(micros, Relaxed);
    }

    /// Shows what the shard holds.
    pub(crate) fn publish_shard(&self, shard: &Shard, now: UnixMillis) {
        let keyspace = shard.keyspace();
        let stats = keyspace.stats();
        let mut bytes = 0;
        for (index, places) in self.dbs.iter().enumerate() {
            let Some(db) = keyspace.find_db(index) else { continue };
            bytes += db.bytes() as u64;
            for (place, number) in places.iter().zip([db.len() as u64, db.expires() as u64, db.average_ttl_ms(now)]) {
                place.store(number, Relaxed);
            }
        }
        let (waiting, freed) = keyspace.buried();
        let (tracked_keys, tracked_items) = shard.tracked_keys();
        let numbers = [
            stats.hits,
            stats.misses,
            stats.expired,
            stats.changes,
            bytes,
            shard.blocking_keys() as u64,
            waiting as u64,
            freed,
            shard.expiry_passes_cut(),
            tracked_keys as u64,
            tracked_items as u64,
        ];
        debug_assert_eq!(numbers.len(), CPU - SHARD, "the thread's CPU time follows");
        for (place, number) in self.numbers[SHARD..CPU].iter().zip(numbers) {
            place.store(number, Relaxed);
        }
    }

    /// What the board shows.
    pub(crate) fn read(&self) -> CoreFacts {
        let [
            connections,
            commands,
            errors,
            hops_out,
            hops_in,
            input_bytes,
            output_bytes,
            turns,
            enters,
            buffers_exhausted,
            wakes,
            query_buffer_bytes,
            output_buffer_bytes,
            blocked_clients,
            timeouts,
            reads,
            busy_nanos,
            expiry_nanos,
            input_max,
            output_max,
            syncs_full,
            syncs_partial,
            syncs_refused,
            replication_input_bytes,
            replication_output_bytes,
            stream_bytes,
            replicas,
            hits,
            misses,
            expired,
            changes,
            keyspace_bytes,
            blocking_keys,
            buried,
            freed,
            expiry_cut,
            tracked_keys,
            tracked_items,
            cpu_micros,
        ] = std::array::from_fn(|number| self.numbers[number].load(Relaxed));
        let db = |places: &[AtomicU64; 3]| {
            let [keys, expires, average_ttl_ms] = std::array::from_fn(|number| places[number].load(Relaxed));
            DbFacts { keys, expires, average_ttl_ms }
        };
        CoreFacts {
            cpu: self.cpu,
            slots: self.slots,
            clients: self.clients.load(Relaxed),
            replicas,
            blocked_clients,
            timeouts,
            blocking_keys,
            connections,
            commands,
            input_bytes,
            output_bytes,
            query_buffer_bytes,
            output_buffer_bytes,
            hits,
            misses,
            expired,
            changes,
            errors,
            keyspace_bytes,
            dbs: self.dbs.iter().map(db).collect(),
            turns,
            enters,
            buffers_exhausted,
            hops_out,
            hops_in,
            wakes,
            cpu_micros,
            client_max: (input_max, output_max),
            buried: (buried, freed),
            expiry_nanos,
            expiry_cut,
            tracked_keys,
            tracked_items,
            reads,
            busy_nanos,
            syncs: SyncCounts { full: syncs_full, partial: syncs_partial, refused: syncs_refused },
            replication_input_bytes,
            replication_output_bytes,
            stream_bytes,
        }
    }
}
