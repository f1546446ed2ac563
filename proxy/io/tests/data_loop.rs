//! The data loop against real sockets: an echo that must return every byte in order, whatever the peer does.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod backend;

use slotmesh_io::{Backend, DataLoop, Event, Lane, Mail, Wait, mesh, run_core, tcp};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

backend::each! {
    many_connections_get_their_own_bytes_back_in_order
    a_reader_that_is_slow_or_half_closed_loses_nothing
    connections_that_vanish_under_load_harm_nobody
    tasks_of_the_control_plane_run_beside_the_loop
    cores_wake_each_other
    a_deadline_ends_the_wait
    loops_start_while_others_end
    a_corked_socket_sends_once_and_in_order
    what_is_held_leaves_when_it_is_let_go_and_not_before
}

const STOP: &[u8] = b"stop";

/// Bytes of a turn after which the echo sends without waiting for the turn's end.
const EARLY_SEND_BYTES: usize = 1 << 16;

/// Echoes until a connection sends `stop`; closes a connection when its peer has.
async fn echo(mut io: DataLoop<()>, listener: std::os::fd::OwnedFd) -> slotmesh_io::LoopStats {
    io.listen(listener, 7);
    let mut events = Vec::new();
    loop {
        io.turn(Wait::Forever, &mut events).await;
        for event in events.drain(..) {
            match event {
                Event::Accepted { socket, token } => {
                    assert_eq!(token, 7);
                    io.sockets.adopt(socket);
                }
                Event::Received { socket, chunk } => {
                    if io.input.read(chunk) == STOP {
                        return io.stats();
                    }
                    if let Some(output) = io.sockets.output(socket) {
                        output.extend_from_slice(io.input.read(chunk));
                        io.sockets.commit(socket);
                    }
                    if io.sockets.turn_bytes() > EARLY_SEND_BYTES {
                        io.send_now();
                    }
                }
                Event::Ended { socket, .. } => io.sockets.close_when_sent(socket),
                Event::AcceptFailed { error, .. } => panic!("{error}"),
                Event::Readable { .. } | Event::File(_) => unreachable!("nothing is polled, no file is written"),
            }
        }
    }
}

fn start_echo(backend: Backend) -> (SocketAddr, std::thread::JoinHandle<slotmesh_io::LoopStats>) {
    let listener = tcp::listen("127.0.0.1:0".parse().unwrap(), 128).unwrap();
    let address = tcp::listener_address(listener.as_fd()).unwrap();
    let mail = mesh::<()>(1).pop().unwrap();
    (address, std::thread::spawn(move || run_core(backend, mail, |io| echo(io, listener)).unwrap()))
}

fn stop(address: SocketAddr, server: std::thread::JoinHandle<slotmesh_io::LoopStats>) -> slotmesh_io::LoopStats {
    TcpStream::connect(address).unwrap().write_all(STOP).unwrap();
    server.join().unwrap()
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + seed * 17) >> 3) as u8).collect()
}

fn many_connections_get_their_own_bytes_back_in_order(backend: Backend) {
    let (address, server) = start_echo(backend);
    let mut streams: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    for round in 0..20 {
        let bytes: Vec<_> = (0..streams.len()).map(|n| pattern(n + round, 1 + n * 37 + round)).collect();
        streams.iter_mut().zip(&bytes).for_each(|(stream, bytes)| stream.write_all(bytes).unwrap());
        for (stream, bytes) in streams.iter_mut().zip(&bytes) {
            let mut back = vec![0; bytes.len()];
            stream.read_exact(&mut back).unwrap();
            assert!(back == *bytes);
        }
    }
    let stats = stop(address, server);
    // One for each turn, and one for each early send: a slow machine has fewer turns with more in each.
    let early = stats.sent_bytes / EARLY_SEND_BYTES as u64;
    assert!(stats.enters <= stats.turns + early, "{stats:?}");
}

fn a_reader_that_is_slow_or_half_closed_loses_nothing(backend: Backend) {
    let (address, server) = start_echo(backend);
    let bytes = pattern(3, 24 << 20);
    let mut stream = TcpStream::connect(address).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let sent = bytes.clone();
    // The whole request is written, and the sending side closed, before the first byte is read back.
    std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    })
    .join()
    .unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back.len(), bytes.len());
    assert!(back == bytes);
    // Whatever went out at once and whatever had to wait is counted once.
    assert_eq!(stop(address, server).sent_bytes, bytes.len() as u64);
}

