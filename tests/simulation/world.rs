//! Members of the group, the broker, and what may happen to them: the commands of the protocol carried out step by step.

use crate::broker::{Broker, Fenced, MEMBERS, Offsets, Output};
use crate::plan::{Live, PARTITIONS, Plan, ROWS, id_of};
use offkey::epoch::{self, Command, Commit, Committed, End, Event, Failure, Protocol, Start};
use offkey::lane::effects::{Effects, Stream};
use offkey::lane::record::PartitionId;
use offkey::lane::recovery::Report;
use offkey::lane::terms::Terms;
use offkey::planted::is_planted;
use offkey::wire::state_record::{Barrier, Envelope, Key, OffsetMetadata};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A command that takes its time: others act in between, and what happens is heard only when it has been answered.
enum Call {
    Send,
    SendOffsets,
    End,
    Look(Vec<PartitionId>),
    WriteBarriers { lanes: Vec<PartitionId>, nonce: u64 },
    EndBarriers { starts: Vec<Start> },
}

/// Terms, and from which offset on they were in force.
type Switches = Vec<(i64, Arc<Terms>)>;

/// A process.
struct Member {
    id: usize,
    protocol: Protocol,
    producer: Option<u32>,
    /// What it is a member of, and what it has noted for the next commit.
    generation: u32,
    place: u32,
    assigned: BTreeSet<usize>,
    lanes: BTreeMap<usize, Live>,
    restoring: Vec<(Start, u64, Arc<Terms>)>,
    /// Terms that came into force in the epoch that was cut last.
    switches: BTreeMap<usize, Switches>,
    inbox: VecDeque<Event>,
    call: Option<Call>,
    clock: Duration,
    end: Option<End>,
}

