//! What a connection remembers between its requests.

use crate::{ClientTracking, Subscribed, TrackedBy, Tracker, Transaction};
use slotmesh_base::{Slot, UnixMillis};
use slotmesh_command::Spec;
use slotmesh_replication::ReplicaFacts;
use slotmesh_resp::Protocol;

/// A client as the commands see it; its socket and buffers are the caller's.
#[derive(Debug)]
pub struct Client {
    /// Number that no other client of the process gets, rising.
    pub id: u64,
    /// Number of its descriptor, for CLIENT LIST and CLIENT INFO only.
    pub fd: i32,
    /// Selected database.
    pub db: u16,
    /// Protocol version.
    pub protocol: Protocol,
    /// Whether the client may do anything: it has authenticated, or needs not.
    pub authenticated: bool,
    /// Whether the connection closes once the replies so far are sent.
    pub closing: bool,
    /// `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_version: Vec<u8>,
    /// Address of the other end as CLIENT LIST prints it (`127.0.0.1:50000`, or `/path/to/socket:0`).
    pub address: String,
    /// Address of our end.
    pub local_address: String,
    /// Whether it came through the unix socket.
    pub unix_socket: bool,
    /// Whether it came to the port of the core's shard, as to a node of the cluster; else to a gateway, that hides the
    /// cluster.
    pub is_at_node: bool,
    /// When it connected.
    pub connected_at: UnixMillis,
    /// When it last sent a request.
    pub active_at: UnixMillis,
    /// The last command that it ran, or tried to run.
    pub last_command: Option<&'static Spec>,
    /// What it has queued since MULTI.
    pub transaction: Option<Box<Transaction>>,
    /// Cores whose shards hold keys that it watches, ascending.
    pub watching: Vec<u16>,
    /// The slots of these keys, and the cores that owned them, at a gateway from which slots may go away; ascending.
    pub watched_slots: Vec<(Slot, u16)>,
    /// Number of its span of watching.
    pub watch_span: u32,
    /// What it hears, if it hears anything.
    pub subscribed: Option<Box<Subscribed>>,
    /// `READONLY`: it reads from a replica what that has of its master.
    pub is_readonly: bool,
    /// What it has said of itself as a replica, if it has.
    pub replica: Option<Box<ReplicaClient>>,
    /// Whether it sees all commands (MONITOR).
    pub is_monitor: bool,
    /// Whether it waits in a blocking command.
    pub is_blocked: bool,
    /// `CLIENT REPLY`.
    pub replies: Replies,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// Its place.
    pub tracker: Tracker,
    /// How its keys are tracked, if they are.
    pub tracking: Option<Box<ClientTracking>>,
    /// `CLIENT NO-TOUCH`: what it reads counts as not read lately.
    pub no_touch: bool,
}

/// A client that is a replica of ours, or is about to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplicaClient {
    /// What it has said.
    pub facts: ReplicaFacts,
    /// Whether the stream is promised to it.
    pub is_attached: bool,
}

/// Which replies a client gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// All but that of its next command.
    SkipNext,
    /// None.
    Off,
}

impl Replies {
    /// What CLIENT REPLY calls it.
    pub(crate) fn named(word: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Replies); 3] =
            [(b"on", Replies::On), (b"off", Replies::Off), (b"skip", Replies::SkipNext)];
        NAMES.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, replies)| replies)
    }
}

impl Client {
    /// A client that has just connected and said nothing. The caller fills in where it came from, and whether it
    /// needs a password.
    pub fn new(id: u64, now: UnixMillis) -> Self {
        Self {
            id,
            fd: -1,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated: false,
            closing: false,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            address: String::new(),
            local_address: String::new(),
            unix_socket: false,
            is_at_node: false,
            connected_at: now,
            active_at: now,
            last_command: None,
            transaction: None,
            watching: Vec::new(),
            watched_slots: Vec::new(),
            watch_span: 0,
            subscribed: None,
            is_readonly: false,
            replica: None,
            is_monitor: false,
            is_blocked: false,
            replies: Replies::On,
            no_evict: false,
            tracker: Tracker::default(),
            tracking: None,
            no_touch: false,
        }
    }

    /// Whether its requests are not simply run and answered.
    #[inline]
    pub fn is_special(&self) -> bool {
        self.replies != Replies::On || self.tracking.is_some()
    }

    /// What the shards must know of it if it is tracked.
    #[inline]
    pub fn tracked(&self) -> Option<TrackedBy> {
        self.tracking.as_ref().map(|tracking| tracking.by())
    }

    /// Whether the stream of our effects is promised to it.
    pub fn is_attached(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.is_attached)
    }

    /// The address of ours at which it has reached us, without the port.
    pub fn reached_at(&self) -> &str {
        let host = self.local_address.rsplit_once(':').map_or("", |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }
}
