//! The physical limit: a server on the same I/O layer that has neither a store nor a parser.
//!
//! It knows the fixed lengths of the generator's GET, SET and PING and looks at the second byte of each request, the
//! number of its arguments, only. What is faster than this is faster because of how it does I/O, not of what it does.

use crate::arguments::EchoServer;
use crate::failure::Failure;
use crate::workload::{Sizes, value};
use slotmesh_io::{Backend, DataLoop, Event, Wait, mesh, pin_to, run_core, tcp};
use std::io;
use std::os::fd::OwnedFd;

/// Pending connections.
const BACKLOG: u32 = 1024;
/// Replies of one turn after which they are sent without waiting for its end, in bytes.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// A client that reads so little that more bytes wait for it is closed.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// Serves until the process is ended.
///
/// # Errors
/// If the port is in use, the CPU is not ours, or the kernel refuses the rings.
pub(crate) fn serve(server: &EchoServer) -> Result<(), Failure> {
    if let Some(cpu) = server.cpu {
        pin_to(cpu).map_err(|error| Failure::Kernel { what: "cannot pin the echo server (--cpu)", error })?;
    }
    let listener = listen(server.port)?;
    println!("echo server on port {}", server.port);
    serve_on(listener, server.sizes).map_err(|error| Failure::Kernel { what: "cannot build the rings", error })
}

/// Listens on the loopback.
///
/// # Errors
/// If the port is in use.
pub(crate) fn listen(port: u16) -> Result<OwnedFd, Failure> {
    tcp::listen(([127, 0, 0, 1], port).into(), BACKLOG)
        .map_err(|error| Failure::Kernel { what: "cannot listen", error })
}

/// Serves on a listener, forever.
///
/// # Errors
/// If the kernel refuses the rings.
pub(crate) fn serve_on(listener: OwnedFd, sizes: Sizes) -> io::Result<()> {
    let mail = mesh::<()>(1).pop().expect("a mesh of one core has one mailbox");
    run_core(Backend::IoUring, mail, |mut io| async move {
        io.listen(listener, 0);
        let replies = Replies::new(sizes);
        let (mut progress, mut events) = (Vec::new(), Vec::new());
        loop {
            io.turn(Wait::Forever, &mut events).await;
            for event in events.drain(..) {
                handle(&mut io, &replies, &mut progress, event);
            }
        }
    })
}

fn handle(io: &mut DataLoop<()>, replies: &Replies, progress: &mut Vec<Progress>, event: Event) {
    match event {
        Event::Accepted { socket, .. } => {
            // Sending small replies at once is inherited from nowhere.
            let _ = tcp::set_nodelay(std::os::fd::AsFd::as_fd(&socket));
            let index = io.sockets.adopt(socket).index as usize;
            progress.resize(progress.len().max(index + 1), Progress::default());
            progress[index] = Progress::default();
        }
        Event::Received { socket, chunk } => {
            let Some(output) = io.sockets.output(socket) else { return };
            let understood = replies.answer(&mut progress[socket.index as usize], io.input.read(chunk), output);
            io.sockets.commit(socket);
            if !understood || io.sockets.pending_bytes(socket) > PENDING_BYTES_MAX {
                io.sockets.close(socket);
            } else if io.sockets.turn_bytes() > TURN_BYTES_MAX {
                io.send_now();
            }
        }
        Event::Ended { socket, .. } => io.sockets.close_when_sent(socket),
        // Out of descriptors: those that wait are taken when somebody leaves and connects again.
        Event::AcceptFailed { token, .. } => io.listen_again(token),
        Event::Readable { .. } | Event::File(_) => {}
    }
}

/// How much of a connection's current request has come.
#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    /// Nothing.
    #[default]
    Between,
    /// Its first byte.
    Star,
    /// The rest is to come: bytes, and the number of arguments.
    Inside { left: usize, arguments: u8 },
}

/// The fixed replies and the lengths of the requests that they are for.
#[derive(Debug)]
struct Replies {
    value: Vec<u8>,
    get_bytes: usize,
    set_bytes: usize,
}

impl Replies {
    fn new(sizes: Sizes) -> Self {
        let value = value(sizes.value_bytes);
        let reply = [format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
        Self { value: reply, get_bytes: sizes.get_bytes(), set_bytes: sizes.set_bytes() }
    }

    /// Length of a request with so many arguments; 0 if there is none.
    #[inline]
    fn request_bytes(&self, arguments: u8) -> usize {
        match arguments {
            b'2' => self.get_bytes,
            b'3' => self.set_bytes,
            b'1' => b"*1\r\n$4\r\nPING\r\n".len(),
            _ => 0,
        }
    }

    #[inline]
    fn reply(&self, arguments: u8) -> &[u8] {
        match arguments {
            b'2' => &self.value,
            b'3' => b"+OK\r\n",
            _ => b"+PONG\r\n",
        }
    }

    /// Answers all requests that end in `bytes`; whether they could be understood.
    #[inline]
    fn answer(&self, progress: &mut Progress, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        let mut rest = bytes;
        loop {
            match *progress {
                Progress::Between => match *rest {
                    [b'*', arguments, ..] => {
                        let length = self.request_bytes(arguments);
                        if length == 0 {
                            return false;
                        }
                        if let Some(behind) = rest.get(length..) {
                            rest = behind;
                            output.extend_from_slice(self.reply(arguments));
                            continue;
                        }
                        *progress = Progress::Inside { left: length - rest.len(), arguments };
                        return true;
                    }
                    [b'*'] => {
                        *progress = Progress::Star;
                        return true;
                    }
                    [] => return true,
                    _ => return false,
                },
                Progress::Star => {
                    let Some(&arguments) = rest.first() else { return true };
                    let length = self.request_bytes(arguments);
                    if length == 0 {
                        return false;
                    }
                    *progress = Progress::Inside { left: length - 1, arguments };
                }
                Progress::Inside { left, arguments } => {
                    let Some(behind) = rest.get(left..) else {
                        *progress = Progress::Inside { left: left - rest.len(), arguments };
                        return true;
                    };
                    rest = behind;
                    *progress = Progress::Between;
                    output.extend_from_slice(self.reply(arguments));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$2\r\nab\r\n\
                            *1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$5\r\nkey:2\r\n";
    const ANSWERS: &[u8] = b"$2\r\nab\r\n+OK\r\n+PONG\r\n$2\r\nab\r\n";

    #[test]
    fn requests_are_answered_wherever_the_stream_is_cut() {
        let replies = Replies::new(Sizes { key_bytes: 5, value_bytes: 2 });
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let (mut progress, mut output) = (Progress::default(), Vec::new());
                for part in [&STREAM[..first], &STREAM[first..second], &STREAM[second..]] {
                    assert!(replies.answer(&mut progress, part, &mut output));
                }
                assert_eq!(output, ANSWERS, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        let replies = Replies::new(Sizes { key_bytes: 5, value_bytes: 2 });
        for bad in [b"GET x\r\n".as_slice(), b"*4\r\n", b"*0\r\n"] {
            assert!(!replies.answer(&mut Progress::default(), bad, &mut Vec::new()));
        }
        let mut progress = Progress::default();
        assert!(replies.answer(&mut progress, b"*", &mut Vec::new()));
        assert!(!replies.answer(&mut progress, b"9", &mut Vec::new()));
    }
}
