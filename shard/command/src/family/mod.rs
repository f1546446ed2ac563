//! The families of commands: rows and handlers, one file (or folder) each.

mod bitmap;
mod cluster;
mod connection;
mod database;
mod expire;
mod function;
mod generic;
mod list;
mod memory;
mod object;
mod observe;
mod operate;
mod pubsub;
mod server;
mod sort;
mod string;
mod transaction;

use crate::Spec;
pub use object::{ObjectFacts, object_facts};

/// The rows of all families.
pub(crate) fn rows() -> impl Iterator<Item = &'static Spec> {
    [
        bitmap::ROWS,
        cluster::ROWS,
        connection::ROWS,
        expire::ROWS,
        function::ROWS,
        generic::ROWS,
        database::ROWS,
        list::ROWS,
        memory::ROWS,
        object::ROWS,
        observe::ROWS,
        operate::ROWS,
        pubsub::ROWS,
        server::ROWS,
        sort::ROWS,
        string::ROWS,
        transaction::ROWS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
pub(crate) mod testing;
