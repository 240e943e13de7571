//! Ready means progress: what is there to be read is read and committed, or there is nothing to read and a broker says so.
//! Values in, checks out, with the time handed in.

use super::names;
use super::sharing::Amiss;
use crate::http::Check;
use crate::lane::record::PartitionId;
use crate::lane::{Census, Part};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// No poll, no answer, no commit for so long is no progress: longer than an election of a leader or a coordinator takes.
pub const STALE: Duration = Duration::from_secs(30);
/// What stands in the way of a commit for less is the daily life of a cluster.
const PASSING: Duration = Duration::from_secs(5);

/// What the checks look at.
#[derive(Debug, Default)]
pub struct Readiness {
    prepared: bool,
    joined: bool,
    /// What is amiss with how the group shares its partitions.
    amiss: Amiss,
    stopping: bool,
    assigned: usize,
    live: usize,
    polled: Option<Instant>,
    answered: Option<Instant>,
    /// What stands in the way of commits, and since when.
    trouble: Option<(Instant, String)>,
    /// What recoveries wait for.
    waits_for: Option<(Instant, String)>,
    /// Topics of the input that are not there.
    missing: Vec<String>,
    lanes: BTreeMap<PartitionId, Lane>,
    /// Since when something waits, and no committed offset has moved.
    stuck: Option<Instant>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Everything before it is committed; none until the lane is live.
    committed: Option<i64>,
    lag: Lag,
}

/// How far what is committed is behind the end of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records that are not committed, whether they were handled or not.
    pub records: i64,
    /// Timestamp of the newest one that is, milliseconds since the Unix epoch; until we have committed any, of the newest one handled.
    pub committed_ms: Option<i64>,
}

impl Readiness {
    /// Everything is to be looked at again; what stands in the way stays.
    pub fn begin_anew(&mut self) {
        *self = Self { trouble: self.trouble.take(), stopping: self.stopping, ..Self::default() };
    }

    /// The topics are there.
    pub fn prepared(&mut self) {
        self.prepared = true;
        self.trouble = None;
    }

    /// The group has answered, if only with no partition.
    pub fn joined(&mut self) {
        self.joined = true;
    }

    /// What is amiss with how the group shares its partitions, if anything.
    pub fn shared(&mut self, amiss: Option<&Amiss>) {
        self.amiss = amiss.cloned().unwrap_or_default();
    }

    /// We are about to leave.
    pub fn stopping(&mut self) {
        self.stopping = true;
    }

    /// Are we?
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// So many lanes are ours, so many of them live.
    pub fn assigned(&mut self, assigned: usize, live: usize) {
        (self.assigned, self.live) = (assigned, live);
    }

    /// The consumer has polled.
    pub fn polled(&mut self, now: Instant) {
        self.polled = Some(now);
    }

    /// A broker has answered.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Something stands in the way of commits.
    pub fn trouble(&mut self, now: Instant, why: &str) {
        let since = self.trouble.take().map_or(now, |(since, _)| since);
        self.trouble = Some((since, why.to_owned()));
    }

    /// Recoveries cannot begin.
    pub fn recovery_waits(&mut self, now: Instant, why: &str) {
        let since = self.waits_for.take().map_or(now, |(since, _)| since);
        self.waits_for = Some((since, why.to_owned()));
    }

    /// They have begun, with a transaction that was committed.
    pub fn recovery_begun(&mut self) {
        self.waits_for = None;
        self.trouble = None;
    }

    /// Nothing does any more.
    pub fn no_trouble(&mut self) {
        self.trouble = None;
    }

    /// Topics of the input that are not there now.
    pub fn missing(&mut self, inputs: Vec<String>) {
        self.missing = inputs;
    }

    /// A lane is live: everything before this offset is committed.
    pub fn live(&mut self, lane: &PartitionId, offset: i64) {
        self.lanes.entry(lane.clone()).or_default().committed = Some(offset);
    }

    /// An epoch of these parts is committed.
    pub fn committed(&mut self, now: Instant, parts: &[Part]) {
        self.trouble = None;
        self.answered = Some(now);
        for part in parts {
            let lane = self.lanes.entry(part.lane.clone()).or_default();
            let moved = lane.committed.replace(part.next_offset) != Some(part.next_offset);
            lane.lag.committed_ms = part.newest_ms;
            if moved && self.stuck.is_some() {
                self.stuck = Some(now);
            }
        }
    }

