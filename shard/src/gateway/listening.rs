//! Shard channels whose slots other hosts have: what clients of the gateway hear comes over a link to the node that has
//! the slot, which hears for all clients of the core.

use super::link::Phase;
use super::machine::{Gateway, LinkId, Origin, Outlet};
use super::recovery::LOOK_NANOS;
use super::routes::Owner;
use slotmesh_base::{Monotonic, Slot};
use slotmesh_resp::{Protocol, elements, push_request};
use std::collections::BTreeMap;

/// How a channel is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ear {
    /// Not at all.
    Deaf,
    /// The node on this link was asked.
    Asked(LinkId),
    /// The node on this link has said that we hear it.
    Hears(LinkId),
}

impl Ear {
    fn link(self) -> Option<LinkId> {
        match self {
            Self::Deaf => None,
            Self::Asked(link) | Self::Hears(link) => Some(link),
        }
    }
}

/// The channels that clients want to hear.
pub(super) type Ears = BTreeMap<Vec<u8>, Ear>;

impl<T: Origin> Gateway<T> {
    /// Hears these shard channels from now on, and no others. The slots of all of them are elsewhere.
    pub fn listen<'a>(&mut self, now: Monotonic, channels: impl Iterator<Item = &'a [u8]>) {
        let mut ears = Ears::new();
        for channel in channels {
            let ear = self.ears.remove(channel).unwrap_or(Ear::Deaf);
            ears.insert(channel.to_vec(), ear);
        }
        for (channel, ear) in std::mem::replace(&mut self.ears, ears) {
            if let Some(link) = ear.link() {
                self.say_on(now, link, &[b"SUNSUBSCRIBE", &channel]);
            }
        }
        self.arrange_ears(now);
    }

    /// Whether a channel is heard.
    pub fn hears(&self, channel: &[u8]) -> bool {
        matches!(self.ears.get(channel), Some(Ear::Hears(_)))
    }

    /// Asks the nodes that have the slots for what is not heard, and those no more that have lost them.
    pub(super) fn arrange_ears(&mut self, now: Monotonic) {
        if self.ears.is_empty() {
            return;
        }
        let mut ears = std::mem::take(&mut self.ears);
        for (channel, ear) in &mut ears {
            let Owner::Peer(peer) = self.routes.owner(Slot::of_key(channel)) else { continue };
            if let Some(link) = ear.link() {
                match self.link(link).map(|link| link.peer) {
                    Some(at) if at == peer => continue,
                    Some(_) => self.say_on(now, link, &[b"SUNSUBSCRIBE", channel]),
                    None => {}
                }
            }
            *ear = Ear::Deaf;
            if let Some(link) = self.ear_at(now, peer) {
                self.say_on(now, link, &[b"SSUBSCRIBE", channel]);
                *ear = Ear::Asked(link);
            }
        }
        let hears_all = ears.values().all(|ear| matches!(ear, Ear::Hears(_)));
        self.ears = ears;
        if !hears_all {
            self.next_look = self.next_look.min(Monotonic(now.0 + LOOK_NANOS));
        }
    }

    /// The link over which we hear a node; made if there is none.
    fn ear_at(&mut self, now: Monotonic, peer: u16) -> Option<LinkId> {
        let is_ear = |place: &usize| self.links[*place].1.as_ref().is_some_and(|link| link.is_ear && link.peer == peer);
        if let Some(place) = (0..self.links.len()).find(is_ear) {
            return Some(LinkId { index: place as u32, generation: self.links[place].0 });
        }
        let id = self.open_link(now, peer, Protocol::Resp2, true)?;
        self.link_mut(id)?.is_ear = true;
        Some(id)
    }

    fn say_on(&mut self, now: Monotonic, id: LinkId, words: &[&[u8]]) {
        let Some(link) = self.link_mut(id) else { return };
        let mut request = Vec::new();
        push_request(&mut request, words.iter().copied());
        link.say(&request);
        self.note_put(id, now);
    }

    /// A node has said something on the link over which we hear it.
    pub(super) fn hear(&mut self, now: Monotonic, id: LinkId, said: &[u8], outlet: &mut impl Outlet<T>) {
        let words: Vec<&[u8]> = elements(said).into_iter().flatten().filter_map(super::pinned::text_of).collect();
        match words[..] {
            [b"smessage", channel, text] => outlet.hear(channel, text),
            [b"ssubscribe", channel, ..] => {
                if let Some(ear) = self.ears.get_mut(channel).filter(|ear| ear.link() == Some(id)) {
                    *ear = Ear::Hears(id);
                    self.has_released = true;
                }
            }
            // The slot has left the node, or it was never there: whoever has it is asked soon.
            [b"sunsubscribe", channel, ..] => {
                if let Some(ear) = self.ears.get_mut(channel).filter(|ear| ear.link() == Some(id)) {
                    *ear = Ear::Deaf;
                }
                self.next_look = self.next_look.min(Monotonic(now.0 + LOOK_NANOS));
            }
            _ => {
                self.ears.values_mut().filter(|ear| **ear == Ear::Asked(id)).for_each(|ear| *ear = Ear::Deaf);
                self.next_look = self.next_look.min(Monotonic(now.0 + LOOK_NANOS));
            }
        }
    }

    /// A link over which we heard is gone.
    pub(super) fn lose_ear(&mut self, id: LinkId) {
        self.ears.values_mut().filter(|ear| ear.link() == Some(id)).for_each(|ear| *ear = Ear::Deaf);
    }

    /// Closes links over which nothing is heard any more.
    pub(super) fn drop_idle_ears(&mut self) {
        for place in 0..self.links.len() {
            let id = LinkId { index: place as u32, generation: self.links[place].0 };
            let is_idle = self.link(id).is_some_and(|link| link.is_ear && link.phase == Phase::Open)
                && !self.ears.values().any(|ear| ear.link() == Some(id));
            if is_idle {
                self.drop_link(id);
            }
        }
    }
}