pub struct World<'a> {
    plan: &'a Plan,
    broker: Broker,
    members: Vec<Member>,
    rng: Pcg32,
    n_started: u64,
    pub n_faults: u32,
    calm: bool,
    /// Members are started with one file or another, and the file is changed while they run.
    changes_terms: bool,
    /// By partition and epoch.
    switches: BTreeMap<(usize, u64), Switches>,
    /// What was commanded: what no seed ever does, no seed tests.
    pub told: BTreeSet<String>,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan, seed: u64) -> Self {
        Self::of(plan, seed, false)
    }

    /// One in which terms change.
    pub fn with_changes(plan: &'a Plan, seed: u64) -> Self {
        Self::of(plan, seed, true)
    }

    fn of(plan: &'a Plan, seed: u64, changes_terms: bool) -> Self {
        let mut world = Self {
            plan,
            broker: Broker::default(),
            members: Vec::new(),
            rng: Pcg32::seed_from_u64(seed),
            n_started: 0,
            n_faults: 0,
            calm: false,
            changes_terms,
            switches: BTreeMap::new(),
            told: BTreeSet::new(),
        };
        world.members = (0..MEMBERS).map(|id| world.start(id)).collect();
        world
    }

    /// Does a fault of this rarity happen?
    fn fault(&mut self, one_in: u32) -> bool {
        let happens = self.rng.next_u32().is_multiple_of(one_in) && !self.calm;
        self.n_faults += u32::from(happens);
        happens
    }

    fn below(&mut self, n: u32) -> usize {
        (self.rng.next_u32() % n) as usize
    }

    fn some_terms(&mut self) -> Arc<Terms> {
        let n = if self.changes_terms { self.below(self.plan.terms.len() as u32) } else { 0 };
        Arc::clone(&self.plan.terms[n])
    }

    fn start(&mut self, id: usize) -> Member {
        self.n_started += 1;
        let terms = self.some_terms();
        let owner = self.broker.owner;
        self.broker.revoking.retain(|partition| owner[*partition] != id);
        let settings = epoch::Settings { commit_interval: Duration::from_secs(7), n_partitions: PARTITIONS as i32 };
        Member {
            id,
            protocol: Protocol::new(settings, terms, self.n_started << 20),
            producer: None,
            generation: self.broker.generation,
            place: 0,
            assigned: BTreeSet::new(),
            lanes: BTreeMap::new(),
            restoring: Vec::new(),
            switches: BTreeMap::new(),
            inbox: VecDeque::new(),
            call: None,
            clock: Duration::ZERO,
            end: None,
        }
    }

    /// A member hears of the new generation, of what it has lost before that, and of what it was given.
    fn rejoin(&mut self, id: usize) {
        let (broker, member) = (&self.broker, &mut self.members[id]);
        let heard = member.generation;
        let is_lost = |partition: &usize| broker.since[*partition] > heard;
        let lost: Vec<usize> = member.assigned.iter().copied().filter(is_lost).collect();
        member.assigned.retain(|partition| !lost.contains(partition));
        if !lost.is_empty() {
            member.inbox.push_back(Event::Lost(lost.into_iter().map(id_of).collect()));
        }
        member.generation = broker.generation;
        let is_new = |partition: &usize| broker.owner[*partition] == id && !member.assigned.contains(partition);
        let given: Vec<usize> = (0..PARTITIONS).filter(is_new).collect();
        if !given.is_empty() {
            member.assigned.extend(given.iter().copied());
            member.inbox.push_back(Event::Assigned(given.into_iter().map(id_of).collect()));
        }
    }

    /// One step of a member: of the call it is in, or its next command.
    fn step(&mut self, id: usize) {
        if self.members[id].end.is_some() {
            return;
        }
        self.members[id].clock += Duration::from_millis(50);
        if let Some(call) = self.members[id].call.take() {
            return self.go_on(id, call);
        }
        let member = &mut self.members[id];
        while let Some(event) = member.inbox.pop_front() {
            member.protocol.on(event, member.clock);
        }
        match member.protocol.next(member.clock) {
            Some(command) => self.carry_out(id, command),
            None => member.clock = member.clock.max(member.protocol.wake_at()),
        }
    }

    fn answer(&mut self, id: usize, event: Event) {
        let member = &mut self.members[id];
        member.protocol.on(event, member.clock);
    }

    fn carry_out(&mut self, id: usize, command: Command) {
        self.told.insert(first_word(&command));
        let member = &mut self.members[id];
        let partition = |lane: &PartitionId| lane.partition as usize;
        match command {
            Command::Cut { staying, leaving, all, terms } => {
                let mut parts = Vec::new();
                member.switches.clear();
                for (lane, all) in staying.iter().map(|lane| (lane, all)).chain(leaving.iter().map(|lane| (lane, true)))
                {
                    let Some(live) = member.lanes.get_mut(&partition(lane)) else { continue };
                    live.set_terms(&terms, live.next);
                    let part = live.lane.cut(member.clock, all);
                    if part.is_news {
                        member.switches.insert(partition(lane), std::mem::take(&mut live.switches));
                        parts.push(part);
                    }
                }
                self.answer(id, Event::Cut { parts, is_drained: true });
            }
            Command::NotePlace => member.place = member.generation,
            Command::Commit => member.call = Some(Call::Send),
            Command::Look { lanes } => member.call = Some(Call::Look(lanes)),
            Command::WriteBarriers { lanes, nonce } => member.call = Some(Call::WriteBarriers { lanes, nonce }),
            Command::Restore { start, recovery, terms } => member.restoring.push((start, recovery, terms)),
            Command::GoLive { lane, offset } => {
                let live = member.lanes.get_mut(&partition(&lane)).expect("a lane that goes live was restored");
                (live.next, live.reads) = (offset, true);
            }
            Command::Drop { lanes } => {
                lanes.iter().for_each(|lane| drop(member.lanes.remove(&partition(lane))));
                member.restoring.retain(|(start, ..)| !lanes.contains(&start.lane));
            }
            Command::Rewrite { lanes } => {
                for lane in &lanes {
                    let Some(Live { lane, spill, .. }) = member.lanes.get_mut(&partition(lane)) else { continue };
                    lane.lose_snapshots();
                    spill.iter().for_each(|(name, state)| lane.rewrite(name, state));
                    lane.all_are_rewritten();
                }
            }
            Command::AckRevoke { lanes } => {
                for lane in &lanes {
                    member.assigned.remove(&partition(lane));
                    if self.broker.revoking.contains(&partition(lane)) {
                        self.broker.move_on(partition(lane));
                    }
                }
            }
            Command::EndProducer => member.producer = None,
            Command::End(end) => member.end = Some(end),
            Command::Park { .. } | Command::PauseAll | Command::Count { .. } | Command::TroubleIsOver => {}
        }
    }

    /// The next step of a call, with whatever may go wrong in it.
    fn go_on(&mut self, id: usize, call: Call) {
        let (in_doubt, was_done, comes_late) = (self.fault(12), self.below(2) == 0, self.below(2) == 0);
        let (broker, member) = (&mut self.broker, &mut self.members[id]);
        let producer = *member.producer.get_or_insert_with(|| broker.init_producer(id));
        let next = match call {
            Call::Send => {
                let epoch = member.protocol.epoch().expect("a member sends its epoch");
                let of = |(partition, switches): (&usize, &Switches)| ((*partition, epoch.number), switches.clone());
                self.switches.extend(member.switches.iter().map(of));
                send_epoch(broker, member, producer).map(|()| Call::SendOffsets).map_err(Failure::from)
            }
            Call::SendOffsets if is_planted("offsets_outside") => Ok(Call::End),
            Call::SendOffsets => {
                broker.send_offsets(id, producer, member.place, offsets(&member.protocol)).map(|()| Call::End)
            }
            Call::End if in_doubt => {
                let _ = broker.end(id, producer, was_done);
                if !was_done && comes_late {
                    broker.late_abort = Some((id, producer));
                }
                Err(Failure::Unknown("no answer".to_owned()))
            }
            Call::End => match broker.end(id, producer, true) {
                Ok(()) => return self.answer(id, Event::Committed(Ok(was_done))),
                Err(fenced) => Err(fenced.into()),
            },
            Call::Look(lanes) => {
                let found = broker.found(&lanes);
                return self.answer(id, Event::Found(found));
            }
            Call::WriteBarriers { lanes, nonce } => match write_barriers(broker, member, producer, &lanes, nonce) {
                Ok(starts) => Ok(Call::EndBarriers { starts }),
                Err(failure) => return self.answer(id, Event::Starts(Err(failure))),
            },
            Call::EndBarriers { starts } => {
                let result = broker.end(id, producer, true).map_err(Failure::from);
                let begun = result.map(|()| (starts.into_iter().map(Start::begun).collect(), was_done));
                return self.answer(id, Event::Starts(begun));
            }
        };
        match next {
            Ok(call) => self.members[id].call = Some(call),
            Err(failure) => self.answer(id, Event::Committed(Err(failure))),
        }
    }

    /// A recovery's thread: snapshots up to the barrier, silent replay.
    fn restore(&mut self, id: usize) {
        let fails = self.fault(8);
        let Some((start, recovery, terms)) = self.members[id].restoring.pop() else { return };
        let (lane, partition) = (start.lane.clone(), start.lane.partition as usize);
        if fails {
            return self.members[id].inbox.push_back(Event::RecoveryFailed { lane, recovery });
        }
        let (mut live, report, read_from) = self.restored(partition, &start, recovery, None, &terms);
        if let Some(from) = report.rebuild_from(read_from, start.log_start, start.live_from) {
            self.told.insert("(rebuilt)".to_owned());
            let again = self.restored(partition, &start, recovery, Some(from), &terms);
            assert!(!again.1.diverged, "what was learned again in partition {partition} is something else");
            live = again.0;
        } else {
            assert!(!report.diverged, "the replay of partition {partition} gave other scores");
        }
        live.set_terms(&terms, start.live_from);
        let member = &mut self.members[id];
        member.lanes.insert(partition, live);
        member.inbox.push_back(Event::Recovered { lane, recovery });
    }

    /// Snapshots up to the barrier, then the input from where they end, or from `from` on; and from where it was read.
    fn restored(
        &self,
        partition: usize,
        start: &Start,
        recovery: u64,
        from: Option<i64>,
        ours: &Arc<Terms>,
    ) -> (Live, Report, i64) {
        let terms = self.terms_of_replay(partition, start, ours);
        let mut live = Live::new(self.plan.lane(partition, start.live_from, &terms), 0);
        let is_barrier = |value: Option<&[u8]>| {
            let body = value.and_then(|value| Envelope::decode(value).ok()).map(|envelope| envelope.body);
            body.and_then(|body| Barrier::decode(body).ok()).is_some_and(|barrier| barrier.nonce == recovery)
        };
        for (key, value) in &self.broker.state[&partition] {
            if *key == (Key::Barrier { partition: partition as i32 }).encode() && is_barrier(value.as_deref()) {
                break;
            }
            live.lane.restore(key, value.as_deref());
            live.spill.extend(live.lane.take_evicted());
        }
        let wanted = live.lane.replay_from(start.committed.as_ref().map(|committed| committed.metadata.as_str()));
        let read_from = from.unwrap_or(wanted);
        live.next = read_from;
        live.handle(self.plan, partition, start.live_from);
        let report = live.lane.finish_recovery();
        (live, report, read_from)
    }

    /// Those that were committed; if they are not ours, the state topic has to hold them.
    fn terms_of_replay(&self, partition: usize, start: &Start, ours: &Arc<Terms>) -> Arc<Terms> {
        let committed = start.committed.as_ref().and_then(|committed| OffsetMetadata::decode(&committed.metadata));
        let is_needed = |committed: &OffsetMetadata| committed.replay_offset < start.live_from;
        let Some(wanted) = committed.filter(is_needed).and_then(|committed| committed.terms) else {
            return Arc::clone(ours);
        };
        if wanted != ours.fingerprint {
            let key = Key::Terms { topic: "telemetry", partition: partition as i32 }.encode();
            let newest = self.broker.state[&partition].iter().rev().find(|(at, _)| *at == key);
            let value = newest.and_then(|(_, value)| value.as_deref()).expect("the state topic holds the terms");
            assert_eq!(Envelope::decode(value).unwrap().fingerprint, wanted);
        }
        Arc::clone(self.plan.terms.iter().find(|terms| terms.fingerprint == wanted).expect("it is one of ours"))
    }

    /// What a run has to show in which the same terms come into force at the same offsets, and nothing else ever happens.
    pub fn expected(&self) -> (Vec<Output>, BTreeMap<Vec<u8>, Vec<u8>>) {
        let (mut outputs, mut log) = (Vec::new(), Vec::new());
        for partition in 0..PARTITIONS {
            // A beginning is of no epoch.
            let number = |committed: &Committed| Some(OffsetMetadata::decode(&committed.metadata)?.epoch);
            let epochs = self.broker.history.iter().filter(|(of, _)| *of == partition);
            let switches = epochs.filter_map(|(_, committed)| self.switches.get(&(partition, number(committed)?)));
            let mut switches = switches.flatten().peekable();
            let (_, first) = switches.peek().expect("a lane begins under some terms");
            let mut live = Live::new(self.plan.lane(partition, 0, first), 0);
            live.lane.replay_from(None);
            live.lane.finish_recovery();
            for (from, terms) in switches {
                live.handle(self.plan, partition, *from);
                live.lane.set_terms(terms);
            }
            live.handle(self.plan, partition, ROWS);
            let part = live.lane.cut(Duration::ZERO, true);
            for output in part.effects.outputs() {
                match owned(&output) {
                    (Stream::State, key, value) => log.push((key, value)),
                    output => outputs.push(output),
                }
            }
        }
        outputs.sort();
        (outputs, newest(log.iter()))
    }

    fn handle(&mut self, id: usize, rows: i64) {
        for (partition, live) in self.members[id].lanes.iter_mut().filter(|(_, live)| live.reads) {
            live.handle(self.plan, *partition, live.next + rows);
        }
    }

    /// Anything may happen next.
    pub fn tick(&mut self) {
        let id = self.below(MEMBERS as u32);
        let partition = self.below(PARTITIONS as u32);
        if self.members[id].end.is_some() {
            self.members[id] = self.start(id);
        }
        match self.rng.next_u32() % 120 {
            0 | 1 => {
                self.n_faults += 1;
                self.members[id] = self.start(id);
            }
            // The former owner is not asked: it was away for too long.
            2 | 3 => {
                self.n_faults += 1;
                self.broker.move_on(partition);
            }
            // It is asked, and the group waits for it.
            4 | 5 => {
                let owner = self.broker.owner[partition];
                if self.members[owner].assigned.contains(&partition) && self.broker.revoking.insert(partition) {
                    self.members[owner].inbox.push_back(Event::Revoked(vec![id_of(partition)]));
                }
            }
            // An open transaction of somebody who is away ends by its time-out, and its producer with it.
            6 | 7 if self.broker.open.contains_key(&id) => {
                self.n_faults += 1;
                self.broker.init_producer(id);
            }
            // The work of a lane breaks off.
            8 => {
                if self.members[id].lanes.get(&partition).is_some_and(|live| live.reads) {
                    self.n_faults += 1;
                    self.members[id].lanes.remove(&partition);
                    self.members[id].inbox.push_back(Event::Broken(vec![id_of(partition)]));
                }
            }
            9 => self.members[id].inbox.push_back(Event::Stop),
            // Somebody deletes the snapshots. Nobody is on probation any more, whose rows no accumulator counts, and enough rows
            // are left to make every entity dirty again.
            10 if !self.changes_terms
                && self
                    .broker
                    .committed
                    .get(&partition)
                    .is_some_and(|found| (150..ROWS - 100).contains(&found.offset)) =>
            {
                self.n_faults += 1;
                self.broker.state.entry(partition).or_default().clear();
            }
            // The file is changed.
            115..=119 if self.changes_terms => {
                let terms = self.some_terms();
                self.members[id].inbox.push_back(Event::Terms(terms));
            }
            11..=19 => self.rejoin(id),
            20..=29 => self.restore(id),
            30..=44 => {
                let rows = 1 + self.below(60) as i64;
                self.handle(id, rows);
            }
            _ => self.step(id),
        }
    }

    /// If every lane is live: the state topic is deleted, with what open transactions have sent to it, and whoever runs is told. Nobody
    /// dies, and nobody is given anything, before it was written again; commits may be in doubt as ever.
    pub fn lose_state(&mut self) -> bool {
        let is_live = |member: &Member| {
            let (all, live) = member.protocol.n_lanes();
            member.end.is_none()
                && member.generation == self.broker.generation
                && member.inbox.is_empty()
                && all == live
        };
        let owns = |id: usize| (0..PARTITIONS).filter(|partition| self.broker.owner[*partition] == id).count();
        let is_whole =
            |id: usize| owns(id) == 0 || is_live(&self.members[id]) && self.members[id].lanes.len() == owns(id);
        if !(0..MEMBERS).all(is_whole) || !self.broker.revoking.is_empty() {
            return false;
        }
        // What a zombie has open would hold everybody up until its time-out.
        for id in (0..MEMBERS).filter(|id| owns(*id) == 0).collect::<Vec<_>>() {
            self.broker.init_producer(id);
        }
        self.broker.state.clear();
        for transaction in self.broker.open.values_mut() {
            transaction.outputs.retain(|(_, (stream, ..))| *stream != Stream::State);
        }
        self.members.iter_mut().for_each(|member| member.inbox.push_back(Event::StateLost));
        for _ in 0..200 {
            for id in (0..MEMBERS).filter(|id| self.members[*id].end.is_none()).collect::<Vec<_>>() {
                self.handle(id, 1);
                self.step(id);
            }
        }
        true
    }

    /// No more faults: what is left is read and committed, and everybody leaves with all the state there is.
    pub fn finish(&mut self) {
        self.calm = true;
        let mut stopping = false;
        for round in 0..20_000 {
            for id in 0..MEMBERS {
                if self.members[id].end.is_some() && !stopping {
                    self.members[id] = self.start(id);
                }
                self.rejoin(id);
                self.restore(id);
                self.handle(id, ROWS);
                self.step(id);
            }
            let at_end = |partition| self.broker.committed.get(&partition).is_some_and(|found| found.offset == ROWS);
            if !stopping && round > 400 && (0..PARTITIONS).all(at_end) {
                stopping = true;
                self.members.iter_mut().for_each(|member| member.inbox.push_back(Event::Stop));
            }
            if stopping && self.members.iter().all(|member| member.end == Some(End::Stopped)) {
                return;
            }
        }
        panic!("not everything was committed");
    }

    pub fn seen(&self) -> (Vec<Output>, BTreeMap<Vec<u8>, Vec<u8>>) {
        let mut outputs = self.broker.outputs.clone();
        outputs.sort();
        (outputs, newest(self.broker.state.values().flatten()))
    }

    /// How often other terms came into force in what was committed, a crash between or not.
    pub fn n_switches(&self) -> usize {
        let of = |partition: usize| self.switches.iter().filter(move |((of, _), _)| *of == partition);
        let n = |partition| {
            let terms: Vec<u64> =
                of(partition).flat_map(|(_, all)| all.iter().map(|(_, terms)| terms.fingerprint)).collect();
            terms.windows(2).filter(|pair| pair[0] != pair[1]).count()
        };
        (0..PARTITIONS).map(n).sum()
    }
}

