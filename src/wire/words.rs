//! The core's closed sets as the words strangers read: in JSON, headers and metric labels.

use crate::detector::alert::{Cause, Kind, Severity, Transition};
use crate::detector::autoencoder::Penalty;
use crate::detector::autoencoder::activation::Activation;
use crate::detector::{Settings, State, Suppressed};

/// `anomaly` or `data_quality`.
#[must_use]
pub const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Anomaly => "anomaly",
        Kind::DataQuality => "data_quality",
    }
}

/// `opened`, `updated` or `closed`.
#[must_use]
pub const fn transition(transition: Transition) -> &'static str {
    match transition {
        Transition::Opened => "opened",
        Transition::Updated => "updated",
        Transition::Closed => "closed",
    }
}

/// `info`, `warning` or `critical`.
#[must_use]
pub const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// The rule behind a transition.
#[must_use]
pub const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Threshold => "threshold",
        Cause::BreakThrough => "break_through",
        Cause::Escalation => "escalation",
        Cause::Cleared => "cleared",
        Cause::Adapting => "adapting",
        Cause::NewNormal => "new_normal",
        Cause::OutOfRange => "out_of_range",
        Cause::BackInRange => "back_in_range",
        Cause::Ended => "ended",
        Cause::Replaced => "replaced",
    }
}

/// The state of an entity's detector.
#[must_use]
pub const fn state(state: State) -> &'static str {
    match state {
        State::Warming => "warming",
        State::Ready => "ready",
        State::Open => "open",
        State::Recovering => "recovering",
        State::Adapting => "adapting",
    }
}

/// Why a transition was held back.
#[must_use]
pub const fn suppressed(why: Suppressed) -> &'static str {
    match why {
        Suppressed::Silence => "silence",
        Suppressed::Refractory => "refractory",
        Suppressed::MinimumDeviation => "minimum_deviation",
        Suppressed::KOfN => "k_of_n",
    }
}

/// `sparse` or `simple`: whether anything is held against the code's activations.
#[must_use]
pub const fn model(settings: &Settings) -> &'static str {
    match (settings.model.penalty, settings.model.activation) {
        (Penalty::L1 { .. } | Penalty::Kl { .. }, _) | (_, Activation::Shrinkage { .. }) => "sparse",
        (Penalty::None, Activation::Tanh | Activation::Relu | Activation::Sigmoid | Activation::Linear) => "simple",
    }
}
