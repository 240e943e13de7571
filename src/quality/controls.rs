//! Simple scorers to be held against: where one of them is better than we are, the table shows it.

use super::channel;
use crate::detector::autoencoder::principal;
use crate::detector::decay;
use crate::replay::csv::Table;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;

/// A scorer: the table and its warm-up rows to one score a row.
pub type Control = fn(&Table, usize) -> Vec<f32>;

/// All of them by name.
pub const ALL: [(&str, Control); 5] = [
    ("running z", running_z),
    ("last value", last_value),
    ("robust z", robust_z),
    ("frozen PCA", frozen_pca),
    ("random", random),
];

/// Rows of the frozen PCA's windows.
const ROWS: usize = 16;
/// Share of the variance it explains.
const EXPLAINED: f64 = 0.85;
/// Windows it is fitted on at most.
const FIT: usize = 2048;

/// Mean over channels of |x - running mean| / running deviation, half-life 1,000 rows.
fn running_z(table: &Table, _: usize) -> Vec<f32> {
    let mut scores = vec![0.0; table.n_rows()];
    for c in 0..table.channels.len() {
        let (mut mean, mut variance, mut n) = (0.0, 0.0, 0.0f64);
        for (score, value) in scores.iter_mut().zip(held(channel(table, c))) {
            let x = f64::from(value);
            n += 1.0;
            let step = decay::step(1000.0).max(1.0 / n);
            let d = x - mean;
            *score += (d.abs() / (variance + 1e-12f64).sqrt()).min(100.0) as f32;
            mean += step * d;
            variance = (1.0 - step) * (variance + step * d * d);
        }
    }
    scores
}

/// Mean over channels of |x - last x| in deviations of that over the warm-up.
fn last_value(table: &Table, train: usize) -> Vec<f32> {
    let mut scores = vec![0.0; table.n_rows()];
    for c in 0..table.channels.len() {
        let values: Vec<f32> = held(channel(table, c)).collect();
        let steps: Vec<f64> = values.windows(2).map(|pair| f64::from((pair[1] - pair[0]).abs())).collect();
        let train = &steps[..train.clamp(1, steps.len().max(1)).min(steps.len())];
        let unit = (train.iter().map(|step| step * step).sum::<f64>() / train.len().max(1) as f64).sqrt() + 1e-9;
        for (score, step) in scores.iter_mut().skip(1).zip(&steps) {
            *score += (step / unit).min(100.0) as f32;
        }
    }
    scores
}

/// Mean over channels of |x - median| / MAD of the warm-up, averaged over 16 rows.
fn robust_z(table: &Table, train: usize) -> Vec<f32> {
    let mut scores = vec![0.0f32; table.n_rows()];
    for c in 0..table.channels.len() {
        let values: Vec<f32> = held(channel(table, c)).collect();
        let train = &values[..train.clamp(1, values.len())];
        let median = crate::detector::warmup::quantile(train.to_vec(), 0.5);
        let spread = crate::detector::warmup::quantile(train.iter().map(|x| (x - median).abs()).collect(), 0.5);
        let unit = 1.4826 * spread + 1e-3 * median.abs() + 1e-6;
        for (score, x) in scores.iter_mut().zip(&values) {
            *score += ((x - median).abs() / unit).min(100.0);
        }
    }
    let mut sum = 0.0f64;
    let smooth = |(row, score): (usize, &f32)| {
        sum += f64::from(*score) - if row >= ROWS { f64::from(scores[row - ROWS]) } else { 0.0 };
        (sum / ROWS as f64) as f32
    };
    scores.iter().enumerate().map(smooth).collect()
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