fn connections_that_vanish_under_load_harm_nobody(backend: Backend) {
    let (address, server) = start_echo(backend);
    let mut faithful = TcpStream::connect(address).unwrap();
    for round in 0..300 {
        let mut stream = TcpStream::connect(address).unwrap();
        // More than the socket buffers hold, never read: a send is in flight when the connection goes.
        stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = stream.write_all(&pattern(round, if round % 10 == 0 { 8 << 20 } else { 50_000 }));
        drop(stream);
        let bytes = pattern(round, 5000);
        faithful.write_all(&bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        faithful.read_exact(&mut back).unwrap();
        assert!(back == bytes);
    }
    stop(address, server);
}

fn tasks_of_the_control_plane_run_beside_the_loop(backend: Backend) {
    let (address, server) = {
        let listener = tcp::listen("127.0.0.1:0".parse().unwrap(), 128).unwrap();
        let address = tcp::listener_address(listener.as_fd()).unwrap();
        let control = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let control_address = control.local_addr().unwrap();
        let mail = mesh::<()>(1).pop().unwrap();
        let server = std::thread::spawn(move || {
            run_core(backend, mail, |io| {
                slotmesh_io::spawn_control(async move {
                    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
                    control.set_nonblocking(true).unwrap();
                    let listener = monoio::net::TcpListener::from_std(control).unwrap();
                    while let Ok((mut stream, _)) = listener.accept().await {
                        let (read, bytes) = stream.read(vec![0; 100]).await;
                        let mut bytes = bytes;
                        bytes.truncate(read.unwrap());
                        bytes.reverse();
                        stream.write_all(bytes).await.0.unwrap();
                    }
                });
                echo(io, listener)
            })
            .unwrap()
        });
        ((address, control_address), server)
    };
    let (address, control_address) = address;
    let mut data = TcpStream::connect(address).unwrap();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(control_address).unwrap();
        stream.write_all(b"abc").unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"cba");
        data.write_all(b"data").unwrap();
        let mut back = [0; 4];
        data.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"data");
    }
    stop(address, server);
}

/// Passes a number to and fro between two cores; each sleeps while it has nothing to do.
async fn ping_pong(
    mut io: DataLoop<()>,
    peer: usize,
    rounds: u32,
    starts: bool,
    spins: bool,
) -> HashMap<&'static str, u64> {
    io.spins = spins;
    let mut events = Vec::new();
    let mut seen = 0;
    if starts {
        io.mail.reserve(peer, Lane::Requests, 4).unwrap().copy_from_slice(&0u32.to_le_bytes());
    }
    while seen < rounds {
        io.turn(Wait::Forever, &mut events).await;
        while let Some(number) =
            io.mail.receive(peer, Lane::Requests, |record| u32::from_le_bytes(record.try_into().unwrap()))
        {
            seen += 1;
            io.mail.reserve(peer, Lane::Requests, 4).unwrap().copy_from_slice(&(number + 1).to_le_bytes());
        }
    }
    // The last answer must still be published.
    io.turn(Wait::No, &mut events).await;
    HashMap::from([("wakes", io.stats().wakes), ("seen", u64::from(seen))])
}

fn cores_wake_each_other(backend: Backend) {
    for spins in [false, true] {
        let rounds = 5000;
        let mut mails = mesh::<()>(2);
        let (b, a): (Mail<()>, Mail<()>) = (mails.pop().unwrap(), mails.pop().unwrap());
        let other =
            std::thread::spawn(move || run_core(backend, b, |io| ping_pong(io, 0, rounds, false, spins)).unwrap());
        let first = run_core(backend, a, |io| ping_pong(io, 1, rounds, true, spins)).unwrap();
        let second = other.join().unwrap();
        assert_eq!((first["seen"], second["seen"]), (u64::from(rounds), u64::from(rounds)));
        if !spins {
            assert!(first["wakes"] > 0 && second["wakes"] > 0);
        }
    }
}

fn a_deadline_ends_the_wait(backend: Backend) {
    let mail = mesh::<()>(1).pop().unwrap();
    run_core(backend, mail, |mut io| async move {
        let start = slotmesh_io::clock::monotonic_nanos();
        // The first turns serve the control plane.
        for _ in 0..3 {
            io.turn(Wait::Until(start + 30_000_000), &mut Vec::new()).await;
        }
        while slotmesh_io::clock::monotonic_nanos() < start + 30_000_000 {
            io.turn(Wait::Until(start + 30_000_000), &mut Vec::new()).await;
        }
        assert!(io.stats().turns < 20, "the loop sleeps until the deadline");
    })
    .unwrap();
}

