use super::*;
use crate::page::{INLINE_BYTES_MAX, live};
use alloc::collections::BTreeMap;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use std::format;
use std::vec;

const HASHER: KeyHasher = KeyHasher::new([3, 4]);

impl Db {
    /// Panics if counts, bitmaps, times or bytes are not what the tables say.
    pub(crate) fn check(&self) {
        let (mut len, mut bytes) = (0, 0);
        for (number, block) in self.blocks.iter().enumerate() {
            let Some(block) = block else {
                assert_eq!((self.counts[number], self.earliest[number]), (0, NEVER));
                continue;
            };
            bytes += size_of::<Block>();
            let count: usize = block.tables.iter().map(SlotTable::len).sum();
            assert_eq!(self.counts[number] as usize, count);
            assert_eq!(self.occupied >> number & 1 == 1, count > 0);
            assert!(self.earliest[number] <= *block.earliest.iter().min().unwrap());
            for (index, table) in block.tables.iter().enumerate() {
                assert_eq!(block.occupied >> index & 1 == 1, table.len() > 0);
                assert!(block.earliest[index] <= table.earliest(), "the earliest expiry of a slot is late");
                bytes += table.check(Some(&self.hasher));
            }
            len += count;
        }
        assert_eq!(self.len(), len);
        assert_eq!(self.bytes(), bytes + size_of::<Self>());
    }

    /// Everything that a scan of `count` at a time sees.
    fn scan_all(&self, now: UnixMillis, count: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let (mut all, mut cursor) = (BTreeMap::new(), Some(Cursor::start()));
        while let Some(from) = cursor {
            let mut seen = 0;
            cursor = self.scan(Cursor::from_number(from.to_number()).unwrap(), count, now, &mut |key, value| {
                let ValueRef::String(string) = value else { panic!("no string") };
                assert!(all.insert(key.to_vec(), string.to_vec()).is_none(), "seen twice");
                seen += 1;
            });
            assert!(seen <= count);
            assert!(cursor.is_none_or(|cursor| cursor > from), "a scan goes on");
        }
        all
    }
}

/// One thing that a client does.
#[derive(Clone, Debug)]
enum Step {
    Set(Vec<u8>, usize, Expiry),
    Append(Vec<u8>, usize),
    Edit(Vec<u8>, usize),
    Remove(Vec<u8>),
    SetExpiry(Vec<u8>, Expiry),
    Get(Vec<u8>),
    Wait(i64),
    ExpireDue(usize),
    Random(u64),
    Flush,
}

/// Few keys, so that steps meet; of all lengths that matter; some in one slot by a hash tag.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![Just(0_usize), Just(1), Just(16), Just(254), Just(255), Just(256), Just(700)];
    prop_oneof![
        4 => (0..300_u32).prop_map(|number| format!("{{tag}}{number}").into_bytes()),
        2 => (0..40_u32).prop_map(|number| format!("{number}").into_bytes()),
        1 => (lengths, 0..3_u8).prop_map(|(length, fill)| std::vec![fill; length]),
    ]
}

fn any_length() -> impl Strategy<Value = usize> {
    let edge = INLINE_BYTES_MAX;
    prop_oneof![8 => 0..40_usize, 2 => 200..300_usize, 1 => edge - 20..edge + 2, 1 => 300..3000_usize]
}

fn any_expiry() -> impl Strategy<Value = Expiry> {
    let time = prop_oneof![20 => 0..3000_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => any::<i64>()];
    prop_oneof![
        3 => Just(Expiry::Never),
        2 => Just(Expiry::Keep),
        4 => time.prop_map(|time| Expiry::At(UnixMillis(time))),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (any_key(), any_length(), any_expiry()).prop_map(|(key, length, expiry)| Step::Set(key, length, expiry)),
        6 => (any_key(), any_length()).prop_map(|(key, length)| Step::Append(key, length)),
        6 => (any_key(), any_length()).prop_map(|(key, at)| Step::Edit(key, at)),
        1 => any_key().prop_map(|key| Step::Set(key, 100_000, Expiry::Never)),
        12 => any_key().prop_map(Step::Remove),
        8 => (any_key(), any_expiry()).prop_map(|(key, expiry)| Step::SetExpiry(key, expiry)),
        8 => any_key().prop_map(Step::Get),
        4 => (0..60_i64).prop_map(Step::Wait),
        3 => (0..6_usize).prop_map(Step::ExpireDue),
        3 => any::<u64>().prop_map(Step::Random),
        1 => Just(Step::Flush),
    ]
}

