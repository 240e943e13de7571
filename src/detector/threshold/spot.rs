//! SPOT: streaming peaks over threshold (Siffer, Fouque, Termier and Largouet, KDD 2017). Excesses over a high quantile
//! follow a generalised Pareto law; its parameters come from the probability-weighted moments of the excesses (Hosking and
//! Wallis, 1987) instead of Grimshaw's root search: closed form, no iteration, bounded memory.

use super::super::snapshot::{Soundness, all_finite};
use serde::{Deserialize, Serialize};

/// Scores that calibrate the peaks' level.
const CALIBRATION: usize = 200;
/// Quantile of them above which a score is a peak.
const PEAKS: f64 = 0.98;
/// Latest peaks kept.
const KEPT: usize = 256;

/// Peaks and their level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spot {
    first: Vec<f32>,
    level: Option<f32>,
    excesses: Vec<f32>,
    next: u32,
    peaks: u64,
    n: u64,
    shape: f64,
    scale: f64,
}

impl Spot {
    /// Learns a score that was not anomalous.
    pub fn learn(&mut self, score: f32) {
        self.n = self.n.saturating_add(1);
        let Some(level) = self.level else {
            self.first.push(score);
            if self.first.len() >= CALIBRATION {
                self.calibrate();
            }
            return;
        };
        if score > level {
            self.peak(score - level);
            self.fit();
        }
    }

    fn calibrate(&mut self) {
        let mut first = std::mem::take(&mut self.first);
        first.sort_by(f32::total_cmp);
        let level = first[((first.len() - 1) as f64 * PEAKS) as usize];
        self.level = Some(level);
        self.excesses.reserve_exact(KEPT);
        for score in first.into_iter().filter(|score| *score > level) {
            self.peak(score - level);
        }
        self.fit();
    }

    fn peak(&mut self, excess: f32) {
        self.peaks = self.peaks.saturating_add(1);
        if self.excesses.len() < KEPT {
            self.excesses.push(excess);
        } else {
            self.excesses[self.next as usize] = excess;
            self.next = (self.next + 1) % KEPT as u32;
        }
    }

    /// Shape and scale of the kept excesses; worked out with every peak, not with every row. Allocates nothing.
    fn fit(&mut self) {
        let n = self.excesses.len();
        if n == 0 {
            return;
        }
        let mut sorted = [0.0f32; KEPT];
        let sorted = &mut sorted[..n];
        sorted.copy_from_slice(&self.excesses);
        sorted.sort_unstable_by(f32::total_cmp);
        let n = n as f64;
        let mean = sorted.iter().map(|excess| f64::from(*excess)).sum::<f64>() / n;
        let weighted = sorted
            .iter()
            .enumerate()
            .map(|(i, x)| f64::from(*x) * (n - 1.0 - i as f64) / (n - 1.0).max(1.0))
            .sum::<f64>()
            / n;
        let gap = mean - 2.0 * weighted;
        let (shape, scale) =
            if gap.abs() < 1e-12 { (0.0, mean) } else { (2.0 - mean / gap, 2.0 * mean * weighted / gap) };
        (self.shape, self.scale) =
            if scale > 0.0 && shape.is_finite() { (shape.clamp(-0.5, 0.9), scale) } else { (0.0, mean) };
    }

    /// The level that a score exceeds with probability `q`; `None` before there are peaks.
    #[must_use]
    pub fn threshold(&self, q: f64) -> Option<f32> {
        let level = f64::from(self.level?);
        if self.excesses.is_empty() {
            return None;
        }
        let Self { shape, scale, .. } = *self;
        let odds = q * self.n as f64 / self.peaks as f64;
        let reach =
            if shape.abs() < 1e-6 { -scale * libm::log(odds) } else { scale / shape * (libm::pow(odds, -shape) - 1.0) };
        Some((level + reach.max(0.0)).min(f64::from(f32::MAX)) as f32)
    }

    pub(in super::super) fn soundness(&self) -> Soundness {
        let shape = self.first.len() < CALIBRATION && self.excesses.len() <= KEPT && (self.next as usize) < KEPT;
        let values = all_finite(&self.first) && all_finite(&self.excesses) && self.level.is_none_or(f32::is_finite);
        let fit = (-0.5..=0.9).contains(&self.shape) && self.scale.is_finite() && self.scale >= 0.0;
        let counts = self.peaks >= self.excesses.len() as u64 && self.n >= self.peaks;
        Soundness::of(shape && values && fit && counts, "peaks over threshold")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_exponential_scores_the_quantile_is_found() {
        let mut spot = Spot::default();
        for i in 0..20_000u32 {
            let uniform = (f64::from(i.wrapping_mul(2_654_435_761) >> 8) + 0.5) / f64::from(1u32 << 24);
            spot.learn(-libm::log(uniform) as f32);
        }
        let told = spot.threshold(1e-3).unwrap();
        assert!((told - 6.9).abs() < 1.0, "{told}");
    }
}
