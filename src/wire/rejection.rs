//! Why a record was refused. The word is the dead letter's header, the metric's label and the log's field.

/// A reason to refuse a record. The set is closed: metrics have one counter for each, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// Not JSON, or nested deeper than 128 levels, or a literal such as NaN.
    MalformedJson,
    /// The payload is not UTF-8.
    InvalidUtf8,
    /// Longer than `input.max_record_size`.
    TooLarge,
    /// Neither the key nor the configured fields name an entity.
    MissingEntity,
    /// The entity is empty, too long, not UTF-8, or neither text nor a whole number.
    InvalidEntity,
    /// No timestamp field, or a record without a timestamp of its own.
    MissingTimestamp,
    /// A timestamp that cannot be read, before 1970 or after 2200.
    InvalidTimestamp,
    /// Later than the record's own timestamp by more than `input.max_future`.
    TimestampInFuture,
    /// No measurement of a selected channel.
    MissingValues,
    /// A value of a selected channel that is neither a number nor null.
    NotANumber,
    /// A number that a 32-bit float cannot hold.
    NumberOutOfRange,
    /// A channel without a name, or with one of more than 256 bytes.
    InvalidChannel,
    /// More channels than an entity, or names than a partition, may have.
    TooManyChannels,
    /// Older than `input.max_lateness` allows.
    Late,
    /// The record made the detector panic twice; it is skipped.
    Panic,
}

impl Rejection {
    /// Every reason, so that each counter exists before its first record.
    pub const ALL: [Self; 15] = [
        Self::MalformedJson,
        Self::InvalidUtf8,
        Self::TooLarge,
        Self::MissingEntity,
        Self::InvalidEntity,
        Self::MissingTimestamp,
        Self::InvalidTimestamp,
        Self::TimestampInFuture,
        Self::MissingValues,
        Self::NotANumber,
        Self::NumberOutOfRange,
        Self::InvalidChannel,
        Self::TooManyChannels,
        Self::Late,
        Self::Panic,
    ];

    /// The word for it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooLarge => "too_large",
            Self::MissingEntity => "missing_entity",
            Self::InvalidEntity => "invalid_entity",
            Self::MissingTimestamp => "missing_timestamp",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::TimestampInFuture => "timestamp_in_future",
            Self::MissingValues => "missing_values",
            Self::NotANumber => "not_a_number",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::InvalidChannel => "invalid_channel",
            Self::TooManyChannels => "too_many_channels",
            Self::Late => "late",
            Self::Panic => "panic",
        }
    }

    /// With what a person wants to know about this one record.
    #[must_use]
    pub fn because(self, error: impl Into<String>) -> Rejected {
        Rejected { rejection: self, error: error.into() }
    }
}

/// A refused record: the reason, and one line for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which of the closed set.
    pub rejection: Rejection,
    /// What is wrong with this record, lower case, no full stop. Never longer than [`Rejected::MAX_ERROR`] bytes once written.
    pub error: String,
}

impl Rejected {
    /// Bytes of the error text that a dead letter carries at most.
    pub const MAX_ERROR: usize = 512;
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rejection.reason(), self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_is_listed_once_and_has_its_own_word() {
        let listed: BTreeSet<_> = Rejection::ALL.into_iter().collect();
        assert_eq!(listed.len(), Rejection::ALL.len());
        let words: BTreeSet<_> = Rejection::ALL.into_iter().map(Rejection::reason).collect();
        assert_eq!(words.len(), Rejection::ALL.len());
        // The last variant has the highest discriminant: an unlisted one would leave a gap.
        assert_eq!(Rejection::Panic as usize + 1, Rejection::ALL.len());
    }
}
