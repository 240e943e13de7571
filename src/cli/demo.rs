//! `offkey demo`: an embedded broker, a simulated fleet with faults, the very same daemon.

use super::{Failed, print, run};
use crate::config::{Config, Source};
use crate::daemon::{self, Start};
use crate::kafka::embedded::{Embedded, Reader, Writer};
use crate::kafka::failure::Failure;
use crate::simulate::{Fault, Fleet, json};
use crate::wire::timestamp::parse_rfc3339;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

const MACHINES: usize = 6;
/// Rows a second and machine: a day passes in ten seconds.
const RATE: u64 = 25;
/// Rows before the first fault: the warm-up, and what the rarity has to have seen.
const CALM: u64 = 620;
/// Rows between two faults.
const BETWEEN: u64 = 160;
/// Rows after the end of a fault in which an alert still finds it.
const SLACK: i64 = 10;
/// A row is six minutes of event time, in milliseconds.
const STEP: i64 = 360_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End by itself after so long, such as 60s.
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Where metrics and health are served.
    #[arg(long, default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
}

/// A fault that was injected, in the fleet's event time.
struct Injected {
    machine: String,
    fault: Fault,
    from: i64,
    to: i64,
    found: bool,
}

#[derive(Default)]
struct Score {
    injected: Vec<Injected>,
    alerts: u32,
    false_alarms: u32,
    bad_records: u32,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let failed = |failure: Failure| Failed::outside(failure.to_string());
    let topics = [("telemetry", 4), ("offkey-alerts", 1), ("offkey-dead-letters", 1), ("offkey-demo-state", 4)];
    let broker = Embedded::start(&topics).map_err(failed)?;
    let bootstrap = broker.bootstrap();
    let listen = free(args.listen)?;
    let config = config(&bootstrap, listen)?;
    crate::logging::start(&config.log);
    print(&format!(
        "offkey demo: {MACHINES} machines, a row is six minutes, a day passes in ten seconds\n  broker   {bootstrap} (in this process: kcat -b {bootstrap} -t offkey-alerts)\n  metrics  http://{listen}/metrics\nwarming up for {} s, then a fault every {} s\n",
        CALM / RATE,
        BETWEEN / RATE
    ))?;
    let (score, ended) = (Arc::new(Mutex::new(Score::default())), Arc::new(AtomicBool::new(false)));
    let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64) - 60 * 240 * STEP;
    let feeder = {
        let (score, ended) = (Arc::clone(&score), Arc::clone(&ended));
        let writer = Writer::to(&bootstrap, "telemetry").map_err(failed)?;
        std::thread::spawn(move || feed(&writer, start, &score, &ended))
    };
    let teller = {
        let (score, ended) = (Arc::clone(&score), Arc::clone(&ended));
        let reader = Reader::of(&bootstrap, "offkey-alerts").map_err(failed)?;
        std::thread::spawn(move || tell(&reader, &score, &ended))
    };
    let runtime = run::runtime()?;
    let (end, stop) = watch::channel(false);
    let exit = runtime.block_on(async {
        let by_itself = end.clone();
        tokio::spawn(run::stop_at_signal(end));
        if let Some(duration) = args.duration {
            tokio::spawn(async move {
                tokio::time::sleep(duration).await;
                by_itself.send_replace(true);
            });
        }
        daemon::run(Start { config, file: None, stop }).await
    });
    ended.store(true, Ordering::SeqCst);
    // A thread that has panicked has said so.
    let _ = feeder.join();
    let _ = teller.join();
    runtime.shutdown_background();
    let told = print(&summary(&score.lock().unwrap_or_else(PoisonError::into_inner)));
    run::told(exit).and(told)
}

/// The address that is listened on, its port chosen if 0 was given. Before anything is promised of it; the daemon binds it for itself.
fn free(listen: SocketAddr) -> Result<SocketAddr, Failed> {
    let bound = std::net::TcpListener::bind(listen).and_then(|listener| listener.local_addr());
    bound.map_err(|error| run::cannot_listen("--listen", &error))
}

