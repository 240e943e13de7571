//! Writing and reading topics as a stranger would.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, Vec<u8>>,
}

/// Produces like a Java client would: the key decides the partition.
pub struct Writer {
    inner: ThreadedProducer<rdkafka::producer::DefaultProducerContext>,
    topic: String,
}

impl Writer {
    pub fn to(bootstrap: &str, topic: &str) -> Self {
        let inner = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "20000000")
            .create()
            .unwrap();
        Self { inner, topic: topic.to_owned() }
    }

    pub fn send(&self, key: Option<&str>, value: Option<&[u8]>) {
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&self.topic);
        record.key = key;
        record.payload = value;
        loop {
            match self.inner.send(record) {
                Ok(()) => return,
                Err((_, back)) => record = back,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A record of any key to a partition.
    pub fn send_to(&self, partition: i32, key: &[u8], value: &[u8]) {
        let record = BaseRecord::to(&self.topic).partition(partition).key(key).payload(value);
        self.inner.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub fn flush(&self) {
        self.inner.flush(Duration::from_secs(120)).unwrap();
    }
}

fn reader(bootstrap: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap()
}

/// Everything that is committed in a topic now, partition by partition.
pub fn read_all(bootstrap: &str, topic: &str) -> Vec<Read> {
    let consumer = reader(bootstrap);
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    let mut list = TopicPartitionList::new();
    partitions.iter().for_each(|partition| list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap());
    consumer.assign(&list).unwrap();
    let mut open: BTreeSet<i32> = partitions.into_iter().collect();
    let mut all = Vec::new();
    while !open.is_empty() {
        match consumer.poll(Duration::from_secs(30)) {
            Some(Ok(message)) => all.push(Read {
                key: message.key().unwrap_or_default().to_vec(),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message
                    .headers()
                    .map(|headers| {
                        headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
                    })
                    .unwrap_or_default(),
            }),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => println!("reading {topic} goes on after {error}"),
            None => panic!("no end of {topic} within 30 s"),
        }
    }
    all
}

/// Records of a topic that a group has not committed; `None` while that cannot be told.
pub fn lag(bootstrap: &str, group: &str, topic: &str) -> Option<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("log_level", "0")
        .create()
        .ok()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition(topic, partition.id());
    }
    let committed = consumer.committed_offsets(list, Duration::from_secs(5)).ok()?;
    let mut lag = 0;
    for element in committed.elements() {
        let (low, high) = consumer.fetch_watermarks(topic, element.partition(), Duration::from_secs(5)).ok()?;
        let next = element.offset().to_raw().filter(|next| *next >= 0).unwrap_or(low);
        lag += high - next;
    }
    Some(lag)
}

/// The offsets behind the last records of a topic, partition by partition.
pub fn ends(bootstrap: &str, topic: &str) -> Vec<i64> {
    let consumer = reader(bootstrap);
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let end = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(30)).unwrap().1;
    (0..metadata.topics()[0].partitions().len() as i32).map(end).collect()
}
