//! Changes of what files there are: orders one behind the other, and a manifest that is true when all of them are done.

use super::{FileOrder, Journal, JournalEvent, JournalOrder, State};
use crate::Manifest;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use slotmesh_base::Monotonic;

/// What a chain is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// The process begins.
    Open,
    /// A rewrite gets an increment of its own.
    Switch,
    /// A rewrite is done.
    Commit,
    /// What is history goes.
    Collect,
    /// What is left of a rewrite that failed goes.
    Tidy,
}

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) goal: Goal,
    orders: VecDeque<FileOrder>,
    /// Whether the first of them is being carried out.
    is_out: bool,
    /// What is true in the end.
    manifest: Manifest,
    /// Bytes of a base that the chain makes.
    pub(super) base_bytes: Option<u64>,
}

impl Chain {
    /// Whether an order is being carried out.
    pub(super) fn is_out(&self) -> bool {
        self.is_out
    }

    /// The begin of a process.
    pub(super) fn open(
        before: &Manifest,
        prefix: &str,
        empty_base: Vec<u8>,
        is_rdb: bool,
        events: &mut Vec<JournalOrder>,
    ) -> Self {
        let (mut manifest, mut orders) = (before.clone(), VecDeque::from([FileOrder::MakeFolder]));
        let mut base_bytes = None;
        if manifest.is_empty() {
            base_bytes = Some(empty_base.len() as u64);
            let name = manifest.replace_base(prefix, is_rdb);
            events.push(JournalOrder::Log(JournalEvent::CreatesBase(name.clone())));
            orders.push_back(FileOrder::Put { name, bytes: empty_base });
        }
        let name = match manifest.increments().last() {
            Some(last) => {
                events.push(JournalOrder::Log(JournalEvent::Opens(last.name.clone())));
                last.name.clone()
            }
            None => {
                let name = manifest.add_increment(prefix);
                events.push(JournalOrder::Log(JournalEvent::Creates(name.clone())));
                name
            }
        };
        orders.push_back(FileOrder::Open(name));
        if manifest == *before {
            // It needs no room on a disk that is full; whoever wrote it may have ended before it was on the disk.
            orders.push_back(FileOrder::SyncFolder);
        } else {
            persist(&mut orders, &manifest, prefix);
        }
        Self { goal: Goal::Open, orders, is_out: false, manifest, base_bytes }
    }
}

/// A manifest takes the place of the one before.
fn persist(orders: &mut VecDeque<FileOrder>, manifest: &Manifest, prefix: &str) {
    let (name, to) = (format!("temp-{prefix}.manifest"), format!("{prefix}.manifest"));
    orders.push_back(FileOrder::Put { name: name.clone(), bytes: manifest.print().into_bytes() });
    orders.push_back(FileOrder::Rename { from: name, to });
    orders.push_back(FileOrder::SyncFolder);
}

impl Journal {
    /// The file in which the image of a rewrite is made.
    pub fn image_name(&self) -> String {
        format!("temp-rewriteaof-bg-{}", self.prefix)
    }

    fn first_increment_name(&self) -> String {
        format!("temp-{}.incr", self.prefix)
    }

    /// Gives the next order of the chain.
    pub(super) fn go_on(&mut self, orders: &mut Vec<JournalOrder>) {
        if let Some(chain) = &mut self.chain
            && let Some(next) = chain.orders.front()
        {
            chain.is_out = true;
            orders.push(JournalOrder::File(next.clone()));
        }
    }

    /// An order of files has ended.
    pub fn filed(&mut self, result: Result<(), i32>, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let Some(chain) = &mut self.chain else { return };
        chain.is_out = false;
        let Some(done) = chain.orders.pop_front() else { return };
        let goal = chain.goal;
        match result {
            Ok(()) => {
                note_done(goal, &done, orders);
                if !chain.orders.is_empty() {
                    return self.go_on(orders);
                }
                if let Some(chain) = self.chain.take() {
                    self.end_chain(chain, now, orders);
                }
            }
            // Nobody needs it.
            Err(_) if matches!(done, FileOrder::Remove(_)) && !chain.orders.is_empty() => self.go_on(orders),
            Err(code) => {
                // The end of the process tells it, where it is one.
                if goal != Goal::Open {
                    let (what, name) = describe(&done);
                    orders.push(JournalOrder::Log(JournalEvent::FileFailed(what, name, code)));
                }
                if let Some(chain) = self.chain.take() {
                    self.fail_chain(chain, &done, code, now, orders);
                }
            }
        }
    }

    fn end_chain(&mut self, chain: Chain, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        match chain.goal {
            Goal::Open => {
                self.manifest = chain.manifest;
                self.state = State::On;
                self.last_sync = now;
                orders.push(JournalOrder::Switch);
                self.collect(orders);
            }
            Goal::Switch => {
                self.manifest = chain.manifest;
                self.end_switch(orders);
            }
            Goal::Commit => {
                self.manifest = chain.manifest;
                self.end_commit(now, orders);
                self.collect(orders);
            }
            Goal::Collect => self.manifest = chain.manifest,
            Goal::Tidy => {}
        }
    }

