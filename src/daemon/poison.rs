//! Records that made their lane panic: the first time may be an accident of the moment, the second time it is the record. From
//! then on it is passed over, in silent replays too; a process that starts anew finds out again, by the same two panics.

use crate::lane::record::PartitionId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Panics after which a record is passed over.
const TWICE: u32 = 2;

/// Shared by all workers: a lane that begins again may do so on another one.
#[derive(Debug, Default)]
pub struct Poison {
    panics: Mutex<BTreeMap<PartitionId, BTreeMap<i64, Panics>>>,
}

#[derive(Debug, Default)]
struct Panics {
    n: u32,
    what: String,
}

impl Poison {
    fn panics(&self) -> MutexGuard<'_, BTreeMap<PartitionId, BTreeMap<i64, Panics>>> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record made its lane panic. How often it did.
    pub fn note(&self, lane: &PartitionId, offset: i64, what: &str) -> u32 {
        let mut panics = self.panics();
        let record = panics.entry(lane.clone()).or_default().entry(offset).or_default();
        record.n += 1;
        what.clone_into(&mut record.what);
        record.n
    }

    /// Records of a lane that are to be passed over, each with what it caused.
    pub fn of(&self, lane: &PartitionId) -> BTreeMap<i64, String> {
        let panics = self.panics();
        let all = panics.get(lane).into_iter().flatten();
        all.filter(|(_, record)| record.n >= TWICE).map(|(offset, record)| (*offset, record.what.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_panic_makes_a_record_poison() {
        let poison = Poison::default();
        let lane = |partition| PartitionId { topic: "telemetry".into(), partition };
        assert_eq!(poison.note(&lane(0), 7, "a"), 1);
        assert_eq!(poison.note(&lane(1), 7, "a"), 1);
        assert_eq!(poison.note(&lane(0), 8, "a"), 1);
        assert!(poison.of(&lane(0)).is_empty());
        assert_eq!(poison.note(&lane(0), 7, "b"), 2);
        assert_eq!(poison.of(&lane(0)), BTreeMap::from([(7, "b".to_owned())]));
        assert!(poison.of(&lane(1)).is_empty());
    }
}
