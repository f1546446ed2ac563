//! Who watches over the process: systemd (`sd_notify(3)`'s datagrams), upstart, or nobody.

use crate::log::Log;
use slotmesh_io::process as os;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The watcher.
#[derive(Clone, Debug)]
pub(crate) enum Supervisor {
    /// Nobody.
    Nobody,
    /// Upstart was told, by stopping.
    Upstart,
    /// Systemd, at this socket.
    Systemd(SocketAddr),
}

impl Supervisor {
    /// Finds the watcher that `supervised` names, in the variables that it leaves for us. Reference: `redisIsSupervised`.
    pub(crate) fn find(mode: &str, log: &Log) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let (upstart, socket) = (variable("UPSTART_JOB"), variable("NOTIFY_SOCKET"));
        match mode {
            "upstart" | "auto" if upstart.is_some() => {
                log.notice(format_args!("supervised by upstart, will stop to signal readiness."));
                os::stop_self();
                Self::Upstart
            }
            "upstart" => {
                log.warning(format_args!("upstart supervision requested, but UPSTART_JOB not found!"));
                Self::Nobody
            }
            "systemd" | "auto" => match socket {
                Some(name) => Self::systemd(&name, log),
                None if mode == "auto" => Self::Nobody,
                None => {
                    log.warning(format_args!("systemd supervision requested, but NOTIFY_SOCKET not found!"));
                    Self::Nobody
                }
            },
            _ => Self::Nobody,
        }
    }

    /// A leading `@` stands for the zero byte of an abstract name.
    fn systemd(name: &OsString, log: &Log) -> Self {
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
            _ => SocketAddr::from_pathname(name),
        };
        match address {
            Ok(address) => {
                log.notice(format_args!("supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and TimeoutStopSec in your service unit."));
                Self::Systemd(address)
            }
            Err(error) => {
                log.warning(format_args!("NOTIFY_SOCKET cannot be used: {error}"));
                Self::Nobody
            }
        }
    }

    /// Whether somebody watches: then the process stays in the foreground.
    pub(crate) fn watches(&self) -> bool {
        !matches!(self, Self::Nobody)
    }

    /// The process serves.
    pub(crate) fn ready(&self) {
        self.tell("STATUS=Ready to accept connections\nREADY=1\n");
    }

    /// The process is about to end.
    pub(crate) fn stopping(&self) {
        self.tell("STATUS=Stopping\nSTOPPING=1\n");
    }

    /// A watcher that does not listen is its own business.
    fn tell(&self, text: &str) {
        if let Self::Systemd(address) = self
            && let Ok(socket) = UnixDatagram::unbound()
        {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}
