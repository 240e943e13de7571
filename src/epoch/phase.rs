//! Where the epoch in hand is.

use super::value::Epoch;
use std::time::Duration;

/// What happens next.
pub(super) enum Phase {
    /// Nothing is under way.
    Idle,
    /// The lanes are being cut.
    Cutting,
    /// Cut; our place in the group is noted before anything else happens.
    Noting(Epoch),
    /// Our place is noted, and what was lost before that is told.
    Noted(Epoch),
    /// The transaction is under way.
    Committing(Epoch),
    /// Whether it was committed is not known; the next look is at `until`.
    InDoubt { epoch: Epoch, until: Duration },
    /// A new producer looks at what was committed.
    Looking(Epoch),
    /// Lanes wait for their barriers: our place in the group is noted, and what was lost before that is told.
    PlaceNoted,
    /// Barriers are being committed for lanes that wait.
    WritingBarriers,
    /// The end was told.
    Ended,
}

impl Phase {
    /// The epoch in hand, if there is one.
    pub(super) const fn epoch(&self) -> Option<&Epoch> {
        match self {
            Self::Noting(epoch)
            | Self::Noted(epoch)
            | Self::Committing(epoch)
            | Self::InDoubt { epoch, .. }
            | Self::Looking(epoch) => Some(epoch),
            Self::Idle | Self::Cutting | Self::PlaceNoted | Self::WritingBarriers | Self::Ended => None,
        }
    }

    /// The same, to be changed.
    pub(super) const fn epoch_mut(&mut self) -> Option<&mut Epoch> {
        match self {
            Self::Noting(epoch)
            | Self::Noted(epoch)
            | Self::Committing(epoch)
            | Self::InDoubt { epoch, .. }
            | Self::Looking(epoch) => Some(epoch),
            Self::Idle | Self::Cutting | Self::PlaceNoted | Self::WritingBarriers | Self::Ended => None,
        }
    }

    /// Takes the epoch out, and nothing is in hand any more; if this is the phase that is expected.
    pub(super) fn take_epoch(&mut self, is_expected: impl Fn(&Self) -> bool) -> Option<Epoch> {
        if !is_expected(self) {
            return None;
        }
        match std::mem::replace(self, Self::Idle) {
            Self::Noting(epoch)
            | Self::Noted(epoch)
            | Self::Committing(epoch)
            | Self::InDoubt { epoch, .. }
            | Self::Looking(epoch) => Some(epoch),
            Self::Idle | Self::Cutting | Self::PlaceNoted | Self::WritingBarriers | Self::Ended => None,
        }
    }
}
