//! Rows in the order of their time, whatever the order of their records.

use super::*;
use serde_json::Value;

const SECOND: i64 = 1_000_000;

/// The ways in which records become rows, and what becomes of late ones.
pub(super) fn settings() -> impl Strategy<Value = (align::Settings, Late)> {
    let as_they_come = align::Settings { max_fill: 4, ..align::Settings::default() };
    let in_order = align::Settings { max_lateness: 4 * SECOND, ..as_they_come };
    let grid = align::Settings { interval: Some(2 * SECOND), ..as_they_come };
    let align = prop_oneof![
        Just(as_they_come),
        Just(in_order),
        Just(align::Settings { merge: true, ..in_order }),
        Just(grid),
        Just(align::Settings { max_lateness: 4 * SECOND, ..grid }),
        Just(align::Settings { max_lateness: 3_000 * SECOND, ..as_they_come }),
    ];
    (align, prop_oneof![Just(Late::Keep), Just(Late::Drop), Just(Late::DeadLetter)])
}

/// What readers see, but for the places the records had in the log.
fn without_offsets(outputs: &Outputs) -> Vec<(Stream, Vec<u8>, Value)> {
    let parse = |(stream, key, value): &(Stream, Vec<u8>, Option<Vec<u8>>)| {
        let mut value: Value = serde_json::from_slice(value.as_deref()?).ok()?;
        assert!(value["source"]["offset"].take().is_i64());
        Some((*stream, key.clone(), value))
    };
    // Entities lie side by side in one log: each in its own order.
    let mut outputs: Vec<_> = outputs.iter().filter_map(parse).collect();
    outputs.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
    outputs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_order_within_the_lateness_tells_what_the_sorted_records_tell(
        delays in prop::collection::vec(0usize..=20, 690..=690),
        interval in prop_oneof![Just(None), Just(Some(3 * SECOND))],
        seed in 0u64..4,
    ) {
        let sorted = inputs(690, seed);
        let mut order: Vec<usize> = (0..690).collect();
        order.sort_by_key(|i| i + delays[*i]);
        let arriving: Vec<Input> = order.iter().map(|i| Input(sorted[*i].0.clone(), sorted[*i].1.clone())).collect();
        let told = |inputs: &[Input]| {
            let align = align::Settings { interval, max_lateness: 20 * SECOND, max_fill: 4, merge: false };
            let mut world = World::with(0, 1_000, align, Late::Drop);
            world.handle(inputs, 0..690);
            let part = world.cut(0, true);
            prop_assert_eq!(part.effects.tally.late, 0);
            Ok(without_offsets(&world.outputs))
        };
        let (sorted, arriving) = (told(&sorted)?, told(&arriving)?);
        prop_assert!(sorted.len() > 500);
        prop_assert!(sorted.iter().any(|(stream, ..)| *stream == Stream::Alerts));
        prop_assert!(sorted == arriving, "outputs differ");
    }
}

