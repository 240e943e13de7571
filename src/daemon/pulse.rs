//! The committer's pulse. Every call of the client library has a time limit of ours, and librdkafka was seen to keep none: a request
//! to a coordinator that is away is not always given up (2.12.1). Then the thread is, and everything begins anew without it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Shared by the committer and whoever waits for it.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    /// Milliseconds after the start.
    last: AtomicU64,
    given_up: AtomicBool,
}

impl Pulse {
    /// It beats now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0), given_up: AtomicBool::new(false) }
    }

    /// The thread is between two calls.
    pub fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// The thread must touch nothing any more: another does its work.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Ends when there was no beat for longer than `patience`; from then on the thread is given up.
    pub async fn stops(&self, patience: Duration) {
        loop {
            tokio::time::sleep(LOOK).await;
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            if self.started.elapsed().saturating_sub(last) > patience {
                return self.given_up.store(true, Ordering::SeqCst);
            }
        }
    }
}
