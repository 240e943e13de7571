//! A decayed histogram of positive values in bins of a quarter octave, and tail probabilities from it.

use super::super::snapshot::{Soundness, all_finite};
use serde::{Deserialize, Serialize};

/// Bins in an octave.
const PER_OCTAVE: f32 = 4.0;
/// Octaves, half of them below 1.
const OCTAVES: f32 = 40.0;
/// Bins.
pub const BINS: usize = 160;
/// Bins in a coarse bin, whose sums spare a walk over the fine ones.
const COARSE: usize = 8;
/// Floats that it holds.
pub const FLOATS: usize = BINS + BINS / COARSE;
/// Share of the mass beyond which a Pareto tail is fitted.
const TAIL: f64 = 0.03;
/// Fresh counts above a value at which histogram and Pareto tail weigh the same.
const TRUST: f64 = 3.0;
/// Least mean excess of the tail, bins.
const LEAST_EXCESS: f64 = 0.1 * PER_OCTAVE as f64;
/// The weight of a fresh count is scaled back to 1 beyond this.
const RESCALE: f32 = 1e6;

/// Fractional bin of a value, cut at the ends.
#[must_use]
pub fn bin_of(value: f32) -> f32 {
    if value <= 1e-6 {
        return 0.0;
    }
    ((libm::log2f(value) + OCTAVES / 2.0) * PER_OCTAVE).clamp(0.0, BINS as f32 - 1.001)
}

/// The value at a fractional bin.
fn value_at(bin: f64) -> f32 {
    libm::exp2(bin / f64::from(PER_OCTAVE) - f64::from(OCTAVES) / 2.0) as f32
}

/// Decayed counts. A fresh count weighs more than an old one; nothing is ever walked through to be decayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    bins: Vec<f32>,
    coarse: Vec<f32>,
    total: f32,
    fresh: f32,
    #[serde(skip)]
    top: Top,
}

/// Coarse bins above this one hold nothing: there is nothing to add.
#[derive(Clone, Copy, Debug)]
struct Top(u8);

/// Not known yet: the last one.
impl Default for Top {
    fn default() -> Self {
        Self((BINS / COARSE - 1) as u8)
    }
}

/// Two tops are equal: they follow from the counts.
impl PartialEq for Top {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What each of two histograms holds in the bins above this one. They are walked together: the sum of one alone would wait for
/// every of its additions.
#[must_use]
pub fn counts_above([a, b]: [&Histogram; 2], bin: f32) -> [f32; 2] {
    let next = bin as usize + 1;
    let end = (next.div_ceil(COARSE) * COARSE).min(BINS);
    let fine = sums(&a.bins[next..end], &b.bins[next..end]);
    let top = usize::from(a.top.0.max(b.top.0)) + 1;
    let above = (end / COARSE).min(top)..top;
    let coarse = sums(&a.coarse[above.clone()], &b.coarse[above]);
    [fine[0] + coarse[0], fine[1] + coarse[1]]
}

/// The sum of each.
fn sums(a: &[f32], b: &[f32]) -> [f32; 2] {
    a.iter().zip(b).fold([0.0; 2], |[sum_a, sum_b], (a, b)| [sum_a + a, sum_b + b])
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0.0; BINS], coarse: vec![0.0; BINS / COARSE], total: 0.0, fresh: 1.0, top: Top(0) }
    }
}

impl Histogram {
    /// Counts a value at this bin; `keep` is what a row leaves of older counts.
    pub fn learn(&mut self, bin: f32, keep: f32) {
        self.fresh /= keep;
        self.total += self.fresh;
        let bin = bin as usize;
        self.bins[bin] += self.fresh;
        self.coarse[bin / COARSE] += self.fresh;
        self.top.0 = self.top.0.max((bin / COARSE) as u8);
        while self.coarse[usize::from(self.top.0)] <= 0.0 {
            self.top.0 -= 1;
        }
        if self.fresh > RESCALE {
            let scale = 1.0 / self.fresh;
            self.bins.iter_mut().chain(&mut self.coarse).for_each(|count| *count *= scale);
            // Summed anew, so that rounding cannot pull the total and its parts apart.
            self.total = self.bins.iter().sum();
            self.fresh = 1.0;
        }
    }

    /// Probability of a value at `bin` or beyond, with what [`counts_above`] that one: counted, and past the 97 % quantile
    /// blended with a Pareto tail (exponential in the bins), which also speaks where nothing was ever counted. In `0..=1`; 1
    /// while empty.
    #[must_use]
    pub fn tail_probability(&self, bin: f32, counts_above: f32) -> f64 {
        let beyond = f64::from(counts_above);
        let total = f64::from(self.total);
        if total <= 0.0 {
            return 1.0;
        }
        let whole = bin as usize;
        let above = (beyond + f64::from(self.bins[whole]) * f64::from(1.0 - (bin - whole as f32))).max(0.0);
        let counted = (above / total).min(1.0);
        if beyond >= TAIL * total {
            return counted;
        }
        self.with_pareto_tail(bin, above, counted, total)
    }

