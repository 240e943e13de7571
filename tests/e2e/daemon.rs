//! `offkey run` as a process.

use crate::broker::{create_topic, free_port};
use crate::{topic, wait_for};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A set-up of its own: a topic of telemetry, a group, outputs.
pub struct Setup {
    pub bootstrap: String,
    /// What the daemon is told: another address if there is a proxy between.
    pub brokers: String,
    pub name: String,
    pub input: String,
    /// Lines to add to the config.
    pub more: String,
    pub session_timeout: &'static str,
    pub transaction_timeout: &'static str,
    pub snapshot_interval: &'static str,
    pub warmup: u32,
    /// What others are compared with: no bug is planted in it.
    pub is_reference: bool,
    folder: tempfile::TempDir,
}

pub struct Daemon {
    process: Child,
    pub http: u16,
    log: PathBuf,
}

/// A name that no other test has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Setup {
    /// Reads `input`, a topic that exists.
    pub fn new(bootstrap: &str, name: &str, input: &str) -> Self {
        let (bootstrap, name, input) = (bootstrap.to_owned(), unique(name), input.to_owned());
        let brokers = bootstrap.clone();
        Self {
            bootstrap,
            brokers,
            name,
            input,
            more: String::new(),
            session_timeout: "10s",
            transaction_timeout: "30s",
            snapshot_interval: "2s",
            warmup: 400,
            is_reference: false,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The same input undisturbed, to compare with.
    pub fn undisturbed(&self) -> Self {
        let mut setup = Self::new(&self.bootstrap, "undisturbed", &self.input);
        setup.is_reference = true;
        setup
    }

    pub fn topic(&self, which: &str) -> String {
        format!("{}-{which}", self.name)
    }

    /// Creates the outputs, for readers that are there before the daemon.
    pub fn create_outputs(&self) {
        for (which, partitions) in [("alerts", 2), ("scores", 4), ("dead", 1)] {
            create_topic(&self.bootstrap, &self.topic(which), partitions);
        }
    }

    /// The config of an instance.
    pub fn config(&self, instance: &str, http: u16) -> PathBuf {
        let file = self.folder.path().join(format!("{instance}.toml"));
        let Self {
            brokers, name, input, more, session_timeout, transaction_timeout, snapshot_interval, warmup, ..
        } = self;
        let text = format!(
            r#"[kafka]
brokers = ["{brokers}"]
group = "{name}"
instance = "{instance}"
session_timeout = "{session_timeout}"
transaction_timeout = "{transaction_timeout}"
[input]
topics = ["{input}"]
entity = "key"
timestamp = "ts"
values = "values"
[output]
alerts = "{name}-alerts"
scores = "{name}-scores"
dead_letters = "{name}-dead"
[warmup]
rows = {warmup}
[state]
topic = "{name}-state"
snapshot_interval = "{snapshot_interval}"
[http]
listen = "127.0.0.1:{http}"
{more}
"#
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    pub fn start(&self, instance: &str) -> Daemon {
        self.start_with(instance, &[])
    }

    pub fn start_with(&self, instance: &str, environment: &[(&str, &str)]) -> Daemon {
        let http = free_port();
        let log = self.folder.path().join(format!("{instance}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_offkey"))
            .arg("run")
            .arg("-c")
            .arg(self.config(instance, http))
            .envs(environment.iter().copied())
            .envs(self.is_reference.then_some(("OFFKEY_PLANT", "")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Daemon { process, http, log }
    }

    /// `offkey check --connect`: did it pass, and all that it said.
    pub fn check(&self, instance: &str) -> (bool, String) {
        let mut check = Command::new(env!("CARGO_BIN_EXE_offkey"));
        check.arg("check").arg("-c").arg(self.config(instance, free_port())).arg("--connect");
        let said = check.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
        (said.status.success(), text.into_owned())
    }

    /// Waits until everything that is in the input was committed.
    pub fn wait_until_read(&self) {
        wait_for(&format!("{} to read everything", self.name), 600, || {
            (topic::lag(&self.bootstrap, &self.name, &self.input)? == 0).then_some(())
        });
    }

    /// Values of an output topic, sorted: a multiset.
    pub fn values(&self, which: &str) -> Vec<String> {
        let all = topic::read_all(&self.bootstrap, &self.topic(which));
        let mut values: Vec<String> =
            all.into_iter().map(|read| String::from_utf8_lossy(&read.value.unwrap_or_default()).into_owned()).collect();
        values.sort();
        values
    }

    /// The newest snapshot of every entity.
    pub fn snapshots(&self) -> std::collections::BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let all = topic::read_all(&self.bootstrap, &self.topic("state"));
        let keyed = all.into_iter().filter_map(|read| Some((read.key?, read.value)));
        keyed.filter(|(key, _)| key.starts_with(b"e1/")).collect()
    }
}

impl Daemon {
    pub fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// How it ended, within the time.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let process = &mut self.process;
        wait_for("the daemon to end", seconds, || process.try_wait().unwrap())
    }

    /// SIGTERM, and a clean end.
    pub fn stop(mut self) {
        self.signal("-TERM");
        let status = self.wait(60);
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Bytes of memory that it has (resident).
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Rows that were read again in silence, by this process and those that had its name before.
    pub fn n_replayed(&self) -> u64 {
        let log = self.log();
        let numbers = log.split(" replayed=").skip(1).filter_map(|rest| rest.split_whitespace().next());
        numbers.map(|number| number.parse::<u64>().unwrap()).sum()
    }

    pub fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.http);
        ureq::get(&url).call().ok()?.body_mut().read_to_string().ok()
    }

    /// Status and body, whatever the status is.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.http);
        let mut answer = ureq::get(&url).config().http_status_as_error(false).build().call().ok()?;
        Some((answer.status().as_u16(), answer.body_mut().read_to_string().ok()?))
    }

    pub fn wait_until_ready(&self) {
        wait_for("the daemon to be ready", 120, || {
            let ready = self.readiness()?;
            let lanes = ready["checks"].as_array()?.iter().find(|check| check["name"] == "lanes")?;
            (ready["ready"] == true && lanes["reason"] != "0 of 0 assigned partitions are live").then_some(())
        });
    }

    pub fn is_ready(&self) -> bool {
        self.readiness().is_some_and(|ready| ready["ready"] == true)
    }

    /// The checks that fail, with their reasons.
    pub fn why_not_ready(&self) -> String {
        let Some(ready) = self.readiness() else { return "no answer".to_owned() };
        let failing = ready["checks"].as_array().into_iter().flatten().filter(|check| check["ok"] != true);
        failing.map(|check| format!("{}: {}; ", check["name"], check["reason"])).collect()
    }

    fn readiness(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.ask("/readyz")?.1).ok()
    }

    /// A sample of /metrics by its whole name, labels included.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").unwrap();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// Waits until so many lanes are live, and each of these has some.
pub fn wait_for_lanes(daemons: &[&Daemon], partitions: u32) {
    let live = |daemon: &Daemon| daemon.get("/metrics").map(|_| daemon.metric("offkey_lanes{state=\"live\"}"));
    wait_for("every lane to be live on one instance", 180, || {
        let lanes: Option<Vec<f64>> = daemons.iter().map(|daemon| live(daemon)).collect();
        let lanes = lanes?;
        (lanes.iter().sum::<f64>() == f64::from(partitions) && lanes.iter().all(|n| *n > 0.0)).then_some(())
    });
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
