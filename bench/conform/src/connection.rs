//! A raw connection: bytes in, exactly one reply's bytes out.

use crate::{request, show};
use slotmesh_resp::reply_length;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for bytes from a server. Beyond it the test fails.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes asked for at once.
const READ_BYTES: usize = 64 * 1024;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to a server.
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    /// Where the bytes begin that no reply has taken yet.
    start: usize,
}

impl Connection {
    /// Connects over TCP.
    ///
    /// # Errors
    /// If the connection is refused.
    pub fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream: Stream::Tcp(stream), buffer: Vec::new(), start: 0 })
    }

    /// Connects over a unix socket.
    ///
    /// # Errors
    /// If the connection is refused.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream: Stream::Unix(stream), buffer: Vec::new(), start: 0 })
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If the server has closed the connection, or does not read.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server reads");
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the server has closed the connection, or does not read.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// The next reply, whole.
    ///
    /// # Panics
    /// If the server closes the connection, sends what is no reply, or is silent for too long.
    pub fn reply(&mut self) -> Vec<u8> {
        self.try_reply().expect("the server replies")
    }

    /// The next reply, whole.
    ///
    /// # Errors
    /// If the connection ends (`UnexpectedEof`, `ConnectionReset`) or the server is silent for too long.
    ///
    /// # Panics
    /// If the server sends what is no reply.
    pub fn try_reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(reply) = self.buffered_reply() {
                return Ok(reply);
            }
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The replies to a pipeline of so many requests.
    ///
    /// # Panics
    /// As [`Connection::reply`].
    pub fn replies(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// Sends one request and waits for its reply.
    ///
    /// # Panics
    /// As [`Connection::reply`].
    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        self.send(&request(args));
        self.reply()
    }

    /// Sends the words of a line as a request and waits for its reply.
    ///
    /// # Panics
    /// As [`Connection::reply`].
    pub fn say(&mut self, line: &str) -> Vec<u8> {
        self.ask(&line.split(' ').collect::<Vec<_>>())
    }

    /// The content of a bulk or verbatim reply to the words of a line.
    ///
    /// # Panics
    /// As [`Connection::reply`], and if the reply is no string.
    pub fn text(&mut self, line: &str) -> String {
        let reply = self.say(line);
        assert!(matches!(reply.first(), Some(b'$' | b'=')), "{line}: {}", show(&reply));
        let body = reply.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        String::from_utf8_lossy(&reply[body..reply.len() - 2]).into_owned()
    }

    /// All that the server sends until it closes the connection; a reset counts as a close.
    ///
    /// # Panics
    /// If the server does not close it.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        loop {
            match self.receive() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("not closed ({error}) after {}", show(&self.buffer[self.start..])),
            }
        }
        self.buffer.split_off(self.start)
    }

    /// Receives once into the buffer; tells how many bytes.
    ///
    /// # Errors
    /// Those of the socket; `WouldBlock` after the read timeout.
    pub fn receive(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + READ_BYTES, 0);
        let result = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut self.buffer[length..]),
            Stream::Unix(stream) => stream.read(&mut self.buffer[length..]),
        };
        self.buffer.truncate(length + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// The next reply, if all of it has arrived. Does not wait.
    ///
    /// # Errors
    /// If the connection has ended, with no reply left.
    ///
    /// # Panics
    /// If the server sends what is no reply.
    pub fn arrived_reply(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(reply) = self.buffered_reply() {
                return Ok(Some(reply));
            }
            self.set_nonblocking(true)?;
            let received = self.receive();
            self.set_nonblocking(false)?;
            match received {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn buffered_reply(&mut self) -> Option<Vec<u8>> {
        let bytes = &self.buffer[self.start..];
        let length = reply_length(bytes).unwrap_or_else(|error| panic!("no reply ({error:?}): {}", show(bytes)))?;
        let reply = bytes[..length].to_vec();
        self.start += length;
        Some(reply)
    }

    fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_nonblocking(is_nonblocking),
            Stream::Unix(stream) => stream.set_nonblocking(is_nonblocking),
        }
    }

    /// Bytes received that no reply has taken.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Tells the server that nothing more will come.
    pub fn finish_sending(&mut self) {
        // It fails where the server has closed the connection already: then it need not be told.
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Changes how long to wait for bytes.
    ///
    /// # Panics
    /// If the wait is zero.
    pub fn set_read_timeout(&mut self, wait: Duration) {
        let result = match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(wait)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(wait)),
        };
        result.expect("a wait above zero");
    }

    /// Changes how long to wait for a server that does not read.
    ///
    /// # Panics
    /// If the wait is zero.
    pub fn set_write_timeout(&mut self, wait: Duration) {
        let result = match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(wait)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(wait)),
        };
        result.expect("a wait above zero");
    }

    /// Something else to send with, while this reads.
    ///
    /// # Panics
    /// If the system has no more files for us.
    pub fn sender(&self) -> Box<dyn Write + Send> {
        const REASON: &str = "a file to open";
        match &self.stream {
            Stream::Tcp(stream) => Box::new(stream.try_clone().expect(REASON)),
            Stream::Unix(stream) => Box::new(stream.try_clone().expect(REASON)),
        }
    }

    /// This end's address, as `CLIENT LIST` prints it.
    ///
    /// # Panics
    /// If it is a unix socket.
    pub fn local_address(&self) -> String {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("a connected socket has an address").to_string(),
            Stream::Unix(_) => panic!("a unix socket's end has no address"),
        }
    }
}
