//! Figures as text and as JSON.

use crate::compare::Series;
use crate::load::{Extent, Load};
use crate::statistics::{Spread, median};
use crate::tally::{Measurement, Metric};
use serde_json::{Value, json};
use std::fmt::Write;

impl Series {
    /// A metric by round; `None` if it was not measured.
    pub(crate) fn values(&self, metric: Metric) -> Option<Vec<f64>> {
        self.rounds.iter().map(|round| metric.of(round)).collect()
    }

    /// Its median over the rounds. How CPU time is split is told by ticks so coarse that those of all rounds are
    /// taken together: many a round has none of one kind.
    pub(crate) fn median(&self, metric: Metric) -> Option<f64> {
        if matches!(metric, Metric::CpuUser | Metric::CpuSystem) {
            let sum = |metric| Some(self.values(metric)?.iter().sum::<f64>());
            let total = sum(Metric::CpuTotal).filter(|total| *total > 0.0)?;
            return Some(self.median(Metric::CpuTotal)? * sum(metric)? / total);
        }
        self.values(metric).map(|values| median(&values))
    }

    /// Replies that were nulls, over all rounds.
    pub(crate) fn nulls(&self) -> u64 {
        self.rounds.iter().map(|round| round.tally.nulls).sum()
    }

    /// Requests that were sent again to another node, over all rounds.
    pub(crate) fn redirects(&self) -> u64 {
        self.rounds.iter().map(|round| round.tally.redirects).sum()
    }

    /// Its ratio to another series, round by round.
    pub(crate) fn ratio(&self, baseline: &Self, metric: Metric) -> Option<Spread> {
        Spread::of_ratios(&self.values(metric)?, &baseline.values(metric)?)
    }
}

/// The medians of all metrics, a line per server.
pub(crate) fn table(series: &[Series]) -> String {
    let metrics: Vec<_> =
        Metric::ALL.into_iter().filter(|metric| series.iter().any(|series| series.median(*metric).is_some())).collect();
    let mut rows = vec![header(metrics.iter().map(|metric| metric.title().to_owned()))];
    for one in series {
        let values = metrics.iter().map(|metric| one.median(*metric).map_or("-".to_owned(), figure));
        rows.push(std::iter::once(one.name.clone()).chain(values).collect());
    }
    let mut text = aligned(&rows);
    for one in series.iter().filter(|one| one.nulls() > 0) {
        let _ =
            writeln!(text, "{}: {} replies were nulls (keys that are not there; see --preload)", one.name, one.nulls());
    }
    for one in series.iter().filter(|one| one.redirects() > 0) {
        let _ = writeln!(text, "{}: {} requests were redirected (MOVED)", one.name, one.redirects());
    }
    text
}

/// The ratios to the baseline, with the interval of their median and their range.
pub(crate) fn ratios(series: &[Series], baseline: usize) -> String {
    let mut text = String::new();
    let base = &series[baseline];
    for one in series.iter().filter(|one| one.name != base.name) {
        let columns = ["median", "interval", "range"].map(str::to_owned);
        let mut rows = vec![header(columns.into_iter())];
        let mut coverage = 0.0;
        for metric in Metric::ALL {
            let Some(spread) = one.ratio(base, metric) else { continue };
            coverage = spread.coverage;
            rows.push(vec![
                metric.title().to_owned(),
                format!("{:.3}", spread.median),
                format!("{:.3}-{:.3}", spread.low, spread.high),
                format!("{:.3}-{:.3}", spread.min, spread.max),
            ]);
        }
        let _ = writeln!(
            text,
            "{} / {} (paired by round; the interval holds the median with {:.0} %)",
            one.name,
            base.name,
            coverage * 100.0
        );
        text.push_str(&aligned(&rows));
    }
    text
}

/// A figure in three significant digits or more.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn header(columns: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(String::new()).chain(columns).collect()
}

/// Columns of equal width: the first one to the left, figures to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

/// Everything as JSON: the load, each server's figures by round, and the ratios.
pub(crate) fn json(load: &Load, series: &[Series], baseline: usize) -> String {
    let (requests, seconds) = match load.extent {
        Extent::Requests(requests) => (Some(requests), None),
        Extent::Seconds(seconds) => (None, Some(seconds)),
    };
    let servers: Vec<_> = series.iter().map(|one| server_json(one, &series[baseline])).collect();
    let value = json!({
        "load": {
            "cluster": load.is_cluster,
            "clients": load.clients,
            "pipeline": load.pipeline,
            "threads": load.threads,
            "requests": requests,
            "seconds": seconds,
            "rate": load.rate,
            "keys": load.keys,
            "lists": load.lists,
            "key_bytes": load.sizes.key_bytes,
            "value_bytes": load.sizes.value_bytes,
            "seed": load.seed,
            "description": load.describe(),
        },
        "baseline": series[baseline].name,
        "servers": servers,
    });
    format!("{value:#}\n")
}

