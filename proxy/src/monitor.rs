//! MONITOR: what our clients run is shown to those who watch, on any core.
//!
//! A command is shown by the core of its client when it has been run or sent, so that each client's lines stay in order;
//! lines go to other cores in the lane of requests. While a line waits for room the clients of the core wait, too. Nobody
//! watches, as a rule: then a request costs nothing more, since its core has no reason to look twice.
//!
//! Who came to the gateway sees what is run through the gateway on all cores; who came to the port of a node sees what is
//! run there.

use crate::engine::{Done, Engine, Hands};
use crate::hop::{RequestKind, ReturnAddress};
use crate::post::Errand;
use slotmesh_base::Slot;
use slotmesh_command::{Reach, Spec, TransactionCommand};
use slotmesh_conf::directive;
use slotmesh_io::{Sockets, clock};
use slotmesh_resp::{Args, Reply};
use slotmesh_shard::{Client, Gather, Ledger, is_shown, refuse_to_monitor, write_line};
use std::sync::atomic::{AtomicU32, Ordering};

/// How many clients of the gateway watch, on each core.
#[derive(Debug)]
pub(crate) struct Monitors(Box<[AtomicU32]>);

impl Monitors {
    pub(crate) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| AtomicU32::new(0)).collect())
    }

    /// The cores where somebody watches.
    fn cores(&self) -> impl Iterator<Item = u16> {
        (0u16..).zip(&self.0).filter(|(_, count)| count.load(Ordering::Acquire) > 0).map(|(core, _)| core)
    }
}

/// Who of our clients watches.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    connections: Vec<u32>,
    /// Whether somebody watches what our clients run.
    pub(crate) is_watched: bool,
    /// Lines of a transaction, to be shown when it has its reply.
    pub(crate) lines: Vec<Vec<u8>>,
}

impl Engine {
    /// Runs a request that may have to be shown.
    pub(crate) fn run_shown(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        if self.watching.is_watched {
            // Those on other cores say nothing when they leave.
            self.refresh_monitors();
        }
        if !self.watching.is_watched {
            return self.run_plainly(hands, index, spec, args, first_key);
        }
        // What was shown before comes first.
        if self.process.monitors.cores().any(|core| self.post.has_errand_to(core)) {
            return Done::NotYet;
        }
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let client = &mut connection.client;
        if !connection.stalled && refuse_to_monitor(client, spec, &mut Reply::new(&mut self.scratch, client.protocol)) {
            return self.reply_scratch(hands, index);
        }
        let spec = match self.admit_request(hands, index, spec, args, first_key) {
            Ok(spec) => spec,
            Err(done) => return done,
        };
        let transaction = self.connection(index).and_then(|connection| connection.client.transaction.as_mut());
        let mut is_exec = matches!(spec.reach, Reach::Transaction(TransactionCommand::Exec));
        match transaction.filter(|transaction| is_exec && !transaction.is_refused()) {
            Some(transaction) => transaction.shown_exec = Some(args.at(0).into()),
            None => is_exec = false,
        }
        let done = self.run_admitted(hands, index, spec, args, first_key);
        // An EXEC that runs is shown behind what it has run.
        if done == Done::Yes && is_shown(spec) && !is_exec {
            self.show(hands, index, spec, args);
        }
        done
    }

    fn show(&mut self, hands: &mut Hands<'_>, index: u32, spec: &'static Spec, args: Args<'_>) {
        let Some(connection) = self.connections[index as usize].as_deref() else { return };
        let mut line = Vec::new();
        let path = self.settings.value(directive::UNIXSOCKET);
        write_line(&connection.client, spec, args, clock::unix_micros(), path, &mut line);
        let is_at_node = connection.client.is_at_node;
        self.show_line(hands, line, is_at_node);
    }

