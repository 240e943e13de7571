//! Is the state topic still the one that was written to? One that was deleted, or was created anew behind our back, holds nothing of
//! what was learned: it is missing, or its ends fall. Under an unclean election they fall too, and then records are as gone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of the state topic's ends, by partition.
#[derive(Debug, Default)]
pub struct StateLog(Mutex<Ends>);

#[derive(Debug, Default)]
struct Ends {
    /// Newest records that a broker has acknowledged to us.
    acknowledged: BTreeMap<i32, i64>,
    /// Last stable offsets, which are behind them while a transaction is open.
    stable: BTreeMap<i32, i64>,
    is_missing: bool,
    is_lost: bool,
}

impl StateLog {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A broker has given a record of ours this offset; below 0: it does not say which.
    pub fn acknowledged(&self, partition: i32, offset: i64) {
        let mut ends = self.ends();
        if offset >= 0 && falls(&mut ends.acknowledged, partition, offset) {
            ends.lose();
            ends.acknowledged.insert(partition, offset);
        }
        ends.is_missing = false;
    }

    /// A broker tells this last stable offset.
    pub fn stable(&self, partition: i32, offset: i64) {
        let mut ends = self.ends();
        if falls(&mut ends.stable, partition, offset) {
            ends.lose();
            ends.stable.insert(partition, offset);
        }
        ends.is_missing = false;
    }

    /// A broker says that there is no such topic.
    pub fn missing(&self) {
        let mut ends = self.ends();
        if !std::mem::replace(&mut ends.is_missing, true) {
            ends.lose();
        }
    }

    /// Is what was written before gone? Each loss is told once.
    pub fn take_lost(&self) -> bool {
        std::mem::take(&mut self.ends().is_lost)
    }
}

impl Ends {
    fn lose(&mut self) {
        self.acknowledged.clear();
        self.stable.clear();
        self.is_lost = true;
    }
}

/// Notes an offset: is it below the last one?
fn falls(offsets: &mut BTreeMap<i32, i64>, partition: i32, offset: i64) -> bool {
    match offsets.entry(partition) {
        Entry::Vacant(none) => {
            none.insert(offset);
            false
        }
        Entry::Occupied(mut last) => last.insert(offset) > offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_only_grows_is_the_same() {
        let log = StateLog::default();
        for offset in [0, 1, 7] {
            log.acknowledged(0, offset);
            log.stable(0, offset - 1);
        }
        log.acknowledged(1, 0);
        log.acknowledged(0, -1_001);
        assert!(!log.take_lost());
    }

    #[test]
    fn one_that_begins_again_is_told_once() {
        let log = StateLog::default();
        log.acknowledged(0, 7);
        log.acknowledged(1, 9);
        log.stable(0, 8);
        log.acknowledged(0, 0);
        log.acknowledged(1, 0);
        log.stable(0, 1);
        assert!(log.take_lost() && !log.take_lost());
        log.stable(0, 0);
        assert!(log.take_lost());
    }

    #[test]
    fn one_that_is_missing_is_told_once_until_it_is_there_again() {
        let log = StateLog::default();
        log.missing();
        assert!(log.take_lost());
        log.missing();
        assert!(!log.take_lost());
        log.stable(0, 0);
        log.missing();
        assert!(log.take_lost());
    }
}
