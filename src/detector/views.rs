//! The residual seen six ways: no view is good everywhere, their quadratic mean is good nearly everywhere.
//!
//! Let `r_c` be a channel's mean squared residual over the window, `l_c` its newest residual, `z_c` its newest scaled value,
//! the first two in units of the channel's held-out residual scale:
//! window energy `mean log(1 + r)`, newest `mean |l|`, lasting `EW of newest`, drift `mean |EW of l|`, level `mean |z|`,
//! level drift `mean |EW of z|`; and the window error `mean sqrt(r)`.

use super::autoencoder::{Pass, dense};
use super::decay;
use super::snapshot::{Soundness, all_finite};
use super::window::Window;
use serde::{Deserialize, Serialize};

/// How many views there are.
pub const VIEWS: usize = 6;

/// What shapes the views.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Half-life of the slow views, rows.
    pub slow_half_life: f64,
    /// Scaled values are cut at this before they enter the level drift.
    pub level_clip: f32,
    /// Half-life of the residual scale, rows.
    pub scale_half_life: f64,
    /// Floor of the residual scale, in scaled units.
    pub floor: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { slow_half_life: 32.0, level_clip: 4.0, scale_half_life: 5000.0, floor: 0.05 }
    }
}

/// The views of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// In the order of the module's text.
    pub views: [f32; VIEWS],
    /// `mean sqrt(r)`.
    pub window_error: f32,
}

/// Running means, and the residual scale of every channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Views {
    scale: Vec<f32>,
    /// Square of each channel's smallest step, in scaled units as they were at the fit; 0: unknown.
    grain: Vec<f32>,
    drift: Vec<f32>,
    level_drift: Vec<f32>,
    lasting: Option<f32>,
}

/// Per-channel facts of the row, for its evidence and for learning.
#[derive(Clone, Debug, Default)]
pub struct ByChannel {
    /// Mean squared residual over the window, in scaled units.
    pub energy: Vec<f32>,
}

impl Views {
    /// Views with these held-out mean squared residuals per channel; `grain` is each channel's smallest step in scaled
    /// units, 0 where it is unknown.
    #[must_use]
    pub fn new(scale: Vec<f32>, grain: Vec<f32>) -> Self {
        let channels = scale.len();
        let grain = grain.into_iter().map(|step| step * step).collect();
        Self { scale, grain, drift: vec![0.0; channels], level_drift: vec![0.0; channels], lasting: None }
    }

    /// Divisor of a channel's squared residuals. A residual of one step of the sensor is no stranger than a usual one, or the
    /// first wiggle of a sensor that always stood still would be an alarm.
    #[must_use]
    pub fn divisor(&self, channel: usize, settings: &Settings) -> f32 {
        self.scale[channel] + settings.floor * settings.floor + self.grain[channel]
    }

    /// Are the residual scales numbers?
    #[must_use]
    pub fn is_finite(&self) -> bool {
        all_finite(&self.scale) && all_finite(&self.grain)
    }

    /// Sees the window's residual; `slow_step` is the step of the slow views.
    pub fn see(
        &mut self,
        window: &Window,
        pass: &Pass,
        slow_step: f32,
        settings: &Settings,
        by_channel: &mut ByChannel,
    ) -> Seen {
        let channels = self.scale.len();
        let rows = (window.cells().len() / channels) as f32;
        by_channel.energy.resize(channels, 0.0);
        dense::energy_by_channel(&pass.residual, &mut by_channel.energy);
        let newest = pass.residual.len() - channels;
        let (cells, missing) = (window.cells(), window.missing());
        let (mut energy, mut sharp, mut drift, mut level, mut level_drift, mut error) =
            (0.0f64, 0.0, 0.0, 0.0, 0.0, 0.0);
        // One logarithm for many channels: their factors are multiplied as long as the product is far from overflow.
        let mut product = 1.0f64;
        let mut present = 0u32;
        for c in 0..channels {
            let divisor = self.divisor(c, settings);
            by_channel.energy[c] /= rows;
            let ratio = by_channel.energy[c] / divisor;
            product *= 1.0 + f64::from(ratio);
            if product > 1e200 {
                energy += libm::log(product);
                product = 1.0;
            }
            error += ratio.sqrt();
            if !missing[newest + c] {
                present += 1;
                let last = -pass.residual[newest + c] / divisor.sqrt();
                let scaled = cells[newest + c];
                self.drift[c] += slow_step * (last - self.drift[c]);
                self.level_drift[c] +=
                    slow_step * (scaled.clamp(-settings.level_clip, settings.level_clip) - self.level_drift[c]);
                sharp += last.abs();
                level += scaled.abs();
            }
            drift += self.drift[c].abs();
            level_drift += self.level_drift[c].abs();
        }
        energy += libm::log(product);
        let all = channels as f32;
        let here = present.max(1) as f32;
        let newest_view = sharp / here;
        let lasting = self.lasting.get_or_insert(newest_view);
        *lasting += slow_step * (newest_view - *lasting);
        Seen {
            views: [
                (energy / f64::from(all)) as f32,
                newest_view,
                *lasting,
                drift / all,
                level / here,
                level_drift / all,
            ],
            window_error: error / all,
        }
    }

    /// Moves the residual scales with a step of `weight` times the usual one.
    pub fn learn(&mut self, by_channel: &ByChannel, weight: f32, step: f32, settings: &Settings) {
        let floor = settings.floor * settings.floor;
        for (scale, energy) in self.scale.iter_mut().zip(&by_channel.energy) {
            *scale += step * weight * (energy.min(9.0 * (*scale + floor)) - *scale);
        }
    }

    /// Step of the residual scales.
    #[must_use]
    pub fn scale_step(settings: &Settings) -> f32 {
        decay::step(settings.scale_half_life) as f32
    }

    /// Step of the slow views.
    #[must_use]
    pub fn slow_step(settings: &Settings) -> f32 {
        decay::step(settings.slow_half_life) as f32
    }

    pub(super) fn soundness(&self, channels: usize) -> Soundness {
        let shape = [self.scale.len(), self.grain.len(), self.drift.len(), self.level_drift.len()] == [channels; 4];
        let values = self.is_finite() && all_finite(&self.drift) && all_finite(&self.level_drift);
        let positive =
            self.scale.iter().chain(&self.grain).all(|scale| *scale >= 0.0) && self.lasting.is_none_or(f32::is_finite);
        Soundness::of(shape && values && positive, "views")
    }
}
