//! Execution of a placed command on this core's shard.

use crate::{Shard, TrackedBy};
use slotmesh_base::{ReplyError, Slot, UnixMillis};
use slotmesh_command::{Beside, Call, Flags, Outcome, Reach, Spec, ValueLimits, key_indexes, reads_unnamed_keys};
use slotmesh_keyspace::{Change, Key};
use slotmesh_resp::{Args, Protocol, Reply};

/// What a command needs to know of the client that sent it, wherever it runs.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Selected database.
    pub db: u16,
    /// Protocol version of the reply.
    pub protocol: Protocol,
    /// The time.
    pub now: UnixMillis,
    /// The first key, if it has been hashed.
    pub first_key: Option<Key<'a>>,
    /// Bounds.
    pub limits: ValueLimits,
    /// Whether the reply is a share that a gatherer joins with others.
    pub partial: bool,
    /// Whether the client is at the shard's own port ([`Client::is_at_node`](crate::Client)).
    pub is_node: bool,
    /// Whether the command may wait.
    pub may_block: bool,
    /// The client, if it is tracked.
    pub tracked: Option<TrackedBy>,
}

impl Shard {
    /// Runs a command whose reach is `Slot` or `Shard`, as a block of its own; its reply, or error, is appended to
    /// `out`, unless it blocks.
    ///
    /// # Panics
    /// If the row reaches neither a slot nor a shard.
    #[inline]
    pub fn execute(
        &mut self,
        spec: &'static Spec,
        args: Args<'_>,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let outcome = self.run(spec, args, context, &mut [], out);
        if let Some(by) = context.tracked {
            self.remember(context.db, spec, args, by);
        }
        if self.is_noted() {
            self.tracking.origin = context.tracked.map(|by| by.tracker);
            self.note_command();
            self.end_block(context.now, context.limits);
        }
        outcome
    }

    /// Runs a command of a block on this shard, or with this one as home and `others` beside it. The caller
    /// notes and ends the block.
    #[inline]
    pub(crate) fn run<'c>(
        &'c mut self,
        spec: &'static Spec,
        args: Args<'c>,
        context: &'c Context<'c>,
        others: &'c mut [Beside<'c>],
        out: &'c mut Vec<u8>,
    ) -> Outcome {
        let (Reach::Slot(handler) | Reach::Shard(handler)) = spec.reach else {
            panic!("{} does not run on a shard", spec.full_name)
        };
        let start = out.len();
        let mut access = context.limits.access;
        access.keeps_expired &= !spec.flags.contains(Flags::WRITE);
        self.keyspace.set_access(access);
        others.iter_mut().for_each(|other| other.keyspace.set_access(access));
        let mut call = Call {
            keyspace: &mut self.keyspace,
            effects: &mut self.effects,
            others,
            db: usize::from(context.db),
            hasher: self.hasher,
            first_key: &context.first_key,
            args,
            now: context.now,
            rng: &mut self.rng,
            reply: Reply::new(out, context.protocol),
            limits: &context.limits,
            partial: context.partial,
            is_node: context.is_node,
            may_block: context.may_block,
            outcome: Outcome::Replied,
            replays: false,
        };
        let result = handler(&mut call);
        if call.replays && call.effects.is_recording() {
            call.effects.push(context.db, args.iter_from(0));
        }
        let outcome = call.outcome;
        if let Err(error) = result {
            answer_error(&mut call.reply, start, error);
        }
        outcome
    }

    /// Whether somebody wants to know what commands do.
    #[inline]
    pub(crate) fn is_noted(&self) -> bool {
        self.effects.is_recording() || self.keyspace.has_events()
    }

    /// Ends a command of a block: who has an eye on the keys that it touched learns of it, and its effects
    /// follow the deletions of keys that had expired.
    #[cold]
    pub(crate) fn note_command(&mut self) {
        if self.keyspace.take_flushed() {
            self.tracking.flush(&mut self.keyspace, self.hasher, &mut self.blocked.letters);
        }
        for event in self.keyspace.take_events() {
            if event.change == Change::Expired {
                self.effects.push_expired(event.db, &event.key);
            }
            self.watches.touch(event.db, &event.key, event.change);
            self.blocked.touch(event.db, &event.key, event.change);
            let letters = &mut self.blocked.letters;
            self.tracking.touch(&mut self.keyspace, self.hasher, (event.db, &event.key), letters);
        }
        self.tracking.origin = None;
        self.effects.end_command();
    }

    /// Ends a block, and serves those who waited for what it made.
    #[cold]
    pub(crate) fn end_block(&mut self, now: UnixMillis, limits: ValueLimits) {
        self.effects.end_block();
        if self.blocked.has_ready() {
            self.serve_ready(now, limits);
        }
    }
}

