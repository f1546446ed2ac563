//! Clients of one core: their connections, the order of their replies.

pub(crate) mod connection;
pub(crate) mod pipeline;

pub(crate) use connection::{Connection, Wait, Waiting};
pub(crate) use pipeline::Pipeline;
