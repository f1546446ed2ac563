//! What bounds a socket of the data loop: pausing, listeners that stop, peers that take nothing.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod backend;

use slotmesh_io::{Backend, DataLoop, Event, Wait, clock, mesh, run_core, tcp};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

backend::each! {
    the_last_word_of_a_turn_decides_whether_a_socket_is_read
    a_listener_that_goes_on_is_not_started_again_with_those_that_stopped
    a_peer_that_takes_nothing_cannot_keep_its_closed_socket
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
