//! COMMAND DOCS.

use super::{named_specs, write_words};
use crate::{DocArg, DocKind, Spec, all};
use slotmesh_resp::{Args, Reply};

/// COMMAND DOCS [name …]: a map from full names to what they are for; names that do not exist are left out.
pub fn command_docs(args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() == 2 {
        return write_all(all().iter().copied(), reply);
    }
    write_all(named_specs(args).flatten(), reply);
}

fn write_all(specs: impl Iterator<Item = &'static Spec> + Clone, reply: &mut Reply<'_>) {
    reply.map(specs.clone().count());
    for spec in specs {
        reply.bulk(spec.full_name.as_bytes());
        write_doc(spec, reply);
    }
}

fn write_doc(spec: &'static Spec, reply: &mut Reply<'_>) {
    let doc = &spec.doc;
    let optional = [!doc.history.is_empty(), !doc.arguments.is_empty(), !spec.subcommands.is_empty()];
    let flags = [(doc.deprecated.is_some(), "deprecated"), (doc.is_system, "syscmd")];
    let flags: Vec<&str> = flags.into_iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).collect();
    let deprecation = if doc.deprecated.is_some() { 2 } else { 0 };
    reply.map(4 + usize::from(!flags.is_empty()) + deprecation + optional.iter().filter(|&&there| there).count());
    write_field("summary", doc.summary, reply);
    write_field("since", doc.since, reply);
    write_field("group", doc.group.name(), reply);
    write_field("complexity", doc.complexity, reply);
    if !flags.is_empty() {
        reply.bulk(b"doc_flags");
        write_words(flags.into_iter(), reply);
    }
    if let Some((since, replaced_by)) = doc.deprecated {
        write_field("deprecated_since", since, reply);
        write_field("replaced_by", replaced_by, reply);
    }
    if !doc.history.is_empty() {
        reply.bulk(b"history");
        reply.set(doc.history.len());
        for (version, change) in doc.history {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        }
    }
    if !doc.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(doc.arguments, reply);
    }
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        write_all(spec.subcommands.iter(), reply);
    }
}

fn write_arguments(arguments: &[DocArg], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    arguments.iter().for_each(|argument| write_argument(argument, reply));
}

fn write_argument(argument: &DocArg, reply: &mut Reply<'_>) {
    let compound = matches!(argument.kind, DocKind::OneOf | DocKind::Block);
    let key_spec = match argument.kind {
        DocKind::Key => Some(0),
        DocKind::SecondKey | DocKind::SecondKeyPattern => Some(1),
        DocKind::ThirdKey => Some(2),
        _ => None,
    };
    let repeats = argument.optional || argument.multiple;
    // A compound has parts where others have a text to display.
    let optional = [key_spec.is_some(), argument.token.is_some(), argument.since.is_some(), repeats];
    reply.map(3 + optional.iter().filter(|&&there| there).count());
    write_field("name", argument.name, reply);
    write_field("type", argument.kind.name(), reply);
    if !compound {
        write_field("display_text", argument.shown.unwrap_or(argument.name), reply);
    }
    if let Some(key_spec) = key_spec {
        reply.bulk(b"key_spec_index");
        reply.integer(key_spec);
    }
    if let Some(token) = argument.token {
        write_field("token", token, reply);
    }
    if let Some(since) = argument.since {
        write_field("since", since, reply);
    }
    if repeats {
        reply.bulk(b"flags");
        let words = [
            argument.optional.then_some("optional"),
            argument.multiple.then_some("multiple"),
            argument.multiple_token.then_some("multiple_token"),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        write_words(words.into_iter(), reply);
    }
    if compound {
        reply.bulk(b"arguments");
        write_arguments(argument.parts, reply);
    }
}

fn write_field(name: &str, value: &str, reply: &mut Reply<'_>) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}
