//! Receive buffers that the kernel chooses from (a provided buffer ring), so that idle connections hold no
//! memory and busy ones share a few hot buffers. Without a ring we choose ourselves.
//!
//! Invariants: a buffer belongs either to the kernel (it is in the ring), or is free, or is lent (its number stands in
//! a [`Chunk`] of the current turn, or in `returned`), never two of these. A chunk can only be read in the turn that
//! it was delivered in, because the next turn gives all delivered buffers back before it enters the kernel,
//! and the data loop hands out chunks only by value inside that turn's events. The memory is never unmapped: a
//! core's loop lives as long as the process, and a closed ring's receives end asynchronously.
#![allow(unsafe_code)]

use crate::ring::Ring;
use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// Number of buffers; a power of two.
pub(crate) const BUFFERS: u16 = 1024;
/// Bytes of a buffer.
pub(crate) const BUFFER_BYTES: usize = 4096;
/// The group that receives name.
pub(crate) const GROUP: u16 = 0;

/// Received bytes in one buffer, valid until the next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    buffer: u16,
    len: u32,
}

impl Chunk {
    pub(crate) fn new(buffer: u16, len: u32) -> Self {
        assert!(buffer < BUFFERS && len as usize <= BUFFER_BYTES, "the kernel fills only buffers of ours");
        Self { buffer, len }
    }

    pub(crate) fn buffer(self) -> u16 {
        self.buffer
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The buffers of one core.
#[derive(Debug)]
pub struct ReceiveBuffers {
    memory: *mut u8,
    returned: Vec<u16>,
    shelf: Shelf,
}

/// Where buffers are that may be filled.
#[derive(Debug)]
enum Shelf {
    /// With the kernel.
    Ring { entries: *mut BufRingEntry, tail: u16 },
    /// Here.
    Free(Vec<u16>),
}

impl ReceiveBuffers {
    /// # Errors
    /// If memory cannot be had or the kernel refuses the ring.
    pub(crate) fn register(ring: &Ring) -> io::Result<Self> {
        let entries = map(BUFFERS as usize * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let memory = map(BUFFERS as usize * BUFFER_BYTES)?;
        // SAFETY: the entries are page aligned, zeroed, of the length that BUFFERS says, and are never unmapped.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, BUFFERS, GROUP, 0)? };
        let mut buffers = Self { memory, returned: (0..BUFFERS).collect(), shelf: Shelf::Ring { entries, tail: 0 } };
        buffers.give_back();
        Ok(buffers)
    }

    /// Buffers that only we fill.
    ///
    /// # Errors
    /// If memory cannot be had.
    pub(crate) fn unregistered() -> io::Result<Self> {
        let memory = map(BUFFERS as usize * BUFFER_BYTES)?;
        Ok(Self { memory, returned: Vec::new(), shelf: Shelf::Free((0..BUFFERS).rev().collect()) })
    }

    /// Has `receive` fill a free buffer; gives the buffer's number and what `receive` said. Unless that was a number of
    /// bytes, the buffer is free again. `None` if none is free.
    pub(crate) fn fill(&mut self, receive: impl FnOnce(&mut [u8]) -> i32) -> Option<(u16, i32)> {
        let Shelf::Free(free) = &mut self.shelf else {
            unreachable!("the kernel has the buffers of a ring");
        };
        let buffer = free.pop()?;
        // SAFETY: a free buffer is nobody else's, and lies inside of `memory`.
        let room =
            unsafe { std::slice::from_raw_parts_mut(self.memory.add(buffer as usize * BUFFER_BYTES), BUFFER_BYTES) };
        let received = receive(room);
        if received <= 0 {
            free.push(buffer);
        }
        Some((buffer, received))
    }

    /// The bytes of a chunk of this turn.
    #[inline]
    pub fn bytes(&mut self, chunk: Chunk) -> &mut [u8] {
        // SAFETY: the chunk's bounds were checked when it was made; the buffer is ours until the next turn, and
        // the borrow of `self` keeps a second one away.
        unsafe {
            std::slice::from_raw_parts_mut(self.memory.add(chunk.buffer as usize * BUFFER_BYTES), chunk.len as usize)
        }
    }

    /// The bytes of a chunk of this turn, to read.
    #[inline]
    pub fn read(&self, chunk: Chunk) -> &[u8] {
        // SAFETY: as in `bytes`; the shared borrow of `self` keeps mutable ones away.
        unsafe { std::slice::from_raw_parts(self.memory.add(chunk.buffer as usize * BUFFER_BYTES), chunk.len as usize) }
    }

    /// Notes that a buffer can go back to the kernel at the next [`give_back`](Self::give_back).
    #[inline]
    pub(crate) fn note_delivered(&mut self, buffer: u16) {
        self.returned.push(buffer);
    }

    /// Gives all noted buffers back to where they can be filled.
    pub(crate) fn give_back(&mut self) {
        let Self { memory, returned, shelf } = self;
        if returned.is_empty() {
            return;
        }
        match shelf {
            Shelf::Free(free) => free.append(returned),
            Shelf::Ring { entries, tail } => {
                for buffer in returned.drain(..) {
                    // SAFETY: the masked tail lies inside of the ring, and the buffer's address inside of `memory`. The
                    // kernel does not read entries before the tail below is stored.
                    unsafe {
                        let entry = &mut *entries.add((*tail & (BUFFERS - 1)) as usize);
                        entry.set_addr(memory.add(buffer as usize * BUFFER_BYTES) as u64);
                        entry.set_len(BUFFER_BYTES as u32);
                        entry.set_bid(buffer);
                    }
                    *tail = tail.wrapping_add(1);
                }
                // SAFETY: the ring's tail lies in its first entry; the kernel reads it with acquire.
                unsafe {
                    let shared = BufRingEntry::tail(*entries).cast::<AtomicU16>();
                    (*shared).store(*tail, Ordering::Release);
                }
            }
        }
    }
}

fn map(bytes: usize) -> io::Result<*mut u8> {
    // SAFETY: a fresh anonymous mapping touches no memory of ours.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(address.cast()) }
}
