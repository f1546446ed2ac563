//! The messages of the bus and nodes.conf, as bytes.

mod any_bytes;
mod check;
mod nodes_conf;
mod wire;
