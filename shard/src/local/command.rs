//! COMMAND, and HELP of every container: printed from the rows by the room that has them.

use slotmesh_command::{command_list, find, write_help};
use slotmesh_resp::{Args, Reply};

pub(super) fn list(args: Args<'_>, reply: &mut Reply<'_>) {
    if let Err(error) = command_list(args, reply) {
        reply.error(error);
    }
}

/// HELP of the container that `args` name.
pub(super) fn help(args: Args<'_>, reply: &mut Reply<'_>) {
    write_help(find(args.at(0)).expect("a subcommand has a container"), reply);
}
