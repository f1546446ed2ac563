//! Records that travel between cores: requests for the owner of a slot, and replies back to the connection.
//!
//! All numbers are little-endian.
//!
//! | request | offset | bytes |
//! |---|---|---|
//! | kind ([`RequestKind`]) | 0 | 1 |
//! | protocol (2 or 3) | 1 | 1 |
//! | 1 if the reply is a share of a gathered one, 2 for reads without a trace, 4 if the client is tracked, 8 if what it reads is remembered | 2 | 1 |
//! | 1 if slot and hash of the first key follow | 3 | 1 |
//! | database | 4 | 2 |
//! | slot of the first key | 6 | 2 |
//! | hash of the first key | 8 | 8 |
//! | return address ([`ReturnAddress`]) | 16 | 16 |
//! | number of arguments | 32 | 4 |
//! | length of each argument | 36 | 4 each |
//! | the arguments | | |
//!
//! | reply | offset | bytes |
//! |---|---|---|
//! | return address | 0 | 16 |
//! | kind ([`ReplyKind`]) | 16 | 1 |
//! | 1 if the reply itself is a parcel | 17 | 1, and 6 unused |
//! | the reply | 24 | |

use crate::bus::SiblingMail;
use crate::replication::ReplicationMail;
use slotmesh_base::Slot;
use slotmesh_command::ChannelKind;
use slotmesh_io::SocketId;
use slotmesh_resp::{ArgRange, Args, Protocol};
use slotmesh_shard::{Shard, Ticket, TrackedBy, Tracker, Unblock};
use std::os::fd::OwnedFd;

/// Bytes of a request before the lengths of its arguments.
const REQUEST_HEAD: usize = 36;
/// Bytes of a reply before the reply itself.
pub(crate) const REPLY_HEAD: usize = 24;

const _: () = assert!(REQUEST_HEAD == 16 + ReturnAddress::BYTES + 4 && REPLY_HEAD == ReturnAddress::BYTES + 8);

/// What travels beside the records.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A connection for the other core to serve.
    Connection {
        /// The connection.
        socket: OwnedFd,
        /// Whether it came through the unix socket.
        unix_socket: bool,
    },
    /// A request record or a reply that is too long for the ring.
    Bytes(Vec<u8>),
    /// A shard that is lent, or given back.
    Shard(Box<Shard>),
    /// What the bus of one shard says to that of another.
    Bus(Box<SiblingMail>),
    /// What cores say to each other about the stream of the process.
    Replication(Box<ReplicationMail>),
}

/// What a request record asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestKind {
    /// Run a command on the shard.
    Command,
    /// Run a command that may wait; its reply is [`ReplyKind::Late`] or, first, [`ReplyKind::Waits`].
    Blocking,
    /// Print the core's clients; the arguments are those of a `ClientFilter`.
    ListClients,
    /// End the wait of a client of the core; the arguments are its id in decimal and how ([`unblock_word`]).
    UnblockClient,
    /// Watch keys; the arguments are client and span in decimal, then the keys.
    Watch,
    /// End a span of watching; the arguments are client and span in decimal. There is no reply.
    Unwatch,
    /// Take a ticket out of the lines of the shard; the argument is how ([`unblock_word`]). There is no reply but that
    /// of the blocked command.
    Unblock,
    /// Lend the shard, for the loan whose number is the ticket.
    Ask,
    /// Walk a snapshot of the shard; the argument is the bound of its copies in bytes, in decimal.
    Drill,
    /// Look into the shard for DEBUG; the arguments are its subcommand and what follows.
    Inspect,
    /// Close clients of the core; the arguments are those of a `ClientFilter`.
    KillClients,
    /// Look at what the process knows of pauses.
    Refresh,
    /// Tell the clients of the core a message; the arguments are what it goes to ([`kind_word`]), channel and message. The
    /// reply is how many heard it.
    Publish,
    /// The same, and there is no reply.
    Tell,
    /// Show the clients of the core that watch a line of MONITOR; there is no reply.
    Show,
    /// Hand a message to the nodes of other processes; there is no reply.
    TellNodes,
    /// A parcel comes with it.
    Parcel,
    /// Look whether the process stops, or hands over before.
    Stop,
}

