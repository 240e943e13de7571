//! A config that was edited while the daemon was dead: what the dead one did is read again as it did it, and the new rules hold from
//! the first record on that the world has not seen.

use crate::broker::{create_topic, shared};
use crate::checker::wait_until_nothing_is_pending;
use crate::daemon::{Setup, unique};
use crate::fleet::{Fleet, Row};
use crate::topic::{self, Writer};
use crate::wait_for;
use offkey::config::{Config, Source};
use offkey::lane::effects::Stream;
use offkey::lane::record::{PartitionId, Record};
use offkey::lane::terms::Terms;
use offkey::lane::{Handled, Lane, Settings};
use std::sync::Arc;
use std::time::Duration;

/// What the file says, one after the other.
const FILES: [&str; 4] = [
    "[threshold]\nmethod = \"fixed\"\nlevel = 2.0",
    "[threshold]\nmethod = \"fixed\"\nlevel = 9.0\n[alert]\nrefractory_rows = 3",
    "[[silence]]\nmatch = \"pump-2\"",
    "[threshold]\nmethod = \"fixed\"\nlevel = 0.8\n[alert]\nopen_rows = 2\nopen_of = 3",
];
const INPUTS: [&str; 4] = ["9s", "0s", "4s", "0s"];

fn settings(config: &Config) -> Settings {
    Settings {
        detector: Arc::clone(&config.detector),
        name: config.name.clone(),
        scores: true,
        max_entities: 1_000,
        max_alert: 1 << 20,
        max_dead_letter: 1 << 20,
        max_snapshot: 1 << 20,
        snapshot_interval: Duration::from_secs(3_600),
        snapshots_lead: false,
    }
}

/// What a lane tells that nothing disturbs, under these terms from these offsets on.
fn expected(setup: &Setup, config: &Config, terms: &[(i64, Arc<Terms>)]) -> Vec<(Stream, String)> {
    let id = PartitionId { topic: setup.input.as_str().into(), partition: 0 };
    let mut lane = Lane::new(id, 0, Arc::new(settings(config)), Arc::clone(&terms[0].1));
    lane.replay_from(None);
    lane.finish_recovery();
    for read in topic::read_all(&setup.bootstrap, &setup.input) {
        if let Some((_, terms)) = terms.iter().rfind(|(from, _)| *from <= read.offset) {
            lane.set_terms(terms);
        }
        let record = Record {
            offset: read.offset,
            timestamp_ms: None,
            key: read.key.as_deref(),
            payload: read.value.as_deref(),
        };
        assert_eq!(lane.handle(&record), Handled::Done);
    }
    let part = lane.cut(Duration::ZERO, false);
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    let told = part.effects.outputs().filter(|output| output.stream != Stream::State);
    told.map(|output| (output.stream, text(output.value))).collect()
}

#[test]
fn a_config_that_was_edited_after_a_kill_holds_from_the_first_unseen_record_on() {
    let bootstrap = shared();
    let input = unique("edited");
    create_topic(bootstrap, &input, 1);
    let mut setup = Setup::new(bootstrap, "edited", &input);
    setup.snapshot_interval = "1h";
    let (writer, mut fleet) = (Writer::to(bootstrap, &input), Fleet::new(31, 4));
    let mut send = |ticks: usize| {
        let rows: Vec<Row> = (0..ticks).flat_map(|_| fleet.tick()).collect();
        rows.iter().for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
        writer.flush();
    };
    let (mut terms, mut from) = (Vec::new(), 0);
    let mut base = None;
    for (n, (file, lateness)) in FILES.iter().zip(INPUTS).enumerate() {
        setup.more = (*file).to_owned();
        let environment = [("OFFKEY__INPUT__MAX_LATENESS", lateness)];
        let owned = environment.map(|(name, value)| (name.into(), value.into()));
        let config = Config::load(Source::File(&setup.config("a", 1)), owned).unwrap();
        terms.push((from, Arc::new(config.terms())));
        base.get_or_insert(config);
        let daemon = setup.start_with("a", &environment);
        // The fault is there when the first one dies, and goes on.
        send(if n == 0 { 1_170 } else { 400 });
        if n % 2 == 0 {
            setup.wait_until_read();
        } else {
            // In the middle of it.
            let seen = from;
            wait_for("the first commit", 60, || {
                let next = topic::committed(&setup.bootstrap, &setup.name, &setup.input)?[0].as_ref()?.0;
                (next > seen).then_some(())
            });
        }
        daemon.kill();
        topic::fence(bootstrap, &format!("offkey-{}-a", setup.name));
        wait_until_nothing_is_pending(&setup);
        let committed = wait_for("the committed offset", 60, || topic::committed(bootstrap, &setup.name, &setup.input));
        from = committed[0].as_ref().unwrap().0;
    }
    let daemon = setup.start_with("a", &[("OFFKEY__INPUT__MAX_LATENESS", INPUTS[3])]);
    setup.wait_until_read();
    assert_eq!(daemon.metric("offkey_replay_divergence_total"), 0.0);
    daemon.stop();

    let mut expected = expected(&setup, base.as_ref().unwrap(), &terms);
    let of = |which: &str, stream: Stream| setup.values(which).into_iter().map(move |value| (stream, value));
    let mut told: Vec<(Stream, String)> = of("alerts", Stream::Alerts).chain(of("scores", Stream::Scores)).collect();
    expected.sort();
    told.sort();
    let n_alerts = told.iter().filter(|(stream, _)| *stream == Stream::Alerts).count();
    assert!(n_alerts > 8, "{n_alerts} alerts show little");
    let differs = told.iter().zip(&expected).find(|(told, expected)| told != expected);
    assert!(told == expected, "{} told, {} expected; the first that differs: {differs:#?}", told.len(), expected.len());
}
