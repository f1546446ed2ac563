//! COMMAND, and HELP of every container: printed from the rows by the room that has them.

use slotmesh_command::{command_list, find, write_help};
use slotmesh_resp::{Args, Reply};

pub(super) fn list(args: Args<'_>, reply: &mut Reply<'_>) {
    if let Err(error) = command_list(args, reply) {
        reply.error(error);
    }
}

/// What the container says where a subcommand of it takes other arguments (Redis 7.2 `networking.c`
/// `addReplySubcommandSyntaxError`).
pub(super) fn wrong_subcommand(args: Args<'_>, reply: &mut Reply<'_>) {
    let before: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
    let container = args.at(0).to_ascii_uppercase();
    let name = super::client::until_nul(args.at(1));
    let name = &name[..name.len().min(NAME_BYTES_MAX)];
    reply.error_text(&[before, name, b"'. Try ", &container, b" HELP."].concat());
}

/// Bytes of a name that an error repeats.
const NAME_BYTES_MAX: usize = 128;

/// HELP of the container that `args` name.
pub(super) fn help(args: Args<'_>, reply: &mut Reply<'_>) {
    write_help(find(args.at(0)).expect("a subcommand has a container"), reply);
}
