//! Everything that touches the kernel on the data path: rings, sockets, mailboxes, clocks, entropy.
//!
//! *For*: one raw io_uring per core for client connections (the data plane), or an epoll set where there is none, monoio
//! on the same thread (the control plane), messages from core to core. *Not here*: RESP, slots, nodes, settings.
//! *Invariants*: one enter or epoll wait per turn; no wait but in [`DataLoop::turn`]; memory that the kernel writes to or
//! reads from lives until its completion; nobody else names monoio or io-uring.
//! *Read first*: `data_loop.rs`, then `sockets.rs`, `kernel.rs` and `mailbox.rs`.

mod buffers;
pub mod clock;
mod control;
mod cpu;
mod data_loop;
mod dial;
pub mod entropy;
mod epoll;
mod files;
mod kernel;
mod mailbox;
mod probe;
pub mod process;
mod ring;
mod sockets;
pub mod tcp;
mod ticks;
mod title;

pub use buffers::{Chunk, ReceiveBuffers};
pub use control::spawn_control;
pub use cpu::{allowed_cpus, pin_to};
pub use data_loop::{DataLoop, Event, LoopStats, Wait, run_core};
pub use dial::Dials;
pub use files::{FileDone, Files, sync_folder};
pub use kernel::Backend;
pub use mailbox::{Lane, Mail, mesh};
pub use probe::{Refusal, probe};
pub use sockets::{SocketId, Sockets};
pub use ticks::TickClock;
pub use title::set_process_title;
