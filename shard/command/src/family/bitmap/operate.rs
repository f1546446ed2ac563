//! BITOP: bit by bit over whole strings.

use super::bytes;
use crate::call::At;
use crate::{Call, HandlerResult};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::Loose;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

pub(super) fn bitop(call: &mut Call<'_>) -> HandlerResult {
    let operation = Operation::parse(call.args.at(1)).ok_or(ReplyError::Syntax)?;
    if operation == Operation::Not && call.args.len() != 4 {
        return Err(ReplyError::BitopNotSingle);
    }
    let result = combine(call, operation)?;
    let (target, now) = (call.key(2), call.now);
    let length = result.len();
    if length > 0 {
        // Only what others could not compute for lack of the keys is said in full.
        if call.others.is_empty() {
            call.replay(1);
        } else {
            call.count_changes(1);
            call.effect(&target, &[b"SET", target.bytes, &result]);
        }
        call.db_of(&target).look(&target, now);
        call.db_of(&target).overwrite(&target, Loose::raw_string(result), now);
    } else if call.db_of(&target).remove(&target, now) {
        call.count_changes(1);
        call.effect(&target, &[b"DEL", target.bytes]);
    }
    call.reply.integer(length as i64);
    Ok(())
}

/// What the sources make together; each that is shorter goes on in zeros.
fn combine(call: &mut Call<'_>, operation: Operation) -> Result<Vec<u8>, ReplyError> {
    let mut result = Vec::new();
    for index in 3..call.args.len() {
        let (key, db, now) = (call.key(index), call.db, call.now);
        let At { keyspace, .. } = call.at(&key);
        let entry = keyspace.db(db).get(&key, now);
        let found = entry.is_some();
        let source = bytes(entry);
        if let Ok(source) = source {
            if index == 3 {
                result = source.to_vec();
            } else {
                operation.apply(&mut result, source);
            }
        }
        let failed = source.is_err();
        call.count_read(found);
        if failed {
            return Err(ReplyError::WrongType);
        }
    }
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(result)
}

impl Operation {
    fn parse(word: &[u8]) -> Option<Self> {
        let names = [(&b"and"[..], Self::And), (b"or", Self::Or), (b"xor", Self::Xor), (b"not", Self::Not)];
        names.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, operation)| operation)
    }

    /// Makes `result` what it and `source` make together.
    fn apply(self, result: &mut Vec<u8>, source: &[u8]) {
        if result.len() < source.len() {
            result.resize(source.len(), 0);
        }
        let (common, rest) = result.split_at_mut(source.len());
        match self {
            Self::And => {
                each_word(common, source, |one, other| one & other);
                rest.fill(0);
            }
            Self::Or => each_word(common, source, |one, other| one | other),
            Self::Xor => each_word(common, source, |one, other| one ^ other),
            Self::Not => {}
        }
    }
}

/// Eight bytes at a time, and then what is left.
fn each_word(to: &mut [u8], from: &[u8], combine: impl Fn(u64, u64) -> u64) {
    let ((to, to_rest), (from, from_rest)) = (to.as_chunks_mut::<8>(), from.as_chunks::<8>());
    for (to, from) in to.iter_mut().zip(from) {
        *to = combine(u64::from_ne_bytes(*to), u64::from_ne_bytes(*from)).to_ne_bytes();
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = combine(u64::from(*to), u64::from(*from)) as u8;
    }
}
