//! The thread that polls: it does nothing else and never waits, so that the group never misses us. Records go to the workers in
//! batches. Every lane has a queue of its own in librdkafka; that of a lane that has too much before it is not read until there is
//! less, and librdkafka then stops to fetch by itself. Pausing a partition instead would throw away what it has fetched, and one
//! that is resumed may wait for a second before its broker's thread looks at it.

use super::client::{GroupContext, Rebalance, give_back};
use super::failure::Failure;
use super::{client_config, lanes_of, list_of};
use crate::config::Kafka;
use crate::epoch::Commit;
use crate::lane::record::{PartitionId, Record};
use rdkafka::Message as _;
/// Who we are in the group.
pub use rdkafka::consumer::ConsumerGroupMetadata as GroupMetadata;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionListElem};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes before a lane above which its partition is not read; `queued.max.messages.kbytes` bounds what librdkafka fetches then.
const HIGH: usize = 4 << 20;
/// The longest sleep while nothing comes. New records end it, but not what the group wants, nor a lane that has caught up.
const SLEEP: Duration = Duration::from_millis(20);
/// How long a seek may take: it is an order to another thread of ours, not to the broker.
const SEEK: Duration = Duration::from_millis(500);
/// Records of a batch at most.
const BATCH: usize = 1024;
/// Bytes of a batch at most.
const BATCH_BYTES: usize = 1 << 20;

/// Records of one partition in one arena.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Range<usize>>,
    payload: Option<Range<usize>>,
}

impl Batch {
    /// An empty one with room for a little more than this one holds: the next batch of a partition is much like the last.
    fn like_this(&self) -> Self {
        let room = |len: usize| len + len / 8;
        Self {
            bytes: Vec::with_capacity(room(self.bytes.len())),
            records: Vec::with_capacity(room(self.records.len())),
        }
    }

    /// Copies a record in.
    pub fn push(&mut self, message: &BorrowedMessage<'_>) {
        let mut copy = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                start..self.bytes.len()
            })
        };
        let (key, payload) = (copy(message.key()), copy(message.payload()));
        self.records.push(Kept {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key,
            payload,
        });
    }

    /// The record at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Record<'_> {
        let kept = &self.records[place];
        Record {
            offset: kept.offset,
            timestamp_ms: kept.timestamp_ms,
            key: kept.key.clone().map(|key| &self.bytes[key]),
            payload: kept.payload.clone().map(|payload| &self.bytes[payload]),
        }
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|place| self.get(place))
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes it takes, a record's own room included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.records.len() * size_of::<Kept>()
    }

    /// Is it worth sending on?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.records.len() >= BATCH || self.bytes.len() >= BATCH_BYTES
    }

    /// Nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Bytes before a lane: the poller adds, its worker takes away.
pub type Backlog = Arc<AtomicUsize>;

/// What the poller is told.
pub enum Order {
    /// A lane is live: read on from this offset.
    GoLive(PartitionId, i64, Backlog),
    /// A lane begins again: read no more of it until it is live.
    Park(PartitionId),
    /// The lanes of a revoke are committed and gone.
    AckRevoke(Vec<PartitionId>),
    /// Leave the group and join it again, with what is subscribed to alone: everything is to be given up first.
    JoinAnew,
    /// Read no more: the end is near. Polling goes on.
    PauseAll,
    /// Leave.
    Close,
}

/// What the poller tells.
pub enum Event {
    /// The consumer is of no more use.
    Failed(Failure),
    /// A partition went on at a later offset than the next one. It may have been control records in between, or compaction.
    Jumped(Jump),
    /// A partition has begun anew before what was read of it: the log is another one, or was cut and written again.
    WentBack(PartitionId),
}

/// A gap between two records that were read one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// Where.
    pub lane: PartitionId,
    /// The offset that was expected.
    pub from: i64,
    /// The offset that came.
    pub to: i64,
}

/// How records leave the poller, and what it tells.
pub struct Outlets<'a> {
    /// A batch of a partition, and the backlog that it was added to: which of the lanes that the partition had it is for.
    pub batch: &'a mut dyn FnMut(&PartitionId, &Backlog, Batch),
    /// An event.
    pub event: &'a mut dyn FnMut(Event),
    /// It has polled: for the metric, and for liveness.
    pub polled: &'a dyn Fn(SystemTime),
}

/// The consumer of the group.
pub struct Consumer {
    inner: Arc<BaseConsumer<GroupContext>>,
    topics: Vec<String>,
}

impl Consumer {
    /// Creates it and joins the group.
    ///
    /// # Errors
    /// Properties that librdkafka does not take.
    pub fn join(kafka: &Kafka, topics: &[String], context: GroupContext) -> Result<Self, Failure> {
        let inner: BaseConsumer<GroupContext> = client_config(&kafka.consumer)
            .create_with_context(context)
            .map_err(|error| Failure::Fatal(error.to_string()))?;
        let consumer = Self { inner: Arc::new(inner), topics: topics.to_vec() };
        consumer.subscribe().map_err(|error| Failure::Fatal(error.to_string()))?;
        Ok(consumer)
    }

