//! What a crash costs, for 1,000 and 10,000 entities of eight channels under load, default model and state settings: bytes of a
//! snapshot, seconds from SIGKILL to the first new commit, and how fast the input is read again:
//! `cargo bench --bench recovery`.
//!
//! The instance is killed once its oldest unsaved row is about `state.snapshot_interval` old, which is the worst moment, and
//! started again at once under its name (static membership: nobody takes its partitions). `OFFKEY_TEST_BOOTSTRAP` uses a
//! running broker, `OFFKEY_ROUNDS` says how many kills.

#![allow(clippy::unwrap_used)]

mod bed;

use bed::broker::{create_topic, shared};
use bed::{Daemon, Fleet, Samples, Setup, is_asked_for, median, number, say_load, wait_for};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PARTITIONS: usize = 8;
/// The shortest warm-up there is: a fitted entity's snapshot has one size, however long it warmed up.
const WARMUP: usize = 400;
/// Rows a second of the whole fleet while instances are killed.
const LOAD: usize = 10_000;
/// `state.snapshot_interval` by default, and a little more.
const UNDISTURBED: Duration = Duration::from_secs(32);

/// What one kill cost.
struct Kill {
    first_commit: f64,
    /// From the first lane that recovers to the last that is live.
    recovery: f64,
    snapshots: f64,
    replayed: f64,
}

fn main() {
    if !is_asked_for() {
        return;
    }
    let rounds = number("OFFKEY_ROUNDS", 3);
    say_load();
    println!(
        "{LOAD} rows a second of {} channels on {PARTITIONS} partitions while instances are killed",
        bed::CHANNELS
    );
    println!("\nentities  bytes a      snapshots  from SIGKILL to      recovery  of it read     rows a");
    println!("          snapshot     read back  the first commit s   s         again, rows    second");
    for entities in [1_000, 10_000] {
        measure(entities, rounds);
    }
    say_load();
}

fn measure(entities: usize, rounds: usize) {
    let bootstrap = shared();
    let input = format!("recovery-{entities}-{}", std::process::id());
    create_topic(bootstrap, &input, PARTITIONS as i32);
    let mut fleet = Fleet::new(bootstrap, &input, entities, PARTITIONS);
    let rows = (WARMUP + 50) * entities;
    fleet.send(rows);
    let warmup = format!("[warmup]\nrows = {WARMUP}");
    let setup = Setup::new(bootstrap, &format!("recovery-{entities}"), &input, "", &warmup);
    let mut daemon = setup.start();
    daemon.wait_for("the warm-up to be over", 1_800, |samples| (samples.consumed() >= rows).then_some(()));
    // Once around, so that every entity has a snapshot of its fitted model.
    daemon.stop();
    daemon = setup.start();
    daemon.wait_for("lanes to be live", 120, |samples| (samples.live_lanes() == PARTITIONS).then_some(()));
    let enough = Arc::new(AtomicBool::new(false));
    let producing = std::thread::spawn({
        let enough = Arc::clone(&enough);
        move || {
            let started = Instant::now();
            for tick in 1.. {
                if enough.load(Ordering::SeqCst) {
                    return;
                }
                fleet.send(LOAD / 10);
                let due = started + Duration::from_millis(100) * tick;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    });
    let mut kills = Vec::new();
    let mut bytes = 0.0;
    for _ in 0..rounds {
        std::thread::sleep(UNDISTURBED);
        let samples = daemon.samples().unwrap();
        bytes = samples.get("offkey_snapshot_bytes_total") / samples.get("offkey_snapshots_total");
        let (next, kill) = kill(daemon, &setup);
        daemon = next;
        show(entities, bytes, &kill);
        kills.push(kill);
    }
    enough.store(true, Ordering::SeqCst);
    producing.join().unwrap();
    daemon.stop();
    let middle = |figure: fn(&Kill) -> f64| median(kills.iter().map(figure));
    let middle = Kill {
        first_commit: middle(|kill| kill.first_commit),
        recovery: middle(|kill| kill.recovery),
        snapshots: middle(|kill| kill.snapshots),
        replayed: middle(|kill| kill.replayed),
    };
    print!("median: ");
    show(entities, bytes, &middle);
}

fn kill(daemon: Daemon, setup: &Setup) -> (Daemon, Kill) {
    daemon.kill();
    let killed = Instant::now();
    let daemon = setup.start();
    let recovering = |samples: &Samples| samples.get("offkey_lanes{state=\"recovering\"}") > 0.0;
    daemon
        .wait_for("a lane to recover", 120, |samples| (recovering(samples) || samples.live_lanes() > 0).then_some(()));
    let began = Instant::now();
    let (mut first_commit, mut live) = (None, None);
    let samples = wait_for("the first commit with all lanes live", 300, || {
        std::thread::sleep(Duration::from_millis(10));
        let samples = daemon.samples()?;
        if first_commit.is_none() && samples.get("offkey_commits_total{outcome=\"ok\"}") > 0.0 {
            first_commit = Some(killed.elapsed());
        }
        if live.is_none() && samples.live_lanes() == PARTITIONS {
            live = Some(began.elapsed());
        }
        (first_commit.is_some() && live.is_some()).then_some(samples)
    });
    let kill = Kill {
        first_commit: first_commit.unwrap().as_secs_f64(),
        recovery: live.unwrap().as_secs_f64(),
        snapshots: samples.get("offkey_recoveries_total{outcome=\"restored\"}"),
        replayed: samples.get("offkey_recovered_rows_total"),
    };
    (daemon, kill)
}

fn show(entities: usize, bytes: f64, kill: &Kill) {
    let Kill { first_commit, recovery, snapshots, replayed } = kill;
    println!(
        "{entities:<9} {bytes:<12.0} {snapshots:<10.0} {first_commit:<20.2} {recovery:<9.2} {replayed:<14.0} {:.0}",
        replayed / recovery
    );
}
