//! Messages from core to core: for each ordered pair of cores two byte rings (requests and replies), each with one
//! writer and one reader, and a queue of parcels beside each for what is too large or no bytes.
//!
//! A record is written straight into the ring and read straight out of it; nothing is allocated. The writer
//! publishes what it wrote once per turn. A sleeping reader is woken by its doorbell, at most once per turn
//! and peer.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};

/// Bytes of one ring for small processes; a power of two.
const RING_BYTES: usize = 256 * 1024;
/// Bytes of one ring where there are many pairs of cores.
const RING_BYTES_MANY: usize = 64 * 1024;
/// Cores from which on the rings are smaller.
const MANY_CORES: usize = 16;
/// Bytes before each record: its length.
const HEAD: usize = 8;
/// Length that marks the unused end of the ring.
const SKIP: u32 = u32::MAX;

/// One byte ring. Positions grow for ever; a position modulo the capacity is an offset.
///
/// Invariants: bytes in `read..written` belong to the reader, all others to the writer; each position is
/// advanced by its owner only, with release, and read by the other side with acquire. Records are contiguous
/// and their heads aligned to [`HEAD`].
struct Bytes {
    memory: Box<[UnsafeCell<u8>]>,
    written: Padded<AtomicUsize>,
    read: Padded<AtomicUsize>,
}

// SAFETY: see the invariants of `Bytes`: the two sides never touch the same bytes, and hand them over by the
// atomic positions.
unsafe impl Sync for Bytes {}

#[repr(align(128))]
struct Padded<T>(T);

impl Bytes {
    fn new(bytes: usize) -> Self {
        assert!(bytes.is_power_of_two(), "offsets are taken by a mask");
        Self {
            memory: (0..bytes).map(|_| UnsafeCell::new(0)).collect(),
            written: Padded(AtomicUsize::new(0)),
            read: Padded(AtomicUsize::new(0)),
        }
    }

    fn at(&self, position: usize) -> *mut u8 {
        self.memory[position & (self.memory.len() - 1)].get()
    }
}

struct Writer {
    ring: Arc<Bytes>,
    /// Where the next record goes; ahead of `ring.written` until published.
    next: usize,
    /// The reader's position as last seen.
    read: usize,
}

impl Writer {
    /// Room for a record of `len` bytes, or `None` if the ring is too full (or too small) for it.
    #[inline]
    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        let capacity = self.ring.memory.len();
        let total = HEAD + len.next_multiple_of(HEAD);
        let to_end = capacity - (self.next & (capacity - 1));
        let skip = if total <= to_end { 0 } else { to_end };
        if skip + total > capacity - (self.next - self.read) {
            self.read = self.ring.read.0.load(Ordering::Acquire);
            if skip + total > capacity - (self.next - self.read) {
                return None;
            }
        }
        if skip > 0 {
            self.write_head(SKIP);
            self.next += skip;
        }
        self.write_head(len as u32);
        let start = self.next + HEAD;
        self.next += total;
        // SAFETY: `start..start + len` is contiguous (checked against the ring's end) and belongs to the writer
        // (checked against the reader's position); the borrow of `self` keeps other reservations away.
        Some(unsafe { std::slice::from_raw_parts_mut(self.ring.at(start), len) })
    }

    fn has_room(&mut self, count: usize, len: usize) -> bool {
        let capacity = self.ring.memory.len();
        // One record may have to skip the end of the ring.
        let wanted = (count + 1) * (HEAD + len.next_multiple_of(HEAD));
        if wanted > capacity - (self.next - self.read) {
            self.read = self.ring.read.0.load(Ordering::Acquire);
        }
        wanted <= capacity - (self.next - self.read)
    }

    fn write_head(&mut self, value: u32) {
        // SAFETY: heads lie at multiples of HEAD, so 4 bytes fit and are aligned enough for an unaligned write; they
        // belong to the writer, as checked by `reserve`.
        unsafe { self.ring.at(self.next).cast::<u32>().write_unaligned(value) };
    }

    fn has_unpublished(&self) -> bool {
        self.next != self.ring.written.0.load(Ordering::Relaxed)
    }

    fn publish(&self) {
        self.ring.written.0.store(self.next, Ordering::Release);
    }
}

