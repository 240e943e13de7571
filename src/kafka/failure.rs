//! What an error of librdkafka means for us: the only place that knows its codes.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use crate::epoch::Failure;

impl Failure {
    /// Of a call that changes nothing: it may be tried again.
    #[must_use]
    pub fn of_query(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
            ) => Self::Fatal(error.to_string()),
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

    /// Of a record that was not taken.
    #[must_use]
    pub fn of_delivery(error: &KafkaError) -> Self {
        let text = error.to_string();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge) => Self::Refused(text),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Self::Fatal(text),
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
