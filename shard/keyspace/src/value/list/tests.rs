use super::*;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

type Model = VecDeque<Vec<u8>>;

impl List {
    /// Panics if its own numbers do not fit its parts.
    fn check(&self) {
        if let Form::Chunked(spine) = &self.0 {
            spine.check();
        }
    }
}

fn text(element: Element<'_>) -> Vec<u8> {
    match element {
        Element::Integer(value) => std::format!("{value}").into_bytes(),
        Element::Bytes(bytes) => bytes.to_vec(),
    }
}

fn texts(list: &List) -> Model {
    let mut texts = Model::new();
    list.visit(0..list.len(), |element| texts.push_back(text(element)));
    texts
}

fn list_of(count: usize, limit: PackedLimit) -> List {
    let mut list = List::new();
    for number in 0..count {
        let value = std::format!("value:{number:06}");
        list.push(End::Back, [value.as_bytes()].into_iter(), limit);
    }
    list
}

#[derive(Clone, Debug)]
enum Change {
    Push(End, Vec<Vec<u8>>),
    Pop(End),
    Remove(usize, usize),
    RemoveEqual(Vec<u8>, End, usize),
    Set(i64, Vec<u8>),
    Insert(Side, Vec<u8>, Vec<u8>),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0..6_u8).prop_map(|digit| vec![b'0' + digit]),
        3 => (0..300_usize).prop_map(|length| vec![b'x'; length]),
        1 => (0..9000_usize).prop_map(|length| vec![b'y'; length]),
        1 => (60_000..70_000_usize).prop_map(|length| vec![b'z'; length]),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let end = || prop_oneof![Just(End::Front), Just(End::Back)];
    let side = prop_oneof![Just(Side::Before), Just(Side::After)];
    prop_oneof![
        6 => (end(), proptest::collection::vec(value(), 1..20)).prop_map(|(end, values)| Change::Push(end, values)),
        3 => end().prop_map(Change::Pop),
        2 => (any::<usize>(), 0..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (value(), end(), 1..9_usize).prop_map(|(value, end, max)| Change::RemoveEqual(value, end, max)),
        3 => (-200..200_i64, value()).prop_map(|(at, value)| Change::Set(at, value)),
        4 => (side, value(), value()).prop_map(|(side, pivot, value)| Change::Insert(side, pivot, value)),
    ]
}

fn apply(list: &mut List, model: &mut Model, change: Change, limit: PackedLimit) {
    let len = model.len();
    match change {
        Change::Push(end, values) => {
            list.push(end, values.iter().map(Vec::as_slice), limit);
            for value in values {
                if end == End::Front { model.push_front(value) } else { model.push_back(value) }
            }
        }
        Change::Pop(end) => {
            list.pop(end, limit);
            _ = if end == End::Front { model.pop_front() } else { model.pop_back() };
        }
        Change::Remove(at, count) => {
            let start = at % (len + 1);
            let end = len.min(start + count);
            let _ = list.remove(start..end, limit);
            model.drain(start..end);
        }
        Change::RemoveEqual(value, from, max) => {
            let total = model.iter().filter(|element| **element == value).count();
            let spared = if from == End::Back { total.saturating_sub(max) } else { 0 };
            let mut found = 0;
            model.retain(|element| {
                found += usize::from(*element == value);
                *element != value || found <= spared || found > spared + max
            });
            assert_eq!(list.remove_equal(&value, from, max, limit), len - model.len());
        }
        Change::Set(at, value) => {
            let index = if at < 0 { at + len as i64 } else { at };
            let is_within = (0..len as i64).contains(&index);
            assert_eq!(list.set(at, &value, limit), is_within);
            if is_within {
                model[index as usize] = value;
            }
        }
        Change::Insert(side, pivot, value) => {
            let found = model.iter().position(|element| *element == pivot);
            assert_eq!(list.insert(side, &pivot, &value, limit), found.is_some());
            if let Some(index) = found {
                model.insert(index + usize::from(side == Side::After), value);
            }
        }
    }
}

