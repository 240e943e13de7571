//! The binary from outside, on a real Apache Kafka. Few tests, one per promise; all in one binary, for each would link
//! librdkafka again. `OFFKEY_TEST_BOOTSTRAP` uses a running broker for those that do not harm it; `OFFKEY_LONG=1` runs them long.

#![cfg(feature = "daemon")]
#![allow(missing_docs, clippy::unwrap_used)]

mod at_least_once;
mod broker;
mod checker;
mod cluster;
mod daemon;
mod demo;
mod demo_series;
mod disk;
mod ending;
mod endtxn;
#[cfg(feature = "failpoints")]
mod failpoints;
mod faults;
mod fleet;
mod flood;
mod group;
mod latest;
mod missing;
mod model;
mod orphans;
#[cfg(feature = "planted-bugs")]
mod planted;
mod poison;
mod prometheus;
mod proxy;
mod readiness;
mod recovery;
mod refused;
mod reload;
mod reorder;
mod resized;
mod restart;
mod secured;
mod signals;
mod sizes;
mod straight_line;
mod terms;
mod topic;
mod watcher;

/// Rounds of a test that can be short or long.
fn rounds(short: u32, long: u32) -> u32 {
    match std::env::var("OFFKEY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()) {
        Some(rounds) => rounds,
        None if std::env::var_os("OFFKEY_LONG").is_some() => long,
        None => short,
    }
}

/// The seed of a test's chances: printed, and repeatable by `OFFKEY_SEED`.
fn seed(test: &str) -> u64 {
    let seed = std::env::var("OFFKEY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    });
    println!("{test}: OFFKEY_SEED={seed}");
    seed
}

/// Waits for a condition; the time limit is for a machine that does nothing else than this and still is slow.
fn wait_for<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < until, "waited {seconds} s in vain for {what}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
