//! Accepting connections and dealing them evenly to the cores.

use crate::client::Connection;
use crate::engine::{Engine, Hands};
use crate::hop::{self, Parcel};
use crate::scatter::announce_parcel;
use slotmesh_base::ReplyError;
use slotmesh_conf::directive;
use slotmesh_io::{DataLoop, Lane, process, tcp};
use slotmesh_shard::{Client, ShutdownWish, Tracker};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// Token of the TCP listeners.
const TCP: u32 = 0;
/// Token of the unix socket's listener.
const UNIX: u32 = 1;
/// Token of the signals' descriptor.
const SIGNALS: u32 = 2;
/// Token of the listeners of a core's own shard.
pub(crate) const NODE: u32 = 3;

/// Accepts for all cores; lives on core 0.
#[derive(Debug)]
pub(crate) struct Dealer {
    tcp: Vec<OwnedFd>,
    unix: Option<OwnedFd>,
    signals: OwnedFd,
    /// Where to look first for the core with the fewest clients, so that equals take turns.
    next: usize,
    /// Listeners that could not accept and shall try again.
    failed: Vec<u32>,
}

impl Dealer {
    pub(crate) fn new(tcp: Vec<OwnedFd>, unix: Option<OwnedFd>, signals: OwnedFd) -> Self {
        Self { tcp, unix, signals, next: 0, failed: Vec::new() }
    }

    /// Starts to accept and to listen for signals.
    pub(crate) fn start(&mut self, io: &mut DataLoop<Parcel>) {
        self.tcp.drain(..).for_each(|listener| io.listen(listener, TCP));
        if let Some(listener) = self.unix.take() {
            io.listen(listener, UNIX);
        }
        io.poll_readable(self.signals.as_fd(), SIGNALS);
    }

