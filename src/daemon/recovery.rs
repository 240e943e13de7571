//! The way back of one lane, on a thread of its own: the state topic up to our barrier, then the input from the replay offset
//! to the committed one, silently; meanwhile the other lanes go on.

use super::Workers;
use super::status::Status;
use super::worker::Work;
use crate::config::{self, Config};
use crate::epoch::{Committed, Event, Start};
use crate::kafka::client::CountError;
use crate::kafka::consumer::{Backlog, Batch};
use crate::kafka::failure::Failure;
use crate::kafka::restorer::Restorer;
use crate::lane::record::PartitionId;
use crate::wire::state_record::{Barrier, Envelope, Key};
use rdkafka::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Bytes that may wait before a lane that is restored.
const AHEAD: usize = 32 << 20;

/// One recovery.
pub struct Job {
    /// Whose, and from where to where.
    pub start: Start,
    /// Its number, and that of our barrier.
    pub recovery: u64,
    /// Bytes before the lane.
    pub backlog: Backlog,
    /// The lane was taken away meanwhile.
    pub cancelled: Arc<AtomicBool>,
}

/// Where a lane starts: at its committed offset, if that is in the log.
///
/// # Errors
/// Retriable.
pub fn start_of(
    restorer: &Restorer,
    lane: &PartitionId,
    committed: Option<&Committed>,
    start: config::Start,
) -> Result<Start, Failure> {
    let (log_start, log_end) = restorer.watermarks(lane)?;
    let live_from = match (committed, start) {
        (Some(committed), _) if committed.offset < log_start => {
            tracing::error!(%lane, committed = committed.offset, log_start, "records were deleted before they were read: they are lost");
            log_start
        }
        // We read no further than the last stable offset, and that never falls: it is another log.
        (Some(committed), _) if committed.offset > log_end => {
            tracing::error!(%lane, committed = committed.offset, log_start, log_end, "the log ends before the committed offset: was the topic created anew? It is read from its first record on");
            log_start
        }
        (Some(committed), _) => committed.offset,
        (None, config::Start::Earliest) => log_start,
        (None, config::Start::Latest) => log_end,
        (None, config::Start::At(at)) => restorer.offset_at(lane, at.micros() / 1000)?,
    };
    Ok(Start { lane: lane.clone(), committed: committed.cloned(), live_from, log_start })
}

/// Runs a recovery on a thread of its own; its end is an event.
pub fn spawn(
    job: Job,
    config: &Arc<Config>,
    count_error: &CountError,
    workers: &Workers,
    status: &Arc<Status>,
    back: Sender<Event>,
) {
    let (config, count_error, workers, status) =
        (Arc::clone(config), Arc::clone(count_error), workers.clone(), Arc::clone(status));
    std::thread::spawn(move || {
        let (lane, recovery) = (job.start.lane.clone(), job.recovery);
        let event = match recover(&job, &config, &count_error, &workers, &status) {
            Ok(()) => Event::Recovered { lane, recovery },
            Err(failure) => {
                tracing::warn!(%lane, %failure, "a recovery begins again");
                Event::RecoveryFailed { lane, recovery }
            }
        };
        // The committer has ended: so has the need.
        let _ = back.send(event);
    });
}

fn recover(
    job: &Job,
    config: &Config,
    count_error: &CountError,
    workers: &Workers,
    status: &Status,
) -> Result<(), Failure> {
    let started = Instant::now();
    let restorer = Restorer::new(&config.kafka, count_error)?;
    read_state(job, config, &restorer, workers)?;
    crate::failpoint::crash_at("mid_restore");
    let (answer, from) = channel();
    workers.send(&job.start.lane, Work::ReplayFrom(job.start.lane.clone(), job.metadata(), answer));
    let Ok(mut from) = from.recv() else { return Ok(()) };
    if from < job.start.log_start {
        tracing::error!(lane = %job.start.lane, replay_from = from, log_start = job.start.log_start, "the log does not reach back to the oldest change that is in no snapshot; that part of what was learned is lost");
        status.count_gap();
        from = job.start.log_start;
    }
    let n_replayed = replay(job, from, &restorer, workers)?;
    let (answer, report) = channel();
    workers.send(&job.start.lane, Work::Finish(job.start.lane.clone(), answer));
    let Ok(report) = report.recv() else { return Ok(()) };
    status.recovered(&report, n_replayed, started.elapsed());
    tracing::info!(lane = %job.start.lane, entities = report.restored, corrupt = report.corrupt, other_shape = report.other_shape,
        foreign_version = report.foreign_version, torn = report.torn, diverged = report.diverged, replayed = n_replayed,
        seconds = started.elapsed().as_secs_f64(), "a lane was restored");
    Ok(())
}

fn read_state(job: &Job, config: &Config, restorer: &Restorer, workers: &Workers) -> Result<(), Failure> {
    let state = PartitionId { topic: config.state.topic.as_str().into(), partition: job.start.lane.partition };
    let (first, _) = restorer.watermarks(&state)?;
    let barrier = Key::Barrier { partition: state.partition }.encode();
    let from = BTreeMap::from([(state, first)]);
    restorer.read(
        &from,
        |_, message| {
            let key = message.key().unwrap_or_default();
            if key == barrier {
                return message.payload().is_some_and(|value| is_ours(value, job.recovery));
            }
            job.wait_for_room();
            let value = message.payload().map(<[u8]>::to_vec);
            job.backlog.fetch_add(value.as_ref().map_or(0, Vec::len), Ordering::Relaxed);
            workers.send(&job.start.lane, Work::Restore(job.start.lane.clone(), key.to_vec(), value));
            false
        },
        |_, _| false,
        || job.cancelled.load(Ordering::SeqCst),
    )
}

fn is_ours(value: &[u8], nonce: u64) -> bool {
    Envelope::decode(value)
        .ok()
        .and_then(|envelope| Barrier::decode(envelope.body).ok())
        .is_some_and(|barrier| barrier.nonce == nonce)
}

fn replay(job: &Job, from: i64, restorer: &Restorer, workers: &Workers) -> Result<u64, Failure> {
    if from >= job.start.live_from {
        return Ok(0);
    }
    let (mut batch, mut n_replayed) = (Batch::default(), 0);
    let flush = |batch: &mut Batch| {
        if !batch.is_empty() {
            let full = std::mem::take(batch);
            job.backlog.fetch_add(full.size(), Ordering::Relaxed);
            workers.send(&job.start.lane, Work::Handle(job.start.lane.clone(), full));
        }
    };
    restorer.read(
        &BTreeMap::from([(job.start.lane.clone(), from)]),
        |_, message| {
            if message.offset() < job.start.live_from {
                batch.push(message);
                n_replayed += 1;
                if n_replayed == 10 {
                    crate::failpoint::crash_at("mid_replay");
                }
            }
            if batch.is_full() {
                job.wait_for_room();
                flush(&mut batch);
            }
            message.offset() + 1 >= job.start.live_from
        },
        |_, position| position >= job.start.live_from,
        || job.cancelled.load(Ordering::SeqCst),
    )?;
    flush(&mut batch);
    Ok(n_replayed)
}

impl Job {
    fn metadata(&self) -> Option<String> {
        self.start.committed.as_ref().map(|committed| committed.metadata.clone())
    }

    fn wait_for_room(&self) {
        while self.backlog.load(Ordering::Relaxed) > AHEAD && !self.cancelled.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
