//! At-least-once delivery: outputs, then snapshots, then offsets, and a death between any two of them. What is told twice is told alike.

use super::*;
use std::collections::BTreeSet;

/// Rows of three entities, each of which ends now and then.
fn ending_inputs(seed: u64) -> Vec<Input> {
    let mut inputs = inputs(ROWS as usize, seed);
    for (i, input) in inputs.iter_mut().enumerate() {
        if i % 83 == 71 {
            input.1 = None;
        }
    }
    inputs
}

/// Where a process dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    None,
    BehindOutputs,
    BehindSnapshots,
    BehindOffsets,
}

fn death() -> impl Strategy<Value = Death> {
    prop_oneof![
        3 => Just(Death::None),
        1 => Just(Death::BehindOutputs),
        2 => Just(Death::BehindSnapshots),
        1 => Just(Death::BehindOffsets),
    ]
}

fn lead(max_entities: usize) -> World {
    World::under(0, Settings { snapshots_lead: true, ..settings(max_entities) }, usual_terms())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_told_again_is_told_alike_and_nothing_is_missing(
        steps in prop::collection::vec((1i64..90, 0u64..20, death()), 8..32),
        max_entities in prop_oneof![1usize..3, Just(100)],
        seed in 0u64..4,
    ) {
        let inputs = ending_inputs(seed);
        let undisturbed = {
            let mut world = lead(1_000);
            world.handle(&inputs, 0..ROWS);
            world.cut(0, true);
            world.cut(0, true);
            world
        };
        let mut world = lead(max_entities);
        let mut committed = world.cut(0, false);
        for (n_rows, seconds, death) in steps {
            let next = world.lane.next_offset;
            world.handle(&inputs, next..(next + n_rows).min(ROWS));
            let (log, outputs) = (world.log.len(), world.outputs.len());
            let part = world.cut(seconds, false);
            match death {
                Death::None => committed = part,
                Death::BehindOffsets => {
                    committed = part;
                    world = world.taken_over(&committed, &inputs).0;
                }
                Death::BehindSnapshots => world = world.taken_over(&committed, &inputs).0,
                // Some of them.
                Death::BehindOutputs => {
                    world.log.truncate(log);
                    world.outputs.truncate(outputs.midpoint(world.outputs.len()));
                    world = world.taken_over(&committed, &inputs).0;
                }
            }
        }
        let next = world.lane.next_offset;
        world.handle(&inputs, next..ROWS);
        world.cut(0, true);
        world.cut(0, true);
        let [told, expected] = [&world, &undisturbed].map(|world| world.outputs.iter().collect::<BTreeSet<_>>());
        let text = |(_, _, value): &(Stream, Vec<u8>, Option<Vec<u8>>)| value.clone().map(String::from_utf8);
        let otherwise = told.difference(&expected).next().map(|output| text(output));
        prop_assert!(otherwise.is_none(), "told otherwise: {:?}", otherwise);
        let missing = expected.difference(&told).next().map(|output| text(output));
        prop_assert!(missing.is_none(), "not told: {:?}", missing);
        prop_assert!(world.states() == undisturbed.states(), "states differ");
    }
}
