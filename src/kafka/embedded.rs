//! librdkafka's mock cluster in our own process, for the demo: no disk, no transactions worth the name, nothing to install.

use super::failure::Failure;
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::time::Duration;

/// A broker that lives as long as this.
pub struct Embedded {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Embedded {
    /// Starts it on a free port of loopback, with these topics.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, Failure> {
        let cluster = MockCluster::new(1).map_err(|error| Failure::Fatal(error.to_string()))?;
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1).map_err(|error| Failure::Fatal(error.to_string()))?;
        }
        Ok(Self { cluster })
    }

    /// Its address.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

/// Writes to one topic.
pub struct Writer {
    inner: ThreadedProducer<rdkafka::producer::DefaultProducerContext>,
    topic: String,
}

impl Writer {
    /// To this topic.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn to(bootstrap: &str, topic: &str) -> Result<Self, Failure> {
        let config = ClientConfig::new().set("bootstrap.servers", bootstrap).set("linger.ms", "5").clone();
        let inner = config.create().map_err(|error| Failure::Fatal(error.to_string()))?;
        Ok(Self { inner, topic: topic.to_owned() })
    }

    /// Sends a record, waiting while the queue is full.
    pub fn send(&self, key: &str, value: &[u8]) {
        let mut record = BaseRecord::to(&self.topic).key(key).payload(value);
        while let Err((_, back)) = self.inner.send(record) {
            std::thread::sleep(Duration::from_millis(5));
            record = back;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What is left of a demo nobody misses.
        let _ = self.inner.flush(Duration::from_secs(1));
    }
}

/// Reads one topic from its beginning.
pub struct Reader {
    inner: BaseConsumer,
}

impl Reader {
    /// Of this topic.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn of(bootstrap: &str, topic: &str) -> Result<Self, Failure> {
        let config = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "offkey-demo-reader")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "10")
            .clone();
        let inner: BaseConsumer = config.create().map_err(|error| Failure::Fatal(error.to_string()))?;
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, 0, rdkafka::Offset::Beginning)
            .map_err(|error| Failure::Fatal(error.to_string()))?;
        inner.assign(&list).map_err(|error| Failure::Fatal(error.to_string()))?;
        Ok(Self { inner })
    }

    /// The value of the next record, if one comes within the time.
    #[must_use]
    pub fn next(&self, wait: Duration) -> Option<Vec<u8>> {
        self.inner.poll(wait)?.ok()?.payload().map(<[u8]>::to_vec)
    }
}
