//! Lanes, the rules of the epochs and a broker in memory: hundreds of seeds, a fault at any step. What readers of committed
//! records see, and the state in the end, equal an undisturbed run. A failing seed is printed; `OFFKEY_SIM_SEED=n` repeats it.
//!
//! The broker's model: transactions are seen whole or not at all; a newer producer of the same name fences the older ones; the
//! group's coordinator fences members by their generation, not by their partitions; and (KIP-890 is missing in the client) an
//! EndTxn of a producer that is still in use may come late, into its next transaction.

#![allow(missing_docs, clippy::unwrap_used)]

use offkey::config::Config;
use offkey::detector::{Settings as DetectorSettings, threshold, warmup};
use offkey::lane::align::{self, Late};
use offkey::lane::effects::Stream;
use offkey::lane::record::{PartitionId, Record};
use offkey::lane::rulebook::Rulebook;
use offkey::lane::{Handled, Lane, Part, Settings};
use offkey::planted::is_planted;
use offkey::wire::state_record::OffsetMetadata;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: usize = 2;
const ROWS: i64 = 1_200;
const MEMBERS: usize = 2;

type Output = (Stream, Vec<u8>, Option<Vec<u8>>);
type Log = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What is fixed for all seeds.
struct Plan {
    inputs: Vec<Log>,
    settings: Arc<Settings>,
    rulebook: Arc<Rulebook>,
}

impl Plan {
    fn new(max_entities: usize) -> Self {
        let config = Config::defaults();
        let mut detector = DetectorSettings::clone(&config.detector);
        detector.window_rows = 4;
        detector.warmup = warmup::Length::Rows(60);
        let settings = Settings {
            decoder: config.input.decoder.clone(),
            align: align::Settings::default(),
            detector: Arc::new(detector),
            name: config.name.clone(),
            scores: true,
            probation_rows: 4,
            max_entities,
            max_dead_letter: 1 << 20,
            max_snapshot: 1 << 20,
            snapshot_interval: Duration::from_secs(30),
            max_lateness: config.input.max_lateness,
            late: Late::Keep,
            snapshots_lead: false,
        };
        let mut rulebook = config.rules;
        rulebook.threshold = threshold::Settings::Fixed { level: 0.5 };
        rulebook.alert.refractory = 5;
        let inputs = (0..PARTITIONS).map(rows).collect();
        Self { inputs, settings: Arc::new(settings), rulebook: Arc::new(rulebook) }
    }

    fn lane(&self, partition: usize, live_from: i64) -> Lane {
        let id = PartitionId { topic: "telemetry".into(), partition: partition as i32 };
        Lane::new(id, live_from, Arc::clone(&self.settings), Arc::clone(&self.rulebook))
    }
}

