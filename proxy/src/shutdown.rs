//! How the process ends: SHUTDOWN and signals, what is done before, and what becomes of it if that fails.
//!
//! First those who follow us get what they lack: the nodes of a cluster hand their slots over (`handover.rs`), the replicas
//! of a process that is part of none catch up. Then the data of each node are saved, if they are to be. Writes wait from the
//! begin on, and what others had admitted before is refused once the snapshots for the last file are begun: nothing that
//! was acknowledged is missing there. Mirrors Redis 7.0 `server.c` `prepareForShutdown`, `finishShutdown`.

use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, Parcel, RequestHead, RequestKind, ReturnAddress};
use crate::pauses::Reason;
use slotmesh_base::{Monotonic, ReplyError, UnixMillis};
use slotmesh_conf::directive;
use slotmesh_io::DataLoop;
use slotmesh_resp::{Protocol, Reply};
use slotmesh_shard::{PauseScope, ShutdownWish};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// How far the end of the process is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
enum Stage {
    /// Nobody wants it.
    None = 0,
    /// The nodes hand their slots over.
    HandsOver = 1,
    /// Replicas catch up.
    CatchesUp = 2,
    /// Data are saved.
    Saves = 3,
}

/// The end of the process, as all cores see it.
#[derive(Debug)]
pub(crate) struct Closing {
    stage: AtomicU8,
    /// Nodes that are not done.
    left: AtomicUsize,
    wish: Mutex<(ShutdownWish, Monotonic)>,
}

impl Default for Closing {
    fn default() -> Self {
        let wish = (ShutdownWish::default(), Monotonic::default());
        Self { stage: AtomicU8::new(0), left: AtomicUsize::new(0), wish: Mutex::new(wish) }
    }
}

impl Closing {
    #[inline]
    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::None,
            1 => Stage::HandsOver,
            2 => Stage::CatchesUp,
            _ => Stage::Saves,
        }
    }

    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// Whether the process is about to end.
    #[inline]
    pub(crate) fn is_begun(&self) -> bool {
        self.stage() != Stage::None
    }

    /// Whether no more is written, since the last file is being made.
    #[inline]
    pub(crate) fn is_saving(&self) -> bool {
        self.stage() == Stage::Saves
    }

    fn wish(&self) -> (ShutdownWish, Monotonic) {
        *self.wish.lock().expect("no holder panics")
    }
}

/// What a core does for it.
#[derive(Debug, Default)]
pub(crate) struct Leave {
    /// Clients of ours that have asked for it.
    askers: Vec<(ReturnAddress, Protocol)>,
    /// Whether our node has begun to save.
    has_begun: bool,
    /// When all that was written before is in the stream.
    settles_at: Option<Monotonic>,
    /// Whether our replicas have been asked how far they are.
    has_asked: bool,
}

impl Engine {
    /// A client ends the process; it hears only if that fails.
    pub(crate) fn shut_down_for(&mut self, hands: &mut Hands<'_>, index: u32, wish: ShutdownWish) -> Done {
        let protocol = self.connections[index as usize].as_deref().map_or(Protocol::Resp2, |at| at.client.protocol);
        let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
        self.leave.askers.push((ReturnAddress { socket, ticket, part: 0 }, protocol));
        if !self.process.closing.is_begun() {
            self.shut_down(hands, wish);
        }
        Done::Yes
    }

    /// Ends the process, as soon as that may be.
    pub(crate) fn shut_down(&mut self, hands: &mut Hands<'_>, wish: ShutdownWish) {
        // What was loaded in part must not take the place of the whole.
        let saves = wish.saves && !self.is_loading();
        self.process.log.warning(format_args!("User requested shutdown..."));
        self.process.supervisor().stopping();
        let timeout_ms = self.settings.value(directive::SHUTDOWN_TIMEOUT).saturating_mul(1000);
        let until = self.monotonic.plus_millis(timeout_ms);
        let process = self.process.clone();
        *process.closing.wish.lock().expect("no holder panics") = (ShutdownWish { saves, ..wish }, until);
        let waits = wish.waits && timeout_ms > 0 && !self.is_loading();
        if waits && process.begin_handover(until) {
            process.closing.enter(Stage::HandsOver);
        } else {
            let scope = PauseScope::Writes;
            process.pauses.begin(Reason::Shutdown, UnixMillis(i64::MAX), scope);
            process.closing.enter(Stage::CatchesUp);
            if !waits || process.is_clustered() {
                self.begin_last_saves(hands);
            }
        }
        self.wake_all(hands);
    }

    /// Who follows us has what it can have: data are saved now.
    pub(crate) fn begin_last_saves(&mut self, hands: &mut Hands<'_>) {
        let process = self.process.clone();
        let closing = &process.closing;
        process.pauses.begin(Reason::Shutdown, UnixMillis(i64::MAX), PauseScope::Writes);
        if !closing.wish().0.saves {
            process.stop();
            return self.wake_all(hands);
        }
        closing.left.store(usize::from(process.disk.len()), Ordering::Release);
        closing.enter(Stage::Saves);
        self.wake_all(hands);
    }

