//! One connection of the generator: what it is owed, and what its replies say.

use crate::slot_map::{Master, Moved};
use crate::tally::Tally;
use crate::workload::Drawn;
use slotmesh_io::SocketId;
use slotmesh_resp::ReplyScanner;
use std::collections::VecDeque;

/// Bytes of an error that are kept until the rest has come; no redirect is as long.
const ERROR_BYTES_MAX: usize = 1024;
/// How often a request is sent elsewhere before the redirect counts as an error: a cluster that moves slots needs a few.
const REDIRECTS_MAX: u8 = 16;

/// Requests sent together on one connection.
#[derive(Debug)]
pub(super) struct Batch {
    /// From when latency counts: when it was sent, or should have been.
    pub(super) from_nanos: u64,
    /// Those whose replies are not complete.
    pub(super) left: u64,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    /// Replies to come: a transaction has several.
    pub(super) replies: u32,
    /// How often it was redirected.
    pub(super) redirects: u8,
    pub(super) drawn: Drawn,
}

/// A request that another node is to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redirect {
    pub(super) drawn: Drawn,
    pub(super) redirects: u8,
    /// From when its latency counts.
    pub(super) from_nanos: u64,
    pub(super) moved: Moved,
    /// Who said so.
    pub(super) from: Master,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: SocketId,
    /// The cluster's master that it leads to; without a cluster redirects are errors.
    pub(super) master: Option<Master>,
    pub(super) scanner: ReplyScanner,
    pub(super) batches: VecDeque<Batch>,
    pub(super) owed: VecDeque<Owed>,
    /// The redirect among the replies of the request that is being answered.
    pub(super) moved: Option<Moved>,
    /// An error as far as it has come.
    pub(super) partial: Vec<u8>,
    /// The server has closed it.
    pub(super) ended: bool,
    /// Its master has no slots (any more).
    pub(super) retired: bool,
    /// Another connection has taken its place.
    pub(super) replaced: bool,
}

impl Connection {
    pub(super) fn new(socket: SocketId, master: Option<Master>) -> Self {
        Self {
            socket,
            master,
            scanner: ReplyScanner::default(),
            batches: VecDeque::with_capacity(1),
            owed: VecDeque::new(),
            moved: None,
            partial: Vec::new(),
            ended: false,
            retired: false,
            replaced: false,
        }
    }

