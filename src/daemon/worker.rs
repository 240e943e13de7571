//! A thread with its lanes. Orders come first and records wait, so that a cut takes no longer than a batch, however much there is
//! to catch up, and no longer than one fit where a whole fleet ends its warm-up at once; what the lanes want the world to see waits
//! in them for the next cut.

use super::memory::Shares;
use super::poison::Poison;
use super::spill::Spill;
use super::timing::Timing;
use crate::kafka::consumer::{Backlog, Batch};
use crate::lane::grouping::Grouping;
use crate::lane::record::{PartitionId, Record};
use crate::lane::recovery::Report;
use crate::lane::terms::Terms;
use crate::lane::{Census, Handled, Lane, Part};
use crate::metrics::Metrics;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// What a worker is told to do.
pub enum Work {
    /// A new lane, to be restored.
    Add(Box<Lane>, Backlog),
    /// A record of the state topic for a lane.
    Restore(PartitionId, Vec<u8>, Option<Vec<u8>>),
    /// All state was given: from which offset is the input to be read again?
    ReplayFrom(PartitionId, Option<String>, Sender<i64>),
    /// Records to handle, live or read again.
    Handle(PartitionId, Batch),
    /// The input was read again. From the lane's next record on these terms hold.
    Finish(PartitionId, Arc<Terms>, Sender<Report>),
    /// End what has gathered in a lane; `all`: with a snapshot of everything dirty. From its next record on these terms hold.
    Cut { lane: PartitionId, now: Duration, all: bool, terms: Arc<Terms>, parts: Sender<Part> },
    /// Every snapshot of a lane is gone: its next cuts write them again.
    Rewrite(PartitionId),
    /// Who is in memory?
    Census(PartitionId, Sender<(PartitionId, Census)>),
    /// These lanes are not ours any more.
    Drop(Vec<PartitionId>),
}

/// Bytes of effects in a lane above which its records wait for the next cut: the broker may be slower than we are.
const AHEAD: usize = 32 << 20;
/// How long a lane handles records before others have their turn while it has models to fit: each record may end with a fit.
const SLICE: Duration = Duration::from_millis(50);
/// State records between two looks at the memory they take.
const RESTORED: u32 = 256;

/// What all workers share.
pub struct Shared {
    /// Where batches are timed.
    pub metrics: Arc<Metrics>,
    /// Memory for all lanes.
    pub shares: Shares,
    /// Records that are passed over.
    pub poison: Poison,
    /// Told of a lane that is of no more use: half a change of state is no state. It has to begin again.
    pub lost: Box<dyn Fn(PartitionId) + Send + Sync>,
}

struct Kept {
    lane: Lane,
    backlog: Backlog,
    spill: Spill,
    waiting: VecDeque<Batch>,
    /// Records of the first of them that are handled.
    n_handled: usize,
    /// To be told once nothing waits any more.
    finishing: Option<Finishing>,
    timing: Timing,
    grouping: Grouping,
    /// The record under way.
    at: i64,
    /// Records to pass over, and why.
    poison: BTreeMap<i64, String>,
    n_restored: u32,
    disk_is_full: bool,
    /// Entities out of memory whose snapshots are gone, by the hash of their names.
    to_rewrite: Vec<u64>,
}

/// A lane is read again, but for what waits.
struct Finishing {
    terms: Arc<Terms>,
    answer: Sender<Report>,
}