/// What a database must do, in the plainest way: a map, with the time of expiry beside each value.
#[derive(Default)]
struct Model {
    map: BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>,
    now: i64,
}

impl Model {
    fn live(&self, key: &[u8]) -> Option<&(Vec<u8>, Option<i64>)> {
        self.map.get(key).filter(|(_, expiry)| expiry.is_none_or(|expiry| self.now <= expiry))
    }

    fn drop_if_expired(&mut self, key: &[u8]) {
        if self.live(key).is_none() {
            self.map.remove(key);
        }
    }

    fn expiry_after(old: Option<i64>, expiry: Expiry) -> Option<i64> {
        match expiry {
            Expiry::Keep => old,
            Expiry::Never => None,
            Expiry::At(at) => Some(at.0),
        }
    }
}

fn run(db: &mut Db, model: &mut Model, step: Step, number: usize) {
    let now = UnixMillis(model.now);
    let fill = |length| std::vec![number as u8; length];
    match step {
        Step::Set(key, length, expiry) => {
            let was_live = model.live(&key).is_some();
            let key_hashed = HASHER.key(&key);
            if number.is_multiple_of(2) {
                db.get(&key_hashed, now);
                assert_eq!(db.set_string(&key_hashed, &fill(length), expiry), was_live);
            } else {
                assert_eq!(db.put_string(&key_hashed, &fill(length), expiry, now), was_live);
            }
            let old = model.live(&key).and_then(|(_, expiry)| *expiry);
            model.map.insert(key, (fill(length), Model::expiry_after(old, expiry)));
        }
        Step::Append(key, length) => {
            db.get(&HASHER.key(&key), now);
            model.drop_if_expired(&key);
            let expected = model.map.get_mut(&key).map(|(value, _)| {
                value.extend(fill(length));
                value.len()
            });
            assert_eq!(db.append(&HASHER.key(&key), &fill(length)), expected);
        }
        Step::Edit(key, at) => {
            model.drop_if_expired(&key);
            let (value, _) = model.map.entry(key.clone()).or_default();
            value.resize(value.len().max(at + 1), 0);
            value[at] = number as u8;
            let expected = value.clone();
            let edited = db.edit_or_make_string(&HASHER.key(&key), now, at + 1, |bytes| {
                bytes[at] = number as u8;
                (bytes.to_vec(), true)
            });
            assert_eq!(edited, Ok((expected, true)));
            assert_eq!(db.string_form(&HASHER.key(&key), now), Some(StringForm::Raw));
        }
        Step::Remove(key) => {
            assert_eq!(db.remove(&HASHER.key(&key), now), model.live(&key).is_some());
            model.map.remove(&key);
        }
        Step::SetExpiry(key, expiry) => {
            db.get(&HASHER.key(&key), now);
            model.drop_if_expired(&key);
            let entry = model.map.get_mut(&key);
            assert_eq!(db.set_expiry(&HASHER.key(&key), expiry), entry.is_some());
            if let Some((_, old)) = entry {
                *old = Model::expiry_after(*old, expiry);
            }
        }
        Step::Get(key) => {
            let expected = model.live(&key).cloned();
            let read = |entry: Entry<'_>| {
                let ValueRef::String(string) = entry.value else { panic!("no string") };
                (string.to_vec(), entry.expires_at.map(|at| at.0))
            };
            let key = HASHER.key(&key);
            db.prefetch([(key.slot, key.hash); 33].into_iter());
            assert_eq!(db.peek(&key, now).map(read), expected);
            assert_eq!(db.get(&key, now).map(read), expected);
            model.drop_if_expired(key.bytes);
        }
        Step::Wait(millis) => model.now += millis,
        Step::ExpireDue(pages) => expire_due(db, model, pages),
        Step::Random(seed) => {
            let key = db.random_key(&mut Rng::new(seed), now);
            assert_eq!(key.is_some(), model.map.keys().any(|key| model.live(key).is_some()));
            assert!(key.is_none_or(|key| model.live(&key).is_some()));
            let keep: Vec<_> = model
                .map
                .keys()
                .filter(|key| db.len() < model.map.len() && model.live(key).is_none())
                .cloned()
                .collect();
            keep.iter().filter(|key| !db.holds(key)).for_each(|key| drop(model.map.remove(key)));
        }
        Step::Flush => {
            drop(db.take_all());
            model.map.clear();
        }
    }
}

impl Db {
    /// Whether the key is stored, expired or not.
    fn holds(&self, key: &[u8]) -> bool {
        let key = HASHER.key(key);
        self.table(key.slot).is_some_and(|table| table.find(&key).is_some())
    }
}

