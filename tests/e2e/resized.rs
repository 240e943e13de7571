//! An input that changes under a running daemon: cut, grown, deleted and created anew.

use crate::broker::{create_topic, delete_records, delete_topic, grow_topic, shared};
use crate::checker::check_places;
use crate::daemon::{Daemon, Setup, unique, wait_for_lanes};
use crate::faults::produce_behind;
use crate::topic::{committed, ends};
use crate::wait_for;
use std::time::{Duration, Instant};

/// New partitions are seen within two seconds instead of thirty.
const LOOK_OFTEN: &str = "[kafka.properties]\n\"topic.metadata.refresh.interval.ms\" = \"2000\"";

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    let bootstrap = shared();
    let input = unique("grown");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "grown", &input);
    setup.more = LOOK_OFTEN.to_owned();
    setup.create_outputs();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    produce_behind(0, bootstrap, &input, 300, 2_000).join().unwrap();
    grow_topic(bootstrap, &input, 4);
    // By a new producer, which knows of them at once: nobody was there when their first records came.
    produce_behind(300, bootstrap, &input, 300, 2_000).join().unwrap();
    assert!(ends(bootstrap, &input).iter().all(|end| *end > 0), "no machine has moved: this shows nothing");
    wait_for_lanes(&[&daemon], 4);
    setup.wait_until_read();
    assert!(daemon.log().contains("more partitions"), "nothing was said\n{}", daemon.log());
    daemon.stop();
    check_places(&setup);
}

#[test]
fn a_log_that_is_cut_under_a_live_reader_is_told() {
    let bootstrap = shared();
    let input = unique("cut");
    create_topic(bootstrap, &input, 2);
    let mut setup = Setup::new(bootstrap, "cut", &input);
    setup.session_timeout = "30s";
    // So that it does not hold what is cut already.
    setup.more = "[kafka.properties]\n\"queued.max.messages.kbytes\" = \"1\"\n\"queued.min.messages\" = \"1\"\n\
                  \"fetch.message.max.bytes\" = \"1000\""
        .to_owned();
    let daemon = setup.start("a");
    produce_behind(0, bootstrap, &input, 200, 50_000).join().unwrap();
    daemon.wait_until_ready();
    setup.wait_until_read();
    // Before it is stopped: that may be in the middle of a transaction.
    let committed = wait_for("the committed offsets", 60, || committed(bootstrap, &setup.name, &input));
    daemon.signal("-STOP");
    produce_behind(200, bootstrap, &input, 400, 50_000).join().unwrap();
    let next: i64 = committed.iter().flatten().map(|(next, _)| next).sum();
    let cut: Vec<i64> = ends(bootstrap, &input).iter().map(|end| end - 1_000).collect();
    delete_records(bootstrap, &input, &cut);
    daemon.signal("-CONT");
    setup.wait_until_read();
    let lost = cut.iter().sum::<i64>() - next;
    println!(
        "{lost} records were cut; of {} rows {} have scores",
        ends(bootstrap, &input).iter().sum::<i64>(),
        setup.values("scores").len()
    );
    wait_for("the gap to be told", 60, || daemon.log().contains("they are lost").then_some(()));
    assert!(daemon.metric("offkey_recoveries_total{outcome=\"truncated_log\"}") > 0.0);
    daemon.stop();
}

#[test]
fn a_topic_that_is_created_anew_under_a_running_daemon_is_read_from_its_beginning() {
    let bootstrap = shared();
    let input = unique("anew");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "anew", &input);
    let daemon = setup.start("a");
    produce_behind(0, bootstrap, &input, 200, 50_000).join().unwrap();
    daemon.wait_until_ready();
    setup.wait_until_read();
    let before = setup.values("scores").len();
    assert_eq!(before, 200 * 24);
    delete_topic(bootstrap, &input);
    create_topic(bootstrap, &input, 2);
    produce_behind(200, bootstrap, &input, 100, 50_000).join().unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while Instant::now() < until && setup.values("scores").len() < before + 100 * 24 {
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("{}", daemon.log());
    assert_eq!(setup.values("scores").len(), before + 100 * 24, "{}\n{}", daemon.why_not_ready(), daemon.log());
    let told = ["partitions were lost", "created anew"];
    assert!(told.iter().any(|words| daemon.log().contains(words)), "nothing was said\n{}", daemon.log());
    daemon.stop();
}

#[test]
fn instances_that_start_at_once_behind_a_topic_that_has_grown_make_room_for_it_together() {
    let bootstrap = shared();
    let input = unique("grown-once");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "grown-once", &input);
    let daemon = setup.start("a");
    wait_for_lanes(&[&daemon], 2);
    daemon.stop();
    grow_topic(bootstrap, &input, 6);
    let daemons = ["a", "b", "c"].map(|instance| setup.start(instance));
    wait_for_lanes(&daemons.each_ref(), 6);
    daemons.into_iter().for_each(Daemon::stop);
}