/// Snapshots as compaction leaves them.
fn newest<'l>(log: impl Iterator<Item = &'l (Vec<u8>, Option<Vec<u8>>)>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut states = BTreeMap::new();
    for (key, value) in log.filter(|(key, _)| key.starts_with(b"e1/")) {
        match value {
            Some(value) => drop(states.insert(key.clone(), value.clone())),
            None => drop(states.remove(key)),
        }
    }
    states
}

fn first_word(command: &Command) -> String {
    let shown = match command {
        Command::End(end) => format!("{end:?}"),
        other => format!("{other:?}"),
    };
    shown.chars().take_while(char::is_ascii_alphabetic).collect()
}

fn owned(output: &offkey::lane::effects::Output<'_>) -> Output {
    (output.stream, output.key.unwrap_or_default().to_vec(), output.value.map(<[u8]>::to_vec))
}

fn offsets(protocol: &Protocol) -> Offsets {
    let commits = protocol.epoch().into_iter().flat_map(|epoch| epoch.commits());
    commits.map(placed).collect()
}

fn placed(commit: Commit) -> (usize, Committed) {
    (commit.lane.partition as usize, commit.committed)
}

fn send_epoch(broker: &mut Broker, member: &Member, producer: u32) -> Result<(), Fenced> {
    for part in member.protocol.epoch().into_iter().flat_map(|epoch| &epoch.parts) {
        for output in part.effects.outputs() {
            broker.send(member.id, producer, part.lane.partition as usize, owned(&output))?;
        }
    }
    if is_planted("offsets_outside") && broker.generation == member.place {
        broker.committed.extend(offsets(&member.protocol));
    }
    // The late request lands in whatever this producer has open now.
    if broker.late_abort.is_some_and(|late| late == (member.id, producer)) {
        broker.late_abort = None;
        broker.end(member.id, producer, false)?;
    }
    Ok(())
}

fn write_barriers(
    broker: &mut Broker,
    member: &Member,
    producer: u32,
    lanes: &[PartitionId],
    nonce: u64,
) -> Result<Vec<Start>, Failure> {
    let start = |(lane, committed): (PartitionId, Option<Committed>)| {
        let live_from = committed.as_ref().map_or(0, |committed| committed.offset);
        Start { lane, committed, live_from, log_start: 0, began: None }
    };
    let starts: Vec<Start> = broker.found(lanes)?.into_iter().map(start).collect();
    let mut effects = Effects::default();
    lanes.iter().for_each(|lane| effects.push_barrier(lane.partition, &member.id.to_string(), nonce));
    for barrier in effects.outputs() {
        let partition = barrier.partition.expect("a barrier has its partition") as usize;
        broker.send(member.id, producer, partition, owned(&barrier))?;
    }
    let beginnings: Offsets = starts.iter().filter_map(Start::beginning).map(placed).collect();
    if !beginnings.is_empty() {
        broker.send_offsets(member.id, producer, member.place, beginnings)?;
    }
    Ok(starts)
}
