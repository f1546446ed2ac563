//! Samples as columns of characters, with how long ago they were below, as Redis 7.2 `sparkline.c` draws them.

use super::{LatencyEvent, LatencySeries};
use slotmesh_base::UnixMillis;
use std::fmt::Write;

/// Columns of a line; more samples go into further graphs below.
const COLUMNS: usize = 80;
/// Lines of a graph.
const ROWS: usize = 4;
/// The top of a column, from low to high.
const TOPS: [char; 3] = ['_', 'o', '#'];
/// What a column is filled with below its top.
const FILL: char = '|';

/// A title, a line, and the graph.
pub(super) fn graph(event: LatencyEvent, series: &LatencySeries, now: UnixMillis) -> String {
    let millis: Vec<u64> = series.samples().map(|sample| sample.millis).collect();
    let labels: Vec<String> = series.samples().map(|sample| ago(now.as_secs() - sample.at_secs)).collect();
    let (low, high) = (millis.iter().min().copied().unwrap_or(0), millis.iter().max().copied().unwrap_or(0));
    let (name, highest) = (event.name(), series.max_millis());
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {highest} ms)\n");
    writeln!(text, "{}", "-".repeat(COLUMNS)).expect("memory takes everything");
    let mut is_first = true;
    for (millis, labels) in millis.chunks(COLUMNS).zip(labels.chunks(COLUMNS)) {
        if !std::mem::replace(&mut is_first, false) {
            text.push('\n');
        }
        draw(millis, labels, low, high, &mut text);
    }
    text
}

fn draw(millis: &[u64], labels: &[String], low: u64, high: u64, text: &mut String) {
    let steps = TOPS.len() * ROWS;
    let range = u128::from(high - low).max(1);
    let step = |&value: &u64| (u128::from(value - low) * steps as u128 / range).min(steps as u128 - 1) as usize;
    let heights: Vec<usize> = millis.iter().map(step).collect();
    for row in (0..ROWS).rev() {
        let floor = row * TOPS.len();
        text.extend(heights.iter().map(|&height| match height.checked_sub(floor) {
            None => ' ',
            Some(above) => TOPS.get(above).copied().unwrap_or(FILL),
        }));
        text.push('\n');
    }
    // An empty line, and the labels downwards.
    let longest = labels.iter().map(String::len).max().unwrap_or(0);
    text.extend(std::iter::repeat_n(' ', millis.len()));
    text.push('\n');
    for place in 0..longest {
        text.extend(labels.iter().map(|label| label.chars().nth(place).unwrap_or(' ')));
        text.push('\n');
    }
}

fn ago(secs: i64) -> String {
    match secs.max(0) {
        secs @ 0..60 => format!("{secs}s"),
        secs @ 60..3600 => format!("{}m", secs / 60),
        secs @ 3600..86400 => format!("{}h", secs / 3600),
        secs => format!("{}d", secs / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::LatencyMonitor;
    use super::*;

    #[test]
    fn a_graph_is_drawn_as_redis_draws_it() {
        let mut monitor = LatencyMonitor::default();
        let now = 1_000_000;
        for (secs, millis) in [(now - 90_000, 10), (now - 7200, 40), (now - 120, 20), (now - 9, 30), (now, 12)] {
            monitor.add(LatencyEvent::Command, millis, UnixMillis(secs * 1000));
        }
        let (event, series) = monitor.find(b"command").unwrap();
        let drawn = LatencyMonitor::graph(event, series, UnixMillis(now * 1000));
        let expected = [
            "command - high 40 ms, low 10 ms (all time high 40 ms)",
            &"-".repeat(80),
            " #   ",
            " | # ",
            " |o| ",
            "_|||_",
            "     ",
            "12290",
            "dhmss",
        ];
        assert_eq!(drawn, expected.join("\n") + "\n");
    }

    #[test]
    fn more_samples_than_columns_are_drawn_below() {
        let mut monitor = LatencyMonitor::default();
        (0..81).for_each(|secs| monitor.add(LatencyEvent::Command, 5, UnixMillis(secs * 1000)));
        let (event, series) = monitor.find(b"command").unwrap();
        let drawn = LatencyMonitor::graph(event, series, UnixMillis(100_000));
        let widths: Vec<usize> = drawn.lines().skip(2).map(str::len).collect();
        // Four lines, an empty one, labels of three characters; and an empty line between the two.
        assert_eq!(widths, [80, 80, 80, 80, 80, 80, 80, 80, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
    }
}
