//! What the benches on a real broker share: telemetry, the daemon as a process, what it tells of itself, and its CPU time.

#![allow(dead_code, reason = "each bench uses its part")]

#[path = "../../tests/e2e/broker.rs"]
pub mod broker;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Channels of a row.
pub const CHANNELS: usize = 8;
/// Rows after which the signals begin again, without a jump.
const PERIOD: usize = 8_192;
/// Oscillators behind the channels: as many as the default model can tell apart, so that all of its units are in use.
const HIDDEN: usize = 24;

/// `cargo bench` and nobody else runs a bench: `cargo test --all-targets` starts it without this argument.
pub fn is_asked_for() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A number from the environment, or the usual one.
pub fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Waits for a condition.
pub fn wait_for<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited {seconds} s in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A fleet whose machines send a row of eight channels in turn; a machine stays with its partition.
pub struct Fleet {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    entities: usize,
    partitions: usize,
    signals: Vec<[f64; CHANNELS]>,
    sent: usize,
    json: String,
}

/// A number in -1..1 that looks like chance.
fn noise(seed: usize) -> f64 {
    let mut x = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 40) as f64 / (1u64 << 23) as f64 - 1.0
}

fn signals() -> Vec<[f64; CHANNELS]> {
    let turns = |k: usize| (PERIOD as f64 * (0.07 + 0.11 * k as f64) / TAU).round();
    let oscillator = |k: usize, row: usize| (TAU * turns(k) * row as f64 / PERIOD as f64 + k as f64).sin();
    let mixed = |row: usize, c: usize| (0..HIDDEN).map(|k| noise(1000 * c + k) * oscillator(k, row)).sum::<f64>();
    (0..PERIOD).map(|row| std::array::from_fn(|c| 50.0 + 10.0 * mixed(row, c))).collect()
}

impl Fleet {
    pub fn new(bootstrap: &str, topic: &str, entities: usize, partitions: usize) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .create()
            .unwrap();
        let (signals, json) = (signals(), String::new());
        Self { producer, topic: topic.to_owned(), entities, partitions, signals, sent: 0, json }
    }

    /// Sends so many more rows, all machines in turn, and waits until the broker has them.
    pub fn send(&mut self, rows: usize) {
        for _ in 0..rows {
            self.send_one();
        }
        self.producer.flush(Duration::from_secs(300)).unwrap();
    }

    fn send_one(&mut self) {
        let (entity, t) = (self.sent % self.entities, self.sent / self.entities);
        self.sent += 1;
        self.json.clear();
        write!(self.json, "{{\"ts\":{},\"values\":{{", 1_700_000_000_000 + 1_000 * t as u64).unwrap();
        let signal = self.signals[(t + 577 * entity) % PERIOD];
        for (c, value) in signal.into_iter().enumerate() {
            let comma = if c == 0 { "" } else { "," };
            let value = value + noise(self.sent * CHANNELS + c);
            write!(self.json, "{comma}\"sensor_{c}\":{value:.4}").unwrap();
        }
        self.json.push_str("}}");
        let key = format!("machine-{entity}");
        let mut record = BaseRecord::to(&self.topic)
            .partition((entity % self.partitions) as i32)
            .key(key.as_bytes())
            .payload(self.json.as_bytes());
        while let Err((_, back)) = self.producer.send(record) {
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// `offkey run` as a process, with a folder of its own.
pub struct Daemon {
    process: Child,
    http: u16,
}

/// A group with its config: all defaults, but for names, addresses and what is said in `more`.
pub struct Setup {
    pub name: String,
    pub config: String,
    folder: tempfile::TempDir,
}

impl Setup {
    pub fn new(bootstrap: &str, name: &str, input: &str, output: &str, more: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let config = format!(
            r#"[kafka]
brokers = ["{bootstrap}"]
group = "{name}"
instance = "bench"
[input]
topics = ["{input}"]
[output]
alerts = "{name}-alerts"
dead_letters = "{name}-dead"
{output}
{more}
"#
        );
        Self { name, config, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn start(&self) -> Daemon {
        let http = broker::free_port();
        std::fs::write(self.path("offkey.toml"), format!("{}\n[http]\nlisten = \"127.0.0.1:{http}\"\n", self.config))
            .unwrap();
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_offkey"))
            .args(["run", "-c"])
            .arg(self.path("offkey.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon { process, http }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// The samples of /metrics at one moment.
pub struct Samples(String);

impl Samples {
    /// A sample by its whole name, labels included; 0 if it is not there.
    pub fn get(&self, name: &str) -> f64 {
        let line = self.0.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    pub fn live_lanes(&self) -> usize {
        self.get("offkey_lanes{state=\"live\"}") as usize
    }

    pub fn consumed(&self) -> usize {
        self.get("offkey_records_consumed_total") as usize
    }
}

impl Daemon {
    pub fn samples(&self) -> Option<Samples> {
        let url = format!("http://127.0.0.1:{}/metrics", self.http);
        ureq::get(&url).call().ok()?.body_mut().read_to_string().ok().map(Samples)
    }

    /// Waits for its metrics to show something.
    pub fn wait_for<T>(&self, what: &str, seconds: u64, look: impl Fn(&Samples) -> Option<T>) -> T {
        wait_for(what, seconds, || {
            // Rendering them costs CPU time of the daemon's own.
            std::thread::sleep(Duration::from_millis(100));
            look(&self.samples()?)
        })
    }

    pub fn cpu(&self) -> Duration {
        cpu_of(&self.process.id().to_string())
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM, and a clean end; what its metrics said before.
    pub fn stop(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let process = &mut self.process;
        let status = wait_for("the daemon to end", 120, || process.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// CPU time of a process, of all its threads (Linux: in ticks of 10 ms); nothing elsewhere.
pub fn cpu_of(process: &str) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return Duration::ZERO };
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind_name.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What else the machine does: a benchmark on a shared one is worth its ratios, not its figures.
pub fn say_load() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("{cores} cores, shared with the broker and with whatever else runs here; load averages now: {load}");
}
