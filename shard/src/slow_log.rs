//! The slow log: which commands took long, with their arguments. One for the process.
//!
//! Mirrors Redis 7.2 `slowlog.c`. A command may be slow on a core that does not serve its client; then the entry waits for
//! its client's address and name until that core signs it.

use slotmesh_base::UnixMillis;
use slotmesh_base::limits::{SLOW_LOG_ARGUMENT_BYTES_MAX, SLOW_LOG_ARGUMENTS_MAX};
use slotmesh_command::{ConnectionCommand, NodeCommand, Reach, Spec};
use slotmesh_conf::directive;
use slotmesh_resp::Args;
use std::collections::VecDeque;

/// What stands in place of a secret.
pub(crate) const REDACTED: &[u8] = b"(redacted)";

/// Who sent a slow command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlowClient {
    /// A client with its address and name.
    Known {
        /// Address.
        address: String,
        /// Name, maybe empty.
        name: Vec<u8>,
    },
    /// A connection of another core.
    Of {
        /// The core.
        core: u16,
        /// The connection's place there.
        connection: u32,
        /// How often that place was used before.
        generation: u32,
    },
}

/// An entry of the slow log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlowEntry {
    /// Number that no other entry of the process gets.
    pub id: u64,
    /// When the command ended.
    pub at: UnixMillis,
    /// How long it took.
    pub micros: u64,
    /// The command and its arguments, shortened.
    pub arguments: Vec<Vec<u8>>,
    /// Who sent it.
    pub client: SlowClient,
}

/// The slow log, newest entry first.
#[derive(Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<SlowEntry>,
    next_id: u64,
    unsigned: usize,
}

