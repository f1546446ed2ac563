//! What a connection has queued: the elements of an EXEC's reply are compared each by the rules of its command.

use crate::matches;
use slotmesh_resp::elements;

/// Compares the replies of one connection, in their order.
#[derive(Default)]
pub struct Comparison {
    queued: Vec<Vec<Vec<u8>>>,
}

impl Comparison {
    /// Whether our reply to a request is as good as the oracle's.
    pub fn matches(&mut self, args: &[Vec<u8>], oracle: &[u8], ours: &[u8]) -> bool {
        let name = args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        if oracle == b"+QUEUED\r\n" {
            self.queued.push(args.to_vec());
            return oracle == ours;
        }
        match &name[..] {
            b"exec" if !oracle.starts_with(b"-ERR EXEC without") => {
                let queued = std::mem::take(&mut self.queued);
                oracle == ours || each_matches(&queued, oracle, ours)
            }
            b"discard" | b"reset" | b"quit" if !oracle.starts_with(b"-") => {
                self.queued.clear();
                matches(args, oracle, ours)
            }
            _ => matches(args, oracle, ours),
        }
    }
}

fn each_matches(queued: &[Vec<Vec<u8>>], oracle: &[u8], ours: &[u8]) -> bool {
    let (Ok(expected), Ok(got)) = (elements(oracle), elements(ours)) else { return false };
    let (expected, got): (Vec<_>, Vec<_>) = (expected.collect(), got.collect());
    let as_long = oracle.first() == ours.first() && expected.len() == queued.len() && got.len() == queued.len();
    as_long
        && queued.iter().zip(expected.into_iter().zip(got)).all(|(args, (oracle, ours))| matches(args, oracle, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn elements_of_a_transaction_follow_the_rules_of_their_commands() {
        let mut comparison = Comparison::default();
        for line in ["PTTL a", "GET a"] {
            assert!(comparison.matches(&words(line), b"+QUEUED\r\n", b"+QUEUED\r\n"));
        }
        let near = comparison.matches(&words("exec"), b"*2\r\n:1000\r\n$1\r\nx\r\n", b"*2\r\n:900\r\n$1\r\nx\r\n");
        assert!(near);
        assert!(comparison.matches(&words("PTTL a"), b"+QUEUED\r\n", b"+QUEUED\r\n"));
        assert!(!comparison.matches(&words("EXEC"), b"*1\r\n:100000\r\n", b"*1\r\n:90000\r\n"), "too far apart");
        assert!(!comparison.matches(&words("EXEC"), b"*-1\r\n", b"*0\r\n"));
    }
}
