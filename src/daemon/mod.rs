//! The daemon: threads and how they hang together.
//!
//! | task | what it does | its end |
//! | --- | --- | --- |
//! | poller (thread) | polls the consumer, nothing else | last but one, by the order to close |
//! | workers (threads) | lanes: decode, score, learn | when nobody can send them work |
//! | committer (thread) | epochs, rebalances, the producer | ends the daemon |
//! | recovery (a thread a lane) | state topic, silent replay | when its lane is live or gone |
//! | observer (thread) | entities by state, lag, the group's sharing | with the daemon |
//! | guest (thread) | joins the group so that it shares anew, and leaves | by itself; the observer waits for it |
//! | http (tokio) | metrics, health | last |
//! | signals, reload (tokio) | SIGTERM, SIGINT, SIGHUP, the config file | with the daemon |

pub mod committer;
pub mod maintenance;
mod memory;
mod observer;
mod poison;
mod pulse;
mod readiness;
mod recovery;
mod reload;
mod sharing;
mod spill;
pub mod status;
mod terms;
mod timing;
mod worker;

use crate::config::{Config, Delivery};
use crate::epoch::{End, Event, Failure};
use crate::http;
use crate::kafka::client::{CountError, GroupContext, Rebalance};
use crate::kafka::consumer::{Backlog, Consumer, Event as PollEvent, Order, Outlets, unix_millis};
use crate::kafka::failure::ErrorKind;
use crate::kafka::state_log::StateLog;
use crate::kafka::topics::{self, Found};
use crate::lane::record::PartitionId;
use crate::lane::terms::Terms;
use crate::lane::{self, Part};
use crate::metrics::Metrics;
use committer::Committer;
use memory::Shares;
use poison::Poison;
use pulse::Pulse;
use status::Status;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use worker::Work;

/// How long the last steps of a shutdown may take before the process ends without them.
const CLOSE: Duration = Duration::from_secs(5);

/// How long scoring and committing what came in may take: with the close less than the 30 s that are usual before a kill.
const STOP: Duration = Duration::from_secs(20);

/// Exit code of a bug of ours.
const BUG: i32 = 70;
/// Two fencings within this time are a rival's.
const RIVAL: Duration = Duration::from_secs(60);

/// Time that a new producer may take, and to spare.
const RENEWAL: Duration = Duration::from_secs(30);

const STALLED: &str = "a call of the kafka client did not return; it is left behind";

/// Before everything is looked at again: what made it necessary may last.
const ANEW: Duration = Duration::from_secs(1);

/// How a daemon ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As it was told.
    Clean,
    /// Another instance runs under the same name.
    Rival(String),
    /// No waiting helps.
    Fatal(String),
}

/// What a daemon is started with.
pub struct Start {
    /// The configuration.
    pub config: Config,
    /// Its file, to be looked at for changes.
    pub file: Option<PathBuf>,
    /// Ends the daemon when it becomes true.
    pub stop: watch::Receiver<bool>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// The address to listen on is taken.
pub async fn run(start: Start) -> std::io::Result<Exit> {
    let Start { config, file, mut stop } = start;
    // First of all: a SIGHUP that nobody waits for is the end of the process.
    let hangup = signal(SignalKind::hangup())?;
    let config = Arc::new(config);
    // With `latest`: a partition that is added later is new as a whole.
    let began = unix_millis(SystemTime::now());
    let metrics = Arc::new(Metrics::new());
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), &librdkafka]).set(1);
    let status = Arc::new(Status::new(Arc::clone(&metrics)));
    let (end_http, http_ends) = watch::channel(false);
    let listener = tokio::net::TcpListener::bind(config.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics, /healthz and /readyz");
    let looked_at = Arc::clone(&status);
    let served = http::Served { metrics: Arc::clone(&metrics), checks: Box::new(move || looked_at.checks()) };
    let http = tokio::spawn(http::serve(listener, Arc::new(served), http::Limits::default(), http_ends));
    let (terms, changed_terms) = watch::channel(Arc::new(config.terms()));
    tokio::spawn(reload::watch(Arc::clone(&config), file, Arc::clone(&status), hangup, terms));
    let exit = run_again(&config, began, &changed_terms, &status, &mut stop).await;
    // Last, so that the metrics tell of the steps before.
    let _ = end_http.send(true);
    let _ = tokio::time::timeout(CLOSE, http).await;
    Ok(exit)
}

