//! The only reader of the OS's randomness.
#![allow(unsafe_code)]

/// 64 random bits of the kernel.
///
/// # Panics
/// If the kernel has no randomness, which happens only in the first moments of a boot.
pub fn random_u64() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is valid for its whole length.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    assert_eq!(read, bytes.len() as isize, "getrandom gives up to 256 bytes at once");
    u64::from_ne_bytes(bytes)
}
