//! The thread of the epochs: it carries out what [`crate::epoch`] commands. It alone has the producer, and it decides nothing.

use super::pulse::Pulse;
use super::recovery::{self, Job};
use super::status::Status;
use super::worker::Work;
use super::{Workers, lane_settings, names};
use crate::config::{Config, Delivery, Start as Beginning};
use crate::epoch::{Command, Commit, End, Event, Failure, Found, Protocol, Settings, Start};
use crate::kafka::client::CountError;
use crate::kafka::consumer::{Backlog, Consumer, GroupMetadata, Order, unix_millis};
use crate::kafka::producer::{Producer, Topics};
use crate::kafka::restorer::Restorer;
use crate::kafka::state_log::StateLog;
use crate::kafka::topics;
use crate::lane::effects::Effects;
use crate::lane::record::PartitionId;
use crate::lane::terms::Terms;
use crate::lane::{self, Lane, Part};
use crate::planted::is_planted;
use crate::wire::state_record::OffsetMetadata;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Instant, SystemTime};
use tokio::runtime::Handle;

/// The protocol, and all that its commands need.
pub struct Committer {
    protocol: Protocol,
    settings: Arc<lane::Settings>,
    topics: Topics,
    producer: Option<Producer>,
    /// Topics of ours that were deleted, until all of them are there again.
    missing: Vec<String>,
    /// Our place in the group when it was noted.
    place: Option<GroupMetadata>,
    /// Ends the recoveries that are under way.
    cancels: BTreeMap<PartitionId, Arc<AtomicBool>>,
    started: Instant,
    parts: Parts,
}

/// What the committer works with.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The newest terms: those of the configuration, or what was reloaded since.
    pub terms: Arc<Terms>,
    /// When the process began, in milliseconds since the Unix epoch.
    pub began: i64,
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
    /// Tells that no call has swallowed us.
    pub pulse: Arc<Pulse>,
    /// Tells when the state topic has lost what was written to it.
    pub state_log: Arc<StateLog>,
    /// For the administration of topics.
    pub runtime: Handle,
}

