//! Who has which shard: the loans that let one core work on the shards of several at once.
//!
//! *The idea.* A command, transaction or script on keys of several shards runs on the core of its client, the
//! *coordinator*, with the whole shards in its hands. The coordinator takes them one after the other in ascending
//! order of their cores, its own in its place, and asks for the next only when it has the one before. So whoever
//! holds the highest shard that is held waits only for shards that nobody holds, and gets on: no circle of waiting
//! can arise, whatever the number of loans, also of one coordinator. A loan is never called off.
//!
//! *What carries it.* From each core to each other core run two queues that keep their order. *Requests* has the
//! commands and the asks, and is served only while the receiver's shard is at home: what was sent before an ask
//! runs before the loan. A full one refuses, and an ask is then tried again. *Replies* has the shards and the answers
//! to commands, and is always drained, so that nobody waits for room in it for ever.
//!
//! *Why nobody starves.* A shard that comes home from others goes first to a loan of its own core, if one waits
//! ([`Desk::returned`]); once a loan of its own core has kept the shard away, the others come first
//! ([`Desk::grant`]). So the two sides take turns. Among its own loans a core grants in order of arrival; among the
//! others the caller must begin with another each time. The caller's turn is, in this order:
//! 1. drain all Replies;
//! 2. with the shard at home: the local commands that waited for it, then the Requests of each core, beginning
//!    behind the core that was last lent to, until the shard is lent or all have had a share;
//! 3. `grant`, with nothing in between; then clients.
//!
//! *On an envelope.* A loan of n shards of other cores costs 3n messages, and n times the way there and back; a
//! shard is away for that of the cores above it. A command on the own shard costs one comparison ([`Desk::home`]).
//!
//! *A lender that dies* takes the process with it: nothing here gives up a shard that does not come back. Its loans
//! would wait for ever and the commands on it too, so the caller stops the process when a core stops.

use slotmesh_base::limits::LOAN_JOINED_MAX;
use std::collections::{BTreeMap, VecDeque};

/// Names a loan among those that its coordinator has under way.
pub type LoanNumber = u32;

/// What the caller must do, in this order.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, PartialOrd, Ord))]
pub enum LoanAction<S, W> {
    /// Ask a core for its shard: on the Requests lane, behind the commands that were sent before.
    Ask {
        /// Whom.
        core: u16,
        /// For which loan of ours.
        loan: LoanNumber,
    },
    /// Hand our shard to the core that asked for it, on the Replies lane; there it is [`Desk::lent`].
    Lend {
        /// To whom.
        to: u16,
        /// For which loan of theirs.
        loan: LoanNumber,
        /// Our shard.
        shard: S,
    },
    /// Everything is in hand: run the work with these shards, then call [`Desk::finish`].
    Run {
        /// Which loan.
        loan: LoanNumber,
        /// The shards with their cores, ascending.
        shards: Vec<(u16, S)>,
        /// What was given to [`Desk::begin`].
        work: W,
        /// What has joined, to be done behind it in this order, each with the cores whose shards it needs.
        joined: Vec<(Vec<u16>, W)>,
    },
    /// Give a shard back to its core, on the Replies lane; there it is [`Desk::returned`].
    GiveBack {
        /// Whose it is.
        to: u16,
        /// The shard.
        shard: S,
    },
}

/// One core's part in all loans: where its shard is, and the loans that it coordinates.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, PartialOrd, Ord))]
pub struct Desk<S, W> {
    /// Our shard, unless it is away or we have none.
    home: Option<S>,
    core: u16,
    place: Place,
    /// A loan of ours has kept our shard away since the others last had their chance.
    others_first: bool,
    /// Loans of ours whose next shard is our own, in order of arrival.
    waiting: VecDeque<LoanNumber>,
    /// Loans of ours that do not have all their shards.
    gathering: BTreeMap<LoanNumber, Gathering<S, W>>,
    /// Cores of the loans of ours that are being run.
    running: Vec<Vec<u16>>,
    next_loan: LoanNumber,
}

/// Where our shard is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    /// We have none.
    Nowhere,
    /// Here, free.
    Home,
    /// Here, in the hands of a loan of ours.
    Held,
    /// With another core.
    Lent,
}

/// A loan that does not have all its shards.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, PartialOrd, Ord))]
struct Gathering<S, W> {
    /// Ascending.
    cores: Vec<u16>,
    /// Of the first of `cores`.
    shards: Vec<(u16, S)>,
    work: W,
    joined: Vec<(Vec<u16>, W)>,
}