struct Reader {
    ring: Arc<Bytes>,
    next: usize,
    /// The writer's position as last seen.
    written: usize,
}

impl Reader {
    #[inline]
    fn is_empty(&mut self) -> bool {
        if self.next == self.written {
            self.written = self.ring.written.0.load(Ordering::Acquire);
        }
        self.next == self.written
    }

    /// The next record's position and length.
    #[inline]
    fn peek(&mut self) -> Option<(usize, usize)> {
        loop {
            if self.is_empty() {
                return None;
            }
            // SAFETY: the reader's bytes begin with a head that the writer published.
            let head = unsafe { self.ring.at(self.next).cast::<u32>().read_unaligned() };
            if head != SKIP {
                return Some((self.next + HEAD, head as usize));
            }
            let capacity = self.ring.memory.len();
            self.next += capacity - (self.next & (capacity - 1));
        }
    }

    fn record(&self, start: usize, len: usize) -> &[u8] {
        // SAFETY: the record was published and is not given back before `advance`.
        unsafe { std::slice::from_raw_parts(self.ring.at(start), len) }
    }

    #[inline]
    fn advance(&mut self, start: usize, len: usize) {
        self.next = start + len.next_multiple_of(HEAD);
    }

    fn give_back(&self) {
        self.ring.read.0.store(self.next, Ordering::Release);
    }
}

/// Which of the two streams of a pair of cores. Replies are always taken, so that requests can wait for room
/// without the cores waiting for each other in a circle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// What another core shall do.
    Requests,
    /// What it answers.
    Replies,
}

/// What wakes a core.
#[derive(Debug)]
struct Doorbell {
    sleeping: AtomicBool,
    /// What is written to, or whose ring gets a message.
    descriptor: AtomicI32,
    /// The descriptor, where its core does not need it itself: open for as long as somebody may use it.
    kept: OnceLock<OwnedFd>,
}

type Parcels<P> = Arc<Mutex<VecDeque<P>>>;

struct Peer<P> {
    out: [Writer; 2],
    inward: [Reader; 2],
    out_parcels: [Parcels<P>; 2],
    in_parcels: [Parcels<P>; 2],
    doorbell: Arc<Doorbell>,
}

/// One core's mailboxes to and from all others.
pub struct Mail<P> {
    core: usize,
    peers: Vec<Peer<P>>,
    own: Arc<Doorbell>,
    /// Whether requests that have arrived keep the core awake.
    serves_requests: bool,
}

impl<P> std::fmt::Debug for Mail<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("core", &self.core).field("peers", &self.peers.len()).finish()
    }
}

/// The mailboxes of `cores` cores, by core.
pub fn mesh<P: Send>(cores: usize) -> Vec<Mail<P>> {
    let bytes = if cores < MANY_CORES { RING_BYTES } else { RING_BYTES_MANY };
    let doorbell =
        || Doorbell { sleeping: AtomicBool::new(false), descriptor: AtomicI32::new(-1), kept: OnceLock::new() };
    let doorbells: Vec<_> = (0..cores).map(|_| Arc::new(doorbell())).collect();
    let rings: Vec<Vec<[Arc<Bytes>; 2]>> = (0..cores)
        .map(|from| {
            let len = |to| if from == to { HEAD } else { bytes };
            (0..cores).map(|to| std::array::from_fn(|_| Arc::new(Bytes::new(len(to))))).collect()
        })
        .collect();
    let parcels: Vec<Vec<[Parcels<P>; 2]>> =
        (0..cores).map(|_| (0..cores).map(|_| Default::default()).collect()).collect();
    let peer = |me: usize, other: usize| Peer {
        out: std::array::from_fn(|lane| Writer { ring: rings[me][other][lane].clone(), next: 0, read: 0 }),
        inward: std::array::from_fn(|lane| Reader { ring: rings[other][me][lane].clone(), next: 0, written: 0 }),
        out_parcels: parcels[me][other].clone(),
        in_parcels: parcels[other][me].clone(),
        doorbell: doorbells[other].clone(),
    };
    (0..cores)
        .map(|me| Mail {
            core: me,
            peers: (0..cores).filter(|&other| other != me).map(|other| peer(me, other)).collect(),
            own: doorbells[me].clone(),
            serves_requests: true,
        })
        .collect()
}

