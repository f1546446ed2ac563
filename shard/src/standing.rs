//! What a node refuses because of its place between master and replicas.
//!
//! Mirrors Redis 7.2 `server.c` `processCommand`.

use crate::Client;
use slotmesh_base::ReplyError;
use slotmesh_command::{ConnectionCommand, Flags, Reach, Spec, TransactionCommand};

/// What is refused now; nothing, as a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing(u16);

impl Standing {
    /// We are a replica that only its master may change (`replica-read-only`).
    pub const READ_ONLY: Self = Self(1);
    /// We are a master, and too few replicas follow closely (`min-replicas-to-write`).
    pub const TOO_FEW_REPLICAS: Self = Self(2);
    /// We are a replica that has lost its master, and shows no old data (`replica-serve-stale-data no`).
    pub const MASTER_DOWN: Self = Self(4);
    /// Data are being loaded.
    pub const LOADING: Self = Self(8);

    /// A replica takes over from us: what others have admitted for us is not written any more. Our own clients wait.
    pub const HANDING_OVER: Self = Self(16);

    /// The last save has failed, and writes are refused until one succeeds (`stop-writes-on-bgsave-error`).
    pub const UNSAVED: Self = Self(32);
    /// The append-only file cannot be written, and writes are refused until it can.
    pub const UNWRITTEN: Self = Self(64);
    /// The same, because the disk is full.
    pub const DISK_FULL: Self = Self(128);

    /// We are a master with a minority of its cluster: a replica may have our slots by now, and what is written here would
    /// be lost. A node's own port says so by itself; this is for clients of the gateway.
    pub const CUT_OFF: Self = Self(256);

    /// This and that.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This, but not that.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// This, if `wanted`.
    #[must_use]
    pub const fn when(self, wanted: bool) -> Self {
        if wanted { self } else { Self(0) }
    }

    /// As a number, for a place that all cores read.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// What [`to_bits`](Self::to_bits) gave.
    pub const fn of_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Why a write is refused that somebody has admitted before, if it is: a replica's data are its master's.
    #[inline]
    pub fn refusal_of_write(self, command: &Spec) -> Option<ReplyError> {
        if self.0 == 0 || !command.flags.contains(Flags::WRITE) {
            None
        } else if self.has(Self::HANDING_OVER) {
            Some(ReplyError::HandingOver)
        } else if self.has(Self::CUT_OFF) {
            Some(ReplyError::ClusterDown)
        } else {
            self.has(Self::READ_ONLY).then_some(ReplyError::ReadOnlyReplica)
        }
    }

