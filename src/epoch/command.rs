//! The vocabulary between the protocol and the world.

use super::failure::Failure;
use super::value::{Commit, Committed, Found};
use crate::lane::Part;
use crate::lane::record::PartitionId;
use crate::lane::terms::Terms;
use crate::wire::state_record::OffsetMetadata;
use std::sync::Arc;
use std::time::Duration;

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// The group gave partitions.
    Assigned(Vec<PartitionId>),
    /// The group wants partitions back, and waits for [`Command::AckRevoke`].
    Revoked(Vec<PartitionId>),
    /// Partitions are somebody else's already. To be told before the group can make us a member of its next generation.
    Lost(Vec<PartitionId>),
    /// The work of these lanes broke off: what they hold is worth nothing.
    Broken(Vec<PartitionId>),
    /// A lane has its state.
    Recovered {
        /// Whose.
        lane: PartitionId,
        /// Of [`Command::Restore`].
        recovery: u64,
    },
    /// A recovery has to begin again.
    RecoveryFailed {
        /// Whose.
        lane: PartitionId,
        /// Of [`Command::Restore`].
        recovery: u64,
    },
    /// New terms.
    Terms(Arc<Terms>),
    /// The state topic holds nothing any more of what was committed to it.
    StateLost,
    /// Drain, commit, leave.
    Stop,
    /// The consumer is of no more use.
    ConsumerFailed(Failure),
    /// Answers [`Command::Cut`].
    Cut {
        /// Those with news.
        parts: Vec<Part>,
        /// Nothing waited before the lanes when they were cut.
        is_drained: bool,
    },
    /// Answers [`Command::Commit`]: true if every call was Ok before a retry of it could have been sent.
    Committed(Result<bool, Failure>),
    /// Answers [`Command::Look`].
    Found(Result<Found, Failure>),
    /// Answers [`Command::WriteBarriers`]: where the lanes start, and whether the commit was prompt.
    Starts(Result<(Vec<Start>, bool), Failure>),
}

/// Where a lane starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whose.
    pub lane: PartitionId,
    /// What its group has committed.
    pub committed: Option<Committed>,
    /// Its first record that the world has not seen.
    pub live_from: i64,
    /// The first record that is still in the log.
    pub log_start: i64,
    /// [`OffsetMetadata::began`].
    pub began: Option<i64>,
}

impl Start {
    /// Where the lane begins, if nothing was committed yet. It is committed with the barrier, so that the next start goes on there,
    /// and not where `input.start` would be then. Nothing else stands beside it, for nothing is vouched for: snapshots may be older
    /// than what the group remembers.
    #[must_use]
    pub fn beginning(&self) -> Option<Commit> {
        let committed = Committed { offset: self.live_from, metadata: OffsetMetadata::beginning(self.began) };
        self.committed.is_none().then(|| Commit { lane: self.lane.clone(), committed })
    }

    /// The same once its beginning is committed.
    #[must_use]
    pub fn begun(self) -> Self {
        let beginning = self.beginning().map(|commit| commit.committed);
        Self { committed: self.committed.or(beginning), ..self }
    }
}

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Cut these lanes at the same time. Answered by [`Event::Cut`].
    Cut {
        /// They go on.
        staying: Vec<PartitionId>,
        /// They are given up afterwards: with a snapshot of everything dirty.
        leaving: Vec<PartitionId>,
        /// A snapshot of everything dirty for all of them.
        all: bool,
        /// In force from their next record on.
        terms: Arc<Terms>,
    },
    /// Note our place in the group (member, generation): the next commit, of an epoch or of barriers, goes under it.
    NotePlace,
    /// Commit the epoch: everything in one transaction. Answered by [`Event::Committed`].
    Commit,
    /// Find out what is committed, by a producer newer than the one that committed. Answered by [`Event::Found`].
    Look {
        /// Of these lanes.
        lanes: Vec<PartitionId>,
    },
    /// Find out what is committed, then commit a barrier to the state partition of each lane, and with it where those begin of
    /// which nothing was committed yet ([`Start::beginning`]), under our place in the group. Answered by [`Event::Starts`].
    WriteBarriers {
        /// Of these lanes.
        lanes: Vec<PartitionId>,
        /// Tells these barriers from all others.
        nonce: u64,
    },
    /// Give a lane its state: snapshots up to the barrier, then the input, silently. Ends in [`Event::Recovered`] or
    /// [`Event::RecoveryFailed`], unless the lane is dropped.
    Restore {
        /// From where to where.
        start: Start,
        /// The barriers' nonce, and the number of this recovery.
        recovery: u64,
        /// In force from the first record on that the world has not seen; what is read again is under the terms that were committed.
        terms: Arc<Terms>,
    },
    /// Read a lane's records from this offset on.
    GoLive {
        /// Whose.
        lane: PartitionId,
        /// The first record that the world has not seen.
        offset: i64,
    },
    /// Read no more of these lanes until they are live again: somebody else has committed them, or their work broke off.
    Park {
        /// Whose.
        lanes: Vec<PartitionId>,
    },
    /// All that these lanes hold is in no snapshot any more: the cuts that follow write it again.
    Rewrite {
        /// Whose.
        lanes: Vec<PartitionId>,
    },
    /// Forget what these lanes hold, and end their recoveries.
    Drop {
        /// Whose.
        lanes: Vec<PartitionId>,
    },
    /// Give these partitions back to the group.
    AckRevoke {
        /// Whose.
        lanes: Vec<PartitionId>,
    },
    /// Read no more; polling goes on.
    PauseAll,
    /// This producer must not be used again.
    EndProducer,
    /// These parts are durable: what they counted is true.
    Count {
        /// From their cut on.
        took: Duration,
        /// What was committed.
        parts: Vec<Part>,
    },
    /// Nothing stands in the way any more.
    TroubleIsOver,
    /// It is over.
    End(End),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was told.
    Stopped,
    /// As it was told, but the last epoch was not committed in time: its records are read again.
    StoppedInDoubt,
    /// Another instance runs under our name, or our own session was taken for one.
    Rival(String),
    /// The world has changed: everything has to be looked at again.
    Again(&'static str),
    /// No waiting helps.
    Fatal(String),
}

impl End {
    /// Of a client that cannot be used any more.
    #[must_use]
    pub fn of(failure: Failure) -> Self {
        match failure {
            Failure::Fenced(text) => Self::Rival(text),
            Failure::Fatal(text)
            | Failure::Refused(text)
            | Failure::Retriable(text)
            | Failure::Missing(text)
            | Failure::Unknown(text) => Self::Fatal(text),
        }
    }
}
