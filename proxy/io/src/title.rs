//! The title of the process: what `ps` shows as its command line.
#![allow(unsafe_code)]

use std::io;

/// Names the process anew.
///
/// The kernel reads a command line from the memory between two addresses that it keeps per process. Redis overwrites
/// what lies there; we tell the kernel other addresses (`PR_SET_MM_MAP`), so that a title may have any length and
/// arguments that somebody still reads stay what they were. The bytes are never freed: the kernel reads them as long as
/// the process lives. Titles are few.
///
/// # Errors
/// If the kernel does not let us (it was built without CONFIG_CHECKPOINT_RESTORE).
pub fn set_process_title(title: &str) -> io::Result<()> {
    let mut map = Map::current()?;
    let bytes: &'static [u8] = Vec::leak([title.as_bytes(), b"\0"].concat());
    map.arg_start = bytes.as_ptr() as u64;
    map.arg_end = map.arg_start + bytes.len() as u64;
    // SAFETY: `map` is a prctl_mm_map of the size that is passed along; all its addresses but those of the arguments are
    // what they were, and the memory of the arguments is never freed. The kernel copies the struct.
    let result = unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const map, size_of::<Map>() as libc::c_ulong, 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct prctl_mm_map` of `linux/prctl.h`.
#[repr(C)]
#[derive(Debug, Default)]
struct Map {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    /// None: the kernel keeps the one it has.
    auxiliary_vector: u64,
    auxiliary_vector_bytes: u32,
    executable: u32,
}

const _: () = assert!(size_of::<Map>() == 104, "the layout of the kernel");

impl Map {
    /// The addresses in force. Reference: proc(5), `/proc/pid/stat`; field n of it stands at n - 3 behind the name.
    fn current() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let fields: Vec<u64> = stat
            .rsplit_once(") ")
            .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
            .unwrap_or_default();
        let field = |number: usize| {
            fields.get(number - 3).copied().filter(|&address| address != 0).ok_or(io::ErrorKind::InvalidData)
        };
        // SAFETY: with 0 it moves nothing and tells where the break is.
        let brk = unsafe { libc::sbrk(0) } as u64;
        Ok(Self {
            start_code: field(26)?,
            end_code: field(27)?,
            start_stack: field(28)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            brk,
            executable: u32::MAX,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ps_shows_the_title() {
        let title = "a title that is longer than any command line was, 127.0.0.1:6379";
        match set_process_title(title) {
            Ok(()) => {
                let shown = std::fs::read("/proc/self/cmdline").unwrap();
                assert_eq!(String::from_utf8_lossy(&shown).trim_end_matches('\0'), title);
                set_process_title("short").unwrap();
                assert_eq!(std::fs::read("/proc/self/cmdline").unwrap(), b"short\0");
            }
            Err(error) => eprintln!("SKIPPED: this kernel does not let us ({error})"),
        }
    }
}
