//! From a score to a score ratio.

/// Settings of the threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {}
