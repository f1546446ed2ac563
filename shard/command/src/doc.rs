//! What COMMAND DOCS says of a command.

/// Groups of COMMAND DOCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// `generic`
    Generic,
    /// `string`
    String,
    /// `bitmap`
    Bitmap,
    /// `list`
    List,
    /// `pubsub`
    PubSub,
    /// `cluster`
    Cluster,
    /// `connection`
    Connection,
    /// `server`
    Server,
    /// `transactions`
    Transactions,
    /// `scripting`
    Scripting,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::List => "list",
            Self::PubSub => "pubsub",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
        }
    }
}

/// An argument of COMMAND DOCS.
#[derive(Clone, Copy, Debug)]
pub struct DocArg {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: DocKind,
    /// What is shown for it, if not its name.
    pub shown: Option<&'static str>,
    /// Token before it, if any.
    pub token: Option<&'static str>,
    /// `since`, if later than the command.
    pub since: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// Whether its token is repeated with it.
    pub multiple_token: bool,
    /// Parts of a block or choices of a oneof.
    pub parts: &'static [DocArg],
}

impl DocArg {
    /// The argument that most commands begin with.
    pub(crate) const KEY: Self = Self::new("key", DocKind::Key);
    /// The value of a string.
    pub(crate) const VALUE: Self = Self::new("value", DocKind::String);

    pub(crate) const fn new(name: &'static str, kind: DocKind) -> Self {
        Self {
            name,
            kind,
            shown: None,
            token: None,
            since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            parts: &[],
        }
    }

    /// A word that stands for itself.
    pub(crate) const fn word(name: &'static str, token: &'static str) -> Self {
        Self::new(name, DocKind::PureToken).token(token)
    }

    /// One of several choices.
    pub(crate) const fn one_of(name: &'static str, parts: &'static [DocArg]) -> Self {
        let mut arg = Self::new(name, DocKind::OneOf);
        arg.parts = parts;
        arg
    }

    /// Several arguments that belong together.
    pub(crate) const fn block(name: &'static str, parts: &'static [DocArg]) -> Self {
        let mut arg = Self::new(name, DocKind::Block);
        arg.parts = parts;
        arg
    }

    pub(crate) const fn token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    pub(crate) const fn shown(mut self, text: &'static str) -> Self {
        self.shown = Some(text);
        self
    }

    pub(crate) const fn since(mut self, version: &'static str) -> Self {
        self.since = Some(version);
        self
    }

    pub(crate) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(crate) const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    pub(crate) const fn multiple_token(mut self) -> Self {
        self.multiple_token = true;
        self
    }
}

/// Kinds of arguments of COMMAND DOCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DocKind {
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `double`
    Double,
    /// `key` (of key spec 0)
    Key,
    /// `key` (of key spec 1)
    SecondKey,
    /// `key` (of key spec 2)
    ThirdKey,
    /// `pattern`
    Pattern,
    /// `pattern` (of the keys of key spec 1)
    SecondKeyPattern,
    /// `unix-time`
    UnixTime,
    /// `pure-token`
    PureToken,
    /// `oneof`
    OneOf,
    /// `block`
    Block,
}

impl DocKind {
    /// The name that COMMAND DOCS prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key | Self::SecondKey | Self::ThirdKey => "key",
            Self::Pattern | Self::SecondKeyPattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// What COMMAND DOCS says.
#[derive(Clone, Copy, Debug)]
pub struct Doc {
    /// One sentence.
    pub summary: &'static str,
    /// Version of Redis that introduced the command.
    pub since: &'static str,
    /// Group.
    pub group: Group,
    /// Complexity.
    pub complexity: &'static str,
    /// Arguments.
    pub arguments: &'static [DocArg],
    /// Whether it is a system command, not meant for clients.
    pub is_system: bool,
    /// Version since which the command is deprecated, and by what it is replaced.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Changes: version and what changed.
    pub history: &'static [(&'static str, &'static str)],
}

impl Doc {
    /// What every command says of itself.
    pub(crate) const fn new(
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        Self { summary, since, group, complexity, arguments: &[], is_system: false, deprecated: None, history: &[] }
    }

    pub(crate) const fn arguments(mut self, arguments: &'static [DocArg]) -> Self {
        self.arguments = arguments;
        self
    }

    pub(crate) const fn system(mut self) -> Self {
        self.is_system = true;
        self
    }

    pub(crate) const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.deprecated = Some((since, replaced_by));
        self
    }

    pub(crate) const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Self {
        self.history = history;
        self
    }
}