/// Compares all ways to read.
fn compare(list: &List, model: &Model) {
    list.check();
    assert_eq!((&texts(list), list.len()), (model, model.len()));
    let mut backwards = Vec::new();
    list.visit_back(0..model.len(), |element| backwards.push(text(element)));
    assert!(backwards.iter().eq(model.iter().rev()));
    let len = model.len();
    for index in [0, 1, len / 3, len / 2, len.saturating_sub(1), len] {
        let expected = model.get(index).cloned();
        assert_eq!(list.at(index as i64).map(text), expected);
        if index < len {
            assert_eq!(list.at(index as i64 - len as i64).map(text), expected);
            let (mut slice, mut back) = (Vec::new(), Vec::new());
            list.visit(index..len, |element| slice.push(text(element)));
            list.visit_back(0..index + 1, |element| back.push(text(element)));
            assert!(slice.iter().eq(model.range(index..)) && back.iter().eq(model.range(..=index).rev()));
        }
    }
    assert_eq!(list.at(-1 - len as i64), None);
    assert_eq!(list.end(End::Front).map(text).as_ref(), model.front());
    assert_eq!(list.end(End::Back).map(text).as_ref(), model.back());
    for (from, compared_max) in [(End::Front, len), (End::Back, usize::MAX), (End::Front, 7), (End::Back, len / 2)] {
        let mut found = Vec::new();
        list.find(b"1", from, compared_max, |index| {
            found.push(index);
            ControlFlow::Continue(())
        });
        let matches = |index: &usize| model[*index] == b"1";
        let expected: Vec<usize> = match from {
            End::Front => (0..len).take(compared_max).filter(matches).collect(),
            End::Back => (0..len).rev().take(compared_max).filter(matches).collect(),
        };
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_list_is_a_deque(
        directive in prop_oneof![Just(-2), Just(-1), Just(-5), Just(0), 1..6_i32, Just(40)],
        changes in proptest::collection::vec(change(), 0..60),
    ) {
        let limit = PackedLimit::new(directive);
        let (mut list, mut model) = (List::new(), Model::new());
        let mut snapshots: Vec<(List, Model)> = Vec::new();
        for (number, change) in changes.into_iter().enumerate() {
            apply(&mut list, &mut model, change, limit);
            compare(&list, &model);
            if number % 8 == 0 {
                snapshots.push((list.clone(), model.clone()));
            }
        }
        for (clone, model) in snapshots {
            compare(&clone, &model);
        }
    }
}

#[test]
fn a_list_changes_its_form_where_redis_does() {
    let limit = PackedLimit::default();
    // Elements of 10 bytes take 12: 682 of them are 8191 bytes with a listpack's frame. What is added counts
    // without what packing adds.
    let mut list = List::new();
    let mut len = 0;
    while list.is_packed() {
        list.push(End::Back, [&b"0123456abc"[..]].into_iter(), limit);
        len += 1;
    }
    assert_eq!(len, 683);
    list.pop(End::Back, limit);
    assert!(!list.is_packed());
    while !list.is_packed() {
        list.pop(End::Front, limit);
        len -= 1;
    }
    assert_eq!(len - 1, (4096 - 7) / 12);
    // The new value does not fit, whether there is such an index or not.
    assert!(!list.set(9999, &[b'x'; 9000], limit) && !list.is_packed());
    assert!(list.set(0, b"", limit) && list.is_packed());
}

#[test]
fn clones_share_chunks_and_a_write_copies_one() {
    let limit = PackedLimit::default();
    let mut list = list_of(50_000, limit);
    let shared = |list: &List, clone: &List| match (&list.0, &clone.0) {
        (Form::Chunked(list), Form::Chunked(clone)) => (list.shared_chunks(clone), list.chunks()),
        _ => (0, 1),
    };
    let (clone, before) = (list.clone(), texts(&list));
    let (same, all) = shared(&list, &clone);
    assert!(same == all && all > 70, "{same} of {all}");
    assert!(list.set(25_000, b"new", limit));
    assert_eq!(shared(&list, &clone), (all - 1, all));
    list.push(End::Front, [&b"front"[..]].into_iter(), limit);
    list.pop(End::Back, limit);
    assert_eq!(list.remove_equal(b"value:000001", End::Front, 9, limit), 1);
    assert_eq!(list.remove_equal(b"no such element", End::Front, 9, limit), 0);
    assert!(shared(&list, &clone).0 >= all - 3, "{:?}", shared(&list, &clone));
    let _ = list.remove(100..40_000, limit);
    list.check();
    assert_eq!(texts(&clone), before);
}

#[test]
fn a_large_list_costs_no_more_bytes_than_listpacks() {
    let list = list_of(100_000, PackedLimit::default());
    // "value:000000" takes 14 bytes; Redis fills nodes of 8 KiB up to 8 bytes short of one more element.
    let per_node = (8192 - 7 - 8 - 12) / 14 + 1;
    let nodes = 100_000_usize.div_ceil(per_node);
    // A quicklist node has 32 bytes itself, and each allocation is rounded up to the allocator's sizes.
    let redis = nodes * (8192 + 32);
    let ours = list.heap_bytes();
    assert!(ours <= redis * 101 / 100, "{ours} bytes, Redis {redis}");
}

#[test]
fn a_list_of_millions_is_cut_found_in_and_freed_in_slices() {
    const COUNT: usize = 1_000_000;
    let limit = PackedLimit::default();
    let mut list = list_of(COUNT, limit);
    let chunks = list.chunks();
    assert_eq!(list.at(777_777).map(text).as_deref(), Some(&b"value:777777"[..]));
    let Remains(remains) = list.remove(10..COUNT - 10, limit);
    let mut remains = remains.expect("whole segments were cut off");
    list.check();
    assert_eq!((list.len(), list.at(10).map(text).as_deref()), (20, Some(&b"value:999990"[..])));
    assert!(remains.chunks() > chunks * 3 / 4);
    let mut slices = 1;
    while remains.free_some(16) {
        slices += 1;
    }
    assert!(slices >= chunks * 3 / 4 / 16, "{slices} slices");
}

#[test]
fn a_shared_list_is_freed_without_the_chunks_of_others() {
    let limit = PackedLimit::default();
    let mut list = list_of(100_000, limit);
    let clone = list.clone();
    let before = texts(&clone);
    while list.free_some(3) {}
    assert_eq!(texts(&clone), before);
    clone.check();
}

#[test]
fn a_very_long_element_stands_alone() {
    let limit = PackedLimit::default();
    let mut list = list_of(10, limit);
    let long = vec![b'x'; 300_000];
    assert!(list.set(5, &long, limit));
    list.check();
    assert_eq!((list.chunks(), list.len(), list.at(5)), (3, 10, Some(Element::Bytes(&long))));
    for index in [0, -1] {
        assert!(list.set(index, &long, limit));
        list.check();
    }
    assert_eq!((list.chunks(), list.len(), list.at(-1)), (5, 10, Some(Element::Bytes(&long))));
    assert!(list.heap_bytes() < 3 * 304_000 + 2000);
}
