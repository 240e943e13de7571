//! Other terms, with and without a crash between: what was done under some is never done again under others.

use super::*;

/// What a file may say of reading and judging.
const FILES: [&str; 6] = [
    "",
    "[threshold]\nmethod = \"fixed\"\nlevel = 5.0\n[alert]\nrefractory_rows = 0",
    "[threshold]\nmethod = \"fixed\"\nlevel = 0.1\n[alert]\nopen_rows = 3\nopen_of = 4",
    "[input]\nmax_lateness = \"9s\"",
    "[input]\ninterval = \"2s\"\nlate = \"drop\"",
    "[state]\nprobation_rows = 40\n[[channel]]\nmatch = \"a\"\nvalid_max = 3.0\n[[silence]]\nmatch = \"pump-1\"",
];

fn of_file(file: &str) -> Terms {
    Config::load(Source::Toml(file), []).unwrap().terms()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_crash_and_other_terms_in_any_order_are_as_other_terms_alone(
        steps in prop::collection::vec((1i64..150, 0u64..20, 0usize..FILES.len(), any::<bool>(), 0usize..3), 8..24),
        max_entities in prop_oneof![1usize..3, Just(100)],
        seed in 0u64..4,
    ) {
        let inputs = inputs_with_delays(ROWS as usize, seed, |i| (i * i + i / 5) % 7);
        let files: Vec<Arc<Terms>> = FILES.iter().map(|file| Arc::new(of_file(file))).collect();
        let mut undisturbed = World::under(0, settings(1_000), Terms::clone(&files[0]));
        let mut world = World::under(0, settings(max_entities), Terms::clone(&files[0]));
        let mut next = 0;
        for (n_rows, seconds, file, changes, deaths) in steps {
            let until = (next + n_rows).min(ROWS);
            world.handle(&inputs, next..until);
            undisturbed.handle(&inputs, next..until);
            next = until;
            let terms = if changes { &files[file] } else { &Arc::clone(&world.lane.terms) };
            if deaths == 0 {
                // A reload, which is committed with the epoch.
                world.lane.set_terms(terms);
            }
            let part = world.cut(seconds, false);
            for _ in 0..deaths {
                let (mut taken_over, report) = world.taken_over(&part, &inputs);
                prop_assert!(!report.diverged);
                taken_over.lane.set_terms(terms);
                world = taken_over;
                if deaths > 1 {
                    // Nothing of it is committed: the next one begins at the same place.
                    world.handle(&inputs, next..(next + 7).min(ROWS));
                }
            }
            if deaths > 1 {
                let (mut taken_over, report) = world.taken_over(&part, &inputs);
                prop_assert!(!report.diverged);
                taken_over.lane.set_terms(terms);
                world = taken_over;
            }
            undisturbed.lane.set_terms(terms);
        }
        world.handle(&inputs, next..ROWS);
        undisturbed.handle(&inputs, next..ROWS);
        let part = world.cut(0, true);
        undisturbed.cut(0, true);
        prop_assert_eq!(part.replay_offset, ROWS);
        prop_assert!(world.outputs == undisturbed.outputs, "outputs differ");
        prop_assert!(world.states() == undisturbed.states(), "states differ");
    }
}

#[test]
fn a_channel_that_is_not_read_any_more_is_missing_from_there_on_with_or_without_a_crash() {
    let inputs = inputs_with_delays(ROWS as usize, 3, |i| (i * i + i / 5) % 7);
    let grid = of_file("[input]\nmax_lateness = \"9s\"\ninterval = \"2s\"");
    let narrow = Arc::new(of_file("[input]\nchannels = [\"b\"]\nmax_lateness = \"9s\"\ninterval = \"2s\""));
    let mut undisturbed = World::under(0, settings(1_000), grid.clone());
    undisturbed.handle(&inputs, 0..700);
    undisturbed.lane.set_terms(&narrow);
    undisturbed.handle(&inputs, 700..ROWS);
    undisturbed.cut(0, true);
    let mut world = World::under(0, settings(1_000), grid);
    world.handle(&inputs, 0..500);
    world.cut(40, true);
    world.handle(&inputs, 500..700);
    let part = world.cut(1, false);
    assert!(part.replay_offset < 700);
    let (mut world, report) = world.taken_over(&part, &inputs);
    assert!(!report.diverged);
    world.lane.set_terms(&narrow);
    world.handle(&inputs, 700..ROWS);
    world.cut(0, true);
    assert!(world.outputs == undisturbed.outputs, "outputs differ");
    assert!(world.states() == undisturbed.states(), "states differ");
}

/// The text of the terms in the state topic, as it is found there.
fn stored(world: &World) -> Vec<String> {
    let terms = world.log.iter().filter(|(key, _)| key == b"t1/telemetry/0");
    let text = |value: &Option<Vec<u8>>| {
        String::from_utf8(Envelope::decode(value.as_deref().unwrap()).unwrap().body.to_vec()).unwrap()
    };
    terms.map(|(_, value)| text(value)).collect()
}

#[test]
fn the_state_topic_holds_the_terms_from_the_replay_offset_on() {
    let inputs = inputs(600, 1);
    let (before, after) = (Arc::new(of_file(FILES[1])), Arc::new(of_file(FILES[3])));
    let mut world = World::under(0, settings(1_000), Terms::clone(&before));
    world.handle(&inputs, 0..200);
    assert_eq!(world.cut(1, false).terms, before.fingerprint);
    world.handle(&inputs, 200..300);
    assert!(world.cut(1, false).replay_offset < 300);
    assert_eq!(stored(&world), [before.text.as_str()], "once is enough");
    world.lane.set_terms(&after);
    let part = world.cut(1, false);
    assert_eq!((part.terms, part.replay_offset), (after.fingerprint, 300), "no replay crosses the change");
    assert_eq!(stored(&world), [before.text.as_str(), after.text.as_str()]);
    // Who takes over finds them there, and writes them again only if they are not.
    let (mut next, _) = world.taken_over(&part, &inputs);
    assert_eq!(next.cut(1, false).effects.n_outputs(), 0);
    next.lane.lose_snapshots();
    next.log.clear();
    next.cut(1, false);
    assert_eq!(stored(&next), [after.text.as_str()]);
}

#[test]
fn terms_that_the_state_topic_does_not_take_hold_nothing_up() {
    let inputs = inputs(300, 1);
    let mut world = World::under(0, Settings { max_snapshot: 600, ..settings(1_000) }, usual_terms());
    world.handle(&inputs, 0..2);
    let part = world.cut(1, false);
    assert_eq!((stored(&world).len(), part.effects.tally.oversized), (0, 1));
    assert_eq!(part.next_offset, 2);
}
