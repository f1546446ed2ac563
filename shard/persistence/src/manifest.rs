//! Which files make up an append-only file: a base, and what was written since in increments.
//!
//! One line for each file, `file NAME seq NUMBER type KIND` (Redis 7.0 `aof.c`, `aofLoadManifestFromFile`): a base (`b`)
//! first, then files that are only waiting to be removed (`h`), then the increments (`i`) with ascending numbers. Words
//! may be quoted, unknown pairs of words are passed over, lines that begin with `#` are comments.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use slotmesh_base::limits::{MANIFEST_BYTES_MAX, MANIFEST_LINE_BYTES_MAX};

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// All that there was when it was begun.
    Base,
    /// What was written since.
    Increment,
    /// Nothing any more.
    History,
}

impl FileKind {
    fn letter(self) -> char {
        match self {
            Self::Base => 'b',
            Self::Increment => 'i',
            Self::History => 'h',
        }
    }
}

/// A file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFile {
    /// Its name in the folder.
    pub name: String,
    /// Its number among those of its kind.
    pub sequence: u64,
}

/// The files of an append-only file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    base: Option<LogFile>,
    increments: Vec<LogFile>,
    history: Vec<LogFile>,
    base_sequence: u64,
    increment_sequence: u64,
}

/// A manifest that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManifestError {
    /// What is wrong.
    pub fault: ManifestFault,
    /// The line with the fault, from 1 on, and its text; none if there is no line.
    pub line: Option<(usize, String)>,
}

/// What is wrong with a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ManifestFault {
    /// It is empty.
    Empty,
    /// It is larger than any that is written.
    TooLarge,
    /// A line is too long, or would be as we print it, or the last one has no end.
    LineTooLong,
    /// A line is none of the form.
    Malformed,
    /// A name is a path.
    NotAName,
    /// There are two bases.
    SecondBase,
    /// Numbers of increments do not ascend.
    NotAscending,
    /// A kind that is not known.
    UnknownKind,
}

impl Manifest {
    /// That of an append-only file of one file, as Redis 6 wrote them: it becomes the base.
    pub fn of_single_file(name: &str) -> Self {
        let base = LogFile { name: name.to_owned(), sequence: 1 };
        Self { base: Some(base), base_sequence: 1, ..Self::default() }
    }

