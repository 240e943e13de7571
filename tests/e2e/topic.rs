//! Writing and reading topics as a stranger would.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a question to a broker may take.
const CALL: Duration = Duration::from_secs(5);

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, Vec<u8>>,
    pub partition: i32,
    pub offset: i64,
}

impl Read {
    pub fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
            partition: message.partition(),
            offset: message.offset(),
        }
    }
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
        self.send_bytes(key.map(str::as_bytes), value);
    }

    /// The same with a key that is no text.
    pub fn send_bytes(&self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
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
    pub fn send_to(&self, partition: i32, key: &[u8], value: Option<&[u8]>) {
        let mut record = BaseRecord::to(&self.topic).partition(partition).key(key);
        record.payload = value;
        self.inner.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub fn flush(&self) {
        self.inner.flush(Duration::from_secs(120)).unwrap();
    }
}

fn reader(bootstrap: &str) -> BaseConsumer {
    reader_of(bootstrap, "reader", "read_committed")
}

fn reader_of(bootstrap: &str, group: &str, isolation: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("log_level", "0")
        .create()
        .unwrap()
}

/// A reader of committed records, from the beginning of every partition of these topics.
pub fn read_from_the_beginning(bootstrap: &str, topics: &[&str]) -> BaseConsumer {
    let consumer = reader(bootstrap);
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for partition in partitions_of(&consumer, topic) {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
    }
    consumer.assign(&list).unwrap();
    consumer
}

fn partitions_of(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect()
}

/// Everything that is committed in a topic now, partition by partition.
pub fn read_all(bootstrap: &str, topic: &str) -> Vec<Read> {
    let consumer = read_from_the_beginning(bootstrap, &[topic]);
    let mut open: BTreeSet<i32> = partitions_of(&consumer, topic).into_iter().collect();
    let mut all = Vec::new();
    while !open.is_empty() {
        match consumer.poll(Duration::from_secs(30)) {
            Some(Ok(message)) => all.push(Read::of(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => println!("reading {topic} goes on after {error}"),
            None => panic!("no end of {topic} within 30 s"),
        }
    }
    all
}

/// Records of a topic that a group has not committed; `None` while that cannot be told.
pub fn lag(bootstrap: &str, group: &str, topic: &str) -> Option<i64> {
    let consumer = reader_of(bootstrap, group, "read_committed");
    let mut lag = 0;
    for (partition, committed) in committed(bootstrap, group, topic)?.into_iter().enumerate() {
        let (low, high) = consumer.fetch_watermarks(topic, partition as i32, CALL).ok()?;
        lag += high - committed.map_or(low, |(next, _)| next);
    }
    Some(lag)
}

/// Offset and metadata that a group has committed, by partition; `None` while that cannot be told, or a transaction is pending.
pub fn committed(bootstrap: &str, group: &str, topic: &str) -> Option<Vec<Option<(i64, String)>>> {
    let consumer = reader_of(bootstrap, group, "read_committed");
    let metadata = consumer.fetch_metadata(Some(topic), CALL).ok()?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition(topic, partition.id());
    }
    let found = consumer.committed_offsets(list, CALL).ok()?;
    let elements = found.elements();
    let of = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
        _ => None,
    };
    Some(elements.iter().map(of).collect())
}

/// Every offset that a group has committed of a topic, in the order of the broker's own log: partition, offset.
pub fn history(bootstrap: &str, group: &str, topic: &str) -> Vec<(i32, i64)> {
    let of = |read: &Read| {
        let mut key = Bytes(read.key.as_deref()?);
        // Version 2 and others are records of the group itself.
        (key.short()? < 2 && key.text()? == group && key.text()? == topic).then_some(())?;
        let mut value = Bytes(read.value.as_deref()?);
        value.short()?;
        Some((key.int()?, value.long()?))
    };
    read_all(bootstrap, "__consumer_offsets").iter().filter_map(of).collect()
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn short(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn int(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let size = usize::try_from(self.short()?).ok()?;
        let (text, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

/// Aborts what a dead producer of this transactional id has left open: its transactions are decided when this returns.
pub fn fence(bootstrap: &str, transactional_id: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", transactional_id)
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(60)).unwrap();
}

/// Is there an open transaction in a topic? Readers of committed records then see less than others do.
pub fn is_pending(bootstrap: &str, topic: &str) -> bool {
    let [committed, all] = ["read_committed", "read_uncommitted"].map(|level| reader_of(bootstrap, "reader", level));
    let end =
        |consumer: &BaseConsumer, partition| consumer.fetch_watermarks(topic, partition, CALL).map(|(_, end)| end);
    partitions_of(&all, topic)
        .into_iter()
        .any(|partition| !matches!((end(&committed, partition), end(&all, partition)), (Ok(a), Ok(b)) if a == b))
}

/// The offsets behind the last records of a topic, partition by partition.
pub fn ends(bootstrap: &str, topic: &str) -> Vec<i64> {
    let consumer = reader(bootstrap);
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let end = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(30)).unwrap().1;
    (0..metadata.topics()[0].partitions().len() as i32).map(end).collect()
}
