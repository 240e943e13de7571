//! A row costs no allocation once an entity is warm, as long as it causes no transition.

mod counting;

use offkey::config::Config;
use offkey::detector::row::{EventTime, Row};
use offkey::detector::rules::Rules;
use offkey::detector::schema::{Channel, Schema};
use offkey::detector::warmup::Length;
use offkey::detector::{Detector, Scratch, Settings};
use offkey::lane::align;
use offkey::lane::entity::{Entity, Surroundings};
use offkey::lane::intake::Measured;
use offkey::wire::channels::{ChannelId, Channels, Lookup, Selection};
use std::sync::Arc;

const WARMUP: usize = 400;

fn entity(channels: usize) -> Detector {
    let channel = |c| Channel { name: format!("sensor_{c}"), unit: None, resolution: 0.0 };
    let schema = Schema::new((0..channels).map(channel).collect());
    Detector::new(schema, Arc::new(Settings { warmup: Length::Rows(WARMUP as u64), ..Settings::default() }))
}

fn feed(detector: &mut Detector, rows: std::ops::Range<usize>, scratch: &mut Scratch) {
    let rules = Rules::default();
    let mut values = vec![0.0f32; detector.schema().n_channels()];
    for row in rows {
        for (c, value) in values.iter_mut().enumerate() {
            let noise = (row * 1024 + c).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            *value = libm::sinf(row as f32 * 0.2 + c as f32) + noise as f32 / (1 << 24) as f32;
        }
        if values.len() > 1 && row % 13 == 0 {
            let channel = row % 7 % values.len();
            values[channel] = f32::NAN;
        }
        let at = EventTime::from_millis(1_700_000_000_000 + 1_000 * row as i64);
        let before = counting::allocations();
        let outcome = detector.step(&Row { at, offset: row as i64, values: &values }, &rules, scratch);
        let allocated = counting::allocations() - before;
        if row > WARMUP + 16 && outcome.alerts.is_empty() {
            assert_eq!(allocated, 0, "row {row}: {outcome:?}");
        }
    }
}

#[test]
fn a_warm_row_allocates_nothing() {
    for channels in [1, 4, 8, 38] {
        let (mut detector, mut scratch) = (entity(channels), Scratch::default());
        feed(&mut detector, 0..3 * WARMUP, &mut scratch);
        assert!(detector.is_fitted());
        assert!(counting::allocations() > 0, "the warm-up allocates");
    }
}

#[test]
fn entities_of_many_widths_share_one_scratch() {
    let mut scratch = Scratch::default();
    let mut entities: Vec<Detector> = [8, 1, 20].map(entity).into();
    for detector in &mut entities {
        feed(detector, 0..WARMUP + 40, &mut scratch);
    }
    for round in 0..20 {
        let from = WARMUP + 40 + round * 10;
        for detector in &mut entities {
            feed(detector, from..from + 10, &mut scratch);
        }
    }
}

/// A detector behind rows that wait, are merged, or filled in.
#[test]
fn a_row_that_waited_allocates_nothing_either() {
    let as_they_come = align::Settings { max_fill: 16, ..align::Settings::default() };
    let waiting = align::Settings { max_lateness: 20_000_000, ..as_they_come };
    let grid = align::Settings { interval: Some(2_000_000), ..as_they_come };
    for align in [
        as_they_come,
        waiting,
        align::Settings { merge: true, ..waiting },
        grid,
        align::Settings { interval: Some(500_000), ..waiting },
    ] {
        let mut channels = Channels::new(Selection::all());
        let ids: Vec<ChannelId> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|name| match channels.intern(name) {
                Lookup::Channel(id) => id,
                other => panic!("{other:?}"),
            })
            .collect();
        let settings = Arc::new(Settings { warmup: Length::Rows(WARMUP as u64), ..Settings::default() });
        let rulebook = Config::defaults().rules;
        let (mut scratch, mut values) = (Scratch::default(), Vec::new());
        let mut entity = Entity::new("pump");
        let mut n_rows = 0;
        for record in 0..6 * WARMUP {
            let value = |c: usize| {
                let noise = (record * 1024 + c).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                libm::sinf(record as f32 * 0.2 + c as f32) + noise as f32 / (1 << 24) as f32
            };
            let measurements: Vec<_> = ids.iter().enumerate().map(|(c, id)| (*id, value(c))).collect();
            let seconds = record as i64 - (record * record % 15) as i64;
            let at = EventTime::from_millis(1_700_000_000_000 + 1_000 * seconds);
            let mut around = Surroundings {
                channels: &channels,
                rulebook: &rulebook,
                settings: &settings,
                probation_rows: 3,
                scratch: &mut scratch,
                values: &mut values,
            };
            let record = Measured { at, offset: record as i64, measurements: &measurements };
            let mut is_quiet = true;
            let before = counting::allocations();
            entity.take_record(&record, &align, &mut around, |_, outcome| {
                n_rows += 1;
                is_quiet &= outcome.alerts.is_empty();
            });
            let allocated = counting::allocations() - before;
            if n_rows > WARMUP + 16 && is_quiet {
                assert_eq!(allocated, 0, "{align:?} at {record:?}");
            }
        }
        assert!(n_rows > 2 * WARMUP, "{align:?}: {n_rows} rows");
    }
}
