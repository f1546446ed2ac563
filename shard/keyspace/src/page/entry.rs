//! How one entry stands in a page.
//!
//! ```text
//! flags u8, key length u8, value length u8, trace of the last access u24, [record address u64], key, value, [expiry i64]
//! ```
//! Nothing is aligned. The expiry stands last, so that it can be dropped without moving anything. A record
//! on the heap holds the value, and the key too if that is longer than its length byte can say.

use super::boxed::Boxed;
use crate::access::{TRACE_BYTES, Trace};
use crate::tally::Tally;
use crate::{StringForm, Value};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

/// Most bytes of key and value together that stand in the page; longer values, and keys longer than this,
/// stand in a record of their own. Both lengths fit one byte then.
pub(crate) const INLINE_BYTES_MAX: usize = 255;

/// The entry ends with an expiry.
pub(super) const EXPIRES: u8 = 1;
/// The entry holds the address of a record.
pub(super) const BOXED: u8 = 2;
/// The record holds the key.
pub(super) const LONG_KEY: u8 = 4;

/// The string counts as raw ([`StringForm::Raw`]).
const RAW: u8 = 8;
/// The string does not count as an integer ([`StringForm::Text`]).
const TEXT: u8 = 16;

/// Bytes in front of every entry.
pub(super) const ENTRY_HEADER_BYTES: usize = TRACE + TRACE_BYTES;
/// Where the trace of the last access stands.
const TRACE: usize = 3;
/// Bytes of an expiry, and of a record's address.
pub(super) const WORD_BYTES: usize = 8;

/// Where the parts of one entry are in its page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(super) start: usize,
    pub(super) flags: u8,
    key_bytes: usize,
    value_bytes: usize,
}

impl Layout {
    /// Reads the entry that starts at `start`.
    #[inline]
    pub(super) fn read(bytes: &[u8], start: usize) -> Self {
        let header = &bytes[start..start + TRACE];
        Self { start, flags: header[0], key_bytes: header[1] as usize, value_bytes: header[2] as usize }
    }

    /// The trace of the last access.
    #[inline]
    pub(super) fn trace(self, bytes: &[u8]) -> Trace {
        let mut trace = [0; TRACE_BYTES];
        trace.copy_from_slice(&bytes[self.start + TRACE..][..TRACE_BYTES]);
        Trace(trace)
    }

    /// Sets the trace of the last access.
    #[inline]
    pub(super) fn set_trace(self, bytes: &mut [u8], trace: Trace) {
        bytes[self.start + TRACE..][..TRACE_BYTES].copy_from_slice(&trace.0);
    }

    /// The form of the entry's string.
    pub(super) fn form(self) -> StringForm {
        match self.flags & (RAW | TEXT) {
            0 => StringForm::ByContent,
            TEXT => StringForm::Text,
            _ => StringForm::Raw,
        }
    }

    /// Sets the form of the entry's string.
    #[inline]
    pub(super) fn set_form(self, bytes: &mut [u8], form: StringForm) {
        bytes[self.start] = self.flags & !(RAW | TEXT) | form_bits(form);
    }

    /// Whether a record on the heap belongs to the entry.
    #[inline]
    pub(super) fn is_boxed(self) -> bool {
        self.flags & BOXED != 0
    }

    #[inline]
    fn key_start(self) -> usize {
        self.start + ENTRY_HEADER_BYTES + if self.is_boxed() { WORD_BYTES } else { 0 }
    }

    /// The key, as far as it stands in the page.
    #[inline]
    pub(super) fn key(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.key_start()..][..self.key_bytes]
    }

    /// The value, as far as it stands in the page.
    #[inline]
    pub(super) fn value(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.key_start() + self.key_bytes..][..self.value_bytes]
    }

    /// The value, as far as it stands in the page, to change it.
    #[inline]
    pub(super) fn value_mut(self, bytes: &mut [u8]) -> &mut [u8] {
        &mut bytes[self.key_start() + self.key_bytes..][..self.value_bytes]
    }

    /// The address of the record, if there is one.
    #[inline]
    pub(super) fn record(self, bytes: &[u8]) -> Option<u64> {
        self.is_boxed().then(|| word(bytes, self.start + ENTRY_HEADER_BYTES))
    }

    /// Puts the address of another record in the place of the one that is there, which is given back.
    pub(super) fn exchange_record(self, bytes: &mut [u8], record: u64) -> Option<u64> {
        let old = self.record(bytes)?;
        let start = self.start + ENTRY_HEADER_BYTES;
        bytes[start..start + WORD_BYTES].copy_from_slice(&record.to_ne_bytes());
        Some(old)
    }

    /// Where the expiry stands, or would stand.
    #[inline]
    pub(super) fn expiry_start(self) -> usize {
        self.key_start() + self.key_bytes + self.value_bytes
    }

    /// When the entry expires.
    #[inline]
    pub(super) fn expiry(self, bytes: &[u8]) -> Option<i64> {
        (self.flags & EXPIRES != 0).then(|| word(bytes, self.expiry_start()) as i64)
    }

    /// The end of the entry.
    #[inline]
    pub(super) fn end(self) -> usize {
        self.expiry_start() + if self.flags & EXPIRES != 0 { WORD_BYTES } else { 0 }
    }

    /// Writes value and expiry over the old ones if neither changes the entry's shape; whether it was so.
    #[inline]
    pub(super) fn overwrite(self, bytes: &mut [u8], value: &[u8], expiry: Option<i64>, tally: &mut Tally) -> bool {
        let expires = self.flags & EXPIRES != 0;
        if self.is_boxed() || self.value_bytes != value.len() || expires != expiry.is_some() {
            return false;
        }
        let end = self.expiry_start();
        bytes[end - value.len()..end].copy_from_slice(value);
        if let Some(expiry) = expiry {
            tally.change_expiry(self.expiry(bytes), Some(expiry));
            bytes[end..end + WORD_BYTES].copy_from_slice(&expiry.to_ne_bytes());
        }
        true
    }

    /// Bytes of the whole entry.
    #[inline]
    pub(super) fn size(self) -> usize {
        self.end() - self.start
    }
}

