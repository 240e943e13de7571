//! Nothing lost, nothing twice: crashes, zombies, a broker that dies, compared with an undisturbed run on the same input.

use crate::broker::{Broker, create_topic, shared};
use crate::daemon::{Daemon, Setup, unique};
use crate::fleet::Fleet;
use crate::topic::Writer;
use crate::{rounds, seed, wait_for};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::time::{Duration, Instant};

const MACHINES: u32 = 24;

/// Produces in the background, about `rate` rows a second, some of them bad.
pub fn produce(bootstrap: &str, input: &str, ticks: u64, rate: u64) -> std::thread::JoinHandle<()> {
    let (bootstrap, input) = (bootstrap.to_owned(), input.to_owned());
    std::thread::spawn(move || {
        let writer = Writer::to(&bootstrap, &input);
        let (mut fleet, started, mut n) = (Fleet::new(3, MACHINES), Instant::now(), 0u64);
        for _ in 0..ticks {
            for row in fleet.tick() {
                writer.send(Some(&row.entity), Some(row.json().as_bytes()));
                n += 1;
            }
            if n % 4_800 == 0 {
                writer.send(Some("bad"), Some(b"{no json"));
            }
            while started.elapsed().as_secs_f64() < n as f64 / rate as f64 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        writer.flush();
    })
}

/// Runs the same input undisturbed, and compares what a reader of committed records sees, and the state in the end.
pub fn compare(setup: &Setup) {
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
        assert!(ours.get(key) == Some(state), "the state of {} differs", rename(key));
    }
}

pub fn assert_no_divergence(daemons: &[&Daemon]) {
    for daemon in daemons {
        assert_eq!(daemon.metric("offkey_replay_divergence_total"), 0.0, "{}", daemon.log());
    }
}

#[test]
fn kills_at_any_moment_change_nothing_that_anybody_sees() {
    let bootstrap = shared();
    let input = unique("killed");
    create_topic(bootstrap, &input, 4);
    let setup = Setup::new(bootstrap, "kills", &input);
    let kills = rounds(10, 100);
    let mut rng = Pcg32::seed_from_u64(seed("kills"));
    let producing = produce(bootstrap, &input, u64::from(kills) * 120 + 1_500, 2_000);
    let mut daemons = vec![Some(setup.start("a")), Some(setup.start("b"))];
    daemons[0].as_ref().unwrap().wait_until_ready();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(u64::from(100 + rng.next_u32() % 2_900)));
        let who = (rng.next_u32() % 2) as usize;
        daemons[who].take().unwrap().kill();
        std::thread::sleep(Duration::from_millis(u64::from(rng.next_u32() % 300)));
        daemons[who] = Some(setup.start(["a", "b"][who]));
    }
    producing.join().unwrap();
    setup.wait_until_read();
    let daemons: Vec<Daemon> = daemons.into_iter().flatten().collect();
    daemons.iter().for_each(Daemon::wait_until_ready);
    assert_no_divergence(&daemons.iter().collect::<Vec<_>>());
    daemons.into_iter().for_each(Daemon::stop);
    compare(&setup);
}

#[test]
fn a_zombie_that_wakes_up_says_nothing_twice() {
    let bootstrap = shared();
    let input = unique("zombie");
    create_topic(bootstrap, &input, 4);
    let mut setup = Setup::new(bootstrap, "zombie", &input);
    setup.more = "[alert]\nname = \"offkey\"".to_owned();
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
    compare_outputs_only(&setup);
}

fn compare_outputs_only(setup: &Setup) {
    let undisturbed = setup.undisturbed();
    let daemon = undisturbed.start("only");
    undisturbed.wait_until_read();
    daemon.stop();
    for which in ["alerts", "scores", "dead"] {
        assert!(setup.values(which) == undisturbed.values(which), "{which} differ");
    }
}

#[test]
fn a_broker_that_dies_and_comes_back_is_waited_for() {
    let mut broker = Broker::start("4.0.0");
    let input = unique("outage");
    create_topic(&broker.bootstrap, &input, 4);
    let setup = Setup::new(&broker.bootstrap, "outage", &input);
    produce(&broker.bootstrap, &input, 500, 50_000).join().unwrap();
    let mut daemon = setup.start("a");
    daemon.wait_until_ready();
    for outage in 0..rounds(1, 5) {
        let producing = produce(&broker.bootstrap, &input, 400, 2_000);
        std::thread::sleep(Duration::from_secs(2));
        broker.kill();
        std::thread::sleep(Duration::from_secs(if outage == 4 { 60 } else { 5 }));
        assert_eq!(daemon.has_ended(), None, "{}", daemon.log());
        broker.resume();
        producing.join().unwrap();
        setup.wait_until_read();
    }
    daemon.stop();
    compare_outputs_only(&setup);
}
