//! Where a server listens.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A server's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A server to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    /// As the reports call it.
    pub(crate) name: String,
    pub(crate) address: Address,
    /// Its processes, whose CPU time is measured, all together.
    pub(crate) pids: Vec<u32>,
}

impl Endpoint {
    /// Reads `[name=]host:port[,pid=PID]`, or a path in place of host and port.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, pids) = match text.split_once(",pid=") {
            Some((text, pid)) => (text, vec![pid.parse().ok()?]),
            None => (text, Vec::new()),
        };
        let (name, place) = text.split_once('=').unwrap_or((text, text));
        if name.is_empty() || place.is_empty() {
            return None;
        }
        let address = if place.contains('/') {
            Address::Unix(place.into())
        } else {
            Address::Tcp(place.to_socket_addrs().ok()?.next()?)
        };
        Some(Self { name: name.to_owned(), address, pids })
    }

    /// A server of ours on the loopback.
    pub(crate) fn local(name: &str, port: u16, pid: u32) -> Self {
        Self { name: name.to_owned(), address: Address::Tcp(([127, 0, 0, 1], port).into()), pids: vec![pid] }
    }

    /// Connects, blocking.
    ///
    /// # Errors
    /// As `connect`.
    pub(crate) fn connect(&self) -> io::Result<OwnedFd> {
        match &self.address {
            Address::Tcp(address) => slotmesh_io::tcp::connect(*address),
            Address::Unix(path) => Ok(UnixStream::connect(path)?.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_names_addresses_and_processes() {
        let endpoint = Endpoint::parse("redis=127.0.0.1:6379,pid=42").unwrap();
        assert_eq!((endpoint.name.as_str(), &endpoint.pids[..]), ("redis", &[42][..]));
        assert_eq!(endpoint.address, Address::Tcp("127.0.0.1:6379".parse().unwrap()));
        let plain = Endpoint::parse("[::1]:7000").unwrap();
        assert_eq!((plain.name.as_str(), plain.pids.len()), ("[::1]:7000", 0));
        let unix = Endpoint::parse("ours=/tmp/slotmesh.sock").unwrap();
        assert_eq!(unix.address, Address::Unix("/tmp/slotmesh.sock".into()));
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for bad in ["", "=127.0.0.1:1", "a=", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:1,pid=x", "x=127.0.0.1:1,pid="]
        {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }
}
