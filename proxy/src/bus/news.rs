//! How threads that are no cores tell a core that something is ready.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Rings at the core.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<UnixStream>);

impl Bell {
    /// Wakes the core. A bell that cannot ring any more has rung before.
    pub(crate) fn ring(&self) {
        let _ = (&*self.0).write(&[1]);
    }
}

/// Where the core hears the bell.
#[derive(Debug)]
pub(crate) struct BellEnd(UnixStream);

impl BellEnd {
    /// What the data loop polls.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Takes what has rung.
    pub(crate) fn hush(&mut self) {
        let mut rings = [0; 64];
        while self.0.read(&mut rings).is_ok_and(|count| count == rings.len()) {}
    }
}

/// A bell and the place where it is heard.
///
/// # Errors
/// If there are no descriptors left.
pub(crate) fn bell() -> io::Result<(Bell, BellEnd)> {
    let (ours, end) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    end.set_nonblocking(true)?;
    Ok((Bell(Arc::new(ours)), BellEnd(end)))
}
