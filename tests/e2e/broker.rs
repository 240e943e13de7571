//! A real broker: one for the tests that share it, and one of their own for those that kill it.

use crate::wait_for;
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub struct Broker {
    pub bootstrap: String,
    ports: (u16, u16),
    version: &'static str,
    properties: String,
    /// More for the tool that formats its disk.
    pub format: String,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Broker {
    /// A broker with a folder of its own. Version 4.4.0 loses the markers of a transaction when a single node is killed at the
    /// wrong moment: tests that kill it take 4.0.0.
    pub fn start(version: &'static str) -> Self {
        Self::start_with(version, |_, _| String::new())
    }

    /// The same with properties of its own, made from its port and its controller's.
    pub fn start_with(version: &'static str, properties: impl FnOnce(u16, u16) -> String) -> Self {
        let ports = (free_port(), free_port());
        let mut broker = Self::prepare(version, ports, properties(ports.0, ports.1));
        broker.resume();
        broker
    }

    /// One that does not run yet.
    pub fn prepare(version: &'static str, ports: (u16, u16), properties: String) -> Self {
        let bootstrap = format!("127.0.0.1:{}", ports.0);
        let (format, folder) = (String::new(), tempfile::tempdir().unwrap());
        Self { bootstrap, ports, version, properties, format, folder, process: None }
    }

    /// Where it keeps its logs.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Has it ended by itself?
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.try_wait().unwrap().is_some())
    }

    /// Starts it as it was left.
    pub fn resume(&mut self) {
        self.launch();
        self.wait_until_ready();
    }

    /// The same without waiting.
    pub fn launch(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/start.sh");
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.path().join("broker.log")).unwrap();
        let process = Command::new(script)
            .arg(self.folder.path())
            .args([self.ports.0.to_string().as_str(), self.version, &self.ports.1.to_string()])
            .env("OFFKEY_TEST_BROKER_PROPERTIES", &self.properties)
            .env("OFFKEY_TEST_BROKER_FORMAT", &self.format)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    pub fn wait_until_ready(&self) {
        wait_for("the broker", 180, || metadata(&self.bootstrap));
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        if let Some(process) = &mut self.process {
            Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
            wait_for("the broker to end", 60, || process.try_wait().unwrap());
            self.process = None;
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            process.wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn metadata(bootstrap: &str) -> Option<()> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("log_level", "0").create().ok()?;
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(2)).ok()?;
    (!metadata.brokers().is_empty()).then_some(())
}

/// The broker that tests share. It ends with the test binary.
pub fn shared() -> &'static str {
    static SHARED: OnceLock<(String, Option<Mutex<Broker>>)> = OnceLock::new();
    let (bootstrap, _) = SHARED.get_or_init(|| match std::env::var("OFFKEY_TEST_BOOTSTRAP") {
        Ok(bootstrap) => (bootstrap, None),
        Err(_) => {
            let broker = Broker::start("4.4.0");
            kill_at_exit(&broker);
            (broker.bootstrap.clone(), Some(Mutex::new(broker)))
        }
    });
    bootstrap
}

/// A static is never dropped: a small process waits for our end and takes the broker along.
fn kill_at_exit(broker: &Broker) {
    let (us, them) = (std::process::id(), broker.process.as_ref().unwrap().id());
    let folder = broker.folder.path().display().to_string();
    let wait = format!("while kill -0 {us} 2>/dev/null; do sleep 0.5; done; kill -9 {them}; rm -rf '{folder}'");
    #[expect(clippy::zombie_processes, reason = "it outlives us")]
    Command::new("sh")
        .args(["-c", &wait])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
}

fn admin(bootstrap: &str) -> (AdminClient<DefaultClientContext>, tokio::runtime::Runtime) {
    let admin = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    (admin, tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

/// Deletes the records of a topic below these offsets.
pub fn delete_records(bootstrap: &str, topic: &str, below: &[i64]) {
    let (admin, runtime) = admin(bootstrap);
    let mut list = TopicPartitionList::new();
    for (partition, offset) in below.iter().enumerate() {
        list.add_partition_offset(topic, partition as i32, Offset::Offset(*offset)).unwrap();
    }
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).unwrap();
}

/// Creates a topic with this many partitions.
pub fn create_topic(bootstrap: &str, name: &str, partitions: i32) {
    wait_for("a topic", 60, || create_topic_on(bootstrap, name, partitions, 1));
    // A broker tells of a topic a little later than it has created it.
    let (admin, _) = admin(bootstrap);
    wait_for("a topic to be told of", 60, || {
        let metadata = admin.inner().fetch_metadata(Some(name), Duration::from_secs(5)).ok()?;
        (metadata.topics()[0].partitions().len() == partitions as usize).then_some(())
    });
}

/// Creates a topic with settings of its own.
pub fn create_topic_with(bootstrap: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let (admin, runtime) = admin(bootstrap);
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap().pop().unwrap().unwrap();
}

/// Settings of a topic.
pub fn settings_of(bootstrap: &str, topic: &str) -> BTreeMap<String, String> {
    let (admin, runtime) = admin(bootstrap);
    let topic = ResourceSpecifier::Topic(topic);
    let described = runtime.block_on(admin.describe_configs([&topic], &AdminOptions::new())).unwrap().pop().unwrap();
    let entries = described.unwrap().entries.into_iter();
    entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// Gives a topic more partitions.
pub fn grow_topic(bootstrap: &str, name: &str, partitions: usize) {
    let (admin, runtime) = admin(bootstrap);
    let wanted = NewPartitions::new(name, partitions);
    runtime.block_on(admin.create_partitions([&wanted], &AdminOptions::new())).unwrap().pop().unwrap().unwrap();
}

/// Deletes a topic, and waits until it is gone.
pub fn delete_topic(bootstrap: &str, name: &str) {
    let (admin, runtime) = admin(bootstrap);
    runtime.block_on(admin.delete_topics(&[name], &AdminOptions::new())).unwrap().pop().unwrap().unwrap();
    wait_for("the topic to be gone", 60, || {
        let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(5)).ok()?;
        metadata.topics().iter().all(|topic| topic.name() != name).then_some(())
    });
}

/// The same on so many nodes, if there are as many now.
pub fn create_topic_on(bootstrap: &str, name: &str, partitions: i32, nodes: i32) -> Option<()> {
    let (admin, runtime) = admin(bootstrap);
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(nodes));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let created = runtime.block_on(admin.create_topics([&topic], &options)).ok()?;
    // Names are unique: one that is there already is from an earlier attempt.
    let is_there = |result: TopicResult| matches!(result, Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)));
    created.into_iter().all(is_there).then_some(())
}
