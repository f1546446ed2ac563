use super::*;
use alloc::vec;
use boxed::Boxed;

impl Page {
    /// A page with one string.
    pub(crate) fn with_string(tag: u8, key: &[u8], value: &[u8], expiry: Option<i64>, tally: &mut Tally) -> Self {
        Self::with_entry(tag, &Draft::string(key, value, expiry), tally)
    }

    /// Adds a string under a key that is not there; whether the page had to be rebuilt.
    pub(crate) fn insert_string(
        &mut self,
        tag: u8,
        key: &[u8],
        value: &[u8],
        expiry: Option<i64>,
        tally: &mut Tally,
    ) -> bool {
        self.push(tag, &Draft::string(key, value, expiry), tally)
    }

    /// Panics if the page's own numbers do not fit its entries; bytes of the page and its records.
    pub(crate) fn check(&self) -> usize {
        let count = self.count();
        assert!(count <= self.number(INDEX_CAPACITY));
        let mut places: Vec<(usize, usize)> =
            (0..count).map(|i| (self.layout(i).start, self.layout(i).end())).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "entries overlap");
        let offset_bytes = if is_wide(self.size()) { 4 } else { 2 };
        let start = TAGS + (1 + offset_bytes) * self.number(INDEX_CAPACITY);
        assert!(places.first().is_none_or(|first| first.0 >= start), "entries reach into the index");
        assert!(places.last().is_none_or(|last| last.1 <= self.number(END)), "an entry ends behind the end");
        let live: usize = places.iter().map(|(start, end)| end - start).sum();
        assert_eq!(start + live + self.number(GARBAGE), self.number(END), "garbage");
        let earliest = (0..count).filter_map(|index| self.expiry(index)).min().unwrap_or(NEVER);
        assert!(self.earliest() <= earliest, "the earliest expiry is late");
        let records = (0..count).filter_map(|index| self.record(self.layout(index)));
        self.size() + records.map(Boxed::bytes).sum::<usize>()
    }
}

fn live_records() -> isize {
    live::RECORDS.with(|records| records.get())
}

#[test]
fn every_length_around_the_bounds_reads_as_written() {
    let mut tally = Tally::default();
    let mut page = Page::with_string(0, b"first", b"", None, &mut tally);
    let lengths = [0, 1, 3, 16, 200, 254, 255, 256, 257, 1000];
    for (tag, &key_bytes) in lengths.iter().enumerate() {
        let key = vec![b'k'; key_bytes];
        page.insert_string(tag as u8, &key, b"x", None, &mut tally);
        for &value_bytes in &lengths {
            for expiry in [None, Some(i64::MIN), Some(7), None, Some(i64::MAX)] {
                let value = vec![value_bytes as u8; value_bytes];
                let (index, layout) = page.find(tag as u8, &key).unwrap();
                page.set_string((index, layout), &key, (&value, StringForm::ByContent), expiry, &mut tally);
                assert_eq!(page.key(index), key);
                let entry = page.entry(index);
                let ValueRef::String(read) = entry.value else { panic!("no string") };
                assert_eq!((read, entry.expires_at), (&value[..], expiry.map(UnixMillis)));
                let is_inline = page.record(page.layout(index)).is_none();
                assert_eq!(is_inline, key_bytes + value_bytes <= INLINE_BYTES_MAX);
                assert_eq!(page.check(), tally.bytes);
            }
        }
    }
    assert_eq!((page.count(), tally.expiring), (11, 10));
    while page.count() > 0 {
        page.remove(0, &mut tally);
        assert_eq!(page.check(), tally.bytes);
    }
    assert_eq!((live_records(), tally.bytes, tally.expiring, tally.expiry_sum), (0, page.size(), 0, 0));
}

#[test]
fn appending_moves_from_the_page_to_the_heap_and_grows_there_in_steps() {
    let mut tally = Tally::default();
    let mut page = Page::with_string(1, b"key", b"", Some(9), &mut tally);
    let (mut expected, mut sizes) = (Vec::new(), Vec::new());
    for round in 0..3000_u32 {
        let tail = vec![round as u8; 1 + (round % 1500) as usize];
        expected.extend_from_slice(&tail);
        assert_eq!(page.append(0, b"key", &tail, &mut tally), expected.len());
        sizes.push(tally.bytes);
    }
    let ValueRef::String(read) = page.entry(0).value else { panic!("no string") };
    assert_eq!((read, page.expiry(0), page.check()), (&expected[..], Some(9), tally.bytes));
    assert!(tally.bytes <= expected.len() * 5 / 4 + 4000, "more than a quarter to spare");
    sizes.dedup();
    assert!(sizes.len() < 40, "the value was moved {} times", sizes.len());
    page.set_string((0, page.layout(0)), b"key", (b"short", StringForm::ByContent), None, &mut tally);
    assert_eq!((live_records(), page.check()), (0, tally.bytes));
}

