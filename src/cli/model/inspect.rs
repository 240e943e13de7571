//! `offkey model inspect`.

use super::{EntityArgs, Failed, Seen, find, json};
use crate::cli::{print, shown};
use crate::wire::model_v1::{ChannelLine, Detail, DetectorV1, ModelLine};
use std::fmt::Write as _;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    entity: EntityArgs,
    /// As JSON, the window included.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.entity.config.load()?;
    let (id, value) = find(&args.entity, &config)?;
    let detail = Seen::of(&config, &id, &args.entity.entity, &value).detail(&config);
    print(&if args.json { json(&detail)? } else { page(&detail) })
}

/// For people.
fn page(detail: &Detail) -> String {
    let summary = &detail.summary;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<13} {value}").expect("a String takes everything");
    };
    line("entity", shown(&summary.entity));
    line("partition", format!("{}/{}, as of offset {}", summary.topic, summary.partition, summary.as_of));
    line("state", format!("{}, {} rows, generation {}", summary.state, summary.rows, summary.generation));
    let fits = if detail.fits_this_config { "fits this configuration" } else { "of no use to this configuration" };
    line("record", format!("{} bytes, SHA-256 {}", summary.bytes, summary.sha256));
    line("fingerprint", format!("{}, {fits}", summary.fingerprint));
    let Some(detector) = &detail.detector else { return text };
    let DetectorV1 { first_at, last_at, rows_a_day, late_rows, warmup_rows, threshold, threshold_correction, .. } =
        detector;
    line("event time", format!("{first_at} to {last_at}, {rows_a_day:.0} rows a day, {late_rows} late"));
    if let Some(rows) = warmup_rows {
        line("warm-up", format!("{rows} rows so far"));
    }
    line("threshold", format!("{threshold} (a budget has added {threshold_correction:+.3})"));
    if detector.open_alerts.is_empty() {
        line("alerts", "none open".to_owned());
    }
    for alert in &detector.open_alerts {
        let told = if alert.told { "" } else { ", not told: it opened in a silence" };
        line(
            "alert",
            format!(
                "{} {} since {}, {} rows, peak {:.2}{told}",
                alert.severity, alert.kind, alert.onset, alert.rows, alert.peak_ratio
            ),
        );
    }
    if let Some(ModelLine { window_rows, units, active_units, loss, .. }) = &detector.model {
        let kind = summary.kind.as_deref().unwrap_or_default();
        line("model", format!("{kind}, {units} units over windows of {window_rows} rows"));
        line("window", format!("{} units active, squared residual {loss:.4} a cell", active_units.len()));
    }
    channels(&mut text, &detector.channels);
    text
}

fn channels(text: &mut String, channels: &[ChannelLine]) {
    let names: Vec<String> = channels.iter().map(|channel| shown(&channel.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(7);
    let mut row = |cells: [&str; 5]| {
        let [name, unit, usual, mean, deviation] = cells;
        let line = format!("{name:<width$}  {unit:<8}  {usual:>14}  {mean:>14}  {deviation:>14}");
        writeln!(text, "{}", line.trim_end()).expect("a String takes everything");
    };
    row(["CHANNEL", "UNIT", "USUAL", "MEAN", "DEVIATION"]);
    for (name, channel) in names.iter().zip(channels) {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.6}"));
        let unit = channel.unit.as_deref().map_or_else(|| "-".to_owned(), shown);
        row([name, &unit, &number(Some(channel.usual)), &number(channel.mean), &number(channel.deviation)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::model_v1::Summary;

    #[test]
    fn names_do_not_reach_the_terminal_as_commands() {
        let summary = Summary::unreadable(("telemetry", 3, "a\u{1b}]0;b\u{7}"), b"", "ready");
        let text = page(&Detail { summary, fits_this_config: false, detector: None });
        assert!(text.starts_with("entity        a\\u{1b}]0;b\\u{7}\n"), "{text:?}");
        let mut text = String::new();
        let line = ChannelLine {
            name: "t\u{1b}[0m".to_owned(),
            unit: Some("\r".to_owned()),
            resolution: 0.0,
            usual: 1.0,
            mean: None,
            deviation: None,
        };
        channels(&mut text, &[line]);
        assert!(text.contains("\nt\\u{1b}[0m  \\r ") && !text.contains(['\u{1b}', '\r']), "{text:?}");
    }
}
