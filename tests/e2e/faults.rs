//! Nothing lost, nothing twice: crashes, zombies, a broker that dies, compared with an undisturbed run on the same input.

use crate::broker::{Broker, create_topic, shared};
use crate::checker::{check_at_rest, check_at_the_end};
use crate::daemon::{Daemon, Setup, unique};
use crate::fleet::Fleet;
use crate::topic::{Writer, committed};
use crate::watcher::Watcher;
use crate::{rounds, seed, wait_for};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const MACHINES: u32 = 24;

/// Produces in the background, about `rate` rows a second, some of them bad.
pub fn produce(bootstrap: &str, input: &str, ticks: u64, rate: u64) -> JoinHandle<u64> {
    produce_behind(0, bootstrap, input, ticks, rate)
}

/// The same, going on behind so many ticks.
pub fn produce_behind(before: u64, bootstrap: &str, input: &str, ticks: u64, rate: u64) -> JoinHandle<u64> {
    produce_while(before, bootstrap, input, rate, move |done| done < ticks)
}

/// The same until it is stopped, but so many ticks at least: for tests that need rows to flow however slow the machine is.
pub struct Producing {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Producing {
    pub fn start(bootstrap: &str, input: &str, at_least: u64, rate: u64) -> Self {
        Self::behind(0, bootstrap, input, at_least, rate)
    }

    /// The same, going on behind so many ticks.
    pub fn behind(before: u64, bootstrap: &str, input: &str, at_least: u64, rate: u64) -> Self {
        let enough = Arc::<AtomicBool>::default();
        let thread = produce_while(before, bootstrap, input, rate, {
            let enough = Arc::clone(&enough);
            move |done| done < at_least || !enough.load(Ordering::SeqCst)
        });
        Self { enough, thread }
    }

