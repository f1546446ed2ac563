//! Subcommands of CLUSTER that change the cluster.
//!
//! Mirrors Redis 7.2 `cluster.c` (`clusterCommand`).

use super::cluster::known;
use super::{Node, client, command};
use slotmesh_base::{ReplyError, Slot};
use slotmesh_cluster::machine::{Admin, AdminError, Bumped, Cluster, Failover};
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{BUS_PORT_DISTANCE, Host};
use slotmesh_command::{NodeCommand, parse_integer};
use slotmesh_resp::{Args, Reply};

pub(super) fn order(what: NodeCommand, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    match what {
        NodeCommand::ClusterMeet => meet(args, node, reply),
        NodeCommand::ClusterAddSlots => slots(args, false, node, reply),
        NodeCommand::ClusterDelSlots => slots(args, true, node, reply),
        NodeCommand::ClusterAddSlotsRange => ranges(args, false, node, reply),
        NodeCommand::ClusterDelSlotsRange => ranges(args, true, node, reply),
        NodeCommand::ClusterFlushSlots => match node.key_count() {
            0 => obey(node, Admin::FlushSlots, reply),
            _ => reply.error_text(b"ERR DB must be empty to perform CLUSTER FLUSHSLOTS."),
        },
        NodeCommand::ClusterSetSlot => set_slot(args, node, reply),
        NodeCommand::ClusterForget => {
            node.with_machine(&mut |machine, now, actions| {
                // One that has been forgotten already is no node that is known.
                let id = slotmesh_cluster::NodeId::parse(args.at(2));
                match id.map(|id| machine.admin(now, Admin::Forget(id), actions)) {
                    None | Some(Err(AdminError::UnknownNode(_))) => unknown_node(args.at(2), reply),
                    Some(result) => answer(result, reply),
                }
            });
        }
        NodeCommand::ClusterReset => reset(args, node, reply),
        NodeCommand::ClusterSetConfigEpoch => set_config_epoch(args, node, reply),
        NodeCommand::ClusterSaveConfig => obey(node, Admin::SaveConfig, reply),
        NodeCommand::ClusterBumpEpoch => {
            node.with_machine(&mut |machine, now, actions| match machine.bump(now, actions) {
                Bumped::Bumped(epoch) => reply.simple(&format!("BUMPED {epoch}")),
                Bumped::Still(epoch) => reply.simple(&format!("STILL {epoch}")),
            });
        }
        NodeCommand::ClusterReplicate => replicate(args, node, reply),
        NodeCommand::ClusterFailover => failover(args, node, reply),
        _ => unreachable!("the caller sends what is named here"),
    }
}

fn obey(node: &dyn Node, order: Admin<'_>, reply: &mut Reply<'_>) {
    let mut order = Some(order);
    node.with_machine(&mut |machine, now, actions| {
        if let Some(order) = order.take() {
            answer(machine.admin(now, order, actions), reply);
        }
    });
}

fn answer(result: Result<(), AdminError>, reply: &mut Reply<'_>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error_text(format!("ERR {error}").as_bytes()),
    }
}

fn unknown_node(name: &[u8], reply: &mut Reply<'_>) {
    reply.error_text(&[b"ERR Unknown node ", client::until_nul(name)].concat());
}

fn meet(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    if args.len() > 5 {
        return command::wrong_subcommand(args, reply);
    }
    let invalid = |what: &[u8], text: &[u8]| [b"ERR Invalid ", what, b" specified: ", client::until_nul(text)].concat();
    let Ok(port) = parse_integer(args.at(3)) else {
        return reply.error_text(&invalid(b"base port", args.at(3)));
    };
    let bus_port = match args.find(4).map(parse_integer) {
        None => port.saturating_add(i64::from(BUS_PORT_DISTANCE)),
        Some(Ok(bus_port)) => bus_port,
        Some(Err(_)) => return reply.error_text(&invalid(b"bus port", args.at(4))),
    };
    let number = |port: i64| u16::try_from(port).ok().filter(|&port| port != 0);
    // Unlike Redis we take names, too: whoever dials resolves them.
    let host = Host::parse(args.at(2)).filter(Host::can_be_dialled);
    match (host, number(port), number(bus_port)) {
        (Some(host), Some(port), Some(bus_port)) => obey(node, Admin::Meet { host, port, bus_port }, reply),
        _ => {
            let address = [client::until_nul(args.at(2)), b":", client::until_nul(args.at(3))].concat();
            reply.error_text(&invalid(b"node address", &address));
        }
    }
}

/// The slot in an argument, or the error that it is none.
fn slot_at(text: &[u8], reply: &mut Reply<'_>) -> Option<Slot> {
    let slot = parse_integer(text).ok().and_then(|number| u16::try_from(number).ok()).and_then(Slot::new);
    if slot.is_none() {
        reply.error_text(b"ERR Invalid or out of range slot");
    }
    slot
}

/// ADDSLOTS and DELSLOTS.
fn slots(args: Args<'_>, gone: bool, node: &dyn Node, reply: &mut Reply<'_>) {
    let mut slots = Vec::with_capacity(args.len());
    for text in args.iter_from(2) {
        let Some(slot) = slot_at(text, reply) else { return };
        slots.push(slot);
    }
    obey(node, if gone { Admin::DelSlots(&slots) } else { Admin::AddSlots(&slots) }, reply);
}

