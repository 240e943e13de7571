//! Last of all everything learns; and the warm-up, at whose end everything is fitted.

use super::figures::Figures;
use super::model::Model;
use super::row::EventTime;
use super::rules::Rules;
use super::still::LEAST_SCORE;
use super::warmup::{self, Warmup};
use super::{Detector, Early, Scratch};

/// Rows before the level streams are learned by the rarity.
const SKIP: u64 = 50;
/// Rows of the warm-up's end whose level streams set their units.
pub(super) const EARLY: u64 = 512;

impl Detector {
    /// Last, so that no row is judged by what has already seen it.
    pub(super) fn learn(&mut self, figures: &Figures, rules: &Rules, scratch: &mut Scratch) {
        let keep = &self.pace.rarity;
        let small = self.settings.is_small(self.schema.n_channels());
        let heard = &figures.heard;
        let learned = self.learned_rows();
        if learned >= SKIP {
            self.streams.deviation.learn(heard.deviation, keep);
            self.streams.smoothed.learn(heard.smoothed, keep);
            if self.settings.clock && small {
                self.streams.season.learn(heard.season, keep);
            }
            if small {
                self.streams.fast_or_window.learn(heard.fast, keep);
            }
        }
        if self.model.is_some() {
            self.streams.score.learn(heard.score, keep);
            if !small {
                self.streams.fast_or_window.learn(heard.window, keep);
            }
        }
        if matches!(self.early, Early::Settled(_)) {
            self.threshold.learn(figures.score, &rules.threshold);
        }
        if let Some(model) = &mut self.model {
            model.learn(
                figures.joint_score,
                &scratch.values,
                (&self.settings, &self.pace),
                &mut scratch.pass,
                &scratch.by_channel,
            );
        }
        let early = self.level_views(figures);
        if let Early::Gathering(rows) = &mut self.early
            && learned >= SKIP
            && small
        {
            if rows.len() >= 2 * EARLY as usize {
                rows.drain(..EARLY as usize);
            }
            rows.push(early);
        }
    }

    /// Gathers the first rows; at their end everything is fitted.
    pub(super) fn warm_up(&mut self, at: EventTime, learns: bool, rules: &Rules, scratch: &Scratch) {
        let length = self.settings.warmup;
        let fit = match &mut self.warmup {
            Some(warmup) if learns => warmup.push(at, &scratch.values, length, self.settings.window_rows),
            Some(_) | None => false,
        };
        let settled = match length {
            warmup::Length::Rows(rows) if self.settings.is_small(self.schema.n_channels()) => {
                self.learned_rows() >= rows.max(100)
            }
            warmup::Length::Rows(_) | warmup::Length::Micros(_) => fit,
        };
        if settled && let Early::Gathering(rows) = &self.early {
            self.early = Early::Settled(units_of(rows, self.learned_rows(), self.schema.n_channels()));
        }
        if fit {
            self.fit(rules);
        }
    }

    /// Rows that were learned, in the warm-up: those of a silence are not. Behind it, all of them.
    fn learned_rows(&self) -> u64 {
        self.warmup.as_ref().map_or(self.n_rows, Warmup::n_rows)
    }

    fn fit(&mut self, rules: &Rules) {
        let Some(warmup) = self.warmup.take() else { return };
        let fitted = warmup.fit(self.schema.resolutions(), &self.settings, &mut self.rng);
        if !fitted.is_finite() {
            // Trained at a rate too high for the data.
            return self.start_over();
        }
        let errors = fitted.tail.iter().map(|(_, error)| *error);
        let model =
            Model::new(fitted.scaler, fitted.net, fitted.views, fitted.units, fitted.window, errors.clone().collect());
        let small = self.settings.is_small(self.schema.n_channels());
        for (score, error) in &fitted.tail {
            self.streams.score.learn(score.max(LEAST_SCORE), &self.pace.rarity);
            if !small {
                self.streams.fast_or_window.learn(model.window_stream(*error).max(LEAST_SCORE), &self.pace.rarity);
            }
        }
        // With few channels the score is another than the joint model's, and was learned all along.
        if !small {
            self.threshold.calibrate(fitted.tail.iter().map(|(score, _)| *score), &rules.threshold);
        }
        let logs = errors.map(|error| libm::log(f64::from(error) + 1e-3));
        let n = fitted.tail.len().max(1) as f64;
        let mean = logs.clone().sum::<f64>() / n;
        let variance = logs.map(|log| (log - mean) * (log - mean)).sum::<f64>() / n;
        self.episode.set_base(mean, variance.sqrt());
        self.model = Some(model);
        self.generation = self.generation.saturating_add(1);
    }
}

/// The .99 quantile of each stream over the last quarter of the warm-up.
fn units_of(rows: &[[f32; 5]], n_rows: u64, channels: usize) -> [f32; 5] {
    let wanted = (n_rows / 4).clamp(100, EARLY) as usize;
    let rows = &rows[rows.len().saturating_sub(wanted)..];
    std::array::from_fn(|k| warmup::unit(rows.iter().map(|row| row[k]).collect(), channels))
}
