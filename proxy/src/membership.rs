//! A core's shard as a node of a cluster: what its bus changes for clients.

use crate::bus::{Bus, BusStart, Outcome};
use crate::doors::listen_tcp;
use crate::engine::{Engine, Hands};
use crate::formation;
use crate::hop::Parcel;
use crate::pauses::Reason;
use crate::process::{AtNode, Seat};
use crate::pubsub::Message;
use slotmesh_base::{Monotonic, ReplyError, SLOT_COUNT, Slot, UnixMillis};
use slotmesh_cluster::machine::{Now, PauseOrder, RoleChange};
use slotmesh_command::{ChannelKind, Spec, key_indexes};
use slotmesh_conf::{Settings, directive};
use slotmesh_io::{DataLoop, clock};
use slotmesh_resp::Args;
use slotmesh_shard::{PauseScope, Shard, Ticket, judge};
use std::io;

/// What the cluster has changed and we have not followed to the end, mostly since the shard is in another core's hand.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    /// The seat is new, and those who hear shard channels have not been looked at.
    has_new_seat: bool,
    /// The view is new, and nobody has asked who waits here in vain.
    has_new_view: bool,
    /// The map of the process is new, and nobody has asked who waits on several shards in vain.
    has_new_map: bool,
    /// The shard has not been told of which slots it has the keys.
    has_new_slots: bool,
    /// Slots that another node has taken, whose keys are still here.
    lost_slots: Vec<Slot>,
    /// All keys are to go.
    must_flush: bool,
    /// Whom our shard is to follow, or that it is to lead, as soon as it has its data.
    held_role: Option<RoleChange>,
    /// Writes wait until a replica has taken over.
    is_handing_over: bool,
    /// The cluster is to be told of what was written before clients began to wait.
    must_tell_paused: bool,
}

impl Unsettled {
    /// The map of the process is another one.
    pub(crate) fn note_map(&mut self) {
        (self.has_new_map, self.has_new_slots) = (true, true);
    }

    /// Whether the map is another one since this was asked last.
    pub(crate) fn take_map(&mut self) -> bool {
        std::mem::take(&mut self.has_new_map)
    }
}