#[test]
fn overwriting_with_the_same_length_never_rebuilds() {
    let mut tally = Tally::default();
    let mut page = Page::with_string(0, b"0", b"value", Some(1), &mut tally);
    for tag in 1..30 {
        page.insert_string(tag, &[tag], b"value", None, &mut tally);
    }
    let (address, end) = (page.0.address(0), page.number(END));
    for round in 0..1000_u32 {
        let tag = 1 + (round % 29) as u8;
        let entry = page.find(tag, &[tag]).unwrap();
        page.set_string(entry, &[tag], (&round.to_be_bytes().repeat(2)[..5], StringForm::ByContent), None, &mut tally);
    }
    assert_eq!((page.0.address(0), page.number(END), page.number(GARBAGE)), (address, end, 0));
}

#[test]
fn a_page_grows_by_a_quarter_and_stays_well_filled() {
    let mut tally = Tally::default();
    let mut page = Page::with_string(0, &[0; 16], &[0; 16], None, &mut tally);
    let (mut rebuilds, mut old_size) = (0, page.size());
    for number in 1..=255_u8 {
        rebuilds += usize::from(page.insert_string(number, &[number; 16], &[0; 16], None, &mut tally));
        // Two entries take more than one by what each of them needs.
        assert!(page.size() <= (old_size * 3 / 2).max(128), "{old_size} to {}", page.size());
        let bytes_max = (41 * (usize::from(number) + 2) + 29) * 5 / 4;
        assert!(page.size() <= bytes_max.max(128), "{} bytes for {number}", page.size());
        old_size = page.size();
    }
    assert!(rebuilds < 30, "{rebuilds} rebuilds");
    assert!((0..=255_u8).all(|number| page.find(number, &[number; 16]).is_some()));
}

#[test]
fn a_page_beyond_64_kib_has_wider_offsets() {
    let mut tally = Tally::default();
    let mut page = Page::with_string(7, b"0", b"", None, &mut tally);
    for number in 1..9000_u32 {
        page.insert_string(7, &number.to_be_bytes(), &[1; 10], Some(i64::from(number)), &mut tally);
    }
    assert!(is_wide(page.size()));
    assert_eq!(page.check(), tally.bytes);
    assert!((1..9000_u32).step_by(97).all(|number| page.find(7, &number.to_be_bytes()).is_some()));
    assert_eq!(page.sweep(UnixMillis(8990), &mut tally, &mut |_| ()), 8989);
    assert!(!is_wide(page.size()));
    assert_eq!((page.count(), page.earliest(), page.check()), (11, 8990, tally.bytes));
}

#[test]
fn splitting_and_merging_keep_every_entry_and_record() {
    let mut tally = Tally::default();
    let mut page = Page::with_string(0, &[0], b"", Some(50), &mut tally);
    let long = vec![9; 400];
    for number in 1..40_u8 {
        let value = if number % 3 == 0 { &long[..] } else { b"short" };
        page.insert_string(number, &[number], value, Some(i64::from(number)), &mut tally);
    }
    let other = page.split(|page, index| page.key(index)[0] % 2 == 1, &mut tally);
    assert_eq!((page.count(), other.count()), (20, 20));
    assert_eq!((page.earliest(), other.earliest(), live_records()), (2, 1, 13));
    assert_eq!(page.check() + other.check(), tally.bytes);
    page.merge(other, &mut tally);
    assert_eq!((page.count(), page.earliest(), live_records(), page.check()), (40, 1, 13, tally.bytes));
    drop(page);
    assert_eq!(live_records(), 0);
}

#[test]
fn keys_are_equal_if_every_byte_is() {
    let key: Vec<u8> = (0..40).collect();
    for len in 0..=key.len() {
        assert!(is_equal(&key[..len], &key.clone()[..len]), "{len}");
        assert!(len == 0 || !is_equal(&key[..len], &key[..len - 1]), "{len}");
        for place in 0..len {
            let mut other = key.clone();
            other[place] ^= 0x80;
            assert!(!is_equal(&key[..len], &other[..len]), "{len}, {place}");
        }
    }
}