/// Works until nobody can send any more.
pub fn run(inbox: &Receiver<Work>, shared: &Shared) {
    let mut lanes = Lanes { kept: BTreeMap::new(), last: None, shared };
    loop {
        let Some(ready) = lanes.next_ready() else {
            match inbox.recv() {
                Ok(work) => lanes.obey(work),
                Err(_) => return,
            }
            continue;
        };
        match inbox.try_recv() {
            Ok(work) => lanes.obey(work),
            Err(TryRecvError::Empty) => lanes.handle_batch(ready),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

struct Lanes<'a> {
    kept: BTreeMap<PartitionId, Kept>,
    /// Whose batch was handled last.
    last: Option<PartitionId>,
    shared: &'a Shared,
}

impl Lanes<'_> {
    fn obey(&mut self, work: Work) {
        let shared = self.shared;
        match work {
            Work::Add(lane, backlog) => self.add(*lane, backlog),
            Work::Restore(id, key, value) => {
                if let Some(kept) = self.kept.get_mut(&id) {
                    kept.lane.restore(&key, value.as_deref());
                    kept.n_restored += 1;
                    if kept.n_restored.is_multiple_of(RESTORED) {
                        kept.share(&shared.shares);
                    }
                    kept.spill_evicted();
                    kept.backlog.fetch_sub(value.map_or(0, |value| value.len()), Ordering::Relaxed);
                }
            }
            Work::ReplayFrom(id, metadata, answer) => {
                if let Some(kept) = self.kept.get_mut(&id) {
                    // Nobody waits for the answer of a recovery that was given up.
                    let _ = answer.send(kept.lane.replay_from(metadata.as_deref()));
                }
            }
            Work::Handle(id, batch) => {
                if let Some(kept) = self.kept.get_mut(&id) {
                    kept.waiting.push_back(batch);
                }
            }
            Work::Finish(id, terms, answer) => {
                if let Some(kept) = self.kept.get_mut(&id) {
                    kept.finishing = Some(Finishing { terms, answer });
                    kept.finish();
                }
            }
            Work::Cut { lane, now, all, terms, parts } => {
                if let Some(kept) = self.kept.get_mut(&lane) {
                    kept.share(&shared.shares);
                    kept.lane.set_terms(&terms);
                    kept.rewrite(all || kept.lane.are_terms_new());
                    let part = kept.lane.cut(now, all);
                    // Nobody waits for it any more: then its lanes are about to be dropped.
                    let _ = parts.send(part);
                }
            }
            Work::Rewrite(id) => {
                if let Some(kept) = self.kept.get_mut(&id) {
                    kept.lane.lose_snapshots();
                    kept.to_rewrite = kept.spill.hashes();
                    kept.rewrite(false);
                }
            }
            Work::Census(id, answer) => {
                if let Some(kept) = self.kept.get(&id) {
                    let _ = answer.send((id, kept.lane.census()));
                }
            }
            Work::Drop(ids) => ids.iter().for_each(|id| self.drop(id)),
        }
    }

    /// The next lane that has a batch to handle: they take turns.
    fn next_ready(&self) -> Option<PartitionId> {
        let behind = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut turn = self.kept.range((behind, Bound::Unbounded)).chain(&self.kept);
        turn.find(|(_, kept)| kept.is_ready()).map(|(id, _)| id.clone())
    }

    /// One batch of a lane, or a part of it; orders that came meanwhile are obeyed before the next one.
    fn handle_batch(&mut self, id: PartitionId) {
        let shared = self.shared;
        self.attempt(&id, |kept| {
            kept.handle_next(shared)?;
            kept.finish();
            Ok(())
        });
        self.last = Some(id);
    }

    fn add(&mut self, lane: Lane, backlog: Backlog) {
        let poison = self.shared.poison.of(lane.id());
        let id = lane.id().clone();
        let mut kept = Kept {
            lane,
            backlog,
            spill: Spill::default(),
            waiting: VecDeque::new(),
            n_handled: 0,
            finishing: None,
            timing: Timing::new(&self.shared.metrics),
            grouping: Grouping::default(),
            at: -1,
            poison,
            n_restored: 0,
            disk_is_full: false,
            to_rewrite: Vec::new(),
        };
        kept.share(&self.shared.shares);
        self.kept.insert(id, kept);
    }

    fn drop(&mut self, id: &PartitionId) {
        self.kept.remove(id);
        self.shared.shares.release(id);
    }

    /// Lets a lane handle records. If it panics, or its disk fails, it is of no more use; the others are.
    fn attempt(&mut self, id: &PartitionId, handle: impl FnOnce(&mut Kept) -> io::Result<()>) {
        let Some(kept) = self.kept.get_mut(id) else { return };
        match catch_unwind(AssertUnwindSafe(|| handle(kept))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(lane = %id, %error, "an entity that left memory cannot be read back: its lane begins again");
            }
            Err(panic) => {
                let (offset, what) = (kept.at, message_of(&*panic));
                let times = self.shared.poison.note(id, offset, &what);
                self.shared.metrics.lane_panics.inc();
                tracing::error!(lane = %id, offset, times, what, "a record made its lane panic, which is a bug of offkey: the lane begins again, and the second time without that record");
            }
        }
        self.drop(id);
        (self.shared.lost)(id.clone());
    }
}

