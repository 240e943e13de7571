//! What a failed call means for the protocol. Which error of a client is which, its own module says.

use std::fmt;

/// What to do about a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may pass: wait and try again.
    Retriable(String),
    /// A topic is not there, and it is not for us to create it: wait until somebody does.
    Missing(String),
    /// Whether it was done is not known: a new producer, a look at what was committed, then again or forget.
    Unknown(String),
    /// A topic will never take one of its records: its limits have changed since they were looked at.
    Refused(String),
    /// Another instance runs under our name.
    Fenced(String),
    /// No waiting helps.
    Fatal(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retriable(text)
            | Self::Missing(text)
            | Self::Unknown(text)
            | Self::Refused(text)
            | Self::Fenced(text)
            | Self::Fatal(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}