fn config(bootstrap: &str, listen: SocketAddr) -> Result<Config, Failed> {
    let text = format!(
        r#"
[kafka]
brokers = ["{bootstrap}"]
group = "offkey-demo"
instance = "demo"
# The embedded broker's transactions are a facade.
delivery = "at_least_once"
create_topics = false
[kafka.properties]
# The embedded broker does not wake a waiting fetch up.
"fetch.wait.max.ms" = 10
[input]
topics = ["telemetry"]
start = "earliest"
entity = "key"
timestamp = "ts"
values = "values"
[output]
alerts = "offkey-alerts"
dead_letters = "offkey-dead-letters"
[state]
topic = "offkey-demo-state"
[warmup]
rows = 480
[http]
listen = "{listen}"
[log]
level = "warn"
"#
    );
    Config::load(Source::Toml(&text), []).map_err(|errors| Failed::bug(errors.to_string()))
}

fn feed(writer: &Writer, start: i64, score: &Mutex<Score>, ended: &AtomicBool) {
    let (mut fleet, began) = (Fleet::new(7, MACHINES), Instant::now());
    let mut faults = 0;
    while !ended.load(Ordering::SeqCst) {
        let row = fleet.n_rows();
        let due = began.elapsed().as_millis() as u64 * RATE / 1000;
        if row >= due {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        if row >= CALM && (row - CALM).is_multiple_of(BETWEEN) {
            let (fault, machine) = (Fault::ALL[faults % Fault::ALL.len()], (faults * 5 + 1) % MACHINES);
            if fleet.inject(machine, fault) {
                let from = start + (row as i64 + 1) * STEP;
                let to = from + (fault.rows() as i64 + SLACK) * STEP;
                let injected = Injected { machine: name(machine), fault, from, to, found: false };
                score.lock().unwrap_or_else(PoisonError::into_inner).injected.push(injected);
                show(&format!("   fault: {} on {}\n", fault.name(), name(machine)));
            }
            faults += 1;
        }
        for (machine, values) in fleet.tick().iter().enumerate() {
            writer.send(&name(machine), json(start + fleet.n_rows() as i64 * STEP, values).as_bytes());
        }
        if fleet.n_rows().is_multiple_of(100) {
            writer.send("pump-1", b"{\"ts\": broken");
            score.lock().unwrap_or_else(PoisonError::into_inner).bad_records += 1;
        }
    }
}

/// What nobody can see is counted all the same, and the summary says in the end why it was not seen.
fn show(line: &str) {
    let _ = print(line);
}

fn name(machine: usize) -> String {
    format!("pump-{machine}")
}

fn tell(reader: &Reader, score: &Mutex<Score>, ended: &AtomicBool) {
    loop {
        let Some(alert) = reader.next(Duration::from_millis(200)) else {
            if ended.load(Ordering::SeqCst) {
                return;
            }
            continue;
        };
        let Ok(alert) = serde_json::from_slice::<Value>(&alert) else { continue };
        let text = |key: &str| alert[key].as_str().unwrap_or_default();
        show(&format!("{:>8}: {} {}: {}\n", text("severity"), text("entity"), text("transition"), text("summary")));
        if text("transition") == "opened" {
            let onset = parse_rfc3339(text("onset").as_bytes()).map_or(0, |at| at.micros() / 1000);
            score.lock().unwrap_or_else(PoisonError::into_inner).judge(text("entity"), onset);
        }
    }
}

impl Score {
    fn judge(&mut self, entity: &str, onset: i64) {
        self.alerts += 1;
        let of =
            |injected: &&mut Injected| injected.machine == entity && (injected.from..=injected.to).contains(&onset);
        match self.injected.iter_mut().find(of) {
            Some(injected) => injected.found = true,
            None => self.false_alarms += 1,
        }
    }
}

fn summary(score: &Score) -> String {
    let found = score.injected.iter().filter(|injected| injected.found).count();
    let mut text = format!(
        "\nfaults injected {}, found {found}; alerts {}, false alarms {}; bad records {} (in offkey-dead-letters)\n",
        score.injected.len(),
        score.alerts,
        score.false_alarms,
        score.bad_records
    );
    for fault in Fault::ALL {
        let of_kind = || score.injected.iter().filter(move |injected| injected.fault == fault);
        if of_kind().next().is_some() {
            let found = of_kind().filter(|injected| injected.found).count();
            text += &format!("  {:<17} {found} of {}\n", fault.name(), of_kind().count());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::free;

    #[test]
    fn a_port_of_0_is_told_as_the_one_that_it_became() {
        assert_ne!(free("127.0.0.1:0".parse().unwrap()).unwrap().port(), 0);
    }

    #[test]
    fn a_port_that_is_taken_is_told() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(free(taken.local_addr().unwrap()).is_err());
    }
}
