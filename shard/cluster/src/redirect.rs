//! Why a request is not served here, and the error that says so.

use crate::Topology;
use core::fmt;
use slotmesh_base::{ReplyError, Slot};

/// Why a node does not serve a request with keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redirect {
    /// Its keys lie in several slots.
    CrossSlot,
    /// Nobody owns the slot.
    SlotNotServed,
    /// The cluster does not serve.
    ClusterDown,
    /// The cluster serves those only who read.
    ReadOnly,
    /// Another node owns the slot.
    Moved(Slot),
}

impl Redirect {
    /// The error reply for a client that has reached us at `here`, without its leading `-` and its line end.
    pub fn text<'a>(self, topology: &'a Topology, here: &'a str) -> RedirectText<'a> {
        RedirectText { redirect: self, topology, here }
    }
}

/// The error reply of a [`Redirect`], for printing.
#[derive(Clone, Copy, Debug)]
pub struct RedirectText<'a> {
    redirect: Redirect,
    topology: &'a Topology,
    here: &'a str,
}

impl fmt::Display for RedirectText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self.redirect {
            Redirect::CrossSlot => ReplyError::CrossSlot,
            Redirect::SlotNotServed => ReplyError::SlotNotServed,
            Redirect::ClusterDown => ReplyError::ClusterDown,
            Redirect::ReadOnly => ReplyError::ClusterReadOnly,
            Redirect::Moved(slot) => match self.topology.owner_address(slot, self.here) {
                Some((ip, port)) => return write!(f, "MOVED {slot} {ip}:{port}"),
                None => ReplyError::SlotNotServed,
            },
        };
        error.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::three;
    use std::string::ToString;

    #[test]
    fn a_redirect_names_slot_and_address() {
        let topology = three();
        let moved = Redirect::Moved(Slot::new(449).unwrap());
        assert_eq!(moved.text(&topology, "127.0.0.1").to_string(), "MOVED 449 127.0.0.1:7000");
        assert_eq!(Redirect::SlotNotServed.text(&topology, "").to_string(), "CLUSTERDOWN Hash slot not served");
    }
}
