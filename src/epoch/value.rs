//! An epoch as a value, and the offsets that go with it.

use crate::lane::Part;
use crate::lane::record::PartitionId;
use crate::wire::state_record::OffsetMetadata;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the lanes made between two cuts.
#[derive(Debug)]
pub struct Epoch {
    /// No other epoch has it.
    pub number: u64,
    /// The lanes' parts; those of lanes that were lost are cut out.
    pub parts: Vec<Part>,
    /// When it was cut.
    pub cut_at: Duration,
    /// [`OffsetMetadata::began`].
    pub began: Option<i64>,
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Whose.
    pub lane: PartitionId,
    /// Next offset to read, and what stands beside it.
    pub committed: Committed,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Next offset to read.
    pub offset: i64,
    /// What was committed beside it.
    pub metadata: String,
}

/// What the group has committed, lane by lane; `None`: nothing.
pub type Found = BTreeMap<PartitionId, Option<Committed>>;

impl Epoch {
    /// The offsets that belong to it, with its number beside them.
    pub fn commits(&self) -> impl Iterator<Item = Commit> {
        self.parts.iter().map(|part| {
            let metadata = OffsetMetadata {
                epoch: self.number,
                replay_offset: part.replay_offset,
                accumulator: part.accumulator,
                terms: Some(part.terms),
                began: self.began,
            };
            let committed = Committed { offset: part.next_offset, metadata: metadata.encode() };
            Commit { lane: part.lane.clone(), committed }
        })
    }

    /// No snapshot that was committed before is there any more: all has to be read again, until it was written again.
    pub(super) fn vouch_for_nothing(&mut self) {
        self.parts.iter_mut().for_each(|part| part.replay_offset = 0);
    }

    pub(super) fn lanes(&self) -> Vec<PartitionId> {
        self.parts.iter().map(|part| part.lane.clone()).collect()
    }

    pub(super) fn drop_lanes(&mut self, lanes: &[PartitionId]) {
        self.parts.retain(|part| !lanes.contains(&part.lane));
    }
}

impl Committed {
    pub(super) fn is_of_epoch(&self, number: u64) -> bool {
        OffsetMetadata::decode(&self.metadata).is_some_and(|metadata| metadata.epoch == number)
    }
}
