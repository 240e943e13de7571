//! How rare is a row among episodes? Each stream's value is held against the decayed distribution of its maxima over the
//! last 36 rows, under a long and a short memory: rare for life and for the last day or two.

use super::super::decay;
use super::super::snapshot::{Soundness, all_finite};
use super::histogram::{self, Histogram, bin_of};
use serde::{Deserialize, Serialize};
use std::array::from_fn;

/// Rows of an episode: histograms learn the maximum of so many.
pub const BLOCK: usize = 36;
/// Half-life of the long memory, rows.
const LONG: f64 = 4000.0;
/// Half-life of the short memory, rows.
const SHORT: f64 = 300.0;
/// Rows a stream has to be learned before it is listened to.
const WARM: u32 = 100;
/// Largest rarity of a stream.
const CAP: f64 = 8.0;

/// What the two memories keep of a count with every row.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    long: f32,
    short: f32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { long: decay::keep(LONG) as f32, short: decay::keep(SHORT) as f32 }
    }
}

/// One stream's memories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    recent: Vec<f32>,
    next: u32,
    learned: u32,
    long: Histogram,
    short: Histogram,
    #[serde(skip)]
    peak: Peak,
}

/// The largest of the recent values and its bin, which seldom change from row to row.
#[derive(Clone, Copy, Debug)]
struct Peak {
    value: f32,
    bin: f32,
}

impl Peak {
    fn of(value: f32) -> Self {
        Self { value, bin: bin_of(value) }
    }
}

/// Not known yet.
impl Default for Peak {
    fn default() -> Self {
        Self { value: f32::NAN, bin: 0.0 }
    }
}

/// Two peaks are equal: they follow from the recent values.
impl PartialEq for Peak {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            recent: vec![0.0; BLOCK],
            next: 0,
            learned: 0,
            long: Histogram::default(),
            short: Histogram::default(),
            peak: Peak::default(),
        }
    }
}

impl Stream {
    /// Counts the maximum of the last [`BLOCK`] values, this one included.
    pub fn learn(&mut self, value: f32, keep: &Keep) {
        let gone = std::mem::replace(&mut self.recent[self.next as usize], value);
        self.next = (self.next + 1) % BLOCK as u32;
        self.learned = self.learned.saturating_add(1);
        let Peak { value: peak, .. } = self.peak;
        if value >= peak {
            self.peak = Peak::of(value);
        } else if peak.is_nan() || gone >= peak {
            self.peak = Peak::of(largest(&self.recent));
        }
        self.long.learn(self.peak.bin, keep.long);
        self.short.learn(self.peak.bin, keep.short);
    }

    pub(in super::super) fn soundness(&self) -> Soundness {
        let shape = self.recent.len() == BLOCK && (self.next as usize) < BLOCK && all_finite(&self.recent);
        Soundness::of(shape, "rarity").and(self.long.soundness()).and(self.short.soundness())
    }
}

/// `-log10` of the tail probability of each stream's value, its less surprised memory speaking; 0 until the stream is warm, and
/// where there is no value. Step by step for all of them: each step alone would wait for the one before it.
#[must_use]
pub fn rarities<const N: usize>(asked: [(&Stream, Option<f32>); N]) -> [f64; N] {
    let bins = asked.map(|(stream, value)| value.filter(|_| stream.learned >= WARM).map(bin_of));
    let above: [_; N] = from_fn(|k| {
        let stream = asked[k].0;
        bins[k].map(|bin| (bin, histogram::counts_above([&stream.long, &stream.short], bin)))
    });
    let probabilities: [_; N] = from_fn(|k| {
        let stream = asked[k].0;
        let tail = |(bin, [long, short]): (f32, [f32; 2])| {
            stream.long.tail_probability(bin, long).max(stream.short.tail_probability(bin, short))
        };
        above[k].map(tail)
    });
    let rarity = |probability: f64| (-libm::log10(probability.max(1e-300))).clamp(0.0, CAP);
    probabilities.map(|probability| probability.map_or(0.0, rarity))
}

/// The largest of some values, at least 0; in four strands, for that is a few instructions.
fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut strands = [0.0f32; 4];
    for chunk in values.chunks(strands.len()) {
        strands.iter_mut().zip(chunk).for_each(|(strand, value)| *strand = larger(*strand, *value));
    }
    strands.into_iter().fold(0.0, larger)
}

