//! Connections of the links: dialled, greeted, fed and closed as the gateway says.

use super::{Counter, Homeward, Remote};
use crate::engine::{Engine, Hands};
use crate::hop::{self, RequestHead, RequestKind};
use crate::scatter::{has_room, send_request};
use slotmesh_base::{Monotonic, ReplyError, Slot};
use slotmesh_command::{Flags, key_indexes, resolve};
use slotmesh_io::{SocketId, tcp};
use slotmesh_resp::{Args, DecodeLimits, Decoder, Protocol, Reply, Step};
use slotmesh_shard::{Context, LinkId, Order, View};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

impl Remote {
    fn socket_of(&self, link: LinkId) -> Option<SocketId> {
        let (known, socket) = (*self.by_link.get(link.index())?)?;
        (known == link).then_some(socket)
    }

    fn bind(&mut self, link: LinkId, socket: SocketId) {
        put(&mut self.by_link, link.index(), (link, socket));
        put(&mut self.by_socket, socket.index as usize, (socket, link));
    }

    fn unbind(&mut self, link: LinkId) -> Option<SocketId> {
        let socket = self.socket_of(link)?;
        self.by_link[link.index()] = None;
        self.by_socket[socket.index as usize] = None;
        Some(socket)
    }
}

fn put<V>(table: &mut Vec<Option<V>>, place: usize, value: V) {
    if table.len() <= place {
        table.resize_with(place + 1, || None);
    }
    table[place] = Some(value);
}

impl Engine {
    /// The link of a socket, if it is one.
    #[inline]
    pub(crate) fn link_of(&self, socket: SocketId) -> Option<LinkId> {
        let remote = self.remote.as_deref()?;
        let (known, link) = (*remote.by_socket.get(socket.index as usize)?)?;
        (known == socket).then_some(link)
    }

    /// Does something with the gateway and with all that it needs.
    pub(super) fn with_gateway(
        &mut self,
        hands: &mut Hands<'_>,
        act: impl FnOnce(&mut Remote, Monotonic, &mut Counter<'_, '_>),
    ) {
        let Some(mut remote) = self.remote.take() else { return };
        let now = self.monotonic;
        let mut homeward = std::mem::take(&mut remote.homeward);
        let mut said = std::mem::take(&mut remote.said);
        let mut inner = std::mem::take(&mut remote.inner);
        let (homeward_now, said_now, inner_now) = (&mut homeward, &mut said, &mut inner);
        let mut counter = Counter { engine: self, hands, homeward: homeward_now, said: said_now, inner: inner_now };
        act(&mut remote, now, &mut counter);
        remote.homeward = homeward;
        self.has_released |= remote.gateway.take_released();
        self.remote = Some(remote);
        for (channel, text) in said.drain(..) {
            self.hear_from_host(hands, &channel, &text);
        }
        // What else a transaction held may be for other hosts.
        for (to, answer) in inner.drain(..) {
            match to.part {
                super::transactions::EXEC => self.end_exec_elsewhere(hands, to, &answer),
                _ => self.note_info(to, &answer),
            }
        }
        if let Some(remote) = &mut self.remote {
            (remote.said, remote.inner) = (said, inner);
        }
    }

    /// A node has said something.
    pub(crate) fn hear_link(&mut self, hands: &mut Hands<'_>, link: LinkId, bytes: &[u8]) {
        self.with_gateway(hands, |remote, now, counter| remote.gateway.received(now, link, bytes, counter));
    }

    /// A connection to a node has ended.
    pub(crate) fn lose_link(&mut self, hands: &mut Hands<'_>, socket: SocketId) {
        let Some(link) = self.link_of(socket) else { return };
        hands.sockets.close(socket);
        self.with_gateway(hands, |remote, now, counter| {
            remote.unbind(link);
            remote.gateway.ended(now, link, counter);
        });
    }

    /// Follows the cluster, as far as our core knows it, if it has changed.
    pub(crate) fn follow_view(&mut self, hands: &mut Hands<'_>) {
        if !self.remote.as_ref().is_some_and(|remote| remote.is_stale) {
            return;
        }
        let seat = self.seat.clone().or_else(|| self.process.first_seat());
        let map = self.map.clone();
        self.with_gateway(hands, |remote, now, counter| {
            (remote.is_stale, remote.hears_otherwise) = (false, true);
            let topology = seat.as_ref().map(|seat| &*seat.topology);
            let is_ours = |slot: Slot| !map.is_elsewhere(slot);
            remote.gateway.set_view(now, &View { topology, is_ours: &is_ours }, counter);
        });
    }

