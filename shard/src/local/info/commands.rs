//! `# Commandstats`, `# Errorstats` and `# Latencystats`: what the cores have counted of commands.

use super::{Facts, Fields};
use slotmesh_command::rows;
use slotmesh_conf::directive;

pub(super) fn commandstats(facts: &Facts<'_>, fields: &mut Fields) {
    for command in facts.node.commands() {
        let per_call = if command.calls == 0 { 0.0 } else { command.micros as f64 / command.calls as f64 };
        let line = format!(
            "calls={},usec={},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
            command.calls, command.micros, command.rejected, command.failed
        );
        fields.field(format_args!("cmdstat_{}", command.spec.full_name), line);
    }
}

/// One line for each first word of an error. If there were too many, one line says so, as in Redis 7.4.
pub(super) fn errorstats(facts: &Facts<'_>, fields: &mut Fields) {
    match facts.node.errors() {
        Some(errors) => {
            for (prefix, count) in errors {
                fields.field(format_args!("errorstat_{}", safe(&prefix)), format_args!("count={count}"));
            }
        }
        None => fields.field("errorstat_ERRORSTATS_DISABLED", "count=1"),
    }
}

pub(super) fn latencystats(facts: &Facts<'_>, fields: &mut Fields) {
    if !facts.settings.value(directive::LATENCY_TRACKING) {
        return;
    }
    let names = facts.settings.value(directive::LATENCY_TRACKING_INFO_PERCENTILES);
    let percentiles: Vec<f64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    for spec in rows() {
        let Some(times) = facts.node.distribution(spec, &percentiles) else { continue };
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let shown = |(name, &nanos): (&String, &u64)| format!("p{name}={:.3}", micros(nanos));
        let shown: Vec<String> = names.iter().zip(&times.percentiles).map(shown).collect();
        fields.field(format_args!("latency_percentiles_usec_{}", spec.full_name), shown.join(","));
    }
}

/// Bytes that somebody chose, without those that INFO gives a meaning (Redis 7.2 `server.c` `getSafeInfoString`).
fn safe(bytes: &[u8]) -> String {
    let safe = |character: char| if matches!(character, '#' | ':' | '\n' | '\r') { '_' } else { character };
    String::from_utf8_lossy(bytes).chars().map(safe).collect()
}