    /// Reads what a manifest file says. What is read can be read again when it is [printed](Self::print).
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let fail = |fault| ManifestError { fault, line: None };
        if bytes.is_empty() {
            return Err(fail(ManifestFault::Empty));
        }
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(fail(ManifestFault::TooLarge));
        }
        let (mut manifest, mut bytes_printed) = (Self::default(), 0);
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            let text = || String::from_utf8_lossy(line.trim_ascii()).into_owned();
            let fail = |fault| ManifestError { fault, line: Some((index + 1, text())) };
            if !line.ends_with(b"\n") || line.len() > MANIFEST_LINE_BYTES_MAX {
                return Err(fail(ManifestFault::LineTooLong));
            }
            let (kind, file) = parse_line(line.trim_ascii()).map_err(fail)?;
            // Characters that are no text stand there as they are, and are printed as four.
            let mut printed = String::new();
            push_line(&mut printed, kind, &file);
            if printed.len() > MANIFEST_LINE_BYTES_MAX {
                return Err(fail(ManifestFault::LineTooLong));
            }
            bytes_printed += printed.len();
            manifest.take(kind, file).map_err(fail)?;
        }
        if bytes_printed > MANIFEST_BYTES_MAX {
            return Err(fail(ManifestFault::TooLarge));
        }
        Ok(manifest)
    }

    fn take(&mut self, kind: FileKind, file: LogFile) -> Result<(), ManifestFault> {
        match kind {
            FileKind::Base if self.base.is_some() => return Err(ManifestFault::SecondBase),
            FileKind::Base => {
                self.base_sequence = file.sequence;
                self.base = Some(file);
            }
            FileKind::History => self.history.push(file),
            FileKind::Increment if file.sequence <= self.increment_sequence => return Err(ManifestFault::NotAscending),
            FileKind::Increment => {
                self.increment_sequence = file.sequence;
                self.increments.push(file);
            }
        }
        Ok(())
    }

    /// As it stands in its file.
    pub fn print(&self) -> String {
        let mut text = String::new();
        let base = self.base.iter().map(|file| (FileKind::Base, file));
        let history = self.history.iter().map(|file| (FileKind::History, file));
        let increments = self.increments.iter().map(|file| (FileKind::Increment, file));
        for (kind, file) in base.chain(history).chain(increments) {
            push_line(&mut text, kind, file);
        }
        text
    }

    /// The base.
    pub fn base(&self) -> Option<&LogFile> {
        self.base.as_ref()
    }

    /// What was written since, in its order. The last one is being written.
    pub fn increments(&self) -> &[LogFile] {
        &self.increments
    }

    /// What may be removed.
    pub fn history(&self) -> &[LogFile] {
        &self.history
    }

    /// Whether it names nothing that is to be loaded.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty()
    }

    /// The files that are to be loaded, in their order.
    pub fn files(&self) -> impl Iterator<Item = &LogFile> {
        self.base.iter().chain(&self.increments)
    }

    /// Whether it was made of a single file of Redis 6 of this name, and nothing has been added since
    /// (`loadAppendOnlyFiles`): if that is not in the folder yet, it has not been moved.
    pub fn is_of_single_file(&self, name: &str) -> bool {
        self.increments.is_empty() && self.base.as_ref().is_some_and(|base| base.name == name)
    }

    /// Adds an increment; `prefix` is `appendfilename`. Its name.
    pub fn add_increment(&mut self, prefix: &str) -> String {
        self.increment_sequence += 1;
        let sequence = self.increment_sequence;
        let name = format!("{prefix}.{sequence}.incr.aof");
        self.increments.push(LogFile { name: name.clone(), sequence });
        name
    }

    /// Replaces the base; the one before is history. Its name.
    pub fn replace_base(&mut self, prefix: &str, is_rdb: bool) -> String {
        self.history.splice(..0, self.base.take());
        self.base_sequence += 1;
        let (sequence, format) = (self.base_sequence, if is_rdb { "rdb" } else { "aof" });
        let name = format!("{prefix}.{sequence}.base.{format}");
        self.base = Some(LogFile { name: name.clone(), sequence });
        name
    }

    /// All increments but the last `kept` are part of the base now.
    pub fn retire_increments(&mut self, kept: usize) {
        let retired = self.increments.len().saturating_sub(kept);
        self.history.splice(..0, self.increments.drain(..retired));
    }

    /// What was history has been removed.
    pub fn forget_history(&mut self) {
        self.history.clear();
    }
}

fn parse_line(line: &[u8]) -> Result<(FileKind, LogFile), ManifestFault> {
    let words = split_words(line).ok_or(ManifestFault::Malformed)?;
    if words.len() < 6 || words.len() % 2 == 1 {
        return Err(ManifestFault::Malformed);
    }
    let (mut name, mut sequence, mut kind) = (None, None, None);
    for pair in words.chunks_exact(2) {
        if pair[0].eq_ignore_ascii_case(b"file") {
            let text = core::str::from_utf8(&pair[1]).ok().filter(|text| !text.is_empty());
            let text = text.ok_or(ManifestFault::Malformed)?;
            if text.contains(['/', '\\', '\0']) || text == "." || text == ".." {
                return Err(ManifestFault::NotAName);
            }
            name = Some(text.to_owned());
        } else if pair[0].eq_ignore_ascii_case(b"seq") {
            let number = core::str::from_utf8(&pair[1]).ok().and_then(|text| text.parse().ok());
            // Beyond, numbers could not be counted on.
            sequence = number.filter(|&number: &u64| number > 0 && number < i64::MAX as u64);
        } else if pair[0].eq_ignore_ascii_case(b"type") {
            kind = pair[1].first().copied();
        }
    }
    let (Some(name), Some(sequence), Some(kind)) = (name, sequence, kind) else {
        return Err(ManifestFault::Malformed);
    };
    let kind = match kind {
        b'b' => FileKind::Base,
        b'i' => FileKind::Increment,
        b'h' => FileKind::History,
        _ => return Err(ManifestFault::UnknownKind),
    };
    Ok((kind, LogFile { name, sequence }))
}

