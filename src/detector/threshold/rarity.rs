//! How rare is a row among episodes? Each stream's value is held against the decayed distribution of its maxima over the
//! last 36 rows, under a long and a short memory: rare for life and for the last day or two.

use super::super::decay;
use super::super::snapshot::{Soundness, all_finite};
use super::histogram::{Histogram, bin_of};
use serde::{Deserialize, Serialize};

/// Rows of an episode: histograms learn the maximum of so many.
pub const BLOCK: usize = 36;
/// Half-life of the long memory, rows.
const LONG: f64 = 4000.0;
/// Half-life of the short memory, rows.
const SHORT: f64 = 300.0;
/// Rows a stream has to be learned before it is listened to.
const WARM: u32 = 100;
/// Largest rarity of a stream.
const CAP: f64 = 8.0;

/// What the two memories keep of a count with every row.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    long: f32,
    short: f32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { long: decay::keep(LONG) as f32, short: decay::keep(SHORT) as f32 }
    }
}

/// One stream's memories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    recent: Vec<f32>,
    next: u32,
    learned: u32,
    long: Histogram,
    short: Histogram,
}

impl Default for Stream {
    fn default() -> Self {
        Self { recent: vec![0.0; BLOCK], next: 0, learned: 0, long: Histogram::default(), short: Histogram::default() }
    }
}

impl Stream {
    /// `-log10` of the tail probability of `value`, the less surprised memory speaking; 0 until the stream is warm.
    #[must_use]
    pub fn rarity(&self, value: f32) -> f64 {
        if self.learned < WARM {
            return 0.0;
        }
        let bin = bin_of(value);
        let probability = self.long.tail_probability(bin).max(self.short.tail_probability(bin));
        (-libm::log10(probability.max(1e-300))).clamp(0.0, CAP)
    }

    /// Counts the maximum of the last [`BLOCK`] values, this one included.
    pub fn learn(&mut self, value: f32, keep: &Keep) {
        self.recent[self.next as usize] = value;
        self.next = (self.next + 1) % BLOCK as u32;
        self.learned = self.learned.saturating_add(1);
        let bin = bin_of(self.recent.iter().copied().fold(0.0, f32::max));
        self.long.learn(bin, keep.long);
        self.short.learn(bin, keep.short);
    }

    pub(in super::super) fn soundness(&self) -> Soundness {
        let shape = self.recent.len() == BLOCK && (self.next as usize) < BLOCK && all_finite(&self.recent);
        Soundness::of(shape, "rarity").and(self.long.soundness()).and(self.short.soundness())
    }
}

/// The 4-norm of weighted rarities.
#[must_use]
pub fn join(rarities: impl Iterator<Item = f64>) -> f32 {
    let sum: f64 = rarities.map(|rarity| rarity * rarity * rarity * rarity).sum();
    sum.sqrt().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_is_not_rare_and_ten_times_the_usual_is() {
        let mut stream = Stream::default();
        let keep = Keep::default();
        assert_eq!(stream.rarity(1e9), 0.0);
        for i in 0..1000u32 {
            stream.learn(1.0 + (i.wrapping_mul(2_654_435_761) >> 24) as f32 / 256.0, &keep);
        }
        assert!(stream.rarity(1.5) < 0.5);
        assert!(stream.rarity(20.0) > 2.2);
    }
}
