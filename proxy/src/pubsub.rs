//! Messages between clients: who of ours hears one, and which other cores must tell theirs. Who hears what is known in
//! `slotmesh_shard::Subscriptions`.
//!
//! A message goes to the cores where somebody may hear it, in the lane of requests, so that the messages of one client
//! stay in order everywhere. Where there is no room its client waits. What a receiver is told in a turn is kept back and
//! leaves in one send; what it does not take counts against the class `pubsub` of `client-output-buffer-limit`.

use crate::client::Connection;
use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, RequestHead, RequestKind, ReturnAddress};
use crate::meter::Sender;
use crate::post::Errand;
use crate::remote::Hearing;
use crate::replies::cork;
use crate::scatter::{has_room, send_request};
use slotmesh_base::Slot;
use slotmesh_base::limits::MAILBOX_RECORD_BYTES_MAX;
use slotmesh_command::{ChannelKind, PubSubCommand, Spec};
use slotmesh_conf::OutputLimit;
use slotmesh_io::{SocketId, Sockets};
use slotmesh_resp::{Args, Protocol, Reply};
use slotmesh_shard::{Client, ClientKind, Gather, Said, write_message};
use std::ops::Range;

/// What the clients of a core were told in this turn, and room to tell it.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Connections whose messages are kept back until the turn ends.
    pub(crate) connections: Vec<u32>,
    /// Bytes of these messages.
    pub(crate) bytes: usize,
    /// What the client that speaks hears itself: it comes behind its reply.
    pub(crate) own: Vec<u8>,
    /// What a transaction has said, to be told when it has its reply.
    pub(crate) said: Vec<Said>,
    /// Whom the message is for that is being told.
    pub(crate) door: Door,
    /// A message in each protocol.
    encoded: [Vec<u8>; 2],
    /// Cores where somebody may hear it.
    listening: Vec<u16>,
}

impl Heard {
    /// Hands a connection a message, and keeps it back until the turn ends.
    pub(crate) fn hand(
        &mut self,
        sockets: &mut Sockets,
        connection: &mut Connection,
        message: &[u8],
        limit: OutputLimit,
    ) {
        if !std::mem::replace(&mut connection.has_heard, true) {
            self.connections.push(connection.socket.index);
            sockets.cork(connection.socket);
        }
        self.bytes += hand(sockets, connection, message, limit);
    }
}

/// Who of those who listen is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Door {
    /// All.
    #[default]
    Both,
    /// Clients of our node's port.
    Node,
    /// Clients of the gateway.
    Gateway,
}

/// A message on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: ChannelKind,
    pub(crate) channel: &'a [u8],
    pub(crate) text: &'a [u8],
}

impl<'a> Message<'a> {
    /// As arguments of [`RequestKind::Publish`] and [`RequestKind::Tell`].
    fn words(&self) -> [&'a [u8]; 3] {
        [hop::kind_word(self.kind), self.channel, self.text]
    }

    /// Reads what [`words`](Self::words) made.
    pub(crate) fn of_words(args: Args<'a>) -> Self {
        Self { kind: hop::read_kind_word(args.at(0)), channel: args.at(1), text: args.at(2) }
    }
}

/// How often a message was heard on a core.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Receivers {
    /// By all of its clients.
    pub(crate) all: i64,
    /// By those at the port of its node.
    pub(crate) at_node: i64,
}

impl Engine {
    /// Runs a command that says or hears messages.
    pub(crate) fn run_pubsub(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        command: PubSubCommand,
        args: Args<'_>,
    ) -> Done {
        let done = match command {
            PubSubCommand::Publish(kind) => {
                self.say(hands, index, Message { kind, channel: args.at(1), text: args.at(2) })
            }
            _ => self.change_subscriptions(hands, index, command, args),
        };
        if done == Done::Yes
            && let Some(connection) = self.connections[index as usize].as_deref()
        {
            self.meter.end(spec, args, Sender::Ours(&connection.client));
        }
        done
    }

