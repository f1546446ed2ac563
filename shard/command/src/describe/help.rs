//! HELP of a container, from the documentation of its subcommands.

use crate::{DocArg, DocKind, Spec};
use slotmesh_resp::Reply;

/// HELP of a container: one line with what a subcommand takes and one with what it is for, each; the frame is
/// that of Redis 7.2 (`addReplyHelp`).
pub fn write_help(container: &Spec, reply: &mut Reply<'_>) {
    let others: Vec<_> = container.subcommands.iter().filter(|sub| sub.name != "help").collect();
    reply.array(1 + 2 * others.len() + 2);
    let name = container.name.to_ascii_uppercase();
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in others {
        reply.simple(&usage(sub));
        reply.simple(&format!("    {}", sub.doc.summary));
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
}

fn usage(sub: &Spec) -> String {
    let mut text = sub.name.to_ascii_uppercase();
    for argument in sub.doc.arguments {
        text.push(' ');
        text.push_str(&argument_usage(argument));
    }
    text
}

/// `<name>`, `TOKEN <name>`, `(a|b)`; in brackets if it may be left out, followed by dots if it may be repeated.
fn argument_usage(argument: &DocArg) -> String {
    let parts = |separator: &str| argument.parts.iter().map(argument_usage).collect::<Vec<_>>().join(separator);
    let value = match argument.kind {
        DocKind::PureToken => String::new(),
        DocKind::OneOf => format!("({})", parts("|")),
        DocKind::Block => parts(" "),
        _ => format!("<{}>", argument.name),
    };
    let words = [argument.token.unwrap_or_default(), &value];
    let once = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let repeated = if argument.multiple { format!("{once} [{value} ...]") } else { once };
    if argument.optional { format!("[{repeated}]") } else { repeated }
}
