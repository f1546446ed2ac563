//! A node on the disk: it loads, counts upwards, writes each number down, tells its client, rewrites, and dies.

use crate::disk::{Disk, EIO, ENOSPC};
use slotmesh_base::{Monotonic, Rng, UnixMillis};
use slotmesh_persistence::{
    DataOrder, FileOrder, Journal, JournalOrder, JournalRules, Manifest, Opened, ReadEnd, Reader, State, SyncPolicy,
};

const PREFIX: &str = "appendonly.aof";
const MS: u64 = 1_000_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mood {
    /// The end is one of the machine, not of the process alone.
    pub(crate) power_fails: bool,
    pub(crate) disk_fails: bool,
}

/// Something that the disk is doing.
#[derive(Debug)]
enum Doing {
    Write {
        inode: usize,
        at: u64,
        bytes: Vec<u8>,
        syncs: bool,
        result: Result<(), i32>,
    },
    /// The file as it was when the sync began.
    Sync {
        inode: usize,
        seen: Vec<u8>,
        result: Result<(), i32>,
    },
    Truncate {
        inode: usize,
        to: u64,
    },
    File {
        order: FileOrder,
        result: Result<(), i32>,
    },
    Image {
        number: u64,
        result: Result<(), i32>,
    },
}

/// A number that was counted: when, and where in the journal.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Monotonic,
    position: u64,
}

pub(crate) struct World {
    seed: u64,
    rng: Rng,
    policy: SyncPolicy,
    mood: Mood,
    disk: Disk,
    now: Monotonic,
    doing: Vec<(Monotonic, Doing)>,
    journal: Journal,
    file: usize,
    opened: usize,
    counted: Vec<Counted>,
    /// How many numbers clients have been told.
    told: u64,
    /// The disk is full until then.
    full_until: Monotonic,
    is_dead: bool,
    pub(crate) rewrites_done: u64,
}

fn command(number: u64) -> Vec<u8> {
    let text = number.to_string();
    let one = format!("*2\r\n$1\r\nN\r\n${}\r\n{text}\r\n", text.len());
    // Some in blocks.
    match number % 5 {
        0 => format!("*1\r\n$5\r\nMULTI\r\n{one}*1\r\n$4\r\nEXEC\r\n").into_bytes(),
        _ => one.into_bytes(),
    }
}

fn image(number: u64) -> Vec<u8> {
    format!("BASE {number}\n").into_bytes()
}

impl World {
    pub(crate) fn new(seed: u64, policy: SyncPolicy, mood: Mood) -> Self {
        let mut rng = Rng::new(seed);
        let rules = rules(&mut rng, policy);
        Self {
            seed,
            rng,
            policy,
            mood,
            disk: Disk::default(),
            now: Monotonic(1_000_000_000_000),
            doing: Vec::new(),
            journal: Journal::new(rules, PREFIX.to_owned(), Manifest::default()),
            file: usize::MAX,
            opened: usize::MAX,
            counted: Vec::new(),
            told: 0,
            full_until: Monotonic::default(),
            is_dead: false,
            rewrites_done: 0,
        }
    }

    /// A process begins, works, and ends; what it has left is looked at by the next one, or now.
    pub(crate) fn live(&mut self) {
        self.begin();
        let steps = 20 + self.rng.below(1500);
        for _ in 0..steps {
            if self.is_dead {
                break;
            }
            self.step();
        }
        self.die();
        self.load();
    }

    fn begin(&mut self) {
        let (manifest, opened) = self.load();
        let rules = rules(&mut self.rng, self.policy);
        self.journal = Journal::new(rules, PREFIX.to_owned(), manifest);
        (self.is_dead, self.full_until) = (false, Monotonic::default());
        let mut orders = Vec::new();
        self.journal.open(opened, image(0), &mut orders);
        self.obey(orders);
        // All is done in good order before the process serves.
        let mut tries = 0;
        while self.journal.state() != State::On && !self.is_dead {
            tries += 1;
            assert!(tries < 1000, "seed {}: never on", self.seed);
            self.pass(MS);
        }
        // A start that fails is another process's.
        if self.is_dead {
            self.die();
            self.doing.clear();
            let was = std::mem::replace(&mut self.mood.disk_fails, false);
            self.begin();
            self.mood.disk_fails = was;
        }
    }

