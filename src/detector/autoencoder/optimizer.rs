//! From a gradient to a step.

use super::super::snapshot::all_finite;
use serde::{Deserialize, Serialize};

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizer {
    /// `rate / (1 + |x|^2 / channels)`: a huge anomaly takes a small step. Adam's quality at a tenth of its cost.
    NormalizedSgd,
    /// Plain gradient descent.
    Sgd,
    /// Adam (Kingma and Ba, 2015), with tiny moments flushed to zero.
    Adam,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
/// Below this a moment is zero: denormal numbers slow the loop by an order of magnitude.
const TINY: f32 = 1e-30;

/// Adam's running moments of one parameter vector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Moment {
    fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len] }
    }

    /// Moves `weights`, whose moments begin at `from`, against `gradient(i)`; grows to what it is asked for.
    pub fn step(&mut self, from: usize, weights: &mut [f32], rate: f32, gradient: impl Fn(usize) -> f32) {
        if self.first.len() < from + weights.len() {
            self.first.resize(from + weights.len(), 0.0);
            self.second.resize(from + weights.len(), 0.0);
        }
        let (first, second) = (&mut self.first[from..], &mut self.second[from..]);
        for (i, ((weight, first), second)) in weights.iter_mut().zip(first).zip(second).enumerate() {
            let g = super::cut(gradient(i));
            *first = flush(BETA1 * *first + (1.0 - BETA1) * g);
            *second = flush(BETA2 * *second + (1.0 - BETA2) * g * g);
            *weight -= rate * *first / (second.sqrt() + 1e-8);
        }
    }

    fn fits(&self, len: usize) -> bool {
        self.first.len() == self.second.len()
            && (self.first.is_empty() || self.first.len() == len)
            && all_finite(&self.first)
            && self.second.iter().all(|second| second.is_finite() && *second >= 0.0)
    }
}

/// Adam's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    pub(super) encoder: Moment,
    pub(super) decoder: Moment,
    pub(super) code_bias: Moment,
    pub(super) output_bias: Moment,
    beta1_power: f64,
    beta2_power: f64,
}

impl Moments {
    pub(super) fn new(weights: usize, untied: bool) -> Self {
        Self {
            encoder: Moment::new(weights),
            decoder: Moment::new(if untied { weights } else { 0 }),
            code_bias: Moment::default(),
            output_bias: Moment::default(),
            beta1_power: 1.0,
            beta2_power: 1.0,
        }
    }

    /// Counts a step; the rate with the bias of the young moments taken out.
    pub(super) fn begin(&mut self, rate: f32) -> f32 {
        self.beta1_power *= f64::from(BETA1);
        self.beta2_power *= f64::from(BETA2);
        (f64::from(rate) * (1.0 - self.beta2_power).sqrt() / (1.0 - self.beta1_power)) as f32
    }

    pub(super) fn fits(&self, weights: usize, untied: bool, units: usize, inputs: usize) -> bool {
        self.encoder.fits(weights)
            && self.decoder.fits(if untied { weights } else { 0 })
            && self.code_bias.fits(units)
            && self.output_bias.fits(inputs)
            && (0.0..=1.0).contains(&self.beta1_power)
            && (0.0..=1.0).contains(&self.beta2_power)
    }
}

fn flush(moment: f32) -> f32 {
    if moment.abs() < TINY { 0.0 } else { moment }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_dead_unit_become_zero_and_never_denormal() {
        let mut moment = Moment::new(1);
        let mut weight = [1.0];
        moment.step(0, &mut weight, 0.01, |_| 1.0);
        for _ in 0..200_000 {
            moment.step(0, &mut weight, 0.01, |_| 0.0);
            assert!(moment.first[0] == 0.0 || moment.first[0].is_normal());
        }
        assert_eq!((moment.first[0], moment.second[0]), (0.0, 0.0));
    }
}
