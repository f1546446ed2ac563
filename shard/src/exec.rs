//! Execution of a placed command on this core's shard.

use crate::Shard;
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::{Call, Outcome, Reach, Spec, ValueLimits};
use slotmesh_keyspace::Key;
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
}

impl Shard {
    /// Runs a command whose reach is `Slot` or `Shard`; its reply, or error, is appended to `out`.
    ///
    /// # Panics
    /// If the row reaches neither a slot nor a shard.
    #[inline]
    pub fn execute(&mut self, spec: &'static Spec, args: Args<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
        let (Reach::Slot(handler) | Reach::Shard(handler)) = spec.reach else {
            panic!("{} does not run on a shard", spec.full_name)
        };
        let start = out.len();
        let mut call = Call {
            keyspace: &mut self.keyspace,
            effects: &mut self.effects,
            others: &mut [],
            db: usize::from(context.db),
            hasher: self.hasher,
            first_key: context.first_key,
            args,
            now: context.now,
            rng: &mut self.rng,
            reply: Reply::new(out, context.protocol),
            limits: context.limits,
            partial: context.partial,
            may_block: false,
            outcome: Outcome::Replied,
            replays: false,
        };
        if let Err(error) = handler(&mut call) {
            answer_error(&mut call.reply, start, error);
        }
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
    use slotmesh_keyspace::PackedLimit;
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
            limits: ValueLimits { string_bytes_max: 1 << 20, list_packed: PackedLimit::default() },
            partial: false,
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
        let limits = ValueLimits { string_bytes_max: 1 << 20, list_packed: PackedLimit::default() };
        let mut run = |text: &str, db| {
            let request = Request::words(text);
            let now = shards.now;
            let context = Context { db, protocol: Protocol::Resp2, now, first_key: Some(key), limits, partial: false };
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
        let limits = ValueLimits { string_bytes_max: 1, list_packed: PackedLimit::default() };
        let now = shards.now;
        let context = Context { db: 0, protocol: Protocol::Resp2, now, first_key: None, limits, partial: false };
        shards.shards[0].execute(request.spec().unwrap(), request.args(), &context, &mut Vec::new());
    }
}
