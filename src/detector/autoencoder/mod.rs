//! One autoencoder over a flattened window: code `h = f(E x + a)`, reconstruction `y = D' h + b`, one hidden layer.
//! Simple (undercomplete, no penalty) or sparse (shrinkage, L1, KL); squared error or cross entropy; tied or not.

pub mod activation;
pub mod aligned;
pub mod dense;
pub mod optimizer;
pub mod principal;

use super::snapshot::{Soundness, all_finite};
use activation::{Activation, sigmoid};
use aligned::Aligned;
use optimizer::{Moments, Optimizer};
use rand_core::Rng;
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};

/// With cross entropy a scaled value of `-RANGE..RANGE` is mapped to `0..1`, clipped outside.
const RANGE: f32 = 4.0;
/// Rows between two renewals of the decoder's norms, which bound the encoder's step.
const NORMS_EVERY: u64 = 64;
/// No step is larger: with it and a finite residual every weight stays finite, however wrong the rate.
const LARGEST_STEP: f32 = 1e15;

/// What is held against the activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Penalty {
    /// Nothing: a simple autoencoder is undercomplete instead.
    None,
    /// `weight * sum |h_j|`.
    L1 {
        /// Weight of the penalty.
        weight: f32,
    },
    /// `beta * sum KL(rho || mean h_j)`, with a running mean per unit (Ng, CS294A lecture notes). Wants activations in 0..1.
    Kl {
        /// Mean activation aimed at, in 0..1.
        rho: f32,
        /// Weight of the penalty.
        beta: f32,
    },
}

/// What a reconstruction is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Half the mean squared error.
    Mse,
    /// Binary cross entropy of inputs mapped to 0..1.
    Bce,
}

/// Where the weights begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The principal directions of the warm-up windows: the optimum of the linear autoencoder.
    Principal,
    /// Uniform in `+-sqrt(6 / (inputs + units))`.
    Random,
}

/// What shapes an autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Most units of the code.
    pub hidden: usize,
    /// Share of the variance of the warm-up windows that the code has to explain; sets the units used by a principal start.
    pub explained: f64,
    /// The code's nonlinearity.
    pub activation: Activation,
    /// What is held against the activations.
    pub penalty: Penalty,
    /// What a reconstruction is judged by.
    pub loss: Loss,
    /// One matrix for both directions.
    pub tied: bool,
    /// Where the weights begin.
    pub start: Start,
    /// Passes of training over the warm-up windows after the start.
    pub passes: u32,
    /// Rate of those passes, falling linearly to a tenth.
    pub fit_rate: f32,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// Rate of the live steps.
    pub learning_rate: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hidden: 32,
            explained: 0.95,
            activation: Activation::Shrinkage { theta: 0.3 },
            penalty: Penalty::None,
            loss: Loss::Mse,
            tied: true,
            start: Start::Principal,
            passes: 0,
            fit_rate: 0.1,
            optimizer: Optimizer::NormalizedSgd,
            learning_rate: 0.003,
        }
    }
}

/// The learned weights. `encoder` and `decoder` are row-major, `units x inputs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoencoder {
    inputs: u32,
    units: u32,
    encoder: Aligned,
    decoder: Option<Aligned>,
    code_bias: Vec<f32>,
    output_bias: Vec<f32>,
    decoder_norms: Vec<f32>,
    mean_activation: Vec<f32>,
    moments: Option<Moments>,
    steps: u64,
}

/// Working memory of a forward pass, and what it came to.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Activations, one per unit.
    pub code: Vec<f32>,
    /// Units whose activation is not zero.
    pub active: Vec<u32>,
    /// Reconstruction minus window, in scaled units; 0 where the window's cell was missing.
    pub residual: Aligned,
    /// Derivative of the loss by the decoder's output, times inputs; the residual itself for squared error.
    pub delta: Aligned,
    slope: Vec<f32>,
    encoder_step: Vec<f32>,
    decoder_step: Vec<f32>,
}

impl Pass {
    fn fit_to(&mut self, units: usize, inputs: usize) {
        self.code.resize(units, 0.0);
        self.slope.resize(units, 0.0);
        self.encoder_step.resize(units, 0.0);
        self.decoder_step.resize(units, 0.0);
        self.residual.resize(inputs);
        self.delta.resize(inputs);
    }

    /// Lists the active units, without a branch on what is as good as chance.
    fn collect_active(&mut self) {
        self.active.resize(self.code.len(), 0);
        let mut n = 0;
        for (j, unit) in self.code.iter().enumerate() {
            self.active[n] = j as u32;
            n += usize::from(*unit != 0.0);
        }
        self.active.truncate(n);
    }
}

