//! The commands of one turn, decoded but not executed, so that the cache misses of all of them can overlap.

use slotmesh_base::Slot;
use slotmesh_base::limits::BATCH_COMMANDS_MAX;
use slotmesh_command::{Spec, find, first_key_index};
use slotmesh_io::{Chunk, ReceiveBuffers};
use slotmesh_keyspace::{Key, KeyHasher};
use slotmesh_resp::{ArgRange, Args, DecodeLimits, Decoder, ProtocolError, Step};

/// Where a request's bytes lie until the batch has run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// In a receive buffer of this turn.
    Chunk(Chunk),
    /// In a connection's tail, lent to the batch.
    Tail(usize),
}

/// Whose bytes are decoded, and where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// The connection's index.
    pub(crate) connection: u32,
    pub(crate) source: Source,
}

/// One decoded request, or what was found in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The connection's place in its core's table.
    pub(crate) connection: u32,
    pub(crate) source: Source,
    pub(crate) spec: Option<&'static Spec>,
    /// Slot and hash of the first key, if the row has keys.
    pub(crate) first_key: Option<(Slot, u64)>,
    pub(crate) failure: Option<ProtocolError>,
    first_argument: u32,
    arguments: u32,
}

/// A connection's tail while the batch reads from it.
#[derive(Debug)]
pub(crate) struct LentTail {
    pub(crate) connection: u32,
    pub(crate) bytes: Vec<u8>,
    /// Bytes that were decoded.
    pub(crate) used: usize,
}

/// Decoded requests, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) frames: Vec<Frame>,
    pub(crate) tails: Vec<LentTail>,
    /// Room for the keys to prefetch.
    pub(crate) keys: Vec<(Slot, u64)>,
    ranges: Vec<ArgRange>,
}

/// Why decoding stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decoded {
    /// All whole requests were taken; the next begins at this position.
    Through(usize),
    /// The batch is full (or must run before the next request can be judged); go on from this position.
    Full(usize),
    /// The bytes are no protocol; a frame says so.
    Failed,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Decodes requests of `bytes` (which lie at `origin`) from `position` on.
    pub(crate) fn decode(
        &mut self,
        origin: Origin,
        decoder: &mut Decoder,
        bytes: &mut [u8],
        mut position: usize,
        limits: &DecodeLimits,
        hasher: &KeyHasher,
    ) -> Decoded {
        loop {
            if self.frames.len() >= BATCH_COMMANDS_MAX {
                return Decoded::Full(position);
            }
            let first_argument = self.ranges.len();
            let step = decoder.decode(bytes, &mut position, limits, &mut self.ranges);
            let mut frame = Frame {
                connection: origin.connection,
                source: origin.source,
                spec: None,
                first_key: None,
                failure: None,
                first_argument: first_argument as u32,
                arguments: (self.ranges.len() - first_argument) as u32,
            };
            match step {
                Ok(Step::Request) => {}
                Ok(Step::Incomplete) => return Decoded::Through(position),
                Err(error) => {
                    frame.failure = Some(error);
                    self.frames.push(frame);
                    return Decoded::Failed;
                }
            }
            let args = Args::new(bytes, &self.ranges[first_argument..]);
            frame.spec = find(args.at(0));
            frame.first_key = frame.spec.and_then(|spec| first_key(spec, args, hasher));
            self.frames.push(frame);
            // What an unauthenticated client may send next depends on what this request does.
            if !limits.authenticated {
                return Decoded::Full(position);
            }
        }
    }

    /// The arguments of a frame.
    #[inline]
    pub(crate) fn args<'a>(&'a self, frame: &Frame, input: &'a ReceiveBuffers) -> Args<'a> {
        let bytes = match frame.source {
            Source::Chunk(chunk) => input.read(chunk),
            Source::Tail(place) => &self.tails[place].bytes,
        };
        Args::new(bytes, &self.ranges[frame.first_argument as usize..][..frame.arguments as usize])
    }

    /// Forgets the frames, which have run.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.ranges.clear();
    }
}

/// Slot and hash of a request's first key.
#[inline(always)]
pub(crate) fn first_key(spec: &'static Spec, args: Args<'_>, hasher: &KeyHasher) -> Option<(Slot, u64)> {
    let Key { slot, hash, .. } = hasher.key(args.at(first_key_index(spec, args.len())?));
    Some((slot, hash))
}