    /// The same for an EXEC of what the client has queued.
    pub fn refusal_of_exec(self, client: &Client) -> Option<ReplyError> {
        let mut queued = client.transaction.iter().flat_map(|transaction| transaction.commands());
        queued.find_map(|(spec, _)| self.refusal_of_write(spec))
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Why a command is refused, if it is.
    #[inline]
    pub(crate) fn refusal(self, client: &Client, command: &'static Spec) -> Option<ReplyError> {
        if self.0 == 0 { None } else { self.refusal_of(client, command) }
    }

    #[cold]
    fn refusal_of(self, client: &Client, command: &'static Spec) -> Option<ReplyError> {
        let any_queued = |is: &dyn Fn(&Spec) -> bool| {
            matches!(command.reach, Reach::Transaction(TransactionCommand::Exec))
                && client.transaction.as_ref().is_some_and(|queued| queued.commands().any(|(spec, _)| is(spec)))
        };
        let writes = |spec: &Spec| spec.flags.contains(Flags::WRITE);
        let lacks = |flag: Flags| move |spec: &Spec| !spec.flags.contains(flag);
        let is = |is: &dyn Fn(&Spec) -> bool| is(command) || any_queued(is);
        let is_ping = |spec: &Spec| matches!(spec.reach, Reach::Connection(ConnectionCommand::Ping));
        if self.has(Self::UNSAVED) && is(&|spec: &Spec| writes(spec) || is_ping(spec)) {
            Some(ReplyError::Unsaved)
        } else if (self.has(Self::UNWRITTEN) || self.has(Self::DISK_FULL))
            && is(&|spec: &Spec| writes(spec) || is_ping(spec))
        {
            Some(ReplyError::Unwritten { is_full: self.has(Self::DISK_FULL) })
        } else if self.has(Self::CUT_OFF) && is(&writes) {
            Some(ReplyError::ClusterDown)
        } else if self.has(Self::TOO_FEW_REPLICAS) && is(&writes) {
            Some(ReplyError::TooFewReplicas)
        } else if self.has(Self::READ_ONLY) && is(&writes) {
            Some(ReplyError::ReadOnlyReplica)
        } else if self.has(Self::MASTER_DOWN) && is(&lacks(Flags::STALE)) {
            Some(ReplyError::MasterDown)
        } else if self.has(Self::LOADING) && is(&lacks(Flags::LOADING)) {
            Some(ReplyError::Loading)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit;
    use crate::testing::Request;
    use slotmesh_base::UnixMillis;
    use slotmesh_resp::{Protocol, Reply};

    fn said(client: &mut Client, standing: Standing, text: &str) -> String {
        let (request, mut out) = (Request::words(text), Vec::new());
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let admitted = admit(client, request.spec(), request.args(), standing, &mut reply);
        if admitted.is_some() { "admitted".to_owned() } else { String::from_utf8(out).unwrap() }
    }

    fn client() -> Client {
        Client { authenticated: true, ..Client::new(1, UnixMillis(0)) }
    }

    #[test]
    fn each_standing_refuses_its_commands() {
        let cases = [
            (Standing::READ_ONLY, "SET a 1", "-READONLY You can't write against a read only replica.\r\n"),
            (Standing::READ_ONLY, "GET a", "admitted"),
            (Standing::TOO_FEW_REPLICAS, "SET a 1", "-NOREPLICAS Not enough good replicas to write.\r\n"),
            (Standing::TOO_FEW_REPLICAS, "GET a", "admitted"),
            (
                Standing::MASTER_DOWN,
                "GET a",
                "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
            ),
            (Standing::MASTER_DOWN, "INFO", "admitted"),
            (Standing::MASTER_DOWN, "REPLICAOF NO ONE", "admitted"),
            (Standing::LOADING, "GET a", "-LOADING Redis is loading the dataset in memory\r\n"),
            (Standing::LOADING, "INFO", "admitted"),
            (
                Standing::UNSAVED,
                "SET a 1",
                "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                 Commands that may modify the data set are disabled, because this instance is configured to report errors \
                 during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs \
                 for details about the RDB error.\r\n",
            ),
            (Standing::UNSAVED, "GET a", "admitted"),
            (Standing::UNWRITTEN, "SET a 1", "-MISCONF Errors writing to the AOF file: Input/output error\r\n"),
            (Standing::DISK_FULL, "SET a 1", "-MISCONF Errors writing to the AOF file: No space left on device\r\n"),
            (Standing::DISK_FULL, "GET a", "admitted"),
            (Standing::CUT_OFF, "SET a 1", "-CLUSTERDOWN The cluster is down\r\n"),
            (Standing::CUT_OFF, "GET a", "admitted"),
            (Standing::default(), "SET a 1", "admitted"),
        ];
        for (standing, text, expected) in cases {
            assert_eq!(said(&mut client(), standing, text), expected, "{standing:?} {text}");
        }
        let both = Standing::READ_ONLY.and(Standing::MASTER_DOWN.when(true)).and(Standing::LOADING.when(false));
        assert!(said(&mut client(), both, "SET a 1").starts_with("-READONLY"));
        assert_eq!(Standing::of_bits(both.to_bits()), both);
    }

    #[test]
    fn who_hands_over_takes_no_writes_that_others_have_admitted() {
        let write = Request::words("SET a 1");
        let (write, read) = (write.spec().unwrap(), Request::words("GET a").spec().unwrap());
        let refused = |standing: Standing, spec| standing.refusal_of_write(spec);
        assert_eq!(refused(Standing::HANDING_OVER, write), Some(ReplyError::HandingOver));
        assert_eq!(refused(Standing::READ_ONLY, write), Some(ReplyError::ReadOnlyReplica));
        assert_eq!(refused(Standing::CUT_OFF, write), Some(ReplyError::ClusterDown));
        assert_eq!((refused(Standing::HANDING_OVER, read), refused(Standing::default(), write)), (None, None));
        assert_eq!(said(&mut client(), Standing::HANDING_OVER, "SET a 1"), "admitted", "it waits instead");
    }

    #[test]
    fn a_transaction_is_refused_by_what_it_holds() {
        let mut client = client();
        let free = Standing::default();
        assert_eq!(said(&mut client, free, "MULTI"), "admitted");
        client.transaction = Some(Box::default());
        assert_eq!(said(&mut client, free, "SET a 1"), "+QUEUED\r\n");
        said(&mut client, Standing::READ_ONLY, "EXEC");
        let refused = client.transaction.unwrap().refused_exec;
        assert_eq!(refused, Some(ReplyError::ReadOnlyReplica));
    }
}
