//! Execution of a placed command on this core's shard.

use crate::Shard;
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::{Call, Reach, Spec, ValueLimits};
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
            db: usize::from(context.db),
            hasher: self.hasher,
            first_key: context.first_key,
            args,
            now: context.now,
            rng: &mut self.rng,
            reply: Reply::new(out, context.protocol),
            limits: context.limits,
            partial: context.partial,
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

    #[test]
    fn an_error_is_the_whole_reply() {
        let mut shards = Shards::new(1);
        assert_eq!(shards.say("SET a text"), "+OK\r\n");
        assert_eq!(shards.say("INCR a"), "-ERR value is not an integer or out of range\r\n");
        // SCAN has written the head of its array when it finds that its option is none.
        assert_eq!(shards.say("SCAN 0 FOO bar"), "-ERR syntax error\r\n");
        assert_eq!(shards.say("GET a"), "$4\r\ntext\r\n");
    }

    #[test]
    fn what_was_written_before_stays() {
        let mut shards = Shards::new(1);
        shards.say("SET a text");
        let context = Context {
            db: 0,
            protocol: Protocol::Resp2,
            now: shards.now,
            first_key: None,
            limits: ValueLimits { string_bytes_max: 1 << 20 },
            partial: false,
        };
        let mut out = b"+before\r\n".to_vec();
        for text in ["STRLEN a", "SCAN 0 FOO bar"] {
            let request = Request::words(text);
            shards.shards[0].execute(request.spec().unwrap(), request.args(), &context, &mut out);
        }
        assert_eq!(out, b"+before\r\n:4\r\n-ERR syntax error\r\n");
    }
}
