//! Sockets before and beside the ring: listening, options, addresses.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Listens on an address. An IPv6 listener takes IPv6 connections only, so that `bind * -::*` can have both.
///
/// # Errors
/// If the address is not ours or in use.
pub fn listen(address: SocketAddr, backlog: u32) -> io::Result<OwnedFd> {
    let domain = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: plain syscall without pointers.
    let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    let socket = own(fd)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    bind(&socket, address)?;
    start_listening(&socket, backlog)?;
    Ok(socket)
}

/// Listens on a unix socket; replaces a file of that name.
///
/// # Errors
/// If the file cannot be made.
pub fn listen_unix(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain syscall without pointers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    let socket = own(fd)?;
    // SAFETY: an all-zero sockaddr_un is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() >= address.sun_path.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path of a unix socket has 1 to 107 bytes"));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // SAFETY: `address` is valid and its size is passed along.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_un>() as libc::socklen_t) })?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    start_listening(&socket, backlog)?;
    Ok(socket)
}

/// Connects to an address, blocking.
///
/// # Errors
/// As `connect`.
pub fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

/// Begins to connect, from `source` if there is one and it can be had, else from wherever (Redis 7.0 `anet.c`
/// `anetTcpNonBlockBestEffortBindConnect`). The socket is non-blocking; once it can be written to, [`end_connect`] says
/// how it went.
///
/// # Errors
/// If the system refuses at once.
pub(crate) fn begin_connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let Some(source) = source else { return begin_connect_from(address, None) };
    begin_connect_from(address, Some(source)).or_else(|_| begin_connect_from(address, None))
}

fn begin_connect_from(address: SocketAddr, source: Option<IpAddr>) -> io::Result<OwnedFd> {
    let domain = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: plain syscall without pointers.
    let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    let socket = own(fd)?;
    if let Some(source) = source {
        // The port is chosen when both ends are known, so that the ports of one address serve many peers.
        set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        bind(&socket, SocketAddr::new(source, 0))?;
    }
    // SAFETY: `with_raw` passes an address with its size.
    match with_raw(address, |raw, len| check(unsafe { libc::connect(fd, raw, len) })) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// How [`begin_connect`] has ended. From here on the socket blocks.
///
/// # Errors
/// As `connect`.
pub(crate) fn end_connect(socket: OwnedFd) -> io::Result<OwnedFd> {
    let stream = TcpStream::from(socket);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.set_nonblocking(false)?;
    Ok(stream.into())
}

/// Sends small replies at once (TCP_NODELAY).
///
/// # Errors
/// If the connection is no TCP connection.
pub fn set_nodelay(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Probes a silent peer after `seconds`, then every third of that, three times (as Redis's `tcp-keepalive`).
///
/// # Errors
/// If the connection is no TCP connection.
pub fn set_keepalive(socket: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    let seconds = seconds.min(i32::MAX as u32) as c_int;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds)?;
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (seconds / 3).max(1))?;
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)
}

/// The addresses of both ends of a TCP connection: the peer's, then ours.
///
/// # Errors
/// If the connection is gone already, or is a unix socket.
pub fn addresses(socket: BorrowedFd<'_>) -> io::Result<(SocketAddr, SocketAddr)> {
    let stream = TcpStream::from(socket.try_clone_to_owned()?);
    Ok((stream.peer_addr()?, stream.local_addr()?))
}

/// The address that a listener is bound to.
///
/// # Errors
/// If it is no TCP listener.
pub fn listener_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    TcpListener::from(socket.try_clone_to_owned()?).local_addr()
}

/// Writes a farewell to a connection that is not taken, as far as it goes without waiting.
pub fn send_farewell(socket: BorrowedFd<'_>, text: &[u8]) {
    // SAFETY: the text is valid for its length. Whether the peer gets it does not matter.
    unsafe {
        libc::send(socket.as_raw_fd(), text.as_ptr().cast(), text.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    }
}

/// Whether an address belongs to this host's loopback.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn own(fd: c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_option(socket: &impl AsRawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: `value` is valid and its size is passed along.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    })
}

fn start_listening(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    // SAFETY: plain syscall without pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog.min(i32::MAX as u32) as c_int) })
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    // SAFETY: `with_raw` passes an address with its size.
    with_raw(address, |raw, len| check(unsafe { libc::bind(socket.as_raw_fd(), raw, len) }))
}

/// Passes an address on as the system wants it; the pointer is good for as long as the call takes.
fn with_raw<R>(address: SocketAddr, call: impl FnOnce(*const libc::sockaddr, libc::socklen_t) -> R) -> R {
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            call((&raw const raw).cast(), size_of_val(&raw) as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            call((&raw const raw).cast(), size_of_val(&raw) as libc::socklen_t)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn addresses_of_both_ends_are_told() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 5).unwrap();
        let address = listener_address(listener.as_fd()).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let (accepted, _) = TcpListener::from(listener).accept().unwrap();
        let (peer, ours) = addresses(accepted.as_fd()).unwrap();
        assert_eq!((peer, ours), (stream.local_addr().unwrap(), address));
        set_nodelay(accepted.as_fd()).unwrap();
        set_keepalive(accepted.as_fd(), 300).unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let first = listen("127.0.0.1:0".parse().unwrap(), 5).unwrap();
        let address = listener_address(first.as_fd()).unwrap();
        assert_eq!(listen(address, 5).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn mapped_addresses_count_as_loopback() {
        assert!(is_loopback("::ffff:127.0.0.1".parse().unwrap()));
        assert!(is_loopback("::1".parse().unwrap()));
        assert!(!is_loopback("10.0.0.1".parse().unwrap()));
    }
}
