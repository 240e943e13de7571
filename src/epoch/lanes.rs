//! The partitions that are ours, and how far each of them is.

use super::command::Start;
use super::value::{Commit, Committed};
use crate::lane::record::PartitionId;
use std::collections::BTreeMap;

/// How far a lane is.
#[derive(Debug)]
enum State {
    /// It waits for its barrier.
    Waiting,
    /// It is being restored up to `live_from`. The number tells this recovery from an older one of the same lane.
    Recovering { recovery: u64, live_from: i64, last: Option<Committed> },
    /// Its records are handled. `last`: what it last committed, to tell after a doubt whose commit was found.
    Live { last: Option<Committed> },
}

/// The lanes by partition.
#[derive(Debug, Default)]
pub struct Lanes(BTreeMap<PartitionId, State>);

impl Lanes {
    pub fn assign(&mut self, lanes: Vec<PartitionId>) {
        self.0.extend(lanes.into_iter().map(|lane| (lane, State::Waiting)));
    }

    pub fn remove(&mut self, lanes: &[PartitionId]) {
        lanes.iter().for_each(|lane| drop(self.0.remove(lane)));
    }

    /// False: the lane does not wait for it any more.
    pub fn recover(&mut self, start: &Start, recovery: u64) -> bool {
        let Some(state @ State::Waiting) = self.0.get_mut(&start.lane) else { return false };
        *state = State::Recovering { recovery, live_from: start.live_from, last: start.committed.clone() };
        true
    }

    pub fn is_recovering(&self, lane: &PartitionId, number: u64) -> bool {
        matches!(self.0.get(lane), Some(State::Recovering { recovery, .. }) if *recovery == number)
    }

    /// The offset from which it is live; `None`: this is not its recovery any more.
    pub fn go_live(&mut self, lane: &PartitionId, number: u64) -> Option<i64> {
        let state = self.0.get_mut(lane)?;
        let State::Recovering { recovery, live_from, last } = state else { return None };
        if *recovery != number {
            return None;
        }
        let (live_from, last) = (*live_from, last.take());
        *state = State::Live { last };
        Some(live_from)
    }

    pub fn remember(&mut self, commit: Commit) {
        if let Some(State::Live { last }) = self.0.get_mut(&commit.lane) {
            *last = Some(commit.committed);
        }
    }

    /// What a live lane last committed; `None`: it is not live here.
    pub fn last_commit(&self, lane: &PartitionId) -> Option<Option<&Committed>> {
        match self.0.get(lane)? {
            State::Live { last } => Some(last.as_ref()),
            State::Waiting | State::Recovering { .. } => None,
        }
    }

    pub fn is_ours(&self, lane: &PartitionId) -> bool {
        self.0.contains_key(lane)
    }

    pub fn is_live(&self, lane: &PartitionId) -> bool {
        matches!(self.0.get(lane), Some(State::Live { .. }))
    }

    pub fn any_waiting(&self) -> bool {
        self.0.values().any(|state| matches!(state, State::Waiting))
    }

    pub fn waiting(&self) -> Vec<PartitionId> {
        self.select(|state| matches!(state, State::Waiting))
    }

    pub fn recovering(&self) -> Vec<PartitionId> {
        self.select(|state| matches!(state, State::Recovering { .. }))
    }

    pub fn live(&self) -> Vec<PartitionId> {
        self.select(|state| matches!(state, State::Live { .. }))
    }

    pub fn all(&self) -> Vec<PartitionId> {
        self.select(|_| true)
    }

    fn select(&self, which: impl Fn(&State) -> bool) -> Vec<PartitionId> {
        self.0.iter().filter(|(_, state)| which(state)).map(|(lane, _)| lane.clone()).collect()
    }

    /// All of them, and the live ones.
    pub fn count(&self) -> (usize, usize) {
        (self.0.len(), self.0.values().filter(|state| matches!(state, State::Live { .. })).count())
    }
}
