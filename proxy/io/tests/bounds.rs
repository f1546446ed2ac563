//! What bounds a socket of the data loop: pausing, listeners that stop, peers that take nothing.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod backend;

use slotmesh_io::{Backend, DataLoop, Event, Wait, clock, mesh, run_core, tcp};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

backend::each! {
    the_last_word_of_a_turn_decides_whether_a_socket_is_read
    a_socket_that_is_handed_out_serves_elsewhere
    a_listener_that_goes_on_is_not_started_again_with_those_that_stopped
    a_peer_that_takes_nothing_cannot_keep_its_closed_socket
    whom_nobody_listens_to_does_not_keep_the_loop_awake
    those_who_send_much_do_not_hold_up_who_sends_little
    a_descriptor_is_reported_once_for_each_poll
    a_place_that_is_used_again_is_as_good_as_new
}

/// Runs a loop's body on a thread with rings of its own.
fn with_loop<F: Future<Output = ()>>(backend: Backend, body: impl FnOnce(DataLoop<()>) -> F) {
    run_core(backend, mesh::<()>(1).pop().unwrap(), body).unwrap();
}

fn pair() -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0.into())
}

/// Turns for this many milliseconds; what happened.
async fn events_within(io: &mut DataLoop<()>, millis: u64) -> Vec<String> {
    let until = clock::monotonic_nanos() + millis * 1_000_000;
    let (mut events, mut seen) = (Vec::new(), Vec::new());
    while clock::monotonic_nanos() < until {
        io.turn(Wait::Until(until), &mut events).await;
        seen.extend(events.drain(..).map(|event| match event {
            Event::Received { chunk, .. } => String::from_utf8_lossy(io.input.read(chunk)).into_owned(),
            Event::AcceptFailed { .. } => "accept failed".to_owned(),
            other => format!("{other:?}"),
        }));
    }
    seen
}

fn the_last_word_of_a_turn_decides_whether_a_socket_is_read(backend: Backend) {
    with_loop(backend, async |mut io| {
        let (mut client, server) = pair();
        let socket = io.sockets.adopt(server);
        events_within(&mut io, 1).await;
        io.sockets.pause(socket);
        events_within(&mut io, 20).await;
        io.sockets.resume(socket);
        io.sockets.pause(socket);
        client.write_all(b"a").unwrap();
        assert!(events_within(&mut io, 50).await.is_empty(), "paused");
        io.sockets.resume(socket);
        assert_eq!(events_within(&mut io, 50).await, ["a"]);
        io.sockets.pause(socket);
        io.sockets.resume(socket);
        client.write_all(b"b").unwrap();
        assert_eq!(events_within(&mut io, 50).await, ["b"]);
    });
}

fn a_socket_that_is_handed_out_serves_elsewhere(backend: Backend) {
    with_loop(backend, async |mut io| {
        let (mut client, server) = pair();
        let socket = io.sockets.adopt(server);
        client.write_all(b"a").unwrap();
        assert_eq!(events_within(&mut io, 50).await, ["a"]);
        io.sockets.hand_out(socket);
        assert!(events_within(&mut io, 50).await.is_empty(), "nobody hears of it any more");
        let (named, descriptor) = io.sockets.handed_out().unwrap();
        assert_eq!((named, io.sockets.take_closed(), io.sockets.len()), (socket, 1, 0));
        // What comes now waits for the next owner: here the same loop.
        client.write_all(b"b").unwrap();
        assert!(events_within(&mut io, 20).await.is_empty());
        let again = io.sockets.adopt(descriptor);
        assert!(again != socket && io.sockets.handed_out().is_none());
        assert_eq!(events_within(&mut io, 50).await, ["b"]);
    });
}

