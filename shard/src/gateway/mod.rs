//! The gateway beyond this process: requests for slots that nodes of other hosts have.
//!
//! A request goes to the node that the core's own view of the cluster names, over one link that all clients of the core
//! share, in their order; what a node says about where and when to ask is dealt with here, so that no client sees it.
//! What a request may be sent again for, and what not, its row says.
//!
//! Plain code: connections, bytes and time come in, orders, bytes and replies go out.

mod answer;
mod greeting;
mod link;
mod listening;
mod machine;
mod pinned;
mod place;
mod recovery;
mod replicas;
mod routes;
mod scan;

pub use machine::{Envelope, Gateway, LinkId, Order, Origin, Outlet, ReadFrom, Rules, Sent};
pub use pinned::Block;
pub(crate) use pinned::is_answered_by_node;
pub use place::{Beyond, TransactionPlace, home_of};
pub use replicas::ReplicaPoll;
pub use routes::{Master, Owner, Routes, View};
pub use scan::{Onward, ScanStep};

#[cfg(test)]
mod tests;
