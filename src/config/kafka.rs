//! `[kafka]` as written, and as librdkafka gets it: what Offkey's promises rest on is set here and nowhere else.

use super::error::Problems;
use super::passed::{Passed, is_secret, passed_on};
use super::raw::{Delivery, RawKafka};
use super::units::Secret;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Properties for one librdkafka client. Shows no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, Secret>);

impl Properties {
    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), Secret::new(value.into()));
    }

    /// Every key with its value, secrets included: for the client alone.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.reveal()))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(Secret::reveal)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(key, value)| (key, if is_secret(key) { "<hidden>" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

/// How to reach Kafka, and as whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// `bootstrap.servers`.
    pub brokers: String,
    /// `group.id`.
    pub group: String,
    /// `group.instance.id`.
    pub instance: String,
    /// What a crash may do.
    pub delivery: Delivery,
    /// Length of an epoch.
    pub commit_interval: Duration,
    /// After it a silent instance loses its partitions.
    pub session_timeout: Duration,
    /// After it a silent instance's open transaction is aborted.
    pub transaction_timeout: Duration,
    /// Missing topics of ours may be created.
    pub create_topics: bool,
    /// What the user passes on.
    pub passed: Vec<Passed>,
    /// For the consumer of the group.
    pub consumer: Properties,
    /// For the producer.
    pub producer: Properties,
    /// For the consumer without a group that reads state and replays.
    pub restorer: Properties,
}

/// Beginnings of keys that only one kind of client understands.
const PRODUCER_ONLY: [&str; 8] = [
    "linger.ms",
    "batch.",
    "compression.",
    "queue.buffering.",
    "message.send.",
    "retries",
    "sticky.partitioning.",
    "delivery.report.",
];
const CONSUMER_ONLY: [&str; 5] = ["fetch.", "queued.", "max.partition.fetch", "coordinator.", "partition.assignment."];

/// How a consumer fetches.
struct Fetching {
    /// How long a broker may hold back an answer without a record. As long waits a partition that begins to be read, if nothing
    /// comes on the others: a connection has one request under way.
    wait_ms: u32,
    /// Fetched and not yet read: of all partitions together, or of each where each has a queue of its own.
    queue_kib: u32,
}

impl Kafka {
    pub(super) fn of(raw: &RawKafka, host: &str, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        let brokers = raw.brokers.0.join(",");
        problems.require(!brokers.is_empty(), "kafka.brokers", "names no broker");
        for broker in &raw.brokers.0 {
            if let Err((problem, hint)) = address(broker) {
                problems.add("kafka.brokers", format!("`{broker}` {problem}"), hint);
            }
        }
        let instance = raw.instance.clone().unwrap_or_else(|| host.to_owned());
        name(&raw.group, "kafka.group", problems);
        name(&instance, "kafka.instance", problems);
        let interval = raw.commit_interval.0;
        if interval < Duration::from_millis(10) || interval > Duration::from_secs(10) {
            problems.add(
                "kafka.commit_interval",
                format!("`{}` is not within 10ms and 10s", raw.commit_interval),
                "it is how long an alert waits at most; 100ms is a good start",
            );
        }
        for (key, span, most) in [
            ("kafka.session_timeout", raw.session_timeout, 1_800),
            ("kafka.transaction_timeout", raw.transaction_timeout, 900),
        ] {
            if span.0 < Duration::from_secs(6) || span.0 > Duration::from_secs(most) {
                problems.add(
                    key,
                    format!("`{span}` is not within 6s and {most}s"),
                    "brokers refuse anything else; 30s is a good start",
                );
            }
        }
        let passed = passed_on(&raw.properties, problems);
        if problems.0.len() > before {
            return None;
        }
        let mut kafka = Self {
            brokers,
            group: raw.group.clone(),
            instance,
            delivery: raw.delivery,
            commit_interval: interval,
            session_timeout: raw.session_timeout.0,
            transaction_timeout: raw.transaction_timeout.0,
            create_topics: raw.create_topics,
            passed,
            consumer: Properties::default(),
            producer: Properties::default(),
            restorer: Properties::default(),
        };
        kafka.restorer = kafka.reading(&Fetching { wait_ms: 10, queue_kib: 32 << 10 });
        kafka.consumer = kafka.in_group(kafka.reading(&Fetching { wait_ms: 100, queue_kib: 4 << 10 }));
        kafka.producer = kafka.writing();
        Some(kafka)
    }

    /// What `client.id`, `transactional.id` and log lines call this instance.
    #[must_use]
    pub fn client_id(&self) -> String {
        format!("offkey-{}-{}", self.group, self.instance)
    }