fn row(at: i64, value: f64) -> Input {
    let text = format!(r#"{{"ts": {at}, "values": {{"a": {value}}}}}"#);
    Input(Some(b"pump".to_vec()), Some(text.into_bytes()))
}

/// In order, up to ten seconds late.
fn world(late: Late) -> World {
    World::with(0, 10, align::Settings { max_lateness: 10 * SECOND, ..align::Settings::default() }, late)
}

#[test]
fn a_row_of_the_year_2100_makes_no_later_one_late() {
    let start = 1_700_000_000;
    let mut inputs: Vec<Input> = (0..50).map(|i| row(start + i, 1.0)).collect();
    inputs.insert(20, row(4_102_444_800, 1.0));
    let mut world = world(Late::DeadLetter);
    world.handle(&inputs, 0..51);
    let tally = world.lane.cut(NEVER, false).effects.tally;
    let refused = |rejection| tally.rejected[Rejection::ALL.iter().position(|other| *other == rejection).unwrap()];
    assert_eq!((refused(Rejection::TimestampInFuture), refused(Rejection::Late), tally.late), (1, 0, 0));
    // The last ten seconds and the newest row wait.
    assert_eq!(tally.rows, 50 - 11);
}

#[test]
fn late_rows_are_kept_dropped_or_dead_letters_as_they_came() {
    for (policy, rows, letters) in [(Late::Keep, 2, 0), (Late::Drop, 1, 0), (Late::DeadLetter, 1, 1)] {
        let inputs = [row(1_700_000_000, 1.0), row(1_700_000_020, 1.0), row(1_700_000_009, 2.0)];
        let mut world = world(policy);
        world.handle(&inputs, 0..3);
        let part = world.cut(0, true);
        assert_eq!((part.effects.tally.late, part.effects.tally.rows), (1, rows), "{policy:?}");
        assert_eq!(part.next_offset, 3);
        let dead: Vec<_> = part.effects.outputs().filter(|output| output.stream == Stream::DeadLetters).collect();
        assert_eq!(dead.len(), letters, "{policy:?}");
        for letter in dead {
            assert_eq!(letter.value, inputs[2].1.as_deref());
            let headers: BTreeMap<_, _> = letter.headers().collect();
            assert_eq!((headers["reason"], headers["offset"]), (b"late".as_slice(), b"2".as_slice()));
            assert_eq!(headers["error"], b"1 s behind the rows that are still waited for");
        }
    }
}

#[test]
fn every_score_names_the_record_of_its_row() {
    let inputs: Vec<Input> = (0..60).map(|i| row(1_700_000_000 + i - i * i % 9, i as f64)).collect();
    let mut world = world(Late::Keep);
    world.handle(&inputs, 0..60);
    world.cut(0, true);
    assert!(world.outputs.len() > 40);
    for (_, _, score) in &world.outputs {
        let score: Value = serde_json::from_slice(score.as_deref().unwrap()).unwrap();
        let record = &inputs[score["source"]["offset"].as_u64().unwrap() as usize];
        let record: Value = serde_json::from_slice(record.1.as_deref().unwrap()).unwrap();
        let at = crate::wire::timestamp::to_rfc3339(EventTime::from_millis(record["ts"].as_i64().unwrap() * 1_000));
        assert_eq!(score["timestamp"], at);
    }
}

#[test]
fn a_tombstone_lets_the_rows_before_it_be_judged() {
    let mut inputs: Vec<Input> = (0..5).map(|i| row(1_700_000_000 + i, 1.0)).collect();
    inputs.push(Input(Some(b"pump".to_vec()), None));
    let mut world = world(Late::Keep);
    world.handle(&inputs, 0..5);
    assert_eq!(world.cut(0, true).effects.tally.rows, 0);
    world.handle(&inputs, 5..6);
    let part = world.cut(0, true);
    assert_eq!((part.effects.tally.rows, part.accumulator), (5, 0));
    let offsets: Vec<i64> = world
        .outputs
        .iter()
        .map(|(_, _, value)| serde_json::from_slice::<Value>(value.as_deref().unwrap()).unwrap())
        .map(|score| score["source"]["offset"].as_i64().unwrap())
        .collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert!(world.states().is_empty());
}

#[test]
fn a_gap_in_a_grid_is_told_step_by_step() {
    let inputs = [row(1_700_000_000, 1.0), row(1_700_000_003, 2.0), row(1_700_000_004, 3.0)];
    let align = align::Settings { interval: Some(SECOND), max_fill: 4, ..align::Settings::default() };
    let mut world = World::with(0, 10, align, Late::Keep);
    world.handle(&inputs, 0..3);
    let part = world.cut(0, true);
    assert_eq!((part.effects.tally.rows, part.effects.tally.filled), (4, 2));
    let scores: Vec<Value> =
        world.outputs.iter().map(|(_, _, value)| serde_json::from_slice(value.as_deref().unwrap()).unwrap()).collect();
    let told: Vec<_> = scores
        .iter()
        .map(|score| {
            (score["timestamp"].as_str().unwrap()[17..19].to_owned(), score["source"]["offset"].as_i64().unwrap())
        })
        .collect();
    let seconds = |second: &str, offset| (second.to_owned(), offset);
    assert_eq!(told, [seconds("20", 0), seconds("21", 0), seconds("22", 0), seconds("23", 1)]);
}