fn server_json(one: &Series, base: &Series) -> Value {
    let by_metric = |value: &dyn Fn(Metric) -> Option<Value>| -> Value {
        Metric::ALL.into_iter().filter_map(|metric| Some((metric.key().to_owned(), value(metric)?))).collect()
    };
    let spread = |spread: Spread| {
        json!({
            "median": spread.median, "low": spread.low, "high": spread.high, "coverage": spread.coverage,
            "min": spread.min, "max": spread.max,
        })
    };
    json!({
        "name": one.name,
        "medians": by_metric(&|metric| Some(json!(one.median(metric)?))),
        "ratios": by_metric(&|metric| Some(spread(one.ratio(base, metric)?))),
        "rounds": one.rounds.iter().map(round_json).collect::<Vec<_>>(),
    })
}

fn round_json(round: &Measurement) -> Value {
    let mut value: serde_json::Map<_, _> = Metric::ALL
        .into_iter()
        .filter_map(|metric| Some((metric.key().to_owned(), json!(metric.of(round)?))))
        .collect();
    value.insert("replies".to_owned(), json!(round.tally.replies));
    value.insert("nulls".to_owned(), json!(round.tally.nulls));
    value.insert("redirects".to_owned(), json!(round.tally.redirects));
    value.insert("seconds".to_owned(), json!(round.seconds));
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_time::CpuUse;
    use crate::tally::Tally;

    fn series(name: &str, micros: &[u64]) -> Series {
        let rounds = micros.iter().map(|micros| {
            let mut tally = Tally::default();
            tally.record(micros * 1000, 100);
            let total_nanos = (micros * 100_000) as f64;
            let cpu = CpuUse { total_nanos, user_nanos: total_nanos / 4.0, system_nanos: total_nanos * 0.75 };
            Measurement { tally, seconds: 0.5, cpu: Some(cpu) }
        });
        Series { name: name.to_owned(), rounds: rounds.collect() }
    }

    #[test]
    fn the_table_shows_medians_and_hides_what_was_not_measured() {
        let mut one = series("ours", &[10, 30, 20]);
        let text = table(std::slice::from_ref(&one));
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..6], ["ours", "200", "20.0", "5.00", "15.0", "0.004"]);
        one.rounds.iter_mut().for_each(|round| round.cpu = None);
        one.rounds[0].tally.nulls = 3;
        one.rounds[1].tally.redirects = 4;
        one.rounds[2].tally.redirects = 1;
        let text = table(&[one]);
        assert!(!text.contains("CPU") && text.contains("3 replies were nulls"), "{text}");
        assert!(text.contains("ours: 5 requests were redirected"), "{text}");
    }

    #[test]
    fn the_split_is_taken_over_all_rounds() {
        let mut one = series("ours", &[10, 10, 10, 10]);
        for (round, user_share) in one.rounds.iter_mut().zip([0.0, 0.0, 0.0, 1.0]) {
            let cpu = round.cpu.as_mut().unwrap();
            cpu.user_nanos = cpu.total_nanos * user_share;
            cpu.system_nanos = cpu.total_nanos - cpu.user_nanos;
        }
        assert_eq!(one.median(Metric::CpuUser), Some(2.5));
        assert_eq!(one.median(Metric::CpuSystem), Some(7.5));
    }

    #[test]
    fn ratios_are_to_the_baseline_within_rounds() {
        let all = [series("redis", &[20, 40, 20]), series("ours", &[10, 20, 30])];
        let text = ratios(&all, 0);
        assert!(text.starts_with("ours / redis"), "{text}");
        let line = text.lines().find(|line| line.starts_with("CPU us/op")).unwrap();
        let words: Vec<_> = line.split_whitespace().skip(2).collect();
        assert_eq!(words, ["0.500", "0.500-1.500", "0.500-1.500"]);
    }

    #[test]
    fn json_holds_rounds_and_ratios() {
        let all = [series("redis", &[20, 40]), series("ours", &[10, 20])];
        let value: Value = serde_json::from_str(&json(&crate::arguments::default_load(), &all, 0)).unwrap();
        assert_eq!(value["baseline"], "redis");
        assert_eq!(value["servers"][1]["ratios"]["cpu_micros_per_request"]["median"], 0.5);
        assert_eq!(value["servers"][1]["rounds"].as_array().unwrap().len(), 2);
        assert_eq!(value["servers"][0]["rounds"][0]["replies"], 100);
    }
}