/// A member that was silent for too long is fenced as if another had taken its name: it begins anew once. Twice within a
/// minute there is another.
async fn run_again(
    config: &Arc<Config>,
    began: i64,
    terms: &watch::Receiver<Arc<Terms>>,
    status: &Arc<Status>,
    stop: &mut watch::Receiver<bool>,
) -> Exit {
    let mut fenced: Option<Instant> = None;
    loop {
        match run_with(config, began, terms.clone(), status, stop).await {
            End::Stopped => return Exit::Clean,
            End::StoppedInDoubt => {
                tracing::warn!("the last epoch was not committed in time: its records are read again");
                return Exit::Clean;
            }
            End::Fatal(text) => return Exit::Fatal(text),
            End::Rival(text) if fenced.is_some_and(|at| at.elapsed() < RIVAL) => return Exit::Rival(text),
            End::Rival(text) => {
                tracing::warn!(text, "fenced; beginning anew");
                fenced = Some(Instant::now());
            }
            End::Again(why) => {
                tracing::warn!(why, "beginning anew");
                tokio::time::sleep(ANEW).await;
            }
        }
        status.begin_anew();
    }
}

async fn run_with(
    config: &Arc<Config>,
    began: i64,
    mut terms: watch::Receiver<Arc<Terms>>,
    status: &Arc<Status>,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let told = Arc::clone(status);
    let count_error: CountError = Arc::new(move |error| told.count_error(ErrorKind::of(error)));
    let found = tokio::select! {
        found = prepare(config, status, &count_error) => found,
        _ = stop.wait_for(|stop| *stop) => return End::Stopped,
    };
    let found = match found {
        Ok(found) => found,
        Err(failure) => return End::Fatal(failure.to_string()),
    };
    let (orders, orders_in) = channel();
    let (events, inbox) = channel();
    let workers = Workers::start(config, &status.metrics, events.clone());
    let tell = {
        let (events, config) = (events.clone(), Arc::clone(config));
        let is_wanted = move |lane: &PartitionId| config.input.topics.iter().any(|topic| **topic == *lane.topic);
        Box::new(move |rebalance| {
            let event = match rebalance {
                // A member that comes back within its session is given what it had before its topics changed. That is not begun, and
                // the group has to take it back.
                Rebalance::Assigned(mut lanes) => {
                    lanes.retain(&is_wanted);
                    Event::Assigned(lanes)
                }
                Rebalance::Revoked(lanes) => Event::Revoked(lanes),
                Rebalance::Lost(lanes) => Event::Lost(lanes),
            };
            // Nobody hears it once the committer has ended.
            let _ = events.send(event);
        })
    };
    let context = GroupContext::new(Arc::clone(&count_error), tell);
    let consumer = match Consumer::join(&config.kafka, &config.input.topics, context) {
        Ok(consumer) => Arc::new(consumer),
        Err(failure) => return End::Fatal(failure.to_string()),
    };
    let (jumps, jumped) = channel();
    let poller = {
        let (consumer, status, workers, events) =
            (Arc::clone(&consumer), Arc::clone(status), workers.clone(), events.clone());
        std::thread::spawn(move || {
            consumer.poll_until_closed(
                &orders_in,
                &mut Outlets {
                    batch: &mut |lane, backlog, batch| {
                        workers.send_to(backlog, lane, Work::Handle(lane.clone(), batch));
                    },
                    // Nobody hears it once committer and observer have ended.
                    event: &mut |event| match event {
                        PollEvent::Failed(failure) => drop(events.send(Event::ConsumerFailed(failure))),
                        PollEvent::WentBack(lane) => {
                            tracing::error!(%lane, "the log has begun anew below what was read of it: was the topic created anew? Its lane begins again");
                            drop(events.send(Event::Broken(vec![lane])));
                        }
                        PollEvent::Jumped(jump) => drop(jumps.send(jump)),
                    },
                    polled: &|now| status.polled(now),
                },
            );
        })
    };
    let pulse = Arc::new(Pulse::new());
    let state_log = Arc::<StateLog>::default();
    let parts = committer::Parts {
        config: Arc::clone(config),
        terms: Arc::clone(&terms.borrow_and_update()),
        began,
        found,
        count_error: Arc::clone(&count_error),
        status: Arc::clone(status),
        workers: workers.clone(),
        consumer: Arc::clone(&consumer),
        orders: orders.clone(),
        inbox,
        back: events.clone(),
        pulse: Arc::clone(&pulse),
        state_log: Arc::clone(&state_log),
        runtime: Handle::current(),
    };
    let (ended, mut end) = watch::channel(None);
    let committer = std::thread::spawn(move || drop(ended.send(Some(Committer::new(parts).run()))));
    let observed = Arc::new(AtomicBool::new(false));
    let observer = {
        let parts = observer::Parts {
            config: Arc::clone(config),
            count_error,
            consumer,
            workers,
            status: Arc::clone(status),
            state_log,
            orders: orders.clone(),
        };
        let end = Arc::clone(&observed);
        std::thread::spawn(move || observer::observe(&parts, &jumped, &end))
    };
    let reload = tokio::spawn({
        let events = events.clone();
        async move {
            while terms.changed().await.is_ok() {
                let _ = events.send(Event::Terms(Arc::clone(&terms.borrow_and_update())));
            }
        }
    });
    // An epoch may take as long as its transaction, and then a new producer is started.
    let patience = config.kafka.transaction_timeout + RENEWAL;
    let mut stalled = false;
    let stopped = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => true,
        _ = end.wait_for(Option::is_some) => false,
        () = pulse.stops(patience) => {
            stalled = true;
            false
        }
    };
    if stopped {
        tracing::info!("stopping: what came in is scored and committed");
        status.stopping();
        let _ = events.send(Event::Stop);
        // A call to a broker that is away may hold the committer up. What is not committed is read again.
        if tokio::time::timeout(STOP, end.wait_for(Option::is_some)).await.is_err() {
            let _ = orders.send(Order::Close);
            return End::StoppedInDoubt;
        }
    }
    reload.abort();
    let how = if stalled { Some(End::Again(STALLED)) } else { end.borrow().clone() };
    let _ = orders.send(Order::Close);
    observed.store(true, Ordering::SeqCst);
    close(poller).await;
    close(committer).await;
    close(observer).await;
    how.unwrap_or_else(|| End::Fatal("the committer has panicked".to_owned()))
}