impl Committer {
    /// Nothing assigned yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let config = &parts.config;
        let topics = Topics::new(config, &parts.found);
        let settings =
            Settings { commit_interval: config.kafka.commit_interval, n_partitions: parts.found.n_partitions };
        // Never the same after a restart.
        let first_number = (unix_millis(SystemTime::now()) as u64) << 20;
        Self {
            protocol: Protocol::new(settings, Arc::clone(&parts.terms), first_number),
            settings: Arc::new(lane_settings(config, &parts.found)),
            topics,
            producer: None,
            missing: Vec::new(),
            place: None,
            cancels: BTreeMap::new(),
            started: Instant::now(),
            parts,
        }
    }

    /// Carries out commands until one of them is the end.
    pub fn run(mut self) -> End {
        loop {
            self.parts.pulse.beat();
            if self.parts.pulse.is_given_up() {
                return End::StoppedInDoubt;
            }
            // All that has happened is told before the next command is taken.
            while let Ok(event) = self.parts.inbox.try_recv() {
                self.hear(event);
            }
            if self.parts.state_log.take_lost() {
                tracing::error!(
                    topic = self.parts.config.state.topic,
                    "the state topic has lost what was learned: was it deleted? All that is in memory is written again"
                );
                self.protocol.on(Event::StateLost, self.started.elapsed());
            }
            let (assigned, live) = self.protocol.n_lanes();
            self.parts.status.lanes(assigned, live);
            match self.protocol.next(self.started.elapsed()) {
                Some(Command::End(end)) => {
                    crate::failpoint::crash_at("mid_shutdown");
                    return end;
                }
                Some(command) => {
                    if let Some(answer) = self.carry_out(command) {
                        self.protocol.on(answer, self.started.elapsed());
                    }
                }
                None => {
                    let wait = self.protocol.wake_at().saturating_sub(self.started.elapsed());
                    match self.parts.inbox.recv_timeout(wait) {
                        Ok(event) => self.hear(event),
                        Err(RecvTimeoutError::Timeout) => {}
                        // We hold the other end ourselves.
                        Err(RecvTimeoutError::Disconnected) => return End::Stopped,
                    }
                }
            }
        }
    }

    fn hear(&mut self, event: Event) {
        let status = &self.parts.status;
        match &event {
            Event::Assigned(lanes) => {
                tracing::info!(lanes = %names(lanes), "partitions were assigned");
                status.count_rebalance("assigned");
            }
            Event::Revoked(lanes) => {
                tracing::info!(lanes = %names(lanes), "partitions are to be given up");
                status.count_rebalance("revoked");
            }
            Event::Lost(lanes) => {
                tracing::warn!(lanes = %names(lanes), "partitions were lost");
                status.count_rebalance("lost");
            }
            Event::Broken(_)
            | Event::Recovered { .. }
            | Event::RecoveryFailed { .. }
            | Event::Terms(_)
            | Event::StateLost
            | Event::Stop
            | Event::ConsumerFailed(_)
            | Event::Cut { .. }
            | Event::Committed(_)
            | Event::Found(_)
            | Event::Starts(_) => {}
        }
        self.protocol.on(event, self.started.elapsed());
    }

    /// The answer, if the command has one.
    fn carry_out(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Cut { staying, leaving, all, terms } => return Some(self.cut(&staying, &leaving, all, &terms)),
            Command::NotePlace => self.place = self.parts.consumer.group_metadata(),
            Command::Commit => return Some(Event::Committed(self.commit())),
            Command::Look { lanes } => return Some(Event::Found(self.look(&lanes))),
            Command::WriteBarriers { lanes, nonce } => return Some(Event::Starts(self.write_barriers(&lanes, nonce))),
            Command::Restore { start, recovery, terms } => self.restore(start, recovery, terms),
            Command::GoLive { lane, offset } => {
                tracing::info!(%lane, offset, "a lane is live");
                self.parts.status.live(&lane, offset);
                let backlog = self.parts.workers.backlog(&lane);
                self.order(Order::GoLive(lane, offset, backlog));
            }
            Command::Park { lanes } => {
                tracing::warn!(lanes = %names(&lanes), "lanes begin again from what was committed");
                lanes.into_iter().for_each(|lane| self.order(Order::Park(lane)));
            }
            Command::Rewrite { lanes } => {
                lanes.into_iter().for_each(|lane| self.parts.workers.send(&lane, Work::Rewrite(lane.clone())))
            }
            Command::Drop { lanes } => lanes.iter().for_each(|lane| self.drop_lane(lane)),
            Command::AckRevoke { lanes } => {
                crate::failpoint::crash_at("mid_revoke");
                self.order(Order::AckRevoke(lanes));
            }
            Command::PauseAll => self.order(Order::PauseAll),
            Command::EndProducer => {
                self.producer = None;
                self.parts.status.count_renewal();
            }
            Command::Count { took, parts } => self.parts.status.committed(took, SystemTime::now(), &parts),
            Command::TroubleIsOver => self.parts.status.no_trouble(),
            // The caller has taken it.
            Command::End(_) => {}
        }
        None
    }

    /// The poller ends after us.
    fn order(&self, order: Order) {
        let _ = self.parts.orders.send(order);
    }

    fn cut(&self, staying: &[PartitionId], leaving: &[PartitionId], all: bool, terms: &Arc<Terms>) -> Event {
        let (workers, now) = (&self.parts.workers, self.started.elapsed());
        let waits = |lane: &PartitionId| workers.backlog(lane).load(Ordering::Relaxed) > 0;
        let is_drained = !staying.iter().chain(leaving).any(waits);
        let mut parts = workers.cut(staying, now, all, terms);
        parts.extend(workers.cut(leaving, now, true, terms));
        let (news, quiet): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.is_news);
        quiet.iter().for_each(|part| self.parts.status.add(&part.effects.tally));
        Event::Cut { parts: news, is_drained }
    }

    fn commit(&mut self) -> Result<bool, Failure> {
        let place = self.place.take();
        self.start_producer()?;
        let (Some(epoch), Some(producer)) = (self.protocol.epoch(), &self.producer) else {
            return Err(Failure::Retriable("there is nothing to commit".to_owned()));
        };
        let effects: Vec<&Effects> = epoch.parts.iter().map(|part| &part.effects).collect();
        let commits: Vec<Commit> = epoch.commits().collect();
        let outside = is_planted("offsets_outside");
        let result = (|| {
            let prompt = producer.commit(&effects, if outside { &[] } else { &commits }, place.as_ref())?;
            if outside || self.parts.config.kafka.delivery == Delivery::AtLeastOnce {
                self.parts.consumer.commit(&commits)?;
            }
            Ok(prompt)
        })();
        if let Err(failure) = &result {
            self.parts.status.failed(failure);
            tracing::warn!(%failure, epoch = epoch.number, "an epoch is in doubt; a new producer looks at what was committed");
        }
        result
    }

    fn start_producer(&mut self) -> Result<(), Failure> {
        if self.producer.is_none() {
            let started = self.tend_topics().and_then(|()| {
                let Parts { config, count_error, state_log, .. } = &self.parts;
                Producer::start(&config.kafka, &self.topics, count_error, state_log)
            });
            self.producer = Some(started.inspect_err(|failure| self.parts.status.failed(failure))?);
        }
        Ok(())
    }

    /// Topics of ours may have been deleted: they are created again, or waited for. A producer would only say so after a while.
    fn tend_topics(&mut self) -> Result<(), Failure> {
        let Parts { config, count_error, state_log, runtime, .. } = &self.parts;
        let missing = topics::missing(config, count_error)?;
        if missing.contains(&config.state.topic) {
            state_log.missing();
        }
        if !missing.is_empty() && missing != self.missing {
            tracing::error!(topics = missing.join(" "), "topics of ours are gone: were they deleted?");
            self.missing = missing;
        }
        if !self.missing.is_empty() {
            // What would end a daemon that begins may pass while one runs: it holds what it has not committed.
            let found = runtime.block_on(topics::prepare(config, count_error));
            let found = found.map_err(|failure| Failure::Missing(failure.to_string()))?;
            tracing::warn!(topics = self.missing.join(" "), "the topics that were gone are there again");
            self.topics = Topics::new(config, &found);
            self.missing.clear();
        }
        Ok(())
    }

    fn look(&mut self, lanes: &[PartitionId]) -> Result<Found, Failure> {
        self.start_producer()?;
        let Parts { config, count_error, status, .. } = &self.parts;
        let found = Restorer::new(&config.kafka, count_error).and_then(|restorer| restorer.committed(lanes));
        found.inspect_err(|failure| status.failed(failure))
    }

    /// What is committed to these state partitions from now on comes behind the barrier, and a zombie's records never come.
    fn write_barriers(&mut self, lanes: &[PartitionId], nonce: u64) -> Result<(Vec<Start>, bool), Failure> {
        let result = self.try_write_barriers(lanes, nonce);
        match &result {
            Ok(_) => self.parts.status.recovery_begun(),
            Err(failure) => {
                self.parts.status.recovery_waits(&failure.to_string());
                tracing::warn!(%failure, "a recovery waits");
            }
        }
        result
    }

    fn try_write_barriers(&mut self, lanes: &[PartitionId], nonce: u64) -> Result<(Vec<Start>, bool), Failure> {
        let place = self.place.take();
        self.start_producer()?;
        let Parts { config, count_error, consumer, .. } = &self.parts;
        let restorer = Restorer::new(&config.kafka, count_error)?;
        let found = restorer.committed(lanes)?;
        let began = self.began(&restorer, &found)?;
        let start = |(lane, committed): (PartitionId, Option<_>)| {
            recovery::start_of(&restorer, &lane, committed.as_ref(), config.input.start, began)
        };
        let starts = found.into_iter().map(start).collect::<Result<Vec<Start>, _>>()?;
        let beginnings: Vec<Commit> = starts.iter().filter_map(Start::beginning).collect();
        let mut effects = Effects::default();
        for partition in lanes.iter().map(|lane| lane.partition).collect::<BTreeSet<_>>() {
            effects.push_barrier(partition, &config.kafka.instance, nonce);
        }
        let Some(producer) = &self.producer else { return Err(Failure::Retriable("no producer".to_owned())) };
        let prompt = producer.commit(&[&effects], &beginnings, place.as_ref())?;
        if config.kafka.delivery == Delivery::AtLeastOnce && !beginnings.is_empty() {
            consumer.commit(&beginnings)?;
        }
        Ok((starts.into_iter().map(Start::begun).collect(), prompt))
    }

    /// With `latest`: when the first member of the group began, as far as what the group has committed tells. A partition of which it
    /// has committed nothing was added since, and whatever is in it came since.
    fn began(&self, restorer: &Restorer, found: &Found) -> Result<Option<i64>, Failure> {
        let input = &self.parts.config.input;
        if input.start != Beginning::Latest {
            return Ok(None);
        }
        let told = |found: &Found| {
            found.values().flatten().filter_map(|committed| OffsetMetadata::began_of(&committed.metadata)).min()
        };
        let by_others = if found.values().any(Option::is_none) {
            let all: Vec<PartitionId> = restorer.partitions(&input.topics)?.into_iter().collect();
            told(&restorer.committed(&all)?)
        } else {
            None
        };
        Ok([told(found), by_others, Some(self.parts.began)].into_iter().flatten().min())
    }

    fn restore(&mut self, start: Start, recovery: u64, terms: Arc<Terms>) {
        let Parts { config, count_error, status, workers, back, .. } = &self.parts;
        let (lane, backlog, cancelled) = (start.lane.clone(), Backlog::default(), Arc::new(AtomicBool::new(false)));
        workers.adopt(lane.clone(), Arc::clone(&backlog));
        let (id, live_from, settings) = (lane.clone(), start.live_from, Arc::clone(&self.settings));
        let empty = Box::new(move |terms| Lane::new(id.clone(), live_from, Arc::clone(&settings), terms));
        let job = Job { start, empty, terms, recovery, backlog, cancelled: Arc::clone(&cancelled) };
        self.cancels.insert(lane, cancelled);
        recovery::spawn(job, config, count_error, workers, status, back.clone());
    }

    fn drop_lane(&mut self, lane: &PartitionId) {
        if let Some(cancelled) = self.cancels.remove(lane) {
            cancelled.store(true, Ordering::SeqCst);
        }
        self.parts.workers.send(lane, Work::Drop(vec![lane.clone()]));
        self.parts.workers.release(lane);
        self.parts.status.forget_lane(lane);
    }
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