    fn step(&mut self) {
        for _ in 0..self.rng.below(4) {
            self.count();
        }
        let passes = match self.rng.below(20) {
            0 => 100 * MS,
            1..4 => 30 * MS,
            _ => MS / 4,
        };
        if self.rng.below(150) == 0 {
            self.journal.ask_for_rewrite();
        }
        if self.mood.disk_fails && self.rng.below(200) == 0 {
            self.full_until = self.now.plus_millis(self.rng.below(3000));
        }
        if self.rng.below(400) == 0 {
            let mut orders = Vec::new();
            // As CONFIG SET does.
            self.journal.set_rules(rules(&mut self.rng, self.policy));
            self.journal.drive(self.now, &mut orders);
            self.obey(orders);
        }
        self.pass(passes);
    }

    /// A client has the node count.
    fn count(&mut self) {
        if self.journal.write_error().is_some() || !self.journal.is_appending() {
            return;
        }
        let number = self.counted.len() as u64;
        let unix = UnixMillis((self.now.0 / MS) as i64);
        let position = self.journal.append(&command(number), unix);
        self.counted.push(Counted { at: self.now, position });
    }

    fn pass(&mut self, nanos: u64) {
        self.now = Monotonic(self.now.0 + nanos);
        while let Some(place) = self.due() {
            let (_, doing) = self.doing.swap_remove(place);
            self.end(doing);
            if self.is_dead {
                return;
            }
        }
        let mut orders = Vec::new();
        if self.journal.wants_rewrite(self.now, &mut orders) {
            self.journal.begin_rewrite(self.now, &mut orders);
            let result = self.fault(30);
            let after = self.rng.below(1500);
            let number = self.counted.len() as u64;
            self.doing.push((self.now.plus_millis(after), Doing::Image { number, result }));
        }
        self.journal.drive(self.now, &mut orders);
        self.obey(orders);
        self.tell();
    }

    /// What ends first of what has ended.
    fn due(&self) -> Option<usize> {
        let due = self.doing.iter().enumerate().filter(|(_, (at, _))| *at <= self.now);
        due.min_by_key(|(_, (at, _))| *at).map(|(place, _)| place)
    }

    fn tell(&mut self) {
        let released = self.journal.released();
        while self.told < self.counted.len() as u64 && self.counted[self.told as usize].position <= released {
            self.told += 1;
        }
    }

    /// Whether the disk fails now, once in so many times.
    fn fault(&mut self, odds: u64) -> Result<(), i32> {
        match self.mood.disk_fails && self.rng.below(odds) == 0 {
            true => Err(EIO),
            false => Ok(()),
        }
    }

    fn obey(&mut self, orders: Vec<JournalOrder>) {
        for order in orders {
            match order {
                JournalOrder::Data(order) => self.order_data(order),
                JournalOrder::File(order) => {
                    let result = self.fault(25);
                    let after = self.now.plus_millis(self.rng.below(40));
                    self.doing.push((after, Doing::File { order, result }));
                }
                JournalOrder::Switch => self.file = self.opened,
                JournalOrder::Close => self.file = usize::MAX,
                JournalOrder::DropImage => self.doing.retain(|(_, doing)| !matches!(doing, Doing::Image { .. })),
                JournalOrder::Log(event) => {
                    self.rewrites_done += u64::from(event.to_string().contains("finished successfully"));
                }
                JournalOrder::Exit(_) => self.is_dead = true,
            }
        }
    }

    fn order_data(&mut self, order: DataOrder) {
        let inode = self.file;
        let (after, doing) = match order {
            DataOrder::Write { at, bytes, syncs } => {
                let result = if self.now < self.full_until { Err(ENOSPC) } else { self.fault(150) };
                (self.rng.below(if syncs { 500 } else { 5 }), Doing::Write { inode, at, bytes, syncs, result })
            }
            DataOrder::Sync => {
                let (seen, result) = (self.disk.seen(inode), self.fault(60));
                (self.rng.below(500), Doing::Sync { inode, seen, result })
            }
            DataOrder::Truncate { to } => (self.rng.below(5), Doing::Truncate { inode, to }),
        };
        self.doing.push((self.now.plus_millis(after), doing));
    }

