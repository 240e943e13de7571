//! A learned state as strangers see it: what `offkey model` prints as JSON, the manifest of an export, and its weights. The
//! state itself stays the bytes of the state topic: what is imported is exactly what was exported.

use super::state_record::Envelope;
use super::{timestamp, words};
use crate::detector::alert::OpenAlert;
use crate::detector::portrait::{ChannelPortrait, ModelPortrait, Portrait};
use crate::detector::{Detector, Settings};
use safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What an export calls itself.
pub const FORMAT: &str = "offkey-model";
/// Version of the manifest.
pub const VERSION: u32 = 1;
/// The manifest, in the folder of an export.
pub const MANIFEST: &str = "manifest.json";
/// The weights, for other tools.
pub const WEIGHTS: &str = "weights.safetensors";
/// The state, byte for byte as the state topic has it.
pub const STATE: &str = "state.bin";

/// A snapshot in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Input topic.
    pub topic: String,
    /// Partition of it.
    pub partition: i32,
    /// Whose state.
    pub entity: String,
    /// Offset of the last record whose effect is in it; -1: it did not come from a topic.
    pub as_of: i64,
    /// Rows that went into it.
    pub rows: u64,
    /// `probation`, a detector's state, or why it cannot be used.
    pub state: String,
    /// `sparse` or `simple`; absent until the model is fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How often the model was fitted.
    pub generation: u32,
    /// How many channels.
    pub channels: usize,
    /// Bytes of the state record.
    pub bytes: usize,
    /// SHA-256 of the state record, in hex. (It ends with its own CRC, so that one over all of it would be the same for all.)
    pub sha256: String,
    /// What shaped the model, in hex.
    pub fingerprint: String,
}

/// Everything that a person wants to know of a state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// In a line.
    #[serde(flatten)]
    pub summary: Summary,
    /// This configuration could go on with it.
    pub fits_this_config: bool,
    /// Of a detector; absent on probation, and of a state that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorV1>,
}

/// A detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorV1 {
    /// Oldest event time.
    pub first_at: String,
    /// Newest event time.
    pub last_at: String,
    /// From the event times.
    pub rows_a_day: f64,
    /// Rows older than one before them.
    pub late_rows: u64,
    /// Rows of the warm-up so far; absent once the model is fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_rows: Option<u64>,
    /// What the next row is held against, by the rules of now; 0: nothing yet.
    pub threshold: f32,
    /// What a budget has added to it.
    pub threshold_correction: f64,
    /// Alerts that are open.
    pub open_alerts: Vec<AlertLine>,
    /// In the order of the slots.
    pub channels: Vec<ChannelLine>,
    /// The autoencoder; absent before the fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelLine>,
}

/// An open alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertLine {
    /// `anomaly` or `data_quality`.
    pub kind: String,
    /// Highest so far.
    pub severity: String,
    /// Event time of its first row.
    pub onset: String,
    /// Rows since.
    pub rows: u64,
    /// Highest score ratio.
    pub peak_ratio: f32,
    /// The world was told of it.
    pub told: bool,
}

/// A channel, in the sensor's own unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelLine {
    /// As in the input.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Smallest step; 0: unknown.
    pub resolution: f32,
    /// Running centre.
    pub usual: f64,
    /// Mean of the scaler; absent before the fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Standard deviation of the scaler; absent before the fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
}

/// An autoencoder and the window of now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelLine {
    /// Rows of a window.
    pub window_rows: usize,
    /// Units of the code.
    pub units: usize,
    /// Those that the window of now activates.
    pub active_units: Vec<u32>,
    /// Mean squared residual of the window of now, in scaled units.
    pub loss: f32,
    /// Units of the six views.
    pub view_units: Vec<f32>,
    /// Last rows, scaled, oldest first; absent cells are null.
    pub window: Vec<Vec<Option<f32>>>,
}

/// The manifest of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The Offkey that wrote it.
    pub offkey: String,
    /// Files beside it.
    pub state_file: String,
    /// Files beside it.
    pub weights_file: String,
    /// The tensors in the weights.
    pub tensors: Vec<TensorLine>,
    /// What the state says.
    #[serde(flatten)]
    pub detail: Detail,
}

/// A tensor of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorLine {
    /// Its name.
    pub name: String,
    /// `F32` or `F64`.
    pub dtype: String,
    /// Row-major.
    pub shape: Vec<usize>,
}

impl Summary {
    /// Of a record that can be read as far as its envelope. `state`: what there is to say without a detector.
    #[must_use]
    pub fn of(
        place: (&str, i32, &str),
        value: &[u8],
        envelope: &Envelope<'_>,
        state: &str,
        detector: Option<&Detector>,
    ) -> Self {
        let fitted = detector.filter(|detector| detector.is_fitted());
        Self {
            as_of: envelope.as_of,
            rows: envelope.rows,
            state: detector.map_or(state, |detector| words::state(detector.state())).to_owned(),
            kind: fitted.map(|detector| words::model(detector.settings()).to_owned()),
            generation: detector.map_or(0, Detector::generation),
            channels: detector.map_or(0, |detector| detector.schema().n_channels()),
            fingerprint: format!("{:016x}", envelope.fingerprint),
            ..Self::unreadable(place, value, state)
        }
    }

