//! What is played: the input, how lanes are set, and a lane in a process.

use offkey::config::{Config, Source};
use offkey::detector::{Settings as DetectorSettings, warmup};
use offkey::lane::grouping::Grouping;
use offkey::lane::record::{PartitionId, Record};
use offkey::lane::terms::Terms;
use offkey::lane::{Handled, Lane, Settings};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const PARTITIONS: usize = 2;
pub const ROWS: i64 = 1_200;

pub type Log = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What is fixed for all seeds.
pub struct Plan {
    pub inputs: Vec<Log>,
    pub settings: Arc<Settings>,
    /// The first are usual; others are for members that are started with another file.
    pub terms: Vec<Arc<Terms>>,
}

/// How records are read and judged.
const FILES: [&str; 3] = [
    "[input]\nmax_lateness = \"3s\"\n[state]\nprobation_rows = 4\n[threshold]\nmethod = \"fixed\"\nlevel = 0.5\n[alert]\nrefractory_rows = 5",
    "[input]\nmax_lateness = \"8s\"\nlate = \"drop\"\n[state]\nprobation_rows = 9\n[threshold]\nmethod = \"fixed\"\nlevel = 3.0",
    "[input]\ninterval = \"2s\"\n[threshold]\nmethod = \"fixed\"\nlevel = 0.2\n[alert]\nopen_rows = 2\nopen_of = 3\nrefractory_rows = 0",
];

impl Plan {
    pub fn new(max_entities: usize) -> Self {
        let config = Config::defaults();
        let mut detector = DetectorSettings::clone(&config.detector);
        detector.window_rows = 4;
        detector.warmup = warmup::Length::Rows(60);
        let settings = Settings {
            detector: Arc::new(detector),
            name: config.name.clone(),
            scores: true,
            max_entities,
            max_alert: 1 << 20,
            max_dead_letter: 1 << 20,
            max_snapshot: 1 << 20,
            snapshot_interval: Duration::from_secs(30),
            snapshots_lead: false,
        };
        let terms = |file: &str| Arc::new(Config::load(Source::Toml(file), []).unwrap().terms());
        let inputs = (0..PARTITIONS).map(rows).collect();
        Self { inputs, settings: Arc::new(settings), terms: FILES.map(terms).into() }
    }

    pub fn lane(&self, partition: usize, live_from: i64, terms: &Arc<Terms>) -> Lane {
        Lane::new(id_of(partition), live_from, Arc::clone(&self.settings), Arc::clone(terms))
    }
}

pub fn id_of(partition: usize) -> PartitionId {
    PartitionId { topic: "telemetry".into(), partition: partition as i32 }
}

pub fn rows(partition: usize) -> Log {
    let mut rng = Pcg32::seed_from_u64(partition as u64);
    let mut noise = move || f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
    let row = |i: i64| {
        let key = format!("pump-{partition}-{}", (i * i + i / 7) % 2).into_bytes();
        let fault = if i % 230 > 222 { 9.0 } else { 0.0 };
        let a = (i as f64 / 9.0).sin() + 0.1 * noise() + fault;
        let b = a * 0.5 + 0.1 * noise();
        match i {
            i if i % 97 == 96 => (key, Some(b"{no".to_vec())),
            // The second ends while an alert is open.
            100 | 916 => (key, None),
            i => {
                // Some come before rows that are older than they.
                let at = 1_700_000_000 + i + 2 * (i % 3);
                (key, Some(format!(r#"{{"ts": {at}, "values": {{"a": {a}, "b": {b}}}}}"#).into()))
            }
        }
    };
    (0..ROWS).map(row).collect()
}

/// A lane in a process, with the store beside it.
pub struct Live {
    pub lane: Lane,
    pub next: i64,
    /// Its records are given to it.
    pub reads: bool,
    /// Terms that came into force since its last cut, and from which offset on.
    pub switches: Vec<(i64, Arc<Terms>)>,
    pub spill: BTreeMap<String, Vec<u8>>,
}

impl Live {
    pub fn new(lane: Lane, next: i64) -> Self {
        Self { lane, next, reads: false, switches: Vec::new(), spill: BTreeMap::new() }
    }

    pub fn set_terms(&mut self, terms: &Arc<Terms>, from: i64) {
        self.lane.set_terms(terms);
        self.switches.push((from, Arc::clone(terms)));
    }

    /// A batch, in a worker's order: where it ends says nothing either.
    pub fn handle(&mut self, plan: &Plan, partition: usize, until: i64) {
        let first = self.next;
        self.next = first.max(until.min(ROWS));
        let batch = &plan.inputs[partition][first as usize..self.next as usize];
        for place in Grouping::default().by_key(batch.iter().map(|(key, _)| Some(key.as_slice()))) {
            let ((key, payload), offset) = (&batch[place], first + place as i64);
            let timestamp_ms = Some(1_700_000_000_000 + offset * 1_000);
            let record = Record { offset, timestamp_ms, key: Some(key.as_slice()), payload: payload.as_deref() };
            while let Handled::Cold(entity) = self.lane.handle(&record) {
                let state = self.spill.remove(&entity);
                self.lane.revive(&entity, state.as_deref(), offset);
            }
            self.spill.extend(self.lane.take_evicted());
        }
    }
}