impl Autoencoder {
    /// Fits on `windows`: slices of equal length into scaled rows. `cells_per_row` is the number of channels.
    #[must_use]
    pub fn fit(windows: &[&[f32]], inputs: usize, channels: usize, settings: &Settings, rng: &mut Pcg32) -> Self {
        let mut net = match settings.start {
            Start::Principal => Self::principal(windows, inputs, settings, rng),
            Start::Random => Self::random(inputs, settings, rng),
        };
        net.moments =
            (settings.optimizer == Optimizer::Adam).then(|| Moments::new(net.encoder.len(), net.decoder.is_some()));
        net.train(windows, channels, settings, rng);
        net.renew_norms();
        net
    }

    fn principal(windows: &[&[f32]], inputs: usize, settings: &Settings, rng: &mut Pcg32) -> Self {
        let found = principal::directions(windows, inputs, settings.hidden, settings.explained, rng);
        let units = found.spread.len();
        let (mut encoder, mut decoder) = (found.directions.clone(), found.directions);
        // A saturating code starts in the linear part of its curve, and is scaled back by the decoder.
        let saturates = matches!(settings.activation, Activation::Tanh | Activation::Sigmoid);
        if saturates {
            for (j, spread) in found.spread.iter().enumerate() {
                let gain = 0.2 / spread.max(1e-3);
                let slope = if settings.activation == Activation::Sigmoid { 4.0 } else { 1.0 };
                encoder[j * inputs..(j + 1) * inputs].iter_mut().for_each(|w| *w *= gain);
                decoder[j * inputs..(j + 1) * inputs].iter_mut().for_each(|w| *w *= slope / gain);
            }
        }
        let code_bias = (0..units).map(|j| -dense::dot(&encoder[j * inputs..(j + 1) * inputs], &found.mean)).collect();
        let mut output_bias = found.mean;
        if settings.activation == Activation::Sigmoid {
            // sigmoid(0) is a half: what the decoder makes of it belongs to the bias.
            for j in 0..units {
                dense::subtract(&mut output_bias, 0.5, &decoder[j * inputs..(j + 1) * inputs]);
            }
        }
        if settings.loss == Loss::Bce {
            // Around its middle the logistic function maps RANGE scaled units to half a unit with slope a quarter.
            let gain = 2.0 / RANGE;
            output_bias.iter_mut().chain(decoder.iter_mut()).for_each(|w| *w *= gain);
        }
        let scaled_decoder = saturates || settings.loss == Loss::Bce;
        Self::of(inputs, units, encoder, (!settings.tied || scaled_decoder).then_some(decoder), code_bias, output_bias)
    }

    fn random(inputs: usize, settings: &Settings, rng: &mut Pcg32) -> Self {
        let units = settings.hidden.max(1);
        let reach = (6.0 / (inputs + units) as f32).sqrt();
        let mut draw = || (0..inputs * units).map(|_| uniform(rng, reach)).collect::<Vec<f32>>();
        let encoder = draw();
        let decoder = (!settings.tied).then(draw);
        Self::of(inputs, units, encoder, decoder, vec![0.0; units], vec![0.0; inputs])
    }

    fn of(
        inputs: usize,
        units: usize,
        encoder: Vec<f32>,
        decoder: Option<Vec<f32>>,
        code_bias: Vec<f32>,
        output_bias: Vec<f32>,
    ) -> Self {
        Self {
            inputs: u32::try_from(inputs).expect("a window has fewer than 2^32 cells"),
            units: u32::try_from(units).expect("a code has fewer than 2^32 units"),
            encoder: encoder.into(),
            decoder: decoder.map(Aligned::from),
            code_bias,
            output_bias,
            decoder_norms: vec![0.0; units],
            mean_activation: vec![0.5; units],
            moments: None,
            steps: 0,
        }
    }

    /// Passes over the warm-up windows in random order, as many steps as `passes` times the windows.
    fn train(&mut self, windows: &[&[f32]], channels: usize, settings: &Settings, rng: &mut Pcg32) {
        let n_steps = windows.len() * settings.passes as usize;
        let mut pass = Pass::default();
        for step in 0..n_steps {
            let window = windows[rng.next_u32() as usize % windows.len()];
            let rate = settings.fit_rate * (1.0 - 0.9 * step as f32 / n_steps as f32);
            self.forward(window, settings, &mut pass);
            self.learn(window, &mut pass, channels, rate, settings);
        }
    }