/// The words of a line, quotes taken off as in `sds.c`, `sdssplitargs`; `None` if a quote has no end.
fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.iter().copied().peekable();
    loop {
        while rest.next_if(u8::is_ascii_whitespace).is_some() {}
        if rest.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        loop {
            let next = rest.next();
            match (quote, next) {
                (None, None) => break,
                (None, Some(byte)) if byte.is_ascii_whitespace() => break,
                (None, Some(byte @ (b'"' | b'\''))) => quote = Some(byte),
                (Some(_), None) => return None,
                (Some(open), Some(byte)) if byte == open => {
                    // Behind the closing quote a word ends.
                    if rest.peek().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                        return None;
                    }
                    break;
                }
                (Some(b'"'), Some(b'\\')) => word.push(unescape(&mut rest)?),
                (Some(b'\''), Some(b'\\')) if rest.peek() == Some(&b'\'') => word.extend(rest.next()),
                (_, Some(byte)) => word.push(byte),
            }
        }
        words.push(word);
    }
}

fn unescape(rest: &mut core::iter::Peekable<impl Iterator<Item = u8> + Clone>) -> Option<u8> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16));
    Some(match rest.next()? {
        b'x' => {
            let mut ahead = rest.clone();
            match (digit(ahead.next()), digit(ahead.next())) {
                (Some(high), Some(low)) => {
                    *rest = ahead;
                    (high * 16 + low) as u8
                }
                _ => b'x',
            }
        }
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        byte => byte,
    })
}

/// Appends the line of a file.
fn push_line(text: &mut String, kind: FileKind, LogFile { name, sequence }: &LogFile) {
    text.push_str("file ");
    push_name(text, name);
    text.push_str(&format!(" seq {sequence} type {}\n", kind.letter()));
}