    /// Gives a new connection to the core with the fewest clients.
    pub(crate) fn deal(&mut self, io: &mut DataLoop<Parcel>, engine: &mut Engine, socket: OwnedFd, token: u32) {
        if let Some(error) = refusal(engine, &socket, token == TCP) {
            let text = format!("-{error}\r\n");
            tcp::send_farewell(socket.as_fd(), text.as_bytes());
            engine.process.rejected.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let boards = &engine.process.boards;
        let clients = |core: usize| boards[core].clients.load(Ordering::Relaxed);
        let order = (0..boards.len()).map(|step| (self.next + step) % boards.len());
        let mut core = order.min_by_key(|&core| clients(core)).expect("there is a core");
        let own = usize::from(engine.core);
        let announcement = hop::request_len(std::iter::empty());
        if core != own && !io.mail.has_room(core, Lane::Requests, 1, announcement) {
            core = own;
        }
        self.next = core + 1;
        boards[core].clients.fetch_add(1, Ordering::Relaxed);
        let unix_socket = token == UNIX;
        if core == own {
            adopt(io, engine, socket, unix_socket);
        } else {
            io.mail.put_parcel(core, Lane::Requests, Parcel::Connection { socket, unix_socket });
            announce_parcel(&mut io.mail, core);
        }
    }

    /// Accepts where the settings say now, if that has changed.
    pub(crate) fn follow(&mut self, io: &mut DataLoop<Parcel>, listeners: Vec<OwnedFd>) {
        io.stop_listening_as(TCP);
        self.failed.retain(|&token| token != TCP);
        listeners.into_iter().for_each(|listener| io.listen(listener, TCP));
    }

    /// A listener could not accept; it tries again at the next [`retry`](Self::retry).
    pub(crate) fn note_failure(&mut self, io: &mut DataLoop<Parcel>, engine: &Engine, token: u32, error: &io::Error) {
        // It was closed, since the doors are opened elsewhere.
        if token == TCP
            && let Some(listeners) = engine.process.doors.await_change()
        {
            return self.follow(io, listeners);
        }
        engine.process.log.warning(format_args!("Accepting client connection: {error}"));
        if !self.failed.contains(&token) {
            self.failed.push(token);
        }
    }

    /// Accepts again after failures.
    pub(crate) fn retry(&mut self, io: &mut DataLoop<Parcel>) {
        self.failed.drain(..).for_each(|token| io.listen_again(token));
    }

    /// Whether a signal asks the process to stop; tells the other cores.
    pub(crate) fn stop_requested(&mut self, io: &mut DataLoop<Parcel>, engine: &mut Engine) -> bool {
        let Some(signal) = process::take_signal(&self.signals) else {
            io.poll_readable(self.signals.as_fd(), SIGNALS);
            return false;
        };
        let (name, wishes) = match signal {
            process::SIGINT => ("SIGINT", directive::SHUTDOWN_ON_SIGINT),
            _ => ("SIGTERM", directive::SHUTDOWN_ON_SIGTERM),
        };
        engine.process.log.warning(format_args!("Received {name} scheduling shutdown..."));
        let settings = engine.process.settings();
        let wants = |word: &str| settings.value(wishes).iter().any(|wish| wish == word);
        let has_points = !settings.value(directive::SAVE).is_empty();
        let wish = ShutdownWish {
            saves: wants("save") || has_points && !wants("nosave"),
            waits: !wants("now"),
            forces: wants("force"),
        };
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        match engine.process.closing.is_begun() {
            false => engine.shut_down(&mut hands, wish),
            // Who asks again does not want to wait for others. Data are saved nevertheless.
            true if !engine.process.closing.is_saving() => engine.begin_last_saves(&mut hands),
            true if signal == process::SIGINT => {
                engine.process.log.warning(format_args!("You insist... exiting now."));
                engine.process.stop();
                engine.wake_all(&mut hands);
            }
            true => {}
        }
        io.poll_readable(self.signals.as_fd(), SIGNALS);
        engine.process.is_stopping()
    }
}

/// Why a connection is not taken, if it is not.
pub(crate) fn refusal(engine: &Engine, socket: &OwnedFd, is_tcp: bool) -> Option<ReplyError> {
    if engine.process.clients() >= u64::from(engine.hot.maxclients) {
        return Some(ReplyError::MaxClients);
    }
    let is_open = engine.hot.protected_mode && engine.hot.requirepass.is_none();
    if is_tcp && is_open {
        let is_local = tcp::addresses(socket.as_fd()).is_ok_and(|(peer, _)| tcp::is_loopback(peer.ip()));
        return (!is_local).then_some(ReplyError::ProtectedMode);
    }
    None
}

/// Serves a connection on this core; its place.
pub(crate) fn adopt(io: &mut DataLoop<Parcel>, engine: &mut Engine, socket: OwnedFd, unix_socket: bool) -> u32 {
    let mut client = Client::new(engine.process.next_client(), engine.now);
    client.fd = socket.as_raw_fd();
    client.authenticated = engine.hot.requirepass.is_none();
    client.unix_socket = unix_socket;
    if unix_socket {
        let path = engine.settings.value(directive::UNIXSOCKET);
        client.address = format!("{path}:0");
        client.local_address = client.address.clone();
    } else {
        // A connection that is gone already shows itself at the first receive.
        if let Ok((peer, ours)) = tcp::addresses(socket.as_fd()) {
            client.address = peer.to_string();
            client.local_address = ours.to_string();
        }
        let _ = tcp::set_nodelay(socket.as_fd());
        if engine.hot.tcp_keepalive_s > 0 {
            let _ = tcp::set_keepalive(socket.as_fd(), engine.hot.tcp_keepalive_s);
        }
    }
    let id = io.sockets.adopt(socket);
    client.tracker = Tracker { core: engine.core, connection: id.index, generation: id.generation };
    engine.process.roster.enter(client.id, engine.core, id);
    engine.counters.connections += 1;
    engine.adopt(id, Connection::new(id, client));
    id.index
}