    fn fail_chain(
        &mut self,
        chain: Chain,
        failed: &FileOrder,
        code: i32,
        now: Monotonic,
        orders: &mut Vec<JournalOrder>,
    ) {
        match chain.goal {
            Goal::Open => {
                let (what, name) = describe(failed);
                orders.push(JournalOrder::Exit(JournalEvent::FileFailed(what, name, code)));
            }
            Goal::Switch => self.fail_rewrite(now, orders),
            // The manifest has its name already: nothing that it speaks of may go, and nothing that the one before does.
            Goal::Commit if *failed == FileOrder::SyncFolder => {
                self.manifest = chain.manifest;
                self.end_commit(now, orders);
            }
            Goal::Commit => {
                // A rename of the manifest that has failed may have happened nevertheless.
                let is_named = matches!(failed, FileOrder::Rename { to, .. } if to.ends_with(".manifest"));
                let new_base = chain.manifest.base().filter(|_| !is_named).map(|base| base.name.clone());
                self.fail_rewrite(now, orders);
                // Whatever name the image has now.
                if let Some(tidy) = &mut self.chain {
                    tidy.orders.extend(new_base.map(FileOrder::Remove));
                }
            }
            Goal::Collect | Goal::Tidy => {}
        }
    }

    /// All that was appended before the cut is on the disk: what comes next goes to another file.
    pub(super) fn begin_switch(&mut self, orders: &mut Vec<JournalOrder>) {
        let mut manifest = self.manifest.clone();
        let mut steps = VecDeque::from([FileOrder::MakeFolder]);
        if self.state == State::Starting {
            // It gets its name with the base.
            steps.push_back(FileOrder::Create(self.first_increment_name()));
        } else {
            let name = manifest.add_increment(&self.prefix);
            steps.push_back(FileOrder::Create(name));
            persist(&mut steps, &manifest, &self.prefix);
        }
        self.chain = Some(Chain { goal: Goal::Switch, orders: steps, is_out: false, manifest, base_bytes: None });
        self.go_on(orders);
    }

    /// The image is on the disk, and what came since has its file: both get their names.
    pub(super) fn begin_commit(&mut self, orders: &mut Vec<JournalOrder>) {
        let mut manifest = self.manifest.clone();
        let mut steps = VecDeque::new();
        if self.state == State::Off {
            steps.push_back(FileOrder::MakeFolder);
        }
        let to = manifest.replace_base(&self.prefix, self.rules.base_is_rdb);
        steps.push_back(FileOrder::Rename { from: self.image_name(), to });
        if self.state == State::Starting {
            let to = manifest.add_increment(&self.prefix);
            steps.push_back(FileOrder::Rename { from: self.first_increment_name(), to });
        }
        manifest.retire_increments(usize::from(self.state != State::Off));
        persist(&mut steps, &manifest, &self.prefix);
        self.chain = Some(Chain { goal: Goal::Commit, orders: steps, is_out: false, manifest, base_bytes: None });
        self.go_on(orders);
    }

    /// Removes what is history.
    fn collect(&mut self, orders: &mut Vec<JournalOrder>) {
        if self.manifest.history().is_empty() {
            return;
        }
        let mut manifest = self.manifest.clone();
        let removed = manifest.history().iter().map(|file| file.name.clone());
        let removed: Vec<String> = removed.collect();
        orders.extend(removed.iter().map(|name| JournalOrder::Log(JournalEvent::Removes(name.clone()))));
        let mut steps: VecDeque<FileOrder> = removed.into_iter().map(FileOrder::Remove).collect();
        manifest.forget_history();
        persist(&mut steps, &manifest, &self.prefix);
        self.chain = Some(Chain { goal: Goal::Collect, orders: steps, is_out: false, manifest, base_bytes: None });
        self.go_on(orders);
    }

    /// Removes what a rewrite has left that came to nothing. The chain that is under way, if any, ends with its order at
    /// hand: whatever it has done is harmless, since it has removed nothing.
    pub(super) fn tidy(&mut self, is_first: bool, orders: &mut Vec<JournalOrder>) {
        let mut steps = VecDeque::from([FileOrder::Remove(self.image_name())]);
        if is_first {
            steps.push_back(FileOrder::Remove(self.first_increment_name()));
        }
        match &mut self.chain {
            Some(chain) if chain.is_out && matches!(chain.goal, Goal::Switch | Goal::Commit | Goal::Tidy) => {
                chain.goal = Goal::Tidy;
                chain.orders.truncate(1);
                chain.orders.append(&mut steps);
            }
            Some(_) => {}
            None => {
                let manifest = self.manifest.clone();
                self.chain = Some(Chain { goal: Goal::Tidy, orders: steps, is_out: false, manifest, base_bytes: None });
                self.go_on(orders);
            }
        }
    }
}

fn note_done(goal: Goal, done: &FileOrder, orders: &mut Vec<JournalOrder>) {
    let event = match (goal, done) {
        (Goal::Switch, FileOrder::Create(name)) => JournalEvent::CreatesOnRewrite(name.clone()),
        (Goal::Commit, FileOrder::Rename { from, to }) if from.ends_with(".incr") => {
            JournalEvent::IncrementRenamed(from.clone(), to.clone())
        }
        (Goal::Commit, FileOrder::Rename { from, to }) if !to.ends_with(".manifest") => {
            JournalEvent::BaseRenamed(from.clone(), to.clone())
        }
        _ => return,
    };
    orders.push(JournalOrder::Log(event));
}

fn describe(order: &FileOrder) -> (&'static str, String) {
    match order {
        FileOrder::MakeFolder => ("open or create", "append-only dir".to_string()),
        FileOrder::Create(name) | FileOrder::Open(name) => ("open the append-only file", name.clone()),
        FileOrder::Put { name, .. } => ("write", name.clone()),
        FileOrder::Rename { from, to } => ("rename", format!("{from} into {to}")),
        FileOrder::SyncFolder => ("fsync", "the AOF directory".to_string()),
        FileOrder::Remove(name) => ("remove", name.clone()),
    }
}
