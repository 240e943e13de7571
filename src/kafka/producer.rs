//! One epoch to the broker: in one transaction, or, without transactions, acknowledged outputs before snapshots before offsets.
//!
//! KIP-98, KIP-447. The client speaks an older protocol than KIP-890 part 2, with which a delayed request of one transaction can
//! land in the next. Hence one strike: whatever was not promptly Ok ends the producer, and a new one fences what is under way.

use super::client::{CountError, PlainContext};
use super::failure::Failure;
use super::state_log::StateLog;
use super::topics::Found;
use super::{client_config, list_of, missing};
use crate::config::{Config, Delivery, Kafka};
use crate::epoch::Commit;
use crate::lane::effects::{Effects, Output, Stream};
use rdkafka::Message as _;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A retry of librdkafka never comes before 0.8 x `retry.backoff.ms` (400 ms): what took less was not retried.
const PROMPT: Duration = Duration::from_millis(280);

/// Between two looks at what is acknowledged: short beside a broker's answer.
const REST: Duration = Duration::from_micros(300);

/// An answer that takes longer may never come: the topics are looked for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Names of the topics that outputs go to.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Alerts.
    pub alerts: String,
    /// Scores, if any.
    pub scores: Option<String>,
    /// Dead letters.
    pub dead_letters: String,
    /// State.
    pub state: String,
    /// Bytes of a batch at most, in view of their limits.
    pub max_batch: usize,
}

impl Topics {
    /// Those of a configuration, with the limits that were found.
    #[must_use]
    pub fn new(config: &Config, found: &Found) -> Self {
        let Config { output, state, .. } = config;
        Self {
            alerts: output.alerts.clone(),
            scores: output.scores.clone(),
            dead_letters: output.dead_letters.clone(),
            state: state.topic.clone(),
            max_batch: found.max_batch,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let streams = [Stream::Alerts, Stream::Scores, Stream::DeadLetters, Stream::State];
        streams.into_iter().filter_map(|stream| self.of(stream))
    }

    fn of(&self, stream: Stream) -> Option<&str> {
        match stream {
            Stream::Alerts => Some(&self.alerts),
            Stream::Scores => self.scores.as_deref(),
            Stream::DeadLetters => Some(&self.dead_letters),
            Stream::State => Some(&self.state),
        }
    }
}

/// The first record that was not taken: where it was to go, and why.
type NotTaken = (String, KafkaError);

struct Context {
    plain: PlainContext,
    failed: Arc<Mutex<Option<NotTaken>>>,
    state_log: Arc<StateLog>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.plain.error(error, reason);
    }
}

impl ProducerContext for Context {
    /// 1: a record of the state topic.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, is_state: usize) {
        match result {
            Ok(taken) if is_state == 1 => self.state_log.acknowledged(taken.partition(), taken.offset()),
            Ok(_) => {}
            Err((error, refused)) => {
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| {
                    (self.plain.count_error)(error);
                    (refused.topic().to_owned(), error.clone())
                });
            }
        }
    }
}

/// A producer that lives until its first strike.
pub struct Producer {
    inner: BaseProducer<Context>,
    failed: Arc<Mutex<Option<NotTaken>>>,
    transactional: bool,
    timeout: Duration,
    topics: Topics,
}

impl Producer {
    /// Creates it and, with transactions, fences every older one of the same name.
    ///
    /// # Errors
    /// The broker is away, or refuses us.
    pub fn start(
        kafka: &Kafka,
        topics: &Topics,
        count_error: &CountError,
        state_log: &Arc<StateLog>,
    ) -> Result<Self, Failure> {
        let failed = Arc::new(Mutex::new(None));
        let context = Context {
            plain: PlainContext { count_error: Arc::clone(count_error) },
            failed: Arc::clone(&failed),
            state_log: Arc::clone(state_log),
        };
        let asked = kafka.producer.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(usize::MAX);
        let inner: BaseProducer<Context> = client_config(&kafka.producer)
            .set("batch.size", topics.max_batch.min(asked).to_string())
            .create_with_context(context)
            .map_err(|error| Failure::Fatal(error.to_string()))?;
        let transactional = kafka.delivery == Delivery::ExactlyOnce;
        // Without known brokers the first look for a coordinator waits half a second.
        inner
            .client()
            .fetch_metadata(Some(&topics.alerts), Duration::from_secs(5))
            .map_err(|error| Failure::of_query(&error))?;
        if transactional {
            inner.init_transactions(Duration::from_secs(10)).map_err(|error| match Failure::of_query(&error) {
                Failure::Fatal(text) => Failure::Fatal(text),
                _ => Failure::of_transaction(&error),
            })?;
        }
        Ok(Self { inner, failed, transactional, timeout: kafka.transaction_timeout, topics: topics.clone() })
    }

