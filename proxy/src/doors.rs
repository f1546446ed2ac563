//! What the process listens on: opened at the start, and anew when CONFIG SET changes `bind` or `port`.

use crate::log::Log;
use slotmesh_conf::{Settings, directive};
use slotmesh_io::{process as os, tcp};
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// An address that cannot be listened on.
#[derive(Debug)]
pub(crate) struct CannotListen {
    /// The address in words.
    pub(crate) place: String,
    /// Why.
    pub(crate) error: io::Error,
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failed listening on {}: {}", self.place, self.error)
    }
}

/// Listens on all addresses of `bind` at a port; on none if it is 0.
///
/// # Errors
/// The first address that cannot be listened on, unless it may be missing and is.
pub(crate) fn listen_tcp(settings: &Settings, port: u16, log: &Log) -> Result<Vec<OwnedFd>, CannotListen> {
    let backlog = settings.value(directive::TCP_BACKLOG) as u32;
    let mut listeners = Vec::new();
    if port == 0 {
        return Ok(listeners);
    }
    for written in settings.value(directive::BIND) {
        let (name, may_fail) = match written.strip_prefix('-') {
            Some(name) => (name, true),
            None => (written.as_str(), false),
        };
        match listen_on(name, port, backlog) {
            Ok(listener) => listeners.push(listener),
            // An optional address may be missing on this host; that it is taken by another is an error.
            Err(error) if may_fail && is_missing_address(&error) => {
                log.verbose(format_args!("Not listening on {name}:{port}: {error}"));
            }
            Err(error) => return Err(CannotListen { place: format!("port {port} (tcp) of {name}"), error }),
        }
    }
    Ok(listeners)
}

fn listen_on(name: &str, port: u16, backlog: u32) -> io::Result<OwnedFd> {
    let host = match name {
        "*" => "0.0.0.0",
        "::*" => "::",
        other => other,
    };
    let address: SocketAddr = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))?;
    tcp::listen(address, backlog)
}

fn is_missing_address(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    matches!(error.kind(), AddrNotAvailable | Unsupported) || error.raw_os_error() == Some(os::EAFNOSUPPORT)
}

/// Listens on the unix socket, if there shall be one.
///
/// # Errors
/// If it cannot be listened on.
pub(crate) fn listen_unix(settings: &Settings) -> Result<Option<OwnedFd>, CannotListen> {
    let path = settings.value(directive::UNIXSOCKET);
    if path.is_empty() {
        return Ok(None);
    }
    let mode = settings.value(directive::UNIXSOCKETPERM);
    let backlog = settings.value(directive::TCP_BACKLOG) as u32;
    tcp::listen_unix(Path::new(path), (mode != 0).then_some(mode), backlog)
        .map(Some)
        .map_err(|error| CannotListen { place: format!("{path} (unix)"), error })
}

/// The gateway's TCP listeners, as whoever changes the settings sees them: the core that accepts has them, we have
/// duplicates.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    state: Mutex<State>,
    /// Whether there are listeners that the accepting core has not taken.
    is_waiting: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<OwnedFd>,
    waiting: Option<Vec<OwnedFd>>,
}

impl Doors {
    /// Remembers what the process listens on at its start.
    pub(crate) fn note(&self, listeners: &[OwnedFd]) {
        self.state.lock().expect("no holder panics").open = duplicates(listeners);
    }

    /// Closes the doors and opens them where `new` says; where that fails, where they were.
    ///
    /// # Errors
    /// The first address that cannot be listened on; what could be is undone.
    pub(crate) fn open_anew(&self, old: &Settings, new: &Settings, log: &Log) -> Result<(), CannotListen> {
        let mut state = self.state.lock().expect("no holder panics");
        // First, as an address may be the same, or lie within one that is there.
        state.open.drain(..).for_each(close);
        let opened = listen_tcp(new, new.value(directive::PORT), log);
        let (listeners, outcome) = match opened {
            Ok(listeners) => (listeners, Ok(())),
            Err(error) => match listen_tcp(old, old.value(directive::PORT), log) {
                Ok(listeners) => (listeners, Err(error)),
                Err(again) => {
                    log.warning(format_args!("{again}; nobody can connect by TCP until CONFIG SET names an address"));
                    (Vec::new(), Err(error))
                }
            },
        };
        state.open = duplicates(&listeners);
        state.waiting = Some(listeners);
        self.is_waiting.store(true, Ordering::Release);
        outcome
    }

    /// What the accepting core shall accept on from now on instead of what it has, if that has changed.
    pub(crate) fn take(&self) -> Option<Vec<OwnedFd>> {
        if !self.is_waiting.load(Ordering::Acquire) {
            return None;
        }
        self.await_change()
    }

    /// The same, behind a change that is under way.
    pub(crate) fn await_change(&self) -> Option<Vec<OwnedFd>> {
        let mut state = self.state.lock().expect("no holder panics");
        self.is_waiting.store(false, Ordering::Release);
        state.waiting.take()
    }
}

fn duplicates(listeners: &[OwnedFd]) -> Vec<OwnedFd> {
    listeners.iter().filter_map(|listener| listener.try_clone().ok()).collect()
}

/// Frees the address at once, whoever else has the socket.
fn close(listener: OwnedFd) {
    let _ = TcpStream::from(listener).shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn settings(bind: &str, port: u16) -> Settings {
        let mut settings = Settings::default();
        settings.set(&[("bind", bind), ("port", &port.to_string())]).unwrap();
        settings
    }

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn doors_open_elsewhere_or_stay() {
        let log = Log::open(&settings("127.0.0.1", 0)).unwrap();
        let (first, second, taken) = (free_port(), free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (old, new) = (settings("127.0.0.1", first), settings("127.0.0.1", second));
        let doors = Doors::default();
        let listeners = listen_tcp(&old, first, &log).unwrap();
        doors.note(&listeners);
        assert!(doors.take().is_none());
        doors.open_anew(&old, &new, &log).unwrap();
        let opened = doors.take().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", second)).is_ok());
        assert!(TcpStream::connect(("127.0.0.1", first)).is_err(), "although the core still has the old listener");
        // A wider address at the same port.
        let wide = settings("*", second);
        doors.open_anew(&new, &wide, &log).unwrap();
        drop((listeners, opened));
        let opened = doors.take().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", second)).is_ok());
        let busy = settings("127.0.0.1", taken.local_addr().unwrap().port());
        let error = doors.open_anew(&wide, &busy, &log).unwrap_err();
        assert!(error.to_string().contains("Address already in use"), "{error}");
        assert!(TcpStream::connect(("127.0.0.1", second)).is_ok(), "open where they were");
        assert_eq!(doors.take().map(|listeners| listeners.len()), Some(opened.len()));
    }
}
