//! The score of the Numenta Anomaly Benchmark v1.1 (Lavin and Ahmad, 2015) from alerts as they are raised: no threshold is
//! chosen in hindsight.

use crate::replay::csv::Table;
use std::collections::BTreeMap;
use std::path::Path;

/// Profiles: name, what a hit, a miss and a false alert weigh.
pub const PROFILES: [(&str, f64, f64, f64); 3] =
    [("standard", 1.0, 1.0, 0.11), ("low FP", 1.0, 1.0, 0.22), ("low FN", 1.0, 2.0, 0.11)];

/// Labelled windows by series: first and last time.
#[derive(Default)]
pub struct Windows(BTreeMap<String, Vec<(String, String)>>);

impl Windows {
    /// Of one series.
    #[must_use]
    pub fn of(&self, series: &str) -> &[(String, String)] {
        self.0.get(series).map_or(&[], Vec::as_slice)
    }
}

/// Reads `windows.csv`; none if there is no such file.
///
/// # Errors
/// A file that is none.
pub fn read_windows(path: &Path) -> Result<Windows, String> {
    let mut windows = Windows::default();
    if !path.exists() {
        return Ok(windows);
    }
    let mut reader = csv::Reader::from_path(path).map_err(|error| error.to_string())?;
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let column =
        |name: &str| header.iter().position(|column| column == name).ok_or_else(|| format!("no column {name}"));
    let (series, start, end) = (column("series")?, column("window_start")?, column("window_end")?);
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        windows
            .0
            .entry(record[series].to_owned())
            .or_default()
            .push((record[start].to_owned(), record[end].to_owned()));
    }
    Ok(windows)
}

/// What a series contributes: sums over its windows and false alerts.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// Best value of a hit of each window, in 0..1; `None`: missed.
    pub windows: Vec<Option<f64>>,
    /// Values of the false alerts, in -1..0.
    pub false_alerts: Vec<f64>,
}

/// Values of the alerts raised on these rows. The first 15 % of the rows, at most 750, do not count.
#[must_use]
pub fn points(table: &Table, raised: &[usize], windows: &[(String, String)]) -> Points {
    let row_of = |time: &String| table.time_texts.iter().position(|text| text == time);
    let spans: Vec<(usize, usize)> =
        windows.iter().filter_map(|(start, end)| Some((row_of(start)?, row_of(end)?))).collect();
    let probation = (table.n_rows() * 15 / 100).min(750);
    let mut points = Points { windows: vec![None; spans.len()], false_alerts: Vec::new() };
    for row in raised.iter().filter(|row| **row >= probation) {
        if let Some(k) = spans.iter().position(|(from, to)| (from..=to).contains(&row)) {
            let (from, to) = spans[k];
            let value = sigmoid(-((to - row + 1) as f64) / (to - from + 1) as f64) / sigmoid(-1.0);
            let best = points.windows[k].get_or_insert(value);
            *best = best.max(value);
            continue;
        }
        let before = spans.iter().rev().find(|(_, to)| to < row);
        points.false_alerts.push(before.map_or(-1.0, |(from, to)| sigmoid((row - to) as f64 / (to - from) as f64)));
    }
    points
}

/// The score of all series together: 0 says nothing, 100 is perfect.
#[must_use]
pub fn score<'a>(all: impl Iterator<Item = &'a Points>, (_, hit, miss, false_alert): (&str, f64, f64, f64)) -> f64 {
    let (mut gain, mut n) = (0.0, 0);
    for points in all {
        n += points.windows.len();
        gain += points.windows.iter().flatten().map(|value| value * hit + miss).sum::<f64>();
        gain += points.false_alerts.iter().map(|value| value * false_alert).sum::<f64>();
    }
    if n == 0 { 0.0 } else { 100.0 * gain / (n as f64 * (hit + miss)) }
}

fn sigmoid(y: f64) -> f64 {
    if y > 3.0 { -1.0 } else { 2.0 / (1.0 + libm::exp(5.0 * y)) - 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hits_at_the_first_row_are_a_hundred_and_silence_is_nothing() {
        let early = sigmoid(-1.0) / sigmoid(-1.0);
        let perfect = Points { windows: vec![Some(early); 3], false_alerts: vec![] };
        let silent = Points { windows: vec![None; 3], false_alerts: vec![] };
        for profile in PROFILES {
            assert!((score([&perfect].into_iter(), profile) - 100.0).abs() < 1e-9);
            assert_eq!(score([&silent].into_iter(), profile), 0.0);
        }
    }
}
