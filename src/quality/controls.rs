//! Simple scorers to be held against: where one of them is better than we are, the table shows it. Each is given what makes it
//! strong: squares where they rank better, and the mean of the last 16 rows, a window as long as ours.

use super::channel;
use crate::detector::autoencoder::principal;
use crate::detector::decay;
use crate::replay::csv::Table;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;

/// A scorer: the table and its warm-up rows to one score a row.
pub type Control = fn(&Table, usize) -> Vec<f32>;

/// All of them by name.
pub const ALL: [(&str, Control); 6] = [
    ("running z", running_z),
    ("last value", last_value),
    ("z-score", z_score),
    ("robust z", robust_z),
    ("frozen PCA", frozen_pca),
    ("random", random),
];

/// Rows of the frozen PCA's windows, and of the mean of the other controls.
const ROWS: usize = 16;
/// Share of the variance it explains.
const EXPLAINED: f64 = 0.85;
/// Windows it is fitted on at most.
const FIT: usize = 2048;
/// Half-life of the running centre and deviation, in rows: longer than most series, for a scale that adapts hides what lasts.
const RUNNING: f64 = 20_000.0;

/// ((x - running mean) / running deviation)^2, capped at 20 deviations.
fn running_z(table: &Table, _: usize) -> Vec<f32> {
    over_channels(table, |values, scores| {
        let (mut mean, mut variance, mut n) = (0.0, 0.0, 0.0f64);
        for (score, x) in scores.iter_mut().zip(values) {
            n += 1.0;
            if n == 1.0 {
                mean = *x;
            }
            let step = decay::step(RUNNING).max(1.0 / n);
            let d = x - mean;
            *score += (d.abs() / (variance + 1e-18f64).sqrt()).min(20.0).powi(2);
            mean += step * d;
            variance = (1.0 - step) * (variance + step * d * d);
        }
    })
}

/// (x - last x)^2 over its mean in the warm-up, capped at 100 deviations.
fn last_value(table: &Table, train: usize) -> Vec<f32> {
    over_channels(table, |values, scores| {
        let squares: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).collect();
        let unit = mean(&squares[..train.clamp(1, values.len()) - 1]).sqrt() + 1e-9;
        for (score, square) in scores.iter_mut().skip(1).zip(&squares) {
            *score += (square.sqrt() / unit).min(100.0).powi(2);
        }
    })
}

/// ((x - mean) / deviation)^2 of the warm-up, capped at 100 deviations.
fn z_score(table: &Table, train: usize) -> Vec<f32> {
    over_channels(table, |values, scores| {
        let train = &values[..train.clamp(1, values.len())];
        let centre = mean(train);
        let deviation = mean(&train.iter().map(|x| (x - centre).powi(2)).collect::<Vec<_>>()).sqrt() + 1e-9;
        for (score, x) in scores.iter_mut().zip(values) {
            *score += ((x - centre).abs() / deviation).min(100.0).powi(2);
        }
    })
}

/// |x - median| / MAD of the warm-up, capped at 100.
fn robust_z(table: &Table, train: usize) -> Vec<f32> {
    over_channels(table, |values, scores| {
        let train: Vec<f32> = values[..train.clamp(1, values.len())].iter().map(|x| *x as f32).collect();
        let median = crate::detector::warmup::quantile(train.clone(), 0.5);
        let spread = crate::detector::warmup::quantile(train.iter().map(|x| (x - median).abs()).collect(), 0.5);
        let unit = f64::from(1.4826 * spread + 1e-3 * median.abs() + 1e-6);
        for (score, x) in scores.iter_mut().zip(values) {
            *score += ((x - f64::from(median)).abs() / unit).min(100.0);
        }
    })
}

