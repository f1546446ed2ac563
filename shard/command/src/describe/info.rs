//! COMMAND and COMMAND INFO.

use super::{named_specs, write_key_flags, write_words};
use crate::{Flags, KeySearch, KeySpec, RequestPolicy, ResponsePolicy, Spec, Tips, all};
use slotmesh_resp::{Args, Reply};

/// COMMAND: all commands.
pub fn command_all(reply: &mut Reply<'_>) {
    reply.array(all().len());
    all().iter().for_each(|spec| write_spec(spec, reply));
}

/// COMMAND INFO [name …]: the named commands (a null for what does not exist), or all.
pub fn command_info(args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len() == 2 {
        return command_all(reply);
    }
    reply.array(args.len() - 2);
    for spec in named_specs(args) {
        match spec {
            Some(spec) => write_spec(spec, reply),
            None => reply.null(),
        }
    }
}

fn write_spec(spec: &Spec, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk(spec.full_name.as_bytes());
    reply.integer(i64::from(spec.arity));
    // Redis hides this one on purpose.
    let shown = spec.flags - Flags::MAY_REPLICATE;
    let flags: Vec<String> = shown.iter_names().map(|(name, _)| flag_name(name)).collect();
    write_words(flags.iter().map(String::as_str), reply);
    write_key_range(spec.keys, reply);
    let categories: Vec<String> =
        spec.categories.iter_names().map(|(name, _)| format!("@{}", name.to_ascii_lowercase())).collect();
    write_words(categories.iter().map(String::as_str), reply);
    write_tips(&spec.tips, reply);
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|keys| write_key_spec(keys, reply));
    if spec.subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(spec.subcommands.len());
    }
    spec.subcommands.iter().for_each(|sub| write_spec(sub, reply));
}

/// A flag's name as Redis prints it: the only one without an underscore is `movablekeys`.
fn flag_name(name: &str) -> String {
    if name == "MOVABLE_KEYS" { "movablekeys".to_owned() } else { name.to_ascii_lowercase() }
}

/// The three numbers from before there were key specs: first key, last key, step, over all specs that give them (Redis:
/// `populateCommandLegacyRangeSpec`).
fn write_key_range(keys: &[KeySpec], reply: &mut Reply<'_>) {
    let is_range = |keys: &&KeySpec| keys.count_at.is_none() && matches!(keys.search, KeySearch::Index);
    let ranges = keys.iter().filter(is_range);
    let last = |keys: &KeySpec| i64::from(keys.last) + if keys.last >= 0 { keys.first as i64 } else { 0 };
    let first = ranges.clone().map(|keys| keys.first).min().unwrap_or(0);
    let step = ranges.clone().next().map_or(0, |keys| keys.step);
    // Counted from the end is further than any index.
    let last = ranges.map(last).max_by_key(|&last| last as u64).unwrap_or(0);
    reply.integer(first as i64);
    reply.integer(last);
    reply.integer(step as i64);
}

fn write_tips(tips: &Tips, reply: &mut Reply<'_>) {
    let request = match tips.request {
        RequestPolicy::Default => None,
        RequestPolicy::AllNodes => Some("request_policy:all_nodes"),
        RequestPolicy::AllShards => Some("request_policy:all_shards"),
        RequestPolicy::MultiShard => Some("request_policy:multi_shard"),
        RequestPolicy::Special => Some("request_policy:special"),
    };
    let response = match tips.response {
        ResponsePolicy::Default => None,
        ResponsePolicy::AllSucceeded => Some("response_policy:all_succeeded"),
        ResponsePolicy::OneSucceeded => Some("response_policy:one_succeeded"),
        ResponsePolicy::AggMin => Some("response_policy:agg_min"),
        ResponsePolicy::AggSum => Some("response_policy:agg_sum"),
        ResponsePolicy::Special => Some("response_policy:special"),
    };
    let words = [
        tips.nondeterministic_output.then_some("nondeterministic_output"),
        tips.nondeterministic_output_order.then_some("nondeterministic_output_order"),
        request,
        response,
    ];
    reply.set(words.iter().flatten().count());
    words.iter().flatten().for_each(|word| reply.bulk(word.as_bytes()));
}

fn write_key_spec(keys: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3 + usize::from(keys.notes.is_some()));
    if let Some(notes) = keys.notes {
        reply.bulk(b"notes");
        reply.bulk(notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_key_flags(keys.flags, reply);
    reply.bulk(b"begin_search");
    if !matches!(keys.search, KeySearch::Index) {
        write_typed(b"unknown", &[], reply);
        reply.bulk(b"find_keys");
        return write_typed(b"unknown", &[], reply);
    }
    let begin = keys.count_at.unwrap_or(keys.first) as i64;
    write_typed(b"index", &[(b"index", begin)], reply);
    reply.bulk(b"find_keys");
    if keys.count_at.is_some() {
        let (first, step) = (keys.first as i64 - begin, keys.step as i64);
        return write_typed(b"keynum", &[(b"keynumidx", 0), (b"firstkey", first), (b"keystep", step)], reply);
    }
    let range: [(&[u8], i64); 3] = [(b"lastkey", i64::from(keys.last)), (b"keystep", keys.step as i64), (b"limit", 0)];
    write_typed(b"range", &range, reply);
}

/// `{type: …, spec: {…}}`.
fn write_typed(kind: &[u8], fields: &[(&[u8], i64)], reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind);
    reply.bulk(b"spec");
    reply.map(fields.len());
    for &(name, value) in fields {
        reply.bulk(name);
        reply.integer(value);
    }
}
