//! The way back of one lane, on a thread of its own: the state topic up to our barrier, then the input from the replay offset
//! to the committed one, silently; meanwhile the other lanes go on.

use super::Workers;
use super::status::Status;
use super::terms::terms_of_replay;
use super::worker::Work;
use crate::config::{self, Config};
use crate::epoch::{Committed, Event, Start};
use crate::kafka::client::CountError;
use crate::kafka::consumer::{Backlog, Batch};
use crate::kafka::failure::Failure;
use crate::kafka::restorer::Restorer;
use crate::lane::Lane;
use crate::lane::record::PartitionId;
use crate::lane::recovery::Report;
use crate::lane::terms::Terms;
use crate::wire::state_record::{Barrier, Envelope, Key};
use rdkafka::Message as _;
use std::collections::BTreeMap;
use std::ops::Range;
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
    /// The lane that is to be restored under these terms, with nothing in it.
    pub empty: Box<dyn Fn(Arc<Terms>) -> Lane + Send>,
    /// In force once it is live.
    pub terms: Arc<Terms>,
    /// Its number, and that of our barrier.
    pub recovery: u64,
    /// Bytes before the lane.
    pub backlog: Backlog,
    /// The lane was taken away meanwhile.
    pub cancelled: Arc<AtomicBool>,
}

/// Where a lane starts: at its committed offset, if that is in the log. `began`: where the group begins with `latest`.
///
/// # Errors
/// Retriable.
pub fn start_of(
    restorer: &Restorer,
    lane: &PartitionId,
    committed: Option<&Committed>,
    start: config::Start,
    began: Option<i64>,
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
        (None, config::Start::Latest) => match began {
            Some(began) => restorer.offset_at(lane, began)?,
            None => log_end,
        },
        (None, config::Start::At(at)) => restorer.offset_at(lane, at.micros() / 1000)?,
    };
    Ok(Start { lane: lane.clone(), committed: committed.cloned(), live_from, log_start, began })
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
    let Start { lane, live_from, log_start, .. } = &job.start;
    let terms = terms_of_replay(&restorer, config, &job.start, &job.terms, job.recovery, || job.is_cancelled())?;
    let work = Restoring { job, restorer: &restorer, state_topic: &config.state.topic, workers, terms };
    let Some(mut restored) = work.restore(None)? else { return Ok(()) };
    if restored.wanted < *log_start {
        tracing::error!(%lane, replay_from = restored.wanted, log_start, "the log does not reach back to the oldest change that is in no snapshot; that part of what was learned is lost");
        status.count_gap();
    }
    let report = &restored.report;
    if report.unusable() + report.torn > 0 {
        tracing::warn!(%lane, corrupt = report.corrupt, foreign_version = report.foreign_version, other_shape = report.other_shape,
            torn = report.torn, "records of the state topic are of no use");
    }
    if let Some(from) = report.rebuild_from(restored.read_from, *log_start, *live_from) {
        tracing::error!(%lane, from, "what was restored is not what was committed: records of the state topic are missing or of no use; what was in them is learned again from the input");
        status.count_rebuilt();
        let Some(again) = work.restore(Some(from))? else { return Ok(()) };
        restored = Restored { n_replayed: restored.n_replayed + again.n_replayed, ..again };
    }
    let Restored { report, n_replayed, .. } = restored;
    status.recovered(&report, n_replayed, started.elapsed());
    tracing::info!(%lane, entities = report.entities, records = report.restored, replayed = n_replayed, seconds = started.elapsed().as_secs_f64(), "a lane was restored");
    if report.diverged {
        tracing::error!(%lane, "the log does not hold all that was learned: the rest is learned anew");
    }
    Ok(())
}

/// What a recovery works with.
struct Restoring<'a> {
    job: &'a Job,
    restorer: &'a Restorer,
    state_topic: &'a str,
    workers: &'a Workers,
    /// For what is read again.
    terms: Arc<Terms>,
}

/// What came of it.
struct Restored {
    report: Report,
    /// The lowest offset whose effect was in no snapshot when the group committed last.
    wanted: i64,
    /// The first offset that was read again.
    read_from: i64,
    n_replayed: u64,
}