    fn subscribe(&self) -> KafkaResult<()> {
        self.inner.subscribe(&self.topics.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Who we are in the group now: to be taken when an epoch is cut.
    #[must_use]
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        self.inner.group_metadata()
    }

    /// Commits offsets without a transaction, and waits for the broker's answer.
    ///
    /// # Errors
    /// Retriable, or the group has moved on.
    pub fn commit(&self, commits: &[Commit]) -> Result<(), Failure> {
        let list = super::producer::offsets(commits)?;
        self.inner.commit(&list, rdkafka::consumer::CommitMode::Sync).map_err(|error| Failure::of_query(&error))
    }

    /// Newest offset of a partition that the consumer has heard of.
    #[must_use]
    pub fn high_watermark(&self, lane: &PartitionId) -> Option<i64> {
        self.inner.fetch_watermarks(&lane.topic, lane.partition, Duration::from_secs(1)).ok().map(|(_, high)| high)
    }

    /// Where reading goes on, by partition; none for those of which nothing was read yet. Markers of transactions, which are no
    /// records, are behind it once they were passed over.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<PartitionId, i64> {
        let Ok(list) = self.inner.position() else { return BTreeMap::new() };
        let elements = list.elements();
        let position = |element: &TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => {
                Some((PartitionId { topic: element.topic().into(), partition: element.partition() }, offset))
            }
            _ => None,
        };
        elements.iter().filter_map(position).collect()
    }

    /// What is ours at this moment, whether its lanes are live or not; and what is still to be given up.
    #[must_use]
    pub fn held(&self) -> Option<BTreeSet<PartitionId>> {
        self.inner.assignment().ok().map(|list| lanes_of(&list).into_iter().collect())
    }

    /// How often the group has told us what is ours.
    #[must_use]
    pub fn n_rebalances(&self) -> u64 {
        self.inner.context().n_rebalances()
    }

    /// Polls until it is told to close. Runs on a thread of its own.
    pub fn poll_until_closed(&self, orders: &Receiver<Order>, outlets: &mut Outlets<'_>) {
        let mut poller = Poller {
            consumer: &self.inner,
            lanes: BTreeMap::new(),
            waking: Vec::new(),
            revoked: BTreeSet::new(),
            stopped: false,
        };
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Close) | Err(TryRecvError::Disconnected) => return self.close(),
                    // librdkafka subscribes once what was revoked by it is given back, and the group has let us go.
                    Ok(Order::JoinAnew) => {
                        self.inner.unsubscribe();
                        note(self.subscribe(), "subscribe");
                    }
                    Ok(order) => poller.obey(order),
                    Err(TryRecvError::Empty) => break,
                }
            }
            poller.wake();
            poller.serve(outlets);
            (outlets.polled)(SystemTime::now());
            for event in self.inner.context().take_events() {
                poller.follow(&event);
            }
            if !poller.read(outlets) {
                std::thread::park_timeout(SLEEP);
            }
        }
    }

    /// No goodbye: unsubscribing would tell the group that we leave, and move our partitions. A static member that is dropped
    /// keeps them until it is back or its session ends.
    fn close(&self) {
        self.inner.context().close();
    }
}

struct Lane {
    queue: PartitionQueue<GroupContext>,
    backlog: Backlog,
    batch: Batch,
    /// Lowest offset that has not come yet.
    next: i64,
    /// A record has come since the lane is live.
    begun: bool,
}

/// Where a lane's records went.
enum Went {
    On,
    /// Below what was read already.
    Back,
}

struct Poller<'a> {
    consumer: &'a Arc<BaseConsumer<GroupContext>>,
    lanes: BTreeMap<PartitionId, Lane>,
    /// Lanes that are live, but whose position is not set yet.
    waking: Vec<(PartitionId, i64, Backlog)>,
    /// The group waits for their acknowledgement.
    revoked: BTreeSet<PartitionId>,
    stopped: bool,
}