    fn end(&mut self, doing: Doing) {
        let (now, mut orders) = (self.now, Vec::new());
        match doing {
            Doing::Write { inode, at, bytes, syncs, result } => {
                let written = if result.is_ok() { bytes.len() as u64 } else { self.rng.below(bytes.len() as u64) };
                self.disk.write(inode, at, &bytes[..written as usize]);
                if syncs && result.is_ok() {
                    // Those bytes, and no others of the file.
                    self.disk.sync_range(inode, at, bytes.len() as u64);
                }
                self.journal.wrote(bytes, result, now, &mut orders);
            }
            Doing::Sync { inode, seen, result } => {
                if result.is_ok() {
                    self.disk.sync_as(inode, seen);
                }
                self.journal.synced_until(result, &mut orders);
            }
            Doing::Truncate { inode, to } => {
                let result = self.fault(10);
                if result.is_ok() {
                    self.disk.truncate(inode, to);
                }
                self.journal.truncated(result, now, &mut orders);
            }
            Doing::File { order, result } => {
                // What failed may have happened all the same.
                let happens = result.is_ok() || self.rng.below(2) == 0;
                let changed = if happens { self.change(&order) } else { Ok(()) };
                let result = result.and(changed);
                self.journal.filed(result, now, &mut orders);
            }
            Doing::Image { number, result } => {
                let name = self.journal.image_name();
                let inode = self.disk.create(&name, true);
                self.disk.write(inode, 0, &image(number));
                let ended = result.map(|()| {
                    self.disk.sync(inode);
                    image(number).len() as u64
                });
                self.journal.image_ended(ended.map_err(drop), now, &mut orders);
            }
        }
        self.journal.drive(now, &mut orders);
        self.obey(orders);
        self.tell();
    }

    fn change(&mut self, order: &FileOrder) -> Result<(), i32> {
        match order {
            FileOrder::MakeFolder => {}
            FileOrder::Create(name) => self.opened = self.disk.create(name, true),
            FileOrder::Open(name) => self.opened = self.disk.create(name, false),
            FileOrder::Put { name, bytes } => {
                let inode = self.disk.create(name, true);
                self.disk.write(inode, 0, bytes);
                self.disk.sync(inode);
            }
            FileOrder::Rename { from, to } => self.disk.rename(from, to)?,
            FileOrder::SyncFolder => self.disk.sync_folder(),
            FileOrder::Remove(name) => self.disk.remove(name),
        }
        Ok(())
    }

    /// What is under way may have happened in part.
    fn die(&mut self) {
        for (_, doing) in std::mem::take(&mut self.doing) {
            match doing {
                Doing::Write { inode, at, bytes, .. } => {
                    let written = self.rng.below(bytes.len() as u64 + 1);
                    self.disk.write(inode, at, &bytes[..written as usize]);
                }
                Doing::File { order, .. } if self.rng.below(2) == 0 => _ = self.change(&order),
                _ => {}
            }
        }
        // Now and then only the process dies: the next one goes on behind what nobody has synced.
        if self.mood.power_fails && self.rng.below(3) > 0 {
            self.disk.lose_power(&mut self.rng);
        }
    }

