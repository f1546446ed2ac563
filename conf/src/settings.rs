//! The settings of a process: one value per row of the table.

use std::fmt;
use std::sync::Arc;

use crate::declaration::{Change, Directive, Standing};
use crate::directive;
use crate::error::{Reason, SetError};
use crate::handle::{Handle, Read};
use crate::parse;
use crate::pattern;
use crate::value::{OutputLimits, Value};

/// The values of all directives. A plain value: whoever shares it decides how.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// In the order of [`directive::TABLE`].
    values: Vec<Value>,
}

impl Default for Settings {
    /// What holds when nothing was set.
    fn default() -> Self {
        let value = |row: &Directive| {
            let words = row.default_words();
            parse::parse(row, &words, None).expect("a test reads every default of the table")
        };
        Self { values: directive::TABLE.iter().map(value).collect() }
    }
}

/// Names and values; secrets left out.
impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = out.debug_map();
        for (row, value) in self.rows() {
            if row.secret {
                map.entry(&row.name, &Secret::default());
            } else {
                map.entry(&row.name, value);
            }
        }
        map.finish()
    }
}

impl Settings {
    /// The value of one directive, in the type that its handle fixes.
    ///
    /// ```
    /// use slotmesh_conf::{Settings, directive};
    /// let settings = Settings::default();
    /// let port: u16 = settings.value(directive::PORT);
    /// assert_eq!(port, 6379);
    /// ```
    pub fn value<T: Read + ?Sized>(&self, handle: Handle<T>) -> T::Output<'_> {
        T::read(&self.values[handle.index])
    }

    /// Every row with its value, in the order of the table.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Directive, &Value)> {
        directive::TABLE.iter().zip(&self.values)
    }

    /// Sets `dir` to the absolute path that the process works in, as CONFIG GET shows it.
    pub fn set_working_directory(&mut self, path: &str) {
        self.values[directive::DIR.index] = Value::Text(path.to_owned());
    }

    /// What `replicaof` holds from now on: host and port of a master, or nobody (REPLICAOF).
    pub fn set_master(&mut self, master: Option<(&str, u16)>) {
        let words = master.map(|(host, port)| vec![host.to_owned(), port.to_string()]).unwrap_or_default();
        self.values[directive::REPLICAOF.index] = Value::Words(words);
    }

    /// Leaves one database, as a node of a cluster has it (Redis 7.2 `config.c`, `loadServerConfigFromString`); whether
    /// there were more.
    pub fn leave_one_database(&mut self) -> bool {
        let one = Value::Integer(1);
        std::mem::replace(&mut self.values[directive::DATABASES.index], one.clone()) != one
    }

    /// Answers CONFIG GET: names and values that match any of the patterns, each name once.
    ///
    /// A pattern without `*`, `?`, `[` is a name, comes back in the caller's spelling, and finds hidden
    /// directives too. Names that match a pattern come in the order of the table, aliases behind their
    /// directive. (Redis answers in the order of its hash table.) Reference: `configGetCommand`.
    pub fn get<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: &Value| {
            if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                found.push((name.to_owned(), value.to_string()));
            }
        };
        for pattern in patterns.iter().map(AsRef::as_ref) {
            if !pattern::is_glob(pattern) {
                if let (Some((_, index)), Ok(name)) = (named(pattern), str::from_utf8(pattern)) {
                    add(name, &self.values[index]);
                }
                continue;
            }
            for (row, value) in self.rows().filter(|(row, _)| row.answers_config() && !row.hidden) {
                let names = std::iter::once(&row.name).chain(row.aliases);
                for name in names.filter(|name| pattern::matches(pattern, name.as_bytes())) {
                    add(name, value);
                }
            }
        }
        found
    }

    /// Obeys CONFIG SET: all pairs or none. Gives the directives whose value changed, so that the caller can
    /// act on them.
    ///
    /// # Errors
    /// The first pair that cannot be set, with Redis's text. Reference: `configSetCommand`, which looks at
    /// all names before it looks at any value.
    pub fn set<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        pairs: &[(N, V)],
    ) -> Result<Vec<&'static Directive>, SetError> {
        let named = self.settable(pairs)?;
        let mut next = self.values.clone();
        let mut changed = Vec::new();
        for ((name, index), (_, text)) in named.into_iter().zip(pairs) {
            let row = &directive::TABLE[index];
            let value =
                read_one(row, text.as_ref(), &next[index]).map_err(|reason| SetError::Refused { name, reason })?;
            if value != next[index] {
                if row.change == Change::Settled {
                    return Err(SetError::Fixed(name.to_owned()));
                }
                next[index] = value;
                changed.push(row);
            }
        }
        self.values = next;
        Ok(changed)
    }

    /// The table's spelling of each name and its row, if all of them may be set together. A directive and its
    /// alias may stand side by side, as in Redis, which has an entry for each; the last one wins.
    fn settable<N: AsRef<[u8]>, V>(&self, pairs: &[(N, V)]) -> Result<Vec<(&'static str, usize)>, SetError> {
        let spelled = |name: &N| String::from_utf8_lossy(name.as_ref()).into_owned();
        let mut found = Vec::new();
        for (name, _) in pairs {
            let entry = named(name.as_ref()).ok_or_else(|| SetError::Unknown(spelled(name)))?;
            match directive::TABLE[entry.1].change {
                Change::Fixed => return Err(SetError::Fixed(spelled(name))),
                Change::Protected if !self.protected_may_change() => {
                    return Err(SetError::Protected(spelled(name)));
                }
                Change::Protected | Change::Live | Change::Settled => {}
            }
            if found.contains(&entry) {
                return Err(SetError::Duplicate(spelled(name)));
            }
            found.push(entry);
        }
        Ok(found)
    }

    /// `local` counts as no: nobody tells us where the client sits.
    fn protected_may_change(&self) -> bool {
        self.value(directive::ENABLE_PROTECTED_CONFIGS) == "yes"
    }

    /// What an operator must not count on, although the value of this row asks for it; nothing where it does not.
    pub fn missing(&self, row: &Directive) -> Option<&'static str> {
        let (_, value) = self.rows().find(|(known, _)| known.name == row.name)?;
        let is_asked = parse::parse(row, &row.default_words(), None).as_ref() != Ok(value);
        (is_asked && !row.missing.is_empty()).then_some(row.missing)
    }

    /// Puts a value that its row has read.
    pub(crate) fn put(&mut self, index: usize, value: Value) {
        self.values[index] = value;
    }

    pub(crate) fn at(&self, index: usize) -> &Value {
        &self.values[index]
    }

    /// What the hot path asks for with every command, taken out once per change.
    pub fn hot(&self) -> Hot {
        let password = self.value(directive::REQUIREPASS);
        let policy = self.value(directive::MAXMEMORY_POLICY);
        Hot {
            proto_max_bulk_len_bytes: self.value(directive::PROTO_MAX_BULK_LEN),
            query_buffer_limit_bytes: self.value(directive::CLIENT_QUERY_BUFFER_LIMIT),
            output_limits: self.value(directive::CLIENT_OUTPUT_BUFFER_LIMIT),
            timeout_s: self.value(directive::TIMEOUT),
            tcp_keepalive_s: self.value(directive::TCP_KEEPALIVE),
            maxclients: self.value(directive::MAXCLIENTS),
            protected_mode: self.value(directive::PROTECTED_MODE),
            requirepass: (!password.is_empty()).then(|| Secret(password.into())),
            hz: self.value(directive::HZ),
            active_expire_effort: self.value(directive::ACTIVE_EXPIRE_EFFORT),
            list_max_listpack_size: self.value(directive::LIST_MAX_LISTPACK_SIZE),
            slow_micros: u64::try_from(self.value(directive::SLOWLOG_LOG_SLOWER_THAN)).ok(),
            slow_log_len_max: self.value(directive::SLOWLOG_MAX_LEN) as usize,
            latency_threshold_ms: self.value(directive::LATENCY_MONITOR_THRESHOLD) as u64,
            latency_tracking: self.value(directive::LATENCY_TRACKING),
            counts_accesses: policy.ends_with("-lfu"),
            lfu_log_factor: self.value(directive::LFU_LOG_FACTOR),
            lfu_decay_time_minutes: self.value(directive::LFU_DECAY_TIME),
            shares_integers: self.value(directive::MAXMEMORY) == 0
                || !(policy.ends_with("-lfu") || policy.ends_with("-lru")),
            compresses: self.value(directive::RDBCOMPRESSION),
        }
    }
}

