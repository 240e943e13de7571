//! An alert that is open ends with what was learned of its entity, once.

use super::*;
use crate::wire::alert_v1::SCHEMA;
use serde_json::Value;

const CALM: i64 = 400;
const ALL: i64 = 460;

/// One entity that has a fault from `CALM` on until its rows end, and another beside it that has none.
fn inputs() -> Vec<Input> {
    let mut rng = Pcg32::seed_from_u64(3);
    let mut noise = move || f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
    let input = |i: i64| {
        let key = if i % 4 == 3 { "other" } else { "pump" };
        let fault = if i >= CALM && key == "pump" { 9.0 } else { 0.0 };
        let a = (i as f64 / 9.0).sin() + 0.1 * noise() + fault;
        let row = format!(r#"{{"ts": {}, "values": {{"a": {a}, "b": {}}}}}"#, 1_700_000_000 + i, a * 0.5);
        Input(Some(key.as_bytes().to_vec()), Some(row.into_bytes()))
    };
    let rows = (0..ALL).map(input);
    rows.chain([Input(Some(b"pump".to_vec()), None)]).collect()
}

/// A lane in which the fault is over the threshold, and nothing else.
fn world(live_from: i64, settings: Settings) -> World {
    let mut terms = usual_terms();
    terms.rulebook.threshold = threshold::Settings::Fixed { level: 3.0 };
    World::under(live_from, settings, terms)
}

fn plain(max_entities: usize) -> Settings {
    settings(max_entities)
}

/// Alerts that were told since the last time.
fn told(world: &mut World) -> Vec<Value> {
    let schema = jsonschema::draft202012::new(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let alerts = std::mem::take(&mut world.outputs).into_iter().filter(|(stream, ..)| *stream == Stream::Alerts);
    let told = |(_, _, value): (Stream, Vec<u8>, Option<Vec<u8>>)| {
        let alert: Value = serde_json::from_slice(&value.unwrap()).unwrap();
        assert!(schema.is_valid(&alert), "{alert}");
        alert
    };
    alerts.map(told).collect()
}

/// Their transitions and causes.
fn words(told: &[Value]) -> Vec<(&str, &str)> {
    told.iter().map(|alert| (alert["transition"].as_str().unwrap(), alert["cause"].as_str().unwrap())).collect()
}

/// A lane with an open alert that the world knows of.
fn with_open_alert(cap: usize) -> (World, Part, Vec<Value>) {
    let inputs = inputs();
    let mut world = world(0, plain(cap));
    world.handle(&inputs, 0..CALM);
    world.cut(0, true);
    assert_eq!(words(&told(&mut world)), [], "before the fault");
    world.handle(&inputs, CALM..ALL);
    let part = world.cut(0, true);
    let opened = told(&mut world);
    assert_eq!(words(&opened)[0], ("opened", "threshold"));
    assert!(words(&opened).iter().all(|(transition, _)| *transition != "closed"));
    (world, part, opened)
}

#[test]
fn a_tombstone_closes_it_and_a_replay_says_nothing() {
    for cap in [1_000, 1] {
        let (mut world, _, opened) = with_open_alert(cap);
        world.handle(&inputs(), ALL..ALL + 1);
        let part = world.cut(0, false);
        let ends = told(&mut world);
        assert_eq!(words(&ends), [("closed", "ended")]);
        let (open, end) = (&opened[0], &ends[0]);
        assert_eq!((&end["alert_id"], &end["onset"]), (&open["alert_id"], &open["onset"]));
        assert_eq!((&end["score"], &end["source"]["offset"]), (&Value::Null, &ALL.into()));
        assert_eq!(part.effects.tally.closed.iter().sum::<u64>(), 1);
        let (mut next, report) = world.taken_over(&part, &inputs());
        assert!(!report.diverged);
        next.cut(0, true);
        assert_eq!(words(&told(&mut next)), []);
    }
}

#[test]
fn a_reset_closes_it() {
    let (mut world, part, _) = with_open_alert(1_000);
    world.lane.forget("pump");
    world.cut(0, true);
    assert_eq!(words(&told(&mut world)), [("closed", "ended")]);
    let (mut next, report) = world.taken_over(&part, &inputs());
    assert!(report.diverged, "this world knows the accumulator from before");
    next.cut(0, true);
    assert_eq!(words(&told(&mut next)), []);
}

#[test]
fn an_import_closes_it_unless_it_is_open_there_too() {
    let (mut world, _, _) = with_open_alert(1_000);
    let key = |entity| Key::Snapshot { topic: "telemetry", partition: 0, entity }.encode();
    let (pump, other) = (world.states()[&key("pump")].clone(), world.states()[&key("other")].clone());
    world.lane.import("pump", &pump).unwrap();
    world.cut(0, true);
    assert_eq!(words(&told(&mut world)), [], "it goes on");
    world.lane.import("pump", &other).unwrap();
    world.cut(0, true);
    assert_eq!(words(&told(&mut world)), [("closed", "replaced")]);
}

#[test]
fn an_imported_alert_that_the_world_was_never_told_of_is_opened_by_its_next_row() {
    let (origin, ..) = with_open_alert(1_000);
    let pump = origin.states()[&Key::Snapshot { topic: "telemetry", partition: 0, entity: "pump" }.encode()].clone();
    let mut elsewhere = world(0, plain(1_000));
    let inputs = inputs();
    elsewhere.handle(&inputs, 0..CALM - 1);
    elsewhere.lane.import("pump", &pump).unwrap();
    elsewhere.cut(0, true);
    assert_eq!(words(&told(&mut elsewhere)), []);
    elsewhere.handle(&inputs, CALM - 1..ALL);
    elsewhere.cut(0, true);
    assert_eq!(words(&told(&mut elsewhere))[0].0, "opened");
}

/// The lane that another process restores under settings of another shape, with as much of the input as there is.
fn reshaped(log: &[(Vec<u8>, Option<Vec<u8>>)], input: std::ops::Range<i64>, max_entities: usize) -> World {
    let mut settings = plain(max_entities);
    settings.detector = Arc::new(DetectorSettings { window_rows: 5, ..DetectorSettings::clone(&settings.detector) });
    let mut next = world(input.end, settings);
    next.log = log.to_vec();
    for (key, value) in log {
        next.lane.restore(key, value.as_deref());
    }
    next.lane.replay_from(None);
    next.handle(&inputs(), input);
    next.lane.finish_recovery();
    next
}

#[test]
fn a_change_of_shape_closes_it_once_if_the_log_does_not_show_it_again() {
    let (world, ..) = with_open_alert(1_000);
    for input in [ALL..ALL, 0..CALM] {
        let mut next = reshaped(&world.log, input, 1_000);
        next.cut(0, false);
        assert_eq!(words(&told(&mut next)), [("closed", "replaced")]);
        let mut again = reshaped(&next.log, ALL..ALL, 1_000);
        again.cut(0, true);
        assert_eq!(words(&told(&mut again)), [], "told again");
    }
}

#[test]
fn an_offset_that_is_set_back_closes_it_and_leaves_no_snapshot_of_what_is_to_come() {
    let (world, ..) = with_open_alert(1_000);
    let n_before = world.states().len();
    assert_eq!(n_before, 2);
    // To the beginning: nobody is there, and what will be learned again is not known yet.
    let mut next = self::world(0, plain(1_000));
    next.log = world.log.clone();
    for (key, value) in &world.log {
        next.lane.restore(key, value.as_deref());
    }
    assert_eq!(next.lane.replay_from(None), 0);
    let report = next.lane.finish_recovery();
    assert!(report.torn > 0 && report.restored == 0, "{report:?}");
    next.cut(0, false);
    assert_eq!(words(&told(&mut next)), [("closed", "replaced")]);
    assert!(next.states().is_empty());
    // What it learns anew is what it learned then.
    next.handle(&inputs(), 0..ALL);
    next.cut(0, true);
    assert_eq!(words(&told(&mut next))[0], ("opened", "threshold"));
    assert!(next.states() == with_open_alert(1_000).0.states());
}

#[test]
fn a_change_of_shape_keeps_it_open_if_the_log_shows_it_again() {
    let (world, ..) = with_open_alert(1_000);
    let mut next = reshaped(&world.log, 0..ALL, 1_000);
    next.cut(0, true);
    assert_eq!(words(&told(&mut next)), []);
    next.handle(&inputs(), ALL..ALL + 1);
    next.cut(0, true);
    assert_eq!(words(&told(&mut next)), [("closed", "ended")]);
}

#[test]
fn an_alert_that_only_another_shape_sees_is_told_of_when_it_goes_on() {
    let inputs = inputs();
    let mut world = world(0, plain(1_000));
    world.handle(&inputs, 0..CALM);
    world.cut(0, true);
    assert_eq!(words(&told(&mut world)), []);
    // The fault has come to the new shape alone, in a replay that tells nobody.
    let mut next = reshaped(&world.log, 0..CALM + 5, 1_000);
    next.cut(0, true);
    assert_eq!(words(&told(&mut next)), []);
    next.handle(&inputs, CALM + 5..ALL);
    next.cut(0, true);
    assert_eq!(words(&told(&mut next))[0].0, "opened");
}

#[test]
fn a_change_of_shape_with_no_room_in_memory_closes_it_once() {
    let (world, ..) = with_open_alert(1);
    let mut next = reshaped(&world.log, 0..CALM, 1);
    next.cut(0, false);
    assert_eq!(words(&told(&mut next)), [("closed", "replaced")]);
    assert!(next.states().contains_key(&Key::Snapshot { topic: "telemetry", partition: 0, entity: "pump" }.encode()));
}
