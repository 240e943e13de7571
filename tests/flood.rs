//! Keys without end: a million that were seen once or twice cost an index, and no entity that has been learned pays for them.
//! `OFFKEY_LONG=1` floods with a million keys, else it is a hundred thousand.

#![allow(missing_docs, clippy::unwrap_used)]

mod counting;

use offkey::config::Config;
use offkey::detector::Settings as DetectorSettings;
use offkey::detector::warmup::Length;
use offkey::lane::effects::Stream;
use offkey::lane::record::{PartitionId, Record};
use offkey::lane::terms::Terms;
use offkey::lane::{Handled, Lane, Memory, Settings};
use std::sync::Arc;
use std::time::Duration;

const PUMPS: i64 = 20;
const CHANNELS: i64 = 8;
const LIMIT: Memory = Memory::of(PUMPS as usize, 64 << 20);

fn keys() -> i64 {
    if std::env::var_os("OFFKEY_LONG").is_some() { 1_000_000 } else { 100_000 }
}

fn lane(warmup: u64) -> Lane {
    let config = Config::defaults();
    let detector = DetectorSettings { warmup: Length::Rows(warmup), ..DetectorSettings::clone(&config.detector) };
    let settings = Settings {
        detector: Arc::new(detector),
        name: config.name.clone(),
        scores: true,
        max_entities: LIMIT.entities,
        max_alert: 1 << 20,
        max_dead_letter: 1 << 20,
        max_snapshot: 1 << 24,
        snapshot_interval: Duration::from_secs(30),
        snapshots_lead: false,
    };
    let id = PartitionId { topic: "telemetry".into(), partition: 0 };
    let mut lane = Lane::new(id, 0, Arc::new(settings), Arc::new(Terms { probation_rows: 3, ..config.terms() }));
    lane.set_memory(LIMIT);
    lane
}

/// A lane, its offset, its clock, and what left memory: as a worker and the broker keep it, in bytes.
struct World {
    lane: Lane,
    offset: i64,
    clock: Duration,
    spilled: u64,
    state: u64,
    scores: Vec<u8>,
}

impl World {
    fn new(warmup: u64) -> Self {
        Self { lane: lane(warmup), offset: 0, clock: Duration::ZERO, spilled: 0, state: 0, scores: Vec::new() }
    }

    fn row(&mut self, key: &str, tick: i64) {
        let value = |c: i64| (tick as f64 / 9.0 + c as f64).sin() + ((tick * 31 + c) % 17) as f64 * 0.01;
        let values: Vec<String> = (0..CHANNELS).map(|c| format!("\"sensor_{c}\":{}", value(c))).collect();
        let payload = format!("{{\"ts\":{},\"values\":{{{}}}}}", 1_700_000_000 + tick, values.join(","));
        let record = Record {
            offset: self.offset,
            timestamp_ms: Some(1_700_000_000_000 + 1_000 * tick),
            key: Some(key.as_bytes()),
            payload: Some(payload.as_bytes()),
        };
        assert_eq!(self.lane.handle(&record), Handled::Done, "{key} has left memory");
        self.offset += 1;
        let evicted = self.lane.take_evicted();
        self.spilled += evicted.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
    }

    fn cut(&mut self) {
        self.clock += Duration::from_millis(100);
        let part = self.lane.cut(self.clock, false);
        for output in part.effects.outputs() {
            match output.stream {
                Stream::State => {
                    self.state += (output.key.unwrap_or_default().len() + output.value.unwrap_or_default().len()) as u64
                }
                // Offsets differ with a flood between; scores do not.
                Stream::Scores if output.key.is_some_and(|key| key.starts_with(b"pump")) => {
                    let value = std::str::from_utf8(output.value.unwrap()).unwrap();
                    self.scores.extend_from_slice(value.split(",\"source\"").next().unwrap().as_bytes());
                }
                Stream::Alerts | Stream::DeadLetters | Stream::Scores => {}
            }
        }
    }

    fn pumps(&mut self, ticks: std::ops::Range<i64>) {
        for tick in ticks {
            (0..PUMPS).for_each(|pump| self.row(&format!("pump-{pump}"), tick));
            self.cut();
        }
    }
}

#[test]
fn a_flood_of_keys_costs_an_index_and_no_detector_leaves() {
    let n = keys();
    let mut world = World::new(400);
    world.pumps(0..410);
    let trained = |world: &World| world.lane.census().by_state.values().sum::<u64>();
    assert_eq!(trained(&world), PUMPS as u64);
    let (before, state_before) = (counting::bytes(), world.state);
    for key in 0..n {
        world.row(&format!("once-{key:08}"), key);
        if key % 2 == 0 {
            world.row(&format!("once-{key:08}"), key + 1);
        }
        if key % 1_000 == 999 {
            world.cut();
        }
    }
    world.cut();
    let census = world.lane.census();
    assert_eq!(trained(&world), PUMPS as u64);
    assert!(census.on_probation <= PUMPS as u64);
    assert_eq!(census.on_probation + census.out_of_memory, n as u64);
    let memory = (counting::bytes() - before) as f64 / n as f64;
    let (spilled, state) = (world.spilled as f64 / n as f64, (world.state - state_before) as f64 / n as f64);
    println!("a key: {memory:.1} bytes in memory, {spilled:.0} on disk, {state:.0} in the state topic");
    assert!(memory < 64.0, "{memory} bytes a key");
    assert!(state < 1_200.0, "{state} bytes of a key in the state topic");
    world.pumps(410..500);
    let mut calm = World::new(400);
    calm.pumps(0..500);
    assert!(calm.scores == world.scores, "scores differ");
}

#[test]
fn the_size_of_an_entity_is_what_it_takes() {
    for warmup in [400, 2_500] {
        let mut world = World::new(warmup);
        let mut samples = Vec::new();
        let before = counting::bytes();
        for tick in 0..2 * warmup as i64 {
            world.row("pump-0", tick);
            world.cut();
            if tick > 10 && tick % 97 == 0 {
                world.scores = Vec::new();
                samples.push((counting::bytes() - before, world.lane.memory().bytes));
            }
        }
        // What a lane has of its own, whoever is in it: scratch, buffers.
        for (taken, told) in samples {
            let rest = taken - told as isize;
            assert!(
                (-8_000..32_000).contains(&rest) || (rest as f64).abs() < 0.35 * taken as f64,
                "{told} told of {taken}"
            );
        }
    }
}
