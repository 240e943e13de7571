//! The fuzz targets' bodies over mutations of their seeds, from a seed of our own: bounded, and the same on every run.
//! `OFFKEY_ROUNDS` runs them longer; `cargo fuzz run TARGET` in fuzz/ runs them for ever. What either finds becomes a seed.

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use std::panic::catch_unwind;
use std::path::Path;

/// Bytes that parsers trip over.
const SHARP: &[u8] = b"\0\x01\x7f\x80\xff\"\\{}[],:.-+eE09 \n\xc3\xf0nul";

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).expect("a seed")).collect()
}

struct Mutator {
    rng: Pcg32,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    fn below(&mut self, n: usize) -> usize {
        self.rng.next_u32() as usize % n.max(1)
    }

    /// A seed, changed a few times.
    fn next(&mut self) -> Vec<u8> {
        let n = self.below(self.seeds.len());
        let mut bytes = self.seeds[n].clone();
        for _ in 0..self.below(6) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let (at, other) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
        let range = at.min(other)..at.max(other);
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = SHARP[self.below(SHARP.len())],
            2 => bytes.insert(at, SHARP[self.below(SHARP.len())]),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(range)),
            5 if bytes.len() < 4_096 => {
                let copy = bytes[range].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            6 => {
                let donor = self.below(self.seeds.len());
                let from = self.below(self.seeds[donor].len());
                let piece = self.seeds[donor][from..].to_vec();
                drop(bytes.splice(range, piece));
            }
            _ => {
                let noise = self.rng.next_u32().to_le_bytes();
                drop(bytes.splice(at..at, noise));
            }
        }
    }
}

/// Mutations that leave a state record whole but for its checksum, which is put right.
fn resealed(bytes: &mut [u8]) {
    if bytes.len() > 44 && bytes.starts_with(b"OFK1") {
        let end = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
    }
}

fn fuzz(target: &str, rounds: u32, body: fn(&[u8])) {
    let rounds = std::env::var("OFFKEY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(rounds);
    let mut mutator = Mutator { rng: Pcg32::seed_from_u64(rounds.into()), seeds: seeds(target) };
    mutator.seeds.clone().iter().for_each(|seed| body(seed));
    for round in 0..rounds {
        let mut input = mutator.next();
        if round % 2 == 0 {
            resealed(&mut input);
        }
        if catch_unwind(|| body(&input)).is_err() {
            let text: String =
                input.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
            panic!(
                "{target} fails in round {round} of {rounds} on b\"{text}\": keep it as a seed in fuzz/corpus/{target}"
            );
        }
    }
}

#[test]
fn state_records() {
    fuzz("state_record", 20_000, bodies::state_record);
}

#[test]
fn snapshots() {
    fuzz("snapshot", 4_000, bodies::snapshot);
}

#[test]
fn wide_messages() {
    fuzz("json_wide", 20_000, bodies::json_wide);
}

#[test]
fn long_messages() {
    fuzz("json_long", 20_000, bodies::json_long);
}

#[test]
fn timestamps() {
    fuzz("timestamp", 50_000, bodies::timestamp);
}

#[test]
fn configurations() {
    fuzz("config", 600, bodies::config);
}

/// Or nothing would be tried.
#[test]
fn seeds_are_sound() {
    assert_eq!(bodies::states().len(), 6);
    assert!(bodies::states().iter().all(|state| bodies::decode(state).is_some()));
    for target in ["state_record", "snapshot", "json_wide", "json_long", "timestamp", "config"] {
        assert!(seeds(target).len() >= 3, "{target}");
    }
}
