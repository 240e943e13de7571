//! What the committed offsets say of an epoch in doubt. By then a new producer has fenced the one that had it under way, and no
//! transaction with one of these offsets is pending: what is found is final.

use super::lanes::Lanes;
use super::value::{Epoch, Found};
use crate::lane::record::PartitionId;
use crate::planted::is_planted;

/// What became of an epoch.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was committed, whole.
    Committed,
    /// It was not. Somebody else has committed these partitions since our last commit: they are not ours to commit.
    NotCommitted { foreign: Vec<PartitionId> },
}

pub fn judge(epoch: &Epoch, lanes: &Lanes, found: &Found) -> Verdict {
    if found.values().flatten().any(|committed| committed.is_of_epoch(epoch.number)) {
        return Verdict::Committed;
    }
    let is_foreign = |lane: &PartitionId| lanes.last_commit(lane) != found.get(lane).map(Option::as_ref);
    let foreign = epoch.lanes().into_iter().filter(is_foreign);
    Verdict::NotCommitted { foreign: foreign.filter(|_| !is_planted("commit_lost_lane")).collect() }
}