    /// A client of ours hears more, or less.
    fn change_subscriptions(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        command: PubSubCommand,
        args: Args<'_>,
    ) -> Done {
        let is_of_shards = matches!(
            command,
            PubSubCommand::Subscribe(ChannelKind::Shard) | PubSubCommand::Unsubscribe(ChannelKind::Shard)
        );
        if is_of_shards && self.remote.is_some() {
            self.note_listeners();
            let is_at_node = self.connection(index).is_some_and(|connection| connection.client.is_at_node);
            if !is_at_node && command == PubSubCommand::Subscribe(ChannelKind::Shard) {
                match self.hears_elsewhere(args) {
                    Hearing::Ready => {}
                    Hearing::NotYet => return Done::NotYet,
                    Hearing::Failed(error) => {
                        Reply::new(&mut self.scratch, Protocol::Resp2).error(error);
                        return self.reply_scratch(hands, index);
                    }
                }
            }
        }
        let Self { subscriptions, connections, scratch, .. } = self;
        let Some(connection) = connections[index as usize].as_deref_mut() else { return Done::Yes };
        // Or its first messages could overtake the news that it hears them.
        if connection.pipeline.waiting() > 0 {
            return Done::NotYet;
        }
        let client = &mut connection.client;
        let protocol = client.protocol;
        subscriptions.run(command, client, index, args, &mut Reply::new(scratch, protocol));
        let mut news = std::mem::take(&mut self.scratch);
        self.push(hands, index, &news);
        news.clear();
        news.shrink_to(MAILBOX_RECORD_BYTES_MAX);
        self.scratch = news;
        Done::Yes
    }

    /// A client of ours says something, here and on the other cores.
    fn say(&mut self, hands: &mut Hands<'_>, index: u32, message: Message<'_>) -> Done {
        let mut cores = std::mem::take(&mut self.heard.listening);
        cores.clear();
        self.subscriptions.audience().find_listening(self.core, message.kind, message.channel, &mut cores);
        let done = self.say_on(hands, index, message, &cores);
        self.heard.listening = cores;
        done
    }

    /// Says something here and on these cores. The reply counts all who heard it; at the port of a node, the node's own
    /// clients (Redis 7.2 `pubsub.c` `publishCommand`).
    fn say_on(&mut self, hands: &mut Hands<'_>, index: u32, message: Message<'_>, cores: &[u16]) -> Done {
        let len = hop::request_len(message.words().into_iter());
        // All are told, or nobody yet; and nobody before what was said earlier.
        if cores.iter().any(|&core| !has_room(hands.mail, core, len) || self.post.has_errand_to(core)) {
            return Done::NotYet;
        }
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let (socket, protocol, is_at_node) =
            (connection.socket, connection.client.protocol, connection.client.is_at_node);
        let counts_here = is_at_node || cores.is_empty();
        let back = if counts_here {
            ReturnAddress::number(0)
        } else {
            let ticket = connection.pipeline.expect_gathered(Gather::sums(cores.len() + 1, protocol));
            cork(&mut self.corked, self.turn, connection, hands.sockets);
            ReturnAddress { socket, ticket, part: 0 }
        };
        self.spread(hands, message, cores, len, (!counts_here).then_some(back));
        self.send_to_first_node(hands, message);
        self.pass_on(message);
        let receivers = self.tell(hands.sockets, message, Some(index));
        let count = if is_at_node { receivers.at_node } else { receivers.all };
        let mut reply = Vec::new();
        Reply::new(&mut reply, protocol).integer(count);
        if counts_here {
            self.reply(hands, index, &reply);
        } else {
            self.accept_part(ReturnAddress { part: cores.len() as u32, ..back }, &reply);
            self.release(hands, index);
        }
        self.push_own(hands, index);
        Done::Yes
    }

    /// Sends a message beyond this core: to the siblings where somebody may hear it, for which there is room. With an
    /// address, each answers there how many heard it.
    fn spread(
        &mut self,
        hands: &mut Hands<'_>,
        message: Message<'_>,
        cores: &[u16],
        len: usize,
        back: Option<ReturnAddress>,
    ) {
        for (part, &core) in (0u32..).zip(cores) {
            let head = match back {
                Some(back) => RequestHead {
                    partial: true,
                    back: ReturnAddress { part, ..back },
                    ..RequestHead::bare(RequestKind::Publish)
                },
                None => RequestHead::bare(RequestKind::Tell),
            };
            send_request(hands.mail, core, &head, len, message.words().into_iter());
            self.outstanding += usize::from(back.is_some());
            self.counters.hops_out += 1;
        }
    }

    /// Passes on what a client of ours says to those who are not in this process.
    fn pass_on(&mut self, message: Message<'_>) {
        match (&mut self.bus, &mut self.replication) {
            (Some(bus), _) => bus.publish(message.channel, message.text, message.kind == ChannelKind::Shard),
            // Replicas hear it by the stream; in a cluster the bus is enough.
            (None, Some(replication)) => replication.say(message.kind, message.channel, message.text),
            (None, None) => self.errands.say(message.kind, message.channel, message.text),
        }
    }