    /// Of a record that cannot be read: `why`.
    #[must_use]
    pub fn unreadable((topic, partition, entity): (&str, i32, &str), value: &[u8], why: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            entity: entity.to_owned(),
            as_of: -1,
            rows: 0,
            state: why.to_owned(),
            kind: None,
            generation: 0,
            channels: 0,
            bytes: value.len(),
            sha256: checksum(value),
            fingerprint: String::new(),
        }
    }
}

/// SHA-256 of a state record, in hex.
#[must_use]
pub fn checksum(value: &[u8]) -> String {
    Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl DetectorV1 {
    /// What strangers are told of a portrait.
    #[must_use]
    pub fn of(portrait: &Portrait<'_>, settings: &Settings) -> Self {
        let Portrait {
            state: _,
            generation: _,
            n_rows: _,
            late_rows,
            first_at,
            last_at,
            rows_a_day,
            warmup_rows,
            threshold,
            correction,
            alerts,
            channels,
            model,
        } = portrait;
        Self {
            first_at: timestamp::to_rfc3339(*first_at),
            last_at: timestamp::to_rfc3339(*last_at),
            rows_a_day: *rows_a_day,
            late_rows: *late_rows,
            warmup_rows: *warmup_rows,
            threshold: *threshold,
            threshold_correction: *correction,
            open_alerts: alerts.iter().map(AlertLine::of).collect(),
            channels: channels.iter().map(ChannelLine::of).collect(),
            model: model.as_ref().map(|model| ModelLine::of(model, channels.len(), settings)),
        }
    }
}

impl AlertLine {
    fn of(alert: &OpenAlert) -> Self {
        let OpenAlert { kind, severity, onset, rows, peak_ratio, told } = alert;
        Self {
            kind: words::kind(*kind).to_owned(),
            severity: words::severity(*severity).to_owned(),
            onset: timestamp::to_rfc3339(*onset),
            rows: *rows,
            peak_ratio: *peak_ratio,
            told: *told,
        }
    }
}

impl ChannelLine {
    fn of(portrait: &ChannelPortrait<'_>) -> Self {
        let ChannelPortrait { channel, usual, scaler } = portrait;
        Self {
            name: channel.name.clone(),
            unit: channel.unit.clone(),
            resolution: channel.resolution,
            usual: *usual,
            mean: scaler.map(|(mean, _)| mean),
            deviation: scaler.map(|(_, deviation)| deviation),
        }
    }
}

impl ModelLine {
    fn of(model: &ModelPortrait<'_>, channels: usize, settings: &Settings) -> Self {
        let ModelPortrait { net, window, missing, units, active, loss } = model;
        let cell = |(value, missing): (&f32, &bool)| (!missing).then_some(*value);
        let row = |(values, missing): (&[f32], &[bool])| values.iter().zip(missing).map(cell).collect();
        Self {
            window_rows: settings.window_rows,
            units: net.units(),
            active_units: active.clone(),
            loss: *loss,
            view_units: units.to_vec(),
            window: window.chunks(channels.max(1)).zip(missing.chunks(channels.max(1))).map(row).collect(),
        }
    }
}

/// The learned numbers as tensors: `encoder.weight` and `decoder.weight` are `units x (window_rows * channels)`, oldest row
/// first; `scaler.mean` and `scaler.deviation` (64 bits) make the model's input of a row in the sensors' own units. Nothing
/// before the fit.
///
/// # Errors
/// Those of safetensors.
pub fn weights(portrait: Option<&Portrait<'_>>) -> Result<(Vec<u8>, Vec<TensorLine>), SafeTensorError> {
    let mut tensors: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    if let Some((portrait, model)) = portrait.and_then(|portrait| Some((portrait, portrait.model.as_ref()?))) {
        let n = portrait.channels.len();
        let scaler = |pick: fn((f64, f64)) -> f64| -> Vec<u8> {
            let values = portrait.channels.iter().filter_map(|channel| channel.scaler).map(pick);
            values.flat_map(f64::to_le_bytes).collect()
        };
        tensors.push(("scaler.mean", Dtype::F64, vec![n], scaler(|(mean, _)| mean)));
        tensors.push(("scaler.deviation", Dtype::F64, vec![n], scaler(|(_, deviation)| deviation)));
        for (name, shape, values) in model.net.tensors() {
            tensors.push((name, Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()));
        }
    }
    let lines = tensors.iter().map(|(name, dtype, shape, _)| TensorLine {
        name: (*name).to_owned(),
        dtype: format!("{dtype:?}"),
        shape: shape.clone(),
    });
    let lines = lines.collect();
    let views =
        tensors.iter().map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
    Ok((safetensors::serialize(views, None)?, lines))
}

#[cfg(test)]
mod tests;
