//! What commands and the cluster want of replication.

use super::Replication;
use super::link::Link;
use super::mail::{ReplicationMail, STREAM_CORE};
use super::stream::StreamWork;
use super::waits::Wanted;
use crate::client::{Connection, Wait};
use crate::engine::{Done, Engine, Hands};
use crate::hop::{ReplyKind, ReturnAddress};
use crate::membership::key_count;
use crate::post::Freight;
use slotmesh_base::{ReplyError, Rng};
use slotmesh_command::Spec;
use slotmesh_io::{SocketId, entropy};
use slotmesh_replication::{Answer, Follower, Request};
use slotmesh_resp::{Args, Protocol, Reply};
use slotmesh_shard::{ReplicaClient, ReplicaOption, ReplicationOrder, Shard, Ticket};

/// What clients get that wait while their node becomes a replica.
const INSTANCE_CHANGED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// A client that is to become a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attaching {
    socket: SocketId,
    /// The ticket behind which it waits.
    ticket: u32,
    pub(super) request: Request,
    pub(super) is_old: bool,
}

/// That we shall lead, or follow a master.
#[derive(Debug)]
pub(crate) struct RoleOrder {
    pub(super) master: Option<(String, u16)>,
    /// The client that wants it, in words; nobody, if the cluster does.
    by: Option<String>,
    /// Who waits for it, and for which reply.
    asker: Option<(u16, ReturnAddress, Vec<u8>)>,
}

impl RoleOrder {
    /// What a failover wants.
    pub(super) fn of_failover(master: Option<(String, u16)>) -> Self {
        Self { master, by: None, asker: None }
    }
}

impl Engine {
    /// Does what a command wants; its reply, if it has one, stands in the scratch buffer.
    pub(crate) fn replicate(&mut self, hands: &mut Hands<'_>, index: u32, order: ReplicationOrder) -> Done {
        match order {
            ReplicationOrder::Describe(options) => self.describe_replica(index, options),
            ReplicationOrder::Attach(request, is_old) => return self.attach_replica(hands, index, request, is_old),
            ReplicationOrder::TakeOver(request) => {
                let order = RoleOrder { master: None, by: Some(self.describe_user(index)), asker: None };
                match self.stream_is_elsewhere() {
                    true => self.mail(hands, STREAM_CORE, ReplicationMail::Role(order)),
                    false => self.begin_role(hands, order),
                }
                return self.attach_replica(hands, index, request, false);
            }
            ReplicationOrder::FailOver(order) => self.order_failover(hands, Some(order)),
            ReplicationOrder::EndFailover => self.order_failover(hands, None),
            ReplicationOrder::Follow(host, port) => return self.order_role(hands, index, Some((host, port))),
            ReplicationOrder::Lead => return self.order_role(hands, index, None),
            ReplicationOrder::Wait { replicas, timeout_ms, on_disk, local } => {
                let wanted = Wanted { replicas, local: on_disk.then_some(local) };
                return self.wait_for_replicas(hands, index, wanted, timeout_ms);
            }
        }
        self.reply_scratch(hands, index)
    }

    /// Has the stream lead or follow; the reply in the scratch buffer goes out when that is done.
    fn order_role(&mut self, hands: &mut Hands<'_>, index: u32, master: Option<(String, u16)>) -> Done {
        let by = Some(self.describe_user(index));
        let mut asker = None;
        if !self.scratch.is_empty() {
            let reply = std::mem::take(&mut self.scratch);
            let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
            asker = Some((self.core, ReturnAddress { socket, ticket, part: 0 }, reply));
        }
        let order = RoleOrder { master, by, asker };
        if self.stream_is_elsewhere() {
            self.mail(hands, STREAM_CORE, ReplicationMail::Role(order));
        } else {
            self.begin_role(hands, order);
        }
        Done::Yes
    }

    /// We lead or follow, as soon as all shards of the stream are in hand.
    pub(super) fn begin_role(&mut self, hands: &mut Hands<'_>, order: RoleOrder) {
        self.begin_stream_work(hands, StreamWork::Role(order));
    }

    fn describe_user(&self, index: u32) -> String {
        let client = self.connections[index as usize].as_deref().map(|connection| &connection.client);
        client.map_or_else(String::new, |client| {
            let name = String::from_utf8_lossy(&client.name);
            format!("id={} addr={} laddr={} name={name}", client.id, client.address, client.local_address)
        })
    }

