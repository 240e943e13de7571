//! Reading what was: committed offsets, the state topic up to our barrier, the input again. A second consumer without a
//! subscription, so that the group's position is never moved.

use super::client::{CountError, PlainContext};
use super::failure::{Failure, is_missing};
use super::group::{self, Member};
use super::{client_config, list_of};
use crate::config::Kafka;
use crate::epoch::{Committed, Found};
use crate::lane::record::PartitionId;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const CALL: Duration = Duration::from_secs(5);

/// A consumer that reads where it is told.
pub struct Restorer {
    inner: BaseConsumer<PlainContext>,
}

impl Restorer {
    /// Creates it.
    ///
    /// # Errors
    /// Properties that librdkafka does not take.
    pub fn new(kafka: &Kafka, count_error: &CountError) -> Result<Self, Failure> {
        let context = PlainContext { count_error: Arc::clone(count_error) };
        let inner = client_config(&kafka.restorer)
            .create_with_context(context)
            .map_err(|error| Failure::Fatal(error.to_string()))?;
        Ok(Self { inner })
    }

    /// What the group has committed. While a transaction with an offset of such a partition is pending, this fails as
    /// retriable after five seconds.
    ///
    /// # Errors
    /// Retriable, or we may not ask.
    pub fn committed(&self, lanes: &[PartitionId]) -> Result<Found, Failure> {
        let list = list_of(lanes.iter().map(|lane| (lane, Offset::Invalid)));
        let found = self.inner.committed_offsets(list, CALL).map_err(|error| self.unstable(lanes, &error))?;
        let mut committed = Found::new();
        for element in found.elements() {
            element.error().map_err(|error| Failure::of_query(&error))?;
            let lane = PartitionId { topic: element.topic().into(), partition: element.partition() };
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(Committed { offset, metadata: element.metadata().to_owned() }),
                _ => None,
            };
            committed.insert(lane, offset);
        }
        Ok(committed)
    }

    /// A broker that answers everything else and not this waits for a transaction to end.
    fn unstable(&self, lanes: &[PartitionId], error: &KafkaError) -> Failure {
        let answers = || lanes.first().is_some_and(|lane| self.lacks(&lane.topic).is_ok());
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) && answers() {
            return Failure::Retriable(
                "the group's committed offsets are unstable: a transaction over them is pending. It ends with its own time-out; if it \
                 does not, the broker has lost its end (kafka-transactions.sh find-hanging)"
                    .to_owned(),
            );
        }
        Failure::of_query(error)
    }

    /// Does a broker say that there is no such topic?
    ///
    /// # Errors
    /// Retriable: no broker answers.
    pub fn lacks(&self, topic: &str) -> Result<bool, Failure> {
        super::lacks(self.inner.client(), topic).map_err(|error| Failure::of_query(&error))
    }

    /// Those of these topics of which a broker says that they are not there.
    ///
    /// # Errors
    /// Retriable: no broker answers.
    pub fn missing(&self, topics: &[String]) -> Result<Vec<String>, Failure> {
        let missing = super::missing(self.inner.client(), topics.iter().map(String::as_str));
        missing.map(|topics| topics.into_iter().map(str::to_owned).collect()).map_err(|error| Failure::of_query(&error))
    }

    /// Every partition of these topics; none of one that is not there.
    ///
    /// # Errors
    /// Retriable: no broker answers.
    pub fn partitions(&self, topics: &[String]) -> Result<BTreeSet<PartitionId>, Failure> {
        let mut partitions = BTreeSet::new();
        for topic in topics {
            let metadata = self.inner.fetch_metadata(Some(topic), CALL).map_err(|error| Failure::of_query(&error))?;
            let described = metadata.topics().iter().filter(|topic| topic.error().is_none());
            let ids = described.flat_map(|topic| topic.partitions().iter().map(|partition| partition.id()));
            let topic: Arc<str> = topic.as_str().into();
            partitions.extend(ids.map(|partition| PartitionId { topic: Arc::clone(&topic), partition }));
        }
        Ok(partitions)
    }

    /// The members of a group. `None`: it is not at rest, or the broker does not tell.
    ///
    /// # Errors
    /// Retriable: no broker answers, or none knows how to.
    pub fn members(&self, group: &str) -> Result<Option<Vec<Member>>, Failure> {
        let found = self.inner.fetch_group_list(Some(group), CALL).map_err(|error| Failure::of_query(&error))?;
        Ok(found.groups().first().and_then(group::at_rest))
    }

    /// First offset and the one after the last of a partition (for a read_committed client: the last stable one).
    ///
    /// # Errors
    /// Retriable, or we may not ask.
    pub fn watermarks(&self, lane: &PartitionId) -> Result<(i64, i64), Failure> {
        self.inner.fetch_watermarks(&lane.topic, lane.partition, CALL).map_err(|error| Failure::of_query(&error))
    }

    /// First offset whose record is not older than `millis`; the end if there is none.
    ///
    /// # Errors
    /// Retriable, or we may not ask.
    pub fn offset_at(&self, lane: &PartitionId, millis: i64) -> Result<i64, Failure> {
        let list = list_of([(lane, Offset::Offset(millis))]);
        let found = self.inner.offsets_for_times(list, CALL).map_err(|error| Failure::of_query(&error))?;
        match found.elements().first().map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Ok(offset),
            _ => self.watermarks(lane).map(|(_, high)| high),
        }
    }

    /// Reads these partitions from these offsets, and gives each record to `take` until it says that its partition is done;
    /// returns when all are. `cancelled` ends it early, as does an error of `take`.
    ///
    /// # Errors
    /// Retriable.
    pub fn read(
        &self,
        from: &BTreeMap<PartitionId, i64>,
        mut take: impl FnMut(&PartitionId, &BorrowedMessage<'_>) -> bool,
        mut idle: impl FnMut(&PartitionId, i64) -> bool,
        cancelled: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let mut open: BTreeMap<PartitionId, i64> = from.clone();
        for topic in open.keys().map(|lane| Arc::clone(&lane.topic)).collect::<BTreeSet<_>>() {
            // Without a known leader the first fetch waits half a second.
            self.inner.fetch_metadata(Some(&topic), CALL).map_err(|error| Failure::of_query(&error))?;
        }
        self.inner
            .assign(&list_of(open.iter().map(|(lane, offset)| (lane, Offset::Offset(*offset)))))
            .map_err(|error| Failure::of_query(&error))?;
        while !open.is_empty() && !cancelled() {
            let message = match self.inner.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => message,
                // What was to be read is not in the log any more, and nothing more comes of that partition.
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                    return Err(Failure::Retriable(error.to_string()));
                }
                // Its topic was deleted: neither does anything.
                Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_missing) => {
                    return Err(Failure::Retriable(error.to_string()));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "restoring goes on after an error");
                    continue;
                }
                None => {
                    // A log whose tail was compacted away, or holds only control records, ends without a record.
                    open.retain(|lane, _| {
                        let position = self.position(lane);
                        !position.is_some_and(|position| idle(lane, position))
                    });
                    continue;
                }
            };
            let lane = PartitionId { topic: message.topic().into(), partition: message.partition() };
            if open.contains_key(&lane) && take(&lane, &message) {
                open.remove(&lane);
            }
        }
        self.inner.unassign().map_err(|error| Failure::of_query(&error))
    }

    fn position(&self, lane: &PartitionId) -> Option<i64> {
        let list = self.inner.position().ok()?;
        match list.find_partition(&lane.topic, lane.partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }
}