impl RequestKind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Command,
            1 => Self::Blocking,
            2 => Self::ListClients,
            3 => Self::UnblockClient,
            4 => Self::Watch,
            5 => Self::Unwatch,
            6 => Self::Unblock,
            7 => Self::Ask,
            8 => Self::Drill,
            9 => Self::Inspect,
            10 => Self::KillClients,
            11 => Self::Refresh,
            12 => Self::Publish,
            13 => Self::Tell,
            14 => Self::Show,
            15 => Self::TellNodes,
            16 => Self::Parcel,
            17 => Self::Stop,
            other => panic!("cores of one process agree on records, and {other} is none"),
        }
    }
}

/// What comes on the lane of replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplyKind {
    /// The answer to a command that is counted as outstanding.
    Answer,
    /// A blocking command waits; the bytes are its timeout in ms ([`u64::MAX`]: none).
    Waits,
    /// The reply of a blocking command.
    Late,
    /// The shard that was asked for, as a parcel; the ticket is the loan's number.
    Lent,
    /// Our own shard comes back, as a parcel.
    GivenBack,
    /// A shard, as a parcel, on which the client with this ticket can be served.
    Called,
    /// Mail about the stream, as a parcel.
    Stream,
    /// Keys that have changed, for tracked clients (`tracking.rs`).
    Stale,
}

impl ReplyKind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Answer,
            1 => Self::Waits,
            2 => Self::Late,
            3 => Self::Lent,
            4 => Self::GivenBack,
            5 => Self::Called,
            6 => Self::Stream,
            7 => Self::Stale,
            other => panic!("cores of one process agree on replies, and {other} is none"),
        }
    }
}

/// How a wait ends, as an argument.
pub(crate) fn unblock_word(why: Unblock) -> &'static [u8] {
    match why {
        Unblock::Silently => b"silently",
        Unblock::Timeout => b"timeout",
        Unblock::Error => b"error",
    }
}

/// Reads what [`unblock_word`] wrote.
pub(crate) fn read_unblock_word(word: &[u8]) -> Unblock {
    match word {
        b"timeout" => Unblock::Timeout,
        b"error" => Unblock::Error,
        _ => Unblock::Silently,
    }
}

/// What a message goes to, as an argument.
pub(crate) fn kind_word(kind: ChannelKind) -> &'static [u8] {
    match kind {
        ChannelKind::Global => b"global",
        ChannelKind::Pattern => b"pattern",
        ChannelKind::Shard => b"shard",
    }
}

/// Reads what [`kind_word`] wrote.
pub(crate) fn read_kind_word(word: &[u8]) -> ChannelKind {
    let found = ChannelKind::ALL.into_iter().find(|&kind| kind_word(kind) == word);
    found.expect("cores of one process agree on channels")
}

/// Where a reply goes: a ticket of a connection, and the part of it where it is gathered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReturnAddress {
    /// The connection.
    pub(crate) socket: SocketId,
    /// Its ticket.
    pub(crate) ticket: u32,
    /// The part.
    pub(crate) part: u32,
}

impl ReturnAddress {
    const BYTES: usize = 16;

    /// The address of something that has only a number.
    pub(crate) fn number(number: u32) -> Self {
        Self { socket: SocketId { index: 0, generation: 0 }, ticket: number, part: 0 }
    }

    /// The address of a blocked client's reply.
    pub(crate) fn of_ticket(ticket: Ticket) -> Self {
        let socket = SocketId { index: ticket.connection, generation: ticket.generation };
        Self { socket, ticket: ticket.number, part: 0 }
    }

    /// The ticket that a client of `core` takes with it into a line.
    pub(crate) fn to_ticket(self, core: u16) -> Ticket {
        let SocketId { index, generation } = self.socket;
        Ticket { core, connection: index, generation, number: self.ticket }
    }

