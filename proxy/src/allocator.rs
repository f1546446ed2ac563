//! What is asked of the allocator beside memory.

use tikv_jemalloc_ctl::stats_print::{Options, stats_print};
use tikv_jemalloc_ctl::{Access, AsName};

/// Gives the pages that no allocation uses back to the system; whether all arenas did.
///
/// An arena whose dirty pages may not age does so at once.
pub(crate) fn purge() -> bool {
    let arenas: Result<u32, _> = b"arenas.narenas\0"[..].name().read();
    arenas.is_ok_and(|arenas| (0..arenas).all(purge_arena))
}

fn purge_arena(arena: u32) -> bool {
    ["dirty_decay_ms", "muzzy_decay_ms"].iter().all(|setting| {
        let name = format!("arena.{arena}.{setting}\0");
        let name = name.as_bytes().name();
        // Not every number has an arena.
        let Ok(before) = Access::<isize>::read(name) else { return true };
        let is_purged = name.write(0isize).is_ok();
        name.write(before).is_ok() && is_purged
    })
}

/// What the allocator counts, for people.
pub(crate) fn report() -> String {
    let mut text = Vec::new();
    match stats_print(&mut text, Options::default()) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => format!("the allocator does not tell: {error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_purges_and_reports() {
        assert!(purge());
        let before: isize = b"arena.0.dirty_decay_ms\0"[..].name().read().unwrap();
        assert!(purge() && before != 0, "pages age again");
        assert!(report().contains("jemalloc"));
    }
}