/// A name, in quotes if it needs them (`sds.c`, `sdsneedsrepr` and `sdscatrepr`).
fn push_name(text: &mut String, name: &str) {
    let needs = |byte: u8| matches!(byte, b'\\' | b'"' | b'\'' | b' ') || !byte.is_ascii_graphic();
    if !name.is_empty() && !name.bytes().any(needs) {
        return text.push_str(name);
    }
    text.push('"');
    for byte in name.bytes() {
        match byte {
            b'\\' | b'"' => text.extend(['\\', byte as char]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            b' '..=b'~' => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Found an empty AOF manifest",
            Self::TooLarge => "The AOF manifest file is too large",
            Self::LineTooLong => "The AOF manifest file contains too long line",
            Self::Malformed => "Invalid AOF manifest file format",
            Self::NotAName => "File can't be a path, just a filename",
            Self::SecondBase => "Found duplicate base file information",
            Self::NotAscending => "Found a non-monotonic sequence number",
            Self::UnknownKind => "Unknown AOF file type",
        })
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((number, text)) => {
                write!(f, "Reading the manifest file, at line {number}: >>> '{text}': {}", self.fault)
            }
            None => self.fault.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    const REDIS: &str = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                         file appendonly.aof.1.base.rdb seq 1 type h\n\
                         file appendonly.aof.1.incr.aof seq 1 type h\n\
                         file appendonly.aof.2.incr.aof seq 2 type i\n";

    fn fault(text: &str) -> (ManifestFault, Option<usize>) {
        let error = Manifest::parse(text.as_bytes()).unwrap_err();
        (error.fault, error.line.map(|(line, _)| line))
    }

    #[test]
    fn what_redis_writes_is_read_and_written_the_same() {
        let manifest = Manifest::parse(REDIS.as_bytes()).unwrap();
        assert_eq!(manifest.print(), REDIS);
        assert_eq!(manifest.base().unwrap().name, "appendonly.aof.2.base.rdb");
        assert_eq!(manifest.history().len(), 2);
        assert_eq!(manifest.files().count(), 2);
    }

    #[test]
    fn faults_name_their_line() {
        use ManifestFault as Is;
        assert_eq!(fault(""), (Is::Empty, None));
        assert_eq!(fault("# a comment\n\n"), (Is::Malformed, Some(2)));
        assert_eq!(fault("file a seq 1 type b\nfile b seq 2 type b\n"), (Is::SecondBase, Some(2)));
        assert_eq!(fault("file a seq 2 type i\nfile b seq 2 type i\n"), (Is::NotAscending, Some(2)));
        assert_eq!(fault("file ../a seq 1 type b\n"), (Is::NotAName, Some(1)));
        assert_eq!(fault("file .. seq 1 type b\n"), (Is::NotAName, Some(1)));
        assert_eq!(fault("file a seq 1 type z\n"), (Is::UnknownKind, Some(1)));
        assert_eq!(fault("file a seq 1 type b"), (Is::LineTooLong, Some(1)));
        for malformed in
            ["file a seq 0 type b\n", "file a seq 1\n", "file \"a seq 1 type b\n", "file a seq 1 type b x\n"]
        {
            assert_eq!(fault(malformed), (Is::Malformed, Some(1)), "{malformed}");
        }
        // What is read can be written: four characters for each of these.
        let name = "\x03".repeat(260);
        assert_eq!(fault(&format!("file \"{name}\" seq 1 type i\n")), (Is::LineTooLong, Some(1)));
        assert!(Manifest::parse(format!("file \"{}\" seq 1 type i\n", &name[..240]).as_bytes()).is_ok());
        let line = |number| format!("file \"{}\" seq {number} type i\n", &name[..240]);
        let lines = MANIFEST_BYTES_MAX / (4 * 240);
        let many: String = (1..=lines).map(line).collect();
        assert!(many.len() < MANIFEST_BYTES_MAX);
        assert_eq!(fault(&many), (Is::TooLarge, None));
        let error = Manifest::parse(b"file a seq 1 type z\n").unwrap_err();
        assert!(error.to_string().contains("at line 1: >>> 'file a seq 1 type z'"), "{error}");
    }

    #[test]
    fn a_manifest_of_the_future_is_read() {
        let text = "file a seq 1 type b size 77\n# nothing\nFILE 'b c' SEQ 4 TYPE i\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.increments()[0].name, "b c");
        assert_eq!(manifest.print(), "file a seq 1 type b\nfile \"b c\" seq 4 type i\n");
    }

    #[test]
    fn a_rewrite_goes_through_the_transitions_of_redis() {
        let mut manifest = Manifest::default();
        assert_eq!(manifest.replace_base("x.aof", true), "x.aof.1.base.rdb");
        assert_eq!(manifest.add_increment("x.aof"), "x.aof.1.incr.aof");
        // It begins.
        assert_eq!(manifest.add_increment("x.aof"), "x.aof.2.incr.aof");
        // It fails, and begins again.
        assert_eq!(manifest.add_increment("x.aof"), "x.aof.3.incr.aof");
        // It ends.
        assert_eq!(manifest.replace_base("x.aof", false), "x.aof.2.base.aof");
        manifest.retire_increments(1);
        assert_eq!(
            manifest.print(),
            "file x.aof.2.base.aof seq 2 type b\nfile x.aof.1.incr.aof seq 1 type h\nfile x.aof.2.incr.aof seq 2 type h\n\
             file x.aof.1.base.rdb seq 1 type h\nfile x.aof.3.incr.aof seq 3 type i\n"
        );
        manifest.forget_history();
        assert_eq!(manifest.print(), "file x.aof.2.base.aof seq 2 type b\nfile x.aof.3.incr.aof seq 3 type i\n");
    }

    #[test]
    fn a_single_file_becomes_the_base() {
        let manifest = Manifest::of_single_file("appendonly.aof");
        assert_eq!(manifest.print(), "file appendonly.aof seq 1 type b\n");
        assert!(manifest.is_of_single_file("appendonly.aof") && !manifest.is_of_single_file("other.aof"));
        let mut more = manifest;
        assert_eq!(more.replace_base("appendonly.aof", true), "appendonly.aof.2.base.rdb");
    }

    proptest! {
        #[test]
        fn any_name_survives(name in "[^/\\\\\0]{1,40}") {
            prop_assume!(name != "." && name != "..");
            let text = {
                let mut text = String::from("file ");
                push_name(&mut text, &name);
                text + " seq 7 type i\n"
            };
            let manifest = Manifest::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&manifest.increments()[0].name, &name);
            prop_assert_eq!(manifest.print(), text);
        }
    }
}