impl<S, W> Desk<S, W> {
    /// The desk of a core, with its shard if it has one.
    pub fn new(core: u16, home: Option<S>) -> Self {
        let place = if home.is_some() { Place::Home } else { Place::Nowhere };
        Self {
            home,
            core,
            place,
            others_first: false,
            waiting: VecDeque::new(),
            gathering: BTreeMap::new(),
            running: Vec::new(),
            next_loan: 0,
        }
    }

    /// Our shard, if it is at home.
    #[inline]
    pub fn home(&self) -> Option<&S> {
        self.home.as_ref()
    }

    /// Our shard, if it is at home.
    #[inline]
    pub fn home_mut(&mut self) -> Option<&mut S> {
        self.home.as_mut()
    }

    /// Whether this core has a shard, wherever it is now.
    #[inline]
    pub fn owns_shard(&self) -> bool {
        self.place != Place::Nowhere
    }

    /// Whether it has one that is not at home: no command on it and no ask may be served now.
    #[inline]
    pub fn is_away(&self) -> bool {
        self.home.is_none() && self.owns_shard()
    }

    /// Loans of ours that are under way. A client has one at most, so that the number of clients bounds them.
    pub fn loans(&self) -> usize {
        self.gathering.len() + self.running.len()
    }

    /// Whether [`Desk::grant`] has something to grant: then the caller must not sleep before its next turn.
    pub fn has_grant(&self) -> bool {
        self.home.is_some() && !self.waiting.is_empty()
    }

    /// Begins a loan of the shards of `cores` for `work`.
    ///
    /// # Panics
    /// If `cores` is empty, does not ascend, or has this core though it has no shard.
    pub fn begin(&mut self, cores: &[u16], work: W, actions: &mut Vec<LoanAction<S, W>>) -> LoanNumber {
        assert!(
            !cores.is_empty() && cores.is_sorted_by(|a, b| a < b),
            "shards are taken in ascending order: {cores:?}"
        );
        assert!(self.owns_shard() || !cores.contains(&self.core), "core {} has no shard", self.core);
        let loan = self.next_loan;
        self.next_loan = loan.wrapping_add(1);
        let gathering =
            Gathering { cores: cores.to_vec(), shards: Vec::with_capacity(cores.len()), work, joined: Vec::new() };
        let earlier = self.gathering.insert(loan, gathering);
        assert!(earlier.is_none(), "loan {loan} has been under way for 2^32 loans");
        self.proceed(loan, actions);
        loan
    }

    /// Does `work` together with a loan of ours that is still gathering its shards and will have those of `cores`, if
    /// there is one that has not been joined too often: one way there and back serves many. The work comes back if there
    /// is none.
    ///
    /// Not for work whose client has sent something that is not answered yet: a shard may have left its core before
    /// that arrived there, and what was sent first would run last.
    ///
    /// # Errors
    /// The work, if there is no such loan.
    pub fn join(&mut self, cores: &[u16], work: W) -> Result<(), W> {
        let has_all = |gathering: &Gathering<S, W>| {
            gathering.joined.len() < LOAN_JOINED_MAX && cores.iter().all(|core| gathering.cores.contains(core))
        };
        match self.gathering.values_mut().find(|gathering| has_all(gathering)) {
            Some(gathering) => {
                gathering.joined.push((cores.to_vec(), work));
                Ok(())
            }
            None => Err(work),
        }
    }

    /// Core `by` asks for our shard, which is at home.
    ///
    /// # Panics
    /// If it is not, or the core asks itself.
    pub fn asked(&mut self, by: u16, loan: LoanNumber, actions: &mut Vec<LoanAction<S, W>>) {
        assert_ne!(by, self.core, "a core's own loans do not ask");
        self.others_first = false;
        let shard = self.lend();
        actions.push(LoanAction::Lend { to: by, loan, shard });
    }

    /// Our shard, to be lent to a core that has not asked: a client of that core is blocked on a key that has become
    /// ready here. It serves the client and gives the shard back at once, so that it waits for nothing.
    ///
    /// # Panics
    /// If our shard is not at home.
    pub fn lend_unasked(&mut self) -> S {
        self.lend()
    }