    fn write(self, to: &mut [u8]) {
        let words = [self.socket.index, self.socket.generation, self.ticket, self.part];
        for (place, word) in to.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }

    fn read(from: &[u8]) -> Self {
        let [index, generation, ticket, part] = std::array::from_fn(|word| read_u32(from, word * 4));
        Self { socket: SocketId { index, generation }, ticket, part }
    }
}

/// A request as it travels, without its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestHead {
    pub(crate) kind: RequestKind,
    pub(crate) protocol: Protocol,
    pub(crate) partial: bool,
    /// Whether reads leave no trace in keys (`CLIENT NO-TOUCH`).
    pub(crate) no_touch: bool,
    /// Whether the client is tracked, and then whether what it reads is remembered.
    pub(crate) tracked: Option<bool>,
    pub(crate) db: u16,
    pub(crate) first_key: Option<(Slot, u64)>,
    pub(crate) back: ReturnAddress,
}

impl RequestHead {
    /// A record that only speaks of something else.
    pub(crate) fn bare(kind: RequestKind) -> Self {
        let back = ReturnAddress::number(0);
        let protocol = Protocol::Resp2;
        Self { kind, protocol, partial: false, no_touch: false, tracked: None, db: 0, first_key: None, back }
    }

    /// What the shard must know of the client, which core `from` serves, if it is tracked.
    pub(crate) fn tracked_by(&self, from: u16) -> Option<TrackedBy> {
        let SocketId { index, generation } = self.back.socket;
        let tracker = Tracker { core: from, connection: index, generation };
        self.tracked.map(|remembers| TrackedBy { tracker, remembers })
    }
}

/// Length of a request's record.
pub(crate) fn request_len<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> usize {
    REQUEST_HEAD + 4 * arguments.len() + arguments.map(<[u8]>::len).sum::<usize>()
}

/// Writes a request's record, for which `to` has exactly the room.
pub(crate) fn write_request<'a>(head: &RequestHead, arguments: impl ExactSizeIterator<Item = &'a [u8]>, to: &mut [u8]) {
    to[0] = head.kind as u8;
    to[1] = if head.protocol == Protocol::Resp3 { 3 } else { 2 };
    let tracked = head.tracked.map_or(0, |remembers| 4 | u8::from(remembers) << 3);
    to[2] = u8::from(head.partial) | u8::from(head.no_touch) << 1 | tracked;
    to[3] = u8::from(head.first_key.is_some());
    to[4..6].copy_from_slice(&head.db.to_le_bytes());
    let (slot, hash) = head.first_key.map_or((0, 0), |(slot, hash)| (slot.number(), hash));
    to[6..8].copy_from_slice(&slot.to_le_bytes());
    to[8..16].copy_from_slice(&hash.to_le_bytes());
    head.back.write(&mut to[16..32]);
    to[32..36].copy_from_slice(&(arguments.len() as u32).to_le_bytes());
    let (mut length_at, mut byte_at) = (REQUEST_HEAD, REQUEST_HEAD + 4 * arguments.len());
    for argument in arguments {
        to[length_at..length_at + 4].copy_from_slice(&(argument.len() as u32).to_le_bytes());
        to[byte_at..byte_at + argument.len()].copy_from_slice(argument);
        length_at += 4;
        byte_at += argument.len();
    }
}

/// Reads a request's head.
pub(crate) fn read_request_head(record: &[u8]) -> RequestHead {
    let slot = Slot::new(u16::from_le_bytes([record[6], record[7]]));
    let hash = u64::from_le_bytes(record[8..16].try_into().expect("eight bytes"));
    RequestHead {
        kind: RequestKind::of(record[0]),
        protocol: if record[1] == 3 { Protocol::Resp3 } else { Protocol::Resp2 },
        partial: record[2] & 1 == 1,
        no_touch: record[2] & 2 == 2,
        tracked: (record[2] & 4 == 4).then_some(record[2] & 8 == 8),
        db: u16::from_le_bytes([record[4], record[5]]),
        first_key: if record[3] == 1 { slot.map(|slot| (slot, hash)) } else { None },
        back: ReturnAddress::read(&record[16..32]),
    }
}

