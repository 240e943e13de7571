//! The fast autoencoder, for entities of few channels: one per channel, 16 rows to 16 tanh units and back, the newest row
//! hidden from its input, learning from row 0 at full speed. Its residual of the hidden row tells of onsets.

use super::autoencoder::{activation::Activation, aligned::Aligned, dense};
use super::snapshot::{Soundness, all_finite};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// Rows it sees.
const ROWS: usize = 16;
/// Units of its code.
const UNITS: usize = 16;
const RATE: f32 = 0.05;
const L1: f32 = 0.01;
/// Scaled values are cut at this.
const CLIP: f64 = 10.0;

/// Residuals of one row in scaled units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Residuals {
    /// Of the newest row, which was hidden.
    pub newest: f32,
    /// Root mean square over the window.
    pub window: f32,
}

/// One channel's autoencoder; matrices are row-major, `UNITS x ROWS` and `ROWS x UNITS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fast {
    rows: Vec<f32>,
    encoder: Aligned,
    code_bias: Vec<f32>,
    decoder: Aligned,
    output_bias: Vec<f32>,
}

/// All units or rows, as the kernels want them named.
const ALL: [u32; ROWS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl Fast {
    /// Random weights from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Pcg32::seed_from_u64(seed);
        let reach = (6.0 / (ROWS + UNITS) as f32).sqrt();
        let mut draw = || -> Vec<f32> {
            (0..ROWS * UNITS).map(|_| ((rng.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0) * reach).collect()
        };
        Self {
            encoder: draw().into(),
            decoder: draw().into(),
            rows: vec![0.0; ROWS],
            code_bias: vec![0.0; UNITS],
            output_bias: vec![0.0; ROWS],
        }
    }

    /// Sees a deviation in units of its scale, tells the residuals, then learns (normalised SGD). Allocates nothing.
    pub fn see(&mut self, scaled: f64) -> Residuals {
        self.rows.copy_within(1.., 0);
        self.rows[ROWS - 1] = scaled.clamp(-CLIP, CLIP) as f32;
        let mut input = [0.0f32; ROWS];
        input[..ROWS - 1].copy_from_slice(&self.rows[..ROWS - 1]);
        let (mut code, mut error, mut slope) = ([0.0f32; UNITS], [0.0f32; ROWS], [0.0f32; UNITS]);
        dense::affine(&self.encoder, &input, &self.code_bias, &mut code);
        for unit in &mut code {
            *unit = Activation::Tanh.apply(*unit);
        }
        dense::affine(&self.decoder, &code, &self.output_bias, &mut error);
        for (error, row) in error.iter_mut().zip(&self.rows) {
            *error -= row;
        }
        let told =
            Residuals { newest: error[ROWS - 1].abs(), window: (dense::dot(&error, &error) / ROWS as f32).sqrt() };
        let rate = RATE / (1.0 + dense::dot(&input, &input));
        dense::combine(&self.decoder, &error, &ALL, &[0.0; UNITS], &mut slope);
        for (slope, unit) in slope.iter_mut().zip(&code) {
            let penalty = if *unit == 0.0 { 0.0 } else { L1 * unit.signum() };
            *slope = rate * (*slope + penalty) * Activation::Tanh.slope(*unit);
        }
        error.iter_mut().for_each(|error| *error *= rate);
        dense::retreat(&mut self.decoder, &ALL, &error, &code, &[0.0; ROWS], &code);
        dense::subtract(&mut self.output_bias, 1.0, &error);
        dense::retreat(&mut self.encoder, &ALL, &slope, &input, &[0.0; UNITS], &input);
        dense::subtract(&mut self.code_bias, 1.0, &slope);
        told
    }

    /// Back to what was learned `before`; the rows that came since stay seen, or the next one would follow on one from long ago.
    pub fn unlearn(&mut self, before: Self) {
        let rows = std::mem::take(&mut self.rows);
        *self = Self { rows, ..before };
    }

    pub(super) fn soundness(&self) -> Soundness {
        let square = ROWS * UNITS;
        let shape =
            [self.rows.len(), self.encoder.len(), self.decoder.len(), self.code_bias.len(), self.output_bias.len()]
                == [ROWS, square, square, UNITS, ROWS];
        let values: [&[f32]; 5] = [&self.rows, &self.encoder, &self.decoder, &self.code_bias, &self.output_bias];
        Soundness::of(shape && values.iter().all(|values| all_finite(values)), "fast autoencoder")
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::noise;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn from_the_same_weights_it_learns_what_the_prototype_learns() {
        let golden = [
            (0, 1.5, 0.375),
            (1, 0.365_891_6, 0.379_714_7),
            (20, 1.434_511, 1.000_298),
            (100, 0.831_371_6, 0.692_516_1),
            (300, 0.675_807_5, 0.547_855_5),
            (499, 0.129_857_6, 0.275_729_7),
            (500, 9.700_383, 2.443_746),
            (501, 0.576_878_3, 2.312_469),
            (599, 0.197_543_6, 0.287_755_7),
        ];
        let mut fast = Fast::new(0);
        fast.encoder = (0..256).map(|i| (noise(i) * 2.0 - 1.0) * 0.4).collect::<Vec<_>>().into();
        fast.decoder = (256..512).map(|i| (noise(i) * 2.0 - 1.0) * 0.4).collect::<Vec<_>>().into();
        let told: Vec<Residuals> = (0..600u64)
            .map(|t| if t == 500 { 25.0 } else { ((t % 7) as f32 - 3.0) * 0.5 + noise(t) * 0.5 })
            .map(|value| fast.see(f64::from(value)))
            .collect();
        for (t, newest, window) in golden {
            let Residuals { newest: told_newest, window: told_window } = told[t];
            assert!((told_newest - newest).abs() < 2e-4, "row {t}: {told_newest} against {newest}");
            assert!((told_window - window).abs() < 2e-4, "row {t}: {told_window} against {window}");
        }
    }

    proptest! {
        #[test]
        fn it_never_blows_up_and_a_restored_one_goes_on_as_if_undisturbed(
            values in proptest::collection::vec(-1e9f64..1e9, 1..300), calm in 0usize..300, seed in any::<u64>(),
        ) {
            let mut fast = Fast::new(seed);
            let row = |i: usize| if i < calm { 0.0 } else { values[i % values.len()] };
            for i in 0..300 {
                let told = fast.see(row(i));
                prop_assert!(told.newest.is_finite() && told.newest < 1e3 && told.window < 1e3, "{told:?}");
            }
            prop_assert_eq!(fast.soundness(), Soundness::of(true, ""));
            let mut restored: Fast = postcard::from_bytes(&postcard::to_stdvec(&fast).unwrap()).unwrap();
            for i in 0..50 {
                prop_assert_eq!(fast.see(row(i)), restored.see(row(i)));
            }
            prop_assert_eq!(fast, restored);
        }
    }

    #[test]
    fn a_rhythm_is_learned_and_a_break_of_it_is_not_expected() {
        let mut fast = Fast::new(0);
        let wave = |t: usize| libm::sin(t as f64 * 0.7);
        let mean = |from: usize, to: usize, fast: &mut Fast| {
            (from..to).map(|t| fast.see(wave(t)).newest).sum::<f32>() / (to - from) as f32
        };
        let early = mean(0, 100, &mut fast);
        let late = mean(100, 3000, &mut fast);
        assert!(late < 0.3 * early, "{early} {late}");
        assert!(fast.see(5.0).newest > 4.0);
    }
}
