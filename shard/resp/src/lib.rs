//! The client protocol: RESP2 and RESP3 requests in, replies out; incremental and without copies.
//!
//! *For*: finding requests in received bytes, writing replies into an output buffer, finding the end of a
//! reply. *Not here*: command names, sockets, anything that knows what a request means.
//! *Invariants*: bytes from outside never panic; a declared length never allocates before its bytes arrive.
//! *Read first*: `decode.rs`.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod args;
mod decode;
mod double;
mod encode;
mod frame;
mod grisu;
mod header;
mod inline;
mod integer;
mod protocol_error;
mod quick;

pub use args::{ArgRange, Args};
pub use decode::{DecodeLimits, Decoder, Step};
pub use encode::{Deferred, Protocol, Reply, push_request};
pub use frame::{Elements, FrameError, ReplyEnd, ReplyScanner, elements, reply_length};
pub use integer::parse_integer;
pub use protocol_error::ProtocolError;
