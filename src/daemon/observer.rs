//! Looks at the lanes every second, and at the ends of their partitions: entities by state, open alerts, lag. And now and then at
//! the group: whether every partition is somebody's.

use super::sharing::{Amiss, Look, Verdict, Watch};
use super::status::Status;
use super::worker::Work;
use super::{Workers, names};
use crate::config::Config;
use crate::kafka::client::CountError;
use crate::kafka::consumer::{Consumer, Jump, Order};
use crate::kafka::group;
use crate::kafka::restorer::Restorer;
use crate::kafka::state_log::StateLog;
use crate::lane::Census;
use crate::lane::record::PartitionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_secs(1);

/// What the observer looks at, and whom it tells.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// Counts client errors.
    pub count_error: CountError,
    /// The group's consumer.
    pub consumer: Arc<Consumer>,
    /// The worker threads.
    pub workers: Workers,
    /// What readiness and metrics tell.
    pub status: Arc<Status>,
    /// Told of the state topic's ends.
    pub state_log: Arc<StateLog>,
    /// To the poller.
    pub orders: Sender<Order>,
}

/// Looks until `end` is set. Runs on a thread of its own, for asking a broker may take its time.
pub fn observe(parts: &Parts, jumps: &Receiver<Jump>, end: &Arc<AtomicBool>) {
    let Parts { config, count_error, consumer, workers, status, state_log, .. } = parts;
    let Ok(restorer) = Restorer::new(&config.kafka, count_error) else { return };
    let mut told = BTreeSet::new();
    let mut last_asked = None;
    let client_id = config.kafka.consumer.get("client.id").unwrap_or_default();
    let mut watch = Watch::new(client_id, &config.input.topics);
    let mut guest = Guest::default();
    while !end.load(Ordering::SeqCst) {
        let positions = consumer.positions();
        let found = ask(workers);
        status.census(found.values());
        // Partitions of a topic that is not there are nobody's: it has to be asked for by name.
        if let Ok(missing) = restorer.missing(&config.input.topics) {
            status.answered();
            status.missing(missing);
        }
        let lanes = in_turn(found.keys().cloned().collect(), last_asked.as_ref());
        if let Some(lane) = lanes.first() {
            look_at_state(&restorer, &config.state.topic, lane.partition, state_log);
        }
        for lane in lanes {
            last_asked = Some(lane.clone());
            // A broker that is away leaves the last lag. It costs one time-out a look, and the next look begins behind it.
            let Ok((_, log_end)) = restorer.watermarks(&lane) else { break };
            status.answered();
            let census = &found[&lane];
            // What ends the log may be no record but the marker of a transaction, which is passed over and never handled.
            let drained = workers.backlog(&lane).load(Ordering::Relaxed) == 0;
            let read = positions.get(&lane).filter(|_| drained).copied().unwrap_or(0).max(census.next_offset);
            let records = (log_end - read).max(0);
            status.lag(&lane, census, records);
            told.insert(lane);
        }
        judge(jumps, &restorer, status);
        look_at_group(parts, &restorer, &mut watch, &mut guest, end);
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
    guest.leave();
}

/// If partitions are nobody's, and that lasts, a guest makes the group share anew. What is ours without our asking for it we would
/// be given again, for a cooperative group leaves to everybody what he has: we leave, and come back.
fn look_at_group(parts: &Parts, restorer: &Restorer, watch: &mut Watch, guest: &mut Guest, end: &Arc<AtomicBool>) {
    let Parts { config, consumer, status, orders, .. } = parts;
    let n_rebalances = consumer.n_rebalances();
    if n_rebalances == 0 || status.is_stopping() || !watch.is_due(Instant::now(), n_rebalances) {
        return;
    }
    // A broker that is away, or does not know how to tell, says nothing of it.
    let members = restorer.members(&config.kafka.group).ok().flatten();
    let look = members.and_then(|members| {
        Some(Look { ours: restorer.partitions(&config.input.topics).ok()?, held: consumer.held()?, members })
    });
    match watch.judge(Instant::now(), n_rebalances, look) {
        Verdict::Unclear => {}
        Verdict::Whole => status.shared(None),
        Verdict::Amiss { what, is_our_turn } => {
            if is_our_turn {
                let Amiss { unread, unwanted } = &what;
                tracing::warn!(unread = %names(unread), unwanted = %names(unwanted),
                    "the group does not share its partitions as it should: some are nobody's, or of a topic that is not read any more; a rebalance is asked for");
                status.count_rebalance("forced");
                if unwanted.is_empty() {
                    guest.come(parts, end);
                } else {
                    // The poller ends after us.
                    let _ = orders.send(Order::JoinAnew);
                }
            }
            status.shared(Some(&what));
        }
    }
}

/// The member that joins so that the group shares anew; one at a time.
#[derive(Default)]
struct Guest(Option<JoinHandle<()>>);

impl Guest {
    fn come(&mut self, parts: &Parts, end: &Arc<AtomicBool>) {
        if self.0.as_ref().is_some_and(|guest| !guest.is_finished()) {
            return;
        }
        let Parts { config, count_error, .. } = parts;
        let (config, count_error, end) = (Arc::clone(config), Arc::clone(count_error), Arc::clone(end));
        self.0 = Some(std::thread::spawn(move || {
            let is_over = || end.load(Ordering::SeqCst);
            match group::share_anew(&config.kafka, &config.state.topic, &count_error, is_over) {
                Ok(true) => {}
                Ok(false) => tracing::warn!("no rebalance has come of it"),
                Err(failure) => tracing::warn!(%failure, "no rebalance could be asked for"),
            }
        }));
    }

    /// It ends early, and if it has panicked, it has said so.
    fn leave(self) {
        drop(self.0.map(JoinHandle::join));
    }
}

/// While nothing is written to the state topic, nobody else notices that it was deleted. One partition a look: it loses all of them.
fn look_at_state(restorer: &Restorer, topic: &str, partition: i32, state_log: &StateLog) {
    match restorer.lacks(topic) {
        Ok(true) => state_log.missing(),
        Ok(false) => {
            if let Ok((_, stable)) = restorer.watermarks(&PartitionId { topic: topic.into(), partition }) {
                state_log.stable(partition, stable);
            }
        }
        // A broker that is away says nothing of it.
        Err(_) => {}
    }
}

/// The lanes behind the one that was asked last, then those up to it.
fn in_turn(mut lanes: Vec<PartitionId>, last: Option<&PartitionId>) -> Vec<PartitionId> {
    let behind = last.map_or(0, |last| lanes.partition_point(|lane| lane <= last));
    lanes.rotate_left(behind);
    lanes
}

/// Tells jumps over records that were deleted before they were read from those over control records: the log begins behind the
/// offset that was expected, and not behind the one that came.
fn judge(jumps: &Receiver<Jump>, restorer: &Restorer, status: &Status) {
    let mut starts = BTreeMap::new();
    for Jump { lane, from, to } in jumps.try_iter() {
        let start =
            *starts.entry(lane.clone()).or_insert_with(|| restorer.watermarks(&lane).map_or(0, |(start, _)| start));
        if from < start && start <= to {
            tracing::error!(%lane, from, log_start = start, "records were deleted before they were read: they are lost");
            status.count_gap();
        }
    }
}

fn ask(workers: &Workers) -> BTreeMap<PartitionId, Census> {
    let (answer, answers) = channel();
    for lane in workers.known() {
        workers.send(&lane, Work::Census(lane.clone(), answer.clone()));
    }
    drop(answer);
    answers.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_whose_leader_is_away_keeps_no_other_from_its_turn() {
        let lane = |partition| PartitionId { topic: "t".into(), partition };
        let turns = |last: Option<i32>| -> Vec<i32> {
            let lanes = in_turn((0..4).map(lane).collect(), last.map(lane).as_ref());
            lanes.into_iter().map(|lane| lane.partition).collect()
        };
        assert_eq!(turns(None), [0, 1, 2, 3]);
        assert_eq!(turns(Some(1)), [2, 3, 0, 1]);
        assert_eq!(turns(Some(3)), [0, 1, 2, 3]);
    }
}
