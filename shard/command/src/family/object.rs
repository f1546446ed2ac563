//! OBJECT: how values are kept. Only ENCODING: reference counts, idle times and frequencies are not kept.
//!
//! Mirrors Redis 7.2 `object.c`.

use crate::{
    Call, Categories, Doc, DocArg, Flags, Group, HandlerResult, KeyFlags, KeySpec, Reach, Spec, Tips, find,
    parse_integer, write_help,
};
use slotmesh_keyspace::{List, StringForm, ValueRef};

/// Longest string that Redis keeps together with its head (`OBJ_ENCODING_EMBSTR_SIZE_LIMIT`), in bytes.
const EMBEDDED_BYTES_MAX: usize = 44;

pub(crate) static ROWS: &[Spec] =
    &[Spec::new("object", -2, Flags::empty(), Categories::empty(), Reach::Container, OBJECT).subcommands(&[
        Spec::new("object|encoding", 3, Flags::READONLY, Categories::KEYSPACE, Reach::Slot(encoding), ENCODING)
            .keys(&[KeySpec::one_at(2, KeyFlags::RO)])
            .tips(Tips::NONE.nondeterministic()),
        Spec::new("object|help", 2, Flags::LOADING.union(Flags::STALE), Categories::KEYSPACE, Reach::Slot(help), HELP),
    ])];

fn encoding(call: &mut Call<'_>) -> HandlerResult {
    let key = call.key(2);
    let db = call.keyspace.db(call.db);
    let form = db.string_form(&key, call.now).unwrap_or_default();
    let name = db.get(&key, call.now).map(|entry| match entry.value {
        ValueRef::String(text) if form == StringForm::ByContent && parse_integer(text).is_ok() => "int",
        ValueRef::String(text) if form != StringForm::Raw && text.len() <= EMBEDDED_BYTES_MAX => "embstr",
        ValueRef::List(list) if List::is_packed(list) => "listpack",
        ValueRef::List(_) => "quicklist",
        _ => "raw",
    });
    call.count_read(name.is_some());
    match name {
        Some(name) => call.reply.bulk(name.as_bytes()),
        None => call.reply.null(),
    }
    Ok(())
}

fn help(call: &mut Call<'_>) -> HandlerResult {
    write_help(find(b"object").expect("it has a row"), &mut call.reply);
    Ok(())
}

const OBJECT: Doc =
    Doc::new(Group::Generic, "2.2.3", "Depends on the subcommand", "Holds the commands on how values are kept.");

const ENCODING: Doc =
    Doc::new(Group::Generic, "2.2.3", "O(1)", "Names the form in which a value is kept.").arguments(&[DocArg::KEY]);

const HELP: Doc = Doc::new(Group::Generic, "6.2.0", "O(1)", "Shows how OBJECT is used.");
