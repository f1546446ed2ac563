//! A client's connection as its core keeps it.

use super::Pipeline;
use slotmesh_base::{Monotonic, Slot};
use slotmesh_command::Spec;
use slotmesh_io::{SocketId, Sockets};
use slotmesh_resp::{Decoder, ProtocolError};
use slotmesh_shard::{Client, KeptRequests};

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: SocketId,
    pub(crate) client: Client,
    pub(crate) decoder: Decoder,
    /// Received bytes that are not decoded yet: the begin of a request whose end has not arrived, or whatever came
    /// while the connection was stalled.
    pub(crate) tail: Vec<u8>,
    /// How many bytes of the tail were executed already.
    pub(crate) tail_start: usize,
    /// Outstanding replies.
    pub(crate) pipeline: Pipeline,
    /// Decoded requests that wait because the connection is stalled.
    pub(crate) waiting: Waiting,
    /// Whether nothing is executed until other cores have answered or have room.
    pub(crate) stalled: bool,
    /// The ticket whose reply must be there before anything further is executed. Then the connection is stalled, but
    /// not among those that are tried again each turn.
    pub(crate) barrier: Option<u32>,
    /// The wait of its blocking command.
    pub(crate) wait: Option<Box<Wait>>,
    /// That command, where it may have to be begun again since the slots of its keys have moved.
    pub(crate) blocking: Option<Box<KeptRequests>>,
    /// How many masters the gateway had lost when it wrote what nobody has vouched for yet (WAIT).
    pub(crate) unvouched: Option<u64>,
    /// Whether it waits for the end of a pause. Then it is stalled, but not among those that are tried again each turn.
    pub(crate) postponed: bool,
    /// Whether it has been told messages that are kept back until the turn ends.
    pub(crate) has_heard: bool,
    /// Whether it was told a message that is longer than all that may wait for it.
    pub(crate) is_overrun: bool,
    /// The turn in which its output was corked because answers of other cores are on their way.
    pub(crate) corked_in: Option<u64>,
    /// Whether the peer will send nothing more.
    pub(crate) ended: bool,
    /// Bytes of replies that waited when somebody last looked.
    pub(crate) pending_seen: u64,
    /// Since when the output is above the soft limit.
    pub(crate) above_soft_limit_since: Option<Monotonic>,
}

impl Connection {
    pub(crate) fn new(socket: SocketId, client: Client) -> Self {
        Self {
            socket,
            client,
            decoder: Decoder::default(),
            tail: Vec::new(),
            tail_start: 0,
            pipeline: Pipeline::default(),
            waiting: Waiting::default(),
            stalled: false,
            barrier: None,
            wait: None,
            blocking: None,
            unvouched: None,
            postponed: false,
            has_heard: false,
            is_overrun: false,
            corked_in: None,
            ended: false,
            pending_seen: 0,
            above_soft_limit_since: None,
        }
    }

    /// Whether the connection can be closed once its output is sent.
    pub(crate) fn is_finished(&self) -> bool {
        let all_said = self.client.closing || (self.ended && !self.stalled);
        all_said && self.pipeline.is_empty()
    }

    /// Bytes of replies that it has not taken.
    pub(crate) fn output_bytes(&self, sockets: &Sockets) -> usize {
        sockets.pending_bytes(self.socket) + self.pipeline.kept_bytes()
    }

    /// Bytes of requests that it holds.
    pub(crate) fn input_bytes(&self) -> usize {
        self.tail.len() - self.tail_start + self.waiting.requests.argument_bytes()
    }

    /// Bytes of requests that it holds, those of a transaction included: what `client-query-buffer-limit` bounds.
    pub(crate) fn query_bytes(&self) -> usize {
        self.input_bytes() + self.client.transaction.as_ref().map_or(0, |transaction| transaction.argument_bytes())
    }
}

/// What waits because the connection is stalled.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Decoded requests.
    pub(crate) requests: KeptRequests,
    /// What stands behind them instead of a further request.
    pub(crate) failure: Option<ProtocolError>,
}

/// A wait of a blocking command, from when it is known to wait until its end is known.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) spec: &'static Spec,
    /// Cores on whose shards it stands in line.
    pub(crate) cores: Vec<u16>,
    /// Whether it stands in line on several shards, or needs several: then this core serves it.
    pub(crate) is_shared: bool,
    /// Whether it waits at a node of another host.
    pub(crate) is_elsewhere: bool,
    /// The slots of its keys, and the cores that owned them when it began, if it is shared.
    pub(crate) slots: Vec<(Slot, u16)>,
    /// Cores whose shards serving it takes, if one alone will not do.
    pub(crate) together: Vec<u16>,
    /// When it ends without success, on the monotonic clock in nanoseconds.
    pub(crate) deadline: Option<u64>,
}

impl Wait {
    /// In line on one shard, which serves it.
    pub(crate) fn on_one(spec: &'static Spec, core: u16) -> Self {
        Self { cores: vec![core], is_shared: false, ..Self::for_nobody(spec) }
    }

    /// In no line; its end comes from here.
    pub(crate) fn for_nobody(spec: &'static Spec) -> Self {
        Self {
            spec,
            cores: Vec::new(),
            is_shared: true,
            is_elsewhere: false,
            slots: Vec::new(),
            together: Vec::new(),
            deadline: None,
        }
    }
}