fn a_listener_that_goes_on_is_not_started_again_with_those_that_stopped(backend: Backend) {
    with_loop(backend, async |mut io| {
        let listeners: Vec<_> = (0..2).map(|_| tcp::listen("127.0.0.1:0".parse().unwrap(), 16).unwrap()).collect();
        // A listener that was shut down fails to accept; the name of its type does not matter to the kernel.
        let stop = |listener: OwnedFd| TcpStream::from(listener).shutdown(Shutdown::Both).unwrap();
        let mut handles: Vec<_> =
            listeners.iter().map(|listener| listener.as_fd().try_clone_to_owned().unwrap()).collect();
        listeners.into_iter().for_each(|listener| io.listen(listener, 3));
        events_within(&mut io, 1).await;
        stop(handles.remove(0));
        for _ in 0..5 {
            assert_eq!(events_within(&mut io, 20).await, ["accept failed"]);
            io.listen_again(3);
        }
        assert_eq!(events_within(&mut io, 20).await, ["accept failed"]);
        stop(handles.remove(0));
        assert_eq!(events_within(&mut io, 50).await, ["accept failed"], "one accept was armed");
    });
}

fn a_peer_that_takes_nothing_cannot_keep_its_closed_socket(backend: Backend) {
    with_loop(backend, async |mut io| {
        let sockets: Vec<_> = (0..2)
            .map(|_| {
                let (client, server) = pair();
                let socket = io.sockets.adopt(server);
                io.sockets.output(socket).unwrap().extend(std::iter::repeat_n(b'x', 32 << 20));
                io.sockets.commit(socket);
                io.sockets.close_when_sent(socket);
                client
            })
            .collect();
        events_within(&mut io, 20).await;
        assert_eq!((io.sockets.len(), io.sockets.take_closed()), (2, 0), "they still send");
        let mut taken = 0;
        let mut drain = |reader: &mut &TcpStream| {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                taken += count;
            }
            taken
        };
        sockets[0].set_nonblocking(true).unwrap();
        for _ in 0..3 {
            assert!(drain(&mut &sockets[0]) < 32 << 20, "it has not been sent everything");
            events_within(&mut io, 5).await;
            io.sockets.close_stuck(2);
        }
        events_within(&mut io, 20).await;
        assert_eq!((io.sockets.len(), io.sockets.take_closed()), (1, 1), "the one that reads goes on");
        while drain(&mut &sockets[0]) < 32 << 20 {
            events_within(&mut io, 5).await;
        }
        events_within(&mut io, 5).await;
        assert!(io.sockets.is_empty());
    });
}

/// How many turns a quiet loop makes in 50 ms.
async fn turns_while_quiet(io: &mut DataLoop<()>) -> u64 {
    // What was done before may still have an echo.
    events_within(io, 5).await;
    let before = io.stats().turns;
    assert_eq!(events_within(io, 50).await, [""; 0]);
    io.stats().turns - before
}

fn whom_nobody_listens_to_does_not_keep_the_loop_awake(backend: Backend) {
    with_loop(backend, async |mut io| {
        // One that has said all and waits for a reply, one that is gone, and one that is not listened to.
        let mut ends = [pair(), pair(), pair()].map(|(client, server)| (client, io.sockets.adopt(server)));
        events_within(&mut io, 5).await;
        io.sockets.pause(ends[2].1);
        ends[0].0.shutdown(Shutdown::Write).unwrap();
        ends[1].0.write_all(b"bye").unwrap();
        ends[2].0.write_all(b"unheard").unwrap();
        let seen = events_within(&mut io, 20).await;
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(turns_while_quiet(&mut io).await < 10);
        let [(mut waits, socket), (gone, _), (unheard, _)] = ends;
        // Also when both directions are closed, which epoll reports though nobody asks.
        gone.shutdown(Shutdown::Both).unwrap();
        unheard.shutdown(Shutdown::Both).unwrap();
        events_within(&mut io, 20).await;
        assert!(turns_while_quiet(&mut io).await < 10);
        // A reply still goes out.
        io.sockets.output(socket).unwrap().extend_from_slice(b"reply");
        io.sockets.commit(socket);
        io.sockets.close_when_sent(socket);
        events_within(&mut io, 20).await;
        let mut reply = String::new();
        waits.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "reply");
        assert!(turns_while_quiet(&mut io).await < 10);
    });
}

