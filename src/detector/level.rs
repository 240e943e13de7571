//! Deviation from a running centre, and from the time of day: streams that need no model and no warm-up.
//!
//! The centre and scale follow winsorised innovations; the unit in which deviations are told is frozen when the warm-up
//! ends, for a scale that adapts hides the growth.

use super::decay;
use super::snapshot::Soundness;
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

/// No centre, scale or baseline of `f32` values is larger than this; so no sum of them overflows.
const REACH: f64 = 1e40;

/// Scale of a channel that has stood still, as a share of its value: its first small move shall be no outlier.
pub const STANDING: f64 = 0.01;

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Centre {
    n: u64,
    mean: f64,
    variance: f64,
    unit: f64,
    smoothed: f64,
}

/// What one value looked like to its channel's centre.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Value minus centre, beyond one step of the sensor.
    pub deviation: f64,
    /// Scale before the value was learned.
    pub scale: f64,
    /// The frozen unit.
    pub unit: f64,
}

impl Centre {
    /// The glance, and the smoothed deviation with this value.
    #[inline(always)] // a call would send every field through memory
    fn see(&mut self, x: f64, frozen: bool, resolution: f64, steps: &Steps, settings: &Settings) -> (Glance, f64) {
        if self.n == 0 {
            self.mean = x;
        }
        // Nobody knows yet how a channel moves that has stood still.
        let stands = self.variance == 0.0 && self.n >= settings.settle && resolution == 0.0;
        let share = if stands { STANDING } else { 1e-3 };
        let scale = self.variance.sqrt() + share * self.mean.abs() + 0.5 * resolution + 1e-9;
        let deviation = x - self.mean;
        if !frozen || self.n == 0 {
            self.unit = scale;
        }
        // A deviation of one step of the sensor says nothing, least of all when it always stood still.
        let step_of_sensor = deviation.clamp(-resolution, resolution);
        let told = deviation - step_of_sensor;
        let reach = settings.clip * scale;
        self.smoothed += steps.smooth * (told.clamp(-reach, reach) - self.smoothed);
        let reach = settings.winsor * scale;
        let learned = if self.n >= settings.settle { deviation.clamp(-reach, reach) } else { deviation };
        // Once there are enough rows the maximum is known without a division.
        let rows = self.n as f64 + 1.0;
        let step = if rows * steps.centre > 2.0 { steps.centre } else { steps.centre.max(1.0 / rows) };
        self.mean += step * learned;
        self.variance = (1.0 - step) * (self.variance + step * learned * learned);
        self.n = self.n.saturating_add(1);
        (Glance { deviation: told, scale, unit: self.unit }, self.smoothed)
    }

    fn is_sound(&self) -> bool {
        let reached = [self.mean, self.smoothed, self.unit].iter().all(|value| value.abs() <= REACH);
        reached && (0.0..=REACH * REACH).contains(&self.variance) && (self.n == 0 || self.unit > 0.0)
    }
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
    centres: Vec<Centre>,
    baseline: Vec<f64>,
    visits: Vec<u32>,
    slow: Vec<f64>,
}

/// Running centres, one per channel, and a baseline of the time of day where there is a clock and few channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    centres: Vec<Centre>,
    season: Option<Season>,
}

impl Level {
    /// For `channels` channels; `season`: with a baseline of the time of day.
    #[must_use]
    pub fn new(channels: usize, season: bool, settings: &Settings) -> Self {
        let season = season.then(|| Season {
            centres: vec![Centre::default(); channels],
            baseline: vec![0.0; channels * settings.bins],
            visits: vec![0; channels * settings.bins],
            slow: vec![0.0; channels],
        });
        Self { centres: vec![Centre::default(); channels], season }
    }

