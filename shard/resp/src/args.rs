//! Arguments of a request, borrowed from the bytes that they arrived in.

/// Where an argument lies in its buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ArgRange {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// The arguments of one request, the command's name first. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// Arguments at `ranges` of `bytes`; each range must lie inside of `bytes`.
    pub fn new(bytes: &'a [u8], ranges: &'a [ArgRange]) -> Self {
        Self { bytes, ranges }
    }

    /// Number of arguments, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is not even a name.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`.
    ///
    /// # Panics
    /// If there is none: callers have checked the arity.
    pub fn at(&self, index: usize) -> &'a [u8] {
        let range = self.ranges[index];
        &self.bytes[range.start as usize..][..range.len as usize]
    }

    /// The argument at `index`, if there is one.
    pub fn find(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.ranges.len()).then(|| self.at(index))
    }

    /// The arguments from `first` on.
    pub fn iter_from(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let Self { bytes, ranges } = *self;
        ranges[first.min(ranges.len())..].iter().map(move |r| &bytes[r.start as usize..][..r.len as usize])
    }

    /// Where the arguments lie.
    pub fn ranges(&self) -> &'a [ArgRange] {
        self.ranges
    }

    /// The bytes that the ranges point into.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}
