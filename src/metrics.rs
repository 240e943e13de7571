//! Every metric, once: registered at the start, each counter at 0 for each label of its closed set. Prefix `offkey_`, base units,
//! no entity label.

use crate::lane::record::PartitionId;
use crate::lane::tally::{SUPPRESSED, Tally};
use crate::wire::rejection::Rejection;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Severities as labels, in the tally's order.
pub const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];
/// Entity states as labels.
pub const STATES: [&str; 6] = ["probation", "warming", "ready", "open", "recovering", "adapting"];
/// Kinds of client errors as labels.
pub const KAFKA_ERRORS: [&str; 6] = ["transport", "timeout", "auth", "fenced", "topic", "other"];
const REBALANCES: [&str; 4] = ["assigned", "revoked", "lost", "forced"];
const COMMITS: [&str; 4] = ["ok", "retriable", "unknown", "fenced"];
const RECOVERIES: [&str; 7] =
    ["restored", "corrupt", "foreign_version", "other_shape", "torn", "truncated_log", "rebuilt"];
/// Bounds for what takes microseconds with few channels, and milliseconds with hundreds.
const STEP_SECONDS: [f64; 11] = [2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 1e-4, 1e-3, 1e-2, 1.0];
const RELOADS: [&str; 2] = ["ok", "refused"];

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $make:expr;)*) => {
        /// All metrics and their registry.
        pub struct Metrics {
            registry: Registry,
            $($(#[$doc])* pub $name: $kind,)*
        }

        impl Metrics {
            /// Registers everything.
            #[must_use]
            pub fn new() -> Self {
                let registry = Registry::new();
                $(let $name: $kind = $make; register(&registry, &$name);)*
                Self { registry, $($name,)* }
            }
        }
    };
}

metrics! {
    /// Records handled.
    records_consumed: IntCounter = counter("offkey_records_consumed_total", "Input records handled");
    /// Records refused by reason: as many dead letters were written.
    records_rejected: IntCounterVec = counters("offkey_records_rejected_total", "Input records refused, each a dead letter", "reason", &Rejection::ALL.map(Rejection::reason));
    /// Rows judged.
    rows: IntCounter = counter("offkey_rows_total", "Rows judged");
    /// Records that came too late for the order of their rows.
    rows_late: IntCounter = counter("offkey_rows_late_total", "Records further behind their entity's newest one than input.max_lateness");
    /// Steps of a grid in which nothing came.
    rows_filled: IntCounter = counter("offkey_rows_filled_total", "Rows that fill a step of input.interval in which nothing came");
    /// Rows that could not wait.
    rows_early: IntCounter = counter("offkey_rows_early_total", "Rows judged before input.max_lateness was over, because too many waited");
    /// Rows with a score.
    windows_scored: IntCounter = counter("offkey_windows_scored_total", "Windows with a score");
    /// Measurements of channels that a fitted model does not know.
    unknown_channels: IntCounter = counter("offkey_unknown_channels_total", "Measurements of channels that came after the warm-up");
    /// Score ratio.
    score_ratio: Histogram = histogram("offkey_score_ratio", "Judged figure over threshold", &[0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0]);
    /// Window error.
    reconstruction_error: Histogram = histogram("offkey_reconstruction_error", "Mean scaled residual of a window", &[0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0]);
    /// Mean squared error per cell of the last epoch's rows.
    model_loss: Gauge = gauge("offkey_model_loss", "Mean squared reconstruction error per cell, last epoch");
    /// Mean active units of the last epoch's rows.
    active_units: Gauge = gauge("offkey_active_units", "Mean active units of the code, last epoch");
    /// Seconds a row takes from decoding to the decision, learning included.
    handling_seconds: Histogram = histogram("offkey_handling_seconds", "Seconds per record, decoded, scored and learned (mean of a batch)", &[1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2]);
    /// Seconds of judging a row.
    scoring_seconds: Histogram = histogram("offkey_scoring_seconds", "Seconds per row until it is judged and decided upon (a sample of the rows)", &STEP_SECONDS);
    /// Seconds of learning from a row.
    training_seconds: Histogram = histogram("offkey_training_seconds", "Seconds per row of learning from it, a fit at the end of a warm-up included (a sample of the rows)", &STEP_SECONDS);
    /// Entities in memory by state.
    entities: IntGaugeVec = gauges("offkey_entities", "Entities in memory", "state", &STATES);
    /// Alerts opened.
    alerts_opened: IntCounterVec = counters("offkey_alerts_opened_total", "Alerts opened", "severity", &SEVERITIES);
    /// Alerts closed.
    alerts_closed: IntCounterVec = counters("offkey_alerts_closed_total", "Alerts closed", "severity", &SEVERITIES);
    /// Open alerts.
    alerts_open: IntGaugeVec = gauges("offkey_alerts_open", "Alerts open now", "severity", &SEVERITIES);
    /// Transitions held back.
    alerts_suppressed: IntCounterVec = counters("offkey_alerts_suppressed_total", "Alert transitions held back", "reason", &SUPPRESSED.map(|(_, label)| label));
    /// From the record's timestamp to the commit of its alert.
    alert_latency: Histogram = histogram("offkey_alert_latency_seconds", "From the record's timestamp to the commit of its alert", &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0]);
    /// Records not yet committed.
    lag_records: IntGaugeVec = vec_of_gauges("offkey_lag_records", "Records of the partition that are not committed", &["topic", "partition"]);
    /// Age of the newest committed record.
    lag_seconds: GaugeVec = vec_of_float_gauges("offkey_lag_seconds", "Age of the newest committed record while there are more", &["topic", "partition"]);
    /// Epochs by outcome.
    commits: IntCounterVec = counters("offkey_commits_total", "Epochs by outcome of their commit", "outcome", &COMMITS);
    /// Seconds of a commit.
    commit_seconds: Histogram = histogram("offkey_commit_seconds", "Seconds from the cut of an epoch to its commit", &[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0]);
    /// Producers that were replaced.
    producer_renewals: IntCounter = counter("offkey_producer_renewals_total", "Producers replaced after anything but a prompt commit");
    /// Rebalances.
    rebalances: IntCounterVec = counters("offkey_rebalances_total", "Rebalance events", "kind", &REBALANCES);
    /// Client errors.
    kafka_errors: IntCounterVec = counters("offkey_kafka_errors_total", "Errors reported by the Kafka clients", "kind", &KAFKA_ERRORS);
    /// Time of the last poll.
    last_poll: Gauge = gauge("offkey_last_poll_timestamp_seconds", "Unix time of the last poll of the consumer");
    /// Snapshots.
    snapshots: IntCounter = counter("offkey_snapshots_total", "Snapshots written");
    /// Their bytes.
    snapshot_bytes: IntCounter = counter("offkey_snapshot_bytes_total", "Bytes of the snapshots written");
    /// Snapshots that the state topic does not take.
    snapshots_oversized: IntCounter = counter("offkey_snapshots_oversized_total", "Snapshots larger than the state topic takes, not written and tried again");
    /// State records by outcome.
    recoveries: IntCounterVec = counters("offkey_recoveries_total", "State records read back, by outcome", "outcome", &RECOVERIES);
    /// Rows replayed.
    recovered_rows: IntCounter = counter("offkey_recovered_rows_total", "Records read again silently");
    /// Lanes assigned.
    lanes: IntGaugeVec = gauges("offkey_lanes", "Lanes of this instance", "state", &["live", "recovering"]);
    /// Seconds of a recovery.
    recovery_seconds: Histogram = histogram("offkey_recovery_seconds", "Seconds of a lane's recovery", &[0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0]);
    /// Panics at a record.
    lane_panics: IntCounter = counter("offkey_lane_panics_total", "Panics at a record, after each of which its lane began again");
    /// Bytes of the entities in memory.
    entity_memory: IntGauge = int_gauge("offkey_entity_memory_bytes", "Bytes of the entities in memory");
    /// Entities that are not in memory.
    entities_out: IntGauge = int_gauge("offkey_entities_out_of_memory", "Entities that left memory and are not back");
    /// Entities with a detector that left memory.
    evictions: IntCounter = counter("offkey_evictions_total", "Entities with a detector that left memory with a snapshot");
    /// Entities on probation that left memory.
    probation_evictions: IntCounter = counter("offkey_probation_evictions_total", "Entities on probation that left memory with a snapshot");
    /// Entities that came back.
    returns: IntCounter = counter("offkey_returns_total", "Entities that came back to memory from their snapshot");
    /// Replays that did not give what was committed.
    replay_divergence: IntCounter = counter("offkey_replay_divergence_total", "Recoveries whose scores were not those committed before");
    /// Config reloads.
    config_reloads: IntCounterVec = counters("offkey_config_reloads_total", "Reloads of the config", "outcome", &RELOADS);
    /// Was the last reload taken?
    config_reload_ok: IntGauge = int_gauge("offkey_config_last_reload_success", "1 while the last reload was taken");
    /// Version.
    build_info: IntGaugeVec = vec_of_gauges("offkey_build_info", "Always 1", &["version", "librdkafka"]);
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Adds what the lanes counted.
    pub fn add(&self, tally: &Tally) {
        self.records_consumed.inc_by(tally.consumed);
        for (rejection, n) in Rejection::ALL.into_iter().zip(tally.rejected) {
            self.records_rejected.with_label_values(&[rejection.reason()]).inc_by(n);
        }
        self.rows.inc_by(tally.rows);
        self.rows_late.inc_by(tally.late);
        self.rows_filled.inc_by(tally.filled);
        self.rows_early.inc_by(tally.early);
        self.windows_scored.inc_by(tally.scored);
        self.unknown_channels.inc_by(tally.unknown_channels);
        let (ratio, error) = (self.score_ratio.local(), self.reconstruction_error.local());
        for (score_ratio, row_score) in &tally.samples {
            ratio.observe(f64::from(*score_ratio));
            error.observe(f64::from(*row_score));
        }
        if tally.model_rows > 0 {
            self.model_loss.set(tally.model_loss / tally.model_rows as f64);
            self.active_units.set(tally.active_units as f64 / tally.model_rows as f64);
        }
        for (severity, (opened, closed)) in SEVERITIES.into_iter().zip(tally.opened.into_iter().zip(tally.closed)) {
            self.alerts_opened.with_label_values(&[severity]).inc_by(opened);
            self.alerts_closed.with_label_values(&[severity]).inc_by(closed);
        }
        for ((_, label), n) in SUPPRESSED.into_iter().zip(tally.suppressed) {
            self.alerts_suppressed.with_label_values(&[label]).inc_by(n);
        }
        self.evictions.inc_by(tally.evictions);
        self.probation_evictions.inc_by(tally.probation_evictions);
        self.returns.inc_by(tally.returns);
        self.snapshots.inc_by(tally.snapshots);
        self.snapshot_bytes.inc_by(tally.snapshot_bytes);
        self.snapshots_oversized.inc_by(tally.oversized);
    }

    /// Sets the lag of a lane; `None` removes it.
    pub fn lag(&self, lane: &PartitionId, lag: Option<(i64, f64)>) {
        let partition = lane.partition.to_string();
        let labels = [&*lane.topic, partition.as_str()];
        match lag {
            Some((records, seconds)) => {
                self.lag_records.with_label_values(&labels).set(records);
                self.lag_seconds.with_label_values(&labels).set(seconds);
            }
            None => {
                // Not there: never set.
                let _ = self.lag_records.remove_label_values(&labels);
                let _ = self.lag_seconds.remove_label_values(&labels);
            }
        }
    }

    /// The exposition text.
    #[must_use]
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

fn register(registry: &Registry, metric: &(impl Collector + Clone + 'static)) {
    registry.register(Box::new(metric.clone())).expect("every metric has its own name");
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("a plain name")
}

fn gauge(name: &str, help: &str) -> Gauge {
    Gauge::new(name, help).expect("a plain name")
}

fn int_gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("a plain name")
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())).expect("rising buckets")
}

fn counters(name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect("a plain name");
    values.iter().for_each(|value| drop(counters.with_label_values(&[value])));
    counters
}

fn gauges(name: &str, help: &str, label: &str, values: &[&str]) -> IntGaugeVec {
    let gauges = vec_of_gauges(name, help, &[label]);
    values.iter().for_each(|value| drop(gauges.with_label_values(&[value])));
    gauges
}

fn vec_of_gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("a plain name")
}

fn vec_of_float_gauges(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    GaugeVec::new(Opts::new(name, help), labels).expect("a plain name")
}
