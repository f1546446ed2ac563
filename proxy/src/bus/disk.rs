//! Saves of nodes.conf: those that gossip asks for on a thread of their own, those of the operator at once.

use super::news::Bell;
use super::nodes_file::NodesFile;
use crate::log::Log;
use slotmesh_cluster::machine::Save;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// The saves of one shard.
#[derive(Debug)]
pub(crate) struct Disk {
    file: Arc<NodesFile>,
    log: Arc<Log>,
    orders: Option<Sender<Save>>,
    /// Numbers of saves that are on disk and that nobody has been told of.
    written: Arc<Mutex<Vec<u64>>>,
    bell: Bell,
    is_busy: bool,
}

impl Disk {
    pub(crate) fn new(file: NodesFile, log: Arc<Log>, bell: Bell) -> Self {
        Self { file: Arc::new(file), log, orders: None, written: Arc::default(), bell, is_busy: false }
    }

    /// Whether a save is on its way: the next one waits, and then holds all that has changed meanwhile.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Writes now.
    pub(crate) fn write_now(&self, save: &Save) {
        write(&self.file, save, &self.log);
    }

    /// Writes soon; [`take_written`](Self::take_written) says when it is done.
    pub(crate) fn write_soon(&mut self, save: Save) {
        self.is_busy = true;
        if self.orders.is_none() {
            self.orders = self.start();
        }
        match &self.orders {
            Some(orders) => _ = orders.send(save),
            // No thread could be had: it takes the core's time.
            None => {
                self.write_now(&save);
                self.written.lock().expect("no holder panics").push(save.serial);
            }
        }
    }

    /// The saves that have come to the disk since the last call.
    pub(crate) fn take_written(&mut self) -> Vec<u64> {
        let written = std::mem::take(&mut *self.written.lock().expect("no holder panics"));
        self.is_busy &= written.is_empty();
        written
    }

    fn start(&self) -> Option<Sender<Save>> {
        let (orders, received): (_, Receiver<Save>) = channel();
        let (file, log, written, bell) = (self.file.clone(), self.log.clone(), self.written.clone(), self.bell.clone());
        let body = move || {
            for save in received {
                write(&file, &save, &log);
                written.lock().expect("no holder panics").push(save.serial);
                bell.ring();
            }
        };
        std::thread::Builder::new().name("nodes-conf".to_owned()).spawn(body).ok().map(|_| orders)
    }
}

/// As in Redis a node that cannot remember what it promises does not go on.
fn write(file: &NodesFile, save: &Save, log: &Log) {
    if let Err(error) = file.write(save.serial, &save.text) {
        log.warning(format_args!("Fatal: can't update cluster config file {}: {error}", file.path().display()));
        std::process::exit(1);
    }
}
