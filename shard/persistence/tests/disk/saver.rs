//! A node that saves images on the disk, one after the other, and dies.

use crate::disk::{Disk, EIO, ENOSPC};
use crate::world::Mood;
use slotmesh_base::Rng;
use slotmesh_persistence::{Image, ImageOrder, ImageRules, ImageStep};

const NAME: &str = "dump.rdb";
/// The byte of an image that says that it ends here.
const END: u8 = 0xff;

/// A save that is under way, or what is left of it.
struct Save {
    image: Image,
    temporary: String,
    inode: usize,
    /// What the image holds.
    version: u64,
    /// Its bytes that are not made yet.
    rest: Vec<u8>,
    /// Whether the node has heard of its end.
    is_told: bool,
    /// Whether the removal has failed, so that something may stay.
    is_stuck: bool,
}

/// An order that the disk has.
struct Doing {
    /// The save that it is for.
    version: u64,
    temporary: String,
    inode: usize,
    order: ImageOrder,
    /// For a sync: the file as it was when it began.
    seen: Vec<u8>,
    result: Result<(), i32>,
}

pub(crate) struct Saver {
    seed: u64,
    rng: Rng,
    mood: Mood,
    disk: Disk,
    save: Option<Save>,
    doing: Vec<Doing>,
    /// Images that were begun.
    versions: u64,
    /// The last that the node was told to be on the disk.
    saved: u64,
    /// The last whose rename has ended well: what readers see.
    named: u64,
    /// The disk takes nothing while this is so.
    is_full: bool,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) given_up: u64,
}

/// The whole of an image.
fn content(version: u64) -> Vec<u8> {
    let mut bytes = version.to_le_bytes().to_vec();
    bytes.resize(20 + (version * 37 % 300) as usize, version as u8 & 0x7f);
    bytes.push(END);
    bytes
}

impl Saver {
    pub(crate) fn new(seed: u64, mood: Mood) -> Self {
        Self {
            seed,
            rng: Rng::new(seed),
            mood,
            disk: Disk::default(),
            save: None,
            doing: Vec::new(),
            versions: 0,
            saved: 0,
            named: 0,
            is_full: false,
            successes: 0,
            failures: 0,
            given_up: 0,
        }
    }

    /// A process begins, saves again and again, and dies at any moment.
    pub(crate) fn live(&mut self) {
        for _ in 0..20 + self.rng.below(600) {
            self.step();
        }
        self.die();
        self.check();
    }

    fn step(&mut self) {
        if self.mood.disk_fails && self.rng.below(60) == 0 {
            self.is_full = !self.is_full;
        }
        if self.save.as_ref().is_none_or(|save| save.image.is_over()) {
            return self.begin();
        }
        match self.rng.below(5) {
            0 if self.rng.below(12) == 0 => self.give_up(),
            0 | 1 => self.make(),
            _ if !self.doing.is_empty() => {
                let place = self.rng.below(self.doing.len() as u64) as usize;
                let doing = self.doing.swap_remove(place);
                self.end(doing);
            }
            _ => self.make(),
        }
    }

    fn begin(&mut self) {
        self.save = None;
        self.versions += 1;
        if self.fault(30).is_err() {
            self.failures += 1;
            return;
        }
        // The last four of them are numbered anew, as the numbers of saves are.
        let temporary = format!("temp-{}.rdb", self.versions % 4);
        let inode = self.disk.create(&temporary, true);
        let rules = ImageRules {
            piece_bytes: 1 + self.rng.below(100) as usize,
            window_bytes: 200,
            writes_back: self.rng.below(2) == 0,
            takes_name: true,
        };
        let (version, mut rest) = (self.versions, content(self.versions));
        let head = rest.drain(..8).collect();
        let image = Image::new(rules, head);
        self.save = Some(Save { image, temporary, inode, version, rest, is_told: false, is_stuck: false });
        self.make();
    }

    /// Makes some more of the image.
    fn make(&mut self) {
        let Some(save) = &mut self.save else { return };
        if save.image.has_room() {
            let count = self.rng.below(90).min(save.rest.len() as u64) as usize;
            let more: Vec<u8> = save.rest.drain(..count).collect();
            save.image.buffer().extend(more);
        }
        let mut orders = Vec::new();
        save.image.go_on(save.rest.is_empty(), &mut orders);
        self.obey(orders);
    }

    fn give_up(&mut self) {
        let Some(save) = &mut self.save else { return };
        let mut orders = Vec::new();
        save.image.give_up(&mut orders);
        self.given_up += u64::from(!std::mem::replace(&mut save.is_told, true));
        self.obey(orders);
    }

    fn fault(&mut self, odds: u64) -> Result<(), i32> {
        match self.mood.disk_fails && self.rng.below(odds) == 0 {
            true => Err(EIO),
            false => Ok(()),
        }
    }