/// An entry that is to be written.
#[must_use = "a record in it leaks"]
pub(crate) struct Draft<'a> {
    record: Option<u64>,
    /// Bytes that the record occupies on the heap.
    pub(super) heap_bytes: usize,
    key: &'a [u8],
    long_key: bool,
    value: &'a [u8],
    form: StringForm,
    /// None of its own: that of the entry which it replaces.
    pub(super) trace: Option<Trace>,
    pub(super) expiry: Option<i64>,
}

impl<'a> Draft<'a> {
    /// A string: in the page if it fits, else in a new record, which the entry owns once it is written.
    pub(crate) fn string(key: &'a [u8], value: &'a [u8], expiry: Option<i64>) -> Self {
        if fits_inline(key, value.len()) {
            let form = StringForm::ByContent;
            return Self { record: None, heap_bytes: 0, key, long_key: false, value, form, trace: None, expiry };
        }
        Self::boxed(key, Value::String(value.to_vec()), expiry)
    }

    /// A value of any type, which is taken if it does not fit into the page.
    pub(crate) fn value(key: &'a [u8], value: &'a mut Value, expiry: Option<i64>) -> Self {
        if !matches!(value, Value::String(string) if fits_inline(key, string.len())) {
            return Self::boxed(key, mem::replace(value, Value::String(Vec::new())), expiry);
        }
        let Value::String(string) = value else { unreachable!("only a string fits into the page") };
        Self::string(key, string, expiry)
    }

    /// A value in a new record, which leaks if the entry is not written.
    pub(crate) fn boxed(key: &'a [u8], value: Value, expiry: Option<i64>) -> Self {
        let long_key = key.len() > INLINE_BYTES_MAX;
        let own_key = if long_key { key } else { &[] };
        let record = Box::new(Boxed::new(own_key, value));
        let heap_bytes = record.bytes();
        let key = if long_key { &[] } else { key };
        let form = StringForm::ByContent;
        Self { record: Some(record.into_bits()), heap_bytes, key, long_key, value: &[], form, trace: None, expiry }
    }

    /// The same, its string in that form.
    pub(crate) fn form(mut self, form: StringForm) -> Self {
        self.form = form;
        self
    }

    /// The same with a trace of an access.
    pub(crate) fn trace(mut self, trace: Trace) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Bytes that the entry takes.
    pub(super) fn size(&self) -> usize {
        let words = usize::from(self.record.is_some()) + usize::from(self.expiry.is_some());
        ENTRY_HEADER_BYTES + words * WORD_BYTES + self.key.len() + self.value.len()
    }

    /// Whether the entry has a record on the heap.
    pub(super) fn is_boxed(&self) -> bool {
        self.record.is_some()
    }

    /// Writes the entry at `start`; `old` is the trace of the one that it replaces.
    #[inline]
    pub(super) fn write(&self, bytes: &mut [u8], start: usize, old: Trace) {
        let mut flags = form_bits(self.form);
        flags |= if self.expiry.is_some() { EXPIRES } else { 0 };
        flags |= if self.record.is_some() { BOXED } else { 0 };
        flags |= if self.long_key { LONG_KEY } else { 0 };
        let out = &mut bytes[start..start + self.size()];
        // Both lengths are at most INLINE_BYTES_MAX.
        let (header, mut out) = out.split_at_mut(ENTRY_HEADER_BYTES);
        let [a, b, c] = self.trace.unwrap_or(old).0;
        header.copy_from_slice(&[flags, self.key.len() as u8, self.value.len() as u8, a, b, c]);
        if let Some(record) = self.record {
            out = put(out, &record.to_ne_bytes());
        }
        out = put(out, self.key);
        out = put(out, self.value);
        if let Some(expiry) = self.expiry {
            put(out, &expiry.to_ne_bytes());
        }
    }
}

#[inline]
fn form_bits(form: StringForm) -> u8 {
    match form {
        StringForm::ByContent => 0,
        StringForm::Text => TEXT,
        StringForm::Raw => RAW,
    }
}

/// Whether a key and a value of that length stand in the page.
#[inline]
pub(super) fn fits_inline(key: &[u8], value_bytes: usize) -> bool {
    key.len().saturating_add(value_bytes) <= INLINE_BYTES_MAX
}

#[inline]
fn put<'o>(out: &'o mut [u8], part: &[u8]) -> &'o mut [u8] {
    let (to, rest) = out.split_at_mut(part.len());
    to.copy_from_slice(part);
    rest
}

/// The eight bytes at `start` as a number.
#[inline]
fn word(bytes: &[u8], start: usize) -> u64 {
    let mut word = [0; WORD_BYTES];
    word.copy_from_slice(&bytes[start..start + WORD_BYTES]);
    u64::from_ne_bytes(word)
}

const _: () = assert!(INLINE_BYTES_MAX <= u8::MAX as usize);