impl SlowLog {
    /// Adds a command; at most `len_max` entries stay (`slowlog-max-len`).
    pub fn add(
        &mut self,
        spec: &Spec,
        args: Args<'_>,
        micros: u64,
        at: UnixMillis,
        client: SlowClient,
        len_max: usize,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        self.unsigned += usize::from(matches!(client, SlowClient::Of { .. }));
        self.entries.push_front(SlowEntry { id, at, micros, arguments: shortened(spec, args), client });
        while self.entries.len() > len_max {
            let gone = self.entries.pop_back();
            self.unsigned -= usize::from(gone.is_some_and(|entry| matches!(entry.client, SlowClient::Of { .. })));
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, newest first.
    pub fn entries(&self) -> impl Iterator<Item = &SlowEntry> {
        self.entries.iter()
    }

    /// Forgets the entries; numbers go on.
    pub fn reset(&mut self) {
        self.entries = VecDeque::new();
        self.unsigned = 0;
    }

    /// Number of entries whose clients are not known.
    pub fn unsigned(&self) -> usize {
        self.unsigned
    }

    /// Writes the clients of a core into the entries that wait for them: address and name of a connection, if it is
    /// still there.
    pub fn sign(&mut self, core: u16, who: impl Fn(u32, u32) -> Option<(String, Vec<u8>)>) {
        for entry in &mut self.entries {
            if let SlowClient::Of { core: of, connection, generation } = entry.client
                && of == core
            {
                let (address, name) = who(connection, generation).unwrap_or_default();
                entry.client = SlowClient::Known { address, name };
                self.unsigned -= 1;
            }
        }
    }
}

/// The arguments as the log shows them: not all of them, none of them whole if it is long, and no secrets.
fn shortened(spec: &Spec, args: Args<'_>) -> Vec<Vec<u8>> {
    let secrets = secrets(spec, args);
    let shown = |(index, argument): (usize, &[u8])| {
        let argument = if secrets.contains(&index) { REDACTED } else { argument };
        match argument.split_at_checked(SLOW_LOG_ARGUMENT_BYTES_MAX) {
            Some((head, tail @ [_, ..])) => [head, format!("... ({} more bytes)", tail.len()).as_bytes()].concat(),
            _ => argument.to_vec(),
        }
    };
    let all = args.iter_from(0).enumerate();
    if args.len() <= SLOW_LOG_ARGUMENTS_MAX {
        return all.map(shown).collect();
    }
    let mut arguments: Vec<Vec<u8>> = all.take(SLOW_LOG_ARGUMENTS_MAX - 1).map(shown).collect();
    arguments.push(format!("... ({} more arguments)", args.len() - arguments.len()).into_bytes());
    arguments
}

/// Indexes of the arguments that nobody may read: passwords, and names that go with them (Redis 7.2:
/// `redactClientCommandArgument`).
pub(crate) fn secrets(spec: &Spec, args: Args<'_>) -> Vec<usize> {
    let is = |index: usize, word: &[u8]| args.find(index).is_some_and(|argument| argument.eq_ignore_ascii_case(word));
    match spec.reach {
        Reach::Connection(ConnectionCommand::Auth) => (1..args.len().min(3)).collect(),
        // A client may be called `auth`: rather too much is hidden than too little.
        Reach::Connection(ConnectionCommand::Hello) => {
            (2..args.len()).filter(|&index| is(index, b"auth")).flat_map(|auth| [auth + 1, auth + 2]).collect()
        }
        Reach::Node(NodeCommand::ConfigSet) => {
            let is_secret = |name: &[u8]| {
                let row = std::str::from_utf8(name).ok().and_then(directive::find);
                row.is_some_and(|row| row.secret)
            };
            (2..args.len()).step_by(2).filter(|&index| is_secret(args.at(index))).map(|index| index + 1).collect()
        }
        Reach::Slot(_)
        | Reach::Shard(_)
        | Reach::Connection(_)
        | Reach::Node(_)
        | Reach::Transaction(_)
        | Reach::PubSub(_)
        | Reach::Container => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, Request};
    use slotmesh_command::resolve;

    fn known(address: &str) -> SlowClient {
        SlowClient::Known { address: address.to_owned(), name: b"name".to_vec() }
    }

    fn logged<W: AsRef<[u8]>>(words: &[W]) -> Vec<String> {
        let (mut log, request) = (SlowLog::default(), Request::new(words));
        log.add(resolve(request.args()).unwrap(), request.args(), 5, NOW, known("a"), 1);
        let arguments = &log.entries().next().unwrap().arguments;
        arguments.iter().map(|argument| String::from_utf8(argument.clone()).unwrap()).collect()
    }

    fn words(text: &str) -> Vec<String> {
        logged(&text.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn entries_are_cut() {
        let many: Vec<String> = (0..33).map(|number| format!("DEL{number}")).collect();
        let many: Vec<&str> = std::iter::once("DEL").chain(many[1..].iter().map(String::as_str)).collect();
        assert_eq!(logged(&many[..32]), many[..32]);
        let cut = logged(&many);
        assert_eq!((cut.len(), &*cut[30], &*cut[31]), (32, "DEL30", "... (2 more arguments)"));
        let value = "x".repeat(128);
        assert_eq!(logged(&["set", "key", &value])[2], value);
        let cut = logged(&["set", "key", &(value.clone() + "y")]);
        assert_eq!(cut[2], value + "... (1 more bytes)");
    }

    #[test]
    fn secrets_are_not_logged() {
        for (request, logged) in [
            ("AUTH secret", "AUTH (redacted)"),
            ("AUTH user secret", "AUTH (redacted) (redacted)"),
            ("HELLO 3 setname x auth user secret", "HELLO 3 setname x auth (redacted) (redacted)"),
            ("HELLO 3 setname auth", "HELLO 3 setname auth"),
            ("HELLO 3 setname auth auth u p", "HELLO 3 setname auth (redacted) (redacted) (redacted)"),
            ("CONFIG SET maxclients 9 RequirePass x", "CONFIG SET maxclients 9 RequirePass (redacted)"),
            ("CONFIG SET masterauth x masteruser y", "CONFIG SET masterauth (redacted) masteruser (redacted)"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
        ] {
            assert_eq!(words(request).join(" "), logged);
        }
    }

    #[test]
    fn the_newest_entries_stay_and_numbers_go_on() {
        let (mut log, request) = (SlowLog::default(), Request::words("GET a"));
        let add = |log: &mut SlowLog, len_max| {
            log.add(request.spec().unwrap(), request.args(), 5, NOW, known("a"), len_max);
        };
        (0..3).for_each(|_| add(&mut log, 2));
        assert_eq!(log.entries().map(|entry| entry.id).collect::<Vec<_>>(), [2, 1]);
        log.reset();
        add(&mut log, 0);
        assert!(log.is_empty());
        add(&mut log, 5);
        assert_eq!((log.len(), log.entries().next().unwrap().id), (1, 4));
    }

    #[test]
    fn a_core_signs_for_its_clients() {
        let (mut log, request) = (SlowLog::default(), Request::words("GET a"));
        for (core, connection) in [(0, 1), (1, 1), (1, 2)] {
            let client = SlowClient::Of { core, connection, generation: 7 };
            log.add(request.spec().unwrap(), request.args(), 5, NOW, client, 3);
        }
        assert_eq!(log.unsigned(), 3);
        log.sign(1, |connection, generation| {
            assert_eq!(generation, 7);
            (connection == 1).then(|| ("address".to_owned(), b"name".to_vec()))
        });
        let clients: Vec<&SlowClient> = log.entries().map(|entry| &entry.client).collect();
        let gone = SlowClient::Known { address: String::new(), name: Vec::new() };
        assert_eq!(clients[..2], [&gone, &known("address")]);
        assert_eq!(log.unsigned(), 1);
        log.add(request.spec().unwrap(), request.args(), 5, NOW, known("a"), 1);
        assert_eq!((log.unsigned(), log.len()), (0, 1));
    }
}
