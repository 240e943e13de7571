//! One lane in a command's hands: the command becomes the group's only member, restores the lane as an instance would, changes
//! it, and commits what comes of it as an epoch. Snapshots, replay offset and accumulator are right because the lane itself says
//! them; and no instance can have the lane meanwhile, because the group gave it to us.

use super::lane_settings;
use super::recovery::{read_state, replay, start_of};
use super::spill::Spill;
use super::terms::terms_of_replay;
use crate::config::{Config, Delivery};
use crate::epoch::{Commit, Epoch, Failure, Start};
use crate::kafka::client::{CountError, GroupContext, Rebalance};
use crate::kafka::consumer::{Batch, Consumer, Event as PollEvent, Order, Outlets, unix_millis};
use crate::kafka::producer::{Producer, Topics};
use crate::kafka::restorer::Restorer;
use crate::kafka::state_topic::members;
use crate::kafka::topics;
use crate::lane::effects::Effects;
use crate::lane::record::PartitionId;
use crate::lane::recovery::Report;
use crate::lane::terms::Terms;
use crate::lane::{Handled, Lane, Part};
use crate::wire::state_record::OffsetMetadata;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Waiting for the group to give us the lane: brokers hold a new group back for some seconds.
const JOIN: Duration = Duration::from_secs(30);
/// More than a session, so that one that has ended is gone.
const BEYOND: Duration = Duration::from_secs(5);

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The group has members: they hold the state in memory, and would write theirs over ours.
    InUse(Vec<String>),
    /// A broker, or the change itself.
    Outside(String),
    /// It was sent, and nobody could say whether it was committed.
    InDoubt(String),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Next offset of the lane: the change counts as of everything before it.
    pub next_offset: i64,
    /// What was found while the lane was restored.
    pub report: Report,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Outside(failure.to_string())
    }
}

/// Changes an entity of a lane while no instance runs: it is in memory when `change` is called, if there is one. `waiting` is told
/// once who is in the group, if anybody is.
///
/// # Errors
/// Nothing was changed, but for [`Refused::InDoubt`].
pub fn change(
    config: &Config,
    id: &PartitionId,
    entity: &str,
    waiting: impl FnOnce(&[String]),
    change: impl FnOnce(&mut Lane) -> Result<(), String>,
) -> Result<Done, Refused> {
    wait_until_free(config, waiting)?;
    let mut ours = config.clone();
    ours.kafka = config.kafka.for_command("model");
    let count_error: CountError = Arc::new(|_| {});
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Refused::Outside(format!("the system gives no threads: {error}")))?;
    let found = runtime.block_on(topics::prepare(&ours, &count_error))?;
    let held = Held::claim(&ours, id, &count_error)?;
    let mut work = Work {
        config: &ours,
        found: &found,
        count_error: &count_error,
        epoch: (unix_millis(SystemTime::now()) as u64) << 20,
    };
    let Restored { mut lane, report, mut spill, began, .. } = work.restore(id, &held)?;
    if lane.is_out_of_memory(entity) {
        let bytes = spill.take(entity).map_err(|error| no_room(&error))?;
        lane.revive(entity, bytes.as_deref(), lane.census().next_offset);
    }
    change(&mut lane).map_err(Refused::Outside)?;
    let part = lane.cut(Duration::ZERO, true);
    if part.effects.tally.oversized > 0 {
        return Err(Refused::Outside(format!(
            "a snapshot is larger than `{}` takes ({} bytes): raise its max.message.bytes",
            config.state.topic, found.max_snapshot
        )));
    }
    let next_offset = part.next_offset;
    work.commit(part, began, &held)?;
    Ok(Done { next_offset, report })
}