    /// A shard that we asked for arrives.
    ///
    /// # Panics
    /// If that loan does not wait for it.
    pub fn lent(&mut self, from: u16, loan: LoanNumber, shard: S, actions: &mut Vec<LoanAction<S, W>>) {
        assert_ne!(from, self.core, "a core's own shard is not lent to it");
        self.gathering.get_mut(&loan).expect("what was asked for is under way").take(from, shard);
        self.proceed(loan, actions);
    }

    /// Our own shard comes back from another core.
    ///
    /// # Panics
    /// If it was not lent.
    pub fn returned(&mut self, shard: S, actions: &mut Vec<LoanAction<S, W>>) {
        assert_eq!(self.place, Place::Lent, "what comes back was lent");
        self.come_home(shard);
        // Unless a loan of ours had it last, it is our turn: the others have just had it, or their chance.
        if !self.others_first {
            self.grant(actions);
        }
    }

    /// The work of a `Run` is done: our shard is at home again, the others are given back.
    ///
    /// # Panics
    /// If these are not the shards of a `Run`.
    pub fn finish(&mut self, shards: Vec<(u16, S)>, actions: &mut Vec<LoanAction<S, W>>) {
        // No shard is in two loans, so that the cores name the loan.
        let is_done = |cores: &Vec<u16>| cores.iter().eq(shards.iter().map(|(core, _)| core));
        let done = self.running.iter().position(is_done).expect("what ends was run, with these shards");
        self.running.swap_remove(done);
        for (core, shard) in shards {
            if core == self.core {
                assert_eq!(self.place, Place::Held, "the loan had our shard");
                self.come_home(shard);
            } else {
                actions.push(LoanAction::GiveBack { to: core, shard });
            }
        }
    }

    /// Gives our shard, if it is at home, to the loan of ours that has waited longest for it.
    ///
    /// Called once in a turn, right after the others had their chance: if our shard is at home now, it was while their
    /// Requests were served.
    pub fn grant(&mut self, actions: &mut Vec<LoanAction<S, W>>) {
        if self.home.is_none() {
            return;
        }
        self.others_first = false;
        if let Some(loan) = self.waiting.pop_front() {
            self.take_own(loan);
            self.proceed(loan, actions);
        }
    }

    /// Goes on with a loan as far as it gets without waiting.
    fn proceed(&mut self, loan: LoanNumber, actions: &mut Vec<LoanAction<S, W>>) {
        loop {
            match self.gathering[&loan].wanted() {
                Some(core) if core != self.core => return actions.push(LoanAction::Ask { core, loan }),
                Some(_) if self.may_take_own(loan) => self.take_own(loan),
                Some(_) => return self.waiting.push_back(loan),
                None => break,
            }
        }
        let Gathering { cores, shards, work, joined } = self.gathering.remove(&loan).expect("it was just looked at");
        self.running.push(cores);
        actions.push(LoanAction::Run { loan, shards, work, joined });
    }

    /// Whether a loan of ours that wants our shard may have it without waiting for [`Desk::grant`].
    fn may_take_own(&self, loan: LoanNumber) -> bool {
        // If it is the last one, the loan runs at once, as a command would: the shard is not away for anybody.
        let is_nobodys_turn = self.waiting.is_empty() && !self.others_first;
        self.home.is_some() && (is_nobodys_turn || self.gathering[&loan].lacks_one())
    }

    fn take_own(&mut self, loan: LoanNumber) {
        let shard = self.home.take().expect("it is taken at home only");
        self.place = Place::Held;
        let gathering = self.gathering.get_mut(&loan).expect("what takes is under way");
        self.others_first |= !gathering.lacks_one();
        gathering.take(self.core, shard);
    }

    fn lend(&mut self) -> S {
        self.place = Place::Lent;
        self.home.take().expect("a shard is lent at home only")
    }

    fn come_home(&mut self, shard: S) {
        self.place = Place::Home;
        self.home = Some(shard);
    }
}

impl<S, W> Gathering<S, W> {
    /// The core whose shard comes next, if one is missing.
    fn wanted(&self) -> Option<u16> {
        self.cores.get(self.shards.len()).copied()
    }

    fn lacks_one(&self) -> bool {
        self.shards.len() + 1 == self.cores.len()
    }

    fn take(&mut self, core: u16, shard: S) {
        assert_eq!(self.wanted(), Some(core), "shards come one after the other, as they were asked for");
        self.shards.push((core, shard));
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
