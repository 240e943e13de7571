//! Looks at the lanes every second, and at the ends of their partitions: entities by state, open alerts, lag.

use super::Workers;
use super::status::Status;
use super::worker::Work;
use crate::config::Kafka;
use crate::kafka::client::CountError;
use crate::kafka::consumer::unix_millis;
use crate::kafka::restorer::Restorer;
use crate::lane::Census;
use crate::lane::record::PartitionId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

const LOOK: Duration = Duration::from_secs(1);

/// Looks until `end` is set. Runs on a thread of its own, for asking a broker may take its time.
pub fn observe(kafka: &Kafka, count_error: &CountError, workers: &Workers, status: &Arc<Status>, end: &AtomicBool) {
    let Ok(restorer) = Restorer::new(kafka, count_error) else { return };
    let mut told = BTreeSet::new();
    while !end.load(Ordering::SeqCst) {
        let found = ask(workers);
        status.census(found.iter().map(|(_, census)| census));
        for (lane, census) in &found {
            // A broker that is away leaves the last lag: the alert on commits tells of it.
            if let Ok((_, log_end)) = restorer.watermarks(lane) {
                let records = (log_end - census.next_offset).max(0);
                let age = census.newest_ms.map_or(0, |newest| (unix_millis(SystemTime::now()) - newest).max(0));
                let seconds = if records > 0 { age as f64 / 1000.0 } else { 0.0 };
                status.lag(lane, records, seconds);
                told.insert(lane.clone());
            }
        }
        // A lane may have been given up while the broker was asked.
        let known = workers.known();
        told.retain(|lane| {
            let ours = known.contains(lane);
            if !ours {
                status.forget_lane(lane);
            }
            ours
        });
        std::thread::sleep(LOOK);
    }
}

fn ask(workers: &Workers) -> Vec<(PartitionId, Census)> {
    let (answer, answers) = channel();
    for lane in workers.known() {
        workers.send(&lane, Work::Census(lane.clone(), answer.clone()));
    }
    drop(answer);
    answers.iter().collect()
}