fn expire_due(db: &mut Db, model: &mut Model, pages_max: usize) {
    let now = UnixMillis(model.now);
    let earliest = model.map.values().filter_map(|(_, expiry)| *expiry).filter(|&expiry| expiry < i64::MAX).min();
    if let Some(earliest) = earliest {
        assert!(db.next_expiry().is_some_and(|next| next.0 <= earliest.saturating_add(1)), "the next expiry is late");
    }
    let due = earliest.is_some_and(|earliest| earliest < now.0);
    let before = db.len();
    let report = db.expire_due(now, pages_max);
    assert!(report.pages <= pages_max && report.removed == before - db.len());
    assert!(!due || pages_max == 0 || report.pages > 0, "what is due is worked on");
    if report.pages < pages_max {
        assert!(db.next_expiry().is_none_or(|next| next > now), "all that was due is gone");
        model.map.retain(|_, (_, expiry)| expiry.is_none_or(|expiry| now.0 <= expiry));
    } else {
        model.map.retain(|key, _| db.holds(key));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_database_is_a_map_with_expiry(steps in prop::collection::vec(any_step(), 0..600), count in 1..50_usize) {
        let (mut db, mut model) = (Db::new(HASHER), Model::default());
        for (number, step) in steps.into_iter().enumerate() {
            run(&mut db, &mut model, step, number);
            prop_assert_eq!(db.len(), model.map.len());
        }
        db.check();
        let now = UnixMillis(model.now);
        let live: BTreeMap<_, _> =
            model.map.keys().filter_map(|key| Some((key.clone(), model.live(key)?.0.clone()))).collect();
        prop_assert_eq!(db.scan_all(now, count), live);
        let expiring: Vec<i64> = model.map.values().filter_map(|(_, expiry)| *expiry).collect();
        prop_assert_eq!(db.expires(), expiring.len());
        let sum: i128 = expiring.iter().map(|&expiry| i128::from(expiry)).sum();
        let mean = if expiring.is_empty() { 0 } else { (sum / expiring.len() as i128 - i128::from(now.0)).max(0) };
        prop_assert_eq!(i128::from(db.average_ttl_ms(now)), mean);
        drop(db);
        prop_assert_eq!(live::RECORDS.with(|records| records.get()), 0);
    }
}

#[test]
fn random_keys_are_chosen_evenly() {
    let (mut db, mut rng, now) = (Db::new(HASHER), Rng::new(11), UnixMillis(0));
    // One crowded slot, several with a few keys, many with one: none may be favoured.
    let names: Vec<_> = (0..200)
        .map(|number| match number {
            0..100 => format!("{{crowd}}{number}"),
            100..130 => format!("{{few}}{number}"),
            _ => format!("{number}"),
        })
        .collect();
    for name in &names {
        db.put_string(&HASHER.key(name.as_bytes()), b"value", Expiry::Never, now);
    }
    let mut drawn: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    let (draws, expected) = (200 * 500, 500.0);
    for _ in 0..draws {
        *drawn.entry(db.random_key(&mut rng, now).unwrap()).or_default() += 1;
    }
    assert_eq!(drawn.len(), 200);
    let chi_square: f64 = drawn.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
    // 199 degrees of freedom: the mean is 199, the deviation 20.
    assert!((120.0..280.0).contains(&chi_square), "{chi_square}");
}

#[test]
fn random_key_removes_what_has_expired_and_ends() {
    let mut db = Db::new(HASHER);
    for number in 0..500_u32 {
        let key = number.to_be_bytes();
        db.put_string(&HASHER.key(&key), b"", Expiry::At(UnixMillis(10)), UnixMillis(0));
    }
    assert!(db.random_key(&mut Rng::new(1), UnixMillis(10)).is_some(), "in its last millisecond a key is there");
    assert_eq!(db.random_key(&mut Rng::new(1), UnixMillis(11)), None);
    assert_eq!((db.len(), db.expired(), db.expires()), (0, 500, 0));
    db.check();
}

#[test]
fn what_is_due_goes_first_and_the_budget_holds() {
    let mut db = Db::new(HASHER);
    for number in 0..10_000_u32 {
        let key = number.to_be_bytes();
        let expiry = UnixMillis(i64::from(number));
        db.put_string(&HASHER.key(&key), b"value", Expiry::At(expiry), UnixMillis(0));
    }
    assert_eq!(db.next_expiry(), Some(UnixMillis(1)));
    let report = db.expire_due(UnixMillis(100), 1000);
    assert_eq!(report.removed, 100);
    assert!(report.pages <= 100, "{} pages for 100 keys", report.pages);
    assert_eq!(db.next_expiry(), Some(UnixMillis(101)));
    let mut removed = 0;
    for _ in 0..100_000 {
        let report = db.expire_due(UnixMillis(20_000), 3);
        assert!(report.pages <= 3);
        removed += report.removed;
    }
    assert_eq!((removed, db.len(), db.next_expiry()), (9900, 0, None));
    db.check();
}

#[test]
fn a_time_that_no_key_has_any_more_is_found_out_once() {
    let mut db = Db::new(HASHER);
    let key = HASHER.key(b"key");
    for expiry in 1..100 {
        db.put_string(&key, b"value", Expiry::At(UnixMillis(expiry)), UnixMillis(0));
    }
    assert_eq!(db.expire_due(UnixMillis(50), 10), ExpiryReport { removed: 0, pages: 1 });
    assert_eq!(db.next_expiry(), Some(UnixMillis(100)));
    assert!(db.set_expiry(&key, Expiry::Never));
    assert_eq!(db.expire_due(UnixMillis(1000), 10), ExpiryReport { removed: 0, pages: 1 });
    assert_eq!((db.next_expiry(), db.expires(), db.len()), (None, 0, 1));
}

#[test]
fn one_hash_for_all_keys_makes_one_slow_page_and_no_harm() {
    let (mut db, now) = (Db::new(KeyHasher::BROKEN), UnixMillis(0));
    let names: Vec<_> = (0..5000_u32).map(|number| format!("{{tag}}{number}")).collect();
    for name in &names {
        let key = KeyHasher::BROKEN.key(name.as_bytes());
        assert!(!db.put_string(&key, &[1; 30], Expiry::At(UnixMillis(5)), now));
    }
    let slot = Slot::of_key(b"tag");
    assert_eq!(db.slot_len(slot), 5000);
    db.check();
    for name in &names[..2500] {
        assert!(db.remove(&KeyHasher::BROKEN.key(name.as_bytes()), now));
    }
    db.check();
    assert_eq!(db.random_key(&mut Rng::new(1), now).map(|key| key.starts_with(b"{tag}")), Some(true));
    assert_eq!(db.expire_due(UnixMillis(6), 1000).removed, 2500);
    db.check();
    let Tally { bytes, expiring, expiry_sum, .. } = db.tally;
    assert_eq!((bytes, expiring, expiry_sum), (0, 0, 0));
}

#[test]
fn lists_are_made_changed_replaced_and_removed_with_every_byte_counted() {
    use crate::{End, PackedLimit, WrongKind};
    let (mut db, mut rng, now) = (Db::new(HASHER), Rng::new(5), UnixMillis(0));
    let limit = PackedLimit::default();
    let mut emptied = 0;
    for _ in 0..3000 {
        let name = format!("{:0width$}", rng.below(6), width = if rng.below(2) == 0 { 1 } else { 300 });
        let key = HASHER.key(name.as_bytes());
        let value = [b'v'; 700];
        let value = &value[..rng.below(700) as usize];
        match rng.below(12) {
            0 => _ = db.set_string(&key, value, Expiry::Never),
            1 => _ = db.remove(&key, now),
            2 => _ = db.set_expiry(&key, Expiry::At(UnixMillis(9))),
            3..6 => {
                let cuts_all = rng.below(2) == 0;
                let left = db.edit_list(&key, now, |list| {
                    let _ = list.remove(0..if cuts_all { list.len() } else { list.len() / 2 + 1 }, limit);
                    list.len()
                });
                let is_emptied = left == Ok(Some(0));
                emptied += usize::from(is_emptied);
                assert!(!is_emptied || !db.contains(&key, now), "a list without elements is no key");
            }
            _ => {
                let is_string = matches!(db.peek(&key, now), Some(Entry { value: ValueRef::String(_), .. }));
                let values = [value; 40];
                let pushed = db.edit_or_make_list(&key, now, |list| list.push(End::Front, values.into_iter(), limit));
                assert_eq!(pushed.err(), is_string.then_some(WrongKind));
            }
        }
        db.check();
    }
    assert!(emptied > 10);
    for number in 0..6 {
        for width in [1, 300] {
            db.remove(&HASHER.key(format!("{number:0width$}").as_bytes()), now);
        }
    }
    db.check();
    assert_eq!((db.len(), live::RECORDS.with(|records| records.get())), (0, 0));
}
