//! The port of a core's shard, where clients come to it as to a node of the cluster. They stay on its core.

use crate::engine::Engine;
use crate::hop::Parcel;
use crate::listener::{NODE, adopt, refusal};
use slotmesh_io::{DataLoop, tcp};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

/// What a shard listens on.
#[derive(Debug, Default)]
pub(crate) struct NodePort {
    listeners: Vec<OwnedFd>,
    /// Whether one of them could not accept and shall try again.
    has_failed: bool,
}

impl NodePort {
    pub(crate) fn new(listeners: Vec<OwnedFd>) -> Self {
        Self { listeners, has_failed: false }
    }

    /// Starts to accept.
    pub(crate) fn start(&mut self, io: &mut DataLoop<Parcel>) {
        self.listeners.drain(..).for_each(|listener| io.listen(listener, NODE));
    }

    /// Serves a new connection, or refuses it.
    pub(crate) fn take(io: &mut DataLoop<Parcel>, engine: &mut Engine, socket: OwnedFd) {
        if let Some(error) = refusal(engine, &socket, true) {
            tcp::send_farewell(socket.as_fd(), format!("-{error}\r\n").as_bytes());
            engine.process.rejected.fetch_add(1, Ordering::Relaxed);
            return;
        }
        engine.process.boards[usize::from(engine.core)].clients.fetch_add(1, Ordering::Relaxed);
        let index = adopt(io, engine, socket, false);
        if let Some(connection) = engine.connection(index) {
            connection.client.is_at_node = true;
        }
    }

    /// A listener could not accept; it tries again at the next [`retry`](Self::retry).
    pub(crate) fn note_failure(&mut self, engine: &Engine, error: &io::Error) {
        engine.process.log.warning(format_args!("Accepting client connection: {error}"));
        self.has_failed = true;
    }

    /// Accepts again after failures.
    pub(crate) fn retry(&mut self, io: &mut DataLoop<Parcel>) {
        if std::mem::take(&mut self.has_failed) {
            io.listen_again(NODE);
        }
    }
}
