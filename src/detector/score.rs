//! From views to the ranking score, and from a row to the evidence of an alert.

use super::alert::ChannelEvidence;
use super::autoencoder::Pass;
use super::level::{Glances, Level};
use super::scaler::Scaler;
use super::views::{self, ByChannel, VIEWS, Views};

/// Quadratic mean of the views, each in its unit.
#[must_use]
pub fn of_views(views: &[f32; VIEWS], units: &[f32; VIEWS]) -> f32 {
    quadratic_mean(views.iter().zip(units).map(|(view, unit)| view / unit))
}

/// Root of the mean of squares; 0 of nothing.
#[must_use]
pub fn quadratic_mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, n) = values.fold((0.0, 0u32), |(sum, n), value| (sum + value * value, n + 1));
    if n == 0 { 0.0 } else { (sum / n as f32).sqrt() }
}

/// The fitted model's view of the newest row, for its evidence.
pub struct Model<'a> {
    /// Scaler as it stood when the row was scored.
    pub scaler: &'a Scaler,
    /// Residual scales.
    pub views: &'a Views,
    /// Their settings.
    pub settings: &'a views::Settings,
    /// The forward pass.
    pub pass: &'a Pass,
    /// Energy per channel.
    pub by_channel: &'a ByChannel,
    /// Newest scaled row.
    pub newest: &'a [f32],
}

/// A channel's weight at most: the sum over all channels stays finite.
const HEAVIEST: f32 = 1e30;

/// Width of the band of usual values, in residual scales.
const BAND: f64 = 3.0;

/// Every channel's share, observed and expected value and band, largest share first.
#[must_use]
pub fn evidence(values: &[f32], glances: &Glances, level: &Level, model: Option<&Model<'_>>) -> Vec<ChannelEvidence> {
    let mut channels: Vec<ChannelEvidence> = values
        .iter()
        .enumerate()
        .map(|(slot, observed)| {
            let (weight, expected, reach) = match model {
                Some(model) => model.tell(slot),
                None => {
                    let (mean, scale) = level.usual(slot).unwrap_or((f64::NAN, f64::NAN));
                    let weight = glances.of(slot).map_or(0.0, |glance| glance.deviation.abs() / glance.unit);
                    (weight as f32, mean, BAND * scale)
                }
            };
            let weight = if weight.is_nan() { 0.0 } else { weight.min(HEAVIEST) };
            let (low, high) = (number(expected - reach), number(expected + reach));
            ChannelEvidence { slot, share: weight, observed: *observed, expected: number(expected), low, high }
        })
        .collect();
    let total: f32 = channels.iter().map(|channel| channel.share).sum();
    let equal = 1.0 / channels.len().max(1) as f32;
    for channel in &mut channels {
        channel.share = if total > 0.0 { channel.share / total } else { equal };
    }
    channels.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.slot.cmp(&b.slot)));
    channels
}

/// The nearest finite number; NaN stays what it is.
fn number(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}

impl Model<'_> {
    /// Weight, expected value, reach of the band of one channel; the last two in the sensor's unit.
    fn tell(&self, slot: usize) -> (f32, f64, f64) {
        let newest = self.pass.residual.len() - self.newest.len();
        let divisor = self.views.divisor(slot, self.settings);
        let residual = self.pass.residual[newest + slot];
        let weight = (self.by_channel.energy[slot] / divisor).sqrt() + residual.abs() / divisor.sqrt();
        let deviation = self.scaler.deviation(slot);
        let expected = self.scaler.mean(slot) + f64::from(self.newest[slot] + residual) * deviation;
        (weight, expected, BAND * f64::from(divisor.sqrt()) * deviation)
    }
}
