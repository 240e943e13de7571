//! What there is to count of some records: plain sums, published per batch, so that the core neither logs nor counts.

use crate::detector::alert::{Alert, Severity, Transition};
use crate::detector::{Outcome, Suppressed};
use crate::lane::intake::Counts;
use crate::wire::rejection::Rejection;

/// Counts since the last taking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Records handled.
    pub consumed: u64,
    /// Records refused, in the order of [`Rejection::ALL`].
    pub rejected: [u64; Rejection::ALL.len()],
    /// Rows judged.
    pub rows: u64,
    /// Records whose row was complete, or would have been.
    pub late: u64,
    /// Rows among those judged that fill a step of a grid in which nothing came.
    pub filled: u64,
    /// Rows that could not wait for as long as they should, for too many did.
    pub early: u64,
    /// Rows with a score of the joint model or of the settled level streams.
    pub scored: u64,
    /// Alerts opened, in the order info, warning, critical.
    pub opened: [u64; 3],
    /// Alerts closed.
    pub closed: [u64; 3],
    /// Transitions held back, in the order of [`SUPPRESSED`].
    pub suppressed: [u64; SUPPRESSED.len()],
    /// Score ratio and window error of the rows scored.
    pub samples: Vec<(f32, f32)>,
    /// Sum of the squared reconstruction error per cell over the rows the model scored.
    pub model_loss: f64,
    /// Sum of active units over the same rows.
    pub active_units: u64,
    /// How many rows the two sums are over.
    pub model_rows: u64,
    /// Measurements of channels that a fitted model does not know.
    pub unknown_channels: u64,
    /// Entities with a detector that left memory.
    pub evictions: u64,
    /// Entities on probation that left memory.
    pub probation_evictions: u64,
    /// Entities that came back to it.
    pub returns: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Their bytes.
    pub snapshot_bytes: u64,
    /// Snapshots larger than the state topic takes: not written, and tried again.
    pub oversized: u64,
    /// Bytes of the largest of them.
    pub largest_oversized: usize,
    /// Rows of silent replay.
    pub replayed: u64,
}

/// Reasons in the order of [`Tally::suppressed`], with their metric labels.
pub const SUPPRESSED: [(Suppressed, &str); 4] = [
    (Suppressed::Silence, "silence"),
    (Suppressed::Refractory, "refractory"),
    (Suppressed::MinimumDeviation, "minimum_deviation"),
    (Suppressed::KOfN, "k_of_n"),
];

/// Index of a severity in the tally.
#[must_use]
pub const fn severity_index(severity: Severity) -> usize {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

impl Tally {
    /// Counts what a row came to, but for its alerts.
    pub fn add(&mut self, outcome: &Outcome) {
        self.rows += 1;
        if outcome.score > 0.0 {
            self.scored += 1;
            self.samples.push((outcome.score_ratio, outcome.row_score));
        }
        if outcome.row_score > 0.0 {
            self.model_rows += 1;
            self.model_loss += f64::from(outcome.model_loss);
            self.active_units += u64::from(outcome.active_units);
        }
        if let Some(reason) = outcome.suppressed
            && let Some(index) = SUPPRESSED.iter().position(|(suppressed, _)| *suppressed == reason)
        {
            self.suppressed[index] += 1;
        }
    }

    /// Counts a transition.
    pub fn tell(&mut self, alert: &Alert) {
        let severity = severity_index(alert.severity);
        match alert.transition {
            Transition::Opened => self.opened[severity] += 1,
            Transition::Closed => self.closed[severity] += 1,
            Transition::Updated => {}
        }
    }

    /// Counts the rows that a record completed.
    pub fn count(&mut self, counts: &Counts) {
        self.filled += counts.filled;
        self.early += counts.early;
        self.unknown_channels += counts.unknown;
    }

    /// Counts a refused record.
    pub fn reject(&mut self, rejection: Rejection) {
        if let Some(index) = Rejection::ALL.iter().position(|other| *other == rejection) {
            self.rejected[index] += 1;
        }
    }
}