/// An instance that was stopped keeps its place in the group until its session ends.
fn wait_until_free(config: &Config, waiting: impl FnOnce(&[String])) -> Result<(), Refused> {
    let until = Instant::now() + config.kafka.session_timeout + BEYOND;
    let mut waiting = Some(waiting);
    loop {
        let members = members(config)?;
        if members.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Refused::InUse(members));
        }
        if let Some(waiting) = waiting.take() {
            waiting(&members);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A lane that the group gave us, for as long as this lives.
struct Held {
    consumer: Option<Arc<Consumer>>,
    orders: Sender<Order>,
    poller: Option<JoinHandle<()>>,
    lost: Arc<Mutex<Option<String>>>,
}

impl Held {
    fn claim(config: &Config, id: &PartitionId, count_error: &CountError) -> Result<Self, Refused> {
        let (rebalances, events): (_, Receiver<Rebalance>) = channel();
        let lost: Arc<Mutex<Option<String>>> = Arc::default();
        let tell = {
            let (lost, id) = (Arc::clone(&lost), id.clone());
            move |rebalance: Rebalance| {
                if matches!(&rebalance, Rebalance::Lost(lanes) if lanes.contains(&id)) {
                    *lock(&lost) = Some("the group took the partition away".to_owned());
                }
                // Nobody hears it once the lane is ours.
                let _ = rebalances.send(rebalance);
            }
        };
        let context = GroupContext::new(Arc::clone(count_error), Box::new(tell));
        let consumer = Arc::new(Consumer::join(&config.kafka, &config.input.topics, context)?);
        let (orders, orders_in) = channel();
        let poller = std::thread::spawn({
            let (consumer, lost) = (Arc::clone(&consumer), Arc::clone(&lost));
            move || {
                consumer.poll_until_closed(
                    &orders_in,
                    &mut Outlets {
                        batch: &mut |_, _, _| {},
                        event: &mut |event| match event {
                            PollEvent::Failed(failure) => *lock(&lost) = Some(failure.to_string()),
                            // It reads nothing.
                            PollEvent::Jumped(_) | PollEvent::WentBack(_) => {}
                        },
                        polled: &|_| {},
                    },
                );
            }
        });
        let held = Self { consumer: Some(consumer), orders, poller: Some(poller), lost };
        let until = Instant::now() + JOIN;
        loop {
            held.check()?;
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Rebalance::Assigned(lanes)) if lanes.contains(id) => return Ok(held),
                Ok(_) => {}
                Err(_) => return Err(Refused::InUse(members(config)?)),
            }
        }
    }

    /// Is the lane still ours?
    fn check(&self) -> Result<(), Refused> {
        lock(&self.lost).take().map_or(Ok(()), |why| Err(Refused::Outside(why)))
    }

    fn is_lost(&self) -> bool {
        lock(&self.lost).is_some()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Without a name of our own the group learns of our end at once.
        let _ = self.orders.send(Order::Close);
        if let Some(poller) = self.poller.take() {
            // If it has panicked, it has said so.
            let _ = poller.join();
        }
        drop(self.consumer.take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lane that is restored, with those of its entities that are out of memory.
struct Restored {
    lane: Lane,
    report: Report,
    read_from: i64,
    spill: Spill,
    began: Option<i64>,
}

struct Work<'a> {
    config: &'a Config,
    found: &'a topics::Found,
    count_error: &'a CountError,
    epoch: u64,
}

impl Work<'_> {
    fn new_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    fn producer(&self) -> Result<Producer, Failure> {
        let topics = Topics::new(self.config, self.found);
        Producer::start(&self.config.kafka, &topics, self.count_error, &Arc::default())
    }

    /// The same steps in the same order as an instance's: offset, barrier, snapshots, replay.
    fn restore(&mut self, id: &PartitionId, held: &Held) -> Result<Restored, Refused> {
        let restorer = Restorer::new(&self.config.kafka, self.count_error)?;
        let committed = restorer.committed(std::slice::from_ref(id))?.remove(id).flatten();
        let nonce = self.new_epoch();
        self.write_barrier(id.partition, nonce)?;
        let began = committed.as_ref().and_then(|committed| OffsetMetadata::began_of(&committed.metadata));
        let start = start_of(&restorer, id, committed.as_ref(), self.config.input.start, began)?;
        let ours = Arc::new(self.config.terms());
        let terms = terms_of_replay(&restorer, self.config, &start, &ours, nonce, || held.is_lost())?;
        let pass = |from| self.restore_from(&restorer, &start, nonce, from, &terms, held);
        let restored = pass(None)?;
        let mut restored = match restored.report.rebuild_from(restored.read_from, start.log_start, start.live_from) {
            Some(from) => pass(Some(from))?,
            None => restored,
        };
        restored.lane.set_terms(&ours);
        Ok(restored)
    }

    /// Snapshots, then the input from where they end, or from `from` on.
    fn restore_from(
        &self,
        restorer: &Restorer,
        start: &Start,
        nonce: u64,
        from: Option<i64>,
        terms: &Arc<Terms>,
        held: &Held,
    ) -> Result<Restored, Refused> {
        let Start { lane: id, committed, live_from, log_start, began } = start;
        let cancelled = || held.is_lost();
        let settings = Arc::new(lane_settings(self.config, self.found));
        let mut lane = Lane::new(id.clone(), *live_from, settings, Arc::clone(terms));
        let mut spill = Spill::default();
        let state = PartitionId { topic: self.config.state.topic.as_str().into(), partition: id.partition };
        let mut failed = None;
        read_state(
            restorer,
            state,
            nonce,
            |key, value| {
                lane.restore(key, value);
                failed = failed.take().or(keep_evicted(&mut lane, &mut spill).err());
            },
            cancelled,
        )?;
        let wanted = lane.replay_from(committed.as_ref().map(|committed| committed.metadata.as_str()));
        let read_from = from.unwrap_or(wanted).max(*log_start);
        let handle = |batch: Batch| failed = failed.take().or(handle(&mut lane, &batch, &mut spill).err());
        replay(restorer, id, read_from..*live_from, handle, cancelled)?;
        held.check()?;
        match failed {
            Some(error) => Err(no_room(&error)),
            None => {
                let report = lane.finish_recovery();
                Ok(Restored { lane, report, read_from, spill, began: *began })
            }
        }
    }

    fn write_barrier(&self, partition: i32, nonce: u64) -> Result<(), Failure> {
        let mut effects = Effects::default();
        effects.push_barrier(partition, &self.config.kafka.instance, nonce);
        self.producer()?.commit(&[&effects], &[], None).map(drop)
    }

    fn commit(&mut self, part: Part, began: Option<i64>, held: &Held) -> Result<(), Refused> {
        let Some(consumer) = &held.consumer else { return Err(Refused::Outside("the group is closed".to_owned())) };
        let epoch = Epoch { number: self.new_epoch(), parts: vec![part], cut_at: Duration::ZERO, began };
        let commits: Vec<Commit> = epoch.commits().collect();
        let effects: Vec<&Effects> = epoch.parts.iter().map(|part| &part.effects).collect();
        let producer = self.producer()?;
        let group = consumer.group_metadata();
        held.check()?;
        let sent = producer.commit(&effects, &commits, group.as_ref()).and_then(|_| match self.config.kafka.delivery {
            Delivery::ExactlyOnce => Ok(()),
            Delivery::AtLeastOnce => consumer.commit(&commits),
        });
        let Err(failure) = sent else { return Ok(()) };
        drop(producer);
        // A new producer ends whatever is under way; what is committed then stays so.
        let was_committed = || -> Result<bool, Failure> {
            let _fence = self.producer()?;
            let lanes: Vec<PartitionId> = commits.iter().map(|commit| commit.lane.clone()).collect();
            let found = Restorer::new(&self.config.kafka, self.count_error)?.committed(&lanes)?;
            Ok(commits.iter().all(|commit| found.get(&commit.lane) == Some(&Some(commit.committed.clone()))))
        };
        match was_committed() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refused::Outside(failure.to_string())),
            Err(second) => Err(Refused::InDoubt(format!("{failure}; then {second}"))),
        }
    }
}

fn no_room(error: &std::io::Error) -> Refused {
    Refused::Outside(format!("no room for entities that leave memory: {error}"))
}

fn handle(lane: &mut Lane, batch: &Batch, spill: &mut Spill) -> std::io::Result<()> {
    for record in batch.iter() {
        while let Handled::Cold(entity) = lane.handle(&record) {
            let bytes = spill.take(&entity)?;
            lane.revive(&entity, bytes.as_deref(), record.offset);
        }
        keep_evicted(lane, spill)?;
    }
    Ok(())
}

fn keep_evicted(lane: &mut Lane, spill: &mut Spill) -> std::io::Result<()> {
    lane.take_evicted().into_iter().try_for_each(|(entity, bytes)| spill.put(&entity, &bytes))
}