    /// Shows a line to all who watch.
    fn show_line(&mut self, hands: &mut Hands<'_>, line: Vec<u8>, is_at_node: bool) {
        self.show_here(hands.sockets, &line, is_at_node);
        if is_at_node {
            return;
        }
        let others = self.process.monitors.cores().filter(|&core| core != self.core);
        for core in others {
            let (kind, back) = (RequestKind::Show, ReturnAddress::number(0));
            self.post.run(hands.mail, Errand { core, kind, back, words: vec![line.clone()] });
        }
    }

    /// Shows a line to those of our clients who watch.
    pub(crate) fn show_here(&mut self, sockets: &mut Sockets, line: &[u8], is_at_node: bool) {
        let limit = self.hot.output_limits.pubsub;
        for &index in &self.watching.connections {
            let Some(connection) = self.connections[index as usize].as_deref_mut() else { continue };
            if connection.client.is_at_node == is_at_node {
                self.heard.hand(sockets, connection, line, limit);
            }
        }
    }

    /// Shows what a transaction of ours has run.
    pub(crate) fn show_kept_lines(&mut self, hands: &mut Hands<'_>, index: u32) {
        let Some(connection) = self.connections[index as usize].as_deref() else { return };
        let is_at_node = connection.client.is_at_node;
        for line in std::mem::take(&mut self.watching.lines) {
            self.show_line(hands, line, is_at_node);
        }
    }

    /// A client of ours watches from now on, as soon as all cores know.
    pub(crate) fn start_monitor(&mut self, hands: &mut Hands<'_>, index: u32) -> Done {
        // Or its first lines could overtake replies.
        if self.connection(index).is_some_and(|connection| connection.pipeline.waiting() > 0) {
            return Done::NotYet;
        }
        self.set_monitor(index, true);
        let done = self.ask_all_cores(hands, index, RequestKind::Refresh, &[], Gather::all_ok, |_, _, protocol, _| {
            let mut part = Vec::new();
            Reply::new(&mut part, protocol).ok();
            Some(part)
        });
        if done == Done::NotYet {
            self.set_monitor(index, false);
        }
        done
    }

    /// A client of ours watches no more, if it did.
    pub(crate) fn stop_monitor(&mut self, index: u32) {
        if self.connection(index).is_some_and(|connection| connection.client.is_monitor) {
            self.set_monitor(index, false);
        }
    }

    fn set_monitor(&mut self, index: u32, watches: bool) {
        let core = usize::from(self.core);
        let Some(connection) = self.connection(index) else { return };
        connection.client.is_monitor = watches;
        let is_at_node = connection.client.is_at_node;
        let count = &self.process.monitors.0[core];
        match watches {
            true => self.watching.connections.push(index),
            false => self.watching.connections.retain(|&watching| watching != index),
        }
        match watches {
            _ if is_at_node => {}
            true => drop(count.fetch_add(1, Ordering::Release)),
            false => drop(count.fetch_sub(1, Ordering::Release)),
        }
        self.refresh_monitors();
    }

    /// Looks whether somebody watches our clients.
    pub(crate) fn refresh_monitors(&mut self) {
        let is_watched = !self.watching.connections.is_empty() || self.process.monitors.cores().next().is_some();
        self.watching.is_watched = is_watched;
        self.looks_twice = is_watched || self.pause.is_some();
    }
}

/// A ledger that also writes the lines of what has ended.
pub(crate) struct ShownLedger<'a> {
    pub(crate) ledger: &'a mut dyn Ledger,
    pub(crate) lines: Option<&'a mut Vec<Vec<u8>>>,
    pub(crate) socket_path: &'a str,
}

impl Ledger for ShownLedger<'_> {
    fn ended(&mut self, client: &Client, spec: &'static Spec, args: Args<'_>, reply: &[u8]) {
        self.ledger.ended(client, spec, args, reply);
        if let Some(lines) = &mut self.lines
            && is_shown(spec)
        {
            let mut line = Vec::new();
            write_line(client, spec, args, clock::unix_micros(), self.socket_path, &mut line);
            lines.push(line);
        }
    }
}
