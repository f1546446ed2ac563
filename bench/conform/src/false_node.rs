//! A node whose bus is true and whose answers to clients are not: it announces the port of a listener, which passes
//! everything through, or misbehaves.

use slotmesh_resp::{ArgRange, Args, DecodeLimits, Decoder, Step};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a false node does with whoever comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Passes everything to the true node and back.
    Through,
    /// Reads, and says nothing.
    Silent,
    /// Closes at once.
    Closes,
    /// Says these bytes to whatever it is sent, the greeting too.
    Babbles(Vec<u8>),
    /// Greets as a node does, and says these bytes to each request.
    Says(Vec<u8>),
    /// Greets as a node does, says these bytes to the first request, and closes.
    Dies(Vec<u8>),
}

/// The listener before a node.
pub struct FalseNode {
    /// Where it listens.
    pub port: u16,
    node: u16,
    mood: Mutex<Mood>,
    /// Ends of both sides, to close.
    streams: Mutex<Vec<TcpStream>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FalseNode {
    /// Listens at `port` for the node at another one, and passes everything through at first.
    ///
    /// # Panics
    /// If the port is taken.
    pub fn listen(port: u16, node: u16) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let streams = Mutex::new(Vec::new());
        let own = Arc::new(Self { port, node, mood: Mutex::new(Mood::Through), streams });
        let shared = own.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = shared.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        own
    }

    /// Behaves otherwise from now on; what is open is closed.
    pub fn feel(&self, mood: Mood) {
        *locked(&self.mood) = mood;
        for stream in locked(&self.streams).drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn keep(&self, stream: &TcpStream) {
        locked(&self.streams).push(stream.try_clone().expect("a file to open"));
    }

    fn serve(&self, mut stream: TcpStream) {
        // Kept before the mood is read: no stream lives on in an old one.
        self.keep(&stream);
        let mood = locked(&self.mood).clone();
        let mut bytes = [0; 65536];
        match mood {
            Mood::Closes => {}
            Mood::Through => {
                let Ok(node) = TcpStream::connect(("127.0.0.1", self.node)) else { return };
                self.keep(&node);
                let (back, forth) = (node.try_clone().expect("a file"), stream.try_clone().expect("a file"));
                let copy = std::thread::spawn(move || copy(back, forth));
                self::copy(stream, node);
                copy.join().expect("it copies until the end");
                return;
            }
            Mood::Silent => while stream.read(&mut bytes).is_ok_and(|count| count > 0) {},
            Mood::Babbles(text) => {
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) && stream.write_all(&text).is_ok() {}
            }
            Mood::Says(text) => answer(&mut stream, &text, false),
            Mood::Dies(text) => answer(&mut stream, &text, true),
        }
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // Either end may close.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Greets, and says a text to each request behind that; to the first only, if it `dies`.
fn answer(stream: &mut TcpStream, text: &[u8], dies: bool) {
    let limits = DecodeLimits { bulk_bytes_max: 1 << 30, authenticated: true };
    let (mut decoder, mut bytes, mut position) = (Decoder::default(), Vec::new(), 0);
    let mut chunk = [0; 65536];
    loop {
        let Ok(count @ 1..) = stream.read(&mut chunk) else { return };
        bytes.extend_from_slice(&chunk[..count]);
        loop {
            let mut ranges: Vec<ArgRange> = Vec::new();
            match decoder.decode(&mut bytes, &mut position, &limits, &mut ranges) {
                Ok(Step::Request) => {}
                Ok(Step::Incomplete) => break,
                Err(error) => panic!("what comes are requests: {error}"),
            }
            let name = Args::new(&bytes, &ranges).at(0).to_ascii_uppercase();
            let greets = [&b"CLIENT"[..], b"HELLO", b"AUTH", b"READONLY", b"ASKING"].contains(&&*name);
            if stream.write_all(if greets { b"+OK\r\n" } else { text }).is_err() || dies && !greets {
                return;
            }
        }
        bytes.drain(..position);
        position = 0;
    }
}
