//! MEMORY USAGE: what one key costs.

use super::doc;
use crate::{Call, Doc, DocArg, DocKind, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_resp::Args;

pub(super) const DOC: Doc = doc("O(N) for N samples", "Tells the bytes that a key and its value occupy.")
    .arguments(&[DocArg::KEY, DocArg::new("count", DocKind::Integer).token("SAMPLES").optional()]);

/// Each value knows its size: nothing is sampled.
pub(super) fn usage(call: &mut Call<'_>) -> HandlerResult {
    check_options(call.args)?;
    let (key, now) = (call.key(2), call.now);
    let db = call.db();
    let bytes = db.look(&key, now).is_some().then(|| db.key_bytes(&key)).flatten();
    match bytes {
        Some(bytes) => call.reply.integer(bytes as i64),
        None => call.reply.null(),
    }
    Ok(())
}

/// SAMPLES and a number, as often as you like.
fn check_options(args: Args<'_>) -> HandlerResult {
    let mut words = args.iter_from(3);
    while let Some(word) = words.next() {
        let samples = words.next().filter(|_| word.eq_ignore_ascii_case(b"samples")).ok_or(ReplyError::Syntax)?;
        if parse_integer(samples)? < 0 {
            return Err(ReplyError::Syntax);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::family::testing::Fixture;

    #[test]
    fn a_key_costs_what_its_bytes_take() {
        let mut fixture = Fixture::new();
        fixture.script(&[
            ("SET key 0123456789", "+OK"),
            // Key, value, six bytes before them, and three in the index of the page.
            ("MEMORY USAGE key", ":22"),
            ("EXPIRE key 100", ":1"),
            ("MEMORY USAGE key SAMPLES 0", ":30"),
            ("memory usage key samples 5 samples 1", ":30"),
            ("MEMORY USAGE nosuch", "$-1"),
            ("MEMORY USAGE key SAMPLES -1", "-ERR syntax error"),
            ("MEMORY USAGE key SAMPLES", "-ERR syntax error"),
            ("MEMORY USAGE key SAMPLES x", "-ERR value is not an integer or out of range"),
            ("MEMORY USAGE key NOSUCH 1", "-ERR syntax error"),
            ("SETRANGE key 100000 x", ":100001"),
        ]);
        let reply = fixture.run("MEMORY USAGE key");
        let bytes: usize = reply.trim_start_matches(':').trim().parse().unwrap();
        assert!((100_001..250_000).contains(&bytes), "{bytes}");
    }
}
