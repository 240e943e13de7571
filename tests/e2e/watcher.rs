//! A reader of committed records that looks on while the faults happen: at each moment what it has seen is a beginning of the
//! truth, nothing twice and nothing left out.

use crate::checker::{Place, Record, source_of, wait_until_nothing_is_pending};
use crate::daemon::Setup;
use crate::topic::{self, Read};
use crate::wait_for;
use rdkafka::Message as _;
use rdkafka::consumer::BaseConsumer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const OUTPUTS: [&str; 3] = ["alerts", "scores", "dead"];

pub struct Watcher {
    enough: Arc<AtomicBool>,
    complaint: Arc<Mutex<Option<String>>>,
    n_seen: Arc<AtomicU64>,
    thread: JoinHandle<BTreeMap<String, Vec<Read>>>,
}

impl Watcher {
    /// Looks on from now on. The topics have to be there: see [`Setup::create_outputs`].
    pub fn start(setup: &Setup) -> Self {
        let topics = OUTPUTS.map(|which| setup.topic(which));
        let outputs = topic::read_from_the_beginning(&setup.bootstrap, &topics.each_ref().map(String::as_str));
        let mut judge = Judge {
            input: topic::read_from_the_beginning(&setup.bootstrap, &[&setup.input]),
            expected: BTreeMap::new(),
            alerts: BTreeMap::new(),
            scores: setup.topic("scores"),
            letters: setup.topic("dead"),
        };
        let (enough, complaint, n_seen) =
            (Arc::<AtomicBool>::default(), Arc::<Mutex<Option<String>>>::default(), Arc::<AtomicU64>::default());
        let thread = std::thread::spawn({
            let (enough, complaint, n_seen) = (Arc::clone(&enough), Arc::clone(&complaint), Arc::clone(&n_seen));
            move || {
                let mut seen: BTreeMap<String, Vec<Read>> = BTreeMap::new();
                while !enough.load(Ordering::SeqCst) {
                    // A broker that is away, and ends of partitions: it goes on.
                    let Some(Ok(message)) = outputs.poll(Duration::from_millis(100)) else { continue };
                    let read = Read::of(&message);
                    if let Err(text) = judge.look_at(message.topic(), &read) {
                        complaint.lock().unwrap().get_or_insert(text);
                    }
                    seen.entry(message.topic().to_owned()).or_default().push(read);
                    n_seen.fetch_add(1, Ordering::SeqCst);
                }
                seen
            }
        });
        Self { enough, complaint, n_seen, thread }
    }

    /// Nothing was wrong so far.
    pub fn assert_content(&self) {
        let complaint = self.complaint.lock().unwrap().clone();
        assert_eq!(complaint, None, "the reader that looked on");
    }

    /// In the end it has seen, record by record and in the same order, what a reader sees that begins only now.
    pub fn finish(self, setup: &Setup) {
        self.assert_content();
        wait_until_nothing_is_pending(setup);
        let truth: Vec<(String, Vec<Read>)> = OUTPUTS
            .iter()
            .map(|which| setup.topic(which))
            .map(|topic| (topic.clone(), topic::read_all(&setup.bootstrap, &topic)))
            .collect();
        let n: u64 = truth.iter().map(|(_, reads)| reads.len() as u64).sum();
        println!("the reader that looks on has seen {} of {n} records", self.n_seen.load(Ordering::SeqCst));
        wait_for("the reader that looks on to come to the end", 300, || {
            self.assert_content();
            (self.n_seen.load(Ordering::SeqCst) >= n).then_some(())
        });
        self.enough.store(true, Ordering::SeqCst);
        let mut seen = self.thread.join().unwrap();
        for (topic, mut truth) in truth {
            let mut seen = seen.remove(&topic).unwrap_or_default();
            let place = |read: &Read| (read.partition, read.offset);
            seen.sort_by_key(place);
            truth.sort_by_key(place);
            assert!(
                seen == truth,
                "seen otherwise: {} records of {topic} while it ran, {} in the end",
                seen.len(),
                truth.len()
            );
        }
    }
}

/// What is to come next, by what the input holds.
struct Judge {
    input: BaseConsumer,
    /// Rows of an entity in a partition, and under no name the records that are none, in their order.
    expected: BTreeMap<(Option<String>, i32), VecDeque<Place>>,
    /// Life of each alert: its transitions so far.
    alerts: BTreeMap<String, BTreeSet<String>>,
    scores: String,
    letters: String,
}

impl Judge {
    fn look_at(&mut self, topic: &str, read: &Read) -> Result<(), String> {
        if topic == self.scores || topic == self.letters {
            let entity = (topic == self.scores)
                .then(|| String::from_utf8_lossy(read.key.as_deref().unwrap_or_default()).into_owned());
            return self.is_next(entity, source_of(read));
        }
        self.goes_on(&serde_json::from_slice(read.value.as_deref().unwrap_or_default()).unwrap())
    }

    fn is_next(&mut self, entity: Option<String>, place: Place) -> Result<(), String> {
        // It was in the input before anybody could tell of it.
        let of = (entity, place.0);
        while self.expected.get(&of).is_none_or(VecDeque::is_empty) {
            match self.input.poll(Duration::from_secs(5)) {
                Some(Ok(message)) => {
                    let record = Record::of(&Read::of(&message));
                    let its = (record.row.is_some().then_some(record.entity), record.place.0);
                    self.expected.entry(its).or_default().push_back(record.place);
                }
                Some(Err(_)) => {}
                None => {
                    return Err(format!("told twice: {of:?} at {place:?}, and all of its records were told before"));
                }
            }
        }
        let expected = self.expected.get_mut(&of).unwrap();
        match expected[0].cmp(&place) {
            std::cmp::Ordering::Equal => drop(expected.pop_front()),
            std::cmp::Ordering::Greater => {
                return Err(format!("told twice: {of:?} at {place:?}, after what came behind it"));
            }
            std::cmp::Ordering::Less => {
                return Err(format!("a gap: {of:?} at {place:?}, and {:?} was not told", expected[0]));
            }
        }
        Ok(())
    }

    fn goes_on(&mut self, alert: &Value) -> Result<(), String> {
        let text = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
        let (id, event, transition) = (text("alert_id"), text("event_id"), text("transition"));
        let life = self.alerts.entry(id.clone()).or_default();
        let (is_new, is_closed) = (life.is_empty(), life.contains("closed"));
        let is_in_order = !is_closed && (transition == "opened") == is_new;
        if !life.insert(event) {
            return Err(format!("told twice: alert {id} is {transition} once more"));
        }
        if transition == "closed" {
            life.insert(transition.clone());
        }
        if is_in_order { Ok(()) } else { Err(format!("out of order: alert {id} is {transition}")) }
    }
}
