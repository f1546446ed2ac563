//! A reliable queue as the manual of BLMOVE describes it: a worker moves a job to a list of its own, does it, and removes
//! it from there. What was pushed is done, or is still in one of the lists.

use crate::traffic::is_unknown;
use slotmesh_conform::{Connection, Door, await_condition, show};
use slotmesh_resp::elements;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

const WORKERS: usize = 2;

/// A queue with a producer and its workers.
pub(crate) struct Queue {
    tag: &'static str,
    stops: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<String>>>,
    producer: JoinHandle<(BTreeSet<String>, u64)>,
    workers: Vec<JoinHandle<u64>>,
}

/// The value of a bulk reply; nothing if it is none.
fn text_of(reply: &[u8]) -> Option<String> {
    let text = show(reply);
    text.starts_with('$').then(|| text.split("\\r\\n").nth(1).map(str::to_owned)).flatten()
}

impl Queue {
    /// Starts them; the lists are on the slot of `tag`.
    pub(crate) fn begin(door: Door, tag: &'static str) -> Self {
        let (stops, done) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let producer = {
            let (connection, stops) = (door.enter(), stops.clone());
            std::thread::spawn(move || produce(connection, tag, &stops))
        };
        let spawn = |number: usize| {
            let (connection, stops, done) = (door.enter(), stops.clone(), done.clone());
            std::thread::spawn(move || work(connection, tag, number, &stops, &done))
        };
        let workers = (0..WORKERS).map(spawn).collect();
        Self { tag, stops, done, producer, workers }
    }

    /// Waits until so many more jobs are done.
    pub(crate) fn await_more(&self, count: usize) {
        let number = || self.done.lock().expect("no worker panics").len();
        let before = number();
        await_condition("jobs are done", 60, || number() > before + count || self.producer.is_finished());
    }

    /// Ends all of them and looks for the jobs: each that was pushed was done, or is in one of the lists; once, where nobody
    /// was left in doubt. Where masters have died meanwhile jobs may be gone that no replica had yet.
    pub(crate) fn end(self, door: Door, have_died: bool) {
        self.stops.store(true, Ordering::Relaxed);
        let (pushed, unsure) = self.producer.join().expect("the producer is served");
        let doubts: u64 = self.workers.into_iter().map(|worker| worker.join().expect("a worker is served")).sum();
        let mut connection = door.enter();
        let mut left = BTreeSet::new();
        for list in (0..WORKERS).map(|number| format!("busy{number}")).chain(["jobs".to_owned()]) {
            let reply = connection.say(&format!("LRANGE {{{}}}{list} 0 -1", self.tag));
            left.extend(elements(&reply).expect("a list").filter_map(text_of));
        }
        let done = self.done.lock().expect("no worker panics").clone();
        let set: BTreeSet<String> = done.iter().cloned().collect();
        let lost: Vec<_> = pushed.iter().filter(|job| !set.contains(*job) && !left.contains(*job)).collect();
        assert!(have_died || lost.is_empty(), "jobs are lost: {lost:?}");
        if unsure + doubts == 0 && !have_died {
            assert_eq!(done.len(), set.len(), "a job was done twice");
            assert!(pushed.len() == set.len() + left.len(), "{} {} {}", pushed.len(), set.len(), left.len());
        }
    }
}

/// Pushes jobs; those that were taken, and how many may have been.
fn produce(mut connection: Connection, tag: &str, stops: &AtomicBool) -> (BTreeSet<String>, u64) {
    let (mut pushed, mut unsure, mut number) = (BTreeSet::new(), 0, 0);
    while !stops.load(Ordering::Relaxed) {
        number += 1;
        let job = format!("{tag}-job-{number}");
        let reply = connection.say(&format!("LPUSH {{{tag}}}jobs {job}"));
        if is_unknown("LPUSH", &reply) {
            unsure += 1;
        } else {
            assert_eq!(reply.first(), Some(&b':'), "LPUSH: {}", show(&reply));
            pushed.insert(job);
        }
    }
    (pushed, unsure)
}

/// Does jobs until there are none; how often it was not told what had become of a request.
fn work(mut connection: Connection, tag: &str, number: usize, stops: &AtomicBool, done: &Mutex<Vec<String>>) -> u64 {
    let mut unsure = 0;
    loop {
        let reply = connection.say(&format!("BLMOVE {{{tag}}}jobs {{{tag}}}busy{number} RIGHT LEFT 0.2"));
        if is_unknown("BLMOVE", &reply) {
            unsure += 1;
            continue;
        }
        let Some(job) = text_of(&reply) else {
            assert!(matches!(&reply[..], b"*-1\r\n" | b"$-1\r\n"), "BLMOVE: {}", show(&reply));
            if stops.load(Ordering::Relaxed) {
                return unsure;
            }
            continue;
        };
        assert!(job.starts_with(&format!("{tag}-job-")), "{job}");
        let reply = connection.say(&format!("LREM {{{tag}}}busy{number} 1 {job}"));
        unsure += u64::from(is_unknown("LREM", &reply) || reply != b":1\r\n");
        done.lock().expect("no worker panics").push(job);
    }
}
