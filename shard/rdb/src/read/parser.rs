//! One piece after another.

use super::{Item, LoadedEntry, ReadLimits};
use crate::error::{Fault, RdbErrorKind};
use crate::format::{CHECKSUM_BYTES, HEADER_BYTES, SIGNATURE, VERSION_MAX, VERSION_MIN, opcode};
use crate::source::{Source, Stop};
use crate::value::{NoReader, Progress, ValueReader};
use crate::{length, string};
use alloc::vec::Vec;
use core::mem;
use slotmesh_base::UnixMillis;
use slotmesh_keyspace::LastUse;

/// Characters of a module's name, and how they stand in its id (Redis 7.2 `module.c` `moduleTypeNameByID`).
const MODULE_CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Lowest bits of a module's id, which are its version.
const MODULE_VERSION_BITS: u32 = 10;

/// Where in the file we are.
#[derive(Debug)]
pub(super) struct Parser {
    limits: ReadLimits,
    state: State,
    db: u16,
    /// What was told of the next key.
    expires_at: Option<UnixMillis>,
    last_use: Option<LastUse>,
}

#[derive(Debug)]
enum State {
    Header,
    /// Before an opcode or a type.
    Record,
    /// In the value of a key.
    Value {
        key: Vec<u8>,
        value: ValueReader,
    },
    Checksum,
    Done,
}

/// What a piece was.
#[derive(Debug)]
pub(super) enum Parsed {
    Item(Item),
    /// The checksum: all before it has been read.
    Checksum(u64),
    /// A part of something.
    Part,
}

impl Parser {
    pub(super) fn new(limits: ReadLimits) -> Self {
        Self { limits, state: State::Header, db: 0, expires_at: None, last_use: None }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Reads the next piece: nothing changes if it is not there as a whole.
    #[inline]
    pub(super) fn step(&mut self, source: &mut Source<'_>) -> Result<Parsed, Stop> {
        match &mut self.state {
            State::Header => {
                let version = read_header(source)?;
                self.state = State::Record;
                Ok(Parsed::Item(Item::Version(version)))
            }
            State::Record => self.record(source),
            State::Value { value, .. } => {
                let progress = value.step(source)?;
                Ok(self.advance(progress))
            }
            State::Checksum => {
                let stored = u64::from_le_bytes(source.array::<CHECKSUM_BYTES>()?);
                self.state = State::Done;
                Ok(Parsed::Checksum(stored))
            }
            State::Done => Err(Stop::Incomplete),
        }
    }

    fn record(&mut self, source: &mut Source<'_>) -> Result<Parsed, Stop> {
        let item = match source.byte()? {
            opcode::EXPIRE_MS => {
                let when = i64::from_le_bytes(source.array()?);
                return Ok(self.expire(when));
            }
            opcode::EXPIRE_SECONDS => {
                let when = i64::from(i32::from_le_bytes(source.array()?)) * 1000;
                return Ok(self.expire(when));
            }
            opcode::IDLE => {
                self.last_use = Some(LastUse::Idle(length::read(source)?));
                return Ok(Parsed::Part);
            }
            opcode::FREQUENCY => {
                self.last_use = Some(LastUse::Frequency(source.byte()?));
                return Ok(Parsed::Part);
            }
            opcode::END => {
                self.state = State::Checksum;
                return Ok(Parsed::Part);
            }
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    length::read(source)?;
                }
                return Ok(Parsed::Part);
            }
            opcode::SELECT_DB => {
                let db = length::read(source)?;
                let index = u16::try_from(db).ok().filter(|&index| usize::from(index) < self.limits.databases);
                self.db = index.ok_or(Stop::Bad(RdbErrorKind::Database(db)))?;
                Item::SelectDb(self.db)
            }
            opcode::RESIZE_DB => Item::ResizeDb { keys: length::read(source)?, expiring: length::read(source)? },
            opcode::AUX => {
                Item::Aux { name: string::read(source)?.into_owned(), value: string::read(source)?.into_owned() }
            }
            opcode::FUNCTION => Item::Function(string::read(source)?.into_owned()),
            opcode::FUNCTION_PRE_GA => return Err(Fault::PreReleaseFunctions.into()),
            opcode::MODULE_AUX => {
                let module = module_name(length::read(source)?);
                return Err(Stop::Bad(RdbErrorKind::ModuleData { module }));
            }
            kind => return self.begin_value(source, kind),
        };
        Ok(Parsed::Item(item))
    }

    fn expire(&mut self, when: i64) -> Parsed {
        // As in Redis, this one means that there is none.
        self.expires_at = (when != -1).then_some(UnixMillis(when));
        Parsed::Part
    }

    fn begin_value(&mut self, source: &mut Source<'_>, number: u8) -> Result<Parsed, Stop> {
        let reader = ValueReader::new(number, self.limits.list_packed);
        if let Err(NoReader::Unknown) = reader {
            return Err(Fault::Type(number).into());
        }
        let key = string::read(source)?.into_owned();
        match reader {
            Ok(value) => self.state = State::Value { key, value },
            Err(NoReader::Lacking(kind)) => return Err(Stop::Bad(RdbErrorKind::Lacking { kind, number, key })),
            Err(NoReader::Unknown) => return Err(Fault::Type(number).into()),
        }
        Ok(Parsed::Part)
    }

    fn advance(&mut self, progress: Progress) -> Parsed {
        let Progress::Done(value) = progress else { return Parsed::Part };
        let State::Value { key, .. } = mem::replace(&mut self.state, State::Record) else { return Parsed::Part };
        let (db, expires_at, last_use) = (self.db, self.expires_at.take(), self.last_use.take());
        Parsed::Item(match value {
            Some(value) => Item::Entry(LoadedEntry { db, key, value, expires_at, last_use }),
            None => Item::EmptyKey { db, key },
        })
    }
}

fn read_header(source: &mut Source<'_>) -> Result<u16, Stop> {
    let header = source.array::<HEADER_BYTES>()?;
    let Some(digits) = header.strip_prefix(SIGNATURE).filter(|digits| digits.iter().all(u8::is_ascii_digit)) else {
        return Err(Stop::Bad(RdbErrorKind::Signature));
    };
    let version = digits.iter().fold(0, |version, digit| version * 10 + u16::from(digit - b'0'));
    if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
        return Err(Stop::Bad(RdbErrorKind::Version(version)));
    }
    Ok(version)
}

fn module_name(id: u64) -> [u8; 9] {
    let mut rest = id >> MODULE_VERSION_BITS;
    let mut name = [0; 9];
    for character in name.iter_mut().rev() {
        *character = MODULE_CHARACTERS[(rest & 63) as usize];
        rest >>= 6;
    }
    name
}
