//! The memory of an instance, shared by its lanes: `state.max_entities` and `state.max_memory` are of them all together.

use crate::lane::Memory;
use crate::lane::record::PartitionId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What every lane holds, and what there is.
#[derive(Debug)]
pub struct Shares {
    total: Memory,
    held: Mutex<BTreeMap<PartitionId, Memory>>,
}

impl Shares {
    /// So much for all lanes.
    #[must_use]
    pub fn new(total: Memory) -> Self {
        Self { total, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Memory>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane holds so much now. What it may hold: an equal part, or what the others leave if that is more. So a busy lane has
    /// what quiet ones do not need, and gives it back when they do, at its next cut at the latest.
    pub fn allot(&self, lane: &PartitionId, holds: Memory) -> Memory {
        let mut held = self.held();
        match held.get_mut(lane) {
            Some(held) => *held = holds,
            None => drop(held.insert(lane.clone(), holds)),
        }
        let others = held.iter().filter(|(other, _)| *other != lane).fold(Memory::default(), |sum, (_, held)| Memory {
            entities: sum.entities + held.entities,
            probation: sum.probation + held.probation,
            bytes: sum.bytes + held.bytes,
        });
        let part = |total: usize, others: usize| (total / held.len()).max(total.saturating_sub(others)).max(1);
        Memory {
            entities: part(self.total.entities, others.entities),
            probation: part(self.total.probation, others.probation),
            bytes: part(self.total.bytes, others.bytes),
        }
    }

    /// A lane is gone.
    pub fn release(&self, lane: &PartitionId) {
        self.held().remove(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(entities: usize) -> Memory {
        Memory::of(entities, 100 * entities)
    }

    #[test]
    fn a_busy_lane_has_what_the_others_leave_and_each_its_part() {
        let shares = Shares::new(memory(12));
        let lane = |partition| PartitionId { topic: "telemetry".into(), partition };
        assert_eq!(shares.allot(&lane(0), memory(0)), memory(12));
        assert_eq!(shares.allot(&lane(0), memory(12)), memory(12));
        assert_eq!(shares.allot(&lane(1), memory(1)), memory(6), "its part, though nothing is left");
        assert_eq!(shares.allot(&lane(0), memory(12)), memory(11), "the first one gives back");
        assert_eq!(shares.allot(&lane(1), memory(6)), memory(6));
        assert_eq!(shares.allot(&lane(0), memory(11)), memory(6));
        assert_eq!(shares.allot(&lane(2), memory(0)), memory(4));
        shares.release(&lane(2));
        shares.release(&lane(1));
        assert_eq!(shares.allot(&lane(0), memory(6)), memory(12));
    }
}