/// ADDSLOTSRANGE and DELSLOTSRANGE: a run is looked at before the next one is read.
fn ranges(args: Args<'_>, gone: bool, node: &dyn Node, reply: &mut Reply<'_>) {
    if args.len() % 2 == 1 {
        let name = if gone { "cluster|delslotsrange" } else { "cluster|addslotsrange" };
        return reply.error(ReplyError::WrongArity(name));
    }
    let mut slots: Vec<Slot> = Vec::new();
    for index in (2..args.len()).step_by(2) {
        let (Some(first), Some(last)) = (slot_at(args.at(index), reply), args.find(index + 1)) else { return };
        let Some(last) = slot_at(last, reply) else { return };
        if first > last {
            let words = format!("ERR start slot number {first} is greater than end slot number {last}");
            return reply.error_text(words.as_bytes());
        }
        slots.extend((first.number()..=last.number()).filter_map(Slot::new));
        let mut checked = Ok(());
        node.with_machine(&mut |machine, _, _| checked = machine.check_slots(&slots, gone));
        if checked.is_err() {
            return answer(checked, reply);
        }
    }
    obey(node, if gone { Admin::DelSlots(&slots) } else { Admin::AddSlots(&slots) }, reply);
}

fn set_slot(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let mut is_replica = false;
    node.with_machine(&mut |machine, _, _| is_replica = machine.is_replica());
    if is_replica {
        return reply.error_text(b"ERR Please use SETSLOT only with masters.");
    }
    let Some(slot) = slot_at(args.at(2), reply) else { return };
    let action = args.at(3);
    let is = |word: &str, count: usize| action.eq_ignore_ascii_case(word.as_bytes()) && args.len() == count;
    if is("STABLE", 4) {
        obey(node, Admin::SetSlotStable(slot), reply);
    } else if is("NODE", 5) {
        let has_keys = node.keys_in_slot(slot) > 0;
        node.with_machine(&mut |machine, now, actions| {
            let Some(id) = known(machine, args.at(4), reply) else { return };
            answer(machine.admin(now, Admin::SetSlotNode { slot, id, has_keys }, actions), reply);
        });
    } else if is("MIGRATING", 5) || is("IMPORTING", 5) {
        let is_leaving = is("MIGRATING", 5);
        node.with_machine(&mut |machine, _, _| move_slot(machine, slot, is_leaving, args.at(4), reply));
    } else {
        let words = "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP";
        reply.error_text(words.as_bytes());
    }
}

/// SETSLOT MIGRATING and IMPORTING: what Redis refuses is refused in its words; the rest cannot be done yet.
fn move_slot(machine: &Cluster, slot: Slot, is_leaving: bool, name: &[u8], reply: &mut Reply<'_>) {
    if machine.owns(slot) != is_leaving {
        let words = if is_leaving { "I'm not the owner of" } else { "I'm already the owner of" };
        return reply.error_text(format!("ERR {words} hash slot {slot}").as_bytes());
    }
    match slotmesh_cluster::NodeId::parse(name).and_then(|id| machine.flags_of(&id)) {
        None => reply.error_text(&[b"ERR I don't know about node ", client::until_nul(name)].concat()),
        Some(flags) if !flags.contains(NodeFlags::MASTER) => reply.error_text(b"ERR Target node is not a master"),
        Some(_) => reply.error_text(b"ERR slots cannot be moved between nodes yet"),
    }
}

fn reset(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let is_hard = match args.find(2) {
        _ if args.len() > 3 => return command::wrong_subcommand(args, reply),
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"soft") => false,
        Some(word) if word.eq_ignore_ascii_case(b"hard") => true,
        Some(_) => return reply.error(ReplyError::Syntax),
    };
    let key_count = node.key_count();
    node.with_machine(&mut |machine, now, actions| {
        if key_count > 0 && !machine.is_replica() {
            return reply.error_text(b"ERR CLUSTER RESET can't be called with master nodes containing keys");
        }
        answer(machine.admin(now, Admin::Reset { is_hard }, actions), reply);
    });
}

fn set_config_epoch(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    match parse_integer(args.at(2)) {
        Err(error) => reply.error(error),
        Ok(epoch) => match u64::try_from(epoch) {
            Ok(epoch) => obey(node, Admin::SetConfigEpoch(epoch), reply),
            Err(_) => reply.error_text(format!("ERR Invalid config epoch specified: {epoch}").as_bytes()),
        },
    }
}

fn replicate(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let has_keys = node.key_count() > 0;
    node.with_machine(&mut |machine, now, actions| {
        let Some(id) = known(machine, args.at(2), reply) else { return };
        answer(machine.admin(now, Admin::Replicate { id, has_keys }, actions), reply);
    });
}

fn failover(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let how = match args.find(2) {
        _ if args.len() > 3 => return command::wrong_subcommand(args, reply),
        None => Failover::Agreed,
        Some(word) if word.eq_ignore_ascii_case(b"force") => Failover::Forced,
        Some(word) if word.eq_ignore_ascii_case(b"takeover") => Failover::Takeover,
        Some(_) => return reply.error(ReplyError::Syntax),
    };
    obey(node, Admin::Failover(how), reply);
}
