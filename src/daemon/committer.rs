//! The thread of the epochs. It alone has the producer: it cuts the lanes, commits what they made as one epoch, and follows the
//! group's rebalances between two epochs.

use super::recovery::{self, Job};
use super::status::Status;
use super::worker::Work;
use super::{Workers, lane_settings};
use crate::config::{Config, Delivery};
use crate::kafka::client::{CountError, Rebalance};
use crate::kafka::consumer::{Backlog, Consumer, GroupMetadata, Order, unix_millis};
use crate::kafka::failure::Failure;
use crate::kafka::producer::{Commit, Producer, Topics};
use crate::kafka::restorer::{Committed, Restorer};
use crate::lane::effects::{Effects, Stream};
use crate::lane::record::PartitionId;
use crate::lane::rulebook::Rulebook;
use crate::lane::{self, Lane, Part};
use crate::planted::is_planted;
use crate::wire::state_record::{Barrier, Envelope, Key, Kind, OffsetMetadata};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

/// What the committer is told.
pub enum Event {
    /// The group gave or took partitions.
    Rebalance(Rebalance),
    /// A lane was restored; it goes live at this offset. The token tells this recovery from an older one of the same lane.
    Recovered(PartitionId, i64, Arc<AtomicBool>),
    /// A recovery failed and has to begin again.
    RecoveryFailed(PartitionId, String, Arc<AtomicBool>),
    /// Recoveries that could not begin are tried again.
    TryRecovery,
    /// The consumer is of no more use.
    ConsumerFailed(Failure),
    /// New rules.
    Rules(Arc<Rulebook>),
    /// Drain, commit, leave.
    Stop,
}

/// How the thread ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As it was told.
    Stopped,
    /// Another instance runs under our name, or our own session was taken for one.
    Rival(String),
    /// The world has changed: everything has to be looked at again.
    Again(&'static str),
    /// No waiting helps.
    Fatal(String),
}

/// Two fencings within this time, with no outage between them, are a rival's.
const RIVAL: Duration = Duration::from_secs(60);
/// Time that draining may take when we stop.
const DRAIN: Duration = Duration::from_secs(15);
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

enum LaneState {
    Recovering(Arc<AtomicBool>),
    Live,
}

/// The committer's state.
pub struct Committer {
    config: Arc<Config>,
    settings: Arc<lane::Settings>,
    rulebook: Arc<Rulebook>,
    topics: Topics,
    count_error: CountError,
    status: Arc<Status>,
    workers: Workers,
    consumer: Arc<Consumer>,
    orders: Sender<Order>,
    inbox: Receiver<Event>,
    back: Sender<Event>,
    producer: Option<Producer>,
    lanes: BTreeMap<PartitionId, LaneState>,
    /// What each lane last committed, to tell after a doubt whose epoch it was.
    committed: BTreeMap<PartitionId, Option<Committed>>,
    started: Instant,
    next_epoch: u64,
    fenced: Vec<Instant>,
    revoked: Vec<PartitionId>,
    stopping: bool,
    /// Events that came while an epoch was in doubt, in their order.
    later: VecDeque<Event>,
    /// The next epoch is the last: everything dirty gets a snapshot.
    last: bool,
    n_partitions: i32,
    new_rules: Option<Arc<Rulebook>>,
    consumer_failed: Option<Failure>,
}

/// What the committer works with.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// Limits found on the broker.
    pub found: crate::kafka::topics::Found,
    /// Counts client errors.
    pub count_error: CountError,
    /// What readiness and metrics tell.
    pub status: Arc<Status>,
    /// The worker threads.
    pub workers: Workers,
    /// The group's consumer.
    pub consumer: Arc<Consumer>,
    /// To the poller.
    pub orders: Sender<Order>,
    /// What we are told.
    pub inbox: Receiver<Event>,
    /// The other end of `inbox`, for recoveries.
    pub back: Sender<Event>,
}

