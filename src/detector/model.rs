//! The joint model of all channels, once it is fitted.

use super::Settings;
use super::autoencoder::{Autoencoder, Pass};
use super::gate::Gate;
use super::scaler::Scaler;
use super::score;
use super::settings::Pace;
use super::snapshot::Soundness;
use super::still;
use super::views::{ByChannel, Seen, VIEWS, Views};
use super::warmup::quantile;
use super::window::Window;
use serde::{Deserialize, Serialize};

/// Scaler, window, autoencoder, views and gate of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Model {
    scaler: Scaler,
    window: Window,
    net: Autoencoder,
    views: Views,
    units: [f32; VIEWS],
    /// Median window error over the held-out rows: the unit of its stream.
    usual_error: f32,
    gate: Gate,
}

impl Model {
    pub(super) fn new(
        scaler: Scaler,
        net: Autoencoder,
        views: Views,
        units: [f32; VIEWS],
        window: Window,
        errors: Vec<f32>,
    ) -> Self {
        let usual_error = still::unit(quantile(errors, 0.5), scaler.n_channels());
        Self { scaler, window, net, views, units, usual_error, gate: Gate::default() }
    }

    /// A value in the model's units; NaN stays NaN.
    pub(super) fn scale(&self, channel: usize, value: f32, settings: &Settings) -> f32 {
        if value.is_nan() { value } else { self.scaler.transform(channel, value, &settings.scaler) }
    }

    /// Takes a scaled row into the window and looks at it. Learns nothing but the slow means of the views, and where nothing may be
    /// learned not even these: they would hold what happened against rows that came long after it.
    pub(super) fn see(
        &mut self,
        scaled: &[f32],
        learns: bool,
        slow_step: f32,
        settings: &Settings,
        pass: &mut Pass,
        by_channel: &mut ByChannel,
    ) -> Seen {
        self.window.push(scaled);
        self.net.forward(self.window.cells(), &settings.model, pass);
        if self.window.has_missing() {
            for ((residual, delta), missing) in
                pass.residual.iter_mut().zip(pass.delta.iter_mut()).zip(self.window.missing())
            {
                if *missing {
                    (*residual, *delta) = (0.0, 0.0);
                }
            }
        }
        let mut lent = (!learns).then(|| self.views.clone());
        lent.as_mut().unwrap_or(&mut self.views).see(&self.window, pass, slow_step, &settings.views, by_channel)
    }

    /// The joint score of what was seen.
    pub(super) fn score_of(&self, seen: &Seen) -> f32 {
        score::of_views(&seen.views, &self.units)
    }

    /// The window energy and the newest row's residual in their units.
    pub(super) fn sharpest(&self, views: &[f32; VIEWS]) -> [f32; 2] {
        [views[0] / self.units[0], views[1] / self.units[1]]
    }

    /// The window error as a stream for the rarity.
    pub(super) fn window_stream(&self, error: f32) -> f32 {
        error / self.usual_error
    }

    /// One restrained step of scaler, residual scales and weights.
    pub(super) fn learn(
        &mut self,
        score: f32,
        values: &[f32],
        (settings, pace): (&Settings, &Pace),
        pass: &mut Pass,
        by_channel: &ByChannel,
    ) {
        let weight = self.gate.weigh(score, &settings.gate);
        self.scaler.learn(values, f64::from(weight), pace.scaler, &settings.scaler);
        self.views.learn(by_channel, weight, pace.scale, &settings.views);
        let rate = settings.model.learning_rate * weight;
        if rate > 0.0 {
            self.net.learn(self.window.cells(), pass, values.len(), rate, &settings.model);
        }
    }

    pub(super) fn is_patient(&self, settings: &Settings) -> bool {
        self.gate.is_patient(&settings.gate)
    }

    pub(super) fn net(&self) -> &Autoencoder {
        &self.net
    }

    pub(super) fn scaler(&self) -> &Scaler {
        &self.scaler
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    pub(super) fn units(&self) -> &[f32; VIEWS] {
        &self.units
    }

    /// What an alert's evidence is made of.
    pub(super) fn tell<'a>(
        &'a self,
        settings: &'a Settings,
        pass: &'a Pass,
        by_channel: &'a ByChannel,
        scaled: &[f32],
    ) -> score::Model<'a> {
        let cells = self.window.cells();
        let newest = &cells[cells.len() - scaled.len()..];
        score::Model { scaler: &self.scaler, views: &self.views, settings: &settings.views, pass, by_channel, newest }
    }

    pub(super) fn soundness(&self, channels: usize, settings: &Settings) -> Soundness {
        let cells = settings.window_rows * channels;
        let units = self.units.iter().all(|unit| unit.is_finite() && *unit > 0.0);
        Soundness::of(units && self.usual_error.is_finite() && self.usual_error > 0.0, "units")
            .and(self.scaler.soundness(channels))
            .and(self.window.soundness(cells))
            .and(self.net.soundness(cells, &settings.model))
            .and(self.views.soundness(channels))
    }
}
