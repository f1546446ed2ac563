//! A connection beside the load's: orders to a server, and what it tells of itself.

use super::servers::Server;
use crate::failure::Failure;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// A server that does not answer for so long has failed.
const SILENCE: Duration = Duration::from_secs(20);

/// A connection to a server on the loopback address.
pub(super) struct Client {
    name: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a server's first port.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn of(server: &Server) -> Result<Self, Failure> {
        Self::connect(&server.endpoint.name, server.port())
    }

    /// Connects to the port of a server that is called `name`.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn connect(name: &str, port: u16) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Server { name: name.to_owned(), problem: error.to_string() };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
        Ok(Self { name: name.to_owned(), stream: BufReader::new(stream) })
    }

    /// The reply to a request: a line, or the bytes of a bulk string.
    ///
    /// # Errors
    /// If it is an error, or none comes.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String, Failure> {
        let reply = self.exchange(words).map_err(|error| self.failure(&error.to_string()))?;
        if reply.starts_with('-') { Err(self.failure(&reply)) } else { Ok(reply) }
    }

    fn exchange(&mut self, words: &[&str]) -> std::io::Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| _ = write!(request, "${}\r\n{word}\r\n", word.len()));
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let Some(length) = line.strip_prefix('$').and_then(|length| length.trim().parse::<usize>().ok()) else {
            return Ok(line);
        };
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The failure of a server whose answer cannot be right.
    pub(super) fn failure(&self, problem: &str) -> Failure {
        Failure::Server { name: self.name.clone(), problem: problem.trim().to_owned() }
    }
}

/// A field of an answer of INFO, or of any text of its form; empty if it is not there.
pub(super) fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
}
