//! All rows, and the way from a name to its row: one probe of a perfect hash.

use crate::Spec;

/// All commands, sorted by name.
pub fn all() -> &'static [&'static Spec] {
    todo!()
}

/// The row of a command by its name in any case; containers, not subcommands.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    let _ = name;
    todo!()
}

/// The row of a subcommand by its name in any case.
pub fn find_subcommand(container: &'static Spec, name: &[u8]) -> Option<&'static Spec> {
    container.subcommands.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}
