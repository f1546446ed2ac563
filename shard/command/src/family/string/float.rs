//! Strings that spell floats: INCRBYFLOAT.

use super::{doc, string};
use crate::extended::Extended;
use crate::{Call, Doc, DocArg, DocKind, HandlerResult};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{Expiry, StringForm};

pub(super) const INCRBYFLOAT: Doc =
    doc("2.6.0", "O(1)", "Adds a number to the floating-point number that a string spells; an absent key counts as 0.")
        .arguments(&[DocArg::KEY, DocArg::new("increment", DocKind::Double)]);

/// The sum is what is replayed, so that nobody else computes it.
pub(super) fn incrbyfloat(call: &mut Call<'_>) -> HandlerResult {
    let (key, now) = (call.key(1), call.now);
    let parse = |text: &[u8]| Extended::parse(text).ok_or(ReplyError::NotAFloat);
    let old = match call.db().get(&key, now) {
        Some(entry) => parse(string(entry.value)?)?,
        None => Extended::ZERO,
    };
    let sum = old.add(parse(call.args.at(2))?).filter(|sum| !sum.is_infinite());
    let text = sum.ok_or(ReplyError::IncrementNotFinite)?.to_string();
    let text = text.as_bytes();
    call.db().put_string_as(&key, text, StringForm::Text, Expiry::Keep, now);
    call.reply.bulk(text);
    call.count_changes(1);
    call.effect(&key, &[b"SET", key.bytes, text, b"KEEPTTL"]);
    Ok(())
}
