//! An alert that is open ends with what was learned of its entity: by a tombstone, a person, or a config of another shape.

use crate::broker::{create_topic, delete_records, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::model::done;
use crate::topic::Writer;
use serde_json::Value;
use std::collections::BTreeMap;

const FAULTY: [&str; 4] = ["pump-0", "pump-2", "pump-4", "pump-6"];

/// What was told of each entity's last alert last.
fn last_words(setup: &Setup) -> BTreeMap<String, (String, String, i64)> {
    let mut alerts: Vec<Value> =
        setup.values("alerts").iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    alerts.sort_by_key(|alert| alert["source"]["offset"].as_i64());
    let word = |alert: &Value, field: &str| alert[field].as_str().unwrap().to_owned();
    let mut last = BTreeMap::new();
    let mut opened = BTreeMap::new();
    for alert in &alerts {
        let n = opened.entry(word(alert, "entity")).or_insert(0);
        *n += match alert["transition"].as_str() {
            Some("opened") => 1,
            Some("closed") => -1,
            _ => 0,
        };
        last.insert(word(alert, "entity"), (word(alert, "transition"), word(alert, "cause"), *n));
    }
    last
}

fn is_open(words: &(String, String, i64)) -> bool {
    words.0 != "closed" && words.2 == 1
}

fn closed(cause: &str) -> (String, String, i64) {
    ("closed".to_owned(), cause.to_owned(), 0)
}

#[test]
fn an_open_alert_ends_with_what_was_learned_of_its_entity() {
    let bootstrap = shared();
    let input = unique("ending");
    create_topic(bootstrap, &input, 1);
    let mut setup = Setup::new(bootstrap, "ending", &input);
    setup.session_timeout = "6s";
    let writer = Writer::to(bootstrap, &input);
    let mut fleet = Fleet::new(77, 7);
    let send = |rows: &[crate::fleet::Row]| {
        rows.iter().for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
        writer.flush();
    };
    send(&(0..1_170).flat_map(|_| fleet.tick()).collect::<Vec<_>>());
    let daemon = setup.start("a");
    setup.wait_until_read();
    let told = last_words(&setup);
    assert!(FAULTY.iter().all(|entity| is_open(&told[*entity])), "{told:?}");

    writer.send(Some("pump-0"), None);
    writer.flush();
    setup.wait_until_read();
    assert_eq!(last_words(&setup)["pump-0"], closed("ended"));
    daemon.stop();

    done(&setup, &["model", "reset", "pump-2"]);
    assert_eq!(last_words(&setup)["pump-2"], closed("ended"));

    // One goes on through a restart; then the log is cut, and nothing shows a model of another shape what was there.
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    assert!(is_open(&last_words(&setup)["pump-4"]));
    daemon.stop();
    delete_records(bootstrap, &input, &crate::topic::ends(bootstrap, &input));
    setup.more = "[window]\nrows = 8".to_owned();
    for _ in 0..2 {
        let daemon = setup.start("a");
        daemon.wait_until_ready();
        let first = fleet.tick();
        send(&first);
        setup.wait_until_read();
        let told = last_words(&setup);
        assert_eq!((&told["pump-4"], &told["pump-6"]), (&closed("replaced"), &closed("replaced")), "{}", daemon.log());
        let open: f64 = ["info", "warning", "critical"]
            .iter()
            .map(|severity| daemon.metric(&format!("offkey_alerts_open{{severity=\"{severity}\"}}")))
            .sum();
        assert_eq!(open, 0.0);
        daemon.stop();
    }
}
