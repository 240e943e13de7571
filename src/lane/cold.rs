//! Who is out of memory: an index by the hash of the name, so that a million keys that were seen once cost little.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is remembered of an entity with a detector that left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The accumulator it left with.
    pub accumulator: u64,
    /// First record that is in no snapshot, if the state topic did not take the one it left with.
    pub held: Option<i64>,
}

/// Entities out of memory.
#[derive(Debug, Default)]
pub struct Cold {
    trained: HashMap<u64, Left>,
    /// Nothing is remembered of those on probation: their accumulator is 0.
    probation: HashSet<u64>,
    held: BTreeSet<(i64, u64)>,
}

impl Cold {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.trained.len() + self.probation.len()
    }

    /// Is there one whose name has this hash?
    pub fn contains(&self, hash: u64) -> bool {
        self.probation.contains(&hash) || self.trained.contains_key(&hash)
    }

    /// An entity leaves. False: the index has another of the same hash, and this one has to stay.
    pub fn insert(&mut self, hash: u64, left: Left) -> bool {
        if self.contains(hash) {
            return false;
        }
        if left == Left::default() {
            self.probation.insert(hash);
        } else {
            self.trained.insert(hash, left);
            self.held.extend(left.held.map(|offset| (offset, hash)));
        }
        true
    }

    /// It is back, or gone for good.
    pub fn remove(&mut self, hash: u64) -> Option<Left> {
        if self.probation.remove(&hash) {
            return Some(Left::default());
        }
        let left = self.trained.remove(&hash)?;
        if let Some(offset) = left.held {
            self.held.remove(&(offset, hash));
        }
        Some(left)
    }

    /// First record of them all that is in no snapshot.
    pub fn first_held(&self) -> Option<i64> {
        self.held.first().map(|(offset, _)| *offset)
    }
}

/// The same on every start: the hasher has fixed keys.
pub fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_names_with_one_hash_only_one_is_out_of_memory() {
        let mut cold = Cold::default();
        let left = Left { accumulator: 7, held: Some(3) };
        assert!(cold.insert(1, left));
        assert!(!cold.insert(1, Left::default()));
        assert_eq!((cold.len(), cold.first_held()), (1, Some(3)));
        assert_eq!((cold.remove(1), cold.remove(1)), (Some(left), None));
        assert_eq!((cold.len(), cold.first_held()), (0, None));
    }
}
