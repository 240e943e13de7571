//! Deviation from a running centre, and from the time of day: streams that need no model and no warm-up.
//!
//! The centre and scale follow winsorised innovations; the unit in which deviations are told is frozen when the warm-up
//! ends, for a scale that adapts hides the growth.

mod centres;

pub use centres::{Glance, Glances, STANDING};

use super::decay;
use super::snapshot::Soundness;
use centres::{Centres, REACH};
use serde::{Deserialize, Serialize};

/// What shapes the level streams.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Half-life of centre and scale, rows.
    pub half_life: f64,
    /// Half-life of the smoothed deviation, rows.
    pub smooth_half_life: f64,
    /// Deviations are cut at so many scales before they are smoothed.
    pub clip: f64,
    /// And at so many before they move the centre, once `settle` rows were seen.
    pub winsor: f64,
    /// Rows before deviations are winsorised.
    pub settle: u64,
    /// Largest deviation told, in units.
    pub cap: f32,
    /// Bins of the time-of-day baseline.
    pub bins: usize,
    /// Half-life of a bin, visits.
    pub season_half_life: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            half_life: 20_000.0,
            smooth_half_life: 8.0,
            clip: 10.0,
            winsor: 3.0,
            settle: 50,
            cap: 1000.0,
            bins: 24,
            season_half_life: 30.0,
        }
    }
}

/// The streams of one row: means over the channels present, in units frozen at the end of the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Streams {
    /// `|x - centre|`.
    pub deviation: f32,
    /// `|smoothed (x - centre)|`.
    pub smoothed: f32,
    /// The same of the value minus its time-of-day baseline; 0 without one.
    pub season: f32,
}

/// Steps of the settings' half-lives, worked out once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    centre: f64,
    smooth: f64,
    season: f64,
}

impl Steps {
    /// The steps of these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            centre: decay::step(settings.half_life),
            smooth: decay::step(settings.smooth_half_life),
            season: decay::step(settings.season_half_life),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Season {
    centres: Centres,
    baseline: Vec<f64>,
    visits: Vec<u32>,
    slow: Vec<f64>,
}

/// Running centres, one per channel, and a baseline of the time of day where there is a clock and few channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    centres: Centres,
    season: Option<Season>,
}

impl Level {
    /// For `channels` channels; `season`: with a baseline of the time of day.
    #[must_use]
    pub fn new(channels: usize, season: bool, settings: &Settings) -> Self {
        let season = season.then(|| Season {
            centres: Centres::new(channels),
            baseline: vec![0.0; channels * settings.bins],
            visits: vec![0; channels * settings.bins],
            slow: vec![0.0; channels],
        });
        Self { centres: Centres::new(channels), season }
    }

    /// Sees and learns one row at `seconds` (Unix). NaN values are passed over. `resolution` is each channel's smallest step,
    /// 0 where unknown; `frozen`: the units stay what they are.
    #[allow(clippy::too_many_arguments)] // a row, its time and the unit's state, all plain
    pub fn see(
        &mut self,
        values: &[f32],
        resolution: &[f32],
        seconds: f64,
        frozen: bool,
        steps: &Steps,
        settings: &Settings,
        glances: &mut Glances,
    ) -> Streams {
        let season = self.season.as_mut().map_or(0.0, |season| {
            let bin = time_of_day_bin(seconds, settings.bins);
            season.see(values, resolution, bin, frozen, steps, settings, glances)
        });
        glances.values.clear();
        glances.values.extend(values.iter().map(|value| f64::from(*value)));
        glances.taken_off.clear();
        glances.taken_off.resize(values.len(), 0.0);
        let told = centres::see(&mut self.centres, glances, resolution, frozen, steps, settings);
        let mean = |sum: f64| (sum / f64::from(told.present.max(1))) as f32;
        Streams { deviation: mean(told.deviation), smoothed: mean(told.smoothed), season: mean(season) }
    }

    /// Centre and scale of a channel: what it is usually, before any model. `None`: it was never seen.
    #[must_use]
    pub fn usual(&self, channel: usize) -> Option<(f64, f64)> {
        self.centres.usual(channel)
    }

    pub(super) fn soundness(&self, channels: usize, season: bool, settings: &Settings) -> Soundness {
        let baselines = self.season.as_ref().is_none_or(|season| {
            season.slow.len() == channels
                && [season.baseline.len(), season.visits.len()] == [channels * settings.bins; 2]
                && season.baseline.iter().chain(&season.slow).all(|value| value.abs() <= REACH)
        });
        let centres = self.season.iter().map(|season| &season.centres).chain([&self.centres]);
        centres.fold(Soundness::of(self.season.is_some() == season && baselines, "level"), |sound, centres| {
            sound.and(centres.soundness(channels))
        })
    }
}

impl Season {
    /// The sum of the smoothed deviations from the baseline; learns it.
    #[allow(clippy::too_many_arguments)] // those of `Level::see`
    fn see(
        &mut self,
        values: &[f32],
        resolution: &[f32],
        bin: usize,
        frozen: bool,
        steps: &Steps,
        settings: &Settings,
        glances: &mut Glances,
    ) -> f64 {
        let channels = self.slow.len();
        glances.values.clear();
        glances.taken_off.clear();
        for (c, value) in values.iter().enumerate() {
            let x = f64::from(*value);
            if self.centres.n_rows(c) == 0 && !x.is_nan() {
                self.slow[c] = x;
            }
            let cell = bin * channels + c;
            let usual = if self.visits[cell] > 0 { self.baseline[cell] } else { self.slow[c] };
            glances.values.push(x - usual);
            glances.taken_off.push(usual);
        }
        let told = centres::see(&mut self.centres, glances, resolution, frozen, steps, settings);
        for (c, value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            let (x, cell) = (f64::from(*value), bin * channels + c);
            self.visits[cell] = self.visits[cell].saturating_add(1);
            let step = steps.season.max(1.0 / f64::from(self.visits[cell]));
            self.baseline[cell] += step * (x - self.baseline[cell]);
            self.slow[c] += 0.01 * (x - self.slow[c]);
        }
        told.smoothed
    }
}

fn time_of_day_bin(seconds: f64, bins: usize) -> usize {
    let day = 86_400.0;
    let of_day = seconds - libm::floor(seconds / day) * day;
    ((of_day / day * bins as f64) as usize).min(bins - 1)
}

#[cfg(test)]
mod tests;
