//! A lane that was disturbed against one that was not: the same outputs, the same state, bit for bit.

use super::*;
use crate::config::{Config, Source};
use crate::detector::threshold;
use crate::wire::state_record::{Envelope, Key, Kind, OffsetMetadata};
use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use recovery::Report;
use std::collections::BTreeMap;
use world::*;

mod ending;
mod lead;
mod order;
mod terms;
mod world;

fn undisturbed(inputs: &[Input]) -> (Outputs, States) {
    let mut world = World::new(0, 1_000);
    world.handle(inputs, 0..inputs.len() as i64);
    world.cut(0, true);
    (world.outputs.clone(), world.states())
}

#[test]
fn there_is_something_to_lose() {
    let (outputs, states) = undisturbed(&inputs(ROWS as usize, 1));
    let count = |wanted: Stream| outputs.iter().filter(|(stream, ..)| *stream == wanted).count();
    assert!(count(Stream::Alerts) > 4, "{} alerts", count(Stream::Alerts));
    assert!(count(Stream::Scores) > 1_000 && count(Stream::DeadLetters) > 10);
    assert_eq!(states.len(), 3);
}

#[test]
fn snapshots_that_are_gone_are_written_again_in_memory_or_not() {
    let inputs = inputs(600, 5);
    let (outputs, states) = undisturbed(&inputs);
    for max_entities in [1, 100] {
        let mut world = World::new(0, max_entities);
        world.handle(&inputs, 0..300);
        world.cut(0, true);
        assert!(world.cut(1, true).effects.n_outputs() == 0, "all is written");
        world.log.clear();
        world.lane.lose_snapshots();
        assert_eq!(world.cut(1, false).replay_offset, if max_entities == 1 { 0 } else { 300 });
        // One comes back before its turn.
        world.handle(&inputs, 300..310);
        for (name, state) in world.spill.clone() {
            world.lane.rewrite(&name, &state);
        }
        world.lane.all_are_rewritten();
        let part = world.cut(3_600, false);
        assert!(part.replay_offset >= 300, "{}", part.replay_offset);
        let (mut next, report) = world.taken_over(&part, &inputs);
        assert!(!report.diverged);
        next.handle(&inputs, 310..600);
        next.cut(0, true);
        assert_eq!(next.outputs, outputs);
        assert_eq!(next.states(), states);
    }
}

#[test]
fn an_entity_that_comes_back_with_a_newer_snapshot_than_it_left_with_is_counted_once() {
    let inputs = inputs(700, 2);
    let mut world = World::new(0, 2);
    for offset in (0..700).step_by(50) {
        world.handle(&inputs, offset..offset + 50);
        world.cut(1, true);
    }
    let part = world.cut(0, true);
    let (_, report) = world.taken_over(&part, &inputs);
    assert!(!report.diverged);
}

#[test]
fn a_report_counts_entities_beside_the_records_of_the_state_topic() {
    let inputs = inputs(300, 2);
    let mut world = World::new(0, 1);
    for offset in (0..300).step_by(50) {
        world.handle(&inputs, offset..offset + 50);
        world.cut(1, true);
    }
    let part = world.cut(0, true);
    let n_records = world.log.iter().filter(|(key, _)| key.starts_with(b"e1/")).count() as u64;
    let n_entities = world.states().len() as u64;
    let (_, report) = world.taken_over(&part, &inputs);
    assert!(n_records > n_entities);
    assert_eq!((report.entities, report.restored), (n_entities, n_records));
}

#[test]
fn a_tombstone_in_the_state_topic_reaches_an_entity_that_is_out_of_memory() {
    let inputs = inputs(300, 3);
    let mut world = World::new(0, 1_000);
    world.handle(&inputs, 0..300);
    let part = world.cut(0, true);
    let mut next = World::new(part.next_offset, 1);
    for (key, value) in &world.log {
        next.lane.restore(key, value.as_deref());
    }
    for (key, _) in &world.log {
        next.lane.restore(key, None);
    }
    assert_eq!(next.lane.entities.accumulator(), 0);
    for input in &inputs[..5] {
        let name = String::from_utf8(input.0.clone().unwrap()).unwrap();
        assert!(!next.lane.entities.is_cold(&name));
    }
}