    /// Sees and learns one row at `seconds` (Unix). NaN values are passed over. `glances` gets one entry per channel;
    /// `resolution` is each channel's smallest step, 0 where unknown.
    #[allow(clippy::too_many_arguments)] // a row, its time and the unit's state, all plain
    pub fn see(
        &mut self,
        values: &[f32],
        resolution: impl Fn(usize) -> f32,
        seconds: f64,
        frozen: bool,
        steps: &Steps,
        settings: &Settings,
        glances: &mut Vec<Option<Glance>>,
    ) -> Streams {
        glances.clear();
        let (mut deviation, mut smoothed, mut season_sum, mut present) = (0.0, 0.0, 0.0, 0u32);
        let bin = if self.season.is_some() { time_of_day_bin(seconds, settings.bins) } else { 0 };
        for (c, value) in values.iter().enumerate() {
            if value.is_nan() {
                glances.push(None);
                continue;
            }
            present += 1;
            let (x, step_of_sensor) = (f64::from(*value), f64::from(resolution(c)));
            let (glance, smooth) = self.centres[c].see(x, frozen, step_of_sensor, steps, settings);
            let cap = f64::from(settings.cap);
            deviation += (glance.deviation.abs() / glance.unit).min(cap);
            smoothed += (smooth.abs() / glance.unit).min(cap);
            if let Some(season) = &mut self.season {
                let (glance, smooth) = season.see(c, bin, x, frozen, step_of_sensor, steps, settings);
                season_sum += (smooth.abs() / glance.unit).min(cap);
            }
            glances.push(Some(glance));
        }
        let n = f64::from(present.max(1));
        Streams { deviation: (deviation / n) as f32, smoothed: (smoothed / n) as f32, season: (season_sum / n) as f32 }
    }

    /// Centre and scale of a channel: what it is usually, before any model. `None`: it was never seen.
    #[must_use]
    pub fn usual(&self, channel: usize) -> Option<(f64, f64)> {
        let centre = &self.centres[channel];
        (centre.n > 0).then(|| (centre.mean, centre.variance.sqrt() + 1e-3 * centre.mean.abs() + 1e-9))
    }

    pub(super) fn soundness(&self, channels: usize, season: bool, settings: &Settings) -> Soundness {
        let seasons = self.season.as_ref().is_none_or(|season| {
            season.centres.len() == channels
                && season.centres.iter().all(Centre::is_sound)
                && season.slow.len() == channels
                && [season.baseline.len(), season.visits.len()] == [channels * settings.bins; 2]
                && season.baseline.iter().chain(&season.slow).all(|value| value.abs() <= REACH)
        });
        let shape = self.centres.len() == channels && self.season.is_some() == season;
        Soundness::of(shape && seasons && self.centres.iter().all(Centre::is_sound), "level")
    }
}

impl Season {
    #[allow(clippy::too_many_arguments)] // one channel's share of `Level::see`, whose arguments these are
    fn see(
        &mut self,
        c: usize,
        bin: usize,
        x: f64,
        frozen: bool,
        resolution: f64,
        steps: &Steps,
        settings: &Settings,
    ) -> (Glance, f64) {
        let cell = bin * self.centres.len() + c;
        if self.centres[c].n == 0 {
            self.slow[c] = x;
        }
        let usual = if self.visits[cell] > 0 { self.baseline[cell] } else { self.slow[c] };
        let seen = self.centres[c].see(x - usual, frozen, resolution, steps, settings);
        self.visits[cell] = self.visits[cell].saturating_add(1);
        let step = steps.season.max(1.0 / f64::from(self.visits[cell]));
        self.baseline[cell] += step * (x - self.baseline[cell]);
        self.slow[c] += 0.01 * (x - self.slow[c]);
        seen
    }
}

fn time_of_day_bin(seconds: f64, bins: usize) -> usize {
    let day = 86_400.0;
    let of_day = seconds - libm::floor(seconds / day) * day;
    ((of_day / day * bins as f64) as usize).min(bins - 1)
}

#[cfg(test)]
mod tests;
