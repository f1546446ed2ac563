//! Names of histories.

use slotmesh_base::Rng;
use std::fmt;

/// The name of a history of changes: 40 hex digits, chosen at random. Who has the same name and the same offset has the
/// same data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicationId([u8; ReplicationId::LEN]);

impl ReplicationId {
    /// Number of digits.
    pub const LEN: usize = 40;

    /// A name that nobody else has.
    pub fn random(rng: &mut Rng) -> Self {
        let mut words = [0_u64; 3];
        words.fill_with(|| rng.next_u64());
        let digit = |place: usize| b"0123456789abcdef"[(words[place / 16] >> (4 * (place % 16)) & 15) as usize];
        Self(std::array::from_fn(digit))
    }

    /// The name in these bytes, if they have its length; case does not matter (Redis compares so).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut id: [u8; Self::LEN] = bytes.try_into().ok()?;
        id.make_ascii_lowercase();
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("all of them are ASCII")
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back() {
        let id = ReplicationId::random(&mut Rng::new(7));
        assert_eq!(ReplicationId::parse(id.as_str().as_bytes()), Some(id));
        assert_eq!(ReplicationId::parse(id.as_str().to_uppercase().as_bytes()), Some(id));
        assert_ne!(ReplicationId::random(&mut Rng::new(8)), id);
        assert_eq!(ReplicationId::parse(b"?"), None);
        assert_eq!(ReplicationId::parse(&[b' '; 40]), None);
    }
}
