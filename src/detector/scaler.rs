//! Each channel to mean 0 and variance 1: linfa's `LinearScaler` fitted on the warm-up rows, then moved by exponentially
//! weighted moments whose innovations are winsorised, so that an anomaly hardly moves the scale.

use super::decay;
use super::snapshot::Soundness;
use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_preprocessing::linear_scaling::LinearScaler;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// What shapes the scaler.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Half-life of the moments, rows.
    pub half_life: f64,
    /// Deviations beyond so many standard deviations are cut before they move the moments.
    pub winsor: f64,
    /// But never below this share of the deviation, or a constant channel that starts to move is stuck for ever.
    pub creep: f64,
    /// Scaled values are cut at this.
    pub clip: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { half_life: 5000.0, winsor: 5.0, creep: 0.1, clip: 50.0 }
    }
}

/// Share of the squared limit of a deviation below which rounding cannot matter.
const SURELY_INSIDE: f64 = 0.99;

/// Running moments per channel, in the sensors' own units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    mean: Vec<f64>,
    variance: Vec<f64>,
    /// Variance below which a channel counts as constant: the square of half its own resolution.
    floor: Vec<f64>,
}

impl Scaler {
    /// Fits on `rows` (row-major, no missing values). `resolution` gives each channel's smallest step.
    #[must_use]
    pub fn fit(rows: &[f64], channels: usize, resolution: &[f64]) -> Self {
        let n = rows.len() / channels;
        let records = Array2::from_shape_vec((n, channels), rows.to_vec()).expect("rows of equal length");
        let fitted =
            LinearScaler::<f64>::standard().fit(&DatasetBase::from(records)).expect("standard scaling of finite rows");
        // linfa gives a channel without variance the scale 1; here its variance is the floor.
        let constant = |c: usize| (1..n).all(|i| rows[i * channels + c] == rows[c]);
        let variance = fitted.scales().iter().enumerate();
        Self {
            mean: fitted.offsets().to_vec(),
            variance: variance.map(|(c, scale)| if constant(c) { 0.0 } else { 1.0 / (scale * scale) }).collect(),
            floor: resolution.iter().map(|step| 0.25 * step * step + 1e-18).collect(),
        }
    }

    /// How many channels it scales.
    #[must_use]
    pub fn n_channels(&self) -> usize {
        self.mean.len()
    }

    /// Standard deviation of a channel, its floor included.
    #[must_use]
    pub fn deviation(&self, channel: usize) -> f64 {
        (self.variance[channel] + self.floor[channel]).sqrt()
    }

    /// Mean of a channel.
    #[must_use]
    pub fn mean(&self, channel: usize) -> f64 {
        self.mean[channel]
    }

    /// A value in standard deviations, cut at the clip.
    #[must_use]
    pub fn transform(&self, channel: usize, value: f32, settings: &Settings) -> f32 {
        let scaled = (f64::from(value) - self.mean[channel]) / self.deviation(channel);
        (scaled as f32).clamp(-settings.clip, settings.clip)
    }

    /// Moves the moments by one row, with a step of `weight` times the usual one. NaN: the channel is missing.
    pub fn learn(&mut self, values: &[f32], weight: f64, step: f64, settings: &Settings) {
        let (step, usual) = (step * weight, settings.winsor * settings.winsor);
        for (c, value) in values.iter().enumerate() {
            if value.is_nan() {
                continue;
            }
            let mut deviation = f64::from(*value) - self.mean[c];
            // Nearly every value is far inside of the limit: no root has to be taken to see that.
            if deviation * deviation > SURELY_INSIDE * usual * (self.variance[c] + self.floor[c]) {
                let limit = (settings.winsor * self.deviation(c)).max(settings.creep * deviation.abs());
                deviation = deviation.clamp(-limit, limit);
            }
            self.mean[c] += step * deviation;
            self.variance[c] = (1.0 - step) * (self.variance[c] + step * deviation * deviation);
        }
    }

    /// Step of the moments, from the settings.
    #[must_use]
    pub fn step(settings: &Settings) -> f64 {
        decay::step(settings.half_life)
    }

    pub(super) fn soundness(&self, channels: usize) -> Soundness {
        let positive = |values: &[f64]| values.iter().all(|value| value.is_finite() && *value >= 0.0);
        let shape = [self.mean.len(), self.variance.len(), self.floor.len()] == [channels; 3];
        let values = self.mean.iter().all(|mean| mean.is_finite()) && positive(&self.variance) && positive(&self.floor);
        Soundness::of(shape && values && self.floor.iter().all(|floor| *floor > 0.0), "scaler")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fitted_scaler_gives_mean_zero_and_variance_one() {
        let rows: Vec<f64> = (0..200).flat_map(|i| [f64::from(i % 7), 1e6 + 2.5 * f64::from(i % 5)]).collect();
        let scaler = Scaler::fit(&rows, 2, &[0.0, 0.0]);
        for c in 0..2 {
            let scaled: Vec<f32> =
                (0..200).map(|i| scaler.transform(c, rows[2 * i + c] as f32, &Settings::default())).collect();
            let mean = scaled.iter().sum::<f32>() / 200.0;
            let variance = scaled.iter().map(|z| z * z).sum::<f32>() / 200.0 - mean * mean;
            assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "channel {c}: {mean} {variance}");
        }
    }

    #[test]
    fn a_wiggle_of_one_resolution_on_a_constant_channel_is_no_outlier() {
        let scaler = Scaler::fit(&[20.0; 100], 1, &[0.5]);
        assert!(scaler.transform(0, 20.5, &Settings::default()) <= 2.0);
        assert!(scaler.transform(0, 60.0, &Settings::default()) >= 50.0);
    }

    #[test]
    fn one_huge_value_hardly_moves_the_scale() {
        let rows: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let mut scaler = Scaler::fit(&rows, 1, &[0.0]);
        let before = scaler.deviation(0);
        scaler.learn(&[100.0], 1.0, Scaler::step(&Settings::default()), &Settings::default());
        assert!(scaler.deviation(0) < 1.05 * before);
    }
}
