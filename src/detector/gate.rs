//! How much may the model learn from this row? Less the stranger it is, until strangeness has lasted for so long that it
//! has to be the new normal.

use serde::{Deserialize, Serialize};

/// What shapes the gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Score above which learning is throttled.
    pub at: f32,
    /// Least weight of a strained row.
    pub least: f32,
    /// Strained rows after which the gate opens again.
    pub patience: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { at: 1.5, least: 0.02, patience: 500 }
    }
}

/// A leaky count of strained rows: two are forgotten with every clean one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    strain: u32,
}

impl Gate {
    /// Weight of a row with this score, in `least..=1`: `(score / at)^-2` when strained.
    pub fn weigh(&mut self, score: f32, settings: &Settings) -> f32 {
        let strain = score / settings.at;
        if strain <= 1.0 {
            self.strain = self.strain.saturating_sub(2);
            return 1.0;
        }
        self.strain = self.strain.saturating_add(1);
        if self.is_patient(settings) { (1.0 / (strain * strain)).max(settings.least) } else { 1.0 }
    }

    /// Has strangeness not yet lasted for longer than the patience?
    #[must_use]
    pub fn is_patient(&self, settings: &Settings) -> bool {
        self.strain <= settings.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strained_row_weighs_little_until_patience_ends() {
        let (mut gate, settings) = (Gate::default(), Settings { patience: 3, ..Settings::default() });
        let weights: Vec<f32> = (0..5).map(|_| gate.weigh(3.0, &settings)).collect();
        assert_eq!(weights, [0.25, 0.25, 0.25, 1.0, 1.0]);
        assert_eq!(gate.weigh(1.0, &settings), 1.0);
        assert!(gate.is_patient(&settings));
    }
}