/// Reads a request's arguments; `ranges` holds where they lie.
pub(crate) fn read_arguments<'a>(record: &'a [u8], ranges: &'a mut Vec<ArgRange>) -> Args<'a> {
    ranges.clear();
    let count = read_u32(record, 32) as usize;
    let mut start = (REQUEST_HEAD + 4 * count) as u32;
    for argument in 0..count {
        let len = read_u32(record, REQUEST_HEAD + 4 * argument);
        ranges.push(ArgRange { start, len });
        start += len;
    }
    Args::new(record, ranges)
}

/// Writes a reply's record, for which `to` has exactly the room.
pub(crate) fn write_reply(back: ReturnAddress, kind: ReplyKind, is_parcel: bool, reply: &[u8], to: &mut [u8]) {
    back.write(&mut to[..ReturnAddress::BYTES]);
    to[16..REPLY_HEAD].fill(0);
    to[16] = kind as u8;
    to[17] = u8::from(is_parcel);
    to[REPLY_HEAD..].copy_from_slice(reply);
}

/// A reply's record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReplyRecord<'a> {
    pub(crate) back: ReturnAddress,
    pub(crate) kind: ReplyKind,
    /// Whether the reply itself is a parcel.
    pub(crate) is_parcel: bool,
    pub(crate) bytes: &'a [u8],
}

/// Reads a reply's record.
#[inline]
pub(crate) fn read_reply(record: &[u8]) -> ReplyRecord<'_> {
    ReplyRecord {
        back: ReturnAddress::read(&record[..ReturnAddress::BYTES]),
        kind: ReplyKind::of(record[16]),
        is_parcel: record[17] == 1,
        bytes: &record[REPLY_HEAD..],
    }
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let back = ReturnAddress { socket: SocketId { index: 7, generation: 9 }, ticket: u32::MAX, part: 3 };
        for (kind, first_key, tracked) in [
            (RequestKind::Command, Slot::new(16383).map(|slot| (slot, u64::MAX)), Some(true)),
            (RequestKind::ListClients, None, Some(false)),
            (RequestKind::Stop, None, None),
        ] {
            let head = RequestHead {
                kind,
                protocol: Protocol::Resp3,
                partial: true,
                no_touch: true,
                tracked,
                db: 15,
                first_key,
                back,
            };
            let arguments: [&[u8]; 3] = [b"SET", b"", b"value"];
            let mut record = vec![0xee; request_len(arguments.into_iter())];
            write_request(&head, arguments.into_iter(), &mut record);
            assert_eq!(read_request_head(&record), head);
            let mut ranges = Vec::new();
            let read = read_arguments(&record, &mut ranges);
            assert!(read.iter_from(0).eq(arguments));
        }
    }

    #[test]
    fn replies_find_their_way_back() {
        let back = ReturnAddress { socket: SocketId { index: 1, generation: 2 }, ticket: 3, part: 4 };
        let mut record = vec![0xee; REPLY_HEAD + 5];
        write_reply(back, ReplyKind::Late, false, b"+OK\r\n", &mut record);
        let reply = ReplyRecord { back, kind: ReplyKind::Late, is_parcel: false, bytes: b"+OK\r\n" };
        assert_eq!(read_reply(&record), reply);
        assert_eq!(ReturnAddress::of_ticket(back.to_ticket(7)), ReturnAddress { part: 0, ..back });
    }

    #[test]
    fn kinds_are_read_as_they_were_written() {
        (0..18).for_each(|byte| assert_eq!(RequestKind::of(byte) as u8, byte));
        (0..8).for_each(|byte| assert_eq!(ReplyKind::of(byte) as u8, byte));
        for why in [Unblock::Silently, Unblock::Timeout, Unblock::Error] {
            assert_eq!(read_unblock_word(unblock_word(why)), why);
        }
        ChannelKind::ALL.into_iter().for_each(|kind| assert_eq!(read_kind_word(kind_word(kind)), kind));
    }
}