impl Poller<'_> {
    /// Serves what the group and the brokers have to say. No record of a live lane comes this way.
    fn serve(&mut self, outlets: &mut Outlets<'_>) {
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            if let Err(failure) = checked(polled) {
                return (outlets.event)(Event::Failed(failure));
            }
        }
    }

    /// A batch of every lane that has records and room for them; was there any?
    fn read(&mut self, outlets: &mut Outlets<'_>) -> bool {
        if self.stopped {
            return false;
        }
        let mut any = false;
        let mut went_back = Vec::new();
        for (id, lane) in &mut self.lanes {
            if lane.backlog.load(Ordering::Relaxed) > HIGH {
                continue;
            }
            match lane.fill(id, outlets) {
                Ok(Went::On) => {}
                Ok(Went::Back) => went_back.push(id.clone()),
                Err(failure) => (outlets.event)(Event::Failed(failure)),
            }
            any |= lane.flush(id, outlets);
        }
        for id in went_back {
            self.lanes.remove(&id);
            (outlets.event)(Event::WentBack(id));
        }
        any
    }

    /// Sets the position of lanes that are live. It has to be acknowledged before anything is fetched: a seek that librdkafka
    /// drops in silence (the partition is not started yet) would lose every record up to where it begins by itself.
    fn wake(&mut self) {
        for (id, offset, backlog) in std::mem::take(&mut self.waking) {
            // The queue of a lane that was would take the new one's callback with it when it goes.
            self.lanes.remove(&id);
            let set = self.consumer.seek(&id.topic, id.partition, Offset::Offset(offset), SEEK);
            match set.map(|()| self.consumer.split_partition_queue(&id.topic, id.partition)) {
                Ok(Some(mut queue)) => {
                    let poller = std::thread::current();
                    queue.set_nonempty_callback(move || poller.unpark());
                    if !self.stopped {
                        note(self.consumer.resume(&list_of([(&id, Offset::Invalid)])), "resume");
                    }
                    let lane = Lane { queue, backlog, batch: Batch::default(), next: offset, begun: false };
                    self.lanes.insert(id, lane);
                }
                Ok(None) => tracing::error!(lane = %id, "a lane has no queue"),
                Err(error) => {
                    tracing::debug!(%error, lane = %id, "a seek is tried again");
                    self.waking.push((id, offset, backlog));
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::GoLive(id, offset, backlog) => self.waking.push((id, offset, backlog)),
            Order::Park(id) => {
                self.waking.retain(|(waking, _, _)| *waking != id);
                note(self.consumer.pause(&list_of([(&id, Offset::Invalid)])), "pause");
                self.lanes.remove(&id);
            }
            Order::AckRevoke(ids) => {
                // What was lost meanwhile is not waited for, and may be ours again.
                let waited_for: Vec<PartitionId> = ids.into_iter().filter(|id| self.revoked.remove(id)).collect();
                if !waited_for.is_empty() {
                    let list = list_of(waited_for.iter().map(|id| (id, Offset::Invalid)));
                    note(give_back(self.consumer, &list), "unassign");
                }
            }
            Order::PauseAll => self.stopped = true,
            // The caller has followed them.
            Order::JoinAnew | Order::Close => {}
        }
    }

    fn forget(&mut self, ids: &[PartitionId]) {
        ids.iter().for_each(|id| drop(self.lanes.remove(id)));
        self.waking.retain(|(id, _, _)| !ids.contains(id));
    }

    fn follow(&mut self, event: &Rebalance) {
        match event {
            Rebalance::Lost(ids) => {
                self.forget(ids);
                self.revoked.retain(|id| !ids.contains(id));
            }
            Rebalance::Revoked(ids) => {
                self.forget(ids);
                self.revoked.extend(ids.iter().cloned());
            }
            Rebalance::Assigned(_) => {}
        }
    }
}

impl Lane {
    /// Reads what is there, up to a batch.
    fn fill(&mut self, id: &PartitionId, outlets: &mut Outlets<'_>) -> Result<Went, Failure> {
        while !self.batch.is_full() {
            let Some(polled) = self.queue.poll(Duration::ZERO) else { break };
            let Some(message) = checked(polled)? else { continue };
            let offset = message.offset();
            if offset < self.next {
                // Before the first record it is what was fetched before the position was set.
                if self.begun {
                    return Ok(Went::Back);
                }
                continue;
            }
            if offset > self.next {
                (outlets.event)(Event::Jumped(Jump { lane: id.clone(), from: self.next, to: offset }));
            }
            self.begun = true;
            self.next = offset + 1;
            self.batch.push(&message);
        }
        Ok(Went::On)
    }

    /// Sends the batch on; was there anything in it?
    fn flush(&mut self, id: &PartitionId, outlets: &mut Outlets<'_>) -> bool {
        if self.batch.is_empty() {
            return false;
        }
        let next = self.batch.like_this();
        let batch = std::mem::replace(&mut self.batch, next);
        self.backlog.fetch_add(batch.size(), Ordering::Relaxed);
        (outlets.batch)(id, &self.backlog, batch);
        true
    }
}

/// A record, or what ends the consumer; errors that pass are no reason to stop.
fn checked(polled: KafkaResult<BorrowedMessage<'_>>) -> Result<Option<BorrowedMessage<'_>>, Failure> {
    polled.map(Some).or_else(|error| match Failure::of_poll(&error) {
        failure @ (Failure::Fenced(_) | Failure::Fatal(_)) => Err(failure),
        Failure::Retriable(_) | Failure::Missing(_) | Failure::Unknown(_) | Failure::Refused(_) => {
            tracing::debug!(%error, "polling goes on after an error");
            Ok(None)
        }
    })
}

fn note(result: Result<(), rdkafka::error::KafkaError>, what: &'static str) {
    if let Err(error) = result {
        tracing::warn!(%error, what, "the consumer refused an order");
    }
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
