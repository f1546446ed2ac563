//! CONFIG.

use super::Node;
use slotmesh_base::ReplyError;
use slotmesh_resp::{Args, Reply};

pub(super) fn get(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let patterns: Vec<&[u8]> = args.iter_from(2).collect();
    let pairs = node.settings().get(&patterns);
    reply.map(pairs.len());
    for (name, value) in pairs {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

pub(super) fn set(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    if !args.len().is_multiple_of(2) {
        return reply.error(ReplyError::Syntax);
    }
    let words: Vec<&[u8]> = args.iter_from(2).collect();
    let pairs: Vec<(&[u8], &[u8])> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    match node.configure(&pairs) {
        Ok(()) => reply.ok(),
        Err(error) => reply.error_text(format!("ERR {error}").as_bytes()),
    }
}

pub(super) fn rewrite(node: &dyn Node, reply: &mut Reply<'_>) {
    match node.rewrite_configuration(false) {
        Ok(()) => reply.ok(),
        Err(error) => reply.error_text(format!("ERR {error}").as_bytes()),
    }
}

pub(super) fn reset_statistics(node: &dyn Node, reply: &mut Reply<'_>) {
    node.reset_statistics();
    reply.ok();
}
