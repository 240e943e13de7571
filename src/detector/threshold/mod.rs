//! From a score to a score ratio: what is judged, and what it is held against. 1 is the boundary for every entity.

pub mod histogram;
pub mod rarity;
pub mod spot;

use super::decay;
use super::snapshot::Soundness;
use histogram::{Histogram, bin_of};
use serde::{Deserialize, Serialize};
use spot::Spot;

/// Half-life of the statistics of the methods that judge the score, rows.
const HALF_LIFE: f64 = 4000.0;
/// Scores they have to learn before they are listened to.
const WARM: u64 = 100;
/// Correction of a budget's threshold by every alert more than it allows.
const BUDGET_GAIN: f64 = 0.2;
/// Least level of a budget: every other episode. One that asks for more than there are episodes gets as many as there can be.
const LEAST_LEVEL: f64 = 0.3;

/// The method. All but the first two judge the score; rarity is reported whatever is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Settings {
    /// The rarity of the row against a fixed level.
    Rarity {
        /// `-log10` of a tail probability.
        level: f32,
    },
    /// The rarity against the level at which about so many alerts a day are raised.
    Budget {
        /// Alerts a day and entity.
        alerts_a_day: f64,
    },
    /// The score against a fixed level.
    Fixed {
        /// In units of the score.
        level: f32,
    },
    /// The score against a running quantile of it.
    Quantile {
        /// In 0..1.
        q: f64,
    },
    /// The score against its running median plus `k` times its median absolute deviation.
    Mad {
        /// Deviations.
        k: f32,
    },
    /// The score against its running mean plus `k` standard deviations.
    MeanSd {
        /// Standard deviations.
        k: f32,
    },
    /// Streaming peaks over threshold (Siffer et al., KDD 2017).
    Spot {
        /// Risk: probability aimed at. Not the false-alarm rate.
        q: f64,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self::Rarity { level: 2.2 }
    }
}

/// What a row was held against.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// The judged figure.
    pub figure: f32,
    /// Its threshold; 0 where there is none yet.
    pub threshold: f32,
    /// `figure / threshold`; 0 without a threshold.
    pub ratio: f32,
}

impl Judged {
    fn of(figure: f32, threshold: Option<f32>) -> Self {
        match threshold {
            Some(threshold) if threshold > 0.0 && threshold.is_finite() => {
                Self { figure, threshold, ratio: (figure / threshold).min(1e6) }
            }
            Some(_) | None => Self { figure, threshold: 0.0, ratio: 0.0 },
        }
    }
}

/// Running statistics of the score. Each learns while its method is the one in use, and is listened to once it has learned
/// enough: after a reload that changes the method, the new one is silent for its first rows and the old one is not forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    moments: Moments,
    scores: Quantiles,
    deviations: Quantiles,
    spot: Spot,
    correction: f64,
}

/// Exponentially weighted mean and variance, plain ones at first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    n: u64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn learn(&mut self, score: f32) {
        self.n = self.n.saturating_add(1);
        let step = decay::step(HALF_LIFE).max(1.0 / self.n as f64);
        let deviation = f64::from(score) - self.mean;
        self.mean += step * deviation;
        self.variance = (1.0 - step) * (self.variance + step * deviation * deviation);
    }

    fn above_mean(&self, k: f32) -> Option<f32> {
        (self.n >= WARM).then(|| (self.mean + f64::from(k) * self.variance.sqrt()) as f32)
    }
}

/// A decayed histogram that is silent until it is warm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Quantiles {
    n: u64,
    histogram: Histogram,
}

impl Quantiles {
    fn learn(&mut self, value: f32) {
        self.n = self.n.saturating_add(1);
        self.histogram.learn(bin_of(value), decay::keep(HALF_LIFE) as f32);
    }

    fn at(&self, q: f64) -> Option<f32> {
        if self.n >= WARM { self.histogram.quantile(q) } else { None }
    }
}

