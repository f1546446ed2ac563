//! SORT and SORT_RO: the elements of a collection in another order, or what keys named after them hold.
//!
//! Mirrors Redis 7.2 `sort.c`. Weights are looked up once for each element and become numbers of 64 bits in the order of
//! the weights, so that most comparisons touch nothing else; where these are equal the texts decide. Elements that are
//! equal even so keep the order that they had (in Redis they do unless `LIMIT` stands with `BY`). With `LIMIT` only what
//! is asked for is sorted.

mod options;
mod order;
mod pattern;
mod texts;

use crate::call::At;
use crate::{Call, Categories, Doc, DocArg, DocKind, Flags, Group, HandlerResult, KeyFlags, KeySpec, Reach, Spec};
use options::Options;
use order::Order;
use pattern::{Pattern, Scout};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{End, List, Loose, PackedLimit, ValueRef};
use slotmesh_resp::Args;
use std::ops::Range;
use texts::Texts;

const COLLECTIONS: Categories =
    Categories::SET.union(Categories::SORTEDSET).union(Categories::LIST).union(Categories::DANGEROUS);

const SORTED: KeySpec = KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS));
const fn patterns(refusal_at_node: fn(Args<'_>) -> Option<ReplyError>) -> KeySpec {
    let notes = "the keys of BY and GET are named after what the sorted key holds";
    KeySpec::content(refusal_at_node, KeyFlags::RO.union(KeyFlags::ACCESS), notes)
}
const STORED: KeySpec = KeySpec::option(
    options::find_stored,
    KeyFlags::OW.union(KeyFlags::UPDATE),
    "the key of STORE stands anywhere in the request",
);

pub(crate) static ROWS: &[Spec] = &[
    Spec::new(
        "sort",
        -2,
        Flags::WRITE.union(Flags::DENYOOM).union(Flags::MOVABLE_KEYS),
        COLLECTIONS,
        Reach::Slot(|call| sort(call, true)),
        SORT,
    )
    .keys(&[SORTED, patterns(|args| options::refusal_at_node(args, true)), STORED]),
    Spec::new(
        "sort_ro",
        -2,
        Flags::READONLY.union(Flags::MOVABLE_KEYS),
        COLLECTIONS,
        Reach::Slot(|call| sort(call, false)),
        SORT_RO,
    )
    .keys(&[SORTED, patterns(|args| options::refusal_at_node(args, false))]),
];

fn sort(call: &mut Call<'_>, may_store: bool) -> HandlerResult {
    let options = Options::parse(call.args, may_store, call.is_node)?;
    let (elements, wanted) = load(call, &options)?;
    let mut order = Order::as_loaded(&elements);
    if options.sorts {
        order.sort(call, &options, wanted.clone())?;
    }
    match options.stored {
        None => answer(call, &options, order.texts(wanted)),
        Some(index) => store(call, &options, order.texts(wanted), index),
    }
    Ok(())
}

/// The elements of the sorted key that take part, and which of them are wanted once they are in order.
fn load(call: &mut Call<'_>, options: &Options<'_>) -> Result<(Texts, Range<usize>), ReplyError> {
    let (key, db, now) = (call.key(1), call.db, call.now);
    let At { keyspace, .. } = call.at(&key);
    let entry = keyspace.db(db).get(&key, now);
    let found = entry.is_some();
    let loaded = match entry.map(|entry| entry.value) {
        None => Ok((Texts::default(), 0..0)),
        Some(ValueRef::List(list)) => Ok(load_list(list, options)),
        Some(_) => Err(ReplyError::WrongType),
    };
    call.count_read(found);
    loaded
}

/// Where nothing is sorted, a list has its order already, and no more of it is loaded than is wanted.
fn load_list(list: &List, options: &Options<'_>) -> (Texts, Range<usize>) {
    let (len, mut texts) = (list.len(), Texts::default());
    let wanted = options.window(len);
    if options.sorts {
        list.visit(0..len, |element| texts.push_element(element));
        return (texts, wanted);
    }
    let count = wanted.len();
    if options.descends {
        list.visit_back(len - wanted.end..len - wanted.start, |element| texts.push_element(element));
    } else {
        list.visit(wanted, |element| texts.push_element(element));
    }
    (texts, 0..count)
}

fn answer<'e>(call: &mut Call<'_>, options: &Options<'_>, elements: impl ExactSizeIterator<Item = &'e [u8]> + Clone) {
    call.reply.array(elements.len() * options.gets.len().max(1));
    let (mut name, mut scout) = (Vec::new(), Scout::new(elements.clone()));
    for element in elements {
        scout.step(call, &options.gets, &mut name);
        if options.gets.is_empty() {
            call.reply.bulk(element);
        }
        for pattern in &options.gets {
            pattern.look_up(call, element, &mut name, |value, reply| match value {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            });
        }
    }
}

