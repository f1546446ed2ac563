//! Where a node lives.

use alloc::boxed::Box;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, or a name that a resolver knows. Prints what Redis prints.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Host {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// Any other text: at most [`Host::MOST`] bytes.
    Name(Box<str>),
}

impl Host {
    /// Longest text (Redis: `NET_IP_STR_LEN`, with its NUL 46).
    pub const MOST: usize = 45;

    /// The host of this text: an address, else a name without spaces and without what separates fields in nodes.conf.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(text).ok().filter(|text| (1..=Self::MOST).contains(&text.len()))?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(address.into());
        }
        let is_fine = text.bytes().all(|byte| byte.is_ascii_graphic() && !b",@:\"".contains(&byte));
        is_fine.then(|| Self::Name(text.into()))
    }

    /// Whether it can lead to a node: a name whose last label is a number is an address gone wrong (URL Standard, "ends
    /// in a number"), and no resolver shall be asked for it.
    pub fn can_be_dialled(&self) -> bool {
        match self {
            Self::V4(_) | Self::V6(_) => true,
            Self::Name(name) => {
                let last = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
                last.bytes().any(|byte| !byte.is_ascii_digit())
            }
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_is_read_and_printed() {
        for text in ["127.0.0.1", "::1", "fe80::1:2", "node-1.example"] {
            assert_eq!(Host::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        assert!(matches!(Host::parse(b"10.0.0.1"), Some(Host::V4(_))));
        assert!(matches!(Host::parse(b"localhost"), Some(Host::Name(_))));
        for (text, can) in
            [("256.0.0.1", false), ("1.2.3", false), ("7", false), ("a.1.", false), ("n1", true), ("::1", true)]
        {
            assert_eq!(Host::parse(text.as_bytes()).unwrap().can_be_dialled(), can, "{text}");
        }
        for bad in [&b""[..], b"a b", b"a,b", b"a:b", b"a@b", b"\xff", &[b'x'; 46]] {
            assert_eq!(Host::parse(bad), None, "{bad:?}");
        }
    }
}