/// Reads a value that arrived by CONFIG SET: words are separated by single blanks, quotes mean nothing.
/// Reference: `performInterfaceSet`.
pub(crate) fn read_one(row: &Directive, text: &[u8], before: &Value) -> Result<Value, Reason> {
    let text = str::from_utf8(text).map_err(|_| Reason::NotUtf8)?;
    let words: Vec<String> = match text {
        "" if row.kind.takes_many() => Vec::new(),
        _ if row.kind.takes_many() => text.split(' ').map(str::to_owned).collect(),
        _ => vec![text.to_owned()],
    };
    let value = parse::parse(row, &words, Some(before))?;
    refuse_unsupported(row, &value)?;
    Ok(value)
}

/// Refuses what would promise something that we do not do yet.
pub(crate) fn refuse_unsupported(row: &Directive, value: &Value) -> Result<(), Reason> {
    let refused = match row.standing {
        Standing::FileOnly => true,
        Standing::DefaultOnly => parse::parse(row, &row.default_words(), None).as_ref() != Ok(value),
        Standing::Used | Standing::Unused | Standing::Dropped => false,
    };
    if refused { Err(Reason::NotSupported) } else { Ok(()) }
}

/// The table's spelling of `name`, and its row, if CONFIG knows it.
fn named(name: &[u8]) -> Option<(&'static str, usize)> {
    let name = str::from_utf8(name).ok()?;
    let index = directive::index_of(name)?;
    let row = &directive::TABLE[index];
    let mut spellings = std::iter::once(&row.name).chain(row.aliases);
    let spelling = spellings.find(|spelling| spelling.eq_ignore_ascii_case(name))?;
    row.answers_config().then_some((*spelling, index))
}

