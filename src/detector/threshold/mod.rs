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
            Some(threshold) if threshold > 0.0 => Self { figure, threshold, ratio: (figure / threshold).min(1e6) },
            Some(_) | None => Self { figure, threshold: 0.0, ratio: 0.0 },
        }
    }
}

/// Running statistics of the score. All are kept whatever the method, so that a reload may change it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    learned: u64,
    mean: f64,
    variance: f64,
    scores: Histogram,
    deviations: Histogram,
    spot: Spot,
    correction: f64,
}

impl Threshold {
    /// Judges a row. `rows_a_day` is needed by a budget alone.
    #[must_use]
    pub fn judge(&self, score: f32, rarity: f32, rows_a_day: f64, settings: &Settings) -> Judged {
        let warm = self.learned >= WARM;
        match *settings {
            Settings::Rarity { level } => Judged::of(rarity, Some(level)),
            Settings::Budget { alerts_a_day } => {
                Judged::of(rarity, Some((budget_level(alerts_a_day, rows_a_day) + self.correction) as f32))
            }
            Settings::Fixed { level } => Judged::of(score, Some(level)),
            Settings::Quantile { q } => Judged::of(score, self.scores.quantile(q).filter(|_| warm)),
            Settings::Mad { k } => {
                let median = self.scores.quantile(0.5);
                let deviation = self.deviations.quantile(0.5);
                Judged::of(
                    score,
                    median.zip(deviation).map(|(median, deviation)| median + k * deviation).filter(|_| warm),
                )
            }
            Settings::MeanSd { k } => {
                Judged::of(score, Some((self.mean + f64::from(k) * self.variance.sqrt()) as f32).filter(|_| warm))
            }
            Settings::Spot { q } => Judged::of(score, self.spot.threshold(q).filter(|_| warm)),
        }
    }

    /// Learns the score of a row that was not anomalous. Only the statistics that `settings` reads cost anything.
    pub fn learn(&mut self, score: f32, settings: &Settings) {
        self.learned = self.learned.saturating_add(1);
        match *settings {
            Settings::Rarity { .. } | Settings::Budget { .. } | Settings::Fixed { .. } => {}
            Settings::Quantile { .. } => self.scores.learn(bin_of(score), decay::keep(HALF_LIFE) as f32),
            Settings::Mad { .. } => {
                let keep = decay::keep(HALF_LIFE) as f32;
                if let Some(median) = self.scores.quantile(0.5) {
                    self.deviations.learn(bin_of((score - median).abs()), keep);
                }
                self.scores.learn(bin_of(score), keep);
            }
            Settings::MeanSd { .. } => {
                let step = decay::step(HALF_LIFE).max(1.0 / self.learned as f64);
                let deviation = f64::from(score) - self.mean;
                self.mean += step * deviation;
                self.variance = (1.0 - step) * (self.variance + step * deviation * deviation);
            }
            Settings::Spot { .. } => self.spot.learn(score),
        }
    }

    /// Tells a budget whether this row raised an alert: its threshold follows, within -0.7..2.
    pub fn spend(&mut self, raised: bool, rows_a_day: f64, settings: &Settings) {
        if let Settings::Budget { alerts_a_day } = *settings {
            let spent = f64::from(u8::from(raised));
            self.correction = (self.correction + BUDGET_GAIN * (spent - alerts_a_day / rows_a_day)).clamp(-0.7, 2.0);
        }
    }

    pub(super) fn soundness(&self) -> Soundness {
        let values = [self.mean, self.variance, self.correction].iter().all(|value| value.is_finite());
        Soundness::of(values && self.variance >= 0.0, "threshold")
            .and(self.scores.soundness())
            .and(self.deviations.soundness())
            .and(self.spot.soundness())
    }
}

/// The rarity that about `alerts_a_day` episodes of 36 rows reach; two streams' worth of them.
fn budget_level(alerts_a_day: f64, rows_a_day: f64) -> f64 {
    libm::log10(2.0 * rows_a_day / rarity::BLOCK as f64 / alerts_a_day).max(0.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio_of(settings: Settings, score: f32) -> f32 {
        let mut threshold = Threshold::default();
        for i in 0..2000u32 {
            let noise = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 24) as f32;
            threshold.learn(1.0 + noise, &settings);
        }
        threshold.judge(score, 0.0, 288.0, &settings).ratio
    }

    #[test]
    fn every_method_that_judges_the_score_tells_the_usual_from_the_strange() {
        let all = [
            Settings::Fixed { level: 3.0 },
            Settings::Quantile { q: 0.999 },
            Settings::Mad { k: 5.0 },
            Settings::MeanSd { k: 4.0 },
            Settings::Spot { q: 1e-4 },
        ];
        for settings in all {
            assert!(ratio_of(settings, 1.5) < 1.0, "{settings:?}");
            assert!(ratio_of(settings, 9.0) > 1.0, "{settings:?}");
        }
    }

    #[test]
    fn a_budget_that_is_overspent_raises_its_threshold() {
        let settings = Settings::Budget { alerts_a_day: 1.0 };
        let mut threshold = Threshold::default();
        let before = threshold.judge(0.0, 2.0, 288.0, &settings).threshold;
        threshold.spend(true, 288.0, &settings);
        assert!(threshold.judge(0.0, 2.0, 288.0, &settings).threshold > before);
        for _ in 0..10_000 {
            threshold.spend(false, 288.0, &settings);
        }
        assert!(threshold.judge(0.0, 2.0, 288.0, &settings).threshold < before);
    }
}