/// Waits for a thread, but not for ever: a consumer that was fenced may hang when it is closed.
async fn close(thread: std::thread::JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
    match tokio::time::timeout(CLOSE, joined).await {
        Ok(Ok(true)) => {}
        Ok(_) => tracing::error!("a thread has panicked"),
        Err(_) => tracing::warn!("a client did not close in time; the process ends without it"),
    }
}

/// Waits for the broker, and for the topics we do not own.
async fn prepare(config: &Config, status: &Status, count_error: &CountError) -> Result<Found, Failure> {
    let mut wait = Duration::from_millis(200);
    loop {
        match topics::prepare(config, count_error).await {
            Ok(found) => {
                status.prepared();
                return Ok(found);
            }
            Err(Failure::Fatal(text)) => return Err(Failure::Fatal(text)),
            Err(failure) => {
                if let Failure::Missing(_) = failure {
                    status.answered();
                }
                status.trouble(&failure.to_string());
                tracing::warn!(%failure, "waiting for kafka");
                tokio::time::sleep(wait).await;
                wait = (2 * wait).min(Duration::from_secs(5));
            }
        }
    }
}

fn names(lanes: &[PartitionId]) -> String {
    lanes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn lane_settings(config: &Config, found: &Found) -> lane::Settings {
    lane::Settings {
        detector: Arc::clone(&config.detector),
        name: config.name.clone(),
        scores: config.output.scores.is_some(),
        max_entities: config.state.max_entities,
        max_alert: found.max_alert,
        max_dead_letter: found.max_dead_letter,
        max_snapshot: found.max_snapshot,
        snapshot_interval: config.state.snapshot_interval,
        snapshots_lead: config.kafka.delivery == Delivery::AtLeastOnce,
    }
}

/// The worker threads: a lane stays with one of them.
#[derive(Clone)]
pub struct Workers {
    inboxes: Vec<Sender<Work>>,
    lanes: Arc<Mutex<BTreeMap<PartitionId, (usize, Backlog)>>>,
}

impl Workers {
    fn start(config: &Config, metrics: &Arc<Metrics>, events: Sender<Event>) -> Self {
        let n = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let total = lane::Memory::of(config.state.max_entities, config.state.max_memory);
        let shared = Arc::new(worker::Shared {
            metrics: Arc::clone(metrics),
            shares: Shares::new(total),
            poison: Poison::default(),
            // Nobody hears it once the committer has ended.
            lost: Box::new(move |lane| drop(events.send(Event::Broken(vec![lane])))),
        });
        let start = |_| {
            let (sender, inbox) = channel();
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                // Not at a record, which its lane alone would have to answer for: the process ends, and the log is read again.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker::run(&inbox, &shared))).is_err() {
                    tracing::error!("a worker has panicked: this is a bug of offkey");
                    std::process::exit(BUG);
                }
            });
            sender
        };
        Self { inboxes: (0..n).map(start).collect(), lanes: Arc::default() }
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, BTreeMap<PartitionId, (usize, Backlog)>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a new lane to the worker that has the fewest.
    fn adopt(&self, lane: PartitionId, backlog: Backlog) {
        let mut lanes = self.lanes();
        let load = |worker: &usize| lanes.values().filter(|(of, _)| of == worker).count();
        let worker = match lanes.get(&lane) {
            Some((worker, _)) => *worker,
            None => (0..self.inboxes.len()).min_by_key(load).unwrap_or(0),
        };
        lanes.insert(lane, (worker, backlog));
    }

    /// Lanes that have a worker.
    fn known(&self) -> Vec<PartitionId> {
        self.lanes().keys().cloned().collect()
    }

    /// A lane is gone.
    fn release(&self, lane: &PartitionId) {
        self.lanes().remove(lane);
    }

    fn backlog(&self, lane: &PartitionId) -> Backlog {
        self.lanes().get(lane).map(|(_, backlog)| Arc::clone(backlog)).unwrap_or_default()
    }

    /// Work for a lane; nothing if it has no worker.
    fn send(&self, lane: &PartitionId, work: Work) {
        if let Some((worker, _)) = self.lanes().get(lane) {
            // A worker ends when the last of us is gone.
            let _ = self.inboxes[*worker].send(work);
        }
    }

    /// Work for the lane that this backlog is before; nothing if the lane has begun again since, with another.
    fn send_to(&self, backlog: &Backlog, lane: &PartitionId, work: Work) {
        if let Some((worker, current)) = self.lanes().get(lane)
            && Arc::ptr_eq(current, backlog)
        {
            // A worker ends when the last of us is gone.
            let _ = self.inboxes[*worker].send(work);
        }
    }

    /// The parts of these lanes, cut at the same time.
    fn cut(&self, lanes: &[PartitionId], now: Duration, all: bool, terms: &Arc<Terms>) -> Vec<Part> {
        committer::gather(lanes, |lane, parts| {
            self.send(lane, Work::Cut { lane: lane.clone(), now, all, terms: Arc::clone(terms), parts });
        })
    }
}
