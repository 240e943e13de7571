//! What the daemon's threads tell of themselves: metrics, and the checks behind readiness.

use super::readiness::Readiness;
use super::sharing::Amiss;
use crate::http::Check;
use crate::kafka::consumer::unix_millis;
use crate::kafka::failure::{ErrorKind, Failure};
use crate::lane::record::PartitionId;
use crate::lane::recovery::Report;
use crate::lane::tally::Tally;
use crate::lane::{Census, Part};
use crate::metrics::{Metrics, SEVERITIES, STATES};
use crate::wire::words;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Shared by all threads.
pub struct Status {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    readiness: Mutex<Readiness>,
}

impl Status {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, readiness: Mutex::default() }
    }

    fn readiness(&self) -> MutexGuard<'_, Readiness> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics are there.
    pub fn prepared(&self) {
        self.readiness().prepared();
    }

    /// Something stands in the way.
    pub fn trouble(&self, why: &str) {
        self.readiness().trouble(Instant::now(), why);
    }

    /// Nothing stands in the way any more.
    pub fn no_trouble(&self) {
        self.readiness().no_trouble();
    }

    /// Recoveries cannot begin.
    pub fn recovery_waits(&self, why: &str) {
        self.readiness().recovery_waits(Instant::now(), why);
    }

    /// They have begun.
    pub fn recovery_begun(&self) {
        self.readiness().recovery_begun();
    }

    /// We are about to leave.
    pub fn stopping(&self) {
        self.readiness().stopping();
    }

    /// Are we?
    pub fn is_stopping(&self) -> bool {
        self.readiness().is_stopping()
    }

    /// What is amiss with how the group shares its partitions, if anything.
    pub fn shared(&self, amiss: Option<&Amiss>) {
        self.readiness().shared(amiss);
    }

    /// The consumer has polled.
    pub fn polled(&self, now: SystemTime) {
        self.metrics.last_poll.set(unix_millis(now) as f64 / 1000.0);
        self.readiness().polled(Instant::now());
    }

    /// A broker has answered.
    pub fn answered(&self) {
        self.readiness().answered(Instant::now());
    }

    /// Everything is looked at again.
    pub fn begin_anew(&self) {
        self.lanes(0, 0);
        self.readiness().begin_anew();
    }

    /// So many lanes are ours, so many of them live.
    pub fn lanes(&self, assigned: usize, live: usize) {
        self.readiness().assigned(assigned, live);
        self.metrics.lanes.with_label_values(&["live"]).set(live as i64);
        self.metrics.lanes.with_label_values(&["recovering"]).set((assigned - live) as i64);
    }

    /// A Kafka client met an error.
    pub fn count_error(&self, kind: ErrorKind) {
        self.metrics.kafka_errors.with_label_values(&[kind.label()]).inc();
    }

    /// Counts a rebalance.
    pub fn count_rebalance(&self, kind: &str) {
        self.metrics.rebalances.with_label_values(&[kind]).inc();
        if kind == "assigned" {
            self.readiness().joined();
        }
    }

    /// A producer was replaced.
    pub fn count_renewal(&self) {
        self.metrics.producer_renewals.inc();
    }

    /// The log did not reach back far enough.
    pub fn count_gap(&self) {
        self.metrics.recoveries.with_label_values(&["truncated_log"]).inc();
    }

    /// Snapshots were missing: what was in them is learned again.
    pub fn count_rebuilt(&self) {
        self.metrics.recoveries.with_label_values(&["rebuilt"]).inc();
    }

    /// Adds what lanes counted.
    pub fn add(&self, tally: &Tally) {
        self.metrics.add(tally);
    }

    /// An epoch is durable: only now is what its lanes counted true, a dead letter written above all.
    pub fn committed(&self, took: Duration, now: SystemTime, parts: &[Part]) {
        self.readiness().committed(Instant::now(), parts);
        self.metrics.commits.with_label_values(&["ok"]).inc();
        self.metrics.commit_seconds.observe(took.as_secs_f64());
        for part in parts {
            self.add(&part.effects.tally);
            let Tally { oversized, largest_oversized, .. } = part.effects.tally;
            if oversized > 0 {
                tracing::error!(lane = %part.lane, snapshots = oversized, bytes = largest_oversized, replay_from = part.replay_offset,
                    "the state topic does not take snapshots of this size: what they hold is read again from the input after a crash, as far as that reaches back; raise max.message.bytes of the topic, and message.max.bytes of kafka.properties");
            }
        }
        let now = unix_millis(now);
        for written in parts.iter().flat_map(|part| &part.effects.alert_times) {
            self.metrics.alert_latency.observe((now - written).max(0) as f64 / 1000.0);
        }
    }

    /// An epoch was not, or nobody knows.
    pub fn failed(&self, failure: &Failure) {
        let outcome = match failure {
            Failure::Retriable(_) | Failure::Missing(_) => "retriable",
            Failure::Unknown(_) | Failure::Refused(_) | Failure::Fatal(_) => "unknown",
            Failure::Fenced(_) => "fenced",
        };
        self.metrics.commits.with_label_values(&[outcome]).inc();
        self.trouble(&failure.to_string());
    }

    /// A lane was restored.
    pub fn recovered(&self, report: &Report, replayed: u64, took: Duration) {
        let outcomes = [
            ("restored", report.restored),
            ("corrupt", report.corrupt),
            ("foreign_version", report.foreign_version),
            ("other_shape", report.other_shape),
            ("torn", report.torn),
        ];
        for (outcome, n) in outcomes {
            self.metrics.recoveries.with_label_values(&[outcome]).inc_by(n);
        }
        self.metrics.recovered_rows.inc_by(replayed);
        self.metrics.recovery_seconds.observe(took.as_secs_f64());
        self.metrics.replay_divergence.inc_by(u64::from(report.diverged));
    }

    /// A lane is gone: so is its lag.
    pub fn forget_lane(&self, lane: &PartitionId) {
        self.metrics.lag(lane, None);
        self.readiness().forget(lane);
    }

    /// Sets the gauges of the entities and open alerts, summed over the lanes.
    pub fn census<'a>(&self, lanes: impl Iterator<Item = &'a Census>) {
        let (mut states, mut open) = (BTreeMap::<&str, u64>::new(), [0i64; 3]);
        let (mut bytes, mut out) = (0, 0);
        for census in lanes {
            bytes += census.bytes;
            out += census.out_of_memory;
            *states.entry("probation").or_default() += census.on_probation;
            for (state, n) in &census.by_state {
                *states.entry(words::state(*state)).or_default() += n;
            }
            open.iter_mut().zip(census.open).for_each(|(sum, n)| *sum += n as i64);
        }
        self.metrics.entity_memory.set(bytes as i64);
        self.metrics.entities_out.set(out as i64);
        for state in STATES {
            self.metrics.entities.with_label_values(&[state]).set(states.get(state).copied().unwrap_or(0) as i64);
        }
        for (severity, n) in SEVERITIES.into_iter().zip(open) {
            self.metrics.alerts_open.with_label_values(&[severity]).set(n);
        }
    }

    /// A lane has handled what its census tells, and so many records are behind that; its lag is what is not committed.
    pub fn lag(&self, lane: &PartitionId, census: &Census, records: i64) {
        let lag = self.readiness().lag(Instant::now(), lane, census, records);
        let age = lag.committed_ms.map_or(0, |newest| (unix_millis(SystemTime::now()) - newest).max(0));
        let seconds = if lag.records > 0 { age as f64 / 1000.0 } else { 0.0 };
        self.metrics.lag(lane, Some((lag.records, seconds)));
    }

    /// A lane is live: everything before this offset is committed.
    pub fn live(&self, lane: &PartitionId, offset: i64) {
        self.readiness().live(lane, offset);
    }

    /// Topics of the input that are not there.
    pub fn missing(&self, inputs: Vec<String>) {
        self.readiness().missing(inputs);
    }

    /// Readiness, check by check.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.readiness().checks(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_label_from_the_start() {
        assert_eq!(ErrorKind::ALL.map(ErrorKind::label), crate::metrics::KAFKA_ERRORS);
    }
}