/// The 4-norm of weighted rarities.
#[must_use]
pub fn join(rarities: impl IntoIterator<Item = f64>) -> f32 {
    let sum: f64 = rarities.into_iter().map(|rarity| rarity * rarity * rarity * rarity).sum();
    sum.sqrt().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::super::super::golden::noise;
    use super::*;
    use proptest::prelude::*;

    fn rarity(stream: &Stream, value: f32) -> f64 {
        let [told, unasked] = rarities([(stream, Some(value)), (stream, None)]);
        assert_eq!(unasked, 0.0);
        told
    }

    fn value(t: u64) -> f32 {
        let usual = 0.5 + noise(t) + if t.is_multiple_of(41) { 2.0 * noise(t + 5000) } else { 0.0 };
        match t {
            300 | 303 => 6.0,
            400 => 2.2,
            500 => 3000.0,
            600 => 5.0,
            601 => 1e-9,
            700..760 => 3.0 * usual,
            899 => 20.0,
            _ => usual,
        }
    }

    #[test]
    fn rarities_are_those_of_the_prototype() {
        let golden = [
            (149, 0.0),
            (150, 0.001_489_74),
            (164, 0.501_136),
            (200, 0.0),
            (205, 0.743_377),
            (300, 4.311_18),
            (301, 0.0),
            (303, 2.701_52),
            (400, 0.394_931),
            (500, 8.0),
            (501, 0.0),
            (600, 0.792_547),
            (601, 0.0),
            (700, 0.684_015),
            (705, 0.665_559),
            (730, 0.152_114),
            (850, 0.0),
            (899, 1.369_72),
        ];
        let (mut stream, keep) = (Stream::default(), Keep::default());
        let mut told = vec![0.0; 50];
        for t in 50..900 {
            told.push(rarity(&stream, value(t)));
            stream.learn(value(t), &keep);
        }
        for (t, golden) in golden {
            assert!((told[t] - golden).abs() < 2e-3, "row {t}: {} against {golden}", told[t]);
        }
    }

    /// Ends that are whole steps of the sampler: proptest 1.12 asserts against itself for others, once in a while.
    fn values() -> impl Strategy<Value = Vec<f32>> {
        let value = prop_oneof![8 => 0.125f32..3.0, 1 => 0.0f32..f32::MAX, 1 => Just(0.0), 1 => Just(1000.0)];
        proptest::collection::vec(value, 1..400)
    }

    fn go_on(stream: &mut Stream, values: &[f32]) -> Vec<f64> {
        let keep = Keep::default();
        let row = |value: &f32| {
            let told = rarity(stream, *value);
            stream.learn(*value, &keep);
            told
        };
        values.iter().map(row).collect()
    }

    proptest! {
        #[test]
        fn the_largest_of_a_block_is_the_largest(values in values()) {
            prop_assert_eq!(largest(&values), values.iter().copied().fold(0.0, f32::max));
        }

        #[test]
        fn a_larger_value_is_never_less_rare_while_nothing_is_learned(values in values(), a in 0.0f32..50.0, more in 0.0f32..50.0) {
            let mut stream = Stream::default();
            go_on(&mut stream, &values);
            let (less, more) = (rarity(&stream, a), rarity(&stream, a + more));
            prop_assert!((0.0..=CAP).contains(&less) && less <= more + 0.35, "{less} {more}");
        }

        #[test]
        fn a_restored_stream_goes_on_as_if_undisturbed(before in values(), after in values()) {
            let mut stream = Stream::default();
            go_on(&mut stream, &before);
            let mut restored: Stream = postcard::from_bytes(&postcard::to_stdvec(&stream).unwrap()).unwrap();
            prop_assert_eq!(restored.soundness(), Soundness::of(true, ""));
            prop_assert_eq!(go_on(&mut stream, &after), go_on(&mut restored, &after));
            prop_assert_eq!(stream, restored);
        }

        #[test]
        fn no_mutated_stream_that_passes_for_sound_panics_or_tells_nonsense(
            before in values(), after in values(), spots in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
        ) {
            let mut stream = Stream::default();
            go_on(&mut stream, &before);
            let mut bytes = postcard::to_stdvec(&stream).unwrap();
            for (spot, byte) in spots {
                *spot.get_mut(&mut bytes) = byte;
            }
            let Ok(mut mutated) = postcard::from_bytes::<Stream>(&bytes) else { return Ok(()) };
            if mutated.soundness() == Soundness::of(true, "") {
                prop_assert!(go_on(&mut mutated, &after).iter().all(|told| (0.0..=CAP).contains(told)));
            }
        }
    }

    #[test]
    fn the_usual_is_not_rare_and_ten_times_the_usual_is() {
        let mut stream = Stream::default();
        let keep = Keep::default();
        assert_eq!(rarity(&stream, 1e9), 0.0);
        for i in 0..1000u32 {
            stream.learn(1.0 + (i.wrapping_mul(2_654_435_761) >> 24) as f32 / 256.0, &keep);
        }
        assert!(rarity(&stream, 1.5) < 0.5);
        assert!(rarity(&stream, 20.0) > 2.2);
    }
}
