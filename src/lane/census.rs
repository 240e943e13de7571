//! Who is in memory, kept up to date entity by entity, and how far the lane is.

use super::entity::Standing;
use crate::detector::State;
use std::collections::BTreeMap;

/// Who is in memory, and how far the lane is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Entities on probation.
    pub on_probation: u64,
    /// Entities with a detector by its state.
    pub by_state: BTreeMap<State, u64>,
    /// Open alerts by severity, in the tally's order.
    pub open: [u64; 3],
    /// Entities whose model is still to be fitted.
    pub unfitted: u64,
    /// Bytes of all these entities.
    pub bytes: u64,
    /// Entities that left memory and are not back.
    pub out_of_memory: u64,
    /// What is handled next.
    pub next_offset: i64,
    /// Timestamp of the newest record handled, milliseconds since the Unix epoch.
    pub newest_ms: Option<i64>,
}

impl Census {
    /// Counts one entity more.
    pub(super) fn add(&mut self, standing: Standing) {
        match standing.state {
            None => self.on_probation += 1,
            Some(state) => *self.by_state.entry(state).or_default() += 1,
        }
        self.open.iter_mut().zip(standing.open).for_each(|(n, open)| *n += u64::from(open));
        self.unfitted += u64::from(!standing.is_fitted);
    }

    /// Counts one that stood so no more.
    pub(super) fn remove(&mut self, standing: Standing) {
        match standing.state {
            None => self.on_probation -= 1,
            Some(state) => *self.by_state.entry(state).or_default() -= 1,
        }
        self.open.iter_mut().zip(standing.open).for_each(|(n, open)| *n -= u64::from(open));
        self.unfitted -= u64::from(!standing.is_fitted);
    }
}
