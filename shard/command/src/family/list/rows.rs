//! The rows of lists.

use super::{block, change, docs, pop, push, push_to_existing, read};
use crate::{Categories, Flags, KeyFlags, KeySpec, Reach, Spec, TimeoutAt};
use slotmesh_keyspace::End;

const LIST: Categories = Categories::LIST;
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const WRITE_GROWS: Flags = Flags::WRITE.union(Flags::DENYOOM);
const WRITE_GROWS_FAST: Flags = WRITE_GROWS.union(Flags::FAST);

const INSERTS: KeyFlags = KeyFlags::RW.union(KeyFlags::INSERT);
const POPS: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE);

const ONE_READ: &[KeySpec] = &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS))];
const ONE_INSERT: &[KeySpec] = &[KeySpec::one(INSERTS)];
const ONE_POP: &[KeySpec] = &[KeySpec::one(POPS)];
const ONE_CUT: &[KeySpec] = &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE))];
const TWO_MOVE: &[KeySpec] = &[KeySpec::one(POPS), KeySpec::one_at(2, INSERTS)];

const BLOCKS: Flags = WRITE.union(Flags::BLOCKING);
const BLOCKS_GROWS: Flags = WRITE_GROWS.union(Flags::BLOCKING);
/// All arguments but the last, which is the timeout.
const ALL_BUT_LAST: &[KeySpec] = &[KeySpec::all_but_last(POPS)];

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("blmove", 6, BLOCKS_GROWS, LIST, Reach::Slot(block::blmove), docs::BLMOVE)
        .keys(TWO_MOVE)
        .timeout(TimeoutAt::Last),
    Spec::new("blmpop", -5, BLOCKS.union(Flags::MOVABLE_KEYS), LIST, Reach::Slot(block::blmpop), docs::BLMPOP)
        .keys(&[KeySpec::counted(2, POPS)])
        .timeout(TimeoutAt::First),
    Spec::new("blpop", -3, BLOCKS, LIST, Reach::Slot(|call| block::blocking_pop(call, End::Front)), docs::BLPOP)
        .keys(ALL_BUT_LAST)
        .timeout(TimeoutAt::Last),
    Spec::new("brpop", -3, BLOCKS, LIST, Reach::Slot(|call| block::blocking_pop(call, End::Back)), docs::BRPOP)
        .keys(ALL_BUT_LAST)
        .timeout(TimeoutAt::Last),
    Spec::new("brpoplpush", 4, BLOCKS_GROWS, LIST, Reach::Slot(block::brpoplpush), docs::BRPOPLPUSH)
        .keys(TWO_MOVE)
        .timeout(TimeoutAt::Last),
    Spec::new("lindex", 3, READ, LIST, Reach::Slot(read::lindex), docs::LINDEX).keys(ONE_READ),
    Spec::new("linsert", 5, WRITE_GROWS, LIST, Reach::Slot(change::linsert), docs::LINSERT).keys(ONE_INSERT),
    Spec::new("llen", 2, READ_FAST, LIST, Reach::Slot(read::llen), docs::LLEN).keys(&[KeySpec::one(KeyFlags::RO)]),
    Spec::new("lmove", 5, WRITE_GROWS, LIST, Reach::Slot(pop::lmove), docs::LMOVE).keys(TWO_MOVE),
    Spec::new("lmpop", -4, WRITE.union(Flags::MOVABLE_KEYS), LIST, Reach::Slot(pop::lmpop), docs::LMPOP)
        .keys(&[KeySpec::counted(1, POPS)]),
    Spec::new("lpop", -2, WRITE_FAST, LIST, Reach::Slot(|call| pop::pop(call, End::Front, "lpop")), docs::LPOP)
        .keys(ONE_POP),
    Spec::new("lpos", -3, READ, LIST, Reach::Slot(read::lpos), docs::LPOS).keys(ONE_READ),
    Spec::new("lpush", -3, WRITE_GROWS_FAST, LIST, Reach::Slot(|call| push(call, End::Front)), docs::LPUSH)
        .keys(ONE_INSERT),
    Spec::new(
        "lpushx",
        -3,
        WRITE_GROWS_FAST,
        LIST,
        Reach::Slot(|call| push_to_existing(call, End::Front)),
        docs::LPUSHX,
    )
    .keys(ONE_INSERT),
    Spec::new("lrange", 4, READ, LIST, Reach::Slot(read::lrange), docs::LRANGE).keys(ONE_READ),
    Spec::new("lrem", 4, WRITE, LIST, Reach::Slot(change::lrem), docs::LREM).keys(ONE_CUT),
    Spec::new("lset", 4, WRITE_GROWS, LIST, Reach::Slot(change::lset), docs::LSET)
        .keys(&[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Spec::new("ltrim", 4, WRITE, LIST, Reach::Slot(change::ltrim), docs::LTRIM).keys(ONE_CUT),
    Spec::new("rpop", -2, WRITE_FAST, LIST, Reach::Slot(|call| pop::pop(call, End::Back, "rpop")), docs::RPOP)
        .keys(ONE_POP),
    Spec::new("rpoplpush", 3, WRITE_GROWS, LIST, Reach::Slot(pop::rpoplpush), docs::RPOPLPUSH).keys(TWO_MOVE),
    Spec::new("rpush", -3, WRITE_GROWS_FAST, LIST, Reach::Slot(|call| push(call, End::Back)), docs::RPUSH)
        .keys(ONE_INSERT),
    Spec::new(
        "rpushx",
        -3,
        WRITE_GROWS_FAST,
        LIST,
        Reach::Slot(|call| push_to_existing(call, End::Back)),
        docs::RPUSHX,
    )
    .keys(ONE_INSERT),
];
