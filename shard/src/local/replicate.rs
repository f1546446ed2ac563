//! REPLICAOF, SYNC and PSYNC, REPLCONF, ROLE, FAILOVER, WAIT and WAITAOF.
//!
//! Mirrors Redis 7.2 `replication.c`.

use super::{Node, NodeAction};
use crate::{Client, ReplicaClient};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::{NodeCommand, parse_integer};
use slotmesh_conf::directive;
use slotmesh_replication::{FailoverOrder, Position, ReplicationId, Request};
use slotmesh_resp::{Args, Reply};

/// A replica as its master shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaLine {
    /// Its address.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// The word of INFO for how far it has come.
    pub state: &'static str,
    /// What it has acknowledged.
    pub offset: u64,
    /// What it has acknowledged to be on its disk.
    pub on_disk: u64,
    /// Seconds since it last acknowledged.
    pub lag_s: u64,
}

/// The link of a replica to its master, as it shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterLine {
    /// Address of the master.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// The word of ROLE for the state of the link.
    pub state: &'static str,
    /// Whether the stream comes.
    pub is_up: bool,
    /// Seconds since anything came; `None` if there is no link.
    pub heard_s: Option<u64>,
    /// Bytes of an image that have come, if one is on its way.
    pub image_bytes: Option<u64>,
    /// Seconds since the stream last came, if it does not.
    pub down_s: Option<u64>,
    /// What was read of the stream.
    pub read_offset: u64,
    /// Whether clients may not write.
    pub is_read_only: bool,
}

/// What a node knows of its replication.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplicationFacts {
    /// The master that it follows, if it does.
    pub master: Option<MasterLine>,
    /// Those that follow it.
    pub replicas: Vec<ReplicaLine>,
    /// The name of its history.
    pub id: Option<ReplicationId>,
    /// The name before, and the first offset at which ours is another.
    pub before: Option<(ReplicationId, u64)>,
    /// Bytes of its history.
    pub offset: u64,
    /// First byte and number of bytes that are kept, if any are.
    pub backlog: Option<(u64, usize)>,
    /// `repl-backlog-size`.
    pub backlog_bytes_wanted: usize,
    /// The word of INFO for a failover that is under way.
    pub failover: Option<&'static str>,
    /// `replica-priority`.
    pub priority: u64,
    /// `replica-announced`.
    pub is_announced: bool,
    /// Replicas that follow closely enough, where that counts (`min-replicas-to-write`).
    pub good_replicas: Option<usize>,
}

/// An option of REPLCONF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaOption {
    /// `listening-port`
    Port(u16),
    /// `ip-address`
    Host(String),
    /// `capa eof`
    Eof,
    /// `capa psync2`
    Psync2,
    /// `rdb-only`
    ImageOnly(bool),
    /// `rdb-filter-only`
    WithoutKeys,
    /// `ack`, with what is on the disk if it says so
    Ack(u64, Option<u64>),
}

/// What a command wants of the node's replication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicationOrder {
    /// Remember what a replica says of itself. The reply is written.
    Describe(Vec<ReplicaOption>),
    /// Make the client a replica. Whether it has SYNC only.
    Attach(Request, bool),
    /// Lead, since our master wants to follow us, and make it a replica.
    TakeOver(Request),
    /// Have a replica lead. The reply is written.
    FailOver(FailoverOrder),
    /// Give that up. The reply is written.
    EndFailover,
    /// Follow that master. The reply is written.
    Follow(String, u16),
    /// Be a master. The reply is written.
    Lead,
    /// Let the client wait until so many replicas have what was written, or so many ms are over.
    Wait {
        /// How many.
        replicas: usize,
        /// For how long; `None` for ever.
        timeout_ms: Option<u64>,
        /// Whether they must have it on their disks (WAITAOF).
        on_disk: bool,
        /// How often it must be on a disk here: once or not at all.
        local: usize,
    },
}

