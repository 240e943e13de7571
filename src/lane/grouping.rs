//! In which order the records of a batch are handled: those of one entity one after the other, so that its state is fetched into the
//! processor's caches once a batch and not once a record. Only the order within an entity means anything.

use std::hash::{DefaultHasher, Hasher};

/// Working memory for orders.
#[derive(Debug, Default)]
pub struct Grouping {
    /// By the hash of a key and the place in the batch.
    places: Vec<(u64, u32)>,
}

impl Grouping {
    /// The places of the records with these keys, each once. Records of one key keep their order; which key comes first says nothing.
    /// Allocates nothing once it has seen a batch of this length.
    pub fn by_key<'k>(&mut self, keys: impl Iterator<Item = Option<&'k [u8]>>) -> impl Iterator<Item = usize> {
        self.places.clear();
        self.places.extend(keys.zip(0..).map(|(key, place)| (hash(key.unwrap_or_default()), place)));
        self.places.sort_unstable();
        self.places.iter().map(|(_, place)| *place as usize)
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_place_comes_once_and_those_of_a_key_together_and_in_order(keys in prop::collection::vec(prop::option::of("[a-c]{0,2}"), 0..60)) {
            let bytes = || keys.iter().map(|key| key.as_deref().map(str::as_bytes));
            let places: Vec<usize> = Grouping::default().by_key(bytes()).collect();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..keys.len()).collect::<Vec<_>>());
            let key = |place: usize| keys[place].as_deref().unwrap_or_default();
            let groups: Vec<&[usize]> = places.chunk_by(|a, b| key(*a) == key(*b)).collect();
            prop_assert!(groups.iter().all(|group| group.is_sorted()));
            let mut named: Vec<&str> = groups.iter().map(|group| key(group[0])).collect();
            named.sort_unstable();
            prop_assert!(named.windows(2).all(|pair| pair[0] != pair[1]), "a key in two groups");
        }
    }
}
