//! `[warmup]`, `[window]` and `[model]`, checked and made into the detector's settings.

use super::error::Problems;
use super::raw::{Raw, RawActivation, RawInit, RawKind, RawLoss, RawModel, RawOptimizer, RawSparsity};
use super::whole;
use crate::detector::autoencoder::activation::Activation;
use crate::detector::autoencoder::optimizer::Optimizer;
use crate::detector::autoencoder::{Loss, Penalty, Settings as Model, Start};
use crate::detector::warmup::Length;
use crate::detector::{Settings, autoencoder};

/// Shrinkage of every unit if no weight is given.
const THETA: f32 = 0.3;
/// Weight of the L1 penalty beside another activation if none is given.
const L1_WEIGHT: f32 = 0.01;
/// Weight of the KL penalty if none is given.
const KL_WEIGHT: f32 = 0.1;

pub(super) fn settings(raw: &Raw, problems: &mut Problems) -> Option<Settings> {
    let before = problems.0.len();
    whole::require(problems, "window.rows", raw.window.rows);
    whole::require(problems, "warmup.rows", raw.warmup.rows);
    whole::require(problems, "model.hidden", raw.model.hidden);
    whole::require(problems, "model.passes", raw.model.passes);
    let model = model(&raw.model, problems);
    (problems.0.len() == before).then(|| Settings {
        model,
        warmup: match raw.warmup.duration {
            Some(duration) => Length::Micros(duration.micros()),
            None => Length::Rows(u64::from(raw.warmup.rows)),
        },
        window_rows: raw.window.rows as usize,
        seed: raw.model.seed,
        ..Settings::default()
    })
}

fn model(raw: &RawModel, problems: &mut Problems) -> Model {
    let rate = raw.learning_rate;
    problems.require(rate > 0.0 && rate <= 1.0, "model.learning_rate", format!("{rate} is not above 0 and at most 1"));
    let explained = raw.explained;
    problems.require(
        explained > 0.0 && explained <= 1.0,
        "model.explained",
        format!("{explained} is not above 0 and at most 1"),
    );
    let target = raw.sparsity_target;
    problems.require(target > 0.0 && target < 1.0, "model.sparsity_target", format!("{target} is not between 0 and 1"));
    let weight = raw.sparsity_weight;
    if let Some(weight) = weight {
        problems.require(
            (0.0..=1e3).contains(&weight),
            "model.sparsity_weight",
            format!("{weight} is not within 0 and 1000"),
        );
    }
    if raw.init == RawInit::Random && raw.passes == 0 {
        problems.add("model.passes", "is 0, and a random start has to be trained", "10 is a good start");
    }
    let (activation, penalty) = code(raw, problems);
    Model {
        hidden: raw.hidden as usize,
        explained,
        activation,
        penalty,
        loss: match raw.loss {
            RawLoss::Mse => Loss::Mse,
            RawLoss::Bce => Loss::Bce,
        },
        tied: raw.tied,
        start: match raw.init {
            RawInit::Principal => Start::Principal,
            RawInit::Random => Start::Random,
        },
        passes: raw.passes,
        optimizer: match raw.optimizer {
            RawOptimizer::NormalisedSgd => Optimizer::NormalizedSgd,
            RawOptimizer::Sgd => Optimizer::Sgd,
            RawOptimizer::Adam => Optimizer::Adam,
        },
        learning_rate: rate,
        ..autoencoder::Settings::default()
    }
}

/// The code's activation and what is held against it. Shrinkage is the penalty of its own.
fn code(raw: &RawModel, problems: &mut Problems) -> (Activation, Penalty) {
    let usual = match (raw.kind, raw.sparsity) {
        (RawKind::Simple, _) => RawActivation::Linear,
        (RawKind::Sparse, RawSparsity::L1) => RawActivation::Shrinkage,
        (RawKind::Sparse, RawSparsity::Kl) => RawActivation::Sigmoid,
    };
    let written = raw.activation.unwrap_or(usual);
    let theta = raw.sparsity_weight.unwrap_or(THETA);
    let activation = match written {
        RawActivation::Shrinkage => Activation::Shrinkage { theta },
        RawActivation::Tanh => Activation::Tanh,
        RawActivation::Relu => Activation::Relu,
        RawActivation::Sigmoid => Activation::Sigmoid,
        RawActivation::Linear => Activation::Linear,
    };
    let shrinks = written == RawActivation::Shrinkage;
    let penalty = match (raw.kind, raw.sparsity) {
        (RawKind::Simple, _) => Penalty::None,
        (RawKind::Sparse, RawSparsity::L1) if shrinks => Penalty::None,
        (RawKind::Sparse, RawSparsity::L1) => Penalty::L1 { weight: raw.sparsity_weight.unwrap_or(L1_WEIGHT) },
        (RawKind::Sparse, RawSparsity::Kl) => {
            Penalty::Kl { rho: raw.sparsity_target, beta: raw.sparsity_weight.unwrap_or(KL_WEIGHT) }
        }
    };
    if raw.kind == RawKind::Simple && shrinks {
        problems.add(
            "model.activation",
            "\"shrinkage\" is a penalty, and kind \"simple\" has none",
            "take \"linear\" or \"tanh\", or kind \"sparse\"",
        );
    }
    if raw.kind == RawKind::Simple {
        let hint = "take it out, or take kind \"sparse\"";
        if raw.sparsity != RawSparsity::L1 {
            problems.add("model.sparsity", "has no meaning for kind \"simple\"", hint);
        }
        if raw.sparsity_weight.is_some() {
            problems.add("model.sparsity_weight", "has no meaning for kind \"simple\"", hint);
        }
    }
    if raw.kind == RawKind::Sparse && raw.sparsity == RawSparsity::Kl && written != RawActivation::Sigmoid {
        problems.add(
            "model.activation",
            "does not go with sparsity \"kl\", which wants activations in 0..1",
            "take \"sigmoid\", or sparsity \"l1\"",
        );
    }
    (activation, penalty)
}
