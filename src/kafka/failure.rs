//! What an error of librdkafka means for us: the only place that knows its codes.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use crate::epoch::Failure;

/// What kind of error a client met: the label of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection, or it was lost.
    Transport,
    /// No answer in time.
    Timeout,
    /// We are not who we say, or may not do it.
    Auth,
    /// Another client has our name.
    Fenced,
    /// A topic or a partition is not there.
    Topic,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Transport, Self::Timeout, Self::Auth, Self::Fenced, Self::Topic, Self::Other];

    /// By librdkafka's code.
    #[must_use]
    pub fn of(error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let Some(code) = error.rdkafka_error_code() else { return Self::Other };
        match code {
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::NetworkException
            | Code::BrokerNotAvailable => Self::Transport,
            Code::OperationTimedOut | Code::MessageTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
                Self::Timeout
            }
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SSL => Self::Auth,
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => Self::Fenced,
            code if is_missing(code) => Self::Topic,
            code if is_denial(code) => Self::Auth,
            _ => Self::Other,
        }
    }

    /// Its label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Auth => "auth",
            Self::Fenced => "fenced",
            Self::Topic => "topic",
            Self::Other => "other",
        }
    }
}

/// Is a topic or a partition not there?
pub(super) fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition
    )
}

/// Does the broker know us, and refuse it?
pub(super) fn is_denial(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    )
}

impl Failure {
    /// Of a call that changes nothing: it may be tried again.
    #[must_use]
    pub fn of_query(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(code) if is_denial(code) => Self::Fatal(error.to_string()),
            Some(_) | None => Self::Retriable(error.to_string()),
        }
    }

    /// Of a call of the transactional producer.
    #[must_use]
    pub fn of_transaction(error: &KafkaError) -> Self {
        let text = error.to_string();
        match error {
            KafkaError::Transaction(inner) if inner.is_retriable() => Self::Retriable(text),
            KafkaError::Transaction(inner) if inner.is_fatal() => match inner.code() {
                RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch => Self::Fenced(text),
                _ => Self::Unknown(text),
            },
            _ => Self::Unknown(text),
        }
    }

    /// Of a record that a topic has not taken.
    #[must_use]
    pub fn of_delivery(topic: &str, error: &KafkaError) -> Self {
        let text = format!("topic `{topic}`: {error}");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge) => Self::Refused(text),
            Some(_) | None => Self::Unknown(text),
        }
    }

    /// Of polling the consumer: most pass by themselves.
    #[must_use]
    pub fn of_poll(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::FencedInstanceId) => Self::Fenced(error.to_string()),
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::UnreleasedInstanceId) => Self::Fatal(error.to_string()),
            Some(_) | None => Self::of_query(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_kind() {
        let kind = |code| ErrorKind::of(&KafkaError::Global(code)).label();
        assert_eq!(kind(RDKafkaErrorCode::AllBrokersDown), "transport");
        assert_eq!(kind(RDKafkaErrorCode::RequestTimedOut), "timeout");
        assert_eq!(kind(RDKafkaErrorCode::Authentication), "auth");
        assert_eq!(kind(RDKafkaErrorCode::TopicAuthorizationFailed), "auth");
        assert_eq!(kind(RDKafkaErrorCode::FencedInstanceId), "fenced");
        assert_eq!(kind(RDKafkaErrorCode::UnknownTopicOrPartition), "topic");
        assert_eq!(kind(RDKafkaErrorCode::UnknownTopic), "topic");
        assert_eq!(kind(RDKafkaErrorCode::InvalidTimestamp), "other");
        assert_eq!(ErrorKind::of(&KafkaError::Canceled).label(), "other");
    }
}
