//! Latency by percentile as SVG: the axis is logarithmic in the share of replies that took longer, so that the tail
//! gets as much room as the body.

use crate::compare::Series;
use crate::failure::Failure;
use hdrhistogram::Histogram;
use plotters::prelude::*;

/// Size of the picture in pixels.
const SIZE: (u32, u32) = (960, 540);
/// Nines that the axis ends at: 99.999 %.
const NINES_MAX: u32 = 5;
/// Points of a line per decade.
const POINTS_PER_DECADE: u32 = 20;

/// Draws one line per server, over all of its rounds.
///
/// # Errors
/// If the plot cannot be drawn.
pub(crate) fn latency_by_percentile(title: &str, series: &[Series]) -> Result<String, Failure> {
    let mut svg = String::new();
    draw(&mut svg, title, series).map_err(|error| Failure::Plot(error.to_string()))?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    title: &str,
    series: &[Series],
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>> {
    let lines: Vec<_> = series.iter().map(|one| points(&pooled(one))).collect();
    let all = || lines.iter().flatten().map(|(_, micros)| *micros);
    let lowest = all().fold(f64::INFINITY, f64::min).max(0.1);
    let highest = all().fold(lowest, f64::max);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(40)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(
            (1.0..10f64.powi(NINES_MAX as i32)).log_scale(),
            (lowest * 0.8..highest * 1.25).log_scale(),
        )?;
    chart
        .configure_mesh()
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 15))
        .x_desc("percentile")
        .y_desc("latency in microseconds")
        .x_labels(NINES_MAX as usize + 1)
        .x_label_formatter(&|inverse| percentile_label(*inverse))
        .y_label_formatter(&|micros| crate::report::figure(*micros))
        .draw()?;
    for (index, (one, line)) in series.iter().zip(lines).enumerate() {
        let color = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(one.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 15))
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()
}

fn pooled(series: &Series) -> Histogram<u64> {
    let mut all = crate::tally::Tally::default().latencies;
    for round in &series.rounds {
        all.add(&round.tally.latencies).expect("all histograms have the same bounds");
    }
    all
}

/// Points (1 / share of slower replies, microseconds) as far as the number of replies supports.
fn points(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    (0..=NINES_MAX * POINTS_PER_DECADE)
        .map(|step| 10f64.powf(f64::from(step) / f64::from(POINTS_PER_DECADE)))
        .take_while(|inverse| *inverse <= latencies.len() as f64)
        .map(|inverse| (inverse, latencies.value_at_quantile(1.0 - 1.0 / inverse) as f64 / 1000.0))
        .collect()
}

fn percentile_label(inverse: f64) -> String {
    let percent = 100.0 * (1.0 - 1.0 / inverse);
    format!("{percent:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Measurement, Tally};

    #[test]
    fn labels_are_percentiles() {
        let labels = [1.0, 10.0, 100.0, 1000.0, 100_000.0].map(percentile_label);
        assert_eq!(labels, ["0", "90", "99", "99.9", "99.999"]);
    }

    #[test]
    fn a_line_goes_as_far_as_the_replies() {
        let mut tally = Tally::default();
        (1..=1000).for_each(|micros| tally.record(micros * 1000, 1));
        let points = points(&tally.latencies);
        assert_eq!(points.len() as u32, 3 * POINTS_PER_DECADE + 1);
        let (_, median) = points[6];
        assert!((495.0..505.0).contains(&median), "{median}");
        assert!(points.is_sorted_by(|a, b| a.1 <= b.1));
    }

    #[test]
    fn the_plot_names_the_servers_and_survives_emptiness() {
        let mut tally = Tally::default();
        (1..=1000).for_each(|micros| tally.record(micros * 1000, 1));
        let one = |name: &str, tally| Series {
            name: name.to_owned(),
            rounds: vec![Measurement { tally, seconds: 1.0, cpu: None }],
        };
        let svg = latency_by_percentile("a load", &[one("ours", tally), one("idle", Tally::default())]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("ours") && svg.contains("idle") && svg.contains("a load") && svg.contains("99.9"));
        assert!(!svg.contains("NaN"));
    }
}
