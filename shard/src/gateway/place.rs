//! Which way a request of the gateway goes, where other hosts have slots, too.

use super::routes::Routes;
use crate::{Home, SlotMap, Transaction};
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{
    ChannelKind, KeySpec, PubSubCommand, Reach, RequestPolicy, Spec, key_indexes, reads_unnamed_keys,
    refusal_of_unnamed_keys,
};
use slotmesh_resp::Args;

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// It stays in this process.
    Here,
    /// To the node of another host that has this slot, whole.
    Whole(Slot),
    /// In parts: to cores of ours those of their keys, to nodes of other hosts those of a slot each.
    Split,
    /// To all that have slots, whole.
    Everywhere,
    /// To one after the other.
    Scan,
    /// Nowhere.
    Refused(ReplyError),
}

impl Beyond {
    /// The way of an admitted command; `first` is the slot of its first key, if somebody has looked.
    #[inline]
    pub fn of(spec: &'static Spec, args: Args<'_>, first: Option<Slot>, routes: &Routes) -> Self {
        match (spec.reach, spec.keys, first) {
            (Reach::Slot(_), [KeySpec { last: 0, .. }], Some(slot)) => match routes.is_ours(slot) {
                true => Self::Here,
                false => Self::Whole(slot),
            },
            (Reach::PubSub(PubSubCommand::Publish(ChannelKind::Shard)), _, Some(slot)) if !routes.is_ours(slot) => {
                Self::Whole(slot)
            }
            (Reach::Slot(_), ..) => Self::of_keys(spec, args, routes),
            (Reach::Shard(_), ..) if routes.has_remote() => match spec.tips.request {
                RequestPolicy::AllShards | RequestPolicy::AllNodes => Self::Everywhere,
                RequestPolicy::Special => Self::Scan,
                RequestPolicy::Default | RequestPolicy::MultiShard => Self::Here,
            },
            _ => Self::Here,
        }
    }

    fn of_keys(spec: &'static Spec, args: Args<'_>, routes: &Routes) -> Self {
        let (mut first, mut end) = (None, 0);
        let (mut is_one_slot, mut all_ours) = (true, true);
        for index in key_indexes(spec, args) {
            let slot = Slot::of_key(args.at(index));
            end = index + spec.keys.first().map_or(1, |keys| keys.step);
            is_one_slot &= *first.get_or_insert(slot) == slot;
            all_ours &= routes.is_ours(slot);
        }
        let Some(first) = first else { return Self::Here };
        if all_ours {
            // What keys it may name besides, other hosts may have.
            let refusal = if routes.has_remote() { refusal_of_unnamed_keys(spec, args) } else { None };
            return refusal.map_or(Self::Here, Self::Refused);
        }
        if end > args.len() {
            // A last key without what belongs to it: any handler refuses that, and touches nothing.
            Self::Here
        } else if is_one_slot {
            Self::Whole(first)
        } else if spec.tips.request == RequestPolicy::MultiShard {
            Self::Split
        } else {
            Self::Refused(ReplyError::CrossSlot)
        }
    }
}

/// Where a transaction goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionPlace {
    /// It stays in this process, if it has any keys.
    Here {
        /// Whether it has.
        has_keys: bool,
    },
    /// To the node of another host that has this slot, the only one.
    Whole(Slot),
    /// Nowhere: keys are on several hosts, or in several slots of another one.
    Apart,
}

impl TransactionPlace {
    /// The way of the commands of a client.
    pub fn of(transaction: &Transaction, routes: &Routes) -> Self {
        let (mut has_keys, mut elsewhere) = (false, None);
        for (spec, args) in transaction.commands() {
            // What works on all keys would work on those of this process alone, and what reads unnamed ones as well.
            let is_of_all = matches!(spec.reach, Reach::Shard(_)) || reads_unnamed_keys(spec, args);
            if is_of_all && routes.has_remote() {
                return Self::Apart;
            }
            for index in key_indexes(spec, args) {
                let slot = Slot::of_key(args.at(index));
                if routes.is_ours(slot) {
                    has_keys = true;
                } else if *elsewhere.get_or_insert(slot) != slot {
                    return Self::Apart;
                }
            }
        }
        match elsewhere {
            Some(_) if has_keys => Self::Apart,
            Some(slot) => Self::Whole(slot),
            None => Self::Here { has_keys },
        }
    }
}

/// Where the keys of a slot are.
pub fn home_of(slot: Slot, map: &SlotMap, routes: &Routes) -> Home {
    match routes.is_ours(slot) {
        true => Home::Core(map.owner(slot)),
        false => Home::Slot(slot),
    }
}
