//! Which master of a cluster has which slot, as CLUSTER SLOTS tells it, and what a MOVED says against that.

use crate::endpoint::{Address, Endpoint};
use crate::failure::Failure;
use slotmesh_base::{SLOT_COUNT, Slot};
use slotmesh_resp::ReplyScanner;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A node that does not tell its slots for so long has failed.
const SILENCE: Duration = Duration::from_secs(20);
/// Longest answer to CLUSTER SLOTS: far beyond a cluster in which every slot is a range of its own.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Deepest nesting of that answer: ranges, their nodes, what is known of a node, a name and value of it.
const DEPTH_MAX: usize = 4;
/// Most masters: one for each slot.
const MASTERS_MAX: usize = SLOT_COUNT;

/// The masters of a cluster and their slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SlotMap {
    /// Never fewer than before; one that has lost its slots keeps its place.
    masters: Vec<SocketAddr>,
    /// Per slot the place of its master.
    owners: Vec<u16>,
}

/// A master's place in the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Master(pub(crate) u16);

/// What a MOVED says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moved {
    pub(crate) slot: Slot,
    /// `None`: where the answer came from.
    pub(crate) host: Option<SocketAddr>,
    pub(crate) port: u16,
}

impl SlotMap {
    /// Asks a node.
    ///
    /// # Errors
    /// If it cannot be reached, is no cluster's node, or its cluster has slots that nobody serves.
    pub(crate) fn ask(endpoint: &Endpoint) -> Result<Self, Failure> {
        let failed = |error| Failure::Connect { endpoint: endpoint.name.clone(), error };
        let answer = match &endpoint.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).map_err(failed)?;
                stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
                ask_for_slots(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(failed)?;
                stream.set_read_timeout(Some(SILENCE)).map_err(failed)?;
                ask_for_slots(stream)
            }
        };
        Self::read(&answer.map_err(failed)?, endpoint)
    }

    /// Reads the answer of `endpoint`.
    fn read(answer: &[u8], endpoint: &Endpoint) -> Result<Self, Failure> {
        let failed = |problem: String| Failure::Cluster { endpoint: endpoint.name.clone(), problem };
        if let [b'-', error @ ..] = answer {
            return Err(failed(String::from_utf8_lossy(error).trim().to_owned()));
        }
        let asked = match endpoint.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        };
        let value = Value::read(answer).ok_or_else(|| failed("its CLUSTER SLOTS cannot be read".to_owned()))?;
        let ranges = value.items().ok_or_else(|| failed("its CLUSTER SLOTS is no list of ranges".to_owned()))?;
        let mut map = Self { masters: Vec::new(), owners: vec![u16::MAX; SLOT_COUNT] };
        for range in ranges {
            map.read_range(range, asked).ok_or_else(|| failed("its CLUSTER SLOTS has a strange range".to_owned()))?;
        }
        match map.owners.iter().position(|owner| *owner == u16::MAX) {
            Some(slot) => Err(failed(format!("nobody serves slot {slot}"))),
            None => Ok(map),
        }
    }

    /// A range: first slot, last slot, the master, its replicas. A node without a host is the one that was asked.
    fn read_range(&mut self, range: &Value<'_>, asked: Option<SocketAddr>) -> Option<()> {
        let [first, last, master, ..] = range.items()? else { return None };
        let [host, port, ..] = master.items()? else { return None };
        let (first, last) = (first.slot()?, last.slot()?);
        let port = port.number::<u16>()?;
        let address = match host {
            Value::Text(host) if !host.is_empty() && *host != b"?" => {
                (std::str::from_utf8(host).ok()?, port).to_socket_addrs().ok()?.next()?
            }
            _ => SocketAddr::new(asked?.ip(), port),
        };
        let master = self.place_of(address)?;
        self.owners.get_mut(first.index()..=last.index())?.fill(master.0);
        Some(())
    }

    /// The place of a master, which gets one if it is new; `None` if there are too many.
    fn place_of(&mut self, address: SocketAddr) -> Option<Master> {
        let present = self.masters.iter().position(|master| *master == address);
        let place = present.unwrap_or(self.masters.len());
        if place >= MASTERS_MAX {
            return None;
        }
        if present.is_none() {
            self.masters.push(address);
        }
        Some(Master(place as u16))
    }

    /// All masters, also those without slots.
    pub(crate) fn masters(&self) -> &[SocketAddr] {
        &self.masters
    }

    /// Where a master listens.
    pub(crate) fn address(&self, master: Master) -> SocketAddr {
        self.masters[usize::from(master.0)]
    }

    /// The master of a slot.
    #[inline]
    pub(crate) fn owner(&self, slot: Slot) -> Master {
        Master(self.owners[slot.index()])
    }

    /// Whether a master has any slots.
    pub(crate) fn has_slots(&self, master: Master) -> bool {
        self.owners.contains(&master.0)
    }

    /// Takes another map's word; the places of masters stay. Whether there was room for all of them.
    #[must_use]
    pub(crate) fn adopt(&mut self, newer: &Self) -> bool {
        let places: Option<Vec<_>> = newer.masters.iter().map(|address| self.place_of(*address)).collect();
        let Some(places) = places else { return false };
        for (owner, new) in self.owners.iter_mut().zip(&newer.owners) {
            *owner = places[*new as usize].0;
        }
        true
    }

    /// Notes that a slot is of the master at `address`, whose place is told; `None` if there are too many masters.
    pub(crate) fn assign(&mut self, slot: Slot, address: SocketAddr) -> Option<Master> {
        let master = self.place_of(address)?;
        self.owners[slot.index()] = master.0;
        Some(master)
    }
}

