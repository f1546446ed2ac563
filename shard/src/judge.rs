//! Whether a request that has come to a node of the cluster is served there, by the slots of its keys.
//!
//! Mirrors Redis 7.2 `cluster.c` `getNodeByQuery`.

use crate::Transaction;
use slotmesh_base::Slot;
use slotmesh_cluster::{Access, Member, Redirect};
use slotmesh_command::{Flags, KeySpec, Reach, Spec, TransactionCommand, key_indexes};
use slotmesh_resp::Args;

/// Whether a node serves a command. `first` is the slot of its first key, if somebody has looked; `is_readonly` whether its
/// client has said READONLY.
///
/// # Errors
/// Why it does not.
#[inline]
pub fn judge(
    spec: &'static Spec,
    args: Args<'_>,
    first: Option<Slot>,
    member: Member<'_>,
    is_readonly: bool,
) -> Result<(), Redirect> {
    let Member { topology, myself } = member;
    match (spec.reach, spec.keys, first) {
        (Reach::Slot(_), [KeySpec { last: 0, .. }], Some(slot)) => {
            topology.judge(myself, std::iter::once(slot), access(spec), is_readonly)
        }
        (Reach::Slot(_) | Reach::PubSub(_) | Reach::Transaction(TransactionCommand::Watch), ..) => {
            topology.judge(myself, slots(spec, args), access(spec), is_readonly)
        }
        _ => Ok(()),
    }
}

/// Whether a node serves an EXEC: the keys of all queued commands together must be of one slot.
///
/// # Errors
/// Why it does not.
pub fn judge_transaction(transaction: &Transaction, member: Member<'_>, is_readonly: bool) -> Result<(), Redirect> {
    let slots = transaction.commands().flat_map(|(spec, args)| slots(spec, args));
    let changes = transaction.commands().any(|(spec, _)| access(spec) == Access::Write);
    let access = if changes { Access::Write } else { Access::Read };
    member.topology.judge(member.myself, slots, access, is_readonly)
}

/// What a command does with the slots of its keys.
#[inline]
fn access(spec: &'static Spec) -> Access {
    if spec.flags.contains(Flags::WRITE) {
        Access::Write
    } else if spec.flags.contains(Flags::PUBSUB) {
        Access::ShardChannel
    } else {
        Access::Read
    }
}

fn slots<'a>(spec: &'static Spec, args: Args<'a>) -> impl Iterator<Item = Slot> + 'a {
    key_indexes(spec, args).map(move |index| Slot::of_key(args.at(index)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Request;
    use slotmesh_cluster::wire::NodeFlags;
    use slotmesh_cluster::{Node, NodeId, NodeIndex, Topology};

    fn topology() -> Topology {
        let node = |number: u64| Node {
            id: NodeId::of_random([number; 3]),
            shard_id: NodeId::of_random([number; 3]),
            ip: String::new(),
            port: 7000 + number as u16,
            other_port: 0,
            bus_port: 17000,
            hostname: None,
            flags: NodeFlags::MASTER,
            master: None,
            offset: 0,
            config_epoch: number,
            heard_at_ms: 0,
        };
        let mut topology = Topology::new(vec![node(0), node(1)], true);
        topology.assign(NodeIndex(0), 0..=8191);
        topology.assign(NodeIndex(1), 8192..=16383);
        topology
    }

    fn judged(text: &str) -> Result<(), Redirect> {
        let (topology, request) = (topology(), Request::words(text));
        let member = Member { topology: &topology, myself: NodeIndex(1) };
        judge(request.spec().unwrap(), request.args(), None, member, false)
    }

    #[test]
    fn keys_decide_where_they_are() {
        // foo lies in slot 12182, bar in 5061.
        assert_eq!(judged("GET foo"), Ok(()));
        assert_eq!(judged("GET bar"), Err(Redirect::Moved(Slot::of_key(b"bar"))));
        assert_eq!(judged("MGET foo {foo}a"), Ok(()));
        assert_eq!(judged("MGET foo bar"), Err(Redirect::CrossSlot));
        assert_eq!(judged("WATCH bar"), Err(Redirect::Moved(Slot::of_key(b"bar"))));
        for free in ["PING", "KEYS *", "DBSIZE", "FLUSHALL", "SCAN 0", "CLUSTER SLOTS"] {
            assert_eq!(judged(free), Ok(()), "{free}");
        }
    }

    #[test]
    fn a_slot_that_is_known_already_is_believed() {
        let (topology, request) = (topology(), Request::words("GET foo"));
        let member = Member { topology: &topology, myself: NodeIndex(0) };
        let judged = judge(request.spec().unwrap(), request.args(), Some(Slot::of_key(b"foo")), member, false);
        assert_eq!(judged, Err(Redirect::Moved(Slot::of_key(b"foo"))));
    }
}