/// Where it is what a client has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitCount {
    /// How often on a disk here, if that was asked for.
    pub local: Option<usize>,
    /// How many replicas have it.
    pub replicas: usize,
}

const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";

pub(super) fn replicate(
    what: NodeCommand,
    client: &Client,
    args: Args<'_>,
    node: &dyn Node,
    now: UnixMillis,
    reply: &mut Reply<'_>,
) -> NodeAction {
    let outcome = match what {
        NodeCommand::Failover => failover(args, node).inspect(|_| reply.ok()),
        NodeCommand::ReplConf => return configure(args, reply),
        NodeCommand::ReplicaOf => replica_of(client, args, node, reply),
        NodeCommand::Role => {
            role(&node.replication(), reply);
            return NodeAction::Done;
        }
        NodeCommand::Sync => sync(client, args, node),
        _ => return wait(what, client, args, node, now, reply),
    };
    match outcome {
        Ok(action) => action,
        Err(text) => {
            reply.error_text(text);
            NodeAction::Done
        }
    }
}

fn role(facts: &ReplicationFacts, reply: &mut Reply<'_>) {
    match &facts.master {
        Some(master) => {
            reply.array(5);
            reply.bulk(b"slave");
            reply.bulk(master.host.as_bytes());
            reply.integer(i64::from(master.port));
            reply.bulk(master.state.as_bytes());
            // As in Redis an offset that counts for nothing yet is -1.
            reply.integer(if master.is_up { facts.offset as i64 } else { -1 });
        }
        None => {
            let known: Vec<&ReplicaLine> = facts.replicas.iter().filter(|replica| replica.state == "online").collect();
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(facts.offset as i64);
            reply.array(known.len());
            for replica in known {
                reply.array(3);
                reply.bulk(replica.host.as_bytes());
                reply.bulk(replica.port.to_string().as_bytes());
                reply.bulk(replica.offset.to_string().as_bytes());
            }
        }
    }
}

fn sync(client: &Client, args: Args<'_>, node: &dyn Node) -> Result<NodeAction, &'static [u8]> {
    if client.replica.as_ref().is_some_and(|replica| replica.is_attached) {
        // As in Redis a replica that asks again is not heard.
        return Ok(NodeAction::Done);
    }
    let facts = node.replication();
    if args.find(3).is_some_and(|word| word.eq_ignore_ascii_case(b"failover")) {
        return take_over(args, node, &facts);
    }
    if facts.failover.is_some() {
        return Err(b"NOMASTERLINK Can't SYNC while failing over");
    }
    if facts.master.is_some_and(|master| !master.is_up) {
        return Err(b"NOMASTERLINK Can't SYNC while not connected with my master");
    }
    let is_deaf = |replica: &ReplicaClient| replica.facts.without_keys && !replica.facts.capabilities.eof;
    if client.replica.as_deref().is_some_and(is_deaf) {
        return Err(b"ERR Filtered replica requires EOF capability");
    }
    let Some(offset) = args.find(2) else {
        return Ok(NodeAction::Replicate(ReplicationOrder::Attach(Request::Everything, true)));
    };
    Ok(NodeAction::Replicate(ReplicationOrder::Attach(request(args.at(1), offset)?, false)))
}

/// What a PSYNC asks for.
fn request(id: &[u8], offset: &[u8]) -> Result<Request, &'static [u8]> {
    let offset = parse_integer(offset).map_err(|_| NOT_AN_INTEGER)?;
    let position = ReplicationId::parse(id).zip(u64::try_from(offset).ok());
    Ok(position.map_or(Request::Everything, |(id, offset)| Request::From(Position { id, offset })))
}

