//! Several instances: they share the work, come and go under load, and are restarted one by one.

use crate::broker::{create_topic, shared};
use crate::checker::check_at_the_end;
use crate::daemon::{Daemon, Setup, unique, wait_for_lanes};
use crate::faults::{assert_no_divergence, compare, produce, produce_behind};
use crate::wait_for;
use crate::watcher::Watcher;
use std::time::{Duration, Instant};

#[test]
fn instances_come_and_go_under_load_and_change_nothing() {
    come_and_go(Setup::new(shared(), "scale", &unique("scaled")));
}

#[test]
fn instances_come_and_go_in_a_group_with_eager_rebalances_and_change_nothing() {
    let mut setup = Setup::new(shared(), "eager", &unique("eager"));
    setup.more = "[kafka.properties]\n\"partition.assignment.strategy\" = \"range\"\n".to_owned();
    come_and_go(setup);
}

fn come_and_go(mut setup: Setup) {
    create_topic(&setup.bootstrap, &setup.input, 6);
    // One that leaves for good is only missed after its session.
    setup.session_timeout = "6s";
    let producing = produce(&setup.bootstrap, &setup.input, 2_000, 1_200);
    let a = setup.start("a");
    wait_for_lanes(&[&a], 6);
    let b = setup.start("b");
    wait_for_lanes(&[&a, &b], 6);
    let c = setup.start("c");
    wait_for_lanes(&[&a, &b, &c], 6);
    b.stop();
    wait_for_lanes(&[&a, &c], 6);
    a.stop();
    wait_for_lanes(&[&c], 6);
    producing.join().unwrap();
    setup.wait_until_read();
    assert_no_divergence(&[&c]);
    c.stop();
    compare(&setup);
}

#[test]
fn a_restart_one_by_one_moves_no_partition() {
    let bootstrap = shared();
    let input = unique("rolling");
    create_topic(bootstrap, &input, 4);
    let mut setup = Setup::new(bootstrap, "rolling", &input);
    setup.session_timeout = "60s";
    let producing = produce(bootstrap, &input, 1_500, 1_200);
    let mut daemons = vec![setup.start("a"), setup.start("b")];
    wait_for_lanes(&daemons.iter().collect::<Vec<_>>(), 4);
    let rebalances = |daemon: &Daemon| -> f64 {
        ["assigned", "revoked", "lost"]
            .map(|kind| daemon.metric(&format!("offkey_rebalances_total{{kind=\"{kind}\"}}")))
            .iter()
            .sum()
    };
    // A cooperative group comes to rest in several rounds, the last of which may give nothing to anybody.
    let at_rest = |daemon: &Daemon| {
        let (mut last, mut since) = (rebalances(daemon), Instant::now());
        crate::wait_for("the group to come to rest", 120, || {
            let now = rebalances(daemon);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_secs(8)).then_some(now)
        })
    };
    for restarted in 0..2 {
        let before = at_rest(&daemons[1 - restarted]);
        daemons.remove(restarted).stop();
        daemons.insert(restarted, setup.start(["a", "b"][restarted]));
        wait_for_lanes(&daemons.iter().collect::<Vec<_>>(), 4);
        assert_eq!(rebalances(&daemons[1 - restarted]), before, "the other one was disturbed");
    }
    producing.join().unwrap();
    setup.wait_until_read();
    assert_no_divergence(&daemons.iter().collect::<Vec<_>>());
    daemons.into_iter().for_each(Daemon::stop);
    compare(&setup);
}

#[test]
fn an_instance_without_a_partition_waits_and_takes_over() {
    let bootstrap = shared();
    let input = unique("spare");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "spare", &input);
    setup.transaction_timeout = "6s";
    setup.session_timeout = "6s";
    setup.create_outputs();
    let watcher = Watcher::start(&setup);
    let producing = produce(bootstrap, &input, 1_300, 1_500);
    let (a, b) = (setup.start("a"), setup.start("b"));
    wait_for_lanes(&[&a, &b], 2);
    let spare = setup.start("c");
    wait_for("the spare instance to be ready", 60, || spare.is_ready().then_some(()));
    wait_for_lanes(&[&a, &b], 2);
    assert_eq!(spare.metric("offkey_lanes{state=\"live\"}"), 0.0);
    a.kill();
    wait_for_lanes(&[&b, &spare], 2);
    producing.join().unwrap();
    setup.wait_until_read();
    assert_no_divergence(&[&b, &spare]);
    b.stop();
    spare.stop();
    watcher.finish(&setup);
    check_at_the_end(&setup);
}

#[test]
fn a_rebalance_in_the_middle_of_a_recovery_changes_nothing() {
    let bootstrap = shared();
    let input = unique("midway");
    create_topic(bootstrap, &input, 6);
    let mut setup = Setup::new(bootstrap, "midway", &input);
    setup.session_timeout = "6s";
    // Every row is read again, so that recoveries take their time.
    setup.snapshot_interval = "1h";
    setup.create_outputs();
    let watcher = Watcher::start(&setup);
    produce(bootstrap, &input, 1_300, 50_000).join().unwrap();
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.kill();
    let producing = produce_behind(1_300, bootstrap, &input, 300, 1_000);
    let recovering = |daemon: &Daemon| {
        wait_for("a recovery", 120, || {
            daemon
                .get("/metrics")
                .and_then(|_| (daemon.metric("offkey_lanes{state=\"recovering\"}") > 0.0).then_some(()))
        });
    };
    let a = setup.start("a");
    recovering(&a);
    let b = setup.start("b");
    recovering(&b);
    let c = setup.start("c");
    recovering(&c);
    b.kill();
    wait_for_lanes(&[&a, &c], 6);
    producing.join().unwrap();
    setup.wait_until_read();
    assert_no_divergence(&[&a, &c]);
    a.stop();
    c.stop();
    watcher.finish(&setup);
    compare(&setup);
}
