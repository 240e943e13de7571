//! The configuration as written: one struct for each section, one field for each key. Every key has its default in
//! config/offkey.toml; `Option`s are the keys that may be absent. Nothing here is checked beyond its type.

use super::units::{List, Size, Span};
use crate::lane::align::Late;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything but the overrides, which are laid on the tree before it becomes types.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Raw {
    pub kafka: RawKafka,
    pub input: RawInput,
    pub output: RawOutput,
    pub state: RawState,
    pub warmup: RawWarmup,
    pub window: RawWindow,
    pub model: RawModel,
    pub threshold: RawThreshold,
    pub alert: RawAlert,
    #[serde(default)]
    pub channel: Vec<RawChannel>,
    #[serde(default)]
    pub silence: Vec<RawSilence>,
    pub http: RawHttp,
    pub log: RawLog,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawKafka {
    pub brokers: List,
    pub group: String,
    pub instance: Option<String>,
    pub delivery: Delivery,
    pub commit_interval: Span,
    pub session_timeout: Span,
    pub transaction_timeout: Span,
    pub create_topics: bool,
    #[serde(default)]
    pub properties: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawFormat {
    JsonWide,
    JsonLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawUnit {
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "us")]
    Micros,
    #[serde(rename = "ns")]
    Nanos,
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawInput {
    pub topics: List,
    pub start: String,
    pub format: RawFormat,
    pub entity: List,
    pub timestamp: String,
    pub timestamp_unit: RawUnit,
    pub values: String,
    pub sensor: String,
    pub value: String,
    pub channels: List,
    pub interval: Option<Span>,
    pub max_lateness: Span,
    pub late: Late,
    pub max_future: Span,
    pub max_record_size: Size,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawOutput {
    pub alerts: String,
    pub scores: Option<String>,
    pub dead_letters: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawState {
    pub topic: Option<String>,
    pub snapshot_interval: Span,
    pub max_entities: usize,
    pub max_memory: Size,
    pub probation_rows: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawWarmup {
    pub rows: u32,
    pub duration: Option<Span>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawWindow {
    pub rows: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawKind {
    Simple,
    Sparse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawActivation {
    Shrinkage,
    Tanh,
    Relu,
    Sigmoid,
    Linear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawSparsity {
    L1,
    Kl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawLoss {
    Mse,
    Bce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawInit {
    Principal,
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawOptimizer {
    NormalisedSgd,
    Sgd,
    Adam,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawModel {
    pub kind: RawKind,
    pub hidden: u32,
    pub explained: f64,
    pub activation: Option<RawActivation>,
    pub sparsity: RawSparsity,
    pub sparsity_weight: Option<f32>,
    pub sparsity_target: f32,
    pub loss: RawLoss,
    pub tied: bool,
    pub init: RawInit,
    pub passes: u32,
    pub optimizer: RawOptimizer,
    pub learning_rate: f32,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawMethod {
    Rarity,
    Fixed,
    Quantile,
    Mad,
    MeanSd,
    Spot,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawThreshold {
    pub method: RawMethod,
    pub level: Option<f32>,
    pub budget: Option<f64>,
    pub quantile: Option<f64>,
    pub factor: Option<f32>,
    pub risk: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawClose {
    Relative,
    Clear,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawAlert {
    pub name: String,
    pub open_rows: u32,
    pub open_of: u32,
    pub refractory_rows: u32,
    pub break_through: f32,
    pub close: RawClose,
    pub close_share: f32,
    pub clear_ratio: f32,
    pub clear_rows: u32,
    pub warning_ratio: f32,
    pub critical_ratio: f32,
    pub warning_rows: u64,
    pub critical_rows: u64,
}

/// Rules for the channels whose name matches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawChannel {
    pub r#match: String,
    pub unit: Option<String>,
    pub resolution: Option<f32>,
    pub valid_min: Option<f32>,
    pub valid_max: Option<f32>,
    pub min_deviation: Option<f32>,
    pub min_relative_deviation: Option<f32>,
    pub direction: Option<RawDirection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawDirection {
    Both,
    Up,
    Down,
}

/// Other rules for the entities that match: the sections are already laid on the common ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawOverride {
    pub r#match: String,
    pub threshold: Option<RawThreshold>,
    pub alert: Option<RawAlert>,
    #[serde(default)]
    pub channel: Vec<RawChannel>,
}

/// A time in which entities are treated otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawSilence {
    pub r#match: String,
    pub from: Option<String>,
    pub until: Option<String>,
    #[serde(default = "yes")]
    pub mute: bool,
    #[serde(default)]
    pub learn: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawHttp {
    pub listen: String,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors: one object a line.
    Json,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawLog {
    pub format: LogFormat,
    pub level: String,
}

/// What a crash may do to the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// One transaction an epoch: `read_committed` readers see each alert once.
    ExactlyOnce,
    /// No transactions: after a crash an alert may come again, with the same ids.
    AtLeastOnce,
}