impl Moved {
    /// Reads `-MOVED slot host:port`; `None` if it is something else.
    pub(crate) fn read(reply: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(reply.strip_prefix(b"-MOVED ")?).ok()?.trim_end();
        let (slot, place) = text.split_once(' ')?;
        let slot = Slot::new(slot.parse().ok()?)?;
        let (host, port) = place.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match host {
            "" | "?" => None,
            host => Some((host.trim_matches(['[', ']']), port).to_socket_addrs().ok()?.next()?),
        };
        Some(Self { slot, host, port })
    }

    /// Where to, if `from` said so.
    pub(crate) fn address(&self, from: SocketAddr) -> SocketAddr {
        self.host.unwrap_or(SocketAddr::new(from.ip(), self.port))
    }
}

fn ask_for_slots(mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
    stream.write_all(b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n")?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    let mut scanner = ReplyScanner::default();
    loop {
        let bytes = match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => &chunk[..length],
        };
        answer.extend_from_slice(bytes);
        let end = scanner.next_end(bytes, &mut 0).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if end.is_some() {
            return Ok(answer);
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
}

/// A reply as far as CLUSTER SLOTS needs one.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value<'a> {
    /// A string, a line or a number.
    Text(&'a [u8]),
    Null,
    List(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        Self::take(&mut rest, DEPTH_MAX)
    }

    fn take(rest: &mut &'a [u8], depth: usize) -> Option<Self> {
        let kind = *rest.first()?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &rest[1..end];
        *rest = &rest[end + 2..];
        let length = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
        match kind {
            b'+' | b':' => Some(Self::Text(line)),
            b'_' => Some(Self::Null),
            b'$' | b'*' if line == b"-1" => Some(Self::Null),
            b'$' => {
                let length = usize::try_from(length()?).ok()?;
                let text = rest.get(..length)?;
                *rest = rest.get(length.checked_add(2)?..)?;
                Some(Self::Text(text))
            }
            b'*' => {
                let depth = depth.checked_sub(1)?;
                (0..usize::try_from(length()?).ok()?)
                    .map(|_| Self::take(rest, depth))
                    .collect::<Option<_>>()
                    .map(Self::List)
            }
            _ => None,
        }
    }

    fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            Self::Text(_) | Self::Null => None,
        }
    }

    fn number<T: std::str::FromStr>(&self) -> Option<T> {
        match self {
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::List(_) | Self::Null => None,
        }
    }

    fn slot(&self) -> Option<Slot> {
        Slot::new(self.number()?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// CLUSTER SLOTS of ranges with the ports of their masters on the loopback.
    pub(crate) fn answer(ranges: &[(u16, u16, u16)]) -> String {
        let range = |(first, last, port): &(u16, u16, u16)| {
            format!(
                "*3\r\n:{first}\r\n:{last}\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{}\r\n*0\r\n",
                "f".repeat(40)
            )
        };
        format!("*{}\r\n{}", ranges.len(), ranges.iter().map(range).collect::<String>())
    }

    fn read(answer: &str) -> Result<SlotMap, Failure> {
        SlotMap::read(answer.as_bytes(), &Endpoint::parse("node=127.0.0.1:7000").unwrap())
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    /// The map that such an answer tells.
    pub(crate) fn map_of(ranges: &[(u16, u16, u16)]) -> SlotMap {
        read(&answer(ranges)).unwrap()
    }

    #[test]
    fn every_slot_has_the_master_that_the_answer_names() {
        let map = read(&answer(&[(0, 99, 7000), (100, 16000, 7001), (16001, 16383, 7000)])).unwrap();
        assert_eq!(map.masters().iter().map(SocketAddr::port).collect::<Vec<_>>(), [7000, 7001]);
        for (number, master) in [(0, 0), (99, 0), (100, 1), (16000, 1), (16001, 0), (16383, 0)] {
            assert_eq!(map.owner(slot(number)), Master(master), "{number}");
        }
    }

    #[test]
    fn replicas_and_hosts_that_are_not_told_are_understood() {
        let replica = "*3\r\n$9\r\n127.0.0.2\r\n:7005\r\n$1\r\nb\r\n";
        for host in ["$0\r\n\r\n", "$-1\r\n", "$1\r\n?\r\n", "_\r\n"] {
            let text = format!("*1\r\n*4\r\n:0\r\n:16383\r\n*3\r\n{host}:7003\r\n$1\r\na\r\n{replica}");
            let masters = read(&text).unwrap().masters;
            assert_eq!(masters, ["127.0.0.1:7003".parse().unwrap()], "{host:?}");
        }
    }

    #[test]
    fn what_is_no_map_of_all_slots_is_refused() {
        for (text, problem) in [
            ("-ERR This instance has cluster support disabled\r\n".to_owned(), "cluster support disabled"),
            (answer(&[(0, 16382, 1)]), "nobody serves slot 16383"),
            (answer(&[(0, 16384, 1)]), "a strange range"),
            (answer(&[(9, 3, 1)]), "a strange range"),
            ("*0\r\n".to_owned(), "nobody serves slot 0"),
            ("+OK\r\n".to_owned(), "no list"),
            ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n".to_owned(), "cannot be read"),
            ("*1\r\n$5\r\nab\r\n".to_owned(), "cannot be read"),
            ("*99999999999\r\n".to_owned(), "cannot be read"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.starts_with("node: ") && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_newer_map_moves_slots_and_leaves_places() {
        let mut map = read(&answer(&[(0, 8191, 7000), (8192, 16383, 7001)])).unwrap();
        assert!(map.adopt(&read(&answer(&[(0, 8192, 7002), (8193, 16383, 7000)])).unwrap()));
        assert_eq!(map.masters().iter().map(SocketAddr::port).collect::<Vec<_>>(), [7000, 7001, 7002]);
        assert_eq!((map.owner(slot(8192)), map.owner(slot(8193))), (Master(2), Master(0)));
        assert!(map.has_slots(Master(0)) && !map.has_slots(Master(1)));
        assert_eq!(map.assign(slot(5), "127.0.0.1:7001".parse().unwrap()), Some(Master(1)));
        assert!(map.has_slots(Master(1)));
    }

    #[test]
    fn a_redirect_is_read_or_is_another_error() {
        let from = "10.0.0.9:1".parse().unwrap();
        for (text, address) in [
            ("-MOVED 3999 127.0.0.1:6381\r\n", "127.0.0.1:6381"),
            ("-MOVED 3999 ::1:6381\r\n", "[::1]:6381"),
            ("-MOVED 3999 :6381\r\n", "10.0.0.9:6381"),
            ("-MOVED 3999 ?:6381\r\n", "10.0.0.9:6381"),
        ] {
            let moved = Moved::read(text.as_bytes()).unwrap();
            assert_eq!((moved.slot, moved.address(from)), (slot(3999), address.parse().unwrap()), "{text}");
        }
        for bad in
            ["-ERR x\r\n", "-ASK 1 127.0.0.1:1\r\n", "-MOVED 16384 127.0.0.1:1\r\n", "-MOVED 1\r\n", "-MOVED 1 x\r\n"]
        {
            assert_eq!(Moved::read(bad.as_bytes()), None, "{bad}");
        }
    }
}
