//! What there is to see of a detector, as plain values: for people and for other tools. Nothing on the way of a row reads it.

use super::alert::OpenAlert;
use super::autoencoder::{Autoencoder, Pass};
use super::row::EventTime;
use super::rules::Rules;
use super::schema::Channel;
use super::views::VIEWS;
use super::{Detector, State};

/// A detector between two rows.
#[derive(Clone, Debug)]
pub struct Portrait<'a> {
    /// Where it is in its life.
    pub state: State,
    /// How often its model was fitted.
    pub generation: u32,
    /// Rows that were judged.
    pub n_rows: u64,
    /// Rows that were older than one before them.
    pub late_rows: u64,
    /// Oldest event time.
    pub first_at: EventTime,
    /// Newest event time.
    pub last_at: EventTime,
    /// From the event times so far.
    pub rows_a_day: f64,
    /// Rows that the warm-up of the joint model has taken so far; `None`: the model is fitted.
    pub warmup_rows: Option<u64>,
    /// What the next row's figure is held against under the rules of now; 0: nothing yet.
    pub threshold: f32,
    /// What a budget has added to its threshold.
    pub correction: f64,
    /// Alerts that are open.
    pub alerts: Vec<OpenAlert>,
    /// The channels in slot order.
    pub channels: Vec<ChannelPortrait<'a>>,
    /// The joint model, once it is fitted.
    pub model: Option<ModelPortrait<'a>>,
}

/// What is known of a channel. Values are in the sensor's own unit.
#[derive(Clone, Copy, Debug)]
pub struct ChannelPortrait<'a> {
    /// Name, unit, resolution.
    pub channel: &'a Channel,
    /// Its running centre, which needs no model.
    pub usual: f64,
    /// Mean and standard deviation by which the model's input is scaled; `None` before the fit.
    pub scaler: Option<(f64, f64)>,
}

/// The joint model.
#[derive(Clone, Debug)]
pub struct ModelPortrait<'a> {
    /// The weights.
    pub net: &'a Autoencoder,
    /// The last rows, scaled, oldest first: `window_rows x channels`.
    pub window: &'a [f32],
    /// Which of the window's cells were missing.
    pub missing: &'a [bool],
    /// Unit of each view.
    pub units: [f32; VIEWS],
    /// Units of the code that the window of now activates.
    pub active: Vec<u32>,
    /// Mean squared residual of the window of now, in scaled units.
    pub loss: f32,
}

impl Detector {
    /// Everything that there is to see; `rules`: those in force for its entity.
    #[must_use]
    pub fn portrait(&self, rules: &Rules) -> Portrait<'_> {
        let scaler = |c| self.model.as_ref().map(|model| (model.scaler().mean(c), model.scaler().deviation(c)));
        let usual = |c| self.level.usual(c).map_or(0.0, |(mean, _)| mean);
        let channel = |(c, channel)| ChannelPortrait { channel, usual: usual(c), scaler: scaler(c) };
        Portrait {
            state: self.state(),
            generation: self.generation,
            n_rows: self.n_rows,
            late_rows: self.late_rows,
            first_at: self.first_at,
            last_at: self.last_at,
            rows_a_day: self.rows_a_day(),
            warmup_rows: self.warmup.as_ref().map(super::warmup::Warmup::n_rows),
            threshold: self.threshold.judge(0.0, 0.0, self.rows_a_day(), &rules.threshold).threshold,
            correction: self.threshold.correction(),
            alerts: self.open_alerts().collect(),
            channels: self.schema.channels().iter().enumerate().map(channel).collect(),
            model: self.model.as_ref().map(|model| {
                let mut pass = Pass::default();
                model.net().forward(model.window().cells(), &self.settings.model, &mut pass);
                let loss = pass.residual.iter().map(|residual| residual * residual).sum::<f32>();
                ModelPortrait {
                    net: model.net(),
                    window: model.window().cells(),
                    missing: model.window().missing(),
                    units: *model.units(),
                    loss: loss / pass.residual.len().max(1) as f32,
                    active: pass.active,
                }
            }),
        }
    }
}