    /// A client says what it is as a replica.
    fn describe_replica(&mut self, index: u32, options: Vec<ReplicaOption>) {
        let now = self.monotonic;
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        let socket = connection.socket;
        for option in options {
            if let ReplicaOption::Ack(offset, on_disk) = option {
                let replica = connection.client.replica.as_ref().filter(|replica| replica.is_attached);
                if let (Some(replica), Some(replication)) = (replica, &mut self.replication)
                    && replication.source.acknowledge(socket, offset, on_disk, now)
                {
                    let facts = &replica.facts;
                    self.process.log.notice(format_args!("Synchronization with replica {facts} succeeded"));
                }
                continue;
            }
            let facts = &mut connection.client.replica.get_or_insert_default().facts;
            match option {
                ReplicaOption::Port(port) => facts.listening_port = port,
                ReplicaOption::Host(host) => facts.announced_host = (!host.is_empty()).then_some(host),
                ReplicaOption::Eof => facts.capabilities.eof = true,
                ReplicaOption::Psync2 => facts.capabilities.psync2 = true,
                ReplicaOption::ImageOnly(wanted) => facts.image_only = wanted,
                ReplicaOption::WithoutKeys => facts.without_keys = true,
                ReplicaOption::Ack(..) => {}
            }
        }
    }

    /// A client becomes a replica.
    pub(super) fn attach_replica(&mut self, hands: &mut Hands<'_>, index: u32, request: Request, is_old: bool) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref() else { return Done::Yes };
        let socket = connection.socket;
        let has_output = !connection.pipeline.is_empty() || hands.sockets.pending_bytes(socket) > 0;
        let refused = match has_output {
            true => Some(ReplyError::PendingOutput),
            false if self.replication.is_none() && self.process.is_clustered() => Some(ReplyError::StreamNotShared),
            false => self.has_nothing_for(index, request).then_some(ReplyError::NothingToSync),
        };
        if let Some(error) = refused {
            Reply::new(&mut self.scratch, Protocol::Resp2).error(error);
            return self.reply_scratch(hands, index);
        }
        if self.stream_is_elsewhere() {
            self.send_to_stream(hands, index, Attaching { socket, ticket: 0, request, is_old });
            return Done::Yes;
        }
        let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
        self.begin_stream_work(hands, StreamWork::Attach(Attaching { socket, ticket, request, is_old }));
        Done::Yes
    }

    /// Whether we are a node without slots and keys that somebody takes for his master who has data. So it is when a
    /// master has lost its nodes.conf: its replicas come to its address as before, and would get our emptiness.
    fn has_nothing_for(&mut self, index: u32, request: Request) -> bool {
        let (Some(seat), Request::From(_)) = (&self.seat, request) else { return false };
        let replica = self.connections[index as usize].as_deref().and_then(|peer| peer.client.replica.as_ref());
        let port = replica.map_or(0, |replica| replica.facts.listening_port);
        seat.topology.ranges_of(seat.myself).next().is_none()
            && seat.topology.replicas(seat.myself).all(|known| known.port != port)
            && self.lending.home().is_some_and(|shard| key_count(Some(shard)) == 0)
    }

    /// We follow that master from now on.
    pub(crate) fn follow_master(&mut self, hands: &mut Hands<'_>, host: String, port: u16) {
        self.begin_role(hands, RoleOrder { master: Some((host, port)), by: None, asker: None });
    }

    /// We are a master from now on.
    pub(crate) fn lead(&mut self, hands: &mut Hands<'_>) {
        self.begin_role(hands, RoleOrder { master: None, by: None, asker: None });
    }

    /// Clients that wait for keys do so in vain: what their node holds is another's from now on.
    pub(super) fn end_waits_for_keys(
        &mut self,
        hands: &mut Hands<'_>,
        shards: &mut [&mut Shard],
        replication: &mut Replication,
    ) {
        let (now, limits) = (self.now, self.hot_limits());
        let mut waiting = Vec::new();
        for shard in shards {
            shard.refuse_waits(
                &mut |ticket: Ticket, _: &'static Spec, _: Args<'_>| {
                    waiting.push(ticket);
                    Some(INSTANCE_CHANGED.to_owned())
                },
                now,
                limits,
            );
        }
        let is_everywhere = replication.cores.len() > 1 || !self.process.is_clustered();
        let cores = if is_everywhere { self.process.boards.len() as u16 } else { 0 };
        let own = self.core;
        for core in (0..cores).filter(|&core| core != own) {
            let theirs = waiting.iter().copied().filter(|ticket| ticket.core == core).collect();
            self.mail(hands, core, ReplicationMail::Changed(theirs));
        }
        waiting.retain(|ticket| ticket.core == self.core);
        self.expel_waiting(hands, &waiting);
    }