impl<P> Mail<P> {
    /// This core's number.
    pub fn core(&self) -> usize {
        self.core
    }

    /// The other cores, ascending.
    pub fn peers(&self) -> impl Iterator<Item = usize> + use<P> {
        let (me, cores) = (self.core, self.peers.len() + 1);
        (0..cores).filter(move |&core| core != me)
    }

    #[inline]
    fn place(&self, core: usize) -> usize {
        assert!(core != self.core, "a core does not write to itself");
        core - usize::from(core > self.core)
    }

    /// Room for a record of `len` bytes to `core`; to be filled at once, seen there after this turn. `None`
    /// if there is no room now: the caller waits, or sends a parcel.
    #[inline]
    pub fn reserve(&mut self, core: usize, lane: Lane, len: usize) -> Option<&mut [u8]> {
        let place = self.place(core);
        self.peers[place].out[lane as usize].reserve(len)
    }

    /// Whether `count` records of up to `len` bytes each certainly find room.
    pub fn has_room(&mut self, core: usize, lane: Lane, count: usize, len: usize) -> bool {
        let place = self.place(core);
        self.peers[place].out[lane as usize].has_room(count, len)
    }

    /// Leaves something that is not bytes, or too many of them, for the reader of a record on the same lane that
    /// the caller writes next and that says so. There is no bound: the sender limits what is outstanding.
    pub fn put_parcel(&mut self, core: usize, lane: Lane, parcel: P) {
        let place = self.place(core);
        let queue = &self.peers[place].out_parcels[lane as usize];
        queue.lock().expect("no holder panics").push_back(parcel);
    }

    /// How many parcels `core` has not taken yet.
    pub fn unread_parcels(&self, core: usize, lane: Lane) -> usize {
        self.peers[self.place(core)].out_parcels[lane as usize].lock().expect("no holder panics").len()
    }

    /// Passes up to `N` records from `core` to `take`, which says how many of them it took; their room is given back,
    /// the others come again. `None` if there is none. For each record that it takes and that speaks of a parcel,
    /// `take` must call its second argument once, in their order.
    #[inline]
    pub fn receive_batch<const N: usize, T>(
        &mut self,
        core: usize,
        lane: Lane,
        take: impl FnOnce(&[&[u8]], &mut dyn FnMut() -> P) -> (usize, T),
    ) -> Option<T> {
        let place = self.place(core);
        let Peer { inward, in_parcels, .. } = &mut self.peers[place];
        let (reader, parcels) = (&mut inward[lane as usize], &in_parcels[lane as usize]);
        let mut places = [(0, 0); N];
        let mut count = 0;
        while count < N
            && let Some((start, len)) = reader.peek()
        {
            places[count] = (start, len);
            count += 1;
            reader.advance(start, len);
        }
        if count == 0 {
            return None;
        }
        let mut records: [&[u8]; N] = [&[]; N];
        for (record, (start, len)) in records.iter_mut().zip(&places[..count]) {
            *record = reader.record(*start, *len);
        }
        let mut take_parcel = || {
            parcels.lock().expect("no holder panics").pop_front().expect("a record speaks of a parcel that is there")
        };
        let (taken, result) = take(&records[..count], &mut take_parcel);
        if let Some(&(start, _)) = places[..count].get(taken) {
            reader.next = start - HEAD;
        }
        reader.give_back();
        Some(result)
    }

    /// Passes the next record from `core` to `take`, then gives its room back; `None` if there is none.
    #[inline]
    pub fn receive<T>(&mut self, core: usize, lane: Lane, take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let place = self.place(core);
        let reader = &mut self.peers[place].inward[lane as usize];
        let (start, len) = reader.peek()?;
        let result = take(reader.record(start, len));
        reader.advance(start, len);
        reader.give_back();
        Some(result)
    }

    /// Says whether the core takes requests now. While it does not, those that have arrived do not keep it from
    /// sleeping; replies do.
    pub fn serve_requests(&mut self, wanted: bool) {
        self.serves_requests = wanted;
    }

