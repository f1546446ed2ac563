//! What commands and the cluster want of replication.

use super::Replication;
use super::link::Link;
use crate::engine::{Done, Engine, Hands};
use slotmesh_base::{ReplyError, Rng};
use slotmesh_command::Spec;
use slotmesh_io::entropy;
use slotmesh_replication::{Answer, Follower, Request};
use slotmesh_resp::{Args, Protocol, Reply};
use slotmesh_shard::{ReplicaClient, ReplicaOption, ReplicationOrder, Ticket};

/// What clients get that wait while their node becomes a replica.
const INSTANCE_CHANGED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

impl Engine {
    /// Does what a command wants; its reply, if it has one, stands in the scratch buffer.
    pub(crate) fn replicate(&mut self, hands: &mut Hands<'_>, index: u32, order: ReplicationOrder) -> Done {
        match order {
            ReplicationOrder::Describe(options) => self.describe_replica(index, options),
            ReplicationOrder::Attach(request, is_old) => return self.attach_replica(hands, index, request, is_old),
            ReplicationOrder::Follow(host, port) => {
                let client = self.describe_user(index);
                if self.replication.is_none() {
                    self.scratch.clear();
                    Reply::new(&mut self.scratch, Protocol::Resp2).error(ReplyError::StreamNotShared);
                } else {
                    self.follow_master(hands, host.clone(), port);
                    self.process
                        .log
                        .notice(format_args!("REPLICAOF {host}:{port} enabled (user request from '{client}')"));
                }
            }
            ReplicationOrder::Lead => {
                let client = self.describe_user(index);
                self.lead(hands);
                self.process.log.notice(format_args!("MASTER MODE enabled (user request from '{client}')"));
            }
            ReplicationOrder::Wait { replicas, timeout_ms, on_disk } => {
                return self.wait_for_replicas(hands, index, replicas, timeout_ms, on_disk);
            }
        }
        self.reply_scratch(hands, index)
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
                ReplicaOption::Ack(..) => {}
            }
        }
    }

    /// A client becomes a replica.
    fn attach_replica(&mut self, hands: &mut Hands<'_>, index: u32, request: Request, is_old: bool) -> Done {
        if self.replication.is_none() {
            Reply::new(&mut self.scratch, Protocol::Resp2).error(ReplyError::StreamNotShared);
            return self.reply_scratch(hands, index);
        }
        // Nobody else may have our shard in hand: what is done from now on belongs to the stream.
        if self.lending.home().is_none() {
            return Done::NotYet;
        }
        let Some(mut replication) = self.replication.take() else { return Done::Yes };
        replication.collect(self);
        let answer = replication.attach(self, hands, index, request, is_old);
        replication.collect(self);
        self.replication = Some(replication);
        if let Some(error) = answer {
            Reply::new(&mut self.scratch, Protocol::Resp2).error(error);
        }
        self.reply_scratch(hands, index)
    }

    /// We follow that master from now on.
    pub(crate) fn follow_master(&mut self, hands: &mut Hands<'_>, host: String, port: u16) {
        let Some(mut replication) = self.replication.take() else { return };
        replication.collect(self);
        replication.follow_master(self, hands, host, port);
        replication.collect(self);
        self.standing = replication.standing(self.monotonic);
        self.replication = Some(replication);
    }

    /// We are a master from now on.
    pub(crate) fn lead(&mut self, hands: &mut Hands<'_>) {
        let Some(mut replication) = self.replication.take() else { return };
        replication.lead(self, hands);
        replication.collect(self);
        self.standing = replication.standing(self.monotonic);
        self.replication = Some(replication);
    }

    /// Clients that wait for keys do so in vain: what their node holds is another's from now on.
    fn end_waits_for_keys(&mut self, hands: &mut Hands<'_>) {
        let (now, limits, core) = (self.now, self.hot_limits(), self.core);
        let Some(mut shard) = self.lending.take_home() else { return };
        let mut waiting = Vec::new();
        shard.refuse_waits(
            &mut |ticket: Ticket, _: &'static Spec, _: Args<'_>| {
                waiting.push(ticket);
                Some(INSTANCE_CHANGED.to_owned())
            },
            now,
            limits,
        );
        self.return_home(hands, shard);
        for ticket in waiting.into_iter().filter(|ticket| ticket.core == core) {
            if let Some(connection) = self.connection(ticket.connection) {
                connection.client.closing = true;
            }
        }
    }
}

impl Replication {
    /// Takes a replica; an error, if it cannot be one.
    fn attach(
        &mut self,
        engine: &mut Engine,
        hands: &mut Hands<'_>,
        index: u32,
        request: Request,
        is_old: bool,
    ) -> Option<ReplyError> {
        let now = engine.monotonic;
        let connection = engine.connections[index as usize].as_deref_mut()?;
        if !connection.pipeline.is_empty() || hands.sockets.pending_bytes(connection.socket) > 0 {
            return Some(ReplyError::PendingOutput);
        }
        let (socket, address) = (connection.socket, &connection.client.address);
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
        None
    }

    fn follow_master(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, host: String, port: u16) {
        let was_master = self.link.is_none();
        if let Some(mut old) = self.link.take() {
            old.close(hands);
        }
        if was_master {
            engine.end_waits_for_keys(hands);
        }
        let rng = Rng::new(entropy::random_u64());
        let follower = Follower::new(host, port, self.identity.clone(), engine.monotonic, rng);
        let source = engine.settings.value(slotmesh_conf::directive::BIND_SOURCE_ADDR).parse().ok();
        match Link::new(follower, source) {
            Ok(mut link) => {
                // The stream that was ours goes on in the database that it had selected.
                let db = engine.lending.home().and_then(|shard| shard.effects_mut().selected());
                link.select(db.unwrap_or(0));
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
        for key in self.source.promote() {
            engine.killed.push(key.index);
        }
    }
}