impl Kept {
    /// Are there records that need not wait for the next cut? Their bytes stay in the backlog, which pauses the partition in the end.
    /// A lane that is restored has no cut to wait for, though entities that leave it may have much to be written.
    fn is_ready(&self) -> bool {
        !self.waiting.is_empty() && (self.lane.is_recovering() || self.lane.pending_bytes() < AHEAD)
    }

    fn handle_next(&mut self, shared: &Shared) -> io::Result<()> {
        let Some(batch) = self.waiting.pop_front() else { return Ok(()) };
        let (started, from) = (Instant::now(), std::mem::take(&mut self.n_handled));
        let to = self.handle(&batch, from)?;
        self.timing.handled(to - from, started.elapsed());
        if to == batch.len() {
            self.backlog.fetch_sub(batch.size(), Ordering::Relaxed);
        } else {
            self.n_handled = to;
            self.waiting.push_front(batch);
        }
        self.share(&shared.shares);
        Ok(())
    }

    /// Handles the records of a batch from this place on, and tells up to which. Those that are handled when a cut comes have to be the
    /// first ones: whoever may stop on the way goes in order.
    fn handle(&mut self, batch: &Batch, from: usize) -> io::Result<usize> {
        if from == 0 && self.lane.is_by_key() && !self.lane.has_unfitted() {
            let mut grouping = std::mem::take(&mut self.grouping);
            let keys = batch.iter().map(|record| record.key);
            let handled = grouping.by_key(keys).try_for_each(|place| self.handle_one(&batch.get(place)));
            self.grouping = grouping;
            return handled.map(|()| batch.len());
        }
        let started = Instant::now();
        for place in from..batch.len() {
            self.handle_one(&batch.get(place))?;
            if self.lane.has_unfitted() && started.elapsed() > SLICE {
                return Ok(place + 1);
            }
        }
        Ok(batch.len())
    }

    /// Tells that the lane was read again, once nothing waits.
    fn finish(&mut self) {
        if !self.waiting.is_empty() {
            return;
        }
        if let Some(Finishing { terms, answer }) = self.finishing.take() {
            let report = self.lane.finish_recovery();
            self.lane.set_terms(&terms);
            // Nobody waits for the report of a recovery that was given up.
            let _ = answer.send(report);
        }
    }

    fn handle_one(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.at = record.offset;
        if let Some(what) = self.poison.get(&record.offset) {
            self.lane.pass_over(record, what);
            return Ok(());
        }
        while let Handled::Cold(entity) = self.timing.handle(&mut self.lane, record) {
            let bytes = self.spill.take(&entity)?;
            self.lane.revive(&entity, bytes.as_deref(), record.offset);
        }
        self.spill_evicted();
        crate::failpoint::panic_on(record.key);
        Ok(())
    }

    /// Tells what the lane holds, and lets it hold its share.
    fn share(&mut self, shares: &Shares) {
        self.lane.set_memory(shares.allot(self.lane.id(), self.lane.memory()));
        self.spill_evicted();
    }

    /// Writes entities that are out of memory to the state topic again: as many as an epoch should hold, or `all`. One that cannot be
    /// read holds the replay offset for good.
    fn rewrite(&mut self, all: bool) {
        while let Some(hash) = self.to_rewrite.last().filter(|_| all || self.lane.pending_bytes() < AHEAD) {
            match self.spill.read(*hash) {
                Ok(Some((name, bytes))) => self.lane.rewrite(&name, &bytes),
                // It is back in memory.
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(lane = %self.lane.id(), %error, "an entity that left memory cannot be read, and its snapshot is gone");
                    self.to_rewrite.clear();
                    return;
                }
            }
            self.to_rewrite.pop();
        }
        if self.to_rewrite.is_empty() {
            self.lane.all_are_rewritten();
        }
    }

    fn spill_evicted(&mut self) {
        for (entity, bytes) in self.lane.take_evicted() {
            let result = self.spill.put(&entity, &bytes);
            let was_full = std::mem::replace(&mut self.disk_is_full, result.is_err());
            if let (Err(error), false) = (result, was_full) {
                tracing::error!(%error, lane = %self.lane.id(), folder = %std::env::temp_dir().display(), "the disk does not take entities that leave memory: their snapshots stay in it");
            }
        }
    }
}

/// What a panic says.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}
