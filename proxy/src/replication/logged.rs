//! The append-only file of a stream in its turns.

use super::Replication;
use super::mail::ReplicationMail;
use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use slotmesh_base::Monotonic;
use slotmesh_io::{DataLoop, FileDone};
use std::path::PathBuf;

impl Replication {
    /// The image of a rewrite begins here in the stream. Where it is to be made; nothing, if it is not wanted any more.
    pub(super) fn begin_base(&mut self, engine: &Engine) -> Option<PathBuf> {
        let is_wanted = self.journal.wants_image(engine.monotonic);
        is_wanted.then(|| self.journal.begin_image(engine.monotonic))
    }
}

impl Engine {
    /// A node that has lost its data begins its append-only file when it is not silent any more.
    pub(super) fn release_log(&mut self) {
        let is_silent = self.is_silent();
        if let Some(replication) = &mut self.replication
            && replication.journal.is_held()
            && !is_silent
        {
            replication.journal.release();
        }
    }

    /// Lets the append-only file have its turn; behind all that may go into it.
    pub(crate) fn drive_log(&mut self, io: &mut DataLoop<Parcel>) {
        let Some(persistence) = &mut self.persistence else { return };
        let Some(mut replication) = self.replication.take() else { return };
        if self.process.disk.node(persistence.node()).take_wants_rewrite() {
            replication.journal.ask_for_rewrite();
        } else if replication.journal.is_idle() && !persistence.wants_base() {
            self.replication = Some(replication);
            return;
        }
        let lacked = replication.journal.is_first_missing();
        let waiting = replication.journal.drive(self.monotonic, &mut io.files, &self.process);
        persistence.set_wants_base(replication.journal.wants_image(self.monotonic));
        if lacked && !replication.journal.is_first_missing() {
            replication.show_standing(self);
        }
        let drops_image = replication.journal.take_drops_image();
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        replication.answer_waits(self, &mut hands);
        self.replication = Some(replication);
        let own = self.core;
        for core in waiting.into_iter().filter(|&core| core != own) {
            self.mail(&mut hands, core, ReplicationMail::Durable);
        }
        if drops_image {
            self.drop_base(io);
        }
    }

    /// What was ordered of the append-only file is done.
    pub(crate) fn hear_log(&mut self, done: FileDone) {
        if let Some(replication) = &mut self.replication {
            replication.journal.hear(done);
        }
    }

    /// When the append-only file wants a turn at the latest, in nanoseconds, and whether at once.
    pub(crate) fn log_deadline(&self) -> Option<(u64, bool)> {
        let (Monotonic(deadline), has_work) = self.replication.as_ref()?.journal.deadline(self.monotonic)?;
        Some((deadline, has_work))
    }

    /// The image of a rewrite is on the disk, or there is none.
    pub(crate) fn end_base(&mut self, bytes: Result<u64, ()>) {
        if let Some(replication) = &mut self.replication {
            replication.journal.end_image(bytes, self.monotonic);
        }
    }

    /// Takes what the other cores have sent, which serve nobody any more; whether nothing of the files is under way.
    pub(crate) fn settle_log(&mut self, io: &mut DataLoop<Parcel>) -> bool {
        for core in io.mail.peers() {
            self.take_replies(&mut Hands { sockets: &mut io.sockets, mail: &mut io.mail }, core);
        }
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        self.read_replication_mail(&mut hands);
        self.drive_replication(io);
        self.drive_log(io);
        self.replication.as_ref().is_none_or(|replication| replication.journal.is_quiet())
    }

    /// The process ends: what is not on the disk yet is brought there.
    pub(crate) fn end_log(&mut self) {
        let log = &self.process.log;
        if let Some(replication) = &mut self.replication {
            replication.journal.end(log);
        }
        // All of it has been done now.
        self.promises.holds_replies = false;
    }
}