    /// Whether anything has arrived that the core takes now.
    #[inline]
    pub fn has_arrivals(&mut self) -> bool {
        let requests = self.serves_requests;
        let [asked, answered] = [Lane::Requests as usize, Lane::Replies as usize];
        let has_some =
            |peer: &mut Peer<P>| !peer.inward[answered].is_empty() || requests && !peer.inward[asked].is_empty();
        self.peers.iter_mut().any(has_some)
    }

    /// Lets the other cores see what was written in this turn; calls `wake` with the doorbell of each that sleeps.
    pub(crate) fn publish(&mut self, mut wake: impl FnMut(RawFd)) {
        for peer in &mut self.peers {
            if !peer.out.iter().any(Writer::has_unpublished) {
                continue;
            }
            peer.out.iter().for_each(Writer::publish);
            // Pairs with the fence in `prepare_sleep`: either we see it sleeping, or it sees what we published.
            fence(Ordering::SeqCst);
            if peer.doorbell.sleeping.load(Ordering::Relaxed) && peer.doorbell.sleeping.swap(false, Ordering::AcqRel) {
                wake(peer.doorbell.descriptor.load(Ordering::Acquire));
            }
        }
    }

    /// Lets the other cores see what was written, none of which sleeps: for those who use mailboxes without a data loop.
    pub fn publish_awake(&mut self) {
        self.publish(|_| unreachable!("only a data loop sleeps"));
    }

