//! What one row came to.

use super::alert::Alert;
use super::row::{EventTime, Row};

/// Where a detector is in its life, as the scores topic and the metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The first rows: fitted on, not yet scored by the model.
    Warming,
    /// Scoring, nothing open.
    Ready,
    /// An alert is open.
    Open,
    /// The alert is closed, the base has not been reached again.
    Recovering,
    /// A level shift: the alert told of it, the model learns the new level.
    Adapting,
}

/// What one row came to. Every number is finite; a row without a score carries zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Event time of the row.
    pub at: EventTime,
    /// Offset of the row's record.
    pub offset: i64,
    /// State after the row.
    pub state: State,
    /// Ranking score: a fixed scale for the life of the model.
    pub score: f32,
    /// Window error: mean over channels of the root of the scaled residual energy.
    pub row_score: f32,
    /// -log10 of the tail probability of the row among episodes.
    pub rarity: f32,
    /// What the judged figure is held against.
    pub threshold: f32,
    /// Judged figure / threshold; 1 is the boundary.
    pub score_ratio: f32,
    /// The rule fired on this row, whether or not an alert was open already: what a budget counts.
    pub raised: bool,
    /// An alert is open after this row.
    pub anomalous: bool,
    /// Squared reconstruction error per cell of the window, in scaled units (for metrics); 0 before the fit.
    pub model_loss: f32,
    /// Units of the code that were active (for metrics); 0 before the fit.
    pub active_units: u32,
    /// Transitions caused by the row, nearly always none (an empty `Vec` allocates nothing).
    pub alerts: Vec<Alert>,
    /// Transitions held back: by a silence, the refractory rows, a minimum deviation.
    pub suppressed: Option<Suppressed>,
}

/// Why a transition that the threshold alone would have caused was held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suppressed {
    /// A silence is on.
    Silence,
    /// Too few rows since the last one over the threshold.
    Refractory,
    /// No channel deviates far enough, or the wrong way.
    MinimumDeviation,
    /// Fewer than k of the last n rows are over the threshold.
    KOfN,
}

impl Outcome {
    /// Of a row that came before there was a detector.
    #[must_use]
    pub fn on_probation(at: EventTime, offset: i64) -> Self {
        Self::nothing(&Row { at, offset, values: &[] }, State::Warming)
    }

    /// An outcome that tells of nothing.
    pub(super) fn nothing(row: &Row<'_>, state: State) -> Self {
        Self {
            at: row.at,
            offset: row.offset,
            state,
            score: 0.0,
            row_score: 0.0,
            rarity: 0.0,
            threshold: 0.0,
            score_ratio: 0.0,
            raised: false,
            anomalous: false,
            model_loss: 0.0,
            active_units: 0,
            alerts: Vec::new(),
            suppressed: None,
        }
    }
}