#[test]
fn an_alert_that_begins_on_probation_is_opened_for_the_world_too() {
    let rules = Config::load(Source::Toml("[[channel]]\nmatch = \"a\"\nvalid_max = 5"), []).unwrap().rules;
    let input = |i: usize| {
        let row = format!(r#"{{"ts": {}, "values": {{"a": 500, "b": {i}}}}}"#, 1_700_000_000 + i);
        Input(Some(b"pump".to_vec()), Some(row.into_bytes()))
    };
    let inputs: Vec<Input> = (0..10).map(input).collect();
    let mut world = World::new(0, 100);
    world.lane.terms = Arc::new(Terms { rulebook: rules, ..usual_terms() });
    world.handle(&inputs, 0..10);
    world.cut(1, true);
    let alerts = world.outputs.iter().filter(|(stream, ..)| *stream == Stream::Alerts);
    let alerts: Vec<String> = alerts.map(|(_, _, value)| String::from_utf8(value.clone().unwrap()).unwrap()).collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(alerts[0].contains(r#""transition":"opened""#) && alerts[0].contains("data_quality"), "{alerts:?}");
}

#[test]
fn a_damaged_snapshot_costs_its_entity_alone() {
    let inputs = inputs(500, 4);
    let mut world = World::new(0, 1_000);
    world.handle(&inputs, 0..500);
    let part = world.cut(0, true);
    let n = world.states().len() as u64;
    if let (_, Some(value)) = &mut world.log[2] {
        let middle = value.len() / 2;
        value[middle] ^= 1;
    }
    let (next, report) = world.taken_over(&part, &inputs);
    assert_eq!((report.corrupt, report.restored, report.diverged), (1, n - 1, true));
    assert_eq!(next.lane.next_offset, 500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_lane_restored_anywhere_any_number_of_times_is_as_if_nothing_had_happened(
        steps in prop::collection::vec((1i64..150, 0u64..20, any::<bool>()), 8..24),
        max_entities in prop_oneof![1usize..3, Just(100)],
        (align, late) in order::settings(),
        seed in 0u64..4,
    ) {
        // With a delay of 0 to 6 seconds and gaps between.
        let inputs = inputs_with_delays(ROWS as usize, seed, |i| (i * i + i / 5) % 7);
        let undisturbed = {
            let mut world = World::with(0, 1_000, align, late);
            world.handle(&inputs, 0..ROWS);
            world.cut(0, true);
            world
        };
        let (mut world, mut next) = (World::with(0, max_entities, align, late), 0);
        for (n_rows, seconds, dies) in steps {
            let until = (next + n_rows).min(ROWS);
            world.handle(&inputs, next..until);
            let part = world.cut(seconds, false);
            prop_assert_eq!(part.next_offset, until);
            next = until;
            if dies {
                // What it did after its last commit dies with it.
                world.handle(&inputs, next..(next + 7).min(ROWS));
                let (taken_over, report) = world.taken_over(&part, &inputs);
                prop_assert!(!report.diverged);
                prop_assert_eq!((report.corrupt, report.torn), (0, 0));
                world = taken_over;
            }
        }
        world.handle(&inputs, next..ROWS);
        let part = world.cut(0, true);
        prop_assert_eq!(part.replay_offset, ROWS);
        prop_assert!(world.outputs == undisturbed.outputs, "outputs differ");
        prop_assert!(world.states() == undisturbed.states(), "states differ");
    }

    #[test]
    fn no_bytes_in_the_state_topic_bring_a_lane_down(
        key in prop::collection::vec(any::<u8>(), 0..40),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut_to in any::<prop::sample::Index>(),
        reseal in any::<bool>(),
        (align, late) in order::settings(),
    ) {
        let inputs = inputs(400, 5);
        let mut world = World::with(0, 1_000, align, late);
        world.handle(&inputs, 0..400);
        world.cut(0, true);
        let mut next = World::with(400, 1_000, align, late);
        next.lane.restore(&key, Some(b"OFK1"));
        for (key, value) in &world.log {
            let mut value = value.clone().unwrap_or_default();
            for (index, byte) in &noise {
                let index = index.index(value.len());
                value[index] ^= byte;
            }
            if reseal && value.len() > 4 {
                // A checksum that is right makes the contents be looked at.
                let end = value.len() - 4;
                let crc = crc32fast::hash(&value[..end]);
                value[end..].copy_from_slice(&crc.to_le_bytes());
            } else {
                value.truncate(cut_to.index(value.len() + 1));
            }
            next.lane.restore(key, Some(&value));
        }
        next.lane.replay_from(None);
        next.lane.finish_recovery();
        next.lane.live_from = 0;
        for entity in next.lane.entities.iter_mut() {
            entity.as_of = -1;
        }
        next.handle(&inputs, 0..400);
    }
}

#[test]
fn what_the_state_topic_does_not_take_holds_the_replay_offset_and_is_not_lost() {
    // Detectors are larger than this, in memory and out of it; those on probation are not.
    for max_entities in [1_000, 1] {
        let inputs = inputs(700, 7);
        let small = Settings { max_snapshot: 4_096, ..settings(max_entities) };
        let mut world = World::under(0, small, usual_terms());
        let mut last = None;
        for offset in (0..700).step_by(50) {
            world.handle(&inputs, offset..offset + 50);
            let part = world.cut(31, false);
            assert!(part.replay_offset < 20, "{} after {}", part.replay_offset, part.next_offset);
            last = Some(part);
        }
        let part = last.unwrap();
        assert!(part.effects.tally.oversized > 0 && part.effects.tally.largest_oversized > 4_096);
        let (mut next, report) = world.taken_over(&part, &inputs);
        assert!(!report.diverged);
        let part = next.cut(0, true);
        let mut undisturbed = World::new(0, 1_000);
        undisturbed.handle(&inputs, 0..700);
        assert_eq!(part.accumulator, undisturbed.cut(0, true).accumulator);
    }
}

#[test]
fn memory_by_bytes_changes_nothing_but_who_is_in_memory() {
    let inputs = inputs(ROWS as usize, 8);
    let (outputs, states) = undisturbed(&inputs);
    let mut world = World::new(0, 1_000);
    // Room for one of the three detectors: an eighth of it is for others.
    world.lane.set_memory(Memory::of(1_000, 60_000));
    for offset in (0..ROWS).step_by(50) {
        world.handle(&inputs, offset..offset + 50);
        let memory = world.lane.memory();
        assert!(memory.bytes <= 60_000 || memory.entities == 1, "{memory:?}");
        assert_eq!(world.lane.census().bytes, memory.bytes as u64);
        world.cut(1, false);
    }
    let part = world.cut(0, true);
    assert!(part.effects.tally.evictions > 0 || !world.spill.is_empty());
    assert!(world.outputs == outputs && world.states() == states);
}

#[test]
fn what_is_counted_is_what_there_is() {
    let inputs = inputs(ROWS as usize, 9);
    let mut world = World::new(0, 2);
    for offset in (0..ROWS).step_by(10) {
        world.handle(&inputs, offset..offset + 10);
        let mut counted = Census::default();
        let (mut accumulator, mut bytes) = (0u64, 0);
        for entity in world.lane.entities.iter_mut() {
            counted.add(entity.standing());
            accumulator = accumulator.wrapping_add(entity.accumulator);
            bytes += entity.n_bytes();
        }
        let told = world.lane.census();
        assert_eq!((told.on_probation, told.open), (counted.on_probation, counted.open));
        let states = |census: &Census| -> Vec<_> {
            census.by_state.iter().filter(|(_, n)| **n > 0).map(|(state, n)| (*state, *n)).collect()
        };
        assert_eq!(states(&told), states(&counted));
        // Sizes are looked at now and then.
        assert!((bytes as f64 / told.bytes as f64 - 1.0).abs() < 0.2, "{bytes} counted as {}", told.bytes);
        if offset % 100 == 0 {
            let part = world.cut(1, true);
            let dirty = world.lane.entities.iter_mut().filter(|entity| entity.first_dirty.is_some()).count();
            assert_eq!((dirty, part.replay_offset), (0, offset + 10));
        }
        if told.out_of_memory == 0 {
            assert_eq!(world.lane.entities.accumulator(), accumulator);
        }
    }
}

#[test]
fn a_record_that_is_passed_over_is_a_dead_letter_once_and_changes_nothing_else() {
    let mut inputs = inputs(400, 10);
    let mut world = World::new(0, 1_000);
    world.handle(&inputs, 0..200);
    let poison = Record { offset: 200, timestamp_ms: None, key: Some(b"pump-1"), payload: Some(b"whatever") };
    world.lane.pass_over(&poison, "index out of bounds");
    world.handle(&inputs, 201..400);
    let part = world.cut(0, true);
    assert_eq!((part.next_offset, part.effects.tally.consumed), (400, 400));
    let letters: Vec<_> = part.effects.outputs().filter(|output| output.stream == Stream::DeadLetters).collect();
    let letter = letters.iter().find(|letter| letter.value == Some(b"whatever")).unwrap();
    assert!(letter.headers().any(|header| header == ("reason", b"panic")));
    // The same rows without it.
    inputs[200] = Input(Some(b"pump-1".to_vec()), Some(b"{no".to_vec()));
    let mut without = World::new(0, 1_000);
    without.handle(&inputs, 0..400);
    without.cut(0, true);
    assert!(without.states() == world.states());
    let mut replay = World::new(400, 1_000);
    replay.lane.replay_from(Some(
        &OffsetMetadata { epoch: 1, replay_offset: 200, accumulator: 0, terms: None, began: None }.encode(),
    ));
    replay.lane.pass_over(&poison, "index out of bounds");
    replay.cut(0, true);
    assert!(replay.outputs.is_empty() && replay.states().is_empty());
}

#[test]
fn a_flood_of_new_keys_evicts_no_detector() {
    let rows = inputs(900, 6);
    // As many detectors as there may be: not one of them makes room for keys that were seen once.
    let mut world = World::new(0, 3);
    world.handle(&rows, 0..900);
    let trained = world.lane.census().by_state.values().sum::<u64>();
    assert_eq!(trained, 3);
    world.cut(0, true);
    let mut flood = rows;
    let payload = br#"{"ts": 1700001000, "values": {"a": 1}}"#;
    flood.extend((0..2_000).map(|i| Input(Some(format!("new-{i}").into_bytes()), Some(payload.to_vec()))));
    world.handle(&flood, 900..2_900);
    let census = world.lane.census();
    assert_eq!(census.by_state.values().sum::<u64>(), trained);
    assert!(census.on_probation <= 3);
    let tally = world.lane.cut(NEVER, true).effects.tally;
    assert_eq!(tally.evictions, 0);
    assert!(tally.probation_evictions > 1_000, "{tally:?}");
}

/// The scores of one entity.
fn scores_of(outputs: &Outputs, entity: &str) -> Vec<Vec<u8>> {
    let told = outputs.iter().filter(|(stream, key, _)| *stream == Stream::Scores && key == entity.as_bytes());
    told.map(|(_, _, value)| value.clone().unwrap_or_default()).collect()
}

#[test]
fn an_imported_state_goes_on_as_where_it_came_from_and_every_recovery_agrees() {
    let (ours, theirs) = (inputs(1_000, 7), inputs(1_000, 8));
    let key = Key::Snapshot { topic: "telemetry", partition: 0, entity: "pump-1" }.encode();
    for cap in [1_000, 1] {
        let mut world = World::new(0, cap);
        world.handle(&ours, 0..700);
        let (mut part, mut next) = (world.cut(0, true), 700);
        // Until there is something to replay: an alert is in a snapshot at once.
        while part.replay_offset == next {
            world.handle(&ours, next..next + 1);
            next += 1;
            part = world.cut(0, false);
        }
        let mut origin = World::new(0, 1_000);
        origin.handle(&theirs, 0..next);
        origin.cut(0, true);
        let state = origin.states()[&key].clone();

        let (mut command, report) = world.taken_over(&part, &ours);
        assert!(!report.diverged);
        command.lane.import("pump-1", &state).unwrap();
        let part = command.cut(0, true);
        assert_eq!((part.next_offset, part.replay_offset), (next, next));
        let (mut live, report) = command.taken_over(&part, &ours);
        assert!(!report.diverged && report.torn == 0);
        live.outputs.clear();
        live.handle(&theirs, next..1_000);
        let part = live.cut(0, false);
        let (live, report) = live.taken_over(&part, &theirs);
        assert!(!report.diverged);

        origin.outputs.clear();
        origin.handle(&theirs, next..1_000);
        origin.cut(0, false);
        let told = scores_of(&live.outputs, "pump-1");
        assert!(told.len() > 80 && told == scores_of(&origin.outputs, "pump-1"), "cap {cap}, {} told", told.len());
    }
}

#[test]
fn a_state_of_other_settings_is_not_imported_and_changes_nothing() {
    let inputs = inputs(300, 9);
    let mut world = World::new(0, 1_000);
    world.handle(&inputs, 0..300);
    let part = world.cut(0, true);
    let mut value = Vec::new();
    Envelope { kind: Kind::Snapshot, fingerprint: 1, as_of: 5, rows: 5, body: b"x" }.encode(&mut value);
    assert_eq!(world.lane.import("pump-1", &value), Err(recovery::Unusable::OtherShape));
    let again = world.cut(0, true);
    assert_eq!((again.effects.n_outputs(), again.accumulator), (0, part.accumulator));
}

#[test]
fn an_entity_that_was_reset_starts_anew_and_the_next_recovery_agrees() {
    let inputs = inputs(900, 10);
    for cap in [1_000, 1] {
        let mut world = World::new(0, cap);
        world.handle(&inputs, 0..650);
        let part = world.cut(0, false);
        let (mut command, _) = world.taken_over(&part, &inputs);
        command.lane.forget("pump-2");
        let part = command.cut(0, true);
        let (mut next, report) = command.taken_over(&part, &inputs);
        assert!(!report.diverged);
        let key = Key::Snapshot { topic: "telemetry", partition: 0, entity: "pump-2" }.encode();
        assert!(!next.states().contains_key(&key));
        next.outputs.clear();
        next.handle(&inputs, 650..690);
        next.cut(0, true);
        let first = String::from_utf8(scores_of(&next.outputs, "pump-2").remove(0)).unwrap();
        assert!(first.contains("warming"), "{first}");
    }
}
