//! Why nobody answers is told to a callback alone: refused connections, wrong passwords, foreign certificates.

use super::client::CountError;
use super::failure::{ErrorKind, Failure};
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Arc, Mutex, PoisonError};

/// The context of a client whose errors are listened to. Polling the client is what tells of them.
#[derive(Clone)]
pub struct Heard {
    worst: Arc<Mutex<Option<(ErrorKind, String)>>>,
    count_error: CountError,
}

impl Heard {
    /// Nothing heard yet; errors are counted, too.
    pub fn new(count_error: &CountError) -> Self {
        Self { worst: Arc::default(), count_error: Arc::clone(count_error) }
    }

    /// The most telling error so far: that we were refused, before why one of them is not there, before that none of them is.
    pub fn worst(&self) -> Option<(ErrorKind, String)> {
        self.worst.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why a query of the client has failed: what was heard tells more than that it timed out.
    pub fn why(&self, error: &KafkaError) -> Failure {
        match (Failure::of_query(error), self.worst()) {
            (Failure::Retriable(_), Some((_, reason))) => Failure::Retriable(reason),
            (failure, _) => failure,
        }
    }
}

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        (self.count_error)(&error);
        let kind = ErrorKind::of(&error);
        let mut worst = self.worst.lock().unwrap_or_else(PoisonError::into_inner);
        // It follows on every broker's own error, and says no more than that.
        let is_sum = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let tells_more = match worst.as_ref() {
            None => true,
            Some((ErrorKind::Auth, _)) => kind == ErrorKind::Auth,
            Some(_) => !is_sum,
        };
        if tells_more {
            *worst = Some((kind, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Heard {}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(codes: &[RDKafkaErrorCode]) -> String {
        let heard = Heard::new(&(Arc::new(|_: &KafkaError| ()) as CountError));
        codes.iter().for_each(|code| heard.error(KafkaError::Global(*code), &format!("{code:?}")));
        heard.worst().map(|(_, reason)| reason).unwrap_or_default()
    }

    #[test]
    fn the_reason_of_a_broker_tells_more_than_that_all_are_down() {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, Resolve, SSL};
        assert_eq!(worst(&[BrokerTransportFailure, AllBrokersDown]), "BrokerTransportFailure");
        assert_eq!(worst(&[AllBrokersDown, Resolve]), "Resolve");
        assert_eq!(worst(&[SSL, BrokerTransportFailure, AllBrokersDown]), "SSL");
        assert_eq!(worst(&[AllBrokersDown]), "AllBrokersDown");
    }
}
