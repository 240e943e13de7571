//! A thread with its lanes. It takes work in order; what the lanes want the world to see waits in them for the next cut.

use super::spill::Spill;
use crate::kafka::consumer::{Backlog, Batch};
use crate::lane::record::PartitionId;
use crate::lane::recovery::Report;
use crate::lane::rulebook::Rulebook;
use crate::lane::{Census, Handled, Lane, Part};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

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
    /// End what has gathered in these lanes; `all`: with a snapshot of everything dirty.
    Cut { lanes: Vec<PartitionId>, now: Duration, all: bool, parts: Sender<Part> },
    /// Who is in memory?
    Census(PartitionId, Sender<(PartitionId, Census)>),
    /// These lanes are not ours any more.
    Drop(Vec<PartitionId>),
    /// New rules, from now on. What is dirty was cut before.
    Rules(Arc<Rulebook>),
}

struct Kept {
    lane: Lane,
    backlog: Backlog,
    spill: Spill,
}

/// Works until nobody can send any more.
pub fn run(inbox: &Receiver<Work>) {
    let mut lanes: BTreeMap<PartitionId, Kept> = BTreeMap::new();
    for work in inbox {
        match work {
            Work::Add(lane, backlog) => {
                drop(lanes.insert(lane.id().clone(), Kept { lane: *lane, backlog, spill: Spill::default() }))
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
                    kept.handle(&batch);
                }
            }
            Work::Finish(id, answer) => {
                if let Some(kept) = lanes.get_mut(&id) {
                    let _ = answer.send(kept.lane.finish_recovery());
                }
            }
            Work::Cut { lanes: wanted, now, all, parts } => {
                for id in wanted {
                    if let Some(kept) = lanes.get_mut(&id) {
                        let _ = parts.send(kept.lane.cut(now, all));
                    }
                }
            }
            Work::Census(id, answer) => {
                if let Some(kept) = lanes.get(&id) {
                    let _ = answer.send((id, kept.lane.census()));
                }
            }
            Work::Drop(ids) => ids.iter().for_each(|id| drop(lanes.remove(id))),
            Work::Rules(rulebook) => lanes.values_mut().for_each(|kept| kept.lane.set_rulebook(Arc::clone(&rulebook))),
        }
    }
}

impl Kept {
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
