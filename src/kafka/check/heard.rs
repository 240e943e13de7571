//! Why nobody answers is told to a callback alone: refused connections, wrong passwords, foreign certificates.

use super::super::failure::ErrorKind;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use std::sync::{Arc, Mutex, PoisonError};

/// The context of a client whose errors are listened to.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Option<(ErrorKind, String)>>>);

impl Heard {
    /// The most telling error so far: that we were refused before that nobody was there.
    pub fn worst(&self) -> Option<(ErrorKind, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        let kind = ErrorKind::of(&error);
        let mut worst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kind == ErrorKind::Auth || worst.as_ref().is_none_or(|(kind, _)| *kind != ErrorKind::Auth) {
            *worst = Some((kind, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Heard {}
