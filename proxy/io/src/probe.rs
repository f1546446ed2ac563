//! The start-up probe: every operation and flag of the ring that we use is tried, so that a kernel that refuses
//! one is met with one clear line, not with a failure under load.
#![allow(unsafe_code)]

use crate::ReceiveBuffers;
use crate::kernel::Operation;
use crate::ring::Ring;
use io_uring::{opcode, types};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Why this machine cannot run the data loop, and what would mend it.
#[derive(Debug)]
pub enum Refusal {
    /// The kernel forbids rings by its sysctl.
    ForbiddenBySysctl {
        /// Value of `kernel.io_uring_disabled`.
        value: u8,
    },
    /// Something (seccomp, a container's policy) forbids the system call.
    Forbidden(io::Error),
    /// The kernel does not know rings, or not the flags that we use.
    KernelTooOld,
    /// The locked-memory limit is too small.
    LockedMemory,
    /// An operation does not work.
    Operation {
        /// Which.
        name: &'static str,
        /// How it failed.
        error: io::Error,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForbiddenBySysctl { value } => write!(
                f,
                "io_uring is disabled on this host (kernel.io_uring_disabled = {value}); enable it with: sysctl -w kernel.io_uring_disabled=0"
            ),
            Self::Forbidden(error) => write!(
                f,
                "io_uring is forbidden to this process ({error}), probably by a seccomp filter; in a container allow it, for Docker with: --security-opt seccomp=unconfined"
            ),
            Self::KernelTooOld => f.write_str("this kernel's io_uring is too old; Linux 6.1 or newer is needed"),
            Self::LockedMemory => f.write_str(
                "the limit of locked memory is too small for io_uring; raise it with: ulimit -l unlimited (or LimitMEMLOCK=infinity in a systemd unit)",
            ),
            Self::Operation { name, error } => write!(
                f,
                "io_uring's {name} does not work on this kernel ({error}); Linux 6.1 or newer is needed"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// Tries a ring with our flags, a buffer ring, and each operation of the data path once.
///
/// # Errors
/// What is refused, and what would mend it.
pub fn probe() -> Result<(), Refusal> {
    let mut ring = Ring::new().map_err(ring_refusal)?;
    let mut buffers = ReceiveBuffers::register(&ring).map_err(failed("provided buffer ring"))?;
    probe_stream(&mut ring, &mut buffers)?;
    probe_wake(&mut ring)?;
    probe_accept(&mut ring)
}

fn ring_refusal(error: io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => Refusal::KernelTooOld,
        Some(libc::ENOMEM) => Refusal::LockedMemory,
        Some(libc::EPERM | libc::EACCES) => {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
            match sysctl.trim().parse() {
                Ok(value) if value > 0 => Refusal::ForbiddenBySysctl { value },
                _ => Refusal::Forbidden(error),
            }
        }
        _ => Refusal::Operation { name: "setup", error },
    }
}

fn failed(name: &'static str) -> impl Fn(io::Error) -> Refusal {
    move |error| match error.raw_os_error() {
        Some(libc::ENOMEM) => Refusal::LockedMemory,
        _ => Refusal::Operation { name, error },
    }
}

/// Submits what is queued and gives the result of the completion tagged with `operation`.
fn await_result(ring: &mut Ring, operation: Operation, name: &'static str) -> Result<i32, Refusal> {
    for _ in 0..8 {
        ring.submit_and_wait(Some(Duration::from_millis(500)));
        while let Some(entry) = ring.completions().next() {
            if Operation::of(entry.user_data()) == operation {
                let result = entry.result();
                return if result < 0 { Err(failed(name)(io::Error::from_raw_os_error(-result))) } else { Ok(result) };
            }
        }
    }
    Err(failed(name)(io::Error::from(io::ErrorKind::TimedOut)))
}

/// A silent send that the other end's multishot receive gets.
fn probe_stream(ring: &mut Ring, buffers: &mut ReceiveBuffers) -> Result<(), Refusal> {
    let (here, there) = UnixStream::pair().map_err(failed("socket pair"))?;
    static WORD: &[u8] = b"probe";
    let receive = opcode::RecvMulti::new(types::Fd(there.as_raw_fd()), crate::buffers::GROUP).build();
    ring.push(&receive.user_data(Operation::Receive.tagged(0)));
    let send = opcode::Send::new(types::Fd(here.as_raw_fd()), WORD.as_ptr(), WORD.len() as u32)
        .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
        .build()
        .flags(io_uring::squeue::Flags::SKIP_SUCCESS)
        .user_data(Operation::SendArena.tagged(0));
    ring.push(&send);
    let received = await_result(ring, Operation::Receive, "multishot receive")?;
    if received as usize != WORD.len() {
        return Err(failed("multishot receive")(io::Error::from(io::ErrorKind::UnexpectedEof)));
    }
    buffers.give_back();
    let all = types::CancelBuilder::fd(types::Fd(there.as_raw_fd())).all();
    ring.push(&opcode::AsyncCancel2::new(all).build().user_data(Operation::Poll.tagged(0)));
    await_result(ring, Operation::Poll, "cancellation by descriptor").map(|_| ())
}

/// A message from the ring to itself.
fn probe_wake(ring: &mut Ring) -> Result<(), Refusal> {
    let message = opcode::MsgRingData::new(types::Fd(ring.fd()), 0, Operation::Wake.tagged(0), None);
    ring.push(&message.build().user_data(Operation::Ignored.tagged(0)));
    await_result(ring, Operation::Wake, "message between rings").map(|_| ())
}

/// A multishot accept of one connection.
fn probe_accept(ring: &mut Ring) -> Result<(), Refusal> {
    let name = "multishot accept";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed(name))?;
    let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
    ring.push(&accept.user_data(Operation::Accept.tagged(0)));
    ring.submit();
    let _client = std::net::TcpStream::connect(listener.local_addr().map_err(failed(name))?).map_err(failed(name))?;
    let fd = await_result(ring, Operation::Accept, name)?;
    // SAFETY: an accept's result is a new descriptor that nobody else owns.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_passes() {
        probe().unwrap();
    }

    #[test]
    fn refusals_name_the_command_that_mends_them() {
        let refusal = |code| ring_refusal(io::Error::from_raw_os_error(code)).to_string();
        assert!(refusal(libc::ENOMEM).contains("ulimit -l"));
        assert!(refusal(libc::ENOSYS).contains("6.1"));
        assert!(refusal(libc::EPERM).contains("seccomp") || refusal(libc::EPERM).contains("sysctl"));
    }
}