    /// Closes those of our clients behind their replies that waited for keys, and ends the waits for several shards.
    pub(super) fn expel_waiting(&mut self, hands: &mut Hands<'_>, told: &[Ticket]) {
        for ticket in told {
            if let Some(connection) = self.connection(ticket.connection)
                && connection.socket.generation == ticket.generation
            {
                connection.client.closing = true;
                self.answered.push(ticket.connection);
            }
        }
        let is_shared = |wait: &Wait| wait.is_shared && !wait.cores.is_empty();
        let shared = |(index, connection): (usize, &Option<Box<Connection>>)| {
            connection.as_ref()?.wait.as_deref().filter(|wait| is_shared(wait)).map(|_| index as u32)
        };
        let waiting: Vec<u32> = self.connections.iter().enumerate().filter_map(shared).collect();
        for index in waiting {
            self.end_wait_here(hands, index, |_, reply| reply.error_text(INSTANCE_CHANGED.as_bytes()));
            self.finish(index);
        }
    }
}

impl Replication {
    /// Takes a replica.
    pub(super) fn attach(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, attaching: Attaching) {
        let Attaching { socket, ticket, request, is_old } = attaching;
        let now = engine.monotonic;
        let index = socket.index;
        let is_there = |connection: &&mut Connection| connection.socket == socket && !connection.client.closing;
        if engine.connection(index).filter(is_there).is_none() {
            return;
        }
        // It may speak again; what it gets is no reply.
        engine.hand_over(hands.sockets, ReturnAddress { socket, ticket, part: 0 }, &[]);
        let Some(connection) = engine.connections[index as usize].as_deref_mut() else { return };
        let address = &connection.client.address;
        let peer_host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let peer_host = peer_host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let replica: &mut ReplicaClient = connection.client.replica.get_or_insert_default();
        replica.is_attached = true;
        replica.facts.peer_host = peer_host;
        replica.facts.is_old = is_old;
        let facts = replica.facts.clone();
        self.log.notice(format_args!("Replica {facts} asks for synchronization"));
        match self.source.attach(socket, facts.clone(), request, self.link.is_none(), now) {
            Answer::Continue(line, owed) => {
                let from = self.source.history().offset() + 1 - owed;
                self.log.notice(format_args!(
                    "Partial resynchronization request from {facts} accepted. Sending {owed} bytes of backlog starting from offset {from}."
                ));
                if let Some(output) = hands.sockets.output(socket) {
                    output.extend_from_slice(line.as_bytes());
                    hands.sockets.commit(socket);
                }
            }
            Answer::Image => {
                let why = match request {
                    Request::Everything => "Full resync requested by replica",
                    Request::From(_) => "Partial resynchronization not accepted: full resync for replica",
                };
                self.log.notice(format_args!("{why} {facts}"));
            }
        }
    }

    /// We lead or follow from now on.
    pub(super) fn take_role(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, order: RoleOrder) {
        let RoleOrder { master, by, asker } = order;
        let what = match &master {
            Some((host, port)) => format!("REPLICAOF {host}:{port} enabled"),
            None => "MASTER MODE enabled".to_owned(),
        };
        if !engine.process.is_clustered() {
            engine.process.note_master(master.as_ref().map(|(host, port)| (host.as_str(), *port)));
        }
        match master {
            Some((host, port)) => self.follow_master(engine, hands, host, port),
            None => self.lead(engine, hands),
        }
        if let Some(by) = by {
            self.log.notice(format_args!("{what} (user request from '{by}')"));
        }
        self.end_returned_failover(engine);
        self.show_standing(engine);
        self.publish(engine);
        let Some((core, back, reply)) = asker else { return };
        if core == engine.core {
            engine.hand_over(hands.sockets, back, &reply);
        } else {
            engine.post.send(hands.mail, core, ReplyKind::Late, back, Freight::Bytes(reply));
        }
    }

    fn follow_master(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, host: String, port: u16) {
        self.follows_soon = false;
        if let Some(mut old) = self.link.take() {
            old.close(hands);
        }
        let rng = Rng::new(entropy::random_u64());
        let follower = Follower::new(host, port, self.identity.clone(), engine.monotonic, rng);
        let source = engine.settings.value(slotmesh_conf::directive::BIND_SOURCE_ADDR).parse().ok();
        match Link::new(follower, source) {
            Ok(mut link) => {
                // The stream that was ours goes on in the database that it had selected.
                link.select(self.selected.unwrap_or(0));
                if self.is_failing_over() {
                    link.follower.ask_to_lead();
                }
                self.link = Some(Box::new(link));
            }
            Err(error) => {
                self.log.warning(format_args!("No link to a master can be had: {error}; raise ulimit -n"));
                std::process::exit(1);
            }
        }
    }

    fn lead(&mut self, engine: &mut Engine, hands: &mut Hands<'_>) {
        let Some(mut link) = self.link.take() else { return };
        link.close(hands);
        // Whatever the master had selected: the next effects select anew.
        self.selected = None;
        for key in self.source.promote() {
            engine.killed.push(key.index);
        }
    }
}