    /// A lane has handled what its census tells, and so many records are behind that.
    pub fn lag(&mut self, now: Instant, lane: &PartitionId, census: &Census, records: i64) -> Lag {
        let lane = self.lanes.entry(lane.clone()).or_default();
        let uncommitted = lane.committed.map_or(0, |committed| (census.next_offset - committed).max(0));
        lane.lag.records = records + uncommitted;
        lane.lag.committed_ms = lane.lag.committed_ms.or(census.newest_ms);
        let lag = lane.lag;
        match self.waiting() {
            0 => self.stuck = None,
            _ => drop(self.stuck.get_or_insert(now)),
        }
        lag
    }

    /// A lane is gone.
    pub fn forget(&mut self, lane: &PartitionId) {
        self.lanes.remove(lane);
        if self.waiting() == 0 {
            self.stuck = None;
        }
    }

    fn why_not_shared(&self) -> Option<String> {
        let Amiss { unread, unwanted } = &self.amiss;
        let unread = (!unread.is_empty()).then(|| format!("nobody reads {}", names(unread)));
        let unwanted = (!unwanted.is_empty()).then(|| format!("it gave us {}, which we do not read", names(unwanted)));
        let why: Vec<String> = unread.into_iter().chain(unwanted).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }

    fn waiting(&self) -> i64 {
        self.lanes.values().map(|lane| lane.lag.records).sum()
    }