fn those_who_send_much_do_not_hold_up_who_sends_little(backend: Backend) {
    const SENDERS: usize = 300;
    /// Turns of this many sockets at least, in which all get their chance.
    const TURNS_MAX: usize = SENDERS / 10;
    // All together it is more than the buffers of a core hold.
    const BYTES_EACH: usize = 64 << 10;
    with_loop(backend, async |mut io| {
        let mut senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (client, server) = pair();
                client.set_nonblocking(true).unwrap();
                (client, io.sockets.adopt(server), 0)
            })
            .collect();
        let (mut quiet, server) = pair();
        let quiet_socket = io.sockets.adopt(server);
        let (mut waited, mut events) = (None, Vec::new());
        for turn in 0.. {
            for (client, _, unheard) in &mut senders {
                while *unheard < BYTES_EACH
                    && let Ok(count) = client.write(&[b'x'; BYTES_EACH][*unheard..])
                {
                    *unheard += count;
                }
            }
            if turn == TURNS_MAX {
                quiet.write_all(b"little").unwrap();
            }
            io.turn(Wait::No, &mut events).await;
            for event in events.drain(..) {
                let Event::Received { socket, chunk } = event else { panic!("{event:?}") };
                match senders.iter_mut().find(|(_, id, _)| *id == socket) {
                    Some((_, _, unheard)) => *unheard -= chunk.len(),
                    None => waited = (socket == quiet_socket).then(|| turn - TURNS_MAX),
                }
            }
            if let Some(waited) = waited {
                return assert!(waited < TURNS_MAX, "it was heard after {waited} turns");
            }
            assert!(turn < 3 * TURNS_MAX, "it was not heard");
        }
    });
}

fn a_descriptor_is_reported_once_for_each_poll(backend: Backend) {
    with_loop(backend, async |mut io| {
        let (mut client, server) = pair();
        io.poll_readable(server.as_fd(), 5);
        assert_eq!(events_within(&mut io, 20).await, [""; 0]);
        client.write_all(b"a").unwrap();
        let report = "Readable { token: 5 }";
        assert_eq!(events_within(&mut io, 20).await, [report]);
        assert_eq!(events_within(&mut io, 20).await, [""; 0], "it is still readable, but was reported");
        io.poll_readable(server.as_fd(), 5);
        assert_eq!(events_within(&mut io, 20).await, [report]);
    });
}

fn a_place_that_is_used_again_is_as_good_as_new(backend: Backend) {
    with_loop(backend, async |mut io| {
        // Closed by the peer, by us, while it is paused, and with bytes that find no room.
        for way in [0, 1, 2, 3, 0] {
            let (mut client, server) = pair();
            let socket = io.sockets.adopt(server);
            assert_eq!(socket.index, 0);
            client.write_all(b"hello").unwrap();
            assert_eq!(events_within(&mut io, 20).await, ["hello"]);
            match way {
                0 => {
                    drop(client);
                    assert_eq!(events_within(&mut io, 20).await.len(), 1, "it has ended");
                }
                1 => {}
                2 => {
                    io.sockets.pause(socket);
                    events_within(&mut io, 5).await;
                }
                _ => {
                    io.sockets.output(socket).unwrap().extend(std::iter::repeat_n(b'x', 32 << 20));
                    io.sockets.commit(socket);
                    events_within(&mut io, 5).await;
                }
            }
            io.sockets.close(socket);
            if way % 2 == 0 {
                // There is nothing to wait for.
                io.turn(Wait::No, &mut Vec::new()).await;
            }
            // What was under way ends, though nothing else happens.
            let (start, far) = (clock::monotonic_nanos(), 20_000_000_000);
            while !io.sockets.is_empty() {
                io.turn(Wait::Until(start + far), &mut Vec::new()).await;
            }
            assert!(clock::monotonic_nanos() < start + far / 2);
            assert_eq!((io.sockets.len(), io.sockets.take_closed()), (0, 1));
        }
    });
}