    fn obey(&mut self, orders: Vec<ImageOrder>) {
        for order in orders {
            let Some(save) = &self.save else { return };
            let (version, temporary, inode) = (save.version, save.temporary.clone(), save.inode);
            let (mut result, mut seen) = (self.fault(60), Vec::new());
            match &order {
                ImageOrder::Write { .. } if self.is_full => result = Err(ENOSPC),
                ImageOrder::Sync => seen = self.disk.seen(inode),
                _ => {}
            }
            self.doing.push(Doing { version, temporary, inode, order, seen, result });
        }
    }

    fn end(&mut self, doing: Doing) {
        let Doing { version, temporary, inode, .. } = doing;
        let (step, mut result) = (doing.order.step(), doing.result);
        // A rename, a removal, a sync that failed may have happened all the same.
        let happens = result.is_ok() || self.rng.below(2) == 0;
        let before = self.disk.read(NAME).map(<[u8]>::to_vec);
        let mut written = Vec::new();
        match doing.order {
            ImageOrder::Write { at, bytes } => {
                let count = if result.is_ok() { bytes.len() as u64 } else { self.rng.below(bytes.len() as u64) };
                self.disk.write(inode, at, &bytes[..count as usize]);
                written = bytes;
            }
            ImageOrder::Sync if result.is_ok() => self.disk.sync_as(inode, doing.seen),
            ImageOrder::Rename if happens => result = result.and(self.disk.rename(&temporary, NAME)),
            ImageOrder::SyncFolder if happens => self.disk.sync_folder(),
            ImageOrder::Remove if happens => self.disk.remove(&temporary),
            _ => {}
        }
        match step {
            ImageStep::Rename => self.named = version,
            _ => assert_eq!(self.disk.read(NAME).map(<[u8]>::to_vec), before, "seed {}: {step:?}", self.seed),
        }
        // The node hears nothing of what it has no more.
        let Some(save) = self.save.as_mut().filter(|save| save.version == version) else { return };
        save.is_stuck |= step == ImageStep::Remove && !happens;
        let mut orders = Vec::new();
        save.image.ended(step, result.is_ok(), written, &mut orders);
        if !save.is_told && save.image.is_made() {
            (save.is_told, self.saved) = (true, save.version);
            self.successes += 1;
        } else if !save.is_told && result.is_err() {
            save.is_told = true;
            self.failures += 1;
        }
        self.obey(orders);
        self.look();
    }

    /// What is seen while the node lives.
    fn look(&mut self) {
        let seed = self.seed;
        let Some(save) = self.save.as_ref().filter(|save| save.image.is_over()) else { return };
        let is_left = self.disk.read(&save.temporary).is_some();
        assert!(!is_left || save.is_stuck, "seed {seed}: {} is left", save.temporary);
        assert!(save.is_told, "seed {seed}: nobody knows how {} has ended", save.version);
        let version = self.version_on_disk();
        assert!(version <= self.named, "seed {seed}: {version} was never named");
        if save.image.is_made() {
            assert_eq!(version, save.version, "seed {seed}: what was told to be saved is not what is there");
        }
    }

    /// The version that has the name: whole, or it is none.
    fn version_on_disk(&self) -> u64 {
        let Some(bytes) = self.disk.read(NAME) else { return 0 };
        let version = bytes.first_chunk().map_or(0, |version| u64::from_le_bytes(*version));
        assert!(bytes == content(version), "seed {}: {NAME} is no image that was made", self.seed);
        version
    }

    /// What is under way may have happened, in part or as a whole.
    fn die(&mut self) {
        for doing in std::mem::take(&mut self.doing) {
            match doing.order {
                ImageOrder::Write { at, bytes } => {
                    let written = self.rng.below(bytes.len() as u64 + 1);
                    self.disk.write(doing.inode, at, &bytes[..written as usize]);
                }
                ImageOrder::Rename if self.rng.below(2) == 0 => _ = self.disk.rename(&doing.temporary, NAME),
                ImageOrder::Remove if self.rng.below(2) == 0 => self.disk.remove(&doing.temporary),
                _ => {}
            }
        }
        if self.mood.power_fails {
            self.disk.lose_power(&mut self.rng);
        }
        (self.save, self.is_full) = (None, false);
    }

    /// What the next process finds.
    fn check(&mut self) {
        let (seed, found) = (self.seed, self.version_on_disk());
        assert!(found >= self.saved, "seed {seed}: {} was told to be on the disk, {found} is", self.saved);
        assert!(found <= self.versions, "seed {seed}: {found} of {}", self.versions);
        if !self.mood.power_fails {
            assert!(found >= self.named.min(self.saved), "seed {seed}: a kill takes no name back");
        }
        (self.saved, self.named) = (found, found);
    }
}
