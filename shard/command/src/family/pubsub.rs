//! Rows of publish/subscribe. What they do is carried out where the connections are: in `shard/src/pubsub.rs`.

use crate::{Categories, ChannelKind, Doc, DocArg, DocKind, Flags, Group, KeyFlags, KeySpec};
use crate::{NodeCommand, PubSubCommand, Reach, Spec};

/// At any time, also while data are being loaded or are stale.
const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);
const ASK: Flags = ANY_TIME.union(Flags::PUBSUB);
const LISTEN: Flags = ASK.union(Flags::NOSCRIPT);
const SPEAK: Flags = ASK.union(Flags::FAST).union(Flags::MAY_REPLICATE);
const NONE: Categories = Categories::empty();

/// A shard channel is no key, but lives in a slot like one.
const SHARD_CHANNEL: &[KeySpec] = &[KeySpec::one(KeyFlags::NOT_KEY)];
const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::all(KeyFlags::NOT_KEY, 1)];

const fn subscribe(kind: ChannelKind) -> Reach {
    Reach::PubSub(PubSubCommand::Subscribe(kind))
}

const fn unsubscribe(kind: ChannelKind) -> Reach {
    Reach::PubSub(PubSubCommand::Unsubscribe(kind))
}

const fn publish(kind: ChannelKind) -> Reach {
    Reach::PubSub(PubSubCommand::Publish(kind))
}

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("psubscribe", -2, LISTEN, NONE, subscribe(ChannelKind::Pattern), PSUBSCRIBE),
    Spec::new("publish", 3, SPEAK, NONE, publish(ChannelKind::Global), PUBLISH),
    Spec::new("pubsub", -2, Flags::empty(), NONE, Reach::Container, PUBSUB).subcommands(PUBSUB_ROWS),
    Spec::new("punsubscribe", -1, LISTEN, NONE, unsubscribe(ChannelKind::Pattern), PUNSUBSCRIBE),
    Spec::new("spublish", 3, SPEAK, NONE, publish(ChannelKind::Shard), SPUBLISH).keys(SHARD_CHANNEL),
    Spec::new("ssubscribe", -2, LISTEN, NONE, subscribe(ChannelKind::Shard), SSUBSCRIBE).keys(SHARD_CHANNELS),
    Spec::new("subscribe", -2, LISTEN, NONE, subscribe(ChannelKind::Global), SUBSCRIBE),
    Spec::new("sunsubscribe", -1, LISTEN, NONE, unsubscribe(ChannelKind::Shard), SUNSUBSCRIBE).keys(SHARD_CHANNELS),
    Spec::new("unsubscribe", -1, LISTEN, NONE, unsubscribe(ChannelKind::Global), UNSUBSCRIBE),
];

static PUBSUB_ROWS: &[Spec] = &[
    Spec::new("pubsub|channels", -2, ASK, NONE, Reach::Node(NodeCommand::PubSubChannels), CHANNELS),
    Spec::new("pubsub|help", 2, ANY_TIME, NONE, Reach::Node(NodeCommand::PubSubHelp), HELP),
    Spec::new("pubsub|numpat", 2, ASK, NONE, Reach::Node(NodeCommand::PubSubNumPat), NUMPAT),
    Spec::new("pubsub|numsub", -2, ASK, NONE, Reach::Node(NodeCommand::PubSubNumSub), NUMSUB),
    Spec::new("pubsub|shardchannels", -2, ASK, NONE, Reach::Node(NodeCommand::PubSubShardChannels), SHARDCHANNELS),
    Spec::new("pubsub|shardnumsub", -2, ASK, NONE, Reach::Node(NodeCommand::PubSubShardNumSub), SHARDNUMSUB),
];

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::PubSub, since, complexity, summary)
}

const CHANNEL: DocArg = DocArg::new("channel", DocKind::String);
const SHARD: DocArg = DocArg::new("shardchannel", DocKind::String);
const PATTERN: DocArg = DocArg::new("pattern", DocKind::Pattern);
const MESSAGE: DocArg = DocArg::new("message", DocKind::String);

const PSUBSCRIBE: Doc = doc("2.0.0", "O(N) for N patterns", "Hears what is said on channels that match patterns.")
    .arguments(&[PATTERN.multiple()]);

const PUBLISH: Doc = doc("2.0.0", "O(N+M) for N subscribers and M patterns", "Says something on a channel.")
    .arguments(&[CHANNEL, MESSAGE]);

const PUBSUB: Doc = doc("2.8.0", "Depends on subcommand.", "Groups the commands that tell about channels.");

const PUNSUBSCRIBE: Doc =
    doc("2.0.0", "O(N) for N patterns", "Stops hearing channels that match patterns, or all that were asked for so.")
        .arguments(&[PATTERN.optional().multiple()]);

const SPUBLISH: Doc =
    doc("7.0.0", "O(N) for N subscribers", "Says something on a shard channel.").arguments(&[SHARD, MESSAGE]);

const SSUBSCRIBE: Doc =
    doc("7.0.0", "O(N) for N shard channels", "Hears what is said on shard channels.").arguments(&[SHARD.multiple()]);

const SUBSCRIBE: Doc =
    doc("2.0.0", "O(N) for N channels", "Hears what is said on channels.").arguments(&[CHANNEL.multiple()]);

const SUNSUBSCRIBE: Doc = doc("7.0.0", "O(N) for N shard channels", "Stops hearing shard channels, or all of them.")
    .arguments(&[SHARD.optional().multiple()]);

const UNSUBSCRIBE: Doc = doc("2.0.0", "O(N) for N channels", "Stops hearing channels, or all of them.")
    .arguments(&[CHANNEL.optional().multiple()]);

const CHANNELS: Doc =
    doc("2.8.0", "O(N) for N channels", "Tells which channels somebody hears.").arguments(&[PATTERN.optional()]);

const HELP: Doc = doc("6.2.0", "O(1)", "Tells about the subcommands.");

const NUMPAT: Doc = doc("2.8.0", "O(1)", "Tells how many different patterns somebody listens by.");

const NUMSUB: Doc = doc("2.8.0", "O(N) for N channels", "Tells how many hear each channel.")
    .arguments(&[CHANNEL.optional().multiple()]);

const SHARDCHANNELS: Doc = doc("7.0.0", "O(N) for N shard channels", "Tells which shard channels somebody hears.")
    .arguments(&[PATTERN.optional()]);

const SHARDNUMSUB: Doc = doc("7.0.0", "O(N) for N shard channels", "Tells how many hear each shard channel.")
    .arguments(&[SHARD.optional().multiple()]);