/// A descriptor that closes while a runtime is built must not hide the runtime's own.
fn loops_start_while_others_end(backend: Backend) {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..20 {
                    let mail = mesh::<()>(1).pop().unwrap();
                    run_core(backend, mail, |mut io| async move { io.turn(Wait::No, &mut Vec::new()).await }).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_corked_socket_sends_once_and_in_order(backend: Backend) {
    let mail = mesh::<()>(1).pop().unwrap();
    run_core(backend, mail, |mut io| async move {
        let (mut sockets, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            sockets.push(io.sockets.adopt(ours.into()));
            peers.push(theirs);
        }
        let write = |io: &mut DataLoop<()>, of: usize, text: &[u8]| {
            io.sockets.output(sockets[of]).unwrap().extend_from_slice(text);
            io.sockets.commit(sockets[of]);
        };
        // Written before the cork, between others' bytes and after them.
        write(&mut io, 0, b"one ");
        write(&mut io, 1, b"other ");
        write(&mut io, 0, b"two ");
        io.sockets.cork(sockets[0]);
        write(&mut io, 0, b"three ");
        write(&mut io, 1, b"again ");
        io.turn(Wait::No, &mut Vec::new()).await;
        write(&mut io, 0, b"four ");
        io.turn(Wait::No, &mut Vec::new()).await;
        let mut buffer = [0; 100];
        assert_eq!(peers[0].read(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        let read = peers[1].read(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"other again ");
        io.sockets.uncork(sockets[0]);
        write(&mut io, 0, b"five");
        io.turn(Wait::No, &mut Vec::new()).await;
        let read = peers[0].read(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"one two three four five");
        // What is kept back goes out before the socket closes.
        io.sockets.cork(sockets[0]);
        write(&mut io, 0, b"last");
        io.sockets.close_when_sent(sockets[0]);
        io.turn(Wait::No, &mut Vec::new()).await;
        let read = peers[0].read(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"last");
    })
    .unwrap();
}

fn what_is_held_leaves_when_it_is_let_go_and_not_before(backend: Backend) {
    let mail = mesh::<()>(1).pop().unwrap();
    run_core(backend, mail, |mut io| async move {
        let (mut sockets, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            sockets.push(io.sockets.adopt(ours.into()));
            peers.push(theirs);
        }
        let write = |io: &mut DataLoop<()>, of: usize, text: &[u8]| {
            io.sockets.output(sockets[of]).unwrap().extend_from_slice(text);
            io.sockets.commit(sockets[of]);
        };
        let mut buffer = [0; 100];
        let mut held = Vec::new();
        (0..3).for_each(|of| write(&mut io, of, b"one "));
        io.sockets.cork(sockets[2]);
        io.sockets.hold_turn(|id| id != sockets[1], &mut held);
        assert_eq!(held, [(sockets[0], 4)], "one is not wanted, and one is not about to be sent");
        io.turn(Wait::No, &mut Vec::new()).await;
        assert_eq!(peers[0].read(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(peers[1].read(&mut buffer).unwrap(), 4);
        // What has come behind it needs a hold of its own; what is corked is held when it is uncorked.
        write(&mut io, 0, b"two ");
        io.sockets.uncork(sockets[2]);
        io.sockets.hold_turn(|_| true, &mut held);
        assert_eq!(held, [(sockets[0], 4), (sockets[2], 4)]);
        assert_eq!(io.sockets.let_go(sockets[0], 4), Some(8));
        io.sockets.cork(sockets[2]);
        assert_eq!(io.sockets.let_go(sockets[2], 4), None);
        io.turn(Wait::No, &mut Vec::new()).await;
        for peer in [0, 2] {
            assert_eq!(peers[peer].read(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
        io.sockets.uncork(sockets[2]);
        // Who closes waits for it.
        io.sockets.close_when_sent(sockets[0]);
        io.turn(Wait::No, &mut Vec::new()).await;
        assert_eq!(peers[0].read(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(io.sockets.let_go(sockets[0], 8), None);
        io.turn(Wait::No, &mut Vec::new()).await;
        io.turn(Wait::No, &mut Vec::new()).await;
        assert_eq!((peers[0].read(&mut buffer).unwrap(), &buffer[..8]), (8, &b"one two "[..]));
        assert_eq!(peers[0].read(&mut buffer).unwrap(), 0, "it is closed");
        assert_eq!(peers[2].read(&mut buffer).unwrap(), 4);
        // Bytes behind a send that is under way.
        let large = vec![b'x'; 1 << 22];
        write(&mut io, 1, &large);
        io.turn(Wait::No, &mut Vec::new()).await;
        io.turn(Wait::No, &mut Vec::new()).await;
        write(&mut io, 1, b"end");
        held.clear();
        io.sockets.hold_turn(|_| true, &mut held);
        assert_eq!(held, [(sockets[1], 3)]);
        let (mut read, mut room) = (0, vec![0; 1 << 20]);
        let mut quiet = 0;
        while quiet < 50 {
            io.turn(Wait::No, &mut Vec::new()).await;
            match peers[1].read(&mut room) {
                Ok(count) => (read, quiet) = (read + count, 0),
                Err(_) => quiet += 1,
            }
        }
        assert_eq!(read, large.len());
        assert_eq!(io.sockets.let_go(sockets[1], 3), None);
        io.turn(Wait::No, &mut Vec::new()).await;
        assert_eq!((peers[1].read(&mut buffer).unwrap(), &buffer[..3]), (3, &b"end"[..]));
    })
    .unwrap();
}
