//! What a node's error says to a gateway: whether it is the client's, or about where and when to ask.
//!
//! Redirects as Redis 7.2 writes them (`cluster.c` `clusterRedirectClient`); the other errors by their codes.

use slotmesh_resp::parse_integer;

/// What an answer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer<'a> {
    /// It is for the client.
    Final,
    /// Another node has the slot.
    Moved(Address<'a>),
    /// Another node has the key, or will have it.
    Ask(Address<'a>),
    /// The same request may succeed soon. Nothing has run.
    Later,
    /// The node wants another user or password.
    Refused,
    /// Nothing that a client may see.
    Garbled,
}

/// The address of a redirect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address<'a> {
    /// Empty for that of the node that has answered.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

impl<'a> Answer<'a> {
    /// Reads a whole reply.
    #[inline]
    pub(crate) fn read(reply: &'a [u8]) -> Self {
        match reply.first() {
            Some(b'-') => Self::of_error(&reply[1..]),
            _ => Self::Final,
        }
    }

    #[cold]
    fn of_error(text: &'a [u8]) -> Self {
        let end = text.iter().position(|byte| matches!(byte, b' ' | b'\r')).unwrap_or(text.len());
        let (code, rest) = text.split_at(end);
        let redirect = |of: fn(Address<'a>) -> Self| read_address(rest).map_or(Self::Garbled, of);
        match code {
            b"MOVED" => redirect(Self::Moved),
            b"ASK" => redirect(Self::Ask),
            b"TRYAGAIN" | b"CLUSTERDOWN" | b"LOADING" | b"MASTERDOWN" | b"READONLY" => Self::Later,
            b"NOAUTH" | b"WRONGPASS" => Self::Refused,
            _ => Self::Final,
        }
    }
}

/// The address in ` 3999 127.0.0.1:6381`, maybe with further words behind it. The host may hold colons.
fn read_address(text: &[u8]) -> Option<Address<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split_ascii_whitespace();
    let _slot: u16 = words.next()?.parse().ok()?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    let port = u16::try_from(parse_integer(port.as_bytes())?).ok().filter(|&port| port > 0)?;
    Some(Address { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_name_an_address() {
        let address = |host, port| Address { host, port };
        for (reply, answer) in [
            ("-MOVED 3999 127.0.0.1:6381\r\n", Answer::Moved(address("127.0.0.1", 6381))),
            ("-MOVED 3999 ::1:6381\r\n", Answer::Moved(address("::1", 6381))),
            ("-MOVED 3999 :6381\r\n", Answer::Moved(address("", 6381))),
            ("-ASK 1 node.example:7000\r\n", Answer::Ask(address("node.example", 7000))),
            ("-TRYAGAIN Multiple keys request during rehashing of slot\r\n", Answer::Later),
            ("-CLUSTERDOWN The cluster is down\r\n", Answer::Later),
            ("-LOADING Redis is loading the dataset in memory\r\n", Answer::Later),
            ("-NOAUTH Authentication required.\r\n", Answer::Refused),
            ("-ERR no such key\r\n", Answer::Final),
            ("+MOVED 1 a:1\r\n", Answer::Final),
        ] {
            assert_eq!(Answer::read(reply.as_bytes()), answer, "{reply}");
        }
    }

    #[test]
    fn a_redirect_that_leads_nowhere_is_nobodys() {
        for reply in [
            "-MOVED\r\n",
            "-MOVED 3999\r\n",
            "-MOVED x 127.0.0.1:1\r\n",
            "-MOVED 3999 127.0.0.1\r\n",
            "-MOVED 3999 127.0.0.1:0\r\n",
            "-MOVED 3999 127.0.0.1:70000\r\n",
            "-ASK 70000 127.0.0.1:7\r\n",
        ] {
            assert_eq!(Answer::read(reply.as_bytes()), Answer::Garbled, "{reply}");
        }
        assert_eq!(Answer::read(b"-MOVED 1 \xff:1\r\n"), Answer::Garbled);
        for reply in ["-MOVEDX 1 a:1\r\n", "-", ""] {
            assert_eq!(Answer::read(reply.as_bytes()), Answer::Final, "{reply}");
        }
    }
}
