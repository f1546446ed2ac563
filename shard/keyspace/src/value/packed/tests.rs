use super::*;
use alloc::collections::VecDeque;
use proptest::prelude::*;

/// The size of an allocation that jemalloc makes for `bytes`, at least 16.
fn jemalloc_size(bytes: usize) -> usize {
    let step = if bytes <= 128 { 16 } else { 1 << ((bytes - 1).ilog2() - 2) };
    bytes.max(1).next_multiple_of(step)
}

fn texts(run: &Run) -> Vec<Vec<u8>> {
    run.iter().map(|raw| text(raw.element())).collect()
}

fn text(element: Element<'_>) -> Vec<u8> {
    match element {
        Element::Integer(value) => std::format!("{value}").into_bytes(),
        Element::Bytes(bytes) => bytes.to_vec(),
    }
}

#[derive(Clone, Debug)]
enum Change {
    Push(End, Vec<u8>),
    Pop(End),
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(Vec<u8>, usize, usize),
    SplitAndAppend(usize),
    Clone,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..4_u8).prop_map(|digit| std::vec![b'0' + digit]),
        2 => any::<i64>().prop_map(|value| std::format!("{value}").into_bytes()),
        2 => (0..100_usize).prop_map(|length| std::vec![b'x'; length]),
        1 => (0..6000_usize).prop_map(|length| std::vec![b'y'; length]),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (end(), value()).prop_map(|(end, value)| Change::Push(end, value)),
        3 => end().prop_map(Change::Pop),
        2 => (any::<usize>(), value()).prop_map(|(at, value)| Change::Insert(at, value)),
        2 => (any::<usize>(), value()).prop_map(|(at, value)| Change::Replace(at, value)),
        1 => (any::<usize>(), 0..5_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (value(), 0..3_usize, 0..3_usize).prop_map(|(value, spared, max)| Change::RemoveEqual(value, spared, max)),
        1 => any::<usize>().prop_map(Change::SplitAndAppend),
        1 => Just(Change::Clone),
    ]
}

fn apply(run: &mut Run, model: &mut VecDeque<Vec<u8>>, change: Change) {
    let len = model.len();
    match change {
        Change::Push(end, value) => {
            run.push(end, &Encoded::new(&value));
            if end == End::Front { model.push_front(value) } else { model.push_back(value) }
        }
        Change::Pop(end) => {
            run.pop(end);
            _ = if end == End::Front { model.pop_front() } else { model.pop_back() };
        }
        Change::Insert(at, value) => {
            run.insert(at % (len + 1), &Encoded::new(&value));
            model.insert(at % (len + 1), value);
        }
        Change::Replace(at, value) if len > 0 => {
            run.replace(at % len, &Encoded::new(&value));
            model[at % len] = value;
        }
        Change::Remove(at, count) => {
            let start = at % (len + 1);
            let end = len.min(start + count);
            run.remove(start..end);
            model.drain(start..end);
        }
        Change::RemoveEqual(value, spared, max) => {
            let mut found = 0;
            model.retain(|element| {
                found += usize::from(*element == value);
                *element != value || found <= spared || found > spared + max
            });
            assert_eq!(run.remove_equal(&Encoded::new(&value), spared, max), len - model.len());
        }
        Change::SplitAndAppend(at) => {
            let rest = run.split_off(at % (len + 1));
            assert_eq!((run.len(), rest.len()), (at % (len + 1), len - at % (len + 1)));
            run.append(&rest);
        }
        Change::Clone => *run = run.clone(),
        Change::Replace(..) => {}
    }
}

proptest! {
    #[test]
    fn a_run_is_a_deque(changes in proptest::collection::vec(change(), 0..120)) {
        let (mut run, mut model) = (Run::default(), VecDeque::new());
        for change in changes {
            apply(&mut run, &mut model, change);
            prop_assert_eq!(texts(&run), Vec::from(model.clone()));
            prop_assert_eq!(run.len(), model.len());
            let backwards: Vec<_> = run.iter().rev().map(|raw| text(raw.element())).collect();
            prop_assert!(backwards.iter().eq(model.iter().rev()));
            for (index, value) in model.iter().enumerate() {
                prop_assert_eq!(&text(run.iter_from(index).next().unwrap().element()), value);
                prop_assert_eq!(&text(run.iter_before(index + 1).next_back().unwrap().element()), value);
            }
            let live: usize = model.iter().map(|value| Encoded::new(value).size()).sum();
            prop_assert_eq!(run.size(), live);
            let heap_bytes = run.heap_bytes();
            prop_assert!(heap_bytes >= live && heap_bytes <= 16 + live * 5 / 2, "{heap_bytes} for {live}");
        }
    }
}

#[test]
fn what_was_only_pushed_is_never_larger_than_a_listpack() {
    for length in [0, 1, 5, 16, 40, 100, 300] {
        for end in [End::Front, End::Back] {
            let mut run = Run::default();
            for number in 0..800 {
                let value = std::format!("{number:0length$}");
                run.push(end, &Encoded::new(value.as_bytes()));
                assert!(run.heap_bytes() <= jemalloc_size(run.listpack_bytes()), "{length} {number}");
            }
        }
    }
}

#[test]
fn a_queue_moves_its_bytes_rarely_and_does_not_grow() {
    for (push, pop) in [(End::Front, End::Back), (End::Back, End::Front)] {
        let mut run = Run::default();
        let element = Encoded::new(b"0123456789");
        (0..500).for_each(|_| run.push(push, &element));
        let (mut heap_bytes, mut gap, mut moves) = (run.heap_bytes(), run.gap, 0);
        for _ in 0..10_000 {
            run.push(push, &element);
            run.pop(pop);
            moves += usize::from(run.heap_bytes() != heap_bytes || run.gap.abs_diff(gap) > 24);
            (heap_bytes, gap) = (run.heap_bytes(), run.gap);
        }
        assert!(run.heap_bytes() <= 7168 && moves < 10_000 / 10, "{} bytes, {moves} moves", run.heap_bytes());
    }
}