    /// Tells a message to those of our clients who hear it, wherever it was said. What `speaker` hears of its own message
    /// is kept in `heard.own`.
    pub(crate) fn tell(&mut self, sockets: &mut Sockets, message: Message<'_>, speaker: Option<u32>) -> Receivers {
        let mut receivers = Receivers::default();
        let limit = self.hot.output_limits.pubsub;
        let Self { subscriptions, connections, heard, .. } = self;
        let Message { kind, channel, text } = message;
        subscriptions.for_each_audience(kind, channel, |pattern, indexes| {
            heard.encoded.iter_mut().for_each(Vec::clear);
            for &index in indexes {
                let Some(connection) = connections[index as usize].as_deref_mut() else { continue };
                match heard.door {
                    Door::Both => {}
                    Door::Node if connection.client.is_at_node => {}
                    Door::Gateway if !connection.client.is_at_node => {}
                    Door::Node | Door::Gateway => continue,
                }
                receivers.all += 1;
                receivers.at_node += i64::from(connection.client.is_at_node);
                let protocol = connection.client.protocol;
                let encoded = &mut heard.encoded[protocol as usize];
                if encoded.is_empty() {
                    write_message(protocol, kind, pattern, channel, text, encoded);
                }
                if speaker == Some(index) {
                    heard.own.extend_from_slice(encoded);
                    continue;
                }
                let encoded = std::mem::take(encoded);
                heard.hand(sockets, connection, &encoded, limit);
                heard.encoded[protocol as usize] = encoded;
            }
        });
        heard.encoded.iter_mut().for_each(|encoded| encoded.shrink_to(MAILBOX_RECORD_BYTES_MAX));
        receivers
    }

    /// On a core without a node: has the first one hand what a client of ours has said to other processes.
    fn send_to_first_node(&mut self, hands: &mut Hands<'_>, message: Message<'_>) {
        if self.bus.is_none() && self.map.is_of_cluster() {
            let words = message.words().map(<[u8]>::to_vec).to_vec();
            let back = ReturnAddress::number(0);
            self.post.run(hands.mail, Errand { core: 0, kind: RequestKind::TellNodes, back, words });
        }
    }

    /// Tells our clients what another process has said, that has reached our node over the bus. Cores without a node hear
    /// it from the first one.
    pub(crate) fn hear_from_bus(&mut self, hands: &mut Hands<'_>, message: Message<'_>) {
        if self.is_elsewhere(message.kind, message.channel) {
            // Clients of the gateway hear it from the node that has the slot.
            self.heard.door = Door::Node;
            self.tell(hands.sockets, message, None);
            self.heard.door = Door::Both;
            return;
        }
        let cores = self.map.shards()..self.process.boards.len() as u16;
        self.hear_from_outside(hands, message, if self.core == 0 { cores } else { 0..0 });
    }

    /// Tells our clients, and those of other cores, what our master has passed on.
    pub(crate) fn hear_from_master(&mut self, hands: &mut Hands<'_>, message: Message<'_>) {
        if self.process.is_clustered() {
            return self.hear_from_bus(hands, message);
        }
        self.hear_from_outside(hands, message, 0..self.process.boards.len() as u16);
    }

    fn hear_from_outside(&mut self, hands: &mut Hands<'_>, message: Message<'_>, cores: Range<u16>) {
        for core in cores {
            if core != self.core {
                let words = message.words().map(<[u8]>::to_vec).to_vec();
                let back = ReturnAddress::number(0);
                self.post.run(hands.mail, Errand { core, kind: RequestKind::Tell, back, words });
            }
        }
        self.tell(hands.sockets, message, None);
    }

    /// Slots have left our node: those of its clients who hear shard channels of slots that it does not serve any more
    /// cease to, and are told so. Clients of the gateway go on.
    pub(crate) fn expel_listeners(&mut self, hands: &mut Hands<'_>, serves: impl Fn(Slot) -> bool) {
        let mut news = Vec::new();
        for (channel, indexes) in self.subscriptions.channels_outside(serves) {
            for index in indexes {
                let Self { subscriptions, connections, .. } = self;
                let Some(connection) = connections[index as usize].as_deref_mut() else { continue };
                let client = &mut connection.client;
                if client.is_at_node {
                    let protocol = client.protocol;
                    subscriptions.expel(client, index, &channel, &mut Reply::new(&mut news, protocol));
                    self.push(hands, index, &news);
                    news.clear();
                }
            }
        }
    }

