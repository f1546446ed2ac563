//! What writes did, as commands to replay: the stream that a replica or an append-only file gets.
//!
//! Effects are not requests: times are absolute, chosen members are named, and a key that expired is deleted by an
//! effect of its own, so that whoever replays them needs no clock and no chance. One execution (a command, or all
//! commands of an EXEC) is one block: if it has several effects they stand between MULTI and EXEC. The stream is made
//! of RESP arrays, as Redis's replication stream; its offset counts bytes.

use slotmesh_base::limits::EFFECT_BYTES_KEPT;
use slotmesh_resp::push_request;

/// The effects of one shard, as long as somebody wants them.
#[derive(Debug, Default)]
pub struct Effects {
    is_recording: bool,
    /// What the running command did.
    command: Part,
    /// What the running block did.
    block: Part,
    /// Database that is selected at the end of the stream.
    db: Option<u16>,
    stream: Vec<u8>,
    /// Bytes that were drained from the stream.
    drained: u64,
    /// Whether the stream is one of several shards.
    is_shared: bool,
    /// Pieces that were numbered.
    pieces: u64,
}

/// Commands, without the SELECTs between them.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    /// For each command its database, and where it ends.
    commands: Vec<(u16, usize)>,
}

impl Effects {
    /// Whether anybody wants effects.
    #[inline]
    pub fn is_recording(&self) -> bool {
        self.is_recording
    }

    /// Begins or ends to keep effects. What begins anew selects its database anew.
    pub fn record(&mut self, wanted: bool) {
        self.is_recording = wanted;
        self.db = None;
    }

    /// Says whether the effects of several shards make up one stream: what several do together is one block then, and
    /// stands with the first of them.
    pub fn share(&mut self, is_shared: bool) {
        self.is_shared = is_shared;
    }

    /// Whether what this shard does together with others is one block of all of them.
    #[inline]
    pub fn is_joint(&self) -> bool {
        self.is_recording && self.is_shared
    }

    /// Takes over what the running block has done on another shard.
    pub fn join(&mut self, other: &mut Self) {
        self.block.append(&mut other.block);
    }

    /// A number for what was drained: its place among all that was taken from this shard.
    pub fn number(&mut self) -> u64 {
        self.pieces += 1;
        self.pieces - 1
    }

    /// How many have been given.
    pub fn pieces(&self) -> u64 {
        self.pieces
    }

    /// The next block selects its database, also if it is the one before's: the stream can be read from here.
    pub fn select_anew(&mut self) {
        self.db = None;
    }

    /// The database that is selected where the stream ends, if any is.
    pub fn selected(&self) -> Option<u16> {
        self.db
    }

    /// Bytes of the stream from its beginning to the end of the last block.
    pub fn offset(&self) -> u64 {
        self.drained + self.stream.len() as u64
    }

    /// Whether the stream has gained anything since it was drained last.
    #[inline]
    pub fn has_gained(&self) -> bool {
        !self.stream.is_empty()
    }

    /// Takes what the stream has gained since it was drained last.
    pub fn drain(&mut self) -> Vec<u8> {
        self.drained += self.stream.len() as u64;
        std::mem::take(&mut self.stream)
    }

    /// Adds an effect of the running command.
    pub fn push<'a>(&mut self, db: u16, words: impl ExactSizeIterator<Item = &'a [u8]>) {
        if self.is_recording {
            self.command.push(db, words);
        }
    }

    /// Adds the deletion of a key that expired before the running command did anything.
    pub fn push_expired(&mut self, db: u16, key: &[u8]) {
        if self.is_recording {
            self.block.push(db, [&b"DEL"[..], key].into_iter());
        }
    }

    /// Ends the running command: what it did is part of the block.
    pub fn end_command(&mut self) {
        self.block.append(&mut self.command);
    }

    /// Forgets what the running command has pushed: it failed and changed nothing.
    pub fn forget_command(&mut self) {
        self.command.clear();
    }

    /// Ends the block: what it did is part of the stream.
    pub fn end_block(&mut self) {
        let several = self.block.commands.len() > 1;
        if several {
            push_request(&mut self.stream, [&b"MULTI"[..]].into_iter());
        }
        let mut start = 0;
        for &(db, end) in &self.block.commands {
            if self.db != Some(db) {
                self.db = Some(db);
                push_request(&mut self.stream, [&b"SELECT"[..], db.to_string().as_bytes()].into_iter());
            }
            self.stream.extend_from_slice(&self.block.bytes[start..end]);
            start = end;
        }
        if several {
            push_request(&mut self.stream, [&b"EXEC"[..]].into_iter());
        }
        self.block.clear();
    }
}

impl Part {
    fn push<'a>(&mut self, db: u16, words: impl ExactSizeIterator<Item = &'a [u8]>) {
        push_request(&mut self.bytes, words);
        self.commands.push((db, self.bytes.len()));
    }

    fn append(&mut self, other: &mut Self) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.commands.extend(other.commands.iter().map(|&(db, end)| (db, start + end)));
        other.clear();
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(EFFECT_BYTES_KEPT);
        self.commands.clear();
        self.commands.shrink_to(EFFECT_BYTES_KEPT / size_of::<(u16, usize)>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl ExactSizeIterator<Item = &[u8]> {
        text.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter()
    }

    fn shown(effects: &mut Effects) -> String {
        String::from_utf8(effects.drain()).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn a_block_of_several_effects_is_one_transaction() {
        let mut effects = Effects::default();
        effects.record(true);
        effects.push(0, words("DEL a"));
        effects.push_expired(0, b"b");
        effects.end_command();
        assert_eq!(effects.offset(), 0, "a block that is not ended is not in the stream");
        effects.push(3, words("DEL c"));
        effects.end_command();
        effects.end_block();
        let length = effects.offset();
        assert_eq!(
            shown(&mut effects),
            "*1 $5 MULTI *2 $6 SELECT $1 0 *2 $3 DEL $1 b *2 $3 DEL $1 a *2 $6 SELECT $1 3 *2 $3 DEL $1 c *1 $4 EXEC "
        );
        effects.push(3, words("DEL d"));
        effects.end_command();
        effects.end_block();
        assert_eq!(effects.offset(), length + b"*2\r\n$3\r\nDEL\r\n$1\r\nd\r\n".len() as u64);
        assert_eq!(shown(&mut effects), "*2 $3 DEL $1 d ");
    }

    #[test]
    fn nothing_is_kept_unless_somebody_wants_it() {
        let mut effects = Effects::default();
        effects.push(0, words("DEL a"));
        effects.push_expired(0, b"b");
        effects.end_command();
        effects.end_block();
        assert_eq!((effects.offset(), effects.drain()), (0, Vec::new()));
    }

    #[test]
    fn a_command_that_failed_leaves_nothing() {
        let mut effects = Effects::default();
        effects.record(true);
        effects.push(0, words("DEL a"));
        effects.forget_command();
        effects.end_command();
        effects.end_block();
        assert_eq!(effects.offset(), 0);
    }
}