/// `PSYNC … FAILOVER`: our master follows us from here on.
fn take_over(args: Args<'_>, node: &dyn Node, facts: &ReplicationFacts) -> Result<NodeAction, &'static [u8]> {
    if facts.master.is_none() || node.cluster().is_some() {
        return Err(b"ERR PSYNC FAILOVER can't be sent to a master.");
    }
    if facts.id.is_none() || facts.id != ReplicationId::parse(args.at(1)) {
        return Err(b"ERR PSYNC FAILOVER replid must match my replid.");
    }
    Ok(NodeAction::Replicate(ReplicationOrder::TakeOver(request(args.at(1), args.at(2))?)))
}

fn failover(args: Args<'_>, node: &dyn Node) -> Result<NodeAction, &'static [u8]> {
    if node.cluster().is_some() {
        return Err(b"ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.");
    }
    let facts = node.replication();
    if args.len() == 2 && args.at(1).eq_ignore_ascii_case(b"abort") {
        return match facts.failover {
            Some(_) => Ok(NodeAction::Replicate(ReplicationOrder::EndFailover)),
            None => Err(b"ERR No failover in progress."),
        };
    }
    let order = failover_order(args)?;
    if facts.failover.is_some() {
        return Err(b"ERR FAILOVER already in progress.");
    }
    if facts.master.is_some() {
        return Err(b"ERR FAILOVER is not valid when server is a replica.");
    }
    if facts.replicas.is_empty() {
        return Err(b"ERR FAILOVER requires connected replicas.");
    }
    if order.is_forced && (order.timeout_ms.is_none() || order.target.is_none()) {
        return Err(b"ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
    }
    if let Some((host, port)) = &order.target {
        let is_it = |replica: &&ReplicaLine| replica.host.eq_ignore_ascii_case(host) && replica.port == *port;
        match facts.replicas.iter().find(is_it) {
            None => return Err(b"ERR FAILOVER target HOST and PORT is not a replica."),
            Some(replica) if replica.state != "online" => {
                return Err(b"ERR FAILOVER target replica is not online.");
            }
            Some(_) => {}
        }
    }
    Ok(NodeAction::Replicate(ReplicationOrder::FailOver(order)))
}

/// The words of a FAILOVER.
fn failover_order(args: Args<'_>) -> Result<FailoverOrder, &'static [u8]> {
    let mut order = FailoverOrder::default();
    let mut words = args.iter_from(1);
    while let Some(word) = words.next() {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"timeout") && words.len() > 0 && order.timeout_ms.is_none() {
            let millis =
                words.next().map_or(Err(NOT_AN_INTEGER), |word| parse_integer(word).map_err(|_| NOT_AN_INTEGER));
            order.timeout_ms = match millis? {
                millis @ 1.. => Some(millis.unsigned_abs()),
                _ => return Err(b"ERR FAILOVER timeout must be greater than 0"),
            };
        } else if is(b"to") && words.len() > 1 && order.target.is_none() {
            let (host, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let port = parse_integer(port).map_err(|_| NOT_AN_INTEGER)?;
            // No replica has another port.
            order.target = Some((String::from_utf8_lossy(host).into_owned(), u16::try_from(port).unwrap_or(0)));
        } else if is(b"force") && !order.is_forced {
            order.is_forced = true;
        } else {
            return Err(b"ERR syntax error");
        }
    }
    Ok(order)
}

fn replica_of(
    client: &Client,
    args: Args<'_>,
    node: &dyn Node,
    reply: &mut Reply<'_>,
) -> Result<NodeAction, &'static [u8]> {
    if node.settings().value(directive::CLUSTER_ENABLED) {
        return Err(b"ERR REPLICAOF not allowed in cluster mode.");
    }
    let facts = node.replication();
    if facts.failover.is_some() {
        return Err(b"ERR REPLICAOF not allowed while failing over.");
    }
    if args.at(1).eq_ignore_ascii_case(b"no") && args.at(2).eq_ignore_ascii_case(b"one") {
        reply.ok();
        let is_replica = facts.master.is_some();
        return Ok(if is_replica { NodeAction::Replicate(ReplicationOrder::Lead) } else { NodeAction::Done });
    }
    if client.replica.as_ref().is_some_and(|replica| replica.is_attached) {
        return Err(b"ERR Command is not valid when client is a replica.");
    }
    let port = parse_integer(args.at(2)).ok().and_then(|port| u16::try_from(port).ok());
    let Some(port) = port else { return Err(b"ERR Invalid master port") };
    let host = String::from_utf8_lossy(args.at(1)).into_owned();
    if facts.master.is_some_and(|master| master.host.eq_ignore_ascii_case(&host) && master.port == port) {
        reply.simple("OK Already connected to specified master");
        return Ok(NodeAction::Done);
    }
    reply.ok();
    Ok(NodeAction::Replicate(ReplicationOrder::Follow(host, port)))
}

/// REPLCONF.
fn configure(args: Args<'_>, reply: &mut Reply<'_>) -> NodeAction {
    let words: Vec<&[u8]> = args.iter_from(1).collect();
    let mut options = Vec::new();
    if words.len() % 2 == 1 {
        reply.error(ReplyError::Syntax);
        return NodeAction::Done;
    }
    let offset = |word: &[u8]| parse_integer(word).ok().and_then(|offset| u64::try_from(offset).ok());
    for (place, pair) in words.chunks_exact(2).enumerate() {
        match (&*pair[0].to_ascii_lowercase(), pair[1]) {
            (b"listening-port", port) => match parse_integer(port) {
                Ok(port) => options.push(ReplicaOption::Port(u16::try_from(port).unwrap_or(0))),
                Err(_) => {
                    reply.error(ReplyError::NotAnInteger);
                    return NodeAction::Done;
                }
            },
            (b"ip-address", host) if host.len() < HOST_BYTES_MAX => {
                options.push(ReplicaOption::Host(String::from_utf8_lossy(host).into_owned()));
            }
            (b"ip-address", host) => {
                let bytes = host.len();
                let text = format!("ERR REPLCONF ip-address provided by replica instance is too long: {bytes} bytes");
                reply.error_text(text.as_bytes());
                return NodeAction::Done;
            }
            (b"capa", what) if what.eq_ignore_ascii_case(b"eof") => options.push(ReplicaOption::Eof),
            (b"capa", what) if what.eq_ignore_ascii_case(b"psync2") => options.push(ReplicaOption::Psync2),
            (b"capa", _) => {}
            (b"ack", acked) => {
                // Between master and replica only; nobody answers.
                let Some(acked) = offset(acked) else { return NodeAction::Done };
                let on_disk = words[2 * place..].get(2..4).filter(|more| more[0].eq_ignore_ascii_case(b"fack"));
                let on_disk = on_disk.and_then(|more| offset(more[1]));
                return NodeAction::Replicate(ReplicationOrder::Describe(vec![ReplicaOption::Ack(acked, on_disk)]));
            }
            (b"getack", _) => return NodeAction::Done,
            (b"rdb-only", wanted) => match parse_integer(wanted) {
                Ok(wanted) => options.push(ReplicaOption::ImageOnly(wanted == 1)),
                Err(_) => {
                    reply.error(ReplyError::NotAnInteger);
                    return NodeAction::Done;
                }
            },
            (b"rdb-filter-only", parts) => {
                // Of what an image may be cut down to there are the functions alone.
                let parts = parts.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
                if let Some(other) = parts.into_iter().find(|part| !part.eq_ignore_ascii_case(b"functions")) {
                    let text = [b"ERR Unsupported rdb-filter-only option: ", super::client::until_nul(other)].concat();
                    reply.error_text(&text);
                    return NodeAction::Done;
                }
                options.push(ReplicaOption::WithoutKeys);
            }
            _ => {
                let name = super::client::until_nul(pair[0]);
                reply.error_text(&[b"ERR Unrecognized REPLCONF option: ", name].concat());
                return NodeAction::Done;
            }
        }
    }
    reply.ok();
    NodeAction::Replicate(ReplicationOrder::Describe(options))
}

/// Bytes of an address that a replica may give, and one more.
const HOST_BYTES_MAX: usize = 256;

/// WAIT and WAITAOF. A transaction does not wait.
fn wait(
    what: NodeCommand,
    client: &Client,
    args: Args<'_>,
    node: &dyn Node,
    now: UnixMillis,
    reply: &mut Reply<'_>,
) -> NodeAction {
    let on_disk = what == NodeCommand::WaitAof;
    match wanted(what, args, node, now) {
        Err(text) => reply.error_text(text),
        Ok((local, replicas, timeout_ms)) if client.transaction.is_none() => {
            return NodeAction::Replicate(ReplicationOrder::Wait { replicas, timeout_ms, on_disk, local });
        }
        Ok(_) => {
            let facts = node.replication();
            let reached = |replica: &&ReplicaLine| if on_disk { replica.on_disk } else { replica.offset };
            let acked = |replica: &&ReplicaLine| replica.state == "online" && reached(replica) >= facts.offset;
            // Which masters have what was written, and on which disks, nobody asks now.
            let is_known = !is_at_gateway(node);
            let local = on_disk.then(|| usize::from(is_known && node.is_synced()));
            let replicas = if is_known { facts.replicas.iter().filter(acked).count() } else { 0 };
            answer_wait(WaitCount { local, replicas }, reply);
        }
    }
    NodeAction::Done
}

/// Whether a client is at a door that hides a cluster.
fn is_at_gateway(node: &dyn Node) -> bool {
    node.cluster().is_none() && node.settings().value(directive::CLUSTER_ENABLED)
}

/// The reply to WAIT or WAITAOF when what was written is in that many places.
pub fn answer_wait(count: WaitCount, reply: &mut Reply<'_>) {
    if let Some(local) = count.local {
        reply.array(2);
        reply.integer(local as i64);
    }
    reply.integer(count.replicas as i64);
}

fn wanted(
    what: NodeCommand,
    args: Args<'_>,
    node: &dyn Node,
    now: UnixMillis,
) -> Result<(usize, usize, Option<u64>), &'static [u8]> {
    const NO_DISK: &[u8] = b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    // Behind a gateway there are masters, whatever the node is beside which its client happens to be.
    let is_replica = || !is_at_gateway(node) && node.replication().master.is_some();
    let timeout = args.at(args.len() - 1);
    if what != NodeCommand::WaitAof {
        if is_replica() {
            return Err(b"ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.");
        }
        let replicas = parse_integer(args.at(1)).map_err(|_| NOT_AN_INTEGER)?;
        return Ok((0, usize::try_from(replicas).unwrap_or(0), timeout_ms(timeout, now)?));
    }
    let (local, replicas) = wanted_of_disks(args)?;
    let timeout_ms = timeout_ms(timeout, now)?;
    if is_replica() {
        return Err(b"ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.");
    }
    if local > 0 && !node.persistence().log.is_enabled { Err(NO_DISK) } else { Ok((local, replicas, timeout_ms)) }
}

fn wanted_of_disks(args: Args<'_>) -> Result<(usize, usize), &'static [u8]> {
    let local = match parse_integer(args.at(1)) {
        Ok(local @ 0..=1) => local,
        Ok(_) => return Err(b"ERR value is out of range, value must between 0 and 1"),
        Err(_) => return Err(NOT_AN_INTEGER),
    };
    match parse_integer(args.at(2)) {
        Ok(replicas @ 0..) => Ok((local as usize, replicas as usize)),
        Ok(_) => Err(b"ERR value is out of range, must be positive"),
        Err(_) => Err(NOT_AN_INTEGER),
    }
}

/// A timeout in ms; 0 is for ever.
fn timeout_ms(text: &[u8], now: UnixMillis) -> Result<Option<u64>, &'static [u8]> {
    match parse_integer(text) {
        Err(_) => Err(b"ERR timeout is not an integer or out of range"),
        Ok(..0) => Err(b"ERR timeout is negative"),
        Ok(millis) if millis > i64::MAX - now.0 => Err(b"ERR timeout is out of range"),
        Ok(0) => Ok(None),
        Ok(millis) => Ok(Some(millis.unsigned_abs())),
    }
}
