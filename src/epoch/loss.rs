//! What the protocol does when something is taken from it: lanes, or the state topic.

use super::phase::Phase;
use super::{Command, Protocol, Stopping};
use crate::lane::record::PartitionId;
use crate::planted::is_planted;
use std::time::Duration;

impl Protocol {
    /// Lanes that are somebody else's already.
    pub(super) fn lose(&mut self, lanes: &[PartitionId]) {
        self.drop_lanes(lanes);
        self.revoked.retain(|lane| !lanes.contains(lane));
        self.leaving.retain(|lane| !lanes.contains(lane));
        // Nor is it given back any more: it may come again, and would be given back then.
        for order in &mut self.orders {
            if let Command::AckRevoke { lanes: acknowledged } = order {
                acknowledged.retain(|lane| !lanes.contains(lane));
            }
        }
        // A transaction that is under way is fenced by our place in the group, which is older than the loss.
        if !is_planted("commit_lost_lane")
            && let Some(epoch) = self.phase.epoch_mut()
        {
            epoch.drop_lanes(lanes);
        }
    }

    /// Snapshots that were committed are gone. A live lane has all of them in memory; one that is restored from them begins again,
    /// with what is left. An epoch that may have been committed as it is stays so until that is known.
    pub(super) fn lose_state(&mut self, now: Duration) {
        self.begin_again(self.lanes.recovering(), now);
        let lanes = self.lanes.live();
        if !lanes.is_empty() {
            self.orders.push_back(Command::Rewrite { lanes });
        }
        // The last cut was made too early.
        if self.stopping == Stopping::Last {
            self.stopping = Stopping::Drained;
        }
        match &mut self.phase {
            Phase::Noting(epoch) | Phase::Noted(epoch) => epoch.vouch_for_nothing(),
            Phase::Committing(_) | Phase::InDoubt { .. } | Phase::Looking(_) => self.state_is_lost = true,
            Phase::Idle | Phase::Cutting | Phase::PlaceNoted | Phase::WritingBarriers | Phase::Ended => {}
        }
    }

    /// Drops what these lanes hold; they stay ours, and are restored from what was committed.
    pub(super) fn begin_again(&mut self, lanes: Vec<PartitionId>, at: Duration) {
        let ours: Vec<PartitionId> = lanes.into_iter().filter(|lane| self.lanes.is_ours(lane)).collect();
        if ours.is_empty() {
            return;
        }
        self.drop_lanes(&ours);
        self.orders.push_back(Command::Park { lanes: ours.clone() });
        self.lanes.assign(ours);
        self.recover_at = at;
    }
}
