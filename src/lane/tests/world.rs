//! A lane with the store that a worker keeps for it and the state topic that it writes to, and what it is fed with.

use super::*;

pub type Outputs = Vec<(Stream, Vec<u8>, Option<Vec<u8>>)>;
pub type States = BTreeMap<Vec<u8>, Vec<u8>>;

/// Enough for a fitted model.
pub const ROWS: i64 = 1_500;
pub const NEVER: Duration = Duration::from_secs(1 << 30);

/// A key and a payload.
pub struct Input(pub Option<Vec<u8>>, pub Option<Vec<u8>>);

/// Rows of three entities with faults in them, records that cannot be read, and now and then the end of an entity.
pub fn inputs(n: usize, seed: u64) -> Vec<Input> {
    inputs_with_delays(n, seed, |_| 0)
}

/// The same, each row measured so many seconds before it comes.
pub fn inputs_with_delays(n: usize, seed: u64, delay: impl Fn(usize) -> usize) -> Vec<Input> {
    let mut rng = Pcg32::seed_from_u64(seed);
    let mut noise = move || f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
    let input = |i: usize| {
        let key = Some(format!("pump-{}", (i * i + i / 7) % 3).into_bytes());
        if i % 97 == 96 {
            return Input(key, Some(b"{\"ts\": no".to_vec()));
        }
        if i % 701 == 700 {
            return Input(key, None);
        }
        let fault = if i % 230 > 222 { 9.0 } else { 0.0 };
        let a = (i as f64 / 9.0).sin() + 0.1 * noise() + fault;
        let b = if i % 31 == 5 { "null".to_owned() } else { format!("{}", a * 0.5 + 0.1 * noise()) };
        Input(
            key,
            Some(
                format!(r#"{{"ts": {}, "values": {{"a": {a}, "b": {b}}}}}"#, 1_700_000_000 + i - delay(i)).into_bytes(),
            ),
        )
    };
    (0..n).map(input).collect()
}

pub fn settings(max_entities: usize) -> Settings {
    let config = Config::defaults();
    let mut detector = DetectorSettings::clone(&config.detector);
    detector.window_rows = 4;
    detector.warmup = crate::detector::warmup::Length::Rows(60);
    Settings {
        detector: Arc::new(detector),
        name: config.name,
        scores: true,
        max_entities,
        max_alert: 1 << 20,
        max_dead_letter: 1 << 20,
        max_snapshot: 1 << 20,
        snapshot_interval: Duration::from_secs(30),
        snapshots_lead: false,
    }
}

pub fn terms(align: align::Settings, late: Late) -> Terms {
    let mut terms = Terms { align, late, probation_rows: 4, ..Config::defaults().terms() };
    terms.rulebook.threshold = threshold::Settings::Fixed { level: 0.5 };
    terms.rulebook.alert.refractory = 5;
    terms
}

pub fn usual_terms() -> Terms {
    terms(Config::defaults().align(), Late::Keep)
}

/// A lane with the store that a worker keeps for it.
pub struct World {
    pub lane: Lane,
    pub spill: BTreeMap<String, Vec<u8>>,
    pub clock: Duration,
    pub outputs: Outputs,
    pub log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// In force when it was cut last.
    pub committed_terms: Arc<Terms>,
}

impl World {
    pub fn new(live_from: i64, max_entities: usize) -> Self {
        Self::with(live_from, max_entities, Config::defaults().align(), Late::Keep)
    }

    pub fn with(live_from: i64, max_entities: usize, align: align::Settings, late: Late) -> Self {
        Self::under(live_from, settings(max_entities), terms(align, late))
    }

    pub fn under(live_from: i64, settings: Settings, terms: Terms) -> Self {
        let id = PartitionId { topic: "telemetry".into(), partition: 0 };
        let terms = Arc::new(terms);
        Self {
            lane: Lane::new(id, live_from, Arc::new(settings), Arc::clone(&terms)),
            spill: BTreeMap::new(),
            clock: Duration::ZERO,
            outputs: Vec::new(),
            log: Vec::new(),
            committed_terms: terms,
        }
    }

    pub fn keep_evicted(&mut self) {
        self.spill.extend(self.lane.take_evicted());
    }

    pub fn handle(&mut self, inputs: &[Input], offsets: std::ops::Range<i64>) {
        for offset in offsets {
            let Input(key, payload) = &inputs[offset as usize];
            let timestamp_ms = Some(1_700_000_000_000 + offset * 1_000);
            let record = Record { offset, timestamp_ms, key: key.as_deref(), payload: payload.as_deref() };
            while let Handled::Cold(entity) = self.lane.handle(&record) {
                let state = self.spill.remove(&entity);
                assert!(state.is_some(), "{entity} left memory and was kept nowhere");
                self.lane.revive(&entity, state.as_deref(), offset);
            }
            self.keep_evicted();
        }
    }

    /// An epoch that is committed at once.
    pub fn cut(&mut self, seconds: u64, all: bool) -> Part {
        self.clock += Duration::from_secs(seconds);
        let part = self.lane.cut(self.clock, all);
        self.committed_terms = Arc::clone(&self.lane.terms);
        for output in part.effects.outputs() {
            let (key, value) = (output.key.unwrap_or_default().to_vec(), output.value.map(<[u8]>::to_vec));
            match output.stream {
                Stream::State => self.log.push((key, value)),
                stream => self.outputs.push((stream, key, value)),
            }
        }
        part
    }

    /// The state topic as compaction leaves it.
    pub fn states(&self) -> States {
        let mut states = States::new();
        for (key, value) in self.log.iter().filter(|(key, _)| key.starts_with(b"e1/")) {
            match value {
                Some(value) => drop(states.insert(key.clone(), value.clone())),
                None => drop(states.remove(key)),
            }
        }
        states
    }

    /// Another process takes over what was committed with `part`.
    pub fn taken_over(self, part: &Part, inputs: &[Input]) -> (Self, Report) {
        let metadata = OffsetMetadata {
            epoch: 1,
            replay_offset: part.replay_offset,
            accumulator: part.accumulator,
            terms: Some(part.terms),
            began: None,
        };
        assert_eq!(part.terms, self.committed_terms.fingerprint);
        let terms = Terms::clone(&self.committed_terms);
        let mut next = Self::under(part.next_offset, Settings::clone(&self.lane.settings), terms);
        (next.outputs, next.log) = (self.outputs, self.log);
        for (key, value) in &next.log {
            next.lane.restore(key, value.as_deref());
            next.spill.extend(next.lane.take_evicted());
        }
        let from = next.lane.replay_from(Some(&metadata.encode()));
        assert_eq!(from, part.replay_offset);
        next.handle(inputs, from..part.next_offset);
        let seen = next.lane.pending.outputs().filter(|output| output.stream != Stream::State).count();
        assert_eq!(seen, 0, "what the world has seen is not said again");
        let report = next.lane.finish_recovery();
        (next, report)
    }
}
