//! COMMAND and its subcommands, HELP, and the refusal of unknown names: printed from the rows.
//!
//! Mirrors Redis 7.2 `server.c` (`commandCommand` and below). Where Redis prints in the order of a hash table, the
//! order here is that of the names.

mod docs;
mod help;
mod info;
mod unknown;

pub use docs::command_docs;
pub use help::write_help;
pub use info::{command_all, command_info};
pub use unknown::{write_unknown, write_unknown_command, write_unknown_subcommand};

use crate::{Categories, Flags, KeyFlags, Spec, all, find_full, glob, key_positions, resolve};
use slotmesh_base::ReplyError;
use slotmesh_resp::{Args, Reply};

/// COMMAND COUNT.
pub fn command_count(reply: &mut Reply<'_>) {
    reply.integer(all().len() as i64);
}

/// COMMAND LIST [FILTERBY MODULE|ACLCAT|PATTERN x].
///
/// # Errors
/// `Syntax` for anything else.
pub fn command_list(args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), ReplyError> {
    let filter = ListFilter::parse(args)?;
    let names: Vec<_> = every_spec().filter(|spec| filter.passes(spec)).map(|spec| spec.full_name).collect();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// COMMAND GETKEYS and COMMAND GETKEYSANDFLAGS (`with_flags`): the keys of the request that stands behind the
/// subcommand.
pub fn command_get_keys(args: Args<'_>, with_flags: bool, reply: &mut Reply<'_>) {
    let request = Args::new(args.bytes(), args.ranges().get(2..).unwrap_or_default());
    let Ok(spec) = resolve(request) else {
        return reply.error_text(b"ERR Invalid command specified");
    };
    // Redis 7.2 `db.c` `doesCommandHaveKeys`: a channel is none.
    if spec.keys.iter().all(|keys| keys.flags.contains(KeyFlags::NOT_KEY)) {
        return reply.error_text(b"ERR The command has no key arguments");
    }
    if !spec.accepts(request.len()) {
        return reply.error_text(b"ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<_> = key_positions(spec, request).collect();
    if keys.is_empty() && !spec.flags.contains(Flags::NO_MANDATORY_KEYS) {
        return reply.error_text(b"ERR Invalid arguments specified for command");
    }
    reply.array(keys.len());
    for key in keys {
        if with_flags {
            reply.array(2);
        }
        reply.bulk(request.at(key.index));
        if with_flags {
            write_key_flags(key.flags, reply);
        }
    }
}

enum ListFilter<'a> {
    All,
    /// There are no modules, so nothing passes.
    Module,
    Category(Option<Categories>),
    Pattern(&'a [u8]),
}

impl<'a> ListFilter<'a> {
    fn parse(args: Args<'a>) -> Result<Self, ReplyError> {
        match (args.find(2), args.find(3), args.find(4), args.len()) {
            (None, ..) => Ok(Self::All),
            (Some(word), Some(kind), Some(value), 5) if word.eq_ignore_ascii_case(b"filterby") => {
                if kind.eq_ignore_ascii_case(b"module") {
                    Ok(Self::Module)
                } else if kind.eq_ignore_ascii_case(b"aclcat") {
                    Ok(Self::Category(category_named(value)))
                } else if kind.eq_ignore_ascii_case(b"pattern") {
                    Ok(Self::Pattern(value))
                } else {
                    Err(ReplyError::Syntax)
                }
            }
            _ => Err(ReplyError::Syntax),
        }
    }

    fn passes(&self, spec: &Spec) -> bool {
        match *self {
            Self::All => true,
            Self::Module => false,
            Self::Category(category) => category.is_some_and(|category| spec.categories.contains(category)),
            Self::Pattern(pattern) => glob::matches_ignore_case(pattern, spec.full_name.as_bytes()),
        }
    }
}

fn category_named(name: &[u8]) -> Option<Categories> {
    let known = |&(known, _): &(&str, Categories)| known.as_bytes().eq_ignore_ascii_case(name);
    Categories::all().iter_names().find(known).map(|(_, category)| category)
}

/// All rows, those of subcommands behind their containers'.
fn every_spec() -> impl Iterator<Item = &'static Spec> {
    all().iter().flat_map(|&spec| std::iter::once(spec).chain(spec.subcommands))
}

/// The rows with the named full names, `None` for what does not exist.
fn named_specs(args: Args<'_>) -> impl Iterator<Item = Option<&'static Spec>> + Clone {
    args.iter_from(2).map(find_full)
}

/// A set of simple strings.
fn write_words<'w>(words: impl ExactSizeIterator<Item = &'w str>, reply: &mut Reply<'_>) {
    reply.set(words.len());
    words.for_each(|word| reply.simple(word));
}

/// Key flags, named as in `flags.rs`: the four kinds of access in upper case.
fn write_key_flags(flags: KeyFlags, reply: &mut Reply<'_>) {
    let kinds = KeyFlags::RO | KeyFlags::RW | KeyFlags::OW | KeyFlags::RM;
    let words: Vec<String> = flags
        .iter_names()
        .map(|(name, flag)| if kinds.contains(flag) { name.to_owned() } else { name.to_ascii_lowercase() })
        .collect();
    write_words(words.iter().map(String::as_str), reply);
}

#[cfg(test)]
mod tests;
