//! Dials. Names are resolved on a thread, since that may take long.

use super::news::Bell;
use slotmesh_cluster::Host;
use slotmesh_io::Dials;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

/// What a resolver has found.
type Resolved<K> = Arc<Mutex<Vec<(K, Option<SocketAddr>)>>>;

/// Dials of one core that are under way, each under a key of its own.
#[derive(Debug)]
pub(crate) struct Dialler<K> {
    dials: Dials<K>,
    resolving: Vec<K>,
    resolved: Resolved<K>,
    bell: Bell,
    /// `bind-source-addr`.
    source: Option<IpAddr>,
}

impl<K: Copy + PartialEq + Send + 'static> Dialler<K> {
    pub(crate) fn new(bell: Bell) -> Self {
        Self { dials: Dials::default(), resolving: Vec::new(), resolved: Resolved::default(), bell, source: None }
    }

    /// The address that dials come from, from now on.
    pub(crate) fn set_source(&mut self, source: Option<IpAddr>) {
        self.source = source;
    }

    /// Dials; the outcome comes with [`take`](Self::take), unless [`give_up`](Self::give_up) comes first.
    pub(crate) fn dial(&mut self, link: K, host: &Host, port: u16) {
        match host {
            Host::V4(address) => self.dials.dial(link, SocketAddr::new(IpAddr::V4(*address), port), self.source),
            Host::V6(address) => self.dials.dial(link, SocketAddr::new(IpAddr::V6(*address), port), self.source),
            Host::Name(name) => self.resolve(link, name.to_string(), port),
        }
    }

    /// As a dial to an address that is none.
    pub(crate) fn fail(&mut self, link: K) {
        self.resolving.push(link);
        self.resolved.lock().expect("no holder panics").push((link, None));
        self.bell.ring();
    }

    /// A link is wanted no more.
    pub(crate) fn give_up(&mut self, link: K) {
        self.resolving.retain(|&other| other != link);
        self.dials.give_up(link);
    }

    /// The dials that have ended since the last call: the connection, or why there is none.
    pub(crate) fn take(&mut self) -> Vec<(K, io::Result<OwnedFd>)> {
        let mut failed = Vec::new();
        for (link, address) in std::mem::take(&mut *self.resolved.lock().expect("no holder panics")) {
            let Some(place) = self.resolving.iter().position(|&other| other == link) else { continue };
            self.resolving.swap_remove(place);
            match address {
                Some(address) => self.dials.dial(link, address, self.source),
                None => failed.push((link, Err(io::ErrorKind::NotFound.into()))),
            }
        }
        failed.extend(self.dials.take());
        failed
    }

    fn resolve(&mut self, link: K, name: String, port: u16) {
        let (resolved, bell) = (self.resolved.clone(), self.bell.clone());
        self.resolving.push(link);
        let tell = move |address| {
            resolved.lock().expect("no holder panics").push((link, address));
            bell.ring();
        };
        let failed = tell.clone();
        let body = move || {
            let found = (name.as_str(), port).to_socket_addrs().ok();
            tell(found.and_then(|mut addresses| addresses.next()));
        };
        if std::thread::Builder::new().name("resolver".to_owned()).spawn(body).is_err() {
            failed(None);
        }
    }
}
