//! The settings of the process: what an operator writes, as values that cannot be malformed.
//!
//! For: one table of directives ([`directive`]) that the parser, CONFIG GET and SET, `--help` and the
//! shipped `slotmesh.conf` all read; redis.conf syntax as a format of the `config` crate
//! ([`redis_format`]); the order file < standard input < environment < command line ([`load`]).
//!
//! Not here: files and sockets (a [`Reader`] is handed in), what a setting does, who may change it.
//!
//! Invariants: every value in [`Settings`] was parsed by the row of its directive; a directive is declared
//! once; no secret is printed by `Debug`, by an error or into a log.
//!
//! Read first: `directive.rs`, then `declaration.rs`, then `load.rs`.

mod collect;
mod command_line;
mod declaration;
pub mod directive;
mod error;
mod handle;
pub mod help;
mod include;
mod load;
mod parse;
mod pattern;
pub mod redis_format;
pub mod rewrite;
mod settings;
pub mod title;
mod value;
mod words;

pub use command_line::{CommandLine, Invocation};
pub use declaration::{Change, Directive, Kind, Standing};
pub use error::{ConfError, Origin, Reason, SetError};
pub use handle::{Handle, Read, Shape};
pub use load::{Files, Loaded, Reader, WithoutEffect, load};
pub use rewrite::RewriteError;
pub use settings::{Hot, Secret, Settings};
pub use value::{LogLevel, OutputLimit, OutputLimits, SavePoint, Value};