/// Sums over the channels what `add` finds in one channel's values, then the mean of the last 16 rows.
fn over_channels(table: &Table, add: impl Fn(&[f64], &mut [f64])) -> Vec<f32> {
    let mut sums = vec![0.0f64; table.n_rows()];
    let channels = if sums.is_empty() { 0 } else { table.channels.len() };
    for c in 0..channels {
        let values: Vec<f64> = held(channel(table, c)).map(f64::from).collect();
        add(&values, &mut sums);
    }
    (0..sums.len())
        .map(|row| (sums[(row + 1).saturating_sub(ROWS)..=row].iter().sum::<f64>() / ROWS as f64) as f32)
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Residual of windows beyond the principal directions of the warm-up's windows.
fn frozen_pca(table: &Table, train: usize) -> Vec<f32> {
    let (n, channels) = (table.n_rows(), table.channels.len());
    let mut rows = vec![0.0f32; n * channels];
    for c in 0..channels {
        let values: Vec<f32> = held(channel(table, c)).collect();
        let train = &values[..train.clamp(1, n)];
        let mean = train.iter().map(|x| f64::from(*x)).sum::<f64>() / train.len() as f64;
        let variance = train.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / train.len() as f64;
        for (row, x) in values.iter().enumerate() {
            rows[row * channels + c] = (((f64::from(*x) - mean) / (variance + 1e-12).sqrt()) as f32).clamp(-50.0, 50.0);
        }
    }
    let inputs = ROWS * channels;
    let window = |row: usize| &rows[(row + 1 - ROWS) * channels..(row + 1) * channels];
    let all: Vec<&[f32]> = (ROWS - 1..train.clamp(ROWS, n.max(ROWS))).filter(|row| *row < n).map(window).collect();
    let thin: Vec<&[f32]> = all.iter().copied().step_by(all.len().div_ceil(FIT).max(1)).collect();
    let found = principal::directions(&thin, inputs, 32, EXPLAINED, &mut Pcg32::seed_from_u64(0));
    let residual = |row: usize| {
        let centred: Vec<f32> = window(row).iter().zip(&found.mean).map(|(x, mean)| x - mean).collect();
        let whole: f32 = centred.iter().map(|x| x * x).sum();
        let along: f32 = found
            .directions
            .chunks_exact(inputs)
            .map(|v| v.iter().zip(&centred).map(|(v, x)| v * x).sum::<f32>().powi(2))
            .sum();
        (whole - along).max(0.0).sqrt()
    };
    (0..n).map(|row| if row + 1 < ROWS { 0.0 } else { residual(row) }).collect()
}

fn random(table: &Table, _: usize) -> Vec<f32> {
    let mut rng = Pcg32::seed_from_u64(0);
    (0..table.n_rows()).map(|_| rng.next_u32() as f32).collect()
}

/// A missing value is the last one.
fn held(values: impl Iterator<Item = f32>) -> impl Iterator<Item = f32> {
    let mut last = 0.0;
    values.map(move |value| {
        if !value.is_nan() {
            last = value;
        }
        last
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of small noise; from row 600 on the first is off its level, and the second jumps from row to row.
    fn table() -> Table {
        let mut text = "timestamp,a,b,label\n".to_owned();
        for row in 0..700 {
            let wiggle = f64::from((row * 7919) % 101) / 101.0;
            let (a, b) =
                if row < 600 { (wiggle, -wiggle) } else { (wiggle + 5.0, if row % 2 == 0 { 4.0 } else { -4.0 }) };
            text += &format!("{row},{a},{b},0\n");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let config = crate::config::Config::defaults();
        let channels = &config.input.decoder.channels;
        let columns = crate::replay::csv::Columns { time: "timestamp", label: Some("label"), channels, step: None };
        crate::replay::csv::read(file.path(), columns).unwrap()
    }

    #[test]
    fn every_control_but_chance_ranks_the_changed_rows_above_the_others() {
        let table = table();
        for (name, control) in ALL {
            let scores = control(&table, 400);
            assert_eq!(scores.len(), 700, "{name}");
            let highest = |rows: std::ops::Range<usize>| scores[rows].iter().copied().fold(f32::MIN, f32::max);
            let lowest = scores[620..700].iter().copied().fold(f32::MAX, f32::min);
            assert_eq!(lowest > highest(400..600), name != "random", "{name}");
        }
    }
}
