//! [warmup], [window] and [model], checked.

use super::error::Problems;
use super::raw::{Raw, RawActivation, RawKind, RawLoss};

pub(super) fn check(raw: &Raw, problems: &mut Problems) {
    let model = &raw.model;
    within(problems, "window.rows", raw.window.rows, 1, 256);
    within(problems, "warmup.rows", raw.warmup.rows, 50, 100_000);
    within(problems, "model.hidden", model.hidden, 1, 1_024);
    if raw.warmup.rows < 4 * raw.window.rows {
        problems.add(
            "warmup.rows",
            format!("{} rows are less than four windows", raw.warmup.rows),
            format!(
                "with window.rows = {} take at least {}",
                raw.window.rows,
                4 * raw.window.rows
            ),
        );
    }
    let rate = model.learning_rate;
    problems.require(
        rate > 0.0 && rate <= 1.0,
        "model.learning_rate",
        format!("{rate} is not above 0 and up to 1"),
    );
    let weight = model.sparsity_weight;
    problems.require(
        (0.0..=1e6).contains(&weight),
        "model.sparsity_weight",
        format!("{weight} is not 0 or more"),
    );
    let target = model.sparsity_target;
    problems.require(
        target > 0.0 && target < 1.0,
        "model.sparsity_target",
        format!("{target} is not between 0 and 1"),
    );
    if model.kind == RawKind::Simple && model.activation == RawActivation::Shrinkage {
        problems.add(
            "model.activation",
            "`shrinkage` is a penalty, and kind `simple` has none",
            "take \"linear\" or \"tanh\", or kind \"sparse\"",
        );
    }
    if model.loss == RawLoss::Bce && model.tied && model.activation == RawActivation::Shrinkage {
        problems.add(
            "model.loss",
            "`bce` does not go with the activation `shrinkage`",
            "take loss \"mse\", or activation \"sigmoid\"",
        );
    }
}

fn within(problems: &mut Problems, key: &str, value: u32, low: u32, high: u32) {
    problems.require(
        (low..=high).contains(&value),
        key,
        format!("{value} is not within {low} and {high}"),
    );
}