    /// Does what is to be done about links, and sends what was written for them: at the end of each turn.
    pub(crate) fn drive_links(&mut self, hands: &mut Hands<'_>) {
        let Some(remote) = &mut self.remote else { return };
        let dialled = remote.dials.take();
        let is_due = remote.gateway.deadline() <= self.monotonic;
        if !dialled.is_empty() || is_due {
            self.with_gateway(hands, |remote, now, counter| {
                for (link, socket) in dialled {
                    remote.greet(now, link, socket, counter);
                }
                remote.gateway.tick(now, counter);
            });
        }
        self.bring_home(hands);
        self.follow_listeners(hands);
        self.drive_polls(hands);
        let Some(remote) = &mut self.remote else { return };
        for order in remote.gateway.take_orders() {
            match order {
                Order::Dial(link, address) => remote.dials.dial(link, address, remote.source),
                Order::Close(link) => {
                    remote.dials.give_up(link);
                    if let Some(socket) = remote.unbind(link) {
                        hands.sockets.close(socket);
                    }
                }
                Order::Log(line) => self.process.log.warning(format_args!("{line}")),
            }
        }
        let Remote { gateway, by_link, .. } = &mut **remote;
        gateway.flush(|link, bytes| {
            let socket = by_link.get(link.index()).copied().flatten().filter(|(known, _)| *known == link);
            if let Some((_, socket)) = socket
                && let Some(output) = hands.sockets.output(socket)
            {
                output.extend_from_slice(bytes);
                hands.sockets.commit(socket);
            }
        });
    }

    /// Runs here what other hosts have no more.
    fn bring_home(&mut self, hands: &mut Hands<'_>) {
        let Some(remote) = self.remote.as_mut().filter(|remote| !remote.homeward.is_empty()) else { return };
        let mut waiting: VecDeque<Homeward> = std::mem::take(&mut remote.homeward);
        while let Some(request) = waiting.pop_front() {
            if !self.run_at_home(hands, &request) {
                waiting.push_front(request);
                break;
            }
        }
        if let Some(remote) = &mut self.remote {
            remote.homeward.extend(waiting);
        }
    }

    /// Runs a request here that has its ticket; whether there was room.
    fn run_at_home(&mut self, hands: &mut Hands<'_>, home: &Homeward) -> bool {
        let Homeward { to, protocol, request } = home;
        if to.part == super::transactions::EXEC {
            self.bring_exec_home(hands, *to);
            return true;
        }
        let (mut bytes, mut ranges, mut position) = (request.clone(), Vec::new(), 0);
        let limits = DecodeLimits { bulk_bytes_max: i64::MAX, authenticated: true };
        let step = Decoder::default().decode(&mut bytes, &mut position, &limits, &mut ranges);
        let args = Args::new(&bytes, &ranges);
        let is_whole = matches!(step, Ok(Step::Request)) && position == request.len();
        let spec = if is_whole { resolve(args).ok() } else { None };
        let Some(spec) = spec.filter(|spec| !spec.flags.contains(Flags::BLOCKING)) else {
            // Somebody who waits, and begins again then.
            let mut text = Vec::new();
            Reply::new(&mut text, *protocol).error(ReplyError::MovedWhileWaiting);
            self.hand_over(hands.sockets, *to, &text);
            return true;
        };
        let key = key_indexes(spec, args).next();
        let core = key.map_or(0, |key| self.map.owner(Slot::of_key(args.at(key))));
        if core != self.core {
            let len = hop::request_len(args.iter_from(0));
            if !has_room(hands.mail, core, len) {
                return false;
            }
            let back = *to;
            let head = RequestHead { protocol: *protocol, back, ..RequestHead::bare(RequestKind::Command) };
            send_request(hands.mail, core, &head, len, args.iter_from(0));
            self.outstanding += 1;
            return true;
        }
        let (limits, now) = (self.hot_limits(), self.now);
        let context = Context {
            db: 0,
            protocol: *protocol,
            now,
            first_key: None,
            limits,
            partial: false,
            is_node: false,
            may_block: false,
            tracked: None,
        };
        let mut reply = Vec::new();
        if let Some(error) = self.standing.refusal_of_write(spec) {
            Reply::new(&mut reply, *protocol).error(error);
        } else {
            let Some(shard) = self.lending.home() else { return false };
            shard.execute(spec, args, &context, &mut reply);
            self.shard_used = true;
        }
        self.hand_over(hands.sockets, *to, &reply);
        self.post_letters(hands);
        true
    }
}

impl Remote {
    /// A dial has ended.
    fn greet(&mut self, now: Monotonic, link: LinkId, dialled: io::Result<OwnedFd>, counter: &mut Counter<'_, '_>) {
        let Ok(socket) = dialled else { return self.gateway.failed(now, link, counter) };
        let Some(greeting) = self.gateway.connected(now, link) else { return };
        // What cannot be had costs some milliseconds, and finds a dead node later.
        let _ = tcp::set_nodelay(socket.as_fd());
        if self.keepalive_s > 0 {
            let _ = tcp::set_keepalive(socket.as_fd(), self.keepalive_s);
        }
        let socket = counter.hands.sockets.adopt_link(socket);
        self.bind(link, socket);
        if let Some(output) = counter.hands.sockets.output(socket) {
            output.extend_from_slice(&greeting);
            counter.hands.sockets.commit(socket);
        }
    }
}

/// What is left for tests to know of a protocol's number.
const _: () = assert!(Protocol::Resp2 as usize == 0 && Protocol::Resp3 as usize == 1);