    /// Each check with its reason.
    #[must_use]
    pub fn checks(&self, now: Instant) -> Vec<Check> {
        let check =
            |name, why_not: Option<String>| Check { name, ok: why_not.is_none(), reason: why_not.unwrap_or_default() };
        let silent = |since: Option<Instant>| match since.map(|at| now.saturating_duration_since(at)) {
            Some(silence) if silence < STALE => None,
            Some(silence) => Some(format!("for {} s", silence.as_secs())),
            None => Some("yet".to_owned()),
        };
        let trouble = self.trouble.as_ref().map(|(since, why)| (now.saturating_duration_since(*since), why));
        let lasting = trouble.filter(|(lasts, _)| *lasts >= PASSING);
        let why = || trouble.map_or_else(|| "not looked at yet".to_owned(), |(_, why)| why.clone());
        let stuck = self.stuck.map(|since| now.saturating_duration_since(since)).filter(|stuck| *stuck >= STALE);
        let named = || self.missing.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
        let missing = (!self.missing.is_empty()).then(|| format!("input topic {} does not exist", named()));
        let mut lanes = check("lanes", None);
        lanes.ok = self.assigned == self.live;
        lanes.reason = format!("{} of {} assigned partitions are live", self.live, self.assigned);
        if let (false, Some((since, why))) = (lanes.ok, &self.waits_for) {
            lanes.reason +=
                &format!("; the others wait for {} s: {why}", now.saturating_duration_since(*since).as_secs());
        }
        vec![
            check("running", self.stopping.then(|| "stopping".to_owned())),
            check("topics", if self.prepared { missing } else { Some(why()) }),
            check(
                "group",
                if self.joined { self.why_not_shared() } else { Some("the group has not let us in yet".to_owned()) },
            ),
            check("polling", silent(self.polled).map(|how_long| format!("the consumer has not polled {how_long}"))),
            check("brokers", silent(self.answered).map(|how_long| format!("no broker has answered {how_long}"))),
            lanes,
            check("committing", lasting.map(|(lasts, why)| format!("for {} s: {why}", lasts.as_secs()))),
            check(
                "progress",
                stuck.map(|stuck| {
                    let waiting = self.waiting();
                    format!("{waiting} records wait, and no committed offset has moved for {} s", stuck.as_secs())
                }),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::effects::Effects;

    fn lane(partition: i32) -> PartitionId {
        PartitionId { topic: "t".into(), partition }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A lane that has handled everything before this offset.
    fn handled(next_offset: i64) -> Census {
        Census { next_offset, newest_ms: Some(1_000 * next_offset), ..Census::default() }
    }

    /// An epoch in which it committed that.
    fn epoch(partition: i32, next_offset: i64) -> [Part; 1] {
        [Part {
            lane: lane(partition),
            effects: Effects::default(),
            next_offset,
            newest_ms: Some(1_000 * next_offset),
            replay_offset: next_offset,
            accumulator: 0,
            terms: 0,
            is_news: true,
        }]
    }

    /// In the group, with two live lanes, everything well; and when that was.
    fn well() -> (Readiness, Instant) {
        let now = Instant::now();
        let mut readiness = Readiness::default();
        readiness.prepared();
        readiness.joined();
        readiness.assigned(2, 2);
        alive(&mut readiness, now);
        (readiness, now)
    }

    fn alive(readiness: &mut Readiness, now: Instant) {
        readiness.polled(now);
        readiness.answered(now);
    }

    /// Names and reasons of what is not well.
    fn failing(readiness: &Readiness, now: Instant) -> Vec<String> {
        let checks = readiness.checks(now).into_iter();
        checks.filter(|check| !check.ok).map(|check| format!("{}: {}", check.name, check.reason)).collect()
    }

    #[test]
    fn at_the_start_nothing_is_known_to_be_well() {
        let now = Instant::now();
        let told = failing(&Readiness::default(), now);
        assert_eq!(
            told,
            [
                "topics: not looked at yet",
                "group: the group has not let us in yet",
                "polling: the consumer has not polled yet",
                "brokers: no broker has answered yet",
            ]
        );
    }

    #[test]
    fn a_standby_without_partitions_is_ready() {
        let (mut readiness, now) = well();
        readiness.assigned(0, 0);
        assert!(failing(&readiness, now).is_empty());
    }

    #[test]
    fn partitions_that_the_group_does_not_share_as_it_should_are_named() {
        let (mut readiness, now) = well();
        readiness.shared(Some(&Amiss { unread: vec![lane(1), lane(3)], unwanted: Vec::new() }));
        assert_eq!(failing(&readiness, now), ["group: nobody reads t[1] t[3]"]);
        readiness.shared(Some(&Amiss { unread: vec![lane(1)], unwanted: vec![lane(2)] }));
        assert_eq!(failing(&readiness, now), ["group: nobody reads t[1]; it gave us t[2], which we do not read"]);
        readiness.shared(None);
        assert!(failing(&readiness, now).is_empty());
    }

    #[test]
    fn an_idle_topic_stays_ready_for_days_and_so_does_its_first_record_afterwards() {
        let (mut readiness, start) = well();
        readiness.committed(start, &epoch(0, 100));
        for hour in 0..72 {
            let now = start + seconds(3600 * hour);
            alive(&mut readiness, now);
            readiness.lag(now, &lane(0), &handled(100), 0);
            assert!(failing(&readiness, now).is_empty());
        }
        let now = start + seconds(3600 * 72);
        alive(&mut readiness, now);
        readiness.lag(now, &lane(0), &handled(100), 1);
        assert!(failing(&readiness, now).is_empty(), "it came a moment ago");
    }

    #[test]
    fn records_that_wait_while_nothing_moves_make_it_unready() {
        let (mut readiness, start) = well();
        let look = |readiness: &mut Readiness, at: u64| {
            let now = start + seconds(at);
            alive(readiness, now);
            readiness.lag(now, &lane(0), &handled(100), 7);
            readiness.lag(now, &lane(1), &handled(5), 0);
            failing(readiness, now)
        };
        assert!(look(&mut readiness, 0).is_empty());
        assert!(look(&mut readiness, 29).is_empty());
        let told = look(&mut readiness, 31);
        assert_eq!(told, ["progress: 7 records wait, and no committed offset has moved for 31 s"]);
        // One lane that moves is progress, and the clock starts again.
        readiness.committed(start + seconds(32), &epoch(1, 6));
        assert!(look(&mut readiness, 33).is_empty());
        assert!(look(&mut readiness, 61).is_empty());
        assert_eq!(look(&mut readiness, 63).len(), 1);
        // An epoch that moves no offset is none.
        readiness.committed(start + seconds(64), &epoch(1, 6));
        assert_eq!(look(&mut readiness, 65).len(), 1);
    }

    #[test]
    fn what_was_handled_and_is_not_committed_waits_too() {
        let (mut readiness, start) = well();
        readiness.committed(start, &epoch(0, 100));
        readiness.lag(start, &lane(0), &handled(150), 0);
        let now = start + seconds(30);
        alive(&mut readiness, now);
        readiness.lag(now, &lane(0), &handled(150), 0);
        assert_eq!(failing(&readiness, now), ["progress: 50 records wait, and no committed offset has moved for 30 s"]);
    }

    #[test]
    fn lag_is_what_is_not_committed_and_as_old_as_what_is() {
        let (mut readiness, now) = well();
        let lag = |records, newest: i64| Lag { records, committed_ms: Some(1_000 * newest) };
        assert_eq!(readiness.lag(now, &lane(0), &handled(100), 900), lag(900, 100), "it is being restored");
        readiness.live(&lane(0), 100);
        assert_eq!(readiness.lag(now, &lane(0), &handled(400), 600), lag(900, 100));
        readiness.committed(now, &epoch(0, 300));
        assert_eq!(readiness.lag(now, &lane(0), &handled(1_000), 0), lag(700, 300));
        readiness.committed(now, &epoch(0, 1_000));
        assert_eq!(readiness.lag(now, &lane(0), &handled(1_000), 0), lag(0, 1_000));
    }

    #[test]
    fn who_has_never_committed_is_stuck_as_well() {
        let (mut readiness, start) = well();
        readiness.live(&lane(0), 10);
        readiness.lag(start, &lane(0), &handled(15), 0);
        let now = start + seconds(30);
        alive(&mut readiness, now);
        readiness.lag(now, &lane(0), &handled(15), 0);
        assert_eq!(failing(&readiness, now), ["progress: 5 records wait, and no committed offset has moved for 30 s"]);
    }

    #[test]
    fn an_input_that_is_missing_is_named() {
        let (mut readiness, now) = well();
        readiness.missing(vec!["telemetry".to_owned()]);
        assert_eq!(failing(&readiness, now), ["topics: input topic `telemetry` does not exist"]);
        readiness.missing(Vec::new());
        assert!(failing(&readiness, now).is_empty());
    }

    #[test]
    fn a_lane_that_is_taken_away_takes_its_lag_along() {
        let (mut readiness, start) = well();
        readiness.lag(start, &lane(0), &handled(0), 1_000);
        readiness.forget(&lane(0));
        let now = start + seconds(60);
        alive(&mut readiness, now);
        assert!(failing(&readiness, now).is_empty());
    }

    #[test]
    fn a_broker_that_is_away_makes_an_idle_daemon_unready_and_its_return_ready() {
        let (mut readiness, start) = well();
        let now = start + seconds(40);
        readiness.polled(now);
        assert_eq!(failing(&readiness, now), ["brokers: no broker has answered for 40 s"]);
        readiness.answered(now);
        assert!(failing(&readiness, now).is_empty());
    }

    #[test]
    fn trouble_has_to_last_and_tells_since_when() {
        let (mut readiness, start) = well();
        readiness.trouble(start, "first");
        assert!(failing(&readiness, start + seconds(4)).is_empty());
        readiness.trouble(start + seconds(8), "the offsets stay unstable");
        assert_eq!(failing(&readiness, start + seconds(8)), ["committing: for 8 s: the offsets stay unstable"]);
        readiness.committed(start + seconds(9), &[]);
        assert!(failing(&readiness, start + seconds(9)).is_empty());
    }

    #[test]
    fn a_recovery_that_cannot_begin_names_what_it_waits_for_though_others_commit() {
        let (mut readiness, start) = well();
        readiness.assigned(2, 1);
        readiness.recovery_waits(start, "offsets are unstable");
        let now = start + seconds(20);
        readiness.recovery_waits(now, "offsets are unstable");
        readiness.committed(now, &epoch(0, 9));
        readiness.polled(now);
        let wanted = "lanes: 1 of 2 assigned partitions are live; the others wait for 20 s: offsets are unstable";
        assert_eq!(failing(&readiness, now), [wanted]);
        readiness.recovery_begun();
        assert_eq!(failing(&readiness, now), ["lanes: 1 of 2 assigned partitions are live"]);
    }

    #[test]
    fn who_begins_anew_has_to_join_again() {
        let (mut readiness, now) = well();
        readiness.lag(now, &lane(0), &handled(0), 5);
        readiness.begin_anew();
        assert!(failing(&readiness, now).iter().any(|told| told.starts_with("group")));
    }
}