    /// How many ticks there were.
    pub fn stop(self) -> u64 {
        self.enough.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn produce_while(
    before: u64,
    bootstrap: &str,
    input: &str,
    rate: u64,
    goes_on: impl Fn(u64) -> bool + Send + 'static,
) -> JoinHandle<u64> {
    let (bootstrap, input) = (bootstrap.to_owned(), input.to_owned());
    std::thread::spawn(move || {
        let writer = Writer::to(&bootstrap, &input);
        let mut fleet = Fleet::new(3 + before, MACHINES).behind(before);
        let (started, mut ticks) = (Instant::now(), 0);
        while goes_on(ticks) {
            for row in fleet.tick() {
                writer.send(Some(&row.entity), Some(row.json().as_bytes()));
            }
            ticks += 1;
            if ticks % 200 == 0 {
                writer.send(Some("bad"), Some(b"{no json"));
            }
            while started.elapsed().as_secs_f64() < (ticks * u64::from(MACHINES)) as f64 / rate as f64 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        writer.flush();
        ticks
    })
}

/// Everything that has to hold in the end; the state, and what was told, are those of an undisturbed run on the same input.
pub fn compare(setup: &Setup) {
    check_at_the_end(setup);
    let undisturbed = setup.undisturbed();
    let daemon = undisturbed.start("only");
    undisturbed.wait_until_read();
    daemon.stop();
    for which in ["alerts", "scores", "dead"] {
        let (ours, theirs) = (setup.values(which), undisturbed.values(which));
        assert!(!theirs.is_empty(), "nothing in {which}");
        assert_eq!(ours.len(), theirs.len(), "records in {which}");
        assert!(ours == theirs, "{which} differ");
    }
    let rename = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let (ours, theirs) = (setup.snapshots(), undisturbed.snapshots());
    assert_eq!(theirs.len(), MACHINES as usize);
    for (key, state) in &theirs {
        assert!(ours.get(key) == Some(state), "another state: {}", rename(key));
    }
}

pub fn assert_no_divergence(daemons: &[&Daemon]) {
    for daemon in daemons {
        assert_eq!(daemon.metric("offkey_replay_divergence_total"), 0.0, "diverged: {}", daemon.log());
    }
}

/// Records that are committed, of all partitions; `None` while that cannot be told.
fn n_committed(setup: &Setup) -> Option<i64> {
    let committed = committed(&setup.bootstrap, &setup.name, &setup.input)?;
    Some(committed.iter().flatten().map(|(next, _)| next).sum())
}

#[test]
fn kills_at_any_moment_change_nothing_that_anybody_sees() {
    let bootstrap = shared();
    let input = unique("killed");
    create_topic(bootstrap, &input, 4);
    let setup = Setup::new(bootstrap, "kills", &input);
    setup.create_outputs();
    let kills = rounds(10, 100);
    let mut rng = Pcg32::seed_from_u64(seed("kills"));
    let producing = Producing::start(bootstrap, &input, u64::from(kills) * 120 + 1_500, 2_000);
    let watcher = Watcher::start(&setup);
    let mut daemons = vec![setup.start("a"), setup.start("b")];
    daemons[0].wait_until_ready();
    let mut before = n_committed(&setup);
    for kill in 1..=kills {
        // On a slow machine most would come before anything was committed: every second one waits for that.
        if kill % 2 == 0 {
            before = Some(wait_for("a commit", 120, || n_committed(&setup).filter(|now| Some(*now) != before)));
        }
        std::thread::sleep(Duration::from_millis(u64::from(100 + rng.next_u32() % 2_900)));
        if kill % 5 == 0 {
            daemons.drain(..).for_each(Daemon::kill);
            check_at_rest(&setup, &["a", "b"]);
            daemons = vec![setup.start("a"), setup.start("b")];
        } else {
            let who = (rng.next_u32() % 2) as usize;
            daemons.remove(who).kill();
            std::thread::sleep(Duration::from_millis(u64::from(rng.next_u32() % 300)));
            daemons.insert(who, setup.start(["a", "b"][who]));
        }
        watcher.assert_content();
    }
    producing.stop();
    setup.wait_until_read();
    daemons.iter().for_each(Daemon::wait_until_ready);
    assert_no_divergence(&daemons.iter().collect::<Vec<_>>());
    let replayed: u64 = daemons.iter().map(Daemon::n_replayed).sum();
    println!("{kills} kills, {} records, {replayed} rows read again", n_committed(&setup).unwrap_or(0));
    assert!(replayed > 0, "no kill has cost anything that had to be read again: this shows nothing");
    daemons.into_iter().for_each(Daemon::stop);
    watcher.finish(&setup);
    compare(&setup);
}

#[test]
fn a_zombie_that_wakes_up_says_nothing_twice() {
    let bootstrap = shared();
    let input = unique("zombie");
    create_topic(bootstrap, &input, 4);
    let setup = Setup::new(bootstrap, "zombie", &input);
    setup.create_outputs();
    let watcher = Watcher::start(&setup);
    let producing = produce(bootstrap, &input, 1_800, 1_200);
    let (a, b) = (setup.start("a"), setup.start("b"));
    a.wait_until_ready();
    b.wait_until_ready();
    std::thread::sleep(Duration::from_secs(5));
    a.signal("-STOP");
    // Longer than its session: its partitions move to the other.
    wait_for("the partitions to move", 60, || (b.metric("offkey_lanes{state=\"live\"}") == 4.0).then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    a.signal("-CONT");
    producing.join().unwrap();
    setup.wait_until_read();
    // The zombie may go on as a member or end to be started again; what it may not do is say anything twice.
    b.stop();
    drop(a);
    watcher.finish(&setup);
    check_at_the_end(&setup);
}

/// How the broker goes, and for how many seconds.
enum Outage {
    Killed(u64),
    Stopped(u64),
}

#[test]
fn a_broker_that_goes_and_comes_back_is_waited_for() {
    let mut broker = Broker::start("4.0.0");
    let input = unique("outage");
    create_topic(&broker.bootstrap, &input, 4);
    let mut setup = Setup::new(&broker.bootstrap, "outage", &input);
    // A call that librdkafka never answers is left behind half a minute after it.
    setup.transaction_timeout = "10s";
    setup.create_outputs();
    let mut sent = 1_100;
    produce(&broker.bootstrap, &input, sent, 50_000).join().unwrap();
    let watcher = Watcher::start(&setup);
    let mut daemon = setup.start("a");
    daemon.wait_until_ready();
    let mut outages = vec![Outage::Killed(5), Outage::Stopped(1)];
    if std::env::var_os("OFFKEY_LONG").is_some() {
        outages.extend([Outage::Killed(60), Outage::Stopped(60), Outage::Killed(1), Outage::Stopped(20)]);
    } else {
        println!("SKIPPED: outages of a minute; OFFKEY_LONG=1 runs them");
    }
    for outage in outages {
        let producing = produce_behind(sent, &broker.bootstrap, &input, 200, 1_200);
        sent += 200;
        std::thread::sleep(Duration::from_secs(2));
        let (Outage::Killed(seconds) | Outage::Stopped(seconds)) = outage;
        match outage {
            Outage::Killed(_) => broker.kill(),
            Outage::Stopped(_) => broker.stop(),
        }
        let gone = Instant::now();
        if seconds > 30 {
            // An epoch that is under way is waited for as long as its transaction may last.
            wait_for("the daemon to tell that it is not ready", 55, || (!daemon.is_ready()).then_some(()));
            println!("not ready after {:?}: {}", gone.elapsed(), daemon.why_not_ready());
        }
        std::thread::sleep(Duration::from_secs(seconds).saturating_sub(gone.elapsed()));
        assert_eq!(daemon.has_ended(), None, "{}", daemon.log());
        broker.resume();
        let back = Instant::now();
        producing.join().unwrap();
        setup.wait_until_read();
        daemon.wait_until_ready();
        println!("away for {seconds} s; {:.1?} after it was back everything was read", back.elapsed());
        watcher.assert_content();
    }
    daemon.stop();
    watcher.finish(&setup);
    check_at_the_end(&setup);
}
