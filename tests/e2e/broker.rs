//! A real broker: one for the tests that share it, and one of their own for those that kill it.

use crate::wait_for;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub struct Broker {
    pub bootstrap: String,
    ports: (u16, u16),
    version: &'static str,
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
        let ports = (free_port(), free_port());
        let folder = tempfile::tempdir().unwrap();
        let mut broker = Self { bootstrap: format!("127.0.0.1:{}", ports.0), ports, version, folder, process: None };
        broker.resume();
        broker
    }

    /// Starts it as it was left.
    pub fn resume(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/start.sh");
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.path().join("broker.log")).unwrap();
        let process = Command::new(script)
            .arg(self.folder.path())
            .args([self.ports.0.to_string().as_str(), self.version, &self.ports.1.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        wait_for("the broker", 180, || metadata(&self.bootstrap));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
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

/// Creates a topic with this many partitions.
pub fn create_topic(bootstrap: &str, name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let created = runtime.block_on(admin.create_topics([&topic], &options)).unwrap();
    created.into_iter().for_each(|result| drop(result.unwrap()));
}
