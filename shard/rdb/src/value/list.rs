//! Lists: strings one by one, one ziplist, or nodes of a quicklist (Redis 7.2 `rdb.c` `rdbLoadObject`, `rdbSaveObject`).

use super::Progress;
use crate::error::Fault;
use crate::format::{container, kind};
use crate::source::{NODE_OVERHEAD_BYTES, Source, Stop};
use crate::string::{self, StringWriter};
use crate::{length, listpack, ziplist};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::iter;
use slotmesh_keyspace::{Element, List, ListBuilder, PackedLimit, PackedRun, Value};

/// An element from this length on is a node of its own, without a listpack around it (Redis 7.2 `quicklist.c`
/// `packed_threshold`).
const PLAIN_BYTES_MIN: usize = 1 << 30;

/// Appends a list as type [`LIST_QUICKLIST_2`](kind::LIST_QUICKLIST_2), its runs as nodes.
pub(super) fn write(out: &mut Vec<u8>, strings: &mut StringWriter, list: &List) {
    length::write(out, list.runs() as u64);
    let mut node = Vec::new();
    list.visit_runs(|run| {
        if let Some(element) = plain(run) {
            length::write(out, container::PLAIN);
            return strings.write(out, element);
        }
        length::write(out, container::PACKED);
        if strings.compresses() {
            node.clear();
            listpack::write(&mut node, run.entries, run.count);
            strings.write(out, &node);
        } else {
            // The same without a copy.
            length::write(out, (run.entries.len() + listpack::FRAME_BYTES) as u64);
            listpack::write(out, run.entries, run.count);
        }
    });
}

/// The element of a run that is to be a plain node.
fn plain(run: PackedRun<'_>) -> Option<&[u8]> {
    match run.entries {
        // The form of all elements from 4 KiB on.
        [0xf0, rest @ ..] if run.count == 1 && run.entries.len() >= PLAIN_BYTES_MIN => {
            let (len, bytes) = rest.split_first_chunk()?;
            bytes.get(..u32::from_le_bytes(*len) as usize).filter(|element| element.len() >= PLAIN_BYTES_MIN)
        }
        _ => None,
    }
}

/// A list that is being read.
#[derive(Debug)]
pub(crate) struct ListReader {
    kind: u8,
    /// Nodes or elements that are left; nothing, if their number has not been read.
    left: Option<u64>,
    /// Nothing, once the list is done.
    builder: Option<ListBuilder>,
}

impl ListReader {
    pub(super) fn new(kind: u8, packed: PackedLimit) -> Self {
        // There is no number in front of a single ziplist.
        let left = (kind == kind::LIST_ZIPLIST).then_some(1);
        Self { kind, left, builder: Some(ListBuilder::new(packed)) }
    }

    /// Reads the number of nodes or elements, or one of them.
    pub(super) fn step(&mut self, source: &mut Source<'_>) -> Result<Progress, Stop> {
        match self.left {
            None => self.left = Some(length::read(source)?),
            Some(0) => {}
            Some(left) => {
                self.read_part(source)?;
                self.left = Some(left - 1);
            }
        }
        Ok(match self.left {
            Some(0) => Progress::Done(self.builder.take().and_then(ListBuilder::finish).map(Value::List)),
            _ => Progress::More,
        })
    }

    fn read_part(&mut self, source: &mut Source<'_>) -> Result<(), Stop> {
        let Some(builder) = &mut self.builder else { return Ok(()) };
        match self.kind {
            kind::LIST => builder.push(&string::read(source)?),
            kind::LIST_QUICKLIST_2 => match length::read(source)? {
                container::PLAIN => {
                    let element = string::read(source)?;
                    if element.is_empty() {
                        return Err(Fault::Node.into());
                    }
                    builder.push_chunk(iter::once(Element::Bytes(&element)));
                }
                container::PACKED => read_listpack(source, builder)?,
                _ => return Err(Fault::Node.into()),
            },
            _ => {
                let node = read_node(source)?;
                builder.push_chunk(ziplist::elements(&node).ok_or(Fault::Ziplist)?);
            }
        }
        Ok(())
    }
}

fn read_listpack(source: &mut Source<'_>, builder: &mut ListBuilder) -> Result<(), Stop> {
    let node = read_node(source)?;
    let (entries, announced) = listpack::read(&node).ok_or(Fault::Listpack)?;
    let count = builder.push_packed(entries).map_err(|_| Fault::Listpack)?;
    if announced.is_some_and(|announced| announced != count) {
        return Err(Fault::Listpack.into());
    }
    Ok(())
}

fn read_node<'a>(source: &mut Source<'a>) -> Result<Cow<'a, [u8]>, Stop> {
    let bytes_max = source.string_bytes_max + NODE_OVERHEAD_BYTES;
    string::read_up_to(source, bytes_max)
}
