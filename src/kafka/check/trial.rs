//! Writing without leaving anything: a record for each topic in a transaction that is aborted, under a name of its own, since
//! the daemon's would fence it.

use super::{NOWHERE, PATIENCE};
use crate::config::Kafka;
use crate::kafka::client::{CountError, PlainContext};
use crate::kafka::{client_config, list_of};
use crate::lane::record::PartitionId;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::topic_partition_list::Offset;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Key of a trial's records: no entity, and no key of the state topic.
const KEY: &[u8] = b"offkey check";
/// A refusal stops a record before it is sent, and is told to the next call alone.
const SENT_WITHIN: Duration = Duration::from_secs(2);

type Delivered = Arc<Mutex<Option<Result<(), KafkaError>>>>;

struct Context {
    plain: PlainContext,
    delivered: Delivered,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.plain.error(error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let told = result.as_ref().map(drop).map_err(|(error, _)| error.clone());
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(told);
    }
}

/// Who tries.
pub struct Trial {
    properties: ClientConfig,
    id: String,
    group: Option<ConsumerGroupMetadata>,
    plain: PlainContext,
}

impl Trial {
    /// With the producer's own properties, but for the name.
    pub fn new(kafka: &Kafka, group: Option<ConsumerGroupMetadata>, count_error: &CountError) -> Self {
        let id = format!("{}-check", kafka.client_id());
        let mut properties = client_config(&kafka.producer);
        properties.set("transactional.id", &id);
        let plain = PlainContext { count_error: Arc::clone(count_error) };
        Self { properties, id, group, plain }
    }

    /// Its transactional id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A producer that is allowed to begin transactions.
    pub fn start(&self) -> Result<Attempt<'_>, KafkaError> {
        let delivered = Delivered::default();
        let context = Context { plain: self.plain.clone(), delivered: Arc::clone(&delivered) };
        let producer: BaseProducer<Context> = self.properties.create_with_context(context)?;
        // Without known brokers the first look for a coordinator waits half a second.
        producer.client().fetch_metadata(None, PATIENCE)?;
        producer.init_transactions(PATIENCE)?;
        Ok(Attempt { trial: self, producer, delivered })
    }

    /// Writes to a topic and takes it back.
    pub fn write(&self, topic: &str) -> Result<(), KafkaError> {
        // A refusal spoils the transaction, and sometimes its producer: each topic has its own.
        self.start()?.write(topic)
    }
}

/// One producer of a trial.
pub struct Attempt<'a> {
    trial: &'a Trial,
    producer: BaseProducer<Context>,
    delivered: Delivered,
}

impl Attempt<'_> {
    fn write(&self, topic: &str) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        let sent = self.producer.send(BaseRecord::<[u8], [u8]>::to(topic).key(KEY)).map_err(|(error, _)| error);
        let written = sent.and_then(|()| self.told(topic));
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.producer.poll(Duration::from_millis(10));
        let aborted = self.producer.abort_transaction(PATIENCE);
        written.and(aborted)
    }

    /// What became of the record.
    fn told(&self, topic: &str) -> Result<(), KafkaError> {
        let mut asked = false;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            self.producer.poll(Duration::from_millis(50));
            if let Some(told) = self.delivered.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return told;
            }
            if !asked && started.elapsed() > SENT_WITHIN {
                asked = true;
                self.refusal(topic)?;
            }
        }
        Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut))
    }

    /// Why a transaction that cannot go on cannot: the offset of nowhere would not be taken anyway.
    fn refusal(&self, topic: &str) -> Result<(), KafkaError> {
        let Some(group) = &self.trial.group else { return Ok(()) };
        let nowhere = PartitionId { topic: topic.into(), partition: NOWHERE };
        let list = list_of([(&nowhere, Offset::Offset(0))]);
        match self.producer.send_offsets_to_transaction(&list, group, SENT_WITHIN) {
            Err(error) if error.rdkafka_error_code().is_some_and(crate::kafka::failure::is_denial) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