    fn with_pareto_tail(&self, bin: f32, above: f64, counted: f64, total: f64) -> f64 {
        let (mut mass, mut moment) = (0.0f64, 0.0f64);
        // Above the highest coarse bin that holds anything there is nothing to add.
        let occupied = (usize::from(self.top.0) + 1) * COARSE;
        for (k, count) in self.bins[..occupied].iter().enumerate().rev() {
            mass += f64::from(*count);
            moment += f64::from(*count) * (k as f64 + 0.5);
            if mass < TAIL * total {
                continue;
            }
            let past = f64::from(bin) - k as f64;
            if past <= 0.0 {
                return counted;
            }
            let excess = (moment / mass - k as f64).max(LEAST_EXCESS);
            let pareto = mass / total * libm::exp(-past / excess);
            if above <= 0.0 {
                return pareto;
            }
            let trust = above / (above + TRUST * f64::from(self.fresh));
            return libm::exp(trust * libm::log(counted) + (1.0 - trust) * libm::log(pareto)).min(1.0);
        }
        counted
    }

    /// The value below which the share `q` of the mass lies, linear inside a bin; `None` while empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f32> {
        let wanted = f64::from(self.total) * q;
        let (mut below, mut highest) = (0.0f64, None);
        for (k, count) in self.bins.iter().enumerate() {
            let count = f64::from(*count);
            if count > 0.0 && below + count >= wanted {
                return Some(value_at(k as f64 + ((wanted - below) / count).clamp(0.0, 1.0)));
            }
            below += count;
            highest = if count > 0.0 { Some(value_at(k as f64 + 1.0)) } else { highest };
        }
        // The total is rounded otherwise than its parts: what is wanted may lie beyond all of them.
        highest
    }

    pub(in super::super) fn soundness(&self) -> Soundness {
        let shape = self.bins.len() == BINS && self.coarse.len() == BINS / COARSE;
        let counts = self.bins.iter().chain(&self.coarse).all(|count| *count >= 0.0);
        let values = all_finite(&self.bins) && all_finite(&self.coarse) && self.total.is_finite() && self.total >= 0.0;
        Soundness::of(shape && counts && values && (1.0..=2.0 * RESCALE).contains(&self.fresh), "histogram")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_probability(histogram: &Histogram, value: f32) -> f64 {
        let [above, same] = counts_above([histogram; 2], bin_of(value));
        assert_eq!(above.to_bits(), same.to_bits());
        histogram.tail_probability(bin_of(value), above)
    }

    #[test]
    fn half_of_the_mass_lies_above_the_median() {
        let mut histogram = Histogram::default();
        for i in 1..=1000 {
            histogram.learn(bin_of(i as f32), 1.0);
        }
        let median = histogram.quantile(0.5).unwrap();
        assert!((median / 500.0 - 1.0).abs() < 0.05, "{median}");
        assert!((tail_probability(&histogram, 500.0) - 0.5).abs() < 0.02);
    }

    #[test]
    fn beyond_all_that_was_seen_the_tail_goes_on_falling() {
        let mut histogram = Histogram::default();
        for i in 0..2000 {
            histogram.learn(bin_of(1.0 + (i % 97) as f32 * 0.01), 0.9998);
        }
        let probabilities: Vec<f64> = [1.9, 3.0, 6.0, 50.0].iter().map(|u| tail_probability(&histogram, *u)).collect();
        assert!(probabilities.windows(2).all(|pair| pair[1] < pair[0]), "{probabilities:?}");
        assert!(probabilities[3] > 0.0);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut histogram = Histogram::default();
        let keep = 0.5f32.powf(1.0 / 100.0);
        for _ in 0..1000 {
            histogram.learn(bin_of(1.0), keep);
        }
        for _ in 0..3000 {
            histogram.learn(bin_of(10.0), keep);
        }
        assert!((histogram.quantile(0.5).unwrap() / 10.0 - 1.0).abs() < 0.2);
        assert!(histogram.soundness() == Soundness::of(true, ""));
    }

    #[test]
    fn a_restored_histogram_learns_again_above_which_bin_there_is_nothing() {
        let mut histogram = Histogram::default();
        (0..9).for_each(|_| histogram.learn(bin_of(1.0), 1.0));
        let mut restored: Histogram = postcard::from_bytes(&postcard::to_stdvec(&histogram).unwrap()).unwrap();
        assert!(restored.top.0 > histogram.top.0);
        [&mut histogram, &mut restored].into_iter().for_each(|histogram| histogram.learn(bin_of(0.5), 1.0));
        assert_eq!(restored.top.0, histogram.top.0);
    }
}
