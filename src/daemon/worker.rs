//! A thread with its lanes. It takes work in order; what the lanes want the world to see waits in them for the next cut.

use super::spill::Spill;
use crate::kafka::consumer::{Backlog, Batch};
use crate::lane::record::PartitionId;
use crate::lane::recovery::Report;
use crate::lane::rulebook::Rulebook;
use crate::lane::{Census, Handled, Lane, Part};
use crate::metrics::Metrics;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
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
    /// The input was read again.
    Finish(PartitionId, Sender<Report>),
    /// End what has gathered in a lane; `all`: with a snapshot of everything dirty. From its next record on these rules hold.
    Cut { lane: PartitionId, now: Duration, all: bool, rules: Arc<Rulebook>, parts: Sender<Part> },
    /// Who is in memory?
    Census(PartitionId, Sender<(PartitionId, Census)>),
    /// These lanes are not ours any more.
    Drop(Vec<PartitionId>),
}

/// Bytes of effects in a lane above which its records wait for the next cut: the broker may be slower than we are.
const AHEAD: usize = 32 << 20;

struct Kept {
    lane: Lane,
    backlog: Backlog,
    spill: Spill,
    waiting: VecDeque<Batch>,
}

/// Works until nobody can send any more.
pub fn run(inbox: &Receiver<Work>, metrics: &Metrics) {
    let mut lanes: BTreeMap<PartitionId, Kept> = BTreeMap::new();
    for work in inbox {
        match work {
            Work::Add(lane, backlog) => {
                let id = lane.id().clone();
                lanes.insert(id, Kept { lane: *lane, backlog, spill: Spill::default(), waiting: VecDeque::new() });
            }
            Work::Restore(id, key, value) => {
                if let Some(kept) = lanes.get_mut(&id) {
                    kept.lane.restore(&key, value.as_deref());
                    kept.spill_evicted();
                    kept.backlog.fetch_sub(value.map_or(0, |value| value.len()), Ordering::Relaxed);
                }
            }
            Work::ReplayFrom(id, metadata, answer) => {
                if let Some(kept) = lanes.get_mut(&id) {
                    // Nobody waits for the answer of a recovery that was given up.
                    let _ = answer.send(kept.lane.replay_from(metadata.as_deref()));
                }
            }
            Work::Handle(id, batch) => {
                if let Some(kept) = lanes.get_mut(&id) {
                    kept.take(batch, metrics);
                }
            }
            Work::Finish(id, answer) => {
                if let Some(kept) = lanes.get_mut(&id) {
                    let _ = answer.send(kept.lane.finish_recovery());
                }
            }
            Work::Cut { lane, now, all, rules, parts } => {
                if let Some(kept) = lanes.get_mut(&lane) {
                    // No replay crosses a change of rules: everything dirty before it gets a snapshot.
                    let part = kept.lane.cut(now, all || !kept.lane.is_under(&rules));
                    // Nobody waits for it any more: then its lanes are about to be dropped.
                    let _ = parts.send(part);
                    kept.lane.set_rulebook(&rules);
                    kept.catch_up(metrics);
                }
            }
            Work::Census(id, answer) => {
                if let Some(kept) = lanes.get(&id) {
                    let _ = answer.send((id, kept.lane.census()));
                }
            }
            Work::Drop(ids) => ids.iter().for_each(|id| drop(lanes.remove(id))),
        }
    }
}

impl Kept {
    /// Handles a batch, or lets it wait: its bytes stay in the backlog, which pauses the partition in the end.
    fn take(&mut self, batch: Batch, metrics: &Metrics) {
        self.waiting.push_back(batch);
        self.catch_up(metrics);
    }

    fn catch_up(&mut self, metrics: &Metrics) {
        while self.lane.pending_bytes() < AHEAD
            && let Some(batch) = self.waiting.pop_front()
        {
            let started = Instant::now();
            self.handle(&batch);
            let n = batch.iter().count().max(1);
            metrics.handling_seconds.observe(started.elapsed().as_secs_f64() / n as f64);
        }
    }

    fn handle(&mut self, batch: &Batch) {
        for record in batch.iter() {
            while let Handled::Cold(entity) = self.lane.handle(&record) {
                let bytes = self.spill.take(&entity).unwrap_or_else(|error| {
                    tracing::error!(%error, entity, "an entity that left memory cannot be read back; it starts anew");
                    None
                });
                self.lane.revive(&entity, bytes.as_deref(), record.offset);
            }
            self.spill_evicted();
        }
        self.backlog.fetch_sub(batch.size(), Ordering::Relaxed);
    }

    fn spill_evicted(&mut self) {
        for (entity, bytes) in self.lane.take_evicted() {
            if let Err(error) = self.spill.put(&entity, &bytes) {
                tracing::error!(%error, entity, "an entity that leaves memory cannot be kept; it starts anew when it returns");
            }
        }
    }
}