    /// Counts the replies in `bytes`; the number of batches that they complete, or `None` if they are no replies.
    /// Requests that another node is to answer get into `redirected`, and are counted where they are answered.
    #[inline]
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        now: u64,
        tally: &mut Tally,
        redirected: &mut Vec<Redirect>,
    ) -> Option<u64> {
        let (mut position, mut start) = (0, 0);
        let (mut ended, mut same) = (0, 0);
        while let Some(end) = self.scanner.next_end(bytes, &mut position).ok()? {
            let reply = &bytes[start..end.offset];
            start = end.offset;
            match end.kind {
                b'-' | b'!' => self.note_error(reply, tally),
                b'$' | b'*' if reply.get(1) == Some(&b'-') => tally.nulls += 1,
                b'*' if reply.starts_with(b"*0\r") => tally.nulls += 1,
                b'_' => tally.nulls += 1,
                _ => {}
            }
            let Some(owed) = self.owed.front_mut() else {
                tally.surplus += 1;
                continue;
            };
            owed.replies -= 1;
            if owed.replies > 0 {
                continue;
            }
            let Owed { drawn, redirects, .. } = *owed;
            self.owed.pop_front();
            let batch = self.batches.front_mut().expect("a request that is owed replies is of a batch");
            batch.left -= 1;
            match self.moved.take().zip(self.master) {
                None => same += 1,
                Some((moved, from)) => {
                    tally.redirects += 1;
                    let (from_nanos, redirects) = (batch.from_nanos, redirects + 1);
                    redirected.push(Redirect { drawn, redirects, from_nanos, moved, from });
                }
            }
            if batch.left == 0 {
                tally.record(now.saturating_sub(batch.from_nanos), same);
                same = 0;
                ended += 1;
                self.batches.pop_front();
            }
        }
        if same > 0
            && let Some(batch) = self.batches.front()
        {
            tally.record(now.saturating_sub(batch.from_nanos), same);
        }
        self.keep_error(&bytes[start..]);
        Some(ended)
    }

    /// Keeps the beginning of an error whose rest is to come.
    #[inline]
    fn keep_error(&mut self, rest: &[u8]) {
        if rest.first() == Some(&b'-') || !self.partial.is_empty() {
            let room = ERROR_BYTES_MAX.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&rest[..rest.len().min(room)]);
        }
    }

    /// An error, or a redirect; errors that follow from a redirect, as that of EXEC does, are none.
    #[cold]
    fn note_error(&mut self, reply: &[u8], tally: &mut Tally) {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(reply);
        let may_follow = self.master.is_some() && self.owed.front().is_some_and(|owed| owed.redirects < REDIRECTS_MAX);
        match Moved::read(&whole).filter(|_| may_follow) {
            Some(moved) => self.moved = Some(moved),
            None if self.moved.is_none() => tally.note_error(&whole),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(replies: u32) -> Owed {
        Owed { replies, redirects: 0, drawn: Drawn::default() }
    }

    fn receive(connection: &mut Connection, bytes: &[u8], now: u64, tally: &mut Tally) -> Option<u64> {
        let mut redirected = Vec::new();
        let ended = connection.receive(bytes, now, tally, &mut redirected);
        assert!(redirected.is_empty(), "without a cluster");
        ended
    }

    /// Batches of requests with one reply each.
    fn connection(lefts: &[(u64, u64)]) -> Connection {
        let owed = lefts.iter().flat_map(|(_, left)| (0..*left).map(|_| owed(1))).collect();
        let batches = lefts.iter().map(|(from_nanos, left)| Batch { from_nanos: *from_nanos, left: *left });
        let socket = SocketId { index: 0, generation: 0 };
        Connection { batches: batches.collect(), owed, ..Connection::new(socket, None) }
    }

    #[test]
    fn replies_count_for_the_batch_that_asked() {
        let (mut connection, mut tally) = (connection(&[(100, 2), (200, 2)]), Tally::default());
        assert_eq!(receive(&mut connection, b"+OK\r\n$-1\r\n$2\r\na", 1000, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.nulls, tally.latencies.max()), (2, 1, 900));
        assert_eq!(receive(&mut connection, b"b\r\n", 1200, &mut tally), Some(0));
        assert_eq!(receive(&mut connection, b":1\r\n", 1300, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.latencies.max(), tally.surplus), (4, 1100, 0));
    }

    #[test]
    fn a_transaction_counts_once_when_its_last_reply_has_come() {
        let (mut connection, mut tally) = (connection(&[(100, 3)]), Tally::default());
        connection.owed = [1, 4, 1].map(owed).into();
        assert_eq!(receive(&mut connection, b"+OK\r\n+OK\r\n+QUEUED\r\n", 200, &mut tally), Some(0));
        assert_eq!((tally.replies, tally.latencies.max()), (1, 100));
        assert_eq!(receive(&mut connection, b"+QUEUED\r\n*2\r\n+OK\r\n", 300, &mut tally), Some(0));
        assert_eq!(tally.replies, 1);
        assert_eq!(receive(&mut connection, b"+OK\r\n", 400, &mut tally), Some(0));
        assert_eq!((tally.replies, tally.latencies.max()), (2, 300));
        assert_eq!(receive(&mut connection, b"$1\r\na\r\n", 500, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.nulls, tally.surplus, connection.owed.len()), (3, 0, 0, 0));
    }

    #[test]
    fn a_list_that_is_not_there_counts_as_null() {
        let (mut connection, mut tally) = (connection(&[(0, 3)]), Tally::default());
        assert_eq!(receive(&mut connection, b"*0\r\n*1\r\n$1\r\na\r\n*-1\r\n", 5, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.nulls), (3, 2));
    }

    #[test]
    fn errors_and_replies_that_nobody_asked_for_are_noticed() {
        let (mut connection, mut tally) = (connection(&[(0, 1)]), Tally::default());
        assert_eq!(receive(&mut connection, b"-ERR x\r\n+OK\r\n", 5, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.errors, tally.surplus), (1, 1, 1));
        assert_eq!(tally.first_error, "-ERR x");
        assert_eq!(receive(&mut connection, b"what", 5, &mut tally), None);
    }

    #[test]
    fn a_redirect_in_any_pieces_is_not_counted_where_it_came() {
        const BYTES: &[u8] = b"+OK\r\n-MOVED 7 127.0.0.1:7001\r\n+OK\r\n";
        for cut in 0..BYTES.len() {
            let (mut connection, mut tally) = (connection(&[(100, 3)]), Tally::default());
            connection.master = Some(Master(0));
            let mut redirected = Vec::new();
            let (head, tail) = BYTES.split_at(cut);
            let ended = [head, tail].map(|bytes| connection.receive(bytes, 200, &mut tally, &mut redirected).unwrap());
            assert_eq!((ended, tally.replies, tally.redirects, tally.errors), ([0, 1], 2, 1, 0), "{cut}");
            let Redirect { from_nanos, redirects, from, moved, .. } = redirected[0];
            assert_eq!((from_nanos, redirects, from, moved.port), (100, 1, Master(0), 7001));
        }
    }

    #[test]
    fn a_transaction_that_is_redirected_has_no_errors_of_its_own() {
        let (mut connection, mut tally) = (connection(&[(100, 1)]), Tally::default());
        connection.master = Some(Master(0));
        connection.owed = [owed(3)].into();
        let mut redirected = Vec::new();
        let bytes = b"+OK\r\n-MOVED 7 127.0.0.1:7001\r\n-EXECABORT x\r\n";
        assert_eq!(connection.receive(bytes, 200, &mut tally, &mut redirected), Some(1));
        assert_eq!((redirected.len(), tally.errors, tally.replies), (1, 0, 0));
    }

    #[test]
    fn redirects_without_end_or_without_a_cluster_are_errors() {
        for (master, redirects) in [(Some(Master(0)), REDIRECTS_MAX), (None, 0)] {
            let (mut connection, mut tally) = (connection(&[(100, 1)]), Tally::default());
            connection.master = master;
            connection.owed[0].redirects = redirects;
            assert_eq!(receive(&mut connection, b"-MOVED 7 127.0.0.1:7001\r\n", 200, &mut tally), Some(1));
            assert_eq!((tally.errors, tally.replies), (1, 1));
            assert_eq!(tally.first_error, "-MOVED 7 127.0.0.1:7001");
        }
    }
}