    /// Reconstructs `window` (length `inputs`) into `pass`. Changes nothing.
    pub fn forward(&self, window: &[f32], settings: &Settings, pass: &mut Pass) {
        pass.fit_to(self.units as usize, self.inputs as usize);
        dense::affine(&self.encoder, window, &self.code_bias, &mut pass.code);
        settings.activation.apply_to(&mut pass.code);
        pass.collect_active();
        dense::combine(self.decoder_rows(), &pass.code, &pass.active, &self.output_bias, &mut pass.residual);
        match settings.loss {
            Loss::Mse => {
                dense::subtract(&mut pass.residual, 1.0, window);
                pass.delta.copy_from_slice(&pass.residual);
            }
            Loss::Bce => {
                for ((residual, delta), x) in pass.residual.iter_mut().zip(pass.delta.iter_mut()).zip(window) {
                    let y = sigmoid(*residual);
                    let target = ((x + RANGE) / (2.0 * RANGE)).clamp(0.0, 1.0);
                    *delta = y - target;
                    *residual = (2.0 * y - 1.0) * RANGE - x;
                }
            }
        }
    }

    /// One step against the gradient of the loss (over `2 channels`) plus the penalty, with the error of `pass`.
    pub fn learn(&mut self, window: &[f32], pass: &mut Pass, channels: usize, rate: f32, settings: &Settings) {
        if self.steps.is_multiple_of(NORMS_EVERY) {
            self.renew_norms();
        }
        self.steps = self.steps.wrapping_add(1);
        let per_channel = 1.0 / channels as f32;
        dense::project(self.decoder_rows(), &pass.delta, &pass.active, &mut pass.slope);
        let n_active = pass.active.len();
        pass.slope[..n_active].iter_mut().for_each(|slope| *slope *= per_channel);
        if settings.penalty != Penalty::None || !settings.activation.is_piecewise_linear() {
            for (slope, &j) in pass.slope.iter_mut().zip(&pass.active) {
                let unit = pass.code[j as usize];
                let penalty = self.penalty_slope(j as usize, unit, settings);
                *slope = (*slope + penalty) * settings.activation.slope(unit);
            }
        }
        match settings.optimizer {
            Optimizer::NormalizedSgd => {
                let rate = rate / (1.0 + dense::dot(window, window) * per_channel);
                self.descend(window, pass, per_channel, rate, true);
            }
            Optimizer::Sgd => self.descend(window, pass, per_channel, rate, false),
            Optimizer::Adam => self.descend_adam(window, pass, per_channel, rate),
        }
    }

    fn penalty_slope(&mut self, j: usize, unit: f32, settings: &Settings) -> f32 {
        match settings.penalty {
            Penalty::None => 0.0,
            Penalty::L1 { weight } => weight * unit.signum(),
            Penalty::Kl { rho, beta } => {
                let mean = &mut self.mean_activation[j];
                *mean += 0.01 * (unit.abs() - *mean);
                let mean = mean.clamp(1e-3, 1.0 - 1e-3);
                beta * ((1.0 - rho) / (1.0 - mean) - rho / mean)
            }
        }
    }

    fn descend(&mut self, window: &[f32], pass: &mut Pass, per_channel: f32, rate: f32, bounded: bool) {
        // Gathered, worked out, scattered: the loop in the middle is wide.
        let n_active = pass.active.len();
        let (encoder_step, decoder_step) = (&mut pass.encoder_step[..n_active], &mut pass.decoder_step[..n_active]);
        for ((bound, unit), &j) in encoder_step.iter_mut().zip(decoder_step.iter_mut()).zip(&pass.active) {
            *bound = if bounded { 1.0 + self.decoder_norms[j as usize] } else { 1.0 };
            *unit = pass.code[j as usize];
        }
        for ((encoder, decoder), slope) in encoder_step.iter_mut().zip(decoder_step.iter_mut()).zip(&pass.slope) {
            *encoder = cut(rate / *encoder * slope);
            *decoder = cut(rate * *decoder * per_channel);
        }
        for (step, &j) in encoder_step.iter().zip(&pass.active) {
            self.code_bias[j as usize] -= step;
        }
        match &mut self.decoder {
            None => dense::retreat(
                &mut self.encoder,
                &pass.active,
                &pass.encoder_step,
                window,
                &pass.decoder_step,
                &pass.delta,
            ),
            Some(decoder) => {
                let inputs = self.inputs as usize;
                for (k, &j) in pass.active.iter().enumerate() {
                    let row = j as usize * inputs..(j as usize + 1) * inputs;
                    dense::subtract(&mut self.encoder[row.clone()], pass.encoder_step[k], window);
                    dense::subtract(&mut decoder[row], pass.decoder_step[k], &pass.delta);
                }
            }
        }
        dense::subtract(&mut self.output_bias, rate * per_channel, &pass.delta);
    }