/// Runs a command of a block with the shards in hand, which hold all of its keys; ascending by slots. The caller
/// ends the block on each ([`end_blocks`]).
///
/// # Panics
/// If the row reaches neither a slot nor a shard, or a shard is missing.
pub(crate) fn run_together(
    shards: &mut [&mut Shard],
    spec: &'static Spec,
    args: Args<'_>,
    context: &Context<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    let places = places_of(shards, spec, args);
    let (&home, more) = places.split_first().expect("a command runs somewhere");
    let outcome = if more.is_empty() {
        shards[home].run(spec, args, context, &mut [], out)
    } else {
        let mut home_shard = None;
        let mut others = Vec::with_capacity(more.len());
        for (place, shard) in shards.iter_mut().enumerate() {
            if place == home {
                home_shard = Some(&mut **shard);
            } else if more.contains(&place) {
                others.push(Beside { keyspace: &mut shard.keyspace, effects: &mut shard.effects });
            }
        }
        home_shard.expect("home is one of the shards").run(spec, args, context, &mut others, out)
    };
    for place in places {
        if let Some(by) = context.tracked {
            shards[place].remember(context.db, spec, args, by);
        }
        if shards[place].is_noted() {
            shards[place].tracking.origin = context.tracked.map(|by| by.tracker);
            shards[place].note_command();
        }
    }
    join_effects(shards);
    outcome
}

/// What a command of a block has done on several shards, whose stream is one, stands in the order of the commands with
/// the first shard in hand.
pub(crate) fn join_effects(shards: &mut [&mut Shard]) {
    let Some((first, others)) = shards.split_first_mut() else { return };
    if first.effects.is_joint() {
        others.iter_mut().for_each(|other| first.effects.join(&mut other.effects));
    }
}

