//! The exactly-once protocol: events in, commands out. It holds no client, no thread and no clock; the shell carries its commands
//! out, and a simulation does the same in memory.
//!
//! An epoch is a value: what the lanes made since the last one, and their offsets. It is kept until its commit is known. After any
//! doubt a new producer looks at what was committed (KIP-447's fencing makes that final), and the same value is forgotten, sent
//! again, or dropped lane by lane. Before a lane is given its state, a barrier is committed behind everything that can still be
//! committed to its state partition, and with it where the lane begins if nothing was committed of it yet.

mod command;
mod doubt;
mod failure;
mod lanes;
mod loss;
mod phase;
#[cfg(test)]
mod tests;
mod value;

pub use command::{Command, End, Event, Start};
pub use failure::Failure;
pub use value::{Commit, Committed, Epoch, Found};

use crate::lane::Part;
use crate::lane::record::PartitionId;
use crate::lane::terms::Terms;
use crate::planted::is_planted;
use doubt::Verdict;
use lanes::Lanes;
use phase::Phase;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Two fencings within this time, with no outage between them, are a rival's.
const RIVAL: Duration = Duration::from_secs(60);
/// Time that draining may take when we stop, and then that the last epoch may be in doubt.
const DRAIN: Duration = Duration::from_secs(15);
/// Between two cuts while we drain.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);
/// Waits before a look at an epoch in doubt: the first, and the longest.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Before a recovery that could not begin, or failed, is tried again.
const RECOVERY_BACK_OFF: Duration = Duration::from_millis(500);

/// What the protocol has to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Length of an epoch.
    pub commit_interval: Duration,
    /// Partitions of the widest input topic when we started: a partition beyond it has no place for its state yet.
    pub n_partitions: i32,
}

/// How far the end is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// What came in is scored and committed, until then at most.
    Draining {
        until: Duration,
    },
    /// The next cut is the last: everything dirty gets a snapshot.
    Drained,
    /// The last cut was made.
    Last,
}

/// Everything between the group, the lanes and the producer.
pub struct Protocol {
    settings: Settings,
    terms: Arc<Terms>,
    lanes: Lanes,
    phase: Phase,
    orders: VecDeque<Command>,
    last_number: u64,
    /// The earliest that was heard of.
    began: Option<i64>,
    next_cut: Duration,
    recover_at: Duration,
    back_off: Duration,
    revoked: Vec<PartitionId>,
    leaving: Vec<PartitionId>,
    fenced: Vec<Duration>,
    stopping: Stopping,
    /// The state topic has lost what the epoch in doubt takes for written.
    state_is_lost: bool,
}

impl Protocol {
    /// Nothing assigned yet. Epochs and barriers are numbered from `first_number` on, which must never come again: an epoch is told
    /// from another instance's by its number.
    #[must_use]
    pub fn new(settings: Settings, terms: Arc<Terms>, first_number: u64) -> Self {
        Self {
            terms,
            lanes: Lanes::default(),
            phase: Phase::Idle,
            orders: VecDeque::new(),
            last_number: first_number,
            began: None,
            next_cut: settings.commit_interval,
            recover_at: Duration::ZERO,
            back_off: BACK_OFF[0],
            revoked: Vec::new(),
            leaving: Vec::new(),
            fenced: Vec::new(),
            stopping: Stopping::No,
            state_is_lost: false,
            settings,
        }
    }

    /// The epoch that a [`Command::Commit`] commits.
    #[must_use]
    pub fn epoch(&self) -> Option<&Epoch> {
        self.phase.epoch()
    }

    /// Partitions that are ours, and those of them that are live.
    #[must_use]
    pub fn n_lanes(&self) -> (usize, usize) {
        self.lanes.count()
    }

