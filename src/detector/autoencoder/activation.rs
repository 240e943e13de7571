//! From a unit's sum to its activation, and its slope. `tanh` and `exp` come from `libm`: the same last bits everywhere.

use serde::{Deserialize, Serialize};

/// The code's nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `sign(u) * max(|u| - theta, 0)`: the proximal step of an L1 penalty. Sparse, exact zeros, does not saturate.
    Shrinkage {
        /// What every unit gives up, in units of the code.
        theta: f32,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `max(u, 0)`.
    Relu,
    /// `1 / (1 + exp(-u))`.
    Sigmoid,
    /// The sum itself.
    Linear,
}

impl Activation {
    /// Activation of one unit.
    #[must_use]
    pub fn apply(self, sum: f32) -> f32 {
        match self {
            Self::Shrinkage { theta } => shrunk(sum, theta),
            Self::Tanh => libm::tanhf(sum),
            Self::Relu => sum.max(0.0),
            Self::Sigmoid => sigmoid(sum),
            Self::Linear => sum,
        }
    }

    /// Activations of all units in place of their sums.
    pub fn apply_to(self, sums: &mut [f32]) {
        match self {
            Self::Shrinkage { theta } => sums.iter_mut().for_each(|sum| *sum = shrunk(*sum, theta)),
            Self::Tanh | Self::Relu | Self::Sigmoid | Self::Linear => {
                sums.iter_mut().for_each(|sum| *sum = self.apply(*sum));
            }
        }
    }

    /// Is its slope 1 wherever it is not 0?
    #[must_use]
    pub fn is_piecewise_linear(self) -> bool {
        match self {
            Self::Shrinkage { .. } | Self::Relu | Self::Linear => true,
            Self::Tanh | Self::Sigmoid => false,
        }
    }

    /// Slope at a unit, told from its activation alone.
    #[must_use]
    pub fn slope(self, activation: f32) -> f32 {
        match self {
            Self::Shrinkage { .. } | Self::Relu => f32::from(u8::from(activation != 0.0)),
            Self::Tanh => 1.0 - activation * activation,
            Self::Sigmoid => activation * (1.0 - activation),
            Self::Linear => 1.0,
        }
    }
}

/// Nearer to zero by `theta`. Without a branch: which units are active changes with every row.
#[inline]
fn shrunk(sum: f32, theta: f32) -> f32 {
    let rest = sum.abs() - theta;
    if rest > 0.0 { rest.copysign(sum) } else { 0.0 }
}

/// The logistic function.
#[must_use]
pub fn sigmoid(u: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-u))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_agree_with_finite_differences() {
        let all = [
            Activation::Shrinkage { theta: 0.3 },
            Activation::Tanh,
            Activation::Relu,
            Activation::Sigmoid,
            Activation::Linear,
        ];
        for activation in all {
            for u in [-2.0f32, -0.7, 0.1, 0.9, 1.7] {
                let h = 1e-3;
                let slope = (activation.apply(u + h) - activation.apply(u - h)) / (2.0 * h);
                let told = activation.slope(activation.apply(u));
                assert!((slope - told).abs() < 1e-3, "{activation:?} at {u}: {slope} against {told}");
            }
        }
    }
}