impl Threshold {
    /// Judges a row. `rows_a_day` is needed by a budget alone.
    #[must_use]
    pub fn judge(&self, score: f32, rarity: f32, rows_a_day: f64, settings: &Settings) -> Judged {
        match *settings {
            Settings::Rarity { level } => Judged::of(rarity, Some(level)),
            Settings::Budget { alerts_a_day } => {
                let level = budget_level(alerts_a_day, rows_a_day) + self.correction;
                Judged::of(rarity, Some(level.max(LEAST_LEVEL) as f32))
            }
            Settings::Fixed { level } => Judged::of(score, Some(level)),
            Settings::Quantile { q } => Judged::of(score, self.scores.at(q)),
            Settings::Mad { k } => {
                let both = self.scores.at(0.5).zip(self.deviations.at(0.5));
                Judged::of(score, both.map(|(median, deviation)| median + k * deviation))
            }
            Settings::MeanSd { k } => Judged::of(score, self.moments.above_mean(k)),
            Settings::Spot { q } => Judged::of(score, self.spot.threshold(q)),
        }
    }

    /// Learns the score of a row. Quantile and median learn all of them, or they were of the low ones alone and sank with every row
    /// that they left out; the mean learns no more than its threshold of one; SPOT, as published, nothing of those above it. Only
    /// the statistics that `settings` reads cost anything.
    pub fn learn(&mut self, score: f32, settings: &Settings) {
        match *settings {
            Settings::Rarity { .. } | Settings::Budget { .. } | Settings::Fixed { .. } => {}
            Settings::Quantile { .. } => self.scores.learn(score),
            Settings::Mad { .. } => {
                if let Some(median) = self.scores.at(0.5) {
                    self.deviations.learn((score - median).abs());
                }
                self.scores.learn(score);
            }
            Settings::MeanSd { k } => {
                self.moments.learn(self.moments.above_mean(k).map_or(score, |threshold| score.min(threshold)))
            }
            Settings::Spot { q } => {
                if self.spot.threshold(q).is_none_or(|threshold| score <= threshold) {
                    self.spot.learn(score);
                }
            }
        }
    }

    /// Learns the scores of the warm-up's held-out tail, so that there is a threshold for the first row behind it.
    pub fn calibrate(&mut self, scores: impl Iterator<Item = f32> + Clone, settings: &Settings) {
        scores.clone().for_each(|score| self.learn(score, settings));
        // Deviations are from the median, which came too late for most of them.
        if let (Settings::Mad { .. }, Some(median)) = (settings, self.scores.at(0.5))
            && self.deviations.n < WARM
        {
            self.deviations = Quantiles::default();
            scores.for_each(|score| self.deviations.learn((score - median).abs()));
        }
    }

    /// Tells a budget whether this row raised an alert: its threshold follows, within -0.7..2.
    pub fn spend(&mut self, raised: bool, rows_a_day: f64, settings: &Settings) {
        if let Settings::Budget { alerts_a_day } = *settings {
            let spent = f64::from(u8::from(raised));
            self.correction = (self.correction + BUDGET_GAIN * (spent - alerts_a_day / rows_a_day)).clamp(-0.7, 2.0);
        }
    }

    /// What a budget has added to its threshold so far.
    #[must_use]
    pub fn correction(&self) -> f64 {
        self.correction
    }

    pub(super) fn soundness(&self) -> Soundness {
        let Self { moments: Moments { mean, variance, .. }, scores, deviations, spot: _, correction } = self;
        // Of f32 scores, so that neither sums nor the threshold made of them overflow.
        let most = f64::from(f32::MAX);
        let moments = mean.abs() <= most && (0.0..=most * most).contains(variance);
        Soundness::of(moments && (-0.7..=2.0).contains(correction), "threshold")
            .and(scores.histogram.soundness())
            .and(deviations.histogram.soundness())
            .and(self.spot.soundness())
    }
}

/// The rarity that about `alerts_a_day` episodes of 36 rows reach; two streams' worth of them.
fn budget_level(alerts_a_day: f64, rows_a_day: f64) -> f64 {
    libm::log10(2.0 * rows_a_day / rarity::BLOCK as f64 / alerts_a_day).max(LEAST_LEVEL)
}

#[cfg(test)]
mod tests;
