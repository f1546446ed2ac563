//! Decoded requests that wait: behind something that the connection waits for, in a transaction, or blocked.

use slotmesh_command::Spec;
use slotmesh_resp::{ArgRange, Args};
use std::collections::VecDeque;

/// Requests in one piece of memory, in order. They are kept decoded, since decoding changes quoted inline requests.
#[derive(Clone, Debug, Default)]
pub struct KeptRequests {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
    requests: VecDeque<KeptRequest>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct KeptRequest {
    /// Its row, if its name is a command's.
    pub spec: Option<&'static Spec>,
    first_range: usize,
    arguments: usize,
}

impl KeptRequests {
    /// One request.
    pub fn of_one(spec: &'static Spec, args: Args<'_>) -> Self {
        let mut kept = Self::default();
        kept.push(Some(spec), args.iter_from(0));
        kept
    }

    /// Keeps a request.
    pub fn push<'a>(&mut self, spec: Option<&'static Spec>, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
        let request = KeptRequest { spec, first_range: self.ranges.len(), arguments: arguments.len() };
        for argument in arguments {
            self.ranges.push(ArgRange { start: self.bytes.len() as u32, len: argument.len() as u32 });
            self.bytes.extend_from_slice(argument);
        }
        self.requests.push_back(request);
    }

    /// Keeps a request that comes before all others.
    pub fn put_first(&mut self, spec: &'static Spec, arguments: &[&[u8]]) {
        let behind = std::mem::take(self);
        self.push(Some(spec), arguments.iter().copied());
        for request in behind.iter() {
            self.push(request.spec, behind.args(request).iter_from(0));
        }
    }

    /// The next request.
    pub fn next(&self) -> Option<KeptRequest> {
        self.requests.front().copied()
    }

    /// All requests, in order.
    pub fn iter(&self) -> impl Iterator<Item = KeptRequest> + use<'_> {
        self.requests.iter().copied()
    }

    /// The arguments of a request.
    pub fn args(&self, request: KeptRequest) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges[request.first_range..][..request.arguments])
    }

    /// Drops the next request, which was executed. Memory is given back with the last one.
    pub fn pop(&mut self) {
        self.requests.pop_front();
        if self.requests.is_empty() {
            *self = Self::default();
        }
    }

    /// Number of requests.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Bytes of all arguments.
    pub fn argument_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.ranges.capacity() * size_of::<ArgRange>()
            + self.requests.capacity() * size_of::<KeptRequest>()
    }

    /// Whether that many further bytes can be kept: ranges count in 32 bits.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes <= u32::MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Request;

    #[test]
    fn requests_leave_as_they_came() {
        let mut kept = KeptRequests::default();
        let requests = ["GET a", "SET  1", "NOSUCH"].map(Request::words);
        requests.iter().for_each(|request| kept.push(request.spec(), request.args().iter_from(0)));
        assert_eq!((kept.len(), kept.argument_bytes()), (3, 14));
        for request in &requests {
            let next = kept.next().unwrap();
            assert_eq!(next.spec.map(|spec| spec.name), request.spec().map(|spec| spec.name));
            assert!(kept.args(next).iter_from(0).eq(request.args().iter_from(0)));
            kept.pop();
        }
        assert!(kept.is_empty() && kept.next().is_none());
        assert_eq!(kept.memory_bytes(), 0, "memory goes with the last request");
    }

    #[test]
    fn there_is_room_for_what_32_bits_can_name() {
        let mut kept = KeptRequests::default();
        let max = u32::MAX as usize;
        assert!(kept.has_room(max) && !kept.has_room(max + 1));
        kept.push(None, [&b"abc"[..]].into_iter());
        assert!(kept.has_room(max - 3) && !kept.has_room(max - 2));
    }
}