    /// When there is something to do though nothing happens.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        match &self.phase {
            Phase::InDoubt { until, .. } => *until,
            Phase::Idle if self.lanes.any_waiting() => self.next_cut.min(self.recover_at),
            Phase::Idle
            | Phase::Cutting
            | Phase::Noting(_)
            | Phase::Noted(_)
            | Phase::Committing(_)
            | Phase::Looking(_)
            | Phase::PlaceNoted
            | Phase::WritingBarriers
            | Phase::Ended => self.next_cut,
        }
    }

    /// Takes what has happened. `now` is the time since the start, here and everywhere.
    pub fn on(&mut self, event: Event, now: Duration) {
        match event {
            Event::Assigned(lanes) => {
                if lanes.iter().any(|lane| lane.partition >= self.settings.n_partitions) {
                    return self.end(End::Again("the input has more partitions than it had"));
                }
                self.lanes.assign(lanes);
                self.recover_at = now;
            }
            Event::Revoked(lanes) => {
                self.revoked.extend(lanes);
                self.next_cut = now;
            }
            Event::Lost(lanes) => self.lose(&lanes),
            Event::Broken(lanes) => self.begin_again(lanes, now),
            Event::Recovered { lane, recovery } => {
                if let Some(offset) = self.lanes.go_live(&lane, recovery) {
                    self.orders.push_back(Command::GoLive { lane, offset });
                }
            }
            Event::RecoveryFailed { lane, recovery } => {
                if self.lanes.is_recovering(&lane, recovery) {
                    self.begin_again(vec![lane], now + RECOVERY_BACK_OFF);
                }
            }
            Event::Terms(terms) => self.terms = terms,
            Event::StateLost => self.lose_state(now),
            Event::Stop => {
                if self.stopping == Stopping::No {
                    self.stopping = Stopping::Draining { until: now + DRAIN };
                    self.next_cut = now;
                    self.orders.push_back(Command::PauseAll);
                }
            }
            Event::ConsumerFailed(failure) => self.end(End::of(failure)),
            Event::Cut { parts, is_drained } => self.take_cut(parts, is_drained, now),
            Event::Committed(result) => self.take_commit(result, now),
            Event::Found(result) => self.take_found(result, now),
            Event::Starts(result) => self.take_starts(result, now),
        }
    }

    /// What to do now; `None`: wait for an event, until [`Self::wake_at`] at most. Everything that has happened has to be told
    /// before each call: between noting our place in the group and the commit a loss must be heard.
    pub fn next(&mut self, now: Duration) -> Option<Command> {
        if let Some(order) = self.orders.pop_front() {
            return Some(order);
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => self.begin(now),
            Phase::PlaceNoted if self.lanes.any_waiting() => {
                self.phase = Phase::WritingBarriers;
                let nonce = self.number();
                Some(Command::WriteBarriers { lanes: self.lanes.waiting(), nonce })
            }
            // They were lost meanwhile.
            Phase::PlaceNoted => self.next(now),
            Phase::Noting(epoch) => {
                self.phase = Phase::Noted(epoch);
                Some(Command::NotePlace)
            }
            Phase::Noted(epoch) if epoch.parts.is_empty() => {
                self.decided();
                self.next(now)
            }
            Phase::Noted(epoch) => {
                self.phase = Phase::Committing(epoch);
                Some(Command::Commit)
            }
            Phase::InDoubt { epoch, .. } if epoch.parts.is_empty() => {
                self.orders.push_back(Command::TroubleIsOver);
                self.decided();
                self.next(now)
            }
            Phase::InDoubt { epoch, until } if now >= until => {
                // What is not committed is read again.
                if self.stopping != Stopping::No && now > epoch.cut_at + DRAIN {
                    self.end(End::StoppedInDoubt);
                    return self.next(now);
                }
                let lanes = epoch.lanes();
                self.phase = Phase::Looking(epoch);
                Some(Command::Look { lanes })
            }
            waiting @ (Phase::InDoubt { .. }
            | Phase::Cutting
            | Phase::Committing(_)
            | Phase::Looking(_)
            | Phase::WritingBarriers
            | Phase::Ended) => {
                self.phase = waiting;
                None
            }
        }
    }

    /// Nothing is under way: a recovery or an epoch may begin.
    fn begin(&mut self, now: Duration) -> Option<Command> {
        if self.stopping == Stopping::No && now >= self.recover_at && self.lanes.any_waiting() {
            self.phase = Phase::PlaceNoted;
            return Some(Command::NotePlace);
        }
        if now < self.next_cut {
            return None;
        }
        self.phase = Phase::Cutting;
        self.leaving = std::mem::take(&mut self.revoked);
        let (leaving, staying) = self.lanes.live().into_iter().partition(|lane| self.leaving.contains(lane));
        let all = self.stopping == Stopping::Drained;
        if all {
            self.stopping = Stopping::Last;
        }
        Some(Command::Cut { staying, leaving, all, terms: Arc::clone(&self.terms) })
    }

    fn take_cut(&mut self, mut parts: Vec<Part>, is_drained: bool, now: Duration) {
        if !matches!(self.phase, Phase::Cutting) {
            return;
        }
        self.next_cut = match self.stopping {
            Stopping::No if self.revoked.is_empty() => now + self.settings.commit_interval,
            Stopping::Draining { until } if is_drained || now >= until => {
                self.stopping = Stopping::Drained;
                now
            }
            Stopping::Draining { .. } => now + DRAIN_INTERVAL,
            Stopping::No | Stopping::Drained | Stopping::Last => now,
        };
        parts.retain(|part| self.lanes.is_live(&part.lane));
        if parts.is_empty() {
            return self.decided();
        }
        self.back_off = BACK_OFF[0];
        self.phase = Phase::Noting(Epoch { number: self.number(), parts, cut_at: now, began: self.began });
    }

    fn take_commit(&mut self, result: Result<bool, Failure>, now: Duration) {
        let Some(epoch) = self.phase.take_epoch(|phase| matches!(phase, Phase::Committing(_))) else { return };
        match result {
            Ok(prompt) => {
                if !prompt && !is_planted("no_strike_when_slow") {
                    self.strike();
                }
                self.durable(epoch, now);
            }
            Err(failure) => self.doubt(epoch, &failure, now),
        }
    }

    fn take_found(&mut self, result: Result<Found, Failure>, now: Duration) {
        let Some(mut epoch) = self.phase.take_epoch(|phase| matches!(phase, Phase::Looking(_))) else { return };
        match result.map(|found| doubt::judge(&epoch, &self.lanes, &found)) {
            Ok(Verdict::Committed) => self.durable(epoch, now),
            Ok(Verdict::NotCommitted { foreign }) => {
                epoch.drop_lanes(&foreign);
                if std::mem::take(&mut self.state_is_lost) {
                    epoch.vouch_for_nothing();
                }
                self.phase = Phase::Noting(epoch);
                self.begin_again(foreign, now);
            }
            Err(failure) => self.doubt(epoch, &failure, now),
        }
    }

    fn take_starts(&mut self, result: Result<(Vec<Start>, bool), Failure>, now: Duration) {
        if !matches!(self.phase, Phase::WritingBarriers) {
            return;
        }
        self.phase = Phase::Idle;
        match result {
            Ok((starts, prompt)) => {
                if !prompt && !is_planted("no_strike_when_slow") {
                    self.strike();
                }
                self.orders.push_back(Command::TroubleIsOver);
                let recovery = self.last_number;
                self.began = starts.iter().filter_map(|start| start.began).chain(self.began).min();
                // Some may have been lost meanwhile.
                for start in starts.into_iter().filter(|start| self.lanes.recover(start, recovery)) {
                    let terms = Arc::clone(&self.terms);
                    self.orders.push_back(Command::Restore { start, recovery, terms });
                }
            }
            Err(failure) => {
                self.strike();
                self.recover_at = now + RECOVERY_BACK_OFF;
                self.judge(&failure, now);
            }
        }
    }

    /// The epoch's commit is known.
    fn durable(&mut self, epoch: Epoch, now: Duration) {
        for commit in epoch.commits() {
            self.lanes.remember(commit);
        }
        self.orders.push_back(Command::Count { took: now.saturating_sub(epoch.cut_at), parts: epoch.parts });
        self.decided();
    }

    /// Nothing of an epoch is open any more: who had to leave may leave.
    fn decided(&mut self) {
        self.phase = Phase::Idle;
        self.state_is_lost = false;
        let leaving = std::mem::take(&mut self.leaving);
        if !leaving.is_empty() {
            self.drop_lanes(&leaving);
            self.orders.push_back(Command::AckRevoke { lanes: leaving });
        }
        if self.stopping == Stopping::Last {
            let all = self.lanes.all();
            self.drop_lanes(&all);
            self.end(End::Stopped);
        }
    }

    fn doubt(&mut self, epoch: Epoch, failure: &Failure, now: Duration) {
        self.strike();
        self.phase = Phase::InDoubt { epoch, until: now + self.back_off };
        self.back_off = (2 * self.back_off).min(BACK_OFF[1]);
        self.judge(failure, now);
    }

    fn judge(&mut self, failure: &Failure, now: Duration) {
        match failure {
            Failure::Fatal(text) => self.end(End::Fatal(text.clone())),
            // The same value would be refused again and again; under the new limits it is made anew, to fit.
            Failure::Refused(_) => self.end(End::Again("a topic refused a record: all limits are looked at again")),
            // It may be a time-out of our own transaction; two in a minute are a rival.
            Failure::Fenced(text) => {
                self.fenced.retain(|at| now.saturating_sub(*at) < RIVAL);
                self.fenced.push(now);
                if self.fenced.len() >= 2 {
                    self.end(End::Rival(text.clone()));
                }
            }
            // A broker that is away lets transactions time out, and that looks like a fencing too.
            Failure::Retriable(_) | Failure::Missing(_) | Failure::Unknown(_) => self.fenced.clear(),
        }
    }

    /// One strike: librdkafka lacks KIP-890's second part, so a request of this producer may still be on its way into its next
    /// transaction.
    fn strike(&mut self) {
        if !is_planted("no_strike") {
            self.orders.push_back(Command::EndProducer);
        }
    }

    fn drop_lanes(&mut self, lanes: &[PartitionId]) {
        self.lanes.remove(lanes);
        self.orders.push_back(Command::Drop { lanes: lanes.to_vec() });
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn end(&mut self, end: End) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.orders.push_back(Command::End(end));
        }
    }
}