    /// Goes on with the end of the process, in each turn.
    pub(crate) fn drive_shutdown(&mut self, io: &mut DataLoop<Parcel>) {
        let stage = self.process.closing.stage();
        if stage == Stage::None {
            if !self.leave.askers.is_empty() || self.leave.has_begun || self.leave.settles_at.is_some() {
                self.stay(io);
            }
            return;
        }
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        let (_, until) = self.process.closing.wish();
        match stage {
            Stage::CatchesUp if self.core == 0 && self.replication.is_some() => {
                // What other cores have done before their clients began to wait may be on its way into the stream.
                let settles = self.leave.settles_at.get_or_insert(self.monotonic.plus_millis(LOOK_MS));
                let is_settled = self.monotonic >= *settles;
                let replication = self.replication.as_ref();
                let is_caught_up = replication.is_none_or(|replication| replication.is_caught_up(is_settled));
                if is_settled && !is_caught_up && !std::mem::replace(&mut self.leave.has_asked, true) {
                    self.process.log.notice(format_args!("Waiting for replicas before shutting down."));
                    if let Some(replication) = &mut self.replication {
                        replication.ask_for_acks();
                    }
                }
                if is_caught_up || self.monotonic >= until {
                    if let Some(replication) = &self.replication {
                        replication.log_lag();
                    }
                    self.begin_last_saves(&mut hands);
                }
            }
            Stage::Saves if self.persistence.is_some() && !self.leave.has_begun => {
                self.leave.has_begun = true;
                if self.bus.as_ref().is_some_and(|bus| bus.is_silent()) {
                    // A file of nothing would pass for our data at the next start.
                    self.end_last_save(&mut Hands { sockets: &mut io.sockets, mail: &mut io.mail }, true);
                } else {
                    self.begin_last_save(io);
                }
            }
            Stage::None | Stage::HandsOver | Stage::CatchesUp | Stage::Saves => {}
        }
    }

    /// When the end of the process wants a turn at the latest.
    pub(crate) fn shutdown_deadline(&self) -> Option<Monotonic> {
        self.process.closing.is_begun().then(|| self.monotonic.plus_millis(LOOK_MS))
    }

    /// The data of our node are saved, or cannot be.
    pub(crate) fn end_last_save(&mut self, hands: &mut Hands<'_>, is_saved: bool) {
        let process = self.process.clone();
        let closing = &process.closing;
        if !closing.is_saving() || !self.leave.has_begun {
            return;
        }
        let must_end = closing.wish().0.forces;
        match (is_saved, must_end) {
            (true, _) => {}
            (false, true) => process.log.warning(format_args!("Error trying to save the DB. Exit anyway.")),
            (false, false) => {
                process.log.warning(format_args!("Error trying to save the DB, can't exit."));
                process.log.warning(format_args!(
                    "Errors trying to shut down the server. Check the logs for more information."
                ));
                process.cancel_shutdown();
                return self.wake_all(hands);
            }
        }
        if closing.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            process.stop();
            self.wake_all(hands);
        }
    }

    /// The process does not end after all.
    #[cold]
    fn stay(&mut self, io: &mut DataLoop<Parcel>) {
        (self.leave.has_begun, self.leave.has_asked, self.leave.settles_at) = (false, false, None);
        self.handover = crate::handover::Handover::default();
        for (back, protocol) in std::mem::take(&mut self.leave.askers) {
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, protocol).error(ReplyError::NotShutDown);
            self.hand_over(&mut io.sockets, back, &bytes);
        }
        self.refresh_pause();
        self.show_standing_again();
    }

    /// Has all cores look whether the process stops.
    pub(crate) fn wake_all(&mut self, hands: &mut Hands<'_>) {
        let head = RequestHead::bare(RequestKind::Stop);
        for core in hands.mail.peers() {
            // A core whose mailbox is full is awake and sees the process's flag.
            if let Some(room) =
                hands.mail.reserve(core, slotmesh_io::Lane::Requests, hop::request_len(std::iter::empty()))
            {
                hop::write_request(&head, std::iter::empty(), room);
            }
        }
    }
}

impl crate::process::Process {
    /// The process does not end after all; whether it was about to.
    pub(crate) fn cancel_shutdown(&self) -> bool {
        if !self.closing.is_begun() || self.is_stopping() {
            return false;
        }
        self.closing.enter(Stage::None);
        self.cancel_handover();
        self.pauses.end(Reason::Shutdown);
        true
    }
}

/// Time between two looks how far the end of the process is.
const LOOK_MS: u64 = 10;
