//! The ways out.

use crate::broker::{create_topic, free_port, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::topic::{Writer, lag};

#[test]
fn a_signal_before_it_is_ready_ends_it_cleanly() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let setup = Setup::new(&nobody, "early", "telemetry");
    let daemon = setup.start("a");
    crate::wait_for("its health", 60, || daemon.get("/healthz"));
    let log = daemon.log();
    assert!(log.contains("serving") && !log.contains('\u{1b}'), "colours in a file: {log}");
    daemon.stop();
}

#[test]
fn a_signal_in_the_middle_drains_and_leaves_nothing_undone() {
    let bootstrap = shared();
    let input = unique("drained");
    create_topic(bootstrap, &input, 2);
    let setup = Setup::new(bootstrap, "drain", &input);
    let writer = Writer::to(bootstrap, &input);
    let mut fleet = Fleet::new(1, 4);
    (0..20_000).flat_map(|_| fleet.tick()).for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
    writer.flush();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    daemon.stop();
    let left = lag(bootstrap, &setup.name, &input).unwrap();
    assert_eq!(setup.values("scores").len() as i64, 80_000 - left);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let setup = Setup::new(&nobody, "twice", "telemetry");
    let mut daemon = setup.start("a");
    crate::wait_for("its health", 60, || daemon.get("/healthz"));
    daemon.signal("-TERM");
    daemon.signal("-TERM");
    // It may have ended cleanly before the second one came.
    assert!(matches!(daemon.wait(60).code(), Some(0 | 130)));
}

#[test]
fn a_wrong_config_ends_with_its_own_code_and_names_the_key() {
    let refused = [
        ("[window]\nrwos = 16", "rows"),
        ("[alert]\nopen = \"often\"", "alert.open"),
        ("[kafka.properties]\n\"isolation.level\" = \"read_uncommitted\"", "isolation.level"),
    ];
    for (more, names) in refused {
        let mut setup = Setup::new("127.0.0.1:1", "wrong", "telemetry");
        setup.more = more.to_owned();
        let mut daemon = setup.start("a");
        assert_eq!(daemon.wait(60).code(), Some(78), "{more}");
        assert!(daemon.log().contains(names), "{more}: {}", daemon.log());
    }
}