    /// Sends everything and commits. `Ok(true)`: promptly; `Ok(false)`: done, but this producer must not be used again.
    /// `commits` may be empty for a barrier alone. In at-least-once mode the caller commits the offsets afterwards.
    ///
    /// # Errors
    /// Nothing is certain but that this producer must not be used again.
    pub fn commit(
        &self,
        effects: &[&Effects],
        commits: &[Commit],
        group: Option<&ConsumerGroupMetadata>,
    ) -> Result<bool, Failure> {
        let deadline = Instant::now() + self.timeout;
        let outputs = || effects.iter().flat_map(|effects| effects.outputs());
        if !self.transactional {
            let is_state = |output: &Output<'_>| output.stream == Stream::State;
            self.send_all(outputs().filter(|output| !is_state(output)), deadline)?;
            crate::failpoint::crash_at("after_outputs");
            self.send_all(outputs().filter(is_state), deadline)?;
            crate::failpoint::crash_at("after_snapshots");
            return Ok(true);
        }
        crate::failpoint::crash_at("begin");
        self.inner.begin_transaction().map_err(|error| Failure::of_transaction(&error))?;
        self.send_all(outputs(), deadline)?;
        crate::failpoint::crash_at("after_drain");
        crate::failpoint::hang_at("after_drain");
        let mut prompt = true;
        if let Some(group) = group.filter(|_| !commits.is_empty()) {
            let list = offsets(commits)?;
            prompt &=
                self.timed(deadline, || self.inner.send_offsets_to_transaction(&list, group, Duration::from_secs(5)))?;
        }
        crate::failpoint::crash_at("after_send_offsets");
        prompt &= self.timed(deadline, || self.inner.commit_transaction(Duration::from_secs(5)))?;
        crate::failpoint::crash_at("after_commit");
        Ok(prompt)
    }

    /// Calls until it is done, with the same arguments. True: at the first call, and before any retry could have been sent.
    fn timed(&self, deadline: Instant, call: impl Fn() -> Result<(), KafkaError>) -> Result<bool, Failure> {
        let started = Instant::now();
        loop {
            match call() {
                Ok(()) => return Ok(started.elapsed() < PROMPT),
                Err(error) => match Failure::of_transaction(&error) {
                    Failure::Retriable(_) if Instant::now() < deadline => self.inner.poll(Duration::from_millis(10)),
                    Failure::Retriable(text) => return Err(Failure::Unknown(text)),
                    failure => return Err(failure),
                },
            }
        }
    }

    /// Sends and waits until every record is acknowledged. Polls itself, for `flush` waits in steps of 100 ms, and sleeps between,
    /// for the client's own wait of a millisecond turns in circles.
    fn send_all<'a>(&self, outputs: impl Iterator<Item = Output<'a>>, deadline: Instant) -> Result<(), Failure> {
        for (n, output) in outputs.enumerate() {
            if n == 1 {
                crate::failpoint::crash_at("mid_send");
            }
            self.send(&output, deadline)?;
        }
        let mut looked = Instant::now();
        while self.inner.in_flight_count() > 0 {
            self.take_reports();
            self.check(deadline)?;
            if looked.elapsed() > PATIENCE {
                self.look_for_topics()?;
                looked = Instant::now();
            }
        }
        self.check(deadline)
    }

    /// One event of the client (delivery reports come by the thousand), or a short rest if that left everything under way.
    fn take_reports(&self) {
        let before = self.inner.in_flight_count();
        self.inner.poll(Duration::ZERO);
        if self.inner.in_flight_count() == before {
            std::thread::sleep(REST);
        }
    }

    fn check(&self, deadline: Instant) -> Result<(), Failure> {
        if let Some((topic, error)) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => self.why_failed(),
                Some(_) | None => Failure::of_delivery(&topic, &error),
            });
        }
        if self.inner.in_flight_count() > 0 && Instant::now() >= deadline {
            return Err(Failure::Unknown("not every record of the epoch was acknowledged in time".to_owned()));
        }
        Ok(())
    }

    /// Why the transaction has failed, with which all of its records are thrown away: a call that can only be refused now tells.
    fn why_failed(&self) -> Failure {
        let refused = self.inner.begin_transaction().err();
        refused.map_or_else(
            || Failure::Unknown("the records were thrown away".to_owned()),
            |why| Failure::of_transaction(&why),
        )
    }

    /// librdkafka may keep records of a topic that was deleted until they time out.
    fn look_for_topics(&self) -> Result<(), Failure> {
        let missing = missing(self.inner.client(), self.topics.names()).unwrap_or_default();
        let Some(topic) = missing.first() else { return Ok(()) };
        let error = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
        (self.inner.context().plain.count_error)(&error);
        Err(Failure::Missing(format!("topic `{topic}`: {error}")))
    }

    fn send(&self, output: &Output<'_>, deadline: Instant) -> Result<(), Failure> {
        let Some(topic) = self.topics.of(output.stream) else { return Ok(()) };
        let mut record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, usize::from(output.stream == Stream::State));
        record.key = output.key;
        record.headers = output.headers().fold(None, |headers: Option<OwnedHeaders>, (key, value)| {
            Some(headers.unwrap_or_default().insert(Header { key, value: Some(value) }))
        });
        record.payload = output.value;
        record.partition = output.partition;
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.take_reports();
                    self.check(deadline)?;
                    record = back;
                }
                // The transaction would stay healthy, and commit without this record.
                Err((error, _)) => {
                    (self.inner.context().plain.count_error)(&error);
                    return Err(Failure::of_delivery(topic, &error));
                }
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // A record that never leaves the queue would hold the drop up.
        self.inner.purge(PurgeConfig::default().queue().inflight());
        self.inner.poll(Duration::from_millis(1));
    }
}

/// As librdkafka wants them.
///
/// # Errors
/// Metadata with a zero byte in it.
pub fn offsets(commits: &[Commit]) -> Result<TopicPartitionList, Failure> {
    let list = list_of(commits.iter().map(|commit| (&commit.lane, Offset::Offset(commit.committed.offset))));
    for (mut element, commit) in list.elements().into_iter().zip(commits) {
        element.set_metadata(&commit.committed.metadata);
    }
    Ok(list)
}
