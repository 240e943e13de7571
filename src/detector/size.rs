//! How large a detector is, by formula from its shape: what it takes in memory, and what its snapshot takes at most. Held
//! against an allocator and against encoded snapshots by tests; nothing is walked through.

use super::autoencoder::activation::Activation;
use super::autoencoder::optimizer::Optimizer;
use super::autoencoder::{Loss, Settings as NetSettings};
use super::fast::Fast;
use super::learn::EARLY;
use super::schema::Channel;
use super::threshold::histogram::FLOATS as HISTOGRAM;
use super::threshold::rarity::BLOCK;
use super::warmup::Warmup;
use super::{Detector, Early, Settings};

/// What an allocator adds to an allocation.
const ALLOCATION: usize = 16;
/// Longest encoded number and length.
const NUMBER: usize = 10;
/// Longest name of a channel, and a unit nobody will exceed.
const NAME: usize = 256 + 64;
/// Floats of one stream's memories, and how many streams there are.
const STREAM: usize = BLOCK + 2 * HISTOGRAM;
const STREAMS: usize = 5;
/// Floats of the other thresholds' memories: two histograms, SPOT's calibration and its peaks.
const THRESHOLD: usize = 2 * HISTOGRAM + 2 * 256;
/// Floats of a channel's fast autoencoder.
const FAST: usize = 2 * 16 * 16 + 3 * 16;
/// Numbers of a running centre.
const CENTRE: usize = 5;
/// Copies of its cells that a window keeps room for, each with a flag.
const WINDOW: usize = 5;

impl Detector {
    /// Bytes it takes in memory.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        let channels = self.schema.n_channels();
        let settings = &self.settings;
        let names: usize = self.schema.channels().iter().map(|channel| channel.name.len()).sum();
        let schema = channels * (size_of::<Channel>() + 4 + ALLOCATION) + names;
        let level = 8 * CENTRE * channels;
        let few = if settings.is_small(channels) {
            let season = if settings.clock { 8 * (CENTRE + 1) + 12 * settings.level.bins } else { 0 };
            channels * (season + size_of::<Fast>() + 4 * FAST + 5 * ALLOCATION)
        } else {
            0
        };
        let early = match &self.early {
            Early::Gathering(rows) => rows.capacity() * size_of::<[f32; 5]>(),
            Early::Settled(_) => 0,
        };
        let model = self.autoencoder().map_or(0, |net| {
            let (units, cells) = (net.units(), net.inputs());
            let weights = copies(&settings.model) * units * cells + 6 * units + 3 * cells;
            4 * weights + 5 * WINDOW * cells + (3 * 8 + 4 * 4) * channels
        });
        let fixed = size_of::<Self>() + 4 * (STREAMS * STREAM + 2 * HISTOGRAM) + 48 * ALLOCATION;
        fixed + schema + level + few + early + self.warmup.as_ref().map_or(0, Warmup::n_bytes) + model
    }
}

impl Settings {
    /// Bytes that the encoded state of a detector of so many channels takes at most: the larger of its warm-up's buffer, just
    /// before the fit, and of its model.
    #[must_use]
    pub fn largest_snapshot(&self, channels: usize) -> usize {
        let cells = self.window_rows * channels;
        let schema = channels * (NAME + 4 * NUMBER);
        let level = channels * (4 * 8 + NUMBER);
        let few = if self.is_small(channels) {
            let season = 8 + 4 * 8 + NUMBER + self.level.bins * (8 + NUMBER / 2);
            channels * (season + 4 * FAST + 5 * NUMBER) + 2 * EARLY as usize * size_of::<[f32; 5]>()
        } else {
            0
        };
        let warmup = 4 * Warmup::most_floats(channels, self.window_rows) + 1024;
        let units = self.model.hidden.max(1);
        let weights = copies(&self.model) * units * cells + 6 * units + 3 * cells;
        let model = 4 * weights + 5 * cells + (3 * 8 + 4 * 4) * channels;
        let fixed = 4 * (STREAMS * STREAM + THRESHOLD) + 2048;
        fixed + schema + level + few + warmup.max(model)
    }
}

/// Matrices of `units x cells` numbers that an autoencoder may have: a decoder of its own, and Adam's moments of each.
fn copies(net: &NetSettings) -> usize {
    let saturates = matches!(net.activation, Activation::Tanh | Activation::Sigmoid);
    let matrices = if net.tied && !saturates && net.loss == Loss::Mse { 1 } else { 2 };
    matrices * if net.optimizer == Optimizer::Adam { 3 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::super::row::{EventTime, Row};
    use super::super::rules::Rules;
    use super::super::schema::Schema;
    use super::super::{Scratch, snapshot, warmup};
    use super::*;
    use std::sync::Arc;

    /// Largest snapshot of an entity's first rows, over the bound.
    fn fullness(channels: usize, settings: Settings) -> f64 {
        let bound = settings.largest_snapshot(channels) as f64;
        let channel = |c| Channel { name: format!("{c:0>256}"), unit: None, resolution: 0.0 };
        let schema = Schema::new((0..channels).map(channel).collect());
        let (mut detector, mut scratch) = (Detector::new(schema, Arc::new(settings)), Scratch::default());
        let (rules, mut bytes, mut largest) = (Rules::default(), Vec::new(), 0);
        for row in 0..2_600i64 {
            let noise = |c: i64| ((row * 1031 + c).wrapping_mul(0x5851_f42d_4c95_7f2d) >> 40) as f32 / 1e6;
            let values: Vec<f32> = (0..channels as i64).map(|c| noise(c) + (row as f32 / 7.0).sin()).collect();
            let at = EventTime::from_millis(1_700_000_000_000 + row * 1000);
            detector.step(&Row { at, offset: row, values: &values }, &rules, &mut scratch);
            if row % 100 == 99 {
                bytes.clear();
                snapshot::encode(&detector, &mut bytes);
                largest = largest.max(bytes.len());
            }
        }
        assert!(detector.is_fitted());
        largest as f64 / bound
    }

    #[test]
    fn no_snapshot_is_larger_than_the_bound_which_is_not_far_off() {
        let of = |channels, change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            fullness(channels, settings)
        };
        let rows = |settings: &mut Settings| settings.warmup = warmup::Length::Rows(2_500);
        let cases = [
            ("1 channel", of(1, rows)),
            ("4 channels", of(4, rows)),
            ("20 channels", of(20, rows)),
            ("a short warm-up", of(8, |_| {})),
            (
                "a wide code with Adam",
                of(8, |settings| {
                    settings.warmup = warmup::Length::Rows(400);
                    settings.model.hidden = 128;
                    settings.model.explained = 1.0;
                    settings.model.optimizer = Optimizer::Adam;
                    settings.model.tied = false;
                    settings.model.start = super::super::autoencoder::Start::Random;
                }),
            ),
        ];
        for (what, fullness) in cases {
            assert!((0.3..=1.0).contains(&fullness), "{what}: {fullness}");
        }
    }
}
