//! The row of a command: everything that anybody wants to know of it.

use crate::{Categories, Doc, Flags, KeyFlags, Reach};
use slotmesh_base::ReplyError;
use slotmesh_resp::Args;

/// How the keys of a key spec are found.
#[derive(Clone, Copy, Debug)]
pub enum KeySearch {
    /// By the indexes that the spec says.
    Index,
    /// There is one, where an option names it: the index of that argument. COMMAND INFO calls it unknown.
    Option(fn(Args<'_>) -> Option<usize>),
    /// Not in the request: their names come of what other keys hold. Where the request reads any, with which error a node
    /// of a cluster refuses it, as they may be anywhere. COMMAND INFO calls them unknown.
    Content(fn(Args<'_>) -> Option<ReplyError>),
}

/// Where a command's keys stand.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// How they are found; what follows behind the notes is for those with indexes.
    pub search: KeySearch,
    /// What happens to the keys.
    pub flags: KeyFlags,
    /// What happens to them in one request, where the options decide it (`VARIABLE_FLAGS`).
    pub flags_of: Option<fn(Args<'_>) -> KeyFlags>,
    /// A remark that COMMAND INFO prints.
    pub notes: Option<&'static str>,
    /// Index of the first key.
    pub first: usize,
    /// Last key: an index counted from `first` if zero or more, else from the end (−1 is the last argument, the last
    /// that may be a key).
    pub last: i32,
    /// Index of the argument that says how many keys there are, where one does.
    pub count_at: Option<usize>,
    /// Distance from one key to the next.
    pub step: usize,
}

impl KeySpec {
    /// One key, the first argument.
    pub(crate) const fn one(flags: KeyFlags) -> Self {
        Self::one_at(1, flags)
    }

    /// One key.
    pub(crate) const fn one_at(index: usize, flags: KeyFlags) -> Self {
        Self {
            search: KeySearch::Index,
            flags,
            flags_of: None,
            notes: None,
            first: index,
            last: 0,
            count_at: None,
            step: 1,
        }
    }

    /// As many keys as the argument at `index` says, right behind it.
    pub(crate) const fn counted(index: usize, flags: KeyFlags) -> Self {
        Self { last: -1, count_at: Some(index), ..Self::one_at(index + 1, flags) }
    }

    /// Keys from the first argument to the last one, `step` apart.
    pub(crate) const fn all(flags: KeyFlags, step: usize) -> Self {
        Self { last: -1, step, ..Self::one_at(1, flags) }
    }

    /// Keys from the first argument to the last but one.
    pub(crate) const fn all_but_last(flags: KeyFlags) -> Self {
        Self { last: -2, ..Self::all(flags, 1) }
    }

    /// A key that an option names, wherever that stands.
    pub(crate) const fn option(find: fn(Args<'_>) -> Option<usize>, flags: KeyFlags, notes: &'static str) -> Self {
        Self { search: KeySearch::Option(find), notes: Some(notes), ..Self::one(flags) }
    }

    /// Keys whose names come of what other keys hold.
    pub(crate) const fn content(
        refusal: fn(Args<'_>) -> Option<ReplyError>,
        flags: KeyFlags,
        notes: &'static str,
    ) -> Self {
        Self { search: KeySearch::Content(refusal), notes: Some(notes), ..Self::one(flags) }
    }

    /// With flags that depend on the request.
    pub(crate) const fn variable(mut self, flags_of: fn(Args<'_>) -> KeyFlags, notes: &'static str) -> Self {
        self.flags = self.flags.union(KeyFlags::VARIABLE_FLAGS);
        self.flags_of = Some(flags_of);
        self.notes = Some(notes);
        self
    }
}

/// COMMAND's tip `request_policy`: to which shards a command goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestPolicy {
    /// Where its keys are; anywhere, if it has none. Not printed.
    Default,
    /// Every node.
    AllNodes,
    /// Every shard.
    AllShards,
    /// Each key to its own shard.
    MultiShard,
    /// Says the command itself (SCAN).
    Special,
}

/// COMMAND's tip `response_policy`: how the shards' replies become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponsePolicy {
    /// Arrays are joined, in the order of the keys if each key has an element. Not printed.
    Default,
    /// OK if all say so, else the first error.
    AllSucceeded,
    /// OK if one says so.
    OneSucceeded,
    /// Least of integers.
    AggMin,
    /// Sum of integers.
    AggSum,
    /// Says the command itself (RANDOMKEY, SCAN, INFO).
    Special,
}

/// COMMAND's tips.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tips {
    /// `nondeterministic_output`
    pub nondeterministic_output: bool,
    /// `nondeterministic_output_order`
    pub nondeterministic_output_order: bool,
    /// `request_policy:…`
    pub request: RequestPolicy,
    /// `response_policy:…`
    pub response: ResponsePolicy,
}

impl Tips {
    /// No tips.
    pub const NONE: Self = Self {
        nondeterministic_output: false,
        nondeterministic_output_order: false,
        request: RequestPolicy::Default,
        response: ResponsePolicy::Default,
    };

    /// Policies alone.
    pub(crate) const fn policies(request: RequestPolicy, response: ResponsePolicy) -> Self {
        Self { request, response, ..Self::NONE }
    }

    /// And the reply depends on more than the data.
    pub(crate) const fn nondeterministic(mut self) -> Self {
        self.nondeterministic_output = true;
        self
    }

    /// And the reply's order depends on more than the data.
    pub(crate) const fn nondeterministic_order(mut self) -> Self {
        self.nondeterministic_output_order = true;
        self
    }
}

/// Whether a request may be sent again when nobody knows whether it has run: the second time changes nothing more and
/// answers the same. Reads always may.
#[derive(Clone, Copy, Debug)]
pub enum Repeat {
    /// Only if it reads.
    Reads,
    /// Always.
    Safe,
    /// If these arguments are of that kind.
    SafeIf(fn(Args<'_>) -> bool),
}

/// The argument that says how long a blocking command waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutAt {
    /// The first one behind the name.
    First,
    /// The last one.
    Last,
}

/// The row of a command or subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name in lower case; a subcommand's without its container (`get`).
    pub name: &'static str,
    /// Name in errors, statistics and COMMAND: `config|get` for a subcommand.
    pub full_name: &'static str,
    /// Number of arguments, name included; negative: at least that many.
    pub arity: i32,
    /// Flags.
    pub flags: Flags,
    /// ACL categories, complete.
    pub categories: Categories,
    /// Key positions.
    pub keys: &'static [KeySpec],
    /// Tips.
    pub tips: Tips,
    /// Documentation.
    pub doc: Doc,
    /// Subcommands.
    pub subcommands: &'static [Spec],
    /// Reach and code.
    pub reach: Reach,
    /// Whether it may be sent again when nobody knows whether it has run.
    pub repeat: Repeat,
    /// How long it waits, if it waits for keys.
    pub timeout: Option<TimeoutAt>,
    /// Its place in [`rows`](crate::rows); given by the table.
    pub number: u16,
    /// Whether one execution takes about as long as any other, but for the bytes of request and reply; given by the
    /// table.
    pub is_brief: bool,
}

impl Spec {
    /// A row without keys, tips and subcommands. `full_name` is `container|name` for a subcommand. The categories
    /// that follow from the flags (`@read`, `@write`, `@admin`, `@dangerous`, `@pubsub`, `@blocking`, `@fast`,
    /// `@slow`) are added here, as in Redis's `setImplicitACLCategories`.
    pub(crate) const fn new(
        full_name: &'static str,
        arity: i32,
        flags: Flags,
        categories: Categories,
        reach: Reach,
        doc: Doc,
    ) -> Self {
        Self {
            name: name_in_container(full_name),
            full_name,
            arity,
            flags,
            categories: implied(flags, categories),
            keys: &[],
            tips: Tips::NONE,
            doc,
            subcommands: &[],
            reach,
            repeat: Repeat::Reads,
            timeout: None,
            number: 0,
            is_brief: false,
        }
    }

    pub(crate) const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    pub(crate) const fn tips(mut self, tips: Tips) -> Self {
        self.tips = tips;
        self
    }

    pub(crate) const fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    pub(crate) const fn timeout(mut self, at: TimeoutAt) -> Self {
        self.timeout = Some(at);
        self
    }

    pub(crate) const fn subcommands(mut self, subcommands: &'static [Spec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether a request may be sent again when nobody knows whether it has run.
    #[inline]
    pub fn is_repeatable(&self, args: Args<'_>) -> bool {
        match self.repeat {
            Repeat::Reads => self.flags.contains(Flags::READONLY),
            Repeat::Safe => true,
            Repeat::SafeIf(is_safe) => is_safe(args),
        }
    }

    /// The same for a part of a request, whatever its arguments.
    pub fn is_repeatable_in_parts(&self) -> bool {
        match self.repeat {
            Repeat::Reads => self.flags.contains(Flags::READONLY),
            Repeat::Safe => true,
            Repeat::SafeIf(_) => false,
        }
    }

    /// Whether a request of `arguments` arguments (name included) fits the arity.
    #[inline]
    pub fn accepts(&self, arguments: usize) -> bool {
        let arguments = arguments as i64;
        let arity = i64::from(self.arity);
        if arity >= 0 { arguments == arity } else { arguments >= -arity }
    }
}

/// The part of a full name behind its container.
const fn name_in_container(full_name: &'static str) -> &'static str {
    let bytes = full_name.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'|' {
            return full_name.split_at(index + 1).1;
        }
        index += 1;
    }
    full_name
}

/// `categories` with those that follow from `flags`.
const fn implied(flags: Flags, categories: Categories) -> Categories {
    const PAIRS: [(Flags, Categories); 6] = [
        (Flags::WRITE, Categories::WRITE),
        (Flags::READONLY, Categories::READ),
        (Flags::ADMIN, Categories::ADMIN.union(Categories::DANGEROUS)),
        (Flags::PUBSUB, Categories::PUBSUB),
        (Flags::FAST, Categories::FAST),
        (Flags::BLOCKING, Categories::BLOCKING),
    ];
    let mut all = categories;
    let mut index = 0;
    while index < PAIRS.len() {
        let scripting = PAIRS[index].1.contains(Categories::READ) && categories.contains(Categories::SCRIPTING);
        if flags.contains(PAIRS[index].0) && !scripting {
            all = all.union(PAIRS[index].1);
        }
        index += 1;
    }
    if all.contains(Categories::FAST) { all } else { all.union(Categories::SLOW) }
}
