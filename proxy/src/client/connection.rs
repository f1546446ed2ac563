//! A client's connection as its core keeps it.

use super::Pipeline;
use slotmesh_base::Monotonic;
use slotmesh_command::Spec;
use slotmesh_io::SocketId;
use slotmesh_resp::{ArgRange, Decoder, ProtocolError};
use slotmesh_shard::Client;
use std::collections::VecDeque;

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

    /// Bytes of requests that it holds.
    pub(crate) fn input_bytes(&self) -> usize {
        self.tail.len() - self.tail_start + self.waiting.bytes.len()
    }
}

/// Decoded requests in one piece of memory. They are kept decoded, since decoding changes quoted inline requests.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
    requests: VecDeque<WaitingRequest>,
    /// What stands behind them instead of a further request.
    pub(crate) failure: Option<ProtocolError>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingRequest {
    pub(crate) spec: Option<&'static Spec>,
    first_range: usize,
    arguments: usize,
}

impl Waiting {
    /// Keeps a request.
    pub(crate) fn push<'a>(&mut self, spec: Option<&'static Spec>, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
        let request = WaitingRequest { spec, first_range: self.ranges.len(), arguments: arguments.len() };
        for argument in arguments {
            self.ranges.push(ArgRange { start: self.bytes.len() as u32, len: argument.len() as u32 });
            self.bytes.extend_from_slice(argument);
        }
        self.requests.push_back(request);
    }

    /// The next request.
    pub(crate) fn next(&self) -> Option<WaitingRequest> {
        self.requests.front().copied()
    }

    /// Where the arguments of a request lie.
    pub(crate) fn ranges(&self, request: WaitingRequest) -> &[ArgRange] {
        &self.ranges[request.first_range..][..request.arguments]
    }

    /// Drops the next request, which was executed.
    pub(crate) fn pop(&mut self) {
        self.requests.pop_front();
        if self.requests.is_empty() {
            *self = Self { failure: self.failure, ..Self::default() };
        }
    }
}
