//! SCAN over the shards of this process and then the masters of others, one after the other.
//!
//! The cursor that a client carries says where it is. For our own shards it is theirs, below 2^62. Bit 62 says that it is
//! with a master of another process: then bits 48 to 61 say with which one, in the order of their names, bits 40 to 46
//! tell the masters of then from those of another time, and the other 40 bits are the master's own cursor. Where that has
//! more bits (a node of our kind: 14 bits of a slot, 48 of a place inside of it), bit 47 is set, and the place is rounded
//! down to 26 bits, so that some keys may come twice and none is left out.
//!
//! Slots that move change neither the masters nor their order, so that whatever rests is found. Where a master has come,
//! has gone or was replaced meanwhile, the scan begins anew: some keys come twice.

use super::routes::Routes;
use crate::SlotMap;
use slotmesh_base::limits::GATEWAY_PEERS_MAX;
use slotmesh_command::{IntegerText, parse_cursor, parse_integer};
use slotmesh_keyspace::Cursor;
use slotmesh_resp::{Args, Reply, elements, reply_length};

use crate::Home;

const REMOTE: u64 = 1 << 62;
/// Masters that a cursor has room to name.
const PLACES: u64 = 1 << 14;
const _: () = assert!(GATEWAY_PEERS_MAX as u64 <= PLACES);
const ROUNDED: u64 = 1 << 47;
const MARK_BITS: u32 = 7;
const INNER_BITS: u32 = 40;
const PLACE_BITS: u32 = 48;
const PLACE_BITS_KEPT: u32 = 26;
/// Fewest keys to ask a node of our kind for: more than can share a rounded place.
const COUNT_MIN: i64 = 64;

/// One step of a scan: who is asked, with which words, and what becomes of the cursor that comes back.
#[derive(Debug)]
pub struct ScanStep {
    /// Who is asked.
    pub home: Home,
    /// The request.
    pub words: Vec<Vec<u8>>,
    /// What becomes of the cursor.
    pub onward: Onward,
}

/// How the cursor of a shard or a node becomes the client's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Onward {
    /// Which of the masters was asked, and their mark, unless it was a shard of ours.
    node: Option<(u64, u64)>,
    /// Where the scan goes on when that one is done; 0 if it was the last.
    next: u64,
}

impl ScanStep {
    /// The step that a SCAN asks for; nothing, if its cursor is none.
    pub fn of(args: Args<'_>, map: &SlotMap, routes: &Routes) -> Option<Self> {
        let number = parse_cursor(args.find(1)?).ok()?;
        let mut words: Vec<Vec<u8>> = args.iter_from(0).map(<[u8]>::to_vec).collect();
        let mark = routes.masters_mark() & ((1 << MARK_BITS) - 1);
        // Behind the last one it is looked once more whether they are still the same.
        let begin = |place: u64| if place < PLACES { pack((place, mark), 0) } else { 0 };
        let is_of_now = number & REMOTE == 0 || number >> INNER_BITS & ((1 << MARK_BITS) - 1) == mark;
        // Others' cursors mean something else.
        let number = if is_of_now { number } else { 0 };
        if number & REMOTE == 0 && (routes.has_local() || number != 0) {
            words[1] = IntegerText::unsigned(number).as_bytes().to_vec();
            let core = Cursor::from_number(number).map_or(0, |cursor| map.owner(cursor.slot));
            return Some(Self { home: Home::Core(core), words, onward: Onward { node: None, next: begin(0) } });
        }
        let number = if number == 0 { begin(0) } else { number };
        let place = number >> PLACE_BITS & (PLACES - 1);
        let Some(master) = routes.masters().get(place as usize) else {
            // Nobody is left: any shard of ours ends the scan.
            let words = vec![b"SCAN".to_vec(), u64::MAX.to_string().into_bytes()];
            return Some(Self { home: Home::Core(0), words, onward: Onward { node: None, next: 0 } });
        };
        words[1] = IntegerText::unsigned(unpack(number)).as_bytes().to_vec();
        if number & ROUNDED != 0 {
            raise_count(&mut words);
        }
        let onward = Onward { node: Some((place, mark)), next: begin(place + 1) };
        Some(Self { home: Home::Slot(master.first), words, onward })
    }
}

impl Onward {
    /// Writes a node's reply with the client's cursor; nothing, if it is no reply to SCAN.
    pub(crate) fn write(self, answer: &[u8], reply: &mut Reply<'_>) -> Option<()> {
        let mut parts = elements(answer).ok()?;
        let (cursor, keys) = (parts.next()?, parts.next()?);
        if parts.next().is_some() || reply_length(keys) != Ok(Some(keys.len())) {
            return None;
        }
        let start = cursor.windows(2).position(|pair| pair == b"\r\n")? + 2;
        let cursor = parse_cursor(cursor.get(start..cursor.len() - 2)?).ok()?;
        let number = match self.node {
            _ if cursor == 0 => self.next,
            Some(node) => pack(node, cursor),
            None => cursor,
        };
        reply.array(2);
        reply.bulk(IntegerText::unsigned(number).as_bytes());
        reply.buffer().extend_from_slice(keys);
        Some(())
    }
}