impl Engine {
    /// Takes the bus of our shard.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub(crate) fn join_bus(&mut self, start: BusStart) -> io::Result<()> {
        let now = Now { monotonic: Monotonic(clock::monotonic_nanos()), unix: UnixMillis(clock::unix_millis()) };
        let mut bus = Bus::new(start, self.core, now, self.process.log.clone())?;
        obey(&mut bus, &self.settings);
        let seat = bus.seat();
        self.bus = Some(Box::new(bus));
        self.take_seat(seat);
        Ok(())
    }

    /// Tells the bus of other settings.
    pub(crate) fn refresh_bus(&mut self) {
        let Some(bus) = &mut self.bus else { return };
        let shards = bus.machine.get_mut().cluster.settings().shards;
        obey(bus, &self.settings);
        bus.set_settings(formation::machine_settings(&self.settings, self.core, shards));
    }

    /// Follows what a turn of the bus has changed.
    pub(crate) fn follow_bus(&mut self, hands: &mut Hands<'_>, outcome: Outcome) {
        let Outcome { seat, lost, role, flush, pause, publications } = outcome;
        if let Some(seat) = seat {
            self.take_seat(seat);
        }
        match role {
            Some(role) => self.take_role(hands, role),
            None => self.follow_held_role(hands),
        }
        self.unsettled.must_flush |= flush;
        self.flush_keys();
        if let Some(pause) = pause {
            self.pause_node(pause);
        }
        self.unsettled.lost_slots.extend(lost);
        self.drop_lost_keys();
        self.label_shard();
        self.refuse_waits(hands);
        if std::mem::take(&mut self.unsettled.has_new_seat)
            && let Some(seat) = self.seat.clone()
        {
            self.expel_listeners(hands, |slot| seat.member().holds(slot));
        }
        for (channel, text, is_sharded) in &publications {
            let kind = if *is_sharded { ChannelKind::Shard } else { ChannelKind::Global };
            self.hear_from_bus(hands, Message { kind, channel, text });
        }
    }

    /// Leads or follows, as the cluster says.
    fn take_role(&mut self, hands: &mut Hands<'_>, role: RoleChange) {
        if self.is_loading() {
            self.unsettled.held_role = Some(role);
            return;
        }
        match role {
            RoleChange::Master => self.lead(hands),
            RoleChange::Replica { host, port, .. } => self.follow_master(hands, host.to_string(), port),
        }
    }

    /// Follows what the cluster wanted while data were loaded.
    pub(crate) fn follow_held_role(&mut self, hands: &mut Hands<'_>) {
        if !self.is_loading()
            && let Some(role) = self.unsettled.held_role.take()
        {
            self.take_role(hands, role);
        }
    }

    /// Forgets all keys, as soon as the shard is at home.
    fn flush_keys(&mut self) {
        if !self.unsettled.must_flush || self.is_loading() {
            return;
        }
        let Some(shard) = self.lending.home() else { return };
        shard.keyspace_mut().flush_all();
        (self.unsettled.must_flush, self.shard_used) = (false, true);
    }

    /// Lets the clients of our node wait with their writes while a replica catches up, or go on.
    fn pause_node(&mut self, order: PauseOrder) {
        let pauses = &self.process.pauses;
        match order {
            PauseOrder::Begin { until } => {
                let millis = until.nanos_since(self.monotonic) / 1_000_000;
                let end = UnixMillis(self.now.0.saturating_add(millis as i64));
                pauses.begin(Reason::Handover(self.core), end, PauseScope::Writes);
                (self.unsettled.is_handing_over, self.unsettled.must_tell_paused) = (true, true);
            }
            PauseOrder::End => {
                pauses.end(Reason::Handover(self.core));
                (self.unsettled.is_handing_over, self.unsettled.must_tell_paused) = (false, false);
            }
        }
        self.refresh_pause();
    }

    /// Listens on the port of the bus, if it was kept closed at first.
    pub(crate) fn open_bus(&mut self, io: &mut DataLoop<Parcel>) {
        let (now, core) = (self.monotonic, self.core);
        let Some(bus) = self.bus.as_mut() else { return };
        if !bus.wants_listeners(now) {
            return;
        }
        let port = formation::bus_port(&self.settings, core).unwrap_or(0);
        match listen_tcp(&self.settings, port, &self.process.log) {
            Ok(listeners) => bus.listen(io, listeners),
            Err(problem) => {
                self.process.log.warning(format_args!("{problem}"));
                std::process::exit(1);
            }
        }
    }

    /// Whether no more is written here, since a replica takes over.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.unsettled.is_handing_over && self.pause.is_some()
    }

    /// Tells the machine how our replication stands, at the end of a turn's requests.
    pub(crate) fn tell_bus_of_replication(&mut self) {
        let (Some(replication), Some(bus)) = (&self.replication, &mut self.bus) else { return };
        let facts = replication.machine_facts();
        bus.tell_replication(facts);
        if self.unsettled.must_tell_paused && self.pause.is_some() && self.lending.desk.home().is_some() {
            self.unsettled.must_tell_paused = false;
            bus.tell_paused(facts.offset);
        }
    }

    /// Follows at once what an order has changed, that the next command sees it.
    pub(crate) fn follow_order(&mut self) {
        let Some(bus) = &mut self.bus else { return };
        if std::mem::take(&mut bus.machine.get_mut().actions.view) {
            let seat = bus.seat();
            self.take_seat(seat);
        }
    }

    fn take_seat(&mut self, seat: Seat) {
        self.process.claim(self.core, &seat);
        self.seat = Some(seat);
        self.unsettled.has_new_seat = true;
        self.unsettled.has_new_view = true;
        self.unsettled.has_new_slots = true;
        self.label_shard();
    }

    /// Tells the shard of which slots it has the keys, and which our siblings have, as soon as it is at home: among several
    /// in hand, they say whose a key is.
    fn label_shard(&mut self) {
        let (true, Some(seat)) = (self.unsettled.has_new_slots, &self.seat) else { return };
        let Some(shard) = self.lending.home() else { return };
        let slots = (0..SLOT_COUNT as u16).filter_map(Slot::new);
        let own = slots.filter(|&slot| seat.member().holds(slot)).collect();
        shard.keyspace_mut().own(own, self.map.here());
        self.unsettled.has_new_slots = false;
    }

    /// Clients that wait for keys of slots that are ours no more do not wait in vain: as soon as the shard is at home.
    fn refuse_waits(&mut self, hands: &mut Hands<'_>) {
        if !self.unsettled.has_new_view {
            return;
        }
        // The map of the process knows the new view, too.
        self.refresh_settings();
        let (now, limits) = (self.now, self.hot_limits());
        let Some(mut shard) = self.lending.take_home() else { return };
        self.unsettled.has_new_view = false;
        let mut refusal = |ticket: Ticket, spec: &'static Spec, args: Args<'_>| {
            let ours = self.connections.get(ticket.connection as usize).and_then(Option::as_deref);
            match (ours.filter(|ours| ticket.core == self.core && ours.client.is_at_node), &self.seat) {
                (Some(ours), Some(seat)) => {
                    let redirect = judge(spec, args, None, seat.member(), ours.client.is_readonly).err()?;
                    Some(redirect.text(&seat.topology, ours.client.reached_at()).to_string())
                }
                _ => self.refuse_wait(spec, args).map(|error| error.to_string()),
            }
        };
        shard.refuse_waits(&mut refusal, now, limits);
        self.return_home(hands, shard);
    }

    /// Drops the keys of slots that another node has taken (Redis 7.2 `cluster.c` `delKeysInSlot`), as soon as the shard
    /// is at home.
    fn drop_lost_keys(&mut self) {
        if self.unsettled.lost_slots.is_empty() || self.is_loading() {
            return;
        }
        let (now, limits) = (self.now, self.hot_limits());
        let Some(shard) = self.lending.home() else { return };
        let lost = self.unsettled.lost_slots.drain(..);
        let dropped: usize = lost.map(|slot| shard.drop_slot(slot, now, limits)).sum();
        self.shard_used = true;
        if dropped > 0 {
            self.process.log.warning(format_args!("{dropped} keys of slots that another node has taken were dropped"));
        }
    }

    /// Our node is to have the slots of the keys that were loaded. The process ends if another one has taken one of
    /// them while they were loaded.
    pub(crate) fn claim_loaded(&mut self, shard: &Shard) {
        let Some(bus) = self.bus.as_mut().filter(|_| !self.unsettled.must_flush) else { return };
        let mut slots = shard.slots_with_keys();
        for &slot in &self.unsettled.lost_slots {
            slots.remove(slot);
        }
        let mut claimed = Ok(());
        bus.machine.get_mut().with(&mut |machine, now, actions| claimed = machine.claim_loaded(now, &slots, actions));
        match claimed {
            Ok(()) => self.follow_order(),
            Err(slot) => {
                self.process.log.warning(format_args!(
                    "Fatal error loading the DB: It has keys of slot {slot}, which another node has taken. Exiting."
                ));
                std::process::exit(1);
            }
        }
    }

    /// Why a command that begins to wait on our shard, or waits there, cannot: a slot that it names has left.
    pub(crate) fn refuse_wait(&self, spec: &'static Spec, args: Args<'_>) -> Option<ReplyError> {
        let slots = key_indexes(spec, args).map(|index| (Slot::of_key(args.at(index)), self.core));
        self.map.refusal_of_wait(slots)
    }
}

/// Has the bus obey what concerns its links alone.
fn obey(bus: &mut Bus, settings: &Settings) {
    bus.set_sendbuf_limit(settings.value(directive::CLUSTER_LINK_SENDBUF_LIMIT));
    // What is no address cannot be had: dials then come from wherever, as in Redis.
    bus.set_source(settings.value(directive::BIND_SOURCE_ADDR).parse().ok());
}

/// What the node shows to a client of its port: its seat and its bus, and its shard if that is not in hand.
pub(crate) fn at_node<'a>(
    core: u16,
    seat: Option<&'a Seat>,
    bus: Option<&'a Bus>,
    shard: Option<&'a Shard>,
    key_count: usize,
) -> Option<AtNode<'a>> {
    Some(AtNode { core, seat: seat?, bus: bus?, shard, key_count })
}

/// Number of keys of a shard.
pub(crate) fn key_count(shard: Option<&Shard>) -> usize {
    shard.and_then(|shard| shard.keyspace().find_db(0)).map_or(0, slotmesh_keyspace::Db::len)
}
