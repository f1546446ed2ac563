//! Lists from and to their saved form: runs are listpacks without a frame (see `packed/entry.rs`), chunks are nodes of a
//! quicklist.

use super::spine::Spine;
use super::{Form, List, PackedLimit};
use crate::value::packed::{Element, Encoded, End, Run};
use alloc::boxed::Box;

/// A run of a list as it is saved: entries of a listpack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedRun<'a> {
    /// The entries, one behind the other.
    pub entries: &'a [u8],
    /// How many there are, at least one.
    pub count: usize,
}

/// The bytes are no entries of a listpack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoEntries;

/// A list that is built chunk by chunk.
#[derive(Debug)]
pub struct ListBuilder {
    spine: Spine,
    limit: PackedLimit,
}

impl ListBuilder {
    /// A list without elements yet.
    pub fn new(limit: PackedLimit) -> Self {
        Self { spine: Spine::new(Run::default(), limit), limit }
    }

    /// Adds an element to the last chunk, or where that is full, to a new one.
    ///
    /// # Panics
    /// If it has 4 GiB or more.
    pub fn push(&mut self, element: &[u8]) {
        self.spine.push(End::Back, &Encoded::new(element), element.len());
    }

    /// Adds a chunk of these elements, whatever the limit says.
    ///
    /// # Panics
    /// If one of them has 4 GiB or more.
    pub fn push_chunk<'v>(&mut self, elements: impl Iterator<Item = Element<'v>>) {
        let mut run = Run::default();
        elements.for_each(|element| run.push(End::Back, &Encoded::of(element)));
        self.push_run(run);
    }

    /// Adds a chunk of entries that somebody else has packed, whatever the limit says; how many there are.
    ///
    /// # Errors
    /// If they are no entries of a listpack. The list is as it was then.
    pub fn push_packed(&mut self, entries: &[u8]) -> Result<usize, NoEntries> {
        let run = Run::of_packed(entries).ok_or(NoEntries)?;
        let count = run.len();
        self.push_run(run);
        Ok(count)
    }

    /// The list, unless it has no elements; in the form that Redis gives it when it is loaded (Redis 7.2 `t_list.c`
    /// `listTypeTryConversion`).
    pub fn finish(self) -> Option<List> {
        let Self { mut spine, limit } = self;
        if spine.len() == 0 {
            return None;
        }
        let form = spine.take_only(limit).map_or_else(|| Form::Chunked(Box::new(spine)), Form::Packed);
        Some(List(form))
    }

    fn push_run(&mut self, run: Run) {
        if run.len() > 0 {
            self.spine.push_run(run);
        }
    }
}

impl List {
    /// Number of runs that [`visit_runs`](Self::visit_runs) shows.
    pub fn runs(&self) -> usize {
        self.chunks()
    }

    /// Shows all elements in order, as they are packed: the list itself, or its chunks.
    pub fn visit_runs(&self, mut show: impl FnMut(PackedRun<'_>)) {
        let mut show = |run: &Run| show(PackedRun { entries: run.packed(), count: run.len() });
        match &self.0 {
            Form::Packed(run) => show(run),
            Form::Chunked(spine) => spine.visit_runs(show),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const LIMIT: PackedLimit = PackedLimit::new(-1);

    fn elements(list: &List) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        list.visit(0..list.len(), |element| match element {
            Element::Bytes(bytes) => all.push(bytes.to_vec()),
            Element::Integer(value) => all.push(std::format!("{value}").into_bytes()),
        });
        all
    }

    fn rebuilt(list: &List, limit: PackedLimit) -> List {
        let mut builder = ListBuilder::new(limit);
        list.visit_runs(|run| assert_eq!(builder.push_packed(run.entries), Ok(run.count)));
        builder.finish().expect("it has elements")
    }

    #[test]
    fn a_list_of_the_same_runs_is_the_same_list() {
        for count in [1, 3, 5000] {
            let mut list = List::new();
            for number in 0..count {
                let text = std::format!("{}{number}", if number % 3 == 0 { "" } else { "element " });
                list.push(End::Back, [text.as_bytes()].into_iter(), LIMIT);
            }
            let again = rebuilt(&list, LIMIT);
            assert_eq!((elements(&again), again.is_packed(), again.runs()), (elements(&list), count < 9, list.runs()));
            if let Form::Chunked(spine) = &again.0 {
                spine.check();
            }
        }
    }

    #[test]
    fn one_chunk_is_packed_up_to_the_limit() {
        let mut builder = ListBuilder::new(LIMIT);
        (0..500).for_each(|_| builder.push(b"1234567x"));
        let list = builder.finish().unwrap();
        assert!(!list.is_packed() && list.runs() == 2, "{}", list.runs());
        assert!(rebuilt(&list, PackedLimit::new(-5)).runs() == 2);
        let mut builder = ListBuilder::new(LIMIT);
        builder.push_chunk([Element::Bytes(&[b'x'; 4080]), Element::Integer(5)].into_iter());
        let list = builder.finish().unwrap();
        assert!(list.is_packed());
        assert!(!rebuilt(&list, PackedLimit::new(1)).is_packed());
        assert_eq!(elements(&rebuilt(&list, PackedLimit::new(1))), [vec![b'x'; 4080], b"5".to_vec()]);
        assert!(ListBuilder::new(LIMIT).finish().is_none());
    }

    #[test]
    fn entries_in_a_form_that_redis_does_not_write_are_packed_anew() {
        // The text "12", and 5 in 16 bits: both are integers of one byte.
        let mut builder = ListBuilder::new(LIMIT);
        assert_eq!(builder.push_packed(&[0x82, b'1', b'2', 3, 0xf1, 5, 0, 3]), Ok(2));
        let list = builder.finish().unwrap();
        list.visit_runs(|run| assert_eq!(run, PackedRun { entries: &[12, 1, 5, 1], count: 2 }));
        let mut found = 0;
        list.find(b"12", End::Front, usize::MAX, |_| {
            found += 1;
            core::ops::ControlFlow::Continue(())
        });
        assert_eq!(found, 1);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let whole = [0x82, b'a', b'b', 3, 0xf1, 0, 4, 3, 0x05, 1];
        for end in 1..whole.len() {
            let is_whole = [4, 8].contains(&end);
            assert_eq!(ListBuilder::new(LIMIT).push_packed(&whole[..end]).is_ok(), is_whole, "{end}");
        }
        for bad in [
            &[0x82, b'a', b'b', 4][..],
            &[0x82, b'a', b'b', 0x83],
            &[0xf0, 0xff, 0xff, 0xff, 0xff, b'a', 1],
            &[0xf5, 1],
            &[0xff],
            &[0xff, 1],
        ] {
            assert_eq!(ListBuilder::new(LIMIT).push_packed(bad), Err(NoEntries), "{bad:x?}");
        }
        assert_eq!(ListBuilder::new(LIMIT).push_packed(&[]), Ok(0));
    }
}
