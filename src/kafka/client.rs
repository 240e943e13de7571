//! What librdkafka calls back: errors to count, logs to pass on, rebalances to answer.

use super::{lanes_of, list_of};
use crate::lane::record::PartitionId;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Something the group did with our partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// They are ours; they are paused until their lanes are live.
    Assigned(Vec<PartitionId>),
    /// They are to be given up; the group waits for our acknowledgement.
    Revoked(Vec<PartitionId>),
    /// They are somebody else's already.
    Lost(Vec<PartitionId>),
}

/// Counts an error of a client: kind by code.
pub type CountError = Arc<dyn Fn(&KafkaError) + Send + Sync>;

/// Passes a rebalance on.
pub type TellRebalance = Box<dyn Fn(Rebalance) + Send + Sync>;

/// The consumer's context: assigns are acknowledged at once (a waiting one pauses everything), a plain revoke waits for the
/// lanes, a lost one cannot.
pub struct GroupContext {
    events: Mutex<Vec<Rebalance>>,
    closing: AtomicBool,
    n_rebalances: AtomicU64,
    count_error: CountError,
    tell: TellRebalance,
}

impl GroupContext {
    /// Counts errors by `count_error`. `tell` is given a loss before it is acknowledged, that is before the group can make us a
    /// member of its next generation: whoever has seen that generation and then looks at what was told knows of the loss.
    #[must_use]
    pub fn new(count_error: CountError, tell: TellRebalance) -> Self {
        let (closing, n_rebalances) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { events: Mutex::default(), closing, n_rebalances, count_error, tell }
    }

    /// What happened since the last call, for the poller itself. To be called behind every poll.
    pub fn take_events(&self) -> Vec<Rebalance> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on every revoke is acknowledged at once: a consumer that is dropped waits for it.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// How often the group has told us what is ours, if only that it is nothing more.
    pub fn n_rebalances(&self) -> u64 {
        self.n_rebalances.load(Ordering::SeqCst)
    }

    fn note(&self, event: Rebalance) {
        (self.tell)(event.clone());
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl ClientContext for GroupContext {
    fn error(&self, error: KafkaError, reason: &str) {
        (self.count_error)(&error);
        tracing::warn!(%error, reason, "the consumer met an error");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let lanes = lanes_of(list);
        let closing = self.closing.load(Ordering::SeqCst);
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // An absolute offset needs no question to a broker. The position is set when the lane is live, and until then
            // nothing is fetched; should that fail, records come too early and are passed over, and none is missed.
            let _ = list.set_all_offsets(Offset::Offset(0));
            answer(
                if is_eager(consumer) { consumer.assign(list) } else { consumer.incremental_assign(list) },
                "assign",
            );
            if !lanes.is_empty() {
                answer(consumer.pause(&list_of(lanes.iter().map(|lane| (lane, Offset::Invalid)))), "pause");
            }
            self.n_rebalances.fetch_add(1, Ordering::SeqCst);
            return self.note(Rebalance::Assigned(lanes));
        }
        let lost = consumer.assignment_lost();
        if lost || closing {
            self.note(if lost { Rebalance::Lost(lanes) } else { Rebalance::Revoked(lanes) });
            return answer(give_back(consumer, list), "unassign");
        }
        self.note(Rebalance::Revoked(lanes));
    }
}

/// Does a rebalance of the group begin with everybody giving back everything?
fn is_eager(consumer: &BaseConsumer<GroupContext>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Eager)
}

/// Acknowledges a revoke or a loss; an eager one is of all partitions.
pub fn give_back(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<()> {
    if is_eager(consumer) { consumer.unassign() } else { consumer.incremental_unassign(list) }
}

fn answer(result: Result<(), KafkaError>, what: &'static str) {
    if let Err(error) = result {
        tracing::warn!(%error, what, "a rebalance could not be answered");
    }
}

/// The context of every other client.
#[derive(Clone)]
pub struct PlainContext {
    /// Counts errors.
    pub count_error: CountError,
}

impl ClientContext for PlainContext {
    fn error(&self, error: KafkaError, reason: &str) {
        (self.count_error)(&error);
        tracing::warn!(%error, reason, "a client met an error");
    }
}

impl ConsumerContext for PlainContext {}
