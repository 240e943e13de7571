//! A member that is back under its name within its session is handed what it had, and nobody shares anew: neither what was withheld
//! in the middle of a rebalance nor what has changed while it was away may stay as it was.

use crate::broker::{create_topic, grow_topic, shared};
use crate::checker::check_places;
use crate::daemon::{Daemon, Setup, unique, wait_for_lanes};
use crate::faults::produce_behind;
use crate::topic::{Writer, committed, lag};
use crate::wait_for;

/// Long enough that no test is saved by its end.
const SESSION: &str = "120s";

#[cfg(feature = "failpoints")]
#[test]
fn partitions_whose_owner_dies_while_it_gives_them_up_are_read_by_somebody() {
    let bootstrap = shared();
    let input = unique("withheld");
    create_topic(bootstrap, &input, 4);
    let mut setup = Setup::new(bootstrap, "withheld", &input);
    setup.session_timeout = SESSION;
    setup.create_outputs();
    produce_behind(0, bootstrap, &input, 100, 2_000).join().unwrap();
    let mut a = setup.start_with("a", &[("OFFKEY_CRASH_AT", "mid_revoke")]);
    wait_for_lanes(&[&a], 4);
    let b = setup.start("b");
    a.wait(60);
    let a = setup.start("a");
    wait_until_told(&[&a, &b]);
    produce_behind(100, bootstrap, &input, 100, 2_000).join().unwrap();
    wait_for_lanes(&[&a, &b], 4);
    setup.wait_until_read();
    wait_for("all to be ready", 60, || (a.is_ready() && b.is_ready()).then_some(()));
    let forced = [&a, &b].map(|daemon| daemon.metric("offkey_rebalances_total{kind=\"forced\"}"));
    assert_eq!(forced.iter().sum::<f64>(), 1.0, "not one after the other: {forced:?}");
    a.stop();
    b.stop();
    check_places(&setup);
}

#[test]
fn partitions_that_are_added_while_nobody_runs_are_read() {
    let bootstrap = shared();
    let input = unique("grown-away");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "grown-away", &input);
    setup.session_timeout = SESSION;
    // The others are in cooperative groups.
    setup.more = "[kafka.properties]\n\"partition.assignment.strategy\" = \"range\"\n".to_owned();
    setup.create_outputs();
    produce_behind(0, bootstrap, &input, 100, 2_000).join().unwrap();
    let a = setup.start("a");
    setup.wait_until_read();
    a.kill();
    grow_topic(bootstrap, &input, 4);
    produce_behind(100, bootstrap, &input, 100, 2_000).join().unwrap();
    let a = setup.start("a");
    wait_until_told(&[&a]);
    wait_for_lanes(&[&a], 4);
    setup.wait_until_read();
    wait_for("it to be ready", 60, || a.is_ready().then_some(()));
    a.stop();
    check_places(&setup);
}

#[test]
fn topics_that_change_while_nobody_runs_are_given_back_and_read() {
    let bootstrap = shared();
    let [kept, gone, new] = ["kept", "gone", "new"].map(unique);
    [&kept, &gone, &new].iter().for_each(|topic| create_topic(bootstrap, topic, 2));
    let mut setup = Setup::new(bootstrap, "topics", &kept);
    setup.session_timeout = SESSION;
    let send = |topic: &str| {
        let writer = Writer::to(bootstrap, topic);
        (0..20).for_each(|i| writer.send_to(i % 2, b"pump", Some(br#"{"ts": 1760000000, "values": {"a": 1}}"#)));
        writer.flush();
    };
    let wait_for_offsets = |topic: &str| {
        wait_for("a topic to be read", 60, || (lag(bootstrap, &setup.name, topic)? == 0).then_some(()));
    };
    [&kept, &gone, &new].iter().for_each(|topic| send(topic));
    let a = setup.start_with("a", &[("OFFKEY__INPUT__TOPICS", &format!("{kept},{gone}"))]);
    [&kept, &gone].iter().for_each(|topic| wait_for_offsets(topic));
    a.stop();
    let before = committed(bootstrap, &setup.name, &gone).unwrap();
    [&kept, &gone].iter().for_each(|topic| send(topic));
    let a = setup.start_with("a", &[("OFFKEY__INPUT__TOPICS", &format!("{kept},{new}"))]);
    wait_until_told(&[&a]);
    wait_for_lanes(&[&a], 4);
    [&kept, &new].iter().for_each(|topic| wait_for_offsets(topic));
    wait_for("it to be ready", 60, || a.is_ready().then_some(()));
    let given_up: Vec<String> =
        a.log().lines().filter(|line| line.contains("to be given up")).map(str::to_owned).collect();
    assert!(given_up.iter().any(|line| line.contains(&gone)), "the topic is held on to: {given_up:?}");
    assert_eq!(committed(bootstrap, &setup.name, &gone).unwrap(), before, "what is not subscribed to was read");
    a.stop();
}

/// One of them says what is amiss, and does something.
fn wait_until_told(daemons: &[&Daemon]) {
    wait_for("a rebalance to be asked for", 60, || {
        daemons.iter().any(|daemon| daemon.log().contains("a rebalance is asked for")).then_some(())
    });
}
