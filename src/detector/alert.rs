//! What there is to tell of an episode, as a plain value. The wire form is `wire::alert_v1`.

use super::row::EventTime;
use serde::{Deserialize, Serialize};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The model or the level streams found the rows unusual.
    Anomaly,
    /// Values outside their valid range.
    DataQuality,
}

/// A step in the life of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transition {
    /// The first record of an alert.
    Opened,
    /// It goes on: escalated, or its phase changed.
    Updated,
    /// It is over.
    Closed,
}

/// How much it matters: by score ratio and duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look today.
    Warning,
    /// Worth getting up.
    Critical,
}

/// Which rule caused a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// k of n rows over the threshold (with `rarity`: one row rare enough).
    Threshold,
    /// Far rarer than the alert's peak so far.
    BreakThrough,
    /// The severity rose, by ratio or by duration.
    Escalation,
    /// Back near the base, relative to the episode's own level, or the clear condition held.
    Cleared,
    /// A level shift: the model has begun to learn the new level.
    Adapting,
    /// The new level has become normal.
    NewNormal,
    /// A value left its valid range.
    OutOfRange,
    /// Values are back in their valid range.
    BackInRange,
    /// The entity is gone: a tombstone, or a person, says so.
    Ended,
    /// What was learned of the entity was replaced: by an import, or for a config that shapes the model in another way.
    Replaced,
}

/// An alert that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAlert {
    /// Of what kind.
    pub kind: Kind,
    /// Highest severity so far.
    pub severity: Severity,
    /// Event time of the row that opened it.
    pub onset: EventTime,
    /// Rows since, that one included.
    pub rows: u64,
    /// Highest score ratio; 0 for data quality, which has none.
    pub peak_ratio: f32,
    /// The world was told of it; an alert opened in a silence is not.
    pub told: bool,
}

/// Evidence of one channel at the row of the transition, in the sensor's own unit.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelEvidence {
    /// Slot in the schema.
    pub slot: usize,
    /// Share of the score; the shares of all channels sum to 1.
    pub share: f32,
    /// The value; NaN: missing.
    pub observed: f32,
    /// What the model expected (its reconstruction, back in the unit).
    pub expected: f32,
    /// Lower end of the band of usual values around `expected`.
    pub low: f32,
    /// Upper end of it.
    pub high: f32,
}

/// One transition of one alert with its whole evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What it is about.
    pub kind: Kind,
    /// Which step of its life this is.
    pub transition: Transition,
    /// Why it was taken.
    pub cause: Cause,
    /// How much it matters now.
    pub severity: Severity,
    /// Event time of the row that opened it: with the entity, its identity.
    pub onset: EventTime,
    /// Event time of this transition.
    pub at: EventTime,
    /// Ranking score of the row. This and the next four: NaN where no row caused the transition.
    pub score: f32,
    /// Window error of the row.
    pub row_score: f32,
    /// Rarity of the row, -log10 of a tail probability.
    pub rarity: f32,
    /// What the judged figure was held against.
    pub threshold: f32,
    /// Judged figure / threshold.
    pub score_ratio: f32,
    /// Highest score ratio of the episode so far.
    pub peak_ratio: f32,
    /// Rows since the onset, this one included.
    pub rows: u64,
    /// Every channel of the schema, largest share first.
    pub channels: Vec<ChannelEvidence>,
    /// Offset of the record that caused the transition.
    pub offset: i64,
    /// How often the model of this entity was fitted.
    pub generation: u32,
}
