//! Why nobody answers is told to a callback alone: refused connections, wrong passwords, foreign certificates.

use super::super::failure::ErrorKind;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Arc, Mutex, PoisonError};

/// The context of a client whose errors are listened to.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Option<(ErrorKind, String)>>>);

impl Heard {
    /// The most telling error so far: that we were refused, before why one of them is not there, before that none of them is.
    pub fn worst(&self) -> Option<(ErrorKind, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        let kind = ErrorKind::of(&error);
        let mut worst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let heard = Heard::default();
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