impl Committer {
    /// Nothing assigned yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { config, found, count_error, status, workers, consumer, orders, inbox, back } = parts;
        let topics = Topics {
            alerts: config.output.alerts.clone(),
            scores: config.output.scores.clone(),
            dead_letters: config.output.dead_letters.clone(),
            state: config.state.topic.clone(),
        };
        Self {
            settings: Arc::new(lane_settings(&config, &found)),
            rulebook: Arc::new(config.rules.clone()),
            topics,
            count_error,
            status,
            workers,
            consumer,
            orders,
            inbox,
            back,
            producer: None,
            lanes: BTreeMap::new(),
            committed: BTreeMap::new(),
            started: Instant::now(),
            // Never the same after a restart: an epoch is told from another instance's by its number.
            next_epoch: (unix_millis(SystemTime::now()) as u64) << 20,
            fenced: Vec::new(),
            revoked: Vec::new(),
            stopping: false,
            later: VecDeque::new(),
            last: false,
            n_partitions: found.n_partitions,
            new_rules: None,
            consumer_failed: None,
            config,
        }
    }

    /// Commits epochs until it is told to stop.
    pub fn run(mut self) -> End {
        let interval = self.config.kafka.commit_interval;
        let mut next = Instant::now() + interval;
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            let event = match self.later.pop_front() {
                Some(event) => Ok(event),
                None => self.inbox.recv_timeout(wait),
            };
            match event {
                Ok(event) => {
                    self.note(event);
                    // Another consumer under our name has fenced ours; it cannot be used again.
                    if let Some(failure) = self.consumer_failed.take() {
                        return end_of(&failure);
                    }
                    if self.lanes.keys().any(|lane| lane.partition >= self.n_partitions) {
                        return End::Again("the input has more partitions than it had");
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    next = Instant::now() + interval;
                    if let Err(end) = self.commit_epoch() {
                        return end;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => self.stopping = true,
            }
            if self.stopping {
                return self.stop();
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Rebalance(Rebalance::Assigned(lanes)) => {
                tracing::info!(lanes = %names(&lanes), "partitions were assigned");
                self.status.count_rebalance("assigned");
                lanes.into_iter().for_each(|lane| drop(self.lanes.insert(lane, LaneState::Recovering(Arc::default()))));
                self.recover();
            }
            Event::Rebalance(Rebalance::Revoked(lanes)) => {
                tracing::info!(lanes = %names(&lanes), "partitions are to be given up");
                self.status.count_rebalance("revoked");
                self.revoked.extend(lanes);
            }
            Event::Rebalance(Rebalance::Lost(lanes)) => {
                tracing::warn!(lanes = %names(&lanes), "partitions were lost");
                self.status.count_rebalance("lost");
                self.drop_lanes(&lanes);
            }
            Event::Recovered(lane, offset, token) if self.is_current(&lane, &token) => self.go_live(lane, offset),
            Event::Recovered(..) => {}
            Event::RecoveryFailed(lane, why, token) if self.is_current(&lane, &token) => {
                tracing::warn!(%lane, why, "a recovery begins again");
                self.committed.remove(&lane);
                self.lanes.insert(lane, LaneState::Recovering(Arc::default()));
                self.recover();
            }
            Event::RecoveryFailed(..) => {}
            Event::TryRecovery => self.recover(),
            Event::ConsumerFailed(failure) => self.consumer_failed = Some(failure),
            Event::Rules(rulebook) => self.new_rules = Some(rulebook),
            Event::Stop => self.stopping = true,
        }
    }

    fn is_current(&self, lane: &PartitionId, token: &Arc<AtomicBool>) -> bool {
        matches!(self.lanes.get(lane), Some(LaneState::Recovering(current)) if Arc::ptr_eq(current, token))
    }

    /// Drops what these lanes hold and restores them from what was committed. They stay ours.
    fn begin_again(&mut self, lanes: &[PartitionId]) {
        self.drop_lanes(lanes);
        for lane in lanes {
            let _ = self.orders.send(Order::Park(lane.clone()));
            self.lanes.insert(lane.clone(), LaneState::Recovering(Arc::default()));
        }
        self.recover();
    }

    fn go_live(&mut self, lane: PartitionId, offset: i64) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        if matches!(state, LaneState::Live) {
            return;
        }
        *state = LaneState::Live;
        tracing::info!(%lane, offset, "a lane is live");
        self.status.lanes(self.lanes.len(), self.n_live());
        let backlog = self.workers.backlog(&lane);
        // The poller ends after us.
        let _ = self.orders.send(Order::GoLive(lane, offset, backlog));
    }

    fn n_live(&self) -> usize {
        self.lanes.values().filter(|state| matches!(state, LaneState::Live)).count()
    }

    fn drop_lanes(&mut self, lanes: &[PartitionId]) {
        for lane in lanes {
            if let Some(LaneState::Recovering(cancelled)) = self.lanes.remove(lane) {
                cancelled.store(true, Ordering::SeqCst);
            }
            self.committed.remove(lane);
            self.workers.send(lane, Work::Drop(vec![lane.clone()]));
            self.workers.release(lane);
            self.status.forget_lane(lane);
        }
        self.status.lanes(self.lanes.len(), self.n_live());
    }

    /// Starts the recovery of every lane that waits for one: what was committed, a barrier behind all that could still be
    /// committed before us, then the restorer's thread.
    fn recover(&mut self) {
        let waiting: Vec<PartitionId> = self
            .lanes
            .iter()
            .filter(|(lane, state)| matches!(state, LaneState::Recovering(_)) && !self.committed.contains_key(*lane))
            .map(|(lane, _)| lane.clone())
            .collect();
        self.status.lanes(self.lanes.len(), self.n_live());
        if waiting.is_empty() {
            return;
        }
        match self.begin_recovery(&waiting) {
            Ok(()) => self.status.no_trouble(),
            Err(failure) => {
                self.status.trouble(&failure.to_string());
                tracing::warn!(%failure, "a recovery waits");
                self.producer = None;
                // Some of the lanes may be under way: only those that are not begin later.
                let back = self.back.clone();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(500));
                    // The committer has ended: so has the need.
                    let _ = back.send(Event::TryRecovery);
                });
            }
        }
    }

    fn begin_recovery(&mut self, waiting: &[PartitionId]) -> Result<(), Failure> {
        if self.producer.is_none() {
            self.producer = Some(Producer::start(&self.config.kafka, &self.topics, &self.count_error)?);
        }
        let restorer = Restorer::new(&self.config.kafka, &self.count_error)?;
        let found = restorer.committed(waiting)?;
        let nonce = self.new_epoch();
        self.write_barriers(waiting, nonce)?;
        for (lane, committed) in found {
            let start = recovery::start_of(&restorer, &lane, committed.as_ref(), self.config.input.start)?;
            let cancelled = match self.lanes.get(&lane) {
                Some(LaneState::Recovering(cancelled)) => Arc::clone(cancelled),
                Some(LaneState::Live) | None => continue,
            };
            let fresh =
                Lane::new(lane.clone(), start.live_from, Arc::clone(&self.settings), Arc::clone(&self.rulebook));
            let backlog = Backlog::default();
            self.workers.adopt(lane.clone(), Arc::clone(&backlog));
            self.workers.send(&lane, Work::Add(Box::new(fresh), Arc::clone(&backlog)));
            self.committed.insert(lane.clone(), committed.clone());
            let job = Job {
                lane,
                metadata: committed.map(|committed| committed.metadata),
                live_from: start.live_from,
                log_start: start.log_start,
                nonce,
                backlog,
                cancelled,
            };
            recovery::spawn(job, &self.config, &self.count_error, &self.workers, &self.status, self.back.clone());
        }
        Ok(())
    }

    /// What is committed to these state partitions from now on comes behind the barrier, and a zombie's records never come.
    fn write_barriers(&mut self, lanes: &[PartitionId], nonce: u64) -> Result<(), Failure> {
        let mut effects = Effects::default();
        for partition in lanes.iter().map(|lane| lane.partition).collect::<BTreeSet<_>>() {
            let body = Barrier { instance: self.config.kafka.instance.clone(), nonce }.encode();
            let envelope = Envelope { kind: Kind::Barrier, fingerprint: 0, as_of: -1, rows: 0, body: &body };
            effects.push(Stream::State, Some(partition), &Key::Barrier { partition }.encode(), &[], |out| {
                envelope.encode(out);
                true
            });
        }
        let Some(producer) = &self.producer else { return Err(Failure::Retriable("no producer".to_owned())) };
        if !producer.commit(&[&effects], &[], None)? {
            self.strike();
        }
        Ok(())
    }

    fn new_epoch(&mut self) -> u64 {
        self.next_epoch += 1;
        self.next_epoch
    }

    fn strike(&mut self) {
        self.producer = None;
        self.status.count_renewal();
    }

    /// Cuts the live lanes and commits what they made. Revoked lanes are cut with all they have, and given up afterwards.
    fn commit_epoch(&mut self) -> Result<(), End> {
        let revoked = std::mem::take(&mut self.revoked);
        let live = self.live_lanes();
        let (leaving, staying): (Vec<_>, Vec<_>) = live.into_iter().partition(|lane| revoked.contains(lane));
        let all = self.last || self.new_rules.is_some();
        // A change of rules is crossed by no replay: everything dirty before it is in this epoch's snapshots.
        if let Some(rules) = self.new_rules.take() {
            self.rulebook = rules;
        }
        let now = self.started.elapsed();
        let mut parts = self.workers.cut(&staying, now, all, &self.rulebook);
        parts.extend(self.workers.cut(&leaving, now, true, &self.rulebook));
        let result = self.commit_parts(parts);
        if !revoked.is_empty() {
            crate::failpoint::crash_at("mid_revoke");
            self.drop_lanes(&revoked);
            let _ = self.orders.send(Order::AckRevoke(revoked));
        }
        result
    }

    fn live_lanes(&self) -> Vec<PartitionId> {
        self.lanes.iter().filter(|(_, state)| matches!(state, LaneState::Live)).map(|(lane, _)| lane.clone()).collect()
    }

    fn commit_parts(&mut self, parts: Vec<Part>) -> Result<(), End> {
        let (mut parts, quiet): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.is_news);
        quiet.iter().for_each(|part| self.status.add(&part.effects.tally));
        if parts.is_empty() {
            return Ok(());
        }
        let epoch = self.new_epoch();
        let mut back_off = BACK_OFF[0];
        let started = Instant::now();
        loop {
            // In this order: a loss is told before the group can make us a member of its next generation, and the broker
            // refuses an older one. A member of the newest could commit what is not its own any more.
            let group = self.consumer.group_metadata();
            self.take_losses(&mut parts)?;
            let commits: Vec<Commit> = parts.iter().map(|part| commit_of(part, epoch)).collect();
            if commits.is_empty() {
                return Ok(());
            }
            match self.try_commit(&parts, &commits, group.as_ref()) {
                Ok(prompt) => {
                    self.status.committed(started.elapsed(), SystemTime::now(), &parts);
                    self.remember(&commits);
                    if !prompt {
                        self.strike();
                    }
                    return Ok(());
                }
                Err(failure) => {
                    self.strike();
                    self.status.failed(&failure);
                    tracing::warn!(%failure, epoch, "an epoch is in doubt; a new producer looks at what was committed");
                    self.judge(&failure)?;
                }
            }
            // The value is kept: it is sent again, or forgotten if it turns out to be committed.
            loop {
                std::thread::sleep(back_off);
                back_off = (2 * back_off).min(BACK_OFF[1]);
                self.take_losses(&mut parts)?;
                if self.stopping && started.elapsed() > DRAIN {
                    tracing::warn!("the last epoch could not be committed: its records are read again");
                    return Err(End::Stopped);
                }
                if parts.is_empty() {
                    self.status.no_trouble();
                    return Ok(());
                }
                match self.was_committed(&parts, epoch) {
                    Ok(true) => {
                        self.status.committed(started.elapsed(), SystemTime::now(), &parts);
                        self.remember(&commits);
                        return Ok(());
                    }
                    Ok(false) => break,
                    Err(failure) => {
                        self.strike();
                        self.status.failed(&failure);
                        self.judge(&failure)?;
                    }
                }
            }
            let foreign = self.drop_foreign(&mut parts);
            if !foreign.is_empty() {
                self.begin_again(&foreign);
            }
        }
    }

    /// A fencing may be a time-out of our own transaction; two in a minute are a rival.
    fn judge(&mut self, failure: &Failure) -> Result<(), End> {
        match failure {
            Failure::Fatal(text) => Err(End::Fatal(text.clone())),
            Failure::Fenced(text) => {
                self.fenced.retain(|at| at.elapsed() < RIVAL);
                self.fenced.push(Instant::now());
                if self.fenced.len() >= 2 { Err(End::Rival(text.clone())) } else { Ok(()) }
            }
            // A broker that is away lets transactions time out, and that looks like a fencing too.
            Failure::Retriable(_) | Failure::Unknown(_) => {
                self.fenced.clear();
                Ok(())
            }
        }
    }

    fn try_commit(
        &mut self,
        parts: &[Part],
        commits: &[Commit],
        group: Option<&GroupMetadata>,
    ) -> Result<bool, Failure> {
        if self.producer.is_none() {
            self.producer = Some(Producer::start(&self.config.kafka, &self.topics, &self.count_error)?);
        }
        let Some(producer) = &self.producer else { return Err(Failure::Retriable("no producer".to_owned())) };
        let effects: Vec<&Effects> = parts.iter().map(|part| &part.effects).collect();
        let outside = is_planted("offsets_outside");
        let prompt = producer.commit(&effects, if outside { &[] } else { commits }, group)?;
        if outside || self.config.kafka.delivery == Delivery::AtLeastOnce {
            self.consumer.commit(commits)?;
        }
        Ok(prompt)
    }

    /// Is the epoch the last that was committed? A new producer has fenced whatever was under way before we look.
    fn was_committed(&mut self, parts: &[Part], epoch: u64) -> Result<bool, Failure> {
        if self.producer.is_none() {
            self.producer = Some(Producer::start(&self.config.kafka, &self.topics, &self.count_error)?);
        }
        let lanes: Vec<PartitionId> = parts.iter().map(|part| part.lane.clone()).collect();
        let found = Restorer::new(&self.config.kafka, &self.count_error)?.committed(&lanes)?;
        let epoch_of =
            |committed: &Committed| OffsetMetadata::decode(&committed.metadata).map(|metadata| metadata.epoch);
        let ours = found.values().flatten().filter_map(epoch_of).any(|found| found == epoch);
        if !ours {
            for (lane, committed) in found {
                self.committed_now(lane, committed);
            }
        }
        Ok(ours)
    }

    /// Marks a lane whose committed offset is neither our last nor this epoch's.
    fn committed_now(&mut self, lane: PartitionId, found: Option<Committed>) {
        if self.committed.get(&lane).is_some_and(|last| *last != found) {
            tracing::warn!(%lane, "somebody else has committed this partition; its lane begins again");
            self.committed.remove(&lane);
        }
    }

    /// Cuts the parts of lanes out that are no longer ours to commit; those lanes.
    fn drop_foreign(&self, parts: &mut Vec<Part>) -> Vec<PartitionId> {
        let foreign: Vec<PartitionId> =
            parts.iter().map(|part| part.lane.clone()).filter(|lane| !self.committed.contains_key(lane)).collect();
        parts.retain(|part| !foreign.contains(&part.lane));
        foreign
    }

    /// Rebalances do not wait for a commit: what was lost meanwhile is cut out of the epoch. The events keep their order, and are
    /// followed when the epoch is decided.
    fn take_losses(&mut self, parts: &mut Vec<Part>) -> Result<(), End> {
        while let Ok(event) = self.inbox.try_recv() {
            match &event {
                Event::Rebalance(Rebalance::Lost(lanes)) => parts.retain(|part| !lanes.contains(&part.lane)),
                Event::Stop => self.stopping = true,
                Event::ConsumerFailed(failure) => return Err(end_of(failure)),
                _ => {}
            }
            self.later.push_back(event);
        }
        Ok(())
    }

    fn remember(&mut self, commits: &[Commit]) {
        for commit in commits {
            let committed = Committed { offset: commit.offset, metadata: commit.metadata.clone() };
            self.committed.insert(commit.lane.clone(), Some(committed));
        }
    }

    /// Nothing new comes in, what came in is scored, what was scored is committed.
    fn stop(mut self) -> End {
        let _ = self.orders.send(Order::PauseAll);
        let until = Instant::now() + DRAIN;
        let live = self.live_lanes();
        while Instant::now() < until && live.iter().any(|lane| self.workers.backlog(lane).load(Ordering::Relaxed) > 0) {
            std::thread::sleep(Duration::from_millis(20));
            if let Err(end) = self.commit_epoch() {
                return end;
            }
        }
        self.last = true;
        let end = self.commit_epoch().err();
        crate::failpoint::crash_at("mid_shutdown");
        let all: Vec<PartitionId> = self.lanes.keys().cloned().collect();
        self.drop_lanes(&all);
        end.unwrap_or(End::Stopped)
    }
}

fn end_of(failure: &Failure) -> End {
    match failure {
        Failure::Fenced(text) => End::Rival(text.clone()),
        Failure::Fatal(text) | Failure::Retriable(text) | Failure::Unknown(text) => End::Fatal(text.clone()),
    }
}

fn commit_of(part: &Part, epoch: u64) -> Commit {
    let metadata = OffsetMetadata { epoch, replay_offset: part.replay_offset, accumulator: part.accumulator };
    Commit { lane: part.lane.clone(), offset: part.next_offset, metadata: metadata.encode() }
}

fn names(lanes: &[PartitionId]) -> String {
    lanes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Parts arrive in any order.
#[must_use]
pub fn gather(lanes: &[PartitionId], send: impl Fn(&PartitionId, Sender<Part>)) -> Vec<Part> {
    let (sender, receiver) = channel();
    lanes.iter().for_each(|lane| send(lane, sender.clone()));
    drop(sender);
    let mut parts: Vec<Part> = receiver.iter().collect();
    parts.sort_by(|a, b| a.lane.cmp(&b.lane));
    parts
}
