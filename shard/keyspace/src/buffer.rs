//! An owned run of bytes behind a thin pointer: its length stands in its own first four bytes, so a page costs
//! its slot eight bytes and not sixteen.
//!
//! Invariant of this module: the pointer comes from the global allocator with `layout(size)`, the first four
//! bytes hold that size, all bytes are initialised, and nobody else holds the pointer.

use alloc::alloc::{alloc, alloc_zeroed, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

/// Bytes in front of the ones that [`Buffer`] lends.
pub(crate) const LENGTH_BYTES: usize = size_of::<u32>();

/// Owned bytes; derefs to all of them but the length in front.
pub(crate) struct Buffer(NonNull<u8>);

// SAFETY: a `Buffer` owns its bytes alone, as a `Box<[u8]>` does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Zeroed bytes, `size` of them with the length.
    ///
    /// # Panics
    /// If `size` is not in `4..2^31`.
    pub(crate) fn zeroed(size: usize) -> Self {
        let layout = layout(size);
        // SAFETY: the layout's size is not zero (`layout` asserts it).
        let pointer = unsafe { alloc_zeroed(layout) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        // SAFETY: at least four bytes, aligned to eight.
        unsafe { pointer.cast::<u32>().write(size as u32) };
        Self(pointer)
    }

    /// The same bytes again.
    pub(crate) fn copy(&self) -> Self {
        let layout = layout(self.size());
        // SAFETY: the layout's size is not zero (`layout` asserts it).
        let pointer = unsafe { alloc(layout) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        // SAFETY: both are `size` bytes, these are initialised, and the new ones are nobody else's.
        unsafe { pointer.copy_from_nonoverlapping(self.0, layout.size()) };
        Self(pointer)
    }

    /// Bytes allocated, the length included.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        // SAFETY: the invariant: the first four bytes hold the size, aligned to eight.
        unsafe { self.0.cast::<u32>().read() as usize }
    }

    /// The address of byte `offset` as lent, not read, perhaps beyond the end: for prefetching only.
    #[inline]
    pub(crate) fn address(&self, offset: usize) -> *const u8 {
        self.0.as_ptr().wrapping_add(LENGTH_BYTES + offset)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `size` bytes are allocated and initialised; those after the length are lent with our lifetime.
        unsafe { slice::from_raw_parts(self.0.as_ptr().add(LENGTH_BYTES), self.size() - LENGTH_BYTES) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes it the only borrow.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr().add(LENGTH_BYTES), self.size() - LENGTH_BYTES) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout, and dropped once.
        unsafe { dealloc(self.0.as_ptr(), layout(self.size())) }
    }
}

fn layout(size: usize) -> Layout {
    assert!((LENGTH_BYTES..1 << 31).contains(&size), "a page's size is bounded");
    Layout::from_size_align(size, 8).expect("far below isize::MAX")
}

/// Asks for the cache line at `address`. Never faults, never reads; does nothing where there is no such
/// instruction.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; any address is allowed, and SSE is part of x86_64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_lends_all_but_its_length_and_never_changes_it() {
        let mut buffer = Buffer::zeroed(80);
        assert_eq!((buffer.size(), buffer.len()), (80, 76));
        assert!(buffer.iter().all(|&byte| byte == 0));
        buffer.fill(0xff);
        assert_eq!(buffer.size(), 80);
        assert_eq!(buffer.address(0), buffer.as_ptr());
        prefetch(buffer.address(1 << 40));
    }

    #[test]
    #[should_panic(expected = "bounded")]
    fn a_buffer_without_room_for_its_length_is_refused() {
        let _ = Buffer::zeroed(3);
    }
}
