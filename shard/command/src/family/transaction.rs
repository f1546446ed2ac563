//! Rows of the commands that make transactions; they run other commands, in `shard/src/transaction.rs`.
//!
//! Mirrors Redis 7.2 `multi.c`.

use crate::{Categories, Doc, DocArg, Flags, Group, KeyFlags, KeySpec, Reach, Spec, TransactionCommand};

const TRANSACTION: Categories = Categories::TRANSACTION;
/// At any time, also while data are being loaded or are stale.
const ANY_TIME: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
/// Also while a script runs.
const ALWAYS: Flags = ANY_TIME.union(Flags::FAST).union(Flags::ALLOW_BUSY);
const LAST: Flags = ANY_TIME.union(Flags::SKIP_SLOWLOG);

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("discard", 1, ALWAYS, TRANSACTION, Reach::Transaction(TransactionCommand::Discard), DISCARD),
    Spec::new("exec", 1, LAST, TRANSACTION, Reach::Transaction(TransactionCommand::Exec), EXEC),
    Spec::new("multi", 1, ALWAYS, TRANSACTION, Reach::Transaction(TransactionCommand::Multi), MULTI),
    Spec::new("unwatch", 1, ALWAYS, TRANSACTION, Reach::Transaction(TransactionCommand::Unwatch), UNWATCH),
    Spec::new("watch", -2, ALWAYS, TRANSACTION, Reach::Transaction(TransactionCommand::Watch), WATCH)
        .keys(&[KeySpec::all(KeyFlags::RO, 1)]),
];

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Transactions, since, complexity, summary)
}

const DISCARD: Doc = doc("2.0.0", "O(N) for N commands that were queued", "Drops the commands of a transaction.");

const EXEC: Doc = doc("1.2.0", "Depends on the commands that were queued", "Runs the commands of a transaction.");

const MULTI: Doc = doc("1.2.0", "O(1)", "Begins a transaction: commands are queued until it is executed.");

const UNWATCH: Doc = doc("2.2.0", "O(1)", "Stops watching keys.");

const WATCH: Doc = doc("2.2.0", "O(1) for each key", "Lets the next transaction run only if keys are unchanged.")
    .arguments(&[DocArg::KEY.multiple()]);