    /// Announces that this core is about to sleep; `false` if it must not, because something has arrived.
    pub(crate) fn prepare_sleep(&mut self) -> bool {
        if self.peers.is_empty() {
            return true;
        }
        self.own.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.has_arrivals() {
            self.own.sleeping.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(crate) fn awake(&mut self) {
        self.own.sleeping.store(false, Ordering::Relaxed);
    }

    /// Tells the others how to wake this core.
    pub(crate) fn set_doorbell(&mut self, descriptor: RawFd) {
        self.own.descriptor.store(descriptor, Ordering::Release);
    }

    /// The same with a descriptor of which nobody knows when its last use is over, while its number could be another's
    /// soon: it stays open until all cores have ended.
    pub(crate) fn keep_doorbell(&mut self, descriptor: OwnedFd) {
        self.set_doorbell(descriptor.as_raw_fd());
        assert!(self.own.kept.set(descriptor).is_ok(), "a core has one data loop");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `count` records of rising length from one thread and reads them in another, through a ring that is
    /// far too small for all of them.
    #[test]
    fn records_arrive_whole_and_in_order() {
        let mut mails = mesh::<String>(2);
        let (mut b, mut a) = (mails.pop().unwrap(), mails.pop().unwrap());
        let length = |n: u32| (n as usize * 37) % 5000;
        let count = 20_000;
        let writer = std::thread::spawn(move || {
            for n in 0..count {
                loop {
                    if let Some(room) = a.reserve(1, Lane::Requests, length(n)) {
                        room.fill(n as u8);
                        break;
                    }
                    a.publish(|_| {});
                    std::hint::spin_loop();
                }
                if n % 7 == 0 {
                    a.publish(|_| {});
                }
            }
            a.publish(|_| {});
        });
        let mut n = 0;
        while n < count {
            let seen = b.receive(0, Lane::Requests, |record| {
                assert_eq!(record.len(), length(n));
                assert!(record.iter().all(|&byte| byte == n as u8));
            });
            n += u32::from(seen.is_some());
        }
        writer.join().unwrap();
        assert!(b.receive(0, Lane::Requests, |_| ()).is_none());
        assert!(!b.has_arrivals());
    }

    #[test]
    fn a_full_ring_refuses_until_the_reader_has_read() {
        let mut mails = mesh::<()>(2);
        let (mut b, mut a) = (mails.pop().unwrap(), mails.pop().unwrap());
        let mut sent = 0;
        while a.reserve(1, Lane::Replies, 1000).is_some() {
            sent += 1;
        }
        assert!((200..=RING_BYTES / 1000).contains(&sent), "{sent}");
        assert!(b.receive(0, Lane::Replies, |_| ()).is_none(), "nothing is seen before it is published");
        a.publish(|_| {});
        assert!(b.receive(0, Lane::Replies, |record| assert_eq!(record.len(), 1000)).is_some());
        assert!(a.reserve(1, Lane::Replies, 1000).is_some());
        assert!(a.reserve(1, Lane::Replies, RING_BYTES).is_none(), "larger than the ring");
    }

    #[test]
    fn parcels_come_with_the_records_that_speak_of_them() {
        let mut mails = mesh::<u32>(3);
        let mut c = mails.pop().unwrap();
        let mut a = mails.remove(0);
        for (lane, parcel) in [(Lane::Requests, 1), (Lane::Replies, 2), (Lane::Requests, 3)] {
            a.put_parcel(2, lane, parcel);
            a.reserve(2, lane, 1).unwrap();
        }
        assert!(!c.has_arrivals());
        a.publish(|_| {});
        assert!(c.has_arrivals());
        let take = |records: &[&[u8]], parcel: &mut dyn FnMut() -> u32| -> (usize, Vec<u32>) {
            (records.len(), records.iter().map(|_| parcel()).collect())
        };
        assert_eq!(c.receive_batch::<8, _>(0, Lane::Requests, take), Some(vec![1, 3]));
        assert_eq!(c.receive_batch::<8, _>(0, Lane::Replies, take), Some(vec![2]));
        assert_eq!(c.receive_batch::<8, _>(1, Lane::Requests, take), None);
    }

    #[test]
    fn records_that_are_not_taken_come_again_also_over_the_end_of_the_ring() {
        let mut mails = mesh::<()>(2);
        let (mut b, mut a) = (mails.pop().unwrap(), mails.pop().unwrap());
        let (mut written, mut read) = (0_u8, 0_u8);
        for round in 0..3000 {
            while written.wrapping_sub(read) < 100
                && let Some(room) = a.reserve(1, Lane::Requests, 1000 + usize::from(written))
            {
                room.fill(written);
                written = written.wrapping_add(1);
            }
            a.publish(|_| {});
            b.receive_batch::<8, _>(0, Lane::Requests, |records, _| {
                let taken = records.len().min(round % 4);
                for record in &records[..taken] {
                    assert_eq!(record.len(), 1000 + usize::from(read));
                    assert!(record.iter().all(|&byte| byte == read), "round {round}");
                    read = read.wrapping_add(1);
                }
                (taken, ())
            });
        }
        assert_ne!(read, 0);
    }

    #[test]
    fn promised_room_is_there_wherever_the_ring_stands() {
        let mut mails = mesh::<()>(2);
        let (mut b, mut a) = (mails.pop().unwrap(), mails.pop().unwrap());
        for round in 0..2000 {
            if a.has_room(1, Lane::Requests, 3, 10_000) {
                (0..3).for_each(|_| assert!(a.reserve(1, Lane::Requests, 10_000).is_some(), "round {round}"));
            }
            a.publish(|_| {});
            b.receive_batch::<2, _>(0, Lane::Requests, |records, _| (records.len(), ()));
        }
    }

    #[test]
    fn requests_that_are_not_taken_let_the_core_sleep_and_replies_do_not() {
        let mut mails = mesh::<()>(2);
        let (mut b, mut a) = (mails.pop().unwrap(), mails.pop().unwrap());
        a.reserve(1, Lane::Requests, 1).unwrap();
        a.publish(|_| {});
        b.serve_requests(false);
        assert!(b.prepare_sleep());
        b.awake();
        a.reserve(1, Lane::Replies, 1).unwrap();
        a.publish(|_| {});
        assert!(!b.prepare_sleep());
        b.receive(0, Lane::Replies, |_| ());
        b.serve_requests(true);
        assert!(!b.prepare_sleep());
    }

    #[test]
    fn only_a_sleeping_core_is_woken_and_only_once() {
        let mut mails = mesh::<()>(2);
        let (mut b, mut a) = (mails.pop().unwrap(), mails.pop().unwrap());
        b.set_doorbell(77);
        let mut woken = Vec::new();
        a.reserve(1, Lane::Requests, 1).unwrap();
        a.publish(|fd| woken.push(fd));
        assert!(woken.is_empty());
        assert!(!b.prepare_sleep(), "something has arrived");
        b.receive(0, Lane::Requests, |_| ());
        assert!(b.prepare_sleep());
        for _ in 0..2 {
            a.reserve(1, Lane::Requests, 1).unwrap();
            a.publish(|fd| woken.push(fd));
        }
        assert_eq!(woken, [77]);
    }
}