/// What the hot path asks for with every command. Cheap to copy into each core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hot {
    /// Longest argument of a request, in bytes.
    pub proto_max_bulk_len_bytes: u64,
    /// Most bytes of a request that may wait for its end.
    pub query_buffer_limit_bytes: u64,
    /// How much may wait for a client that does not read.
    pub output_limits: OutputLimits,
    /// A client that was silent for so many seconds is closed; 0 = never.
    pub timeout_s: u32,
    /// TCP keepalive after so many silent seconds; 0 = off.
    pub tcp_keepalive_s: u32,
    /// Most clients of the process.
    pub maxclients: u32,
    /// Whether only loopback may connect while there is no password.
    pub protected_mode: bool,
    /// The password of the default user.
    pub requirepass: Option<Secret>,
    /// Turns of the background work per second.
    pub hz: u32,
    /// Effort of the active expiry, 1 to 10.
    pub active_expire_effort: u32,
    /// `list-max-listpack-size`: a number of elements, or −1 to −5 for 4 to 64 KiB.
    pub list_max_listpack_size: i32,
    /// A command is slow from so many microseconds on; `None`: none is.
    pub slow_micros: Option<u64>,
    /// Most entries of the slow log.
    pub slow_log_len_max: usize,
    /// What takes so many milliseconds is an event of the latency monitor; 0: nothing is.
    pub latency_threshold_ms: u64,
    /// Whether it is counted how long each command takes.
    pub latency_tracking: bool,
    /// Whether `maxmemory-policy` asks how often keys are used, not when.
    pub counts_accesses: bool,
    /// How slowly the counters of accesses grow.
    pub lfu_log_factor: u32,
    /// Minutes in which the counters of accesses fall by one; 0: they do not.
    pub lfu_decay_time_minutes: u32,
    /// Whether eviction allows that many keys share one small integer.
    pub shares_integers: bool,
    /// Whether DUMP compresses strings.
    pub compresses: bool,
}

/// Text that `Debug` does not print. Copies share it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests;