    /// Tells what a transaction of ours has said, once it has its reply.
    pub(crate) fn tell_said(&mut self, hands: &mut Hands<'_>, index: u32) {
        let own = std::mem::take(&mut self.heard.own);
        for said in std::mem::take(&mut self.heard.said) {
            let message = Message { kind: said.kind, channel: &said.channel, text: &said.message };
            let is_at_node = self.connection(index).is_some_and(|connection| connection.client.is_at_node);
            if !is_at_node && self.is_elsewhere(said.kind, &said.channel) {
                self.say_elsewhere(&said.channel, &said.message);
                continue;
            }
            let mut cores = Vec::new();
            self.subscriptions.audience().find_listening(self.core, message.kind, message.channel, &mut cores);
            for core in cores {
                let words = message.words().map(<[u8]>::to_vec).to_vec();
                let back = ReturnAddress::number(0);
                self.post.run(hands.mail, Errand { core, kind: RequestKind::Tell, back, words });
            }
            self.send_to_first_node(hands, message);
            if !said.is_recorded {
                self.pass_on(message);
            }
            self.tell(hands.sockets, message, Some(index));
        }
        self.show_kept_lines(hands, index);
        // It was decided what it hears itself when it spoke.
        self.heard.own = own;
        self.push_own(hands, index);
    }

    fn push_own(&mut self, hands: &mut Hands<'_>, index: u32) {
        let mut own = std::mem::take(&mut self.heard.own);
        self.push(hands, index, &own);
        own.clear();
        own.shrink_to(MAILBOX_RECORD_BYTES_MAX);
        self.heard.own = own;
    }

    /// Hands a client what it hears even if it wants no replies, behind the replies that are outstanding.
    fn push(&mut self, hands: &mut Hands<'_>, index: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.connection(index) {
            Some(connection) if connection.pipeline.is_muting() => connection.pipeline.append_aloud(bytes),
            _ => self.reply(hands, index, bytes),
        }
    }

    /// A client of ours hears nothing any more.
    pub(crate) fn leave_channels(&mut self, index: u32) {
        self.stop_monitor(index);
        let Self { subscriptions, connections, .. } = self;
        if let Some(connection) = connections[index as usize].as_deref_mut() {
            let had_channels = connection.client.subscribed.is_some();
            subscriptions.leave(&mut connection.client, index);
            if connection.client.subscribed.is_none() && had_channels {
                self.note_listeners();
            }
        }
    }

    /// Lets go what our clients were told: it leaves with this turn's sends. Gives the connections.
    pub(crate) fn release_heard(&mut self, sockets: &mut Sockets) -> Vec<u32> {
        self.heard.bytes = 0;
        let mut told = std::mem::take(&mut self.heard.connections);
        told.retain(|&index| {
            let Some(connection) = self.connection(index) else { return false };
            let has_heard = std::mem::take(&mut connection.has_heard);
            // Replies may be kept back for reasons of their own.
            if has_heard && connection.corked_in.is_none() {
                sockets.uncork(connection.socket);
            }
            has_heard
        });
        told
    }

    /// The limit of a client's class.
    pub(crate) fn output_limit(&self, client: &Client) -> OutputLimit {
        match client.kind() {
            // Redis has no bound for it, by default.
            _ if client.is_monitor => self.hot.output_limits.pubsub,
            ClientKind::PubSub => self.hot.output_limits.pubsub,
            ClientKind::Normal => self.hot.output_limits.normal,
            ClientKind::Replica | ClientKind::Master => self.hot.output_limits.replica,
        }
    }
}

/// Hands a connection a message, behind the replies that are outstanding; but who waits in a blocking command hears it at
/// once. Gives the bytes that it takes.
fn hand(sockets: &mut Sockets, connection: &mut Connection, message: &[u8], limit: OutputLimit) -> usize {
    if connection.client.closing {
        return 0;
    }
    if limit.hard_bytes > 0 && message.len() as u64 > limit.hard_bytes {
        connection.is_overrun = true;
        return 0;
    }
    let is_kept = if connection.pipeline.is_empty() {
        false
    } else if connection.pipeline.is_muting() {
        // A client that wants no replies hears all the same.
        connection.pipeline.append_aloud(message);
        true
    } else if connection.wait.is_some() {
        connection.pipeline.append_to_last_ready(message)
    } else {
        connection.pipeline.append(|output| output.extend_from_slice(message));
        true
    };
    let socket: SocketId = connection.socket;
    if !is_kept && let Some(output) = sockets.output(socket) {
        output.extend_from_slice(message);
        sockets.commit(socket);
    }
    message.len()
}
