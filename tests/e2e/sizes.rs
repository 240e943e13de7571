//! A state topic that takes less than a snapshot: said at the start where it is certain, and where it comes to it nothing is lost.

use crate::broker::{create_topic, create_topic_with, shared};
use crate::daemon::{Setup, unique};
use crate::faults::assert_no_divergence;
use crate::fleet::{CHANNELS, Fleet};
use crate::topic::Writer;

/// Enough for keys on probation, and for no detector.
const LIMIT: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("max.message.bytes", "20000")];

#[test]
fn a_snapshot_that_can_never_fit_is_an_error_at_the_start() {
    let bootstrap = shared();
    let input = unique("too-small");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "too-small", &input);
    create_topic_with(bootstrap, &setup.topic("state"), 1, &LIMIT);
    let mut daemon = setup.start_with("a", &[("OFFKEY__INPUT__CHANNELS", &CHANNELS.join(","))]);
    let status = daemon.wait(60);
    let log = daemon.log();
    assert!(!status.success() && log.contains("max.message.bytes of the topic to"), "{status}\n{log}");
}

#[test]
fn a_check_tells_that_no_snapshot_would_fit() {
    let bootstrap = shared();
    let input = unique("too-small-checked");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "too-small-checked", &input);
    create_topic_with(bootstrap, &setup.topic("state"), 1, &LIMIT);
    let (passed, told) = setup.check("a");
    let problem = told.split("offkey: ").nth(1).unwrap_or_default();
    assert!(!passed && problem.contains("set max.message.bytes of the topic to"), "{told}");
    assert!(problem.contains("no entity fits as it is"), "{told}");
}

#[test]
fn what_the_state_topic_does_not_take_is_read_again_from_the_input() {
    let bootstrap = shared();
    let input = unique("oversized");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "oversized", &input);
    create_topic_with(bootstrap, &setup.topic("state"), 2, &LIMIT);
    let mut fleet = Fleet::new(13, 6);
    let mut write = |ticks: u32| {
        let writer = Writer::to(bootstrap, &input);
        for _ in 0..ticks {
            fleet.tick().iter().for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
        }
        writer.flush();
    };
    write(1_200);
    let daemon = setup.start("a");
    setup.wait_until_read();
    assert!(daemon.log().contains("no entity fits as it is"), "no warning at the start");
    crate::wait_for("snapshots that are too large", 60, || {
        (daemon.metric("offkey_snapshots_oversized_total") > 0.0).then_some(())
    });
    // Committed epochs say where the replay begins.
    std::thread::sleep(std::time::Duration::from_secs(3));
    daemon.kill();
    write(200);
    let daemon = setup.start("a");
    setup.wait_until_read();
    assert!(daemon.metric("offkey_recovered_rows_total") > 6_000.0);
    assert_no_divergence(&[&daemon]);
    daemon.stop();
    let undisturbed = setup.undisturbed();
    let daemon = undisturbed.start("only");
    undisturbed.wait_until_read();
    daemon.stop();
    for which in ["alerts", "scores"] {
        assert!(setup.values(which) == undisturbed.values(which), "{which} differ");
    }
}
