//! One HTML file that tells of a replay: score against threshold, and every alert with what was observed and expected.

use super::Replayed;
use super::csv::Table;
use super::labels::spans;
use plotters::prelude::*;
use serde_json::Value;
use std::fmt::Write as _;

/// Points of the plot at most: more are thinned out to the highest of each step.
const POINTS: usize = 2_000;

/// The page for one or several series.
#[must_use]
pub fn page(series: &[(String, &Table, &Replayed)]) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Offkey replay</title><style>body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}.out{color:#b00020;font-weight:600}h3{margin-bottom:0}small{color:#666}svg{width:100%;height:auto}</style><h1>Offkey replay</h1>",
    );
    for (name, table, replayed) in series {
        let _ =
            write!(html, "<h2>{}</h2><p>{} rows, {} channels.</p>", escape(name), table.n_rows(), table.channels.len());
        html += &plot(table, replayed).unwrap_or_else(|error| format!("<p>no plot: {}</p>", escape(&error)));
        for (row, alert) in &replayed.alerts {
            if let Ok(alert) = serde_json::from_str::<Value>(alert) {
                tell(&mut html, *row, &alert);
            }
        }
    }
    html + "</html>\n"
}

/// Score ratio over the rows; spans of open alerts in red, of labels in blue below.
fn plot(table: &Table, replayed: &Replayed) -> Result<String, String> {
    let n = replayed.outcomes.len().max(1);
    let step = n.div_ceil(POINTS);
    let highest =
        |rows: &[crate::detector::Outcome]| rows.iter().map(|outcome| outcome.score_ratio).fold(0.0f32, f32::max);
    let points: Vec<(usize, f32)> =
        replayed.outcomes.chunks(step).enumerate().map(|(i, rows)| (i * step, highest(rows).min(5.0))).collect();
    let top = points.iter().map(|(_, ratio)| *ratio).fold(1.2f32, f32::max) * 1.05;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1200, 320)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(44)
            .build_cartesian_2d(0..n, -0.12f32..top)
            .map_err(|error| error.to_string())?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().y_desc("score / threshold").x_desc("row").draw().map_err(|error| error.to_string())?;
        let open = spans(replayed.outcomes.iter().map(|outcome| outcome.anomalous));
        let boxes = |spans: Vec<(usize, usize)>, low: f32, high: f32, color: RGBAColor| {
            spans.into_iter().map(move |(from, to)| Rectangle::new([(from, low), (to + 1, high)], color.filled()))
        };
        chart.draw_series(boxes(open, 0.0, top, RED.mix(0.15))).map_err(|error| error.to_string())?;
        if let Some(labels) = &table.labels {
            let labelled = spans(labels.iter().copied());
            chart.draw_series(boxes(labelled, -0.1, -0.02, BLUE.mix(0.6))).map_err(|error| error.to_string())?;
        }
        chart.draw_series(LineSeries::new(points, BLACK.stroke_width(1))).map_err(|error| error.to_string())?;
        chart
            .draw_series(LineSeries::new([(0, 1.0), (n, 1.0)], RED.stroke_width(1)))
            .map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

fn tell(html: &mut String, row: usize, alert: &Value) {
    let text = |key: &str| escape(alert[key].as_str().unwrap_or_default());
    let _ = write!(
        html,
        "<h3>{} {} <small>row {row}, {}</small></h3><p>{}</p><table><tr><th>channel<th>share<th>observed<th>expected<th>usual band</tr>",
        text("severity"),
        text("transition"),
        text("at"),
        text("summary")
    );
    for channel in alert["channels"].as_array().into_iter().flatten().take(8) {
        let number = |key: &str| channel[key].as_f64();
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let out = matches!((number("observed"), number("low"), number("high")), (Some(x), Some(low), Some(high)) if x < low || x > high);
        let _ = write!(
            html,
            "<tr><td>{}<td>{:.0} %<td{}>{}<td>{}<td>{} to {}</tr>",
            escape(channel["name"].as_str().unwrap_or_default()),
            100.0 * number("share").unwrap_or_default(),
            if out { " class=\"out\"" } else { "" },
            shown(number("observed")),
            shown(number("expected")),
            shown(number("low")),
            shown(number("high"))
        );
    }
    html.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