    /// Loads what there is, and looks whether it is what it must be.
    fn load(&mut self) -> (Manifest, Opened) {
        let seed = self.seed;
        let Some(bytes) = self.disk.read(&format!("{PREFIX}.manifest")).map(<[u8]>::to_vec) else {
            assert!(self.told == 0, "seed {seed}: the manifest is gone");
            self.counted.clear();
            return (Manifest::default(), Opened::default());
        };
        let manifest = Manifest::parse(&bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let base = manifest.base().unwrap_or_else(|| panic!("seed {seed}: no base"));
        let base = self.disk.read(&base.name).unwrap_or_else(|| panic!("seed {seed}: {} is missing", base.name));
        let text = std::str::from_utf8(base).expect("text");
        let number = text.strip_prefix("BASE ").and_then(|text| text.strip_suffix('\n'));
        let number = number.unwrap_or_else(|| panic!("seed {seed}: a base that is not whole: {text:?}"));
        let mut found: u64 = number.parse().expect("a number");
        let mut opened = Opened { base_bytes: base.len() as u64, ..Opened::default() };
        let sizes: Vec<usize> = manifest
            .increments()
            .iter()
            .map(|file| self.disk.read(&file.name).map(<[u8]>::len))
            .map(|size| size.unwrap_or_else(|| panic!("seed {seed}: an increment is missing\n{}", manifest.print())))
            .collect();
        for (index, file) in manifest.increments().iter().enumerate() {
            let bytes = self.disk.read(&file.name).expect("it is there").to_vec();
            let mut text = Vec::new();
            let mut reader = Reader::new(0);
            let fed = reader.feed(&bytes, &mut |_, bytes| text.extend_from_slice(bytes));
            fed.unwrap_or_else(|fault| panic!("seed {seed}: {} {fault}", file.name));
            let mut size = bytes.len() as u64;
            if let ReadEnd::Truncated { valid, .. } = reader.finish() {
                let is_last = sizes[index + 1..].iter().all(|&size| size == 0);
                assert!(is_last, "seed {seed}: {} is not whole and not the last\n{}", file.name, manifest.print());
                let inode = self.disk.create(&file.name, false);
                self.disk.truncate(inode, valid);
                self.disk.sync(inode);
                size = valid;
                text.clear();
                let mut reader = Reader::new(0);
                let whole = &bytes[..valid as usize];
                reader.feed(whole, &mut |_, bytes| text.extend_from_slice(bytes)).expect("it is there");
            }
            found = apply(&text, found, seed);
            opened.increment_bytes += size;
            opened.last_bytes = size;
        }
        // Before anybody hears of it, or writes behind it.
        for file in manifest.increments() {
            let inode = self.disk.create(&file.name, false);
            self.disk.sync(inode);
        }
        self.check(found);
        self.counted.truncate(found as usize);
        self.counted.iter_mut().for_each(|counted| counted.position = 0);
        self.told = found;
        (manifest, opened)
    }

    fn check(&self, found: u64) {
        let (seed, counted) = (self.seed, self.counted.len() as u64);
        assert!(found <= counted, "seed {seed}: {found} of {counted}");
        match self.policy {
            SyncPolicy::Always => assert!(found >= self.told, "seed {seed}: {found} of {} that were told", self.told),
            SyncPolicy::EverySecond if !self.mood.disk_fails => {
                let lost = &self.counted[found as usize..];
                let oldest = lost.first().map_or(0, |counted| self.now.nanos_since(counted.at));
                assert!(oldest <= 2_000 * MS, "seed {seed}: lost what was {} ms old", oldest / MS);
                if !self.mood.power_fails {
                    assert!(oldest <= 1_000 * MS, "seed {seed}: a kill has lost what was {} ms old", oldest / MS);
                }
            }
            SyncPolicy::EverySecond | SyncPolicy::No => {}
        }
    }
}

/// The numbers follow each other; some may come again.
fn apply(text: &[u8], mut found: u64, seed: u64) -> u64 {
    let text = std::str::from_utf8(text).expect("text");
    for line in text.split("\r\n").filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()) && !line.is_empty()) {
        let number: u64 = line.parse().expect("a number");
        assert!(number <= found, "seed {seed}: {number} follows {found}");
        found = found.max(number + 1);
    }
    found
}

fn rules(rng: &mut Rng, policy: SyncPolicy) -> JournalRules {
    JournalRules {
        policy,
        rests_on_rewrite: false,
        rewrite_percentage: 100,
        rewrite_bytes_min: 1000 + rng.below(20_000),
        marks_time: rng.below(2) == 0,
        base_is_rdb: rng.below(2) == 0,
    }
}
