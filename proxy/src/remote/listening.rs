//! Shard channels that our clients hear, and whose slots other hosts have.

use crate::engine::{Engine, Hands};
use crate::hop::ReturnAddress;
use crate::pubsub::{Door, Message};
use slotmesh_base::{Monotonic, ReplyError, Slot};
use slotmesh_command::{ChannelKind, find};
use slotmesh_conf::directive;
use slotmesh_io::SocketId;
use slotmesh_resp::{Args, Protocol};
use slotmesh_shard::Envelope;

/// The address of what nobody waits for.
pub(super) const NOBODY: ReturnAddress =
    ReturnAddress { socket: SocketId { index: u32::MAX, generation: 0 }, ticket: 0, part: 0 };

/// What becomes of a wish to hear channels.
pub(crate) enum Hearing {
    /// They are heard.
    Ready,
    /// Not all of them yet.
    NotYet,
    /// The nodes that have them were not reached.
    Failed(ReplyError),
}

impl Engine {
    /// Whether a client can be told now that it hears these shard channels.
    pub(crate) fn hears_elsewhere(&mut self, args: Args<'_>) -> Hearing {
        let now = self.monotonic;
        let retry_ms = self.settings.value(directive::GATEWAY_RETRY_TIMEOUT);
        let Some(remote) = &mut self.remote else { return Hearing::Ready };
        remote.hears_otherwise = true;
        let mut is_ready = true;
        for channel in args.iter_from(1) {
            if remote.gateway.routes().is_ours(Slot::of_key(channel)) {
                continue;
            }
            if remote.gateway.hears(channel) {
                remote.awaited.remove(channel);
                continue;
            }
            is_ready = false;
            let until = *remote.awaited.entry(channel.to_vec()).or_insert(now.plus_millis(retry_ms));
            if until <= now {
                remote.awaited.remove(channel);
                return Hearing::Failed(ReplyError::NodeNotReached);
            }
        }
        if is_ready { Hearing::Ready } else { Hearing::NotYet }
    }

    /// Clients of ours hear other shard channels than before, or will.
    pub(crate) fn note_listeners(&mut self) {
        if let Some(remote) = &mut self.remote {
            remote.hears_otherwise = true;
        }
    }

    /// Tells the gateway what our clients want to hear, if that may have changed.
    pub(super) fn follow_listeners(&mut self, hands: &mut Hands<'_>) {
        let Some(remote) = self.remote.as_mut().filter(|remote| remote.hears_otherwise) else { return };
        remote.hears_otherwise = false;
        let routes = remote.gateway.routes();
        let mut channels: Vec<Vec<u8>> = remote.awaited.keys().cloned().collect();
        let heard = self.subscriptions.channels_outside(|slot| routes.is_ours(slot));
        channels.extend(heard.into_iter().map(|(channel, _)| channel.to_vec()));
        self.with_gateway(hands, |remote, now, _| remote.gateway.listen(now, channels.iter().map(Vec::as_slice)));
    }

    /// Tells our clients of the gateway a message of a shard channel of another host. Clients of our node hear it over the
    /// bus, if they do.
    pub(super) fn hear_from_host(&mut self, hands: &mut Hands<'_>, channel: &[u8], text: &[u8]) {
        self.heard.door = Door::Gateway;
        self.tell(hands.sockets, Message { kind: ChannelKind::Shard, channel, text }, None);
        self.heard.door = Door::Both;
    }

    /// Whether the slot of a shard channel is another host's.
    pub(crate) fn is_elsewhere(&self, kind: ChannelKind, channel: &[u8]) -> bool {
        let is_ours = |slot| self.remote.as_ref().is_none_or(|remote| remote.gateway.routes().is_ours(slot));
        kind == ChannelKind::Shard && !is_ours(Slot::of_key(channel))
    }

    /// Says something on a shard channel of another host, for which nobody waits.
    pub(crate) fn say_elsewhere(&mut self, channel: &[u8], text: &[u8]) {
        let now: Monotonic = self.monotonic;
        let (Some(remote), Some(spec)) = (&mut self.remote, find(b"spublish")) else { return };
        let (slot, protocol) = (Slot::of_key(channel), Protocol::Resp2);
        let words = [&b"SPUBLISH"[..], channel, text];
        // What cannot be said is not heard, as where nobody listens.
        let _ = remote.gateway.send_part(now, Envelope { spec, slot, protocol, to: NOBODY }, words.into_iter(), false);
    }
}