/// Where among the shards in hand a command runs: home first, then the others that it touches.
fn places_of(shards: &[&mut Shard], spec: &'static Spec, args: Args<'_>) -> Vec<usize> {
    if let Reach::Shard(_) = spec.reach {
        return (0..shards.len()).collect();
    }
    let mut places = Vec::new();
    for index in key_indexes(spec, args) {
        let slot = Slot::of_key(args.at(index));
        // A slot that has just left the process is nobody's: the first one is then as good as any.
        let place = shards.iter().position(|shard| shard.keyspace.holds(slot)).unwrap_or(0);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.is_empty() {
        places.push(0);
    }
    if reads_unnamed_keys(spec, args) {
        let home = places[0];
        places.truncate(1);
        places.extend((0..shards.len()).filter(|&place| place != home));
    }
    places
}

/// Runs a command over several shards, as one block on each. As [`Shard::execute`] otherwise.
///
/// # Panics
/// If a shard that holds one of its keys is missing.
pub fn execute_together(
    shards: &mut [&mut Shard],
    spec: &'static Spec,
    args: Args<'_>,
    context: &Context<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    let outcome = run_together(shards, spec, args, context, out);
    end_blocks(shards, context.now, context.limits);
    outcome
}

/// Ends a block on each shard; only then are those served who waited for what it made.
pub(crate) fn end_blocks(shards: &mut [&mut Shard], now: UnixMillis, limits: ValueLimits) {
    for shard in shards {
        shard.end_block(now, limits);
    }
}

/// The error becomes the whole reply, whatever the handler had begun to write.
#[cold]
fn answer_error(reply: &mut Reply<'_>, start: usize, error: ReplyError) {
    reply.buffer().truncate(start);
    reply.error(error);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Request, Shards};
    use slotmesh_keyspace::{Access, PackedLimit};
    use std::sync::LazyLock;

    /// Writes half of a reply and then finds out that it cannot go on.
    fn stumble(call: &mut Call<'_>) -> slotmesh_command::HandlerResult {
        call.reply.array(2);
        call.reply.integer(1);
        Err(ReplyError::Syntax)
    }

    static STUMBLE: LazyLock<Spec> = LazyLock::new(|| {
        let mut row = *slotmesh_command::find(b"get").unwrap();
        row.reach = Reach::Slot(stumble);
        row
    });

    #[test]
    fn an_error_is_the_whole_reply_and_replies_are_appended() {
        let mut shards = Shards::new(1);
        let context = Context {
            db: 3,
            protocol: Protocol::Resp3,
            now: shards.now,
            first_key: None,
            limits: ValueLimits {
                string_bytes_max: 1 << 20,
                list_packed: PackedLimit::default(),
                access: Access::default(),
                shares_integers: true,
                compresses: true,
            },
            partial: false,
            is_node: false,
            may_block: false,
            tracked: None,
        };
        let mut out = b"+before\r\n".to_vec();
        let request = Request::words("GET a");
        for spec in [request.spec().unwrap(), &STUMBLE, request.spec().unwrap()] {
            shards.shards[0].execute(spec, request.args(), &context, &mut out);
        }
        assert_eq!(out, b"+before\r\n_\r\n-ERR syntax error\r\n_\r\n");
    }

    #[test]
    fn the_context_says_which_database_and_which_first_key() {
        let mut shards = Shards::new(1);
        assert_eq!(shards.say("SET a 0"), "+OK\r\n");
        let key = shards.hasher.key(b"a");
        let limits = ValueLimits {
            string_bytes_max: 1 << 20,
            list_packed: PackedLimit::default(),
            access: Access::default(),
            shares_integers: true,
            compresses: true,
        };
        let mut run = |text: &str, db| {
            let request = Request::words(text);
            let now = shards.now;
            let context = Context {
                db,
                protocol: Protocol::Resp2,
                now,
                first_key: Some(key),
                limits,
                partial: false,
                is_node: false,
                may_block: false,
                tracked: None,
            };
            let mut out = Vec::new();
            shards.shards[0].execute(request.spec().unwrap(), request.args(), &context, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(run("SET a 1", 1), "+OK\r\n");
        assert_eq!(
            (run("GET a", 0), run("GET a", 1), run("GET a", 2)),
            ("$1\r\n0\r\n".into(), "$1\r\n1\r\n".into(), "$-1\r\n".into())
        );
    }

    #[test]
    #[should_panic(expected = "ping does not run on a shard")]
    fn connection_commands_do_not_run_here() {
        let mut shards = Shards::new(1);
        let request = Request::words("PING");
        let limits = ValueLimits {
            string_bytes_max: 1,
            list_packed: PackedLimit::default(),
            access: Access::default(),
            shares_integers: true,
            compresses: true,
        };
        let now = shards.now;
        let context = Context {
            db: 0,
            protocol: Protocol::Resp2,
            now,
            first_key: None,
            limits,
            partial: false,
            is_node: false,
            may_block: false,
            tracked: None,
        };
        shards.shards[0].execute(request.spec().unwrap(), request.args(), &context, &mut Vec::new());
    }
}