fn rows(partition: usize) -> Log {
    let mut rng = Pcg32::seed_from_u64(partition as u64);
    let mut noise = move || f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5;
    let row = |i: i64| {
        let key = format!("pump-{partition}-{}", (i * i + i / 7) % 2).into_bytes();
        let fault = if i % 230 > 222 { 9.0 } else { 0.0 };
        let a = (i as f64 / 9.0).sin() + 0.1 * noise() + fault;
        let b = a * 0.5 + 0.1 * noise();
        match i {
            i if i % 97 == 96 => (key, Some(b"{no".to_vec())),
            100 => (key, None),
            i => (key, Some(format!(r#"{{"ts": {}, "values": {{"a": {a}, "b": {b}}}}}"#, 1_700_000_000 + i).into())),
        }
    };
    (0..ROWS).map(row).collect()
}

/// A lane in a process, with the store beside it.
struct Live {
    lane: Lane,
    next: i64,
    spill: BTreeMap<String, Vec<u8>>,
}

impl Live {
    fn handle(&mut self, plan: &Plan, partition: usize, until: i64) {
        while self.next < until.min(ROWS) {
            let (key, payload) = &plan.inputs[partition][self.next as usize];
            let timestamp_ms = Some(1_700_000_000_000 + self.next * 1_000);
            let record =
                Record { offset: self.next, timestamp_ms, key: Some(key.as_slice()), payload: payload.as_deref() };
            while let Handled::Cold(entity) = self.lane.handle(&record) {
                let state = self.spill.remove(&entity);
                self.lane.revive(&entity, state.as_deref(), self.next);
            }
            self.spill.extend(self.lane.take_evicted());
            self.next += 1;
        }
    }
}

/// A transaction that has not ended.
#[derive(Default)]
struct Transaction {
    outputs: Vec<(usize, Output)>,
    offsets: BTreeMap<usize, (i64, String)>,
}

/// What the brokers know.
#[derive(Default)]
struct Broker {
    committed: BTreeMap<usize, (i64, String)>,
    outputs: Vec<Output>,
    state: BTreeMap<usize, Log>,
    open: BTreeMap<usize, Transaction>,
    producer_epochs: [u32; MEMBERS],
    owner: [usize; PARTITIONS],
    /// Generation in which each partition was given to its owner.
    since: [u32; PARTITIONS],
    generation: u32,
    /// An EndTxn(abort) that is late, by member and producer epoch.
    late_abort: Option<(usize, u32)>,
}

struct Fenced;

impl Broker {
    /// A new producer of this name: what the older one has under way is aborted.
    fn init_producer(&mut self, member: usize) -> u32 {
        self.open.remove(&member);
        self.producer_epochs[member] += 1;
        self.producer_epochs[member]
    }

    fn send(&mut self, member: usize, epoch: u32, partition: usize, output: Output) -> Result<(), Fenced> {
        if self.producer_epochs[member] != epoch {
            return Err(Fenced);
        }
        self.open.entry(member).or_default().outputs.push((partition, output));
        Ok(())
    }

    fn send_offsets(
        &mut self,
        member: &Member,
        generation: u32,
        offsets: impl Iterator<Item = (usize, (i64, String))>,
    ) -> Result<(), Fenced> {
        if self.producer_epochs[member.id] != member.producer || self.generation != generation {
            return Err(Fenced);
        }
        self.open.entry(member.id).or_default().offsets.extend(offsets);
        Ok(())
    }

    fn end(&mut self, member: usize, epoch: u32, commit: bool) -> Result<(), Fenced> {
        if self.producer_epochs[member] != epoch {
            return Err(Fenced);
        }
        let Some(transaction) = self.open.remove(&member) else { return Ok(()) };
        if commit {
            for (partition, output) in transaction.outputs {
                match output {
                    (Stream::State, key, value) => self.state.entry(partition).or_default().push((key, value)),
                    output => self.outputs.push(output),
                }
            }
            self.committed.extend(transaction.offsets);
        }
        Ok(())
    }

    /// Somebody's pending offsets: whoever asks for committed ones has to wait.
    fn is_pending(&self, partition: usize) -> bool {
        self.open.values().any(|transaction| transaction.offsets.contains_key(&partition))
    }
}

/// How far an epoch is.
enum Step {
    Begin,
    SendOffsets,
    Commit,
    Doubt,
}

struct Epoch {
    number: u64,
    parts: BTreeMap<usize, Part>,
    step: Step,
    /// Partitions that were lost since it was cut.
    lost: BTreeSet<usize>,
    /// The member's generation when the transaction began.
    generation: u32,
}

struct Member {
    id: usize,
    producer: u32,
    generation: u32,
    lanes: BTreeMap<usize, Live>,
    committed: BTreeMap<usize, Option<(i64, String)>>,
    epoch: Option<Epoch>,
    clock: Duration,
}

struct World<'a> {
    plan: &'a Plan,
    broker: Broker,
    members: Vec<Member>,
    rng: Pcg32,
    next_epoch: u64,
    n_faults: u32,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, seed: u64) -> Self {
        let mut world = Self {
            plan,
            broker: Broker::default(),
            members: Vec::new(),
            rng: Pcg32::seed_from_u64(seed),
            next_epoch: 0,
            n_faults: 0,
        };
        world.members = (0..MEMBERS).map(|id| world.start(id)).collect();
        world
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.next_u32().is_multiple_of(one_in)
    }

    fn below(&mut self, n: u32) -> usize {
        (self.rng.next_u32() % n) as usize
    }

    fn start(&mut self, id: usize) -> Member {
        Member {
            id,
            producer: self.broker.init_producer(id),
            generation: self.broker.generation,
            lanes: BTreeMap::new(),
            committed: BTreeMap::new(),
            epoch: None,
            clock: Duration::ZERO,
        }
    }

    /// Takes over the partitions that it has been given: snapshots, silent replay, live.
    fn recover(&mut self, member: usize) {
        for partition in 0..PARTITIONS {
            let missing = !self.members[member].lanes.contains_key(&partition)
                && self.broker.since[partition] <= self.members[member].generation;
            if self.broker.owner[partition] != member || !missing || self.broker.is_pending(partition) {
                continue;
            }
            let committed = self.broker.committed.get(&partition).cloned();
            let live_from = committed.as_ref().map_or(0, |(offset, _)| *offset);
            let mut live = Live { lane: self.plan.lane(partition, live_from), next: 0, spill: BTreeMap::new() };
            for (key, value) in self.broker.state.entry(partition).or_default().iter() {
                live.lane.restore(key, value.as_deref());
                live.spill.extend(live.lane.take_evicted());
            }
            live.next = live.lane.replay_from(committed.as_ref().map(|(_, metadata)| metadata.as_str()));
            live.handle(self.plan, partition, live_from);
            let report = live.lane.finish_recovery();
            assert!(!report.diverged, "the replay of partition {partition} gave other scores");
            live.next = live_from;
            self.members[member].lanes.insert(partition, live);
            self.members[member].committed.insert(partition, committed);
        }
    }

    /// The coordinator moves a partition. The former owner is not asked: it was away for too long.
    fn take_away(&mut self, partition: usize) {
        self.broker.generation += 1;
        self.broker.owner[partition] = (self.broker.owner[partition] + 1) % MEMBERS;
        self.broker.since[partition] = self.broker.generation;
    }

    /// A member hears of the new generation, and of what it has lost.
    fn rejoin(&mut self, id: usize) {
        let member = &mut self.members[id];
        let (since, heard) = (self.broker.since, member.generation);
        let kept = |partition: &usize| since[*partition] <= heard;
        member.generation = self.broker.generation;
        member.lanes.retain(|partition, _| kept(partition));
        member.committed.retain(|partition, _| kept(partition) || is_planted("commit_lost_lane"));
        // Within a transaction nobody listens: the old generation fences it, or its offsets came in time.
        if let Some(epoch) = &mut member.epoch {
            epoch.lost.extend(epoch.parts.keys().copied().filter(|partition| !kept(partition)));
        }
    }

    /// One step of a member's epoch, with whatever may go wrong in it.
    fn step(&mut self, id: usize, all: bool) {
        let (doubt, lost, unheard) = (self.chance(12), self.chance(2), self.chance(2));
        let member = &mut self.members[id];
        let Some(mut epoch) = member.epoch.take() else {
            member.clock += Duration::from_secs(7);
            let clock = member.clock;
            let cut = member.lanes.iter_mut().map(|(partition, live)| (*partition, live.lane.cut(clock, all)));
            let parts: BTreeMap<usize, Part> = cut.filter(|(_, part)| part.is_news).collect();
            if !parts.is_empty() {
                self.next_epoch += 1;
                member.epoch = Some(Epoch {
                    number: self.next_epoch,
                    parts,
                    step: Step::Begin,
                    lost: BTreeSet::new(),
                    generation: 0,
                });
            }
            return;
        };
        let broker = &mut self.broker;
        if matches!(epoch.step, Step::Begin | Step::Doubt) && !is_planted("commit_lost_lane") {
            let lost = std::mem::take(&mut epoch.lost);
            epoch.parts.retain(|partition, _| !lost.contains(partition));
        }
        if epoch.parts.is_empty() {
            member.producer = broker.init_producer(id);
            return;
        }
        let done = match epoch.step {
            Step::Begin => {
                let mut sent = Ok(());
                epoch.generation = member.generation;
                for (partition, part) in &epoch.parts {
                    for output in part.effects.outputs() {
                        let output = (output.stream, output.key.to_vec(), output.value.map(<[u8]>::to_vec));
                        sent = sent.and(broker.send(id, member.producer, *partition, output));
                    }
                }
                if is_planted("offsets_outside") && broker.generation == member.generation {
                    broker.committed.extend(offsets(&epoch));
                }
                // The late request lands in whatever this producer has open now.
                if broker.late_abort.is_some_and(|late| late == (id, member.producer)) {
                    broker.late_abort = None;
                    let _ = broker.end(id, member.producer, false);
                }
                sent.map(|()| Step::SendOffsets)
            }
            Step::SendOffsets if is_planted("offsets_outside") => Ok(Step::Commit),
            Step::SendOffsets => broker.send_offsets(member, epoch.generation, offsets(&epoch)).map(|()| Step::Commit),
            Step::Commit if doubt => {
                // The answer does not come: it may have been done or not.
                self.n_faults += 1;
                let _ = broker.end(id, member.producer, lost);
                if !lost && unheard {
                    broker.late_abort = Some((id, member.producer));
                }
                Ok(Step::Doubt)
            }
            Step::Commit => match broker.end(id, member.producer, true) {
                Ok(()) => {
                    let known = offsets(&epoch).filter(|(partition, _)| !epoch.lost.contains(partition));
                    member.committed.extend(known.map(|(partition, offset)| (partition, Some(offset))));
                    return;
                }
                Err(fenced) => Err(fenced),
            },
            Step::Doubt => {
                if !is_planted("no_strike") {
                    member.producer = broker.init_producer(id);
                }
                if epoch.parts.keys().any(|partition| broker.is_pending(*partition)) {
                    Ok(Step::Doubt)
                } else if epoch
                    .parts
                    .keys()
                    .any(|partition| epoch_of(broker.committed.get(partition)) == Some(epoch.number))
                {
                    let known = offsets(&epoch).filter(|(partition, _)| !epoch.lost.contains(partition));
                    member.committed.extend(known.map(|(partition, offset)| (partition, Some(offset))));
                    return;
                } else {
                    // A lane that somebody else has committed is begun again.
                    let foreign: Vec<usize> = epoch
                        .parts
                        .keys()
                        .copied()
                        .filter(|partition| {
                            member.committed.get(partition) != Some(&broker.committed.get(partition).cloned())
                                && !is_planted("commit_lost_lane")
                        })
                        .collect();
                    for partition in foreign {
                        epoch.parts.remove(&partition);
                        member.lanes.remove(&partition);
                    }
                    Ok(Step::Begin)
                }
            }
        };
        epoch.step = done.unwrap_or(Step::Doubt);
        member.epoch = Some(epoch);
    }

    /// Anything may happen next.
    fn tick(&mut self) {
        let id = self.below(MEMBERS as u32);
        match self.rng.next_u32() % 40 {
            0 => {
                self.n_faults += 1;
                self.members[id] = self.start(id);
            }
            1 | 2 => {
                self.n_faults += 1;
                let partition = self.below(PARTITIONS as u32);
                self.take_away(partition);
            }
            // An open transaction of somebody who is away ends by its time-out, and its producer with it.
            3 => {
                if self.broker.open.contains_key(&id) {
                    self.n_faults += 1;
                    self.broker.init_producer(id);
                }
            }
            4..=9 => self.rejoin(id),
            10..=14 => self.recover(id),
            15..=22 => {
                let rows = 1 + self.below(60) as i64;
                for (partition, live) in &mut self.members[id].lanes {
                    live.handle(self.plan, *partition, live.next + rows);
                }
            }
            _ => self.step(id, false),
        }
    }

    /// No more faults: what is left is read, and committed with all the state there is.
    fn finish(&mut self) {
        for round in 0..400 {
            for id in 0..MEMBERS {
                self.rejoin(id);
                self.recover(id);
                for (partition, live) in &mut self.members[id].lanes {
                    live.handle(self.plan, *partition, ROWS);
                }
                self.step(id, true);
            }
            let at_end = (0..PARTITIONS)
                .all(|partition| self.broker.committed.get(&partition).is_some_and(|(offset, _)| *offset == ROWS));
            if at_end && round > 40 && self.members.iter().all(|member| member.epoch.is_none()) {
                return;
            }
        }
        panic!("not everything was committed");
    }

    fn seen(&self) -> (Vec<Output>, BTreeMap<Vec<u8>, Vec<u8>>) {
        let mut outputs = self.broker.outputs.clone();
        outputs.sort();
        let mut states = BTreeMap::new();
        for (key, value) in self.broker.state.values().flatten() {
            match value {
                Some(value) => drop(states.insert(key.clone(), value.clone())),
                None => drop(states.remove(key)),
            }
        }
        (outputs, states)
    }
}

fn offsets(epoch: &Epoch) -> impl Iterator<Item = (usize, (i64, String))> {
    epoch.parts.iter().map(|(partition, part)| {
        let metadata =
            OffsetMetadata { epoch: epoch.number, replay_offset: part.replay_offset, accumulator: part.accumulator };
        (*partition, (part.next_offset, metadata.encode()))
    })
}

fn epoch_of(committed: Option<&(i64, String)>) -> Option<u64> {
    OffsetMetadata::decode(&committed?.1).map(|metadata| metadata.epoch)
}

#[test]
fn whatever_happens_readers_see_the_undisturbed_run() {
    let (plain, capped) = (Plan::new(1_000), Plan::new(1));
    let expected = {
        let mut world = World::new(&plain, 0);
        world.finish();
        world.seen()
    };
    let n_alerts = expected.0.iter().filter(|(stream, ..)| *stream == Stream::Alerts).count();
    assert!(n_alerts > 4, "{n_alerts} alerts in {} outputs", expected.0.len());
    assert!(expected.1.len() >= 4, "{} states", expected.1.len());
    let seeds = match std::env::var("OFFKEY_SIM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..60,
    };
    let mut n_faults = 0;
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(if seed % 2 == 0 { &plain } else { &capped }, seed);
            (0..300).for_each(|_| world.tick());
            world.finish();
            assert!(world.seen().0 == expected.0, "readers saw something else");
            assert!(world.seen().1 == expected.1, "the state is another");
            world.n_faults
        });
        match run {
            Ok(faults) => n_faults += faults,
            Err(_) => panic!("OFFKEY_SIM_SEED={seed} repeats it"),
        }
    }
    println!("{n_faults} faults");
}

/// Each planted bug turns the simulation red, or it is worth nothing.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_found() {
    if std::env::var_os("OFFKEY_PLANT").is_some() {
        return;
    }
    let bugs = ["offsets_outside", "no_strike", "snapshot_late", "emit_in_replay", "commit_lost_lane"];
    for bug in bugs {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "whatever_happens_readers_see_the_undisturbed_run", "--nocapture"])
            .env("OFFKEY_PLANT", bug)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("OFFKEY_SIM_SEED="), "nobody noticed {bug}: {told}");
    }
}