    fn descend_adam(&mut self, window: &[f32], pass: &mut Pass, per_channel: f32, rate: f32) {
        let inputs = self.inputs as usize;
        let Some(moments) = &mut self.moments else { return };
        let rate = moments.begin(rate);
        pass.encoder_step.fill(0.0);
        for (k, &j) in pass.active.iter().enumerate() {
            pass.encoder_step[j as usize] = pass.slope[k];
        }
        for j in 0..self.units as usize {
            let (g, h) = (pass.encoder_step[j], pass.code[j] * per_channel);
            let row = j * inputs..(j + 1) * inputs;
            match &mut self.decoder {
                None => {
                    moments.encoder.step(row.start, &mut self.encoder[row], rate, |i| g * window[i] + h * pass.delta[i])
                }
                Some(decoder) => {
                    moments.encoder.step(row.start, &mut self.encoder[row.clone()], rate, |i| g * window[i]);
                    moments.decoder.step(row.start, &mut decoder[row], rate, |i| h * pass.delta[i]);
                }
            }
        }
        let code_steps = &pass.encoder_step;
        moments.code_bias.step(0, &mut self.code_bias, rate, |j| code_steps[j]);
        moments.output_bias.step(0, &mut self.output_bias, rate, |i| pass.delta[i] * per_channel);
    }

    fn decoder_rows(&self) -> &[f32] {
        self.decoder.as_deref().unwrap_or(&self.encoder)
    }

    fn renew_norms(&mut self) {
        let inputs = self.inputs as usize;
        for j in 0..self.units as usize {
            let row = &self.decoder.as_ref().unwrap_or(&self.encoder)[j * inputs..(j + 1) * inputs];
            self.decoder_norms[j] = dense::dot(row, row).min(f32::MAX);
        }
    }

    /// Cells of a window.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs as usize
    }

    /// Units of the code.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units as usize
    }

    /// The weights by name with their shapes, for an export: `encoder` and `decoder` are `units x inputs`.
    #[must_use]
    pub fn tensors(&self) -> Vec<(&'static str, Vec<usize>, &[f32])> {
        let (units, inputs) = (self.units as usize, self.inputs as usize);
        vec![
            ("encoder.weight", vec![units, inputs], &self.encoder[..]),
            ("encoder.bias", vec![units], &self.code_bias[..]),
            ("decoder.weight", vec![units, inputs], self.decoder_rows()),
            ("decoder.bias", vec![inputs], &self.output_bias[..]),
        ]
    }

    /// Is a decoded autoencoder one that `inputs` cells and `settings` could have made?
    #[must_use]
    pub fn soundness(&self, inputs: usize, settings: &Settings) -> Soundness {
        let units = self.units as usize;
        let cells = units.checked_mul(inputs);
        let shape = self.inputs as usize == inputs
            && (1..=settings.hidden.max(1)).contains(&units)
            && cells == Some(self.encoder.len())
            && self.decoder.as_ref().is_none_or(|decoder| Some(decoder.len()) == cells)
            && [self.code_bias.len(), self.decoder_norms.len(), self.mean_activation.len()] == [units; 3]
            && self.output_bias.len() == inputs
            && self.moments.is_some() == (settings.optimizer == Optimizer::Adam)
            && self
                .moments
                .as_ref()
                .is_none_or(|moments| moments.fits(self.encoder.len(), self.decoder.is_some(), units, inputs));
        let finite = all_finite(&self.encoder)
            && self.decoder.as_ref().is_none_or(|decoder| all_finite(decoder))
            && all_finite(&self.code_bias)
            && all_finite(&self.output_bias)
            && all_finite(&self.decoder_norms)
            && all_finite(&self.mean_activation);
        Soundness::of(shape && finite, "autoencoder")
    }

    /// Every weight is a finite number.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        all_finite(&self.output_bias) && all_finite(&self.code_bias)
    }
}

/// A step of one unit, cut where it would carry a weight out of the numbers; no gradient is no step.
fn cut(step: f32) -> f32 {
    if step.is_nan() { 0.0 } else { step.clamp(-LARGEST_STEP, LARGEST_STEP) }
}

#[cfg(test)]
pub(in crate::detector) mod tests;

/// Uniform in `-reach..reach`, from 24 random bits.
fn uniform(rng: &mut Pcg32, reach: f32) -> f32 {
    let unit = (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32;
    (2.0 * unit - 1.0) * reach
}
