//! The life of an alert.

/// Settings of the decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {}