impl Restoring<'_> {
    /// Snapshots, then the input from where they end, or from `from` on. `None`: the lane was taken away meanwhile.
    fn restore(&self, from: Option<i64>) -> Result<Option<Restored>, Failure> {
        let Self { job, restorer, state_topic, workers, terms } = self;
        let Start { lane, live_from, log_start, .. } = &job.start;
        let state = PartitionId { topic: (*state_topic).into(), partition: lane.partition };
        let cancelled = || job.is_cancelled();
        workers.send(lane, Work::Add(Box::new((job.empty)(Arc::clone(terms))), Arc::clone(&job.backlog)));
        let restore = |key: &[u8], value: Option<&[u8]>| {
            job.wait_for_room();
            let value = value.map(<[u8]>::to_vec);
            job.backlog.fetch_add(value.as_ref().map_or(0, Vec::len), Ordering::Relaxed);
            workers.send(lane, Work::Restore(lane.clone(), key.to_vec(), value));
        };
        read_state(restorer, state, job.recovery, restore, cancelled)?;
        crate::failpoint::crash_at("mid_restore");
        let (answer, wanted) = channel();
        workers.send(lane, Work::ReplayFrom(lane.clone(), job.metadata(), answer));
        let Ok(wanted) = wanted.recv() else { return Ok(None) };
        let read_from = from.unwrap_or(wanted).max(*log_start);
        let handle = |batch: Batch| {
            job.wait_for_room();
            job.backlog.fetch_add(batch.size(), Ordering::Relaxed);
            workers.send(lane, Work::Handle(lane.clone(), batch));
        };
        let n_replayed = replay(restorer, lane, read_from..*live_from, handle, cancelled)?;
        let (answer, report) = channel();
        workers.send(lane, Work::Finish(lane.clone(), Arc::clone(&job.terms), answer));
        let report = report.recv().ok();
        Ok(report.map(|report| Restored { report, wanted, read_from, n_replayed }))
    }
}

/// Reads a partition of the state topic up to the barrier of this number, and gives each record before it to `take`.
///
/// # Errors
/// Retriable.
pub fn read_state(
    restorer: &Restorer,
    state: PartitionId,
    nonce: u64,
    mut take: impl FnMut(&[u8], Option<&[u8]>),
    cancelled: impl Fn() -> bool,
) -> Result<(), Failure> {
    let (first, _) = restorer.watermarks(&state)?;
    let barrier = Key::Barrier { partition: state.partition }.encode();
    restorer.read(
        &BTreeMap::from([(state, first)]),
        |_, message| {
            let key = message.key().unwrap_or_default();
            if key == barrier {
                return message.payload().is_some_and(|value| is_ours(value, nonce));
            }
            take(key, message.payload());
            false
        },
        |_, _| false,
        cancelled,
    )
}

fn is_ours(value: &[u8], nonce: u64) -> bool {
    Envelope::decode(value)
        .ok()
        .and_then(|envelope| Barrier::decode(envelope.body).ok())
        .is_some_and(|barrier| barrier.nonce == nonce)
}

/// Reads a part of the input again, and gives it to `take` in batches; how many records they were.
///
/// # Errors
/// Retriable.
pub fn replay(
    restorer: &Restorer,
    lane: &PartitionId,
    offsets: Range<i64>,
    mut take: impl FnMut(Batch),
    cancelled: impl Fn() -> bool,
) -> Result<u64, Failure> {
    if offsets.is_empty() {
        return Ok(0);
    }
    let (mut batch, mut n_replayed) = (Batch::default(), 0);
    restorer.read(
        &BTreeMap::from([(lane.clone(), offsets.start)]),
        |_, message| {
            if message.offset() < offsets.end {
                batch.push(message);
                n_replayed += 1;
                if n_replayed == 10 {
                    crate::failpoint::crash_at("mid_replay");
                }
            }
            if batch.is_full() {
                take(std::mem::take(&mut batch));
            }
            message.offset() + 1 >= offsets.end
        },
        |_, position| position >= offsets.end,
        cancelled,
    )?;
    if !batch.is_empty() {
        take(batch);
    }
    Ok(n_replayed)
}

impl Job {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn metadata(&self) -> Option<String> {
        self.start.committed.as_ref().map(|committed| committed.metadata.clone())
    }

    fn wait_for_room(&self) {
        while self.backlog.load(Ordering::Relaxed) > AHEAD && !self.is_cancelled() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