fn pack((place, mark): (u64, u64), inner: u64) -> u64 {
    let head = REMOTE | place << PLACE_BITS | mark << INNER_BITS;
    if inner < 1 << INNER_BITS {
        return head | inner;
    }
    let (slot, place) = (inner >> PLACE_BITS & 0x3fff, inner & ((1 << PLACE_BITS) - 1));
    head | ROUNDED | slot << PLACE_BITS_KEPT | place >> (PLACE_BITS - PLACE_BITS_KEPT)
}

/// The master's own cursor.
fn unpack(number: u64) -> u64 {
    let inner = number & ((1 << INNER_BITS) - 1);
    if number & ROUNDED == 0 {
        return inner;
    }
    let (slot, place) = (inner >> PLACE_BITS_KEPT, inner & ((1 << PLACE_BITS_KEPT) - 1));
    slot << PLACE_BITS | place << (PLACE_BITS - PLACE_BITS_KEPT)
}

/// Asks for more keys than can share a place.
fn raise_count(words: &mut Vec<Vec<u8>>) {
    let is_count = |word: &Vec<u8>| word.eq_ignore_ascii_case(b"count");
    let place = words.iter().skip(2).step_by(2).rposition(is_count).map(|pair| 2 + 2 * pair + 1);
    match place.and_then(|place| Some((place, parse_integer(words.get(place)?).ok()?))) {
        // What is no count is refused where it is read.
        Some((_, count)) if !(1..COUNT_MIN).contains(&count) => {}
        Some((place, _)) => words[place] = COUNT_MIN.to_string().into_bytes(),
        None if place.is_none() => words.extend([b"COUNT".to_vec(), COUNT_MIN.to_string().into_bytes()]),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_were_or_a_little_before() {
        for inner in [0, 1, 12345, (1 << INNER_BITS) - 1] {
            let number = pack((16383, 127), inner);
            assert!(number & REMOTE != 0 && number < 1 << 63, "clients may keep it in 63 bits");
            assert_eq!(unpack(number), inner);
        }
        for (slot, place) in [(0u64, 1u64 << 40), (16383, (1 << PLACE_BITS) - 1), (7, 0)] {
            let inner = slot << PLACE_BITS | place;
            let back = unpack(pack((16383, 5), inner));
            assert!(back <= inner && inner - back < 1 << (PLACE_BITS - PLACE_BITS_KEPT), "{inner} {back}");
            assert_eq!(back >> PLACE_BITS, slot);
        }
    }

    #[test]
    fn a_count_is_raised_but_never_lowered() {
        let raised = |text: &str| {
            let mut words: Vec<Vec<u8>> = text.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            raise_count(&mut words);
            String::from_utf8(words.join(&b' ')).unwrap()
        };
        assert_eq!(raised("SCAN 7"), "SCAN 7 COUNT 64");
        assert_eq!(raised("SCAN 7 MATCH count"), "SCAN 7 MATCH count COUNT 64");
        assert_eq!(raised("SCAN 7 COUNT 1 MATCH a"), "SCAN 7 COUNT 64 MATCH a");
        assert_eq!(raised("SCAN 7 COUNT 1000"), "SCAN 7 COUNT 1000");
        assert_eq!(raised("SCAN 7 COUNT x"), "SCAN 7 COUNT x");
    }

    #[test]
    fn what_is_no_reply_to_scan_is_told() {
        let onward = Onward { node: None, next: 9 };
        let written = |answer: &[u8]| {
            let mut out = Vec::new();
            onward.write(answer, &mut Reply::new(&mut out, slotmesh_resp::Protocol::Resp2)).map(|()| out)
        };
        assert_eq!(
            written(b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"),
            Some(b"*2\r\n$1\r\n9\r\n*1\r\n$1\r\na\r\n".to_vec())
        );
        assert_eq!(written(b"*2\r\n$1\r\n5\r\n*0\r\n"), Some(b"*2\r\n$1\r\n5\r\n*0\r\n".to_vec()));
        for garbled in
            [&b"*1\r\n$1\r\n0\r\n"[..], b"+OK\r\n", b"*2\r\n$1\r\nx\r\n*0\r\n", b"*2\r\n:\r\n*0\r\n", b"*0\r\n"]
        {
            assert_eq!(written(garbled), None);
        }
    }
}