    /// The same cluster and group for a command that works in the daemon's place for a moment: a member without a place of its
    /// own, which leaves when it is done, and under a name that no instance can have.
    #[must_use]
    pub fn for_command(&self, command: &str) -> Self {
        let mut kafka = self.clone();
        kafka.instance = format!(":{command}");
        kafka.consumer.0.remove("group.instance.id");
        let id = kafka.client_id();
        for properties in [&mut kafka.consumer, &mut kafka.producer, &mut kafka.restorer] {
            properties.set("client.id", id.as_str());
        }
        if kafka.delivery == Delivery::ExactlyOnce {
            kafka.producer.set("transactional.id", id);
        }
        kafka
    }

    /// Changes with every property, secrets included, and tells none.
    pub(super) fn secret_fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        for (key, value) in self.producer.iter().chain(self.consumer.iter()) {
            hash.update(key.as_bytes());
            hash.update([0]);
            hash.update(value.as_bytes());
            hash.update([0]);
        }
        let hash = hash.finalize();
        hash.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }

    fn common(&self, not_for_it: &[&str]) -> Properties {
        let mut all = Properties::default();
        for passed in &self.passed {
            if !not_for_it.iter().any(|start| passed.key.starts_with(start)) {
                all.set(&passed.key, passed.reveal());
            }
        }
        all.set("bootstrap.servers", &self.brokers);
        all.set("client.id", self.client_id());
        all.set("allow.auto.create.topics", "false");
        all
    }

    fn reading(&self, fetching: &Fetching) -> Properties {
        let mut all = Properties::default();
        // Users may change these; the default of the first stalls a fast reader.
        all.set("fetch.queue.backoff.ms", "5");
        all.set("fetch.wait.max.ms", fetching.wait_ms.to_string());
        all.set("queued.max.messages.kbytes", fetching.queue_kib.to_string());
        // Partitions that are added to the input are found by it.
        all.set("topic.metadata.refresh.interval.ms", "30000");
        all.0.extend(self.common(&PRODUCER_ONLY).0);
        all.set("group.id", &self.group);
        all.set("enable.auto.commit", "false");
        all.set("enable.auto.offset.store", "false");
        all.set("isolation.level", "read_committed");
        all.set("auto.offset.reset", "error");
        all.set("check.crcs", "true");
        all
    }

    fn in_group(&self, mut all: Properties) -> Properties {
        let session = self.session_timeout.as_millis();
        all.set("group.instance.id", &self.instance);
        // Only after the log was cut under us, and what was read already is not passed on again: `error` would end the
        // partition's reading for good.
        all.set("auto.offset.reset", "earliest");
        // May be changed too, for a group whose other members know only eager rebalances.
        if all.get("partition.assignment.strategy").is_none() {
            all.set("partition.assignment.strategy", "cooperative-sticky");
        }
        all.set("session.timeout.ms", session.to_string());
        all.set("heartbeat.interval.ms", (session / 10).min(3_000).to_string());
        all.set("max.poll.interval.ms", (2 * session).max(60_000).to_string());
        all
    }

    fn writing(&self) -> Properties {
        let mut all = Properties::default();
        // Users may change these.
        all.set("compression.type", "lz4");
        all.set("linger.ms", "1");
        all.set("queue.buffering.max.messages", "200000");
        // A topic that was deleted is an error after this time: before an epoch is given up that nobody will ever take.
        all.set("topic.metadata.propagation.max.ms", "5000");
        // A snapshot may be larger than a broker's usual limit; batches, which the broker judges whole, stay below it.
        all.set("message.max.bytes", "16777216");
        all.set("batch.size", "900000");
        all.0.extend(self.common(&CONSUMER_ONLY).0);
        all.set("partitioner", "murmur2_random");
        all.set("enable.idempotence", "true");
        // A retry never comes before 0.8 of the back-off: what returned earlier was prompt.
        all.set("retry.backoff.ms", "400");
        all.set("socket.timeout.ms", "5000");
        match self.delivery {
            Delivery::ExactlyOnce => {
                all.set("transactional.id", self.client_id());
                all.set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string());
            }
            Delivery::AtLeastOnce => {}
        }
        all
    }
}

/// Whether this is host and port; a name, an IPv4 address, or an IPv6 address in brackets.
fn address(broker: &str) -> Result<(), (&'static str, &'static str)> {
    let broker = broker.trim();
    if broker.contains("://") {
        return Err((
            "has a scheme",
            "write host:port, and say how to speak to it in [kafka.properties], as security.protocol",
        ));
    }
    let Some((host, Ok(_))) = broker.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) else {
        return Err(("has no port", "write host:port"));
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-') || inner.is_some() && matches!(c, ':' | '%');
    let name = inner.unwrap_or(host);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(("has no host before its port", "write host:port, an IPv6 address in brackets"));
    }
    Ok(())
}

fn name(text: &str, key: &str, problems: &mut Problems) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 200 || !text.chars().all(plain) {
        problems.add(key, format!("`{text}` is no name"), "use 1 to 200 letters, digits, `.`, `_` and `-`");
    }
}

#[cfg(test)]
mod tests;