/// Stores a list under the key at `index`. What is not there is an empty string in it. If there is nothing to store, there
/// is no key afterwards.
fn store<'e>(
    call: &mut Call<'_>,
    options: &Options<'_>,
    elements: impl ExactSizeIterator<Item = &'e [u8]> + Clone,
    index: usize,
) {
    let (target, now) = (call.key(index), call.now);
    if elements.len() == 0 {
        if call.db_of(&target).remove(&target, now) {
            call.count_changes(1);
            call.effect(&target, &[b"DEL", target.bytes]);
        }
        return call.reply.integer(0);
    }
    let list = if options.gets.is_empty() {
        list_of(elements, call.limits.list_packed)
    } else {
        let (mut name, mut values) = (Vec::new(), Texts::default());
        let mut scout = Scout::new(elements.clone());
        for element in elements {
            scout.step(call, &options.gets, &mut name);
            for pattern in &options.gets {
                pattern.look_up(call, element, &mut name, |value, _| values.push(value.unwrap_or_default()));
            }
        }
        list_of(values.iter(), call.limits.list_packed)
    };
    let length = match list.value() {
        ValueRef::List(list) => list.len(),
        _ => 0,
    };
    call.db_of(&target).look(&target, now);
    call.db_of(&target).overwrite(&target, list, now);
    call.count_changes(length);
    // What came out, not the request: others have not all of the keys, and may order equal weights otherwise.
    call.effect_recreate(call.db, &target);
    call.reply.integer(length as i64);
}

/// One element after the other, so that the list is packed if it is small as a whole.
fn list_of<'e>(elements: impl Iterator<Item = &'e [u8]>, limit: PackedLimit) -> Loose {
    Loose::list(|list| elements.for_each(|element| list.push(End::Back, std::iter::once(element), limit)))
}

const COMPLEXITY: &str = "O(N+M*log(M)) for N elements of which M are wanted; O(N) if nothing is sorted";

const KEY: DocArg = DocArg::KEY;
const BY: DocArg = DocArg::new("by-pattern", DocKind::SecondKeyPattern).shown("pattern").token("BY").optional();
const LIMIT: DocArg =
    DocArg::block("limit", &[DocArg::new("offset", DocKind::Integer), DocArg::new("count", DocKind::Integer)])
        .token("LIMIT")
        .optional();
const GET: DocArg = DocArg::new("get-pattern", DocKind::SecondKeyPattern)
    .shown("pattern")
    .token("GET")
    .optional()
    .multiple()
    .multiple_token();
const ORDER: DocArg = DocArg::one_of("order", &[DocArg::word("asc", "ASC"), DocArg::word("desc", "DESC")]).optional();
const ALPHA: DocArg = DocArg::word("sorting", "ALPHA").optional();
const STORE: DocArg = DocArg::new("destination", DocKind::ThirdKey).token("STORE").optional();

const SORT: Doc = Doc::new(
    Group::Generic,
    "1.0.0",
    COMPLEXITY,
    "Puts the elements of a list, a set or a sorted set in order, and shows or stores them.",
)
.arguments(&[KEY, BY, LIMIT, GET, ORDER, ALPHA, STORE]);

const SORT_RO: Doc =
    Doc::new(Group::Generic, "7.0.0", COMPLEXITY, "Shows the elements of a list, a set or a sorted set in order.")
        .arguments(&[KEY, BY, LIMIT, GET, ORDER, ALPHA]);

#[cfg(test)]
mod tests;
