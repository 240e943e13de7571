//! How long records take: a batch as a whole, and of some rows how long they are judged and learned from.

use crate::detector::probe::{Moment, Probe};
use crate::lane::record::Record;
use crate::lane::{Handled, Lane};
use crate::metrics::Metrics;
use prometheus::Histogram;
use std::time::{Duration, Instant};

/// One record in so many is timed step by step, for a look at the clock costs as much as a small step. A prime, so that a fleet
/// that reports in turn is sampled all over.
const SAMPLED: u64 = 61;

/// The clock of one lane.
pub struct Timing {
    handling: Histogram,
    probe: Option<Probe>,
    n_records: u64,
}

impl Timing {
    /// Observes into these metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let (scoring, training) = (metrics.scoring_seconds.clone(), metrics.training_seconds.clone());
        let mut last = Instant::now();
        let probe = Probe::new(move |moment| {
            let now = Instant::now();
            let took = now.duration_since(last).as_secs_f64();
            match moment {
                Moment::Begun => {}
                Moment::Judged => scoring.observe(took),
                Moment::Learned => training.observe(took),
            }
            last = now;
        });
        Self { handling: metrics.handling_seconds.clone(), probe: Some(probe), n_records: 0 }
    }

    /// Gives a record to its lane.
    pub fn handle(&mut self, lane: &mut Lane, record: &Record<'_>) -> Handled {
        let sampled = self.n_records.is_multiple_of(SAMPLED);
        self.n_records += 1;
        if sampled { lane.handle_timed(record, &mut self.probe) } else { lane.handle(record) }
    }

    /// A batch was handled.
    pub fn handled(&self, n_records: usize, took: Duration) {
        self.handling.observe(took.as_secs_f64() / n_records.max(1) as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::{Detector, Scratch};
    use std::sync::Arc;

    #[test]
    fn a_row_is_observed_once_in_each_histogram() {
        let metrics = Metrics::new();
        let mut scratch = Scratch::default();
        scratch.probe = Timing::new(&metrics).probe;
        let channel = crate::detector::schema::Channel { name: "a".to_owned(), unit: None, resolution: 0.0 };
        let schema = crate::detector::schema::Schema::new(vec![channel]);
        let mut detector = Detector::new(schema, Arc::default());
        let values = [[1.0], [f32::NAN], [2.0]];
        for (offset, values) in values.iter().enumerate() {
            let row = crate::detector::row::Row { at: Default::default(), offset: offset as i64, values };
            detector.step(&row, &Default::default(), &mut scratch);
        }
        // The row without a value was neither judged nor learned.
        assert_eq!(metrics.scoring_seconds.get_sample_count(), 2);
        assert_eq!(metrics.training_seconds.get_sample_count(), 2);
    }
}
