//! Does the group share all that there is? A member that is back under its name within its session is handed what it had, and
//! nobody shares anew: what was withheld from all in the middle of a rebalance, what was added meanwhile, and topics that it does
//! not subscribe to any more would stay as they are for as long as nobody comes or goes. Whoever sees that makes the group share
//! anew, one after the other, and ever more rarely if it does not help. Values in, a verdict out, with the time handed in.

use crate::kafka::group::Member;
use crate::lane::record::PartitionId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Between two looks: while something is amiss or moves, and the longest.
const LOOK: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];
/// So long it has to be amiss, with nothing changed: a member that has to give up partitions commits them before others get them.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same behind a rebalance that did not help; twice as long behind each further one, up to the longest.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(960)];
/// More of it for each member that sees the same and is before us: all at once would be as many rebalances.
const TURN: Duration = Duration::from_secs(10);

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Every partition of the topics that we subscribe to.
    pub ours: BTreeSet<PartitionId>,
    /// What we hold, of whatever topic.
    pub held: BTreeSet<PartitionId>,
    /// The group at rest.
    pub members: Vec<Member>,
}

/// What is amiss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amiss {
    /// Partitions that nobody was given.
    pub unread: Vec<PartitionId>,
    /// Partitions that we were given, of topics that we do not subscribe to.
    pub unwanted: Vec<PartitionId>,
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The group is not at rest, or nobody tells, or it may pass: what was known stays so.
    Unclear,
    /// Everything is somebody's.
    Whole,
    /// It lasts.
    Amiss {
        /// What.
        what: Amiss,
        /// It is our turn: the group has to share anew.
        is_our_turn: bool,
    },
}

/// Remembers what was seen.
#[derive(Debug)]
pub struct Watch {
    client_id: String,
    topics: Vec<String>,
    last: Option<Look>,
    looked: Option<Instant>,
    /// Until the next look.
    wait: Duration,
    /// Rebalances that there had been at the last look.
    n_rebalances: u64,
    /// Since when the same is amiss.
    since: Option<Instant>,
    /// Rebalances that have not helped.
    n_vain: u32,
}

impl Watch {
    /// Nothing was seen yet. We are the member that calls itself so, and subscribe to these topics.
    #[must_use]
    pub fn new(client_id: &str, topics: &[String]) -> Self {
        Self {
            client_id: client_id.to_owned(),
            topics: topics.to_vec(),
            last: None,
            looked: None,
            wait: LOOK[0],
            n_rebalances: 0,
            since: None,
            n_vain: 0,
        }
    }

    /// Is it time for a look? A rebalance makes it so, too.
    #[must_use]
    pub fn is_due(&self, now: Instant, n_rebalances: u64) -> bool {
        let wait = if n_rebalances == self.n_rebalances { self.wait } else { LOOK[0] };
        self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= wait)
    }

    /// Takes what was seen behind so many rebalances; `None`: the group is not at rest, or nobody tells.
    pub fn judge(&mut self, now: Instant, n_rebalances: u64, look: Option<Look>) -> Verdict {
        self.looked = Some(now);
        let has_moved = std::mem::replace(&mut self.n_rebalances, n_rebalances) != n_rebalances;
        let is_same = !has_moved && look == self.last;
        self.wait = if is_same { (2 * self.wait).min(LOOK[1]) } else { LOOK[0] };
        self.last = look;
        let Some((what, before_us)) = self.last.as_ref().and_then(|look| self.amiss(look)) else {
            return Verdict::Unclear;
        };
        if what == Amiss::default() {
            (self.since, self.n_vain) = (None, 0);
            return Verdict::Whole;
        }
        self.wait = LOOK[0];
        if has_moved && self.since.is_some() {
            self.n_vain += 1;
        }
        let since = self.since.filter(|_| is_same).unwrap_or(now);
        self.since = Some(since);
        let lasts = now.saturating_duration_since(since);
        let is_our_turn = lasts >= self.patience() + before_us * TURN;
        let is_known = lasts >= PATIENCE || self.n_vain > 0;
        if is_our_turn {
            (self.since, self.n_vain) = (Some(now), self.n_vain + 1);
        }
        if is_known { Verdict::Amiss { what, is_our_turn } } else { Verdict::Unclear }
    }

    fn patience(&self) -> Duration {
        match self.n_vain {
            0 => PATIENCE,
            n => (BACK_OFF[0] * 2u32.saturating_pow(n.min(16) - 1)).min(BACK_OFF[1]),
        }
    }

    /// What is amiss, if anything, and how many members would do something about it before us. `None`: the coordinator and we do
    /// not agree on who we are and what we have, so something is under way.
    fn amiss(&self, look: &Look) -> Option<(Amiss, u32)> {
        let mut ours = look.members.iter().filter(|member| member.client_id == self.client_id);
        let (Some(us), None) = (ours.next(), ours.next()) else { return None };
        if us.lanes != look.held {
            return None;
        }
        let is_given = |lane: &&PartitionId| look.members.iter().any(|member| member.lanes.contains(*lane));
        let is_wanted = |lane: &&PartitionId| self.topics.iter().any(|topic| **topic == *lane.topic);
        let unread: Vec<PartitionId> = look.ours.iter().filter(|lane| !is_given(lane)).cloned().collect();
        let unwanted: Vec<PartitionId> = look.held.iter().filter(|lane| !is_wanted(lane)).cloned().collect();
        let sees = |member: &&Member| unread.iter().any(|lane| member.topics.contains(&*lane.topic));
        // What we have and do not want is seen by nobody else.
        let is_before_us = |member: &&Member| unwanted.is_empty() && member.id < us.id;
        let before_us = look.members.iter().filter(is_before_us).filter(sees).count();
        Some((Amiss { unread, unwanted }, u32::try_from(before_us).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str) -> PartitionId {
        let (topic, partition) = name.split_once('-').unwrap();
        PartitionId { topic: topic.into(), partition: partition.parse().unwrap() }
    }

    fn lanes(names: &str) -> BTreeSet<PartitionId> {
        names.split_whitespace().map(lane).collect()
    }

    fn member(name: &str, topics: &str, names: &str) -> Member {
        let topics = topics.split_whitespace().map(str::to_owned).collect();
        Member { id: name.to_owned(), client_id: name.to_owned(), topics, lanes: lanes(names) }
    }

    /// What `b` sees: it subscribes to `t`, of four partitions, and holds what it was given.
    fn look(members: &[Member]) -> Look {
        let held = members.iter().filter(|member| member.id == "b").flat_map(|member| member.lanes.clone()).collect();
        Look { ours: lanes("t-0 t-1 t-2 t-3"), held, members: members.to_vec() }
    }

    fn whole() -> Look {
        look(&[member("a", "t", "t-0 t-1"), member("b", "t", "t-2 t-3")])
    }

    /// Nobody has the last one.
    fn orphaned() -> Look {
        look(&[member("a", "t", "t-0 t-1"), member("b", "t", "t-2")])
    }

    /// Looks as often as they are due: when was something amiss first, and when was it our turn?
    struct Times {
        watch: Watch,
        start: Instant,
        told: Vec<u64>,
        turns: Vec<u64>,
    }

    impl Times {
        fn new() -> Self {
            let watch = Watch::new("b", &["t".to_owned()]);
            Self { watch, start: Instant::now(), told: Vec::new(), turns: Vec::new() }
        }

        fn see(mut self, seconds: std::ops::Range<u64>, n_rebalances: u64, look: Option<&Look>) -> Self {
            for second in seconds {
                let now = self.start + Duration::from_secs(second);
                if !self.watch.is_due(now, n_rebalances) {
                    continue;
                }
                match self.watch.judge(now, n_rebalances, look.cloned()) {
                    Verdict::Amiss { is_our_turn, .. } => {
                        self.told.push(second);
                        self.turns.extend(is_our_turn.then_some(second));
                    }
                    Verdict::Unclear | Verdict::Whole => {}
                }
            }
            self
        }
    }

    fn amiss(look: &Look) -> Option<(Vec<String>, Vec<String>, u32)> {
        let names = |lanes: &[PartitionId]| lanes.iter().map(ToString::to_string).collect();
        let (what, before_us) = Watch::new("b", &["t".to_owned()]).amiss(look)?;
        Some((names(&what.unread), names(&what.unwanted), before_us))
    }

    #[test]
    fn a_partition_that_nobody_was_given_is_unread_and_the_first_that_reads_its_topic_acts() {
        assert_eq!(amiss(&whole()), Some((vec![], vec![], 0)));
        assert_eq!(amiss(&orphaned()), Some((vec!["t[3]".to_owned()], vec![], 1)));
        let other = look(&[member("a", "u", "u-0"), member("b", "t", "t-0 t-1 t-2"), member("c", "t", "")]);
        assert_eq!(amiss(&other), Some((vec!["t[3]".to_owned()], vec![], 0)), "`a` does not see it, `c` is behind us");
    }

    #[test]
    fn a_partition_of_a_topic_that_we_do_not_subscribe_to_is_ours_to_give_back() {
        let look = look(&[member("a", "t", "t-0 t-1 u-1"), member("b", "t", "t-2 t-3 u-0")]);
        assert_eq!(amiss(&look), Some((vec![], vec!["u[0]".to_owned()], 0)));
    }

    #[test]
    fn who_does_not_agree_with_the_coordinator_says_nothing() {
        let mut gives_up = orphaned();
        gives_up.held = lanes("t-2 t-3");
        assert_eq!(amiss(&gives_up), None, "a revoke is under way");
        assert_eq!(amiss(&look(&[member("a", "t", "t-0")])), None, "we are no member");
        let twice = [member("b", "t", "t-2"), member("b", "t", "")];
        assert_eq!(amiss(&look(&twice)), None, "another calls itself as we do");
    }

    #[test]
    fn what_is_whole_is_looked_at_ever_more_rarely_and_a_rebalance_brings_the_next_look() {
        let mut watch = Watch::new("b", &["t".to_owned()]);
        let start = Instant::now();
        let mut looked = Vec::new();
        for second in 0..120 {
            let (now, n_rebalances) = (start + Duration::from_secs(second), u64::from(second >= 100));
            if watch.is_due(now, n_rebalances) {
                assert_eq!(watch.judge(now, n_rebalances, Some(whole())), Verdict::Whole);
                looked.push(second);
            }
        }
        assert_eq!(looked, [0, 2, 6, 14, 30, 60, 90, 100, 102, 106, 114]);
    }

    #[test]
    fn it_has_to_last_and_each_further_rebalance_in_vain_is_waited_for_longer() {
        let alone = look(&[member("b", "t", "t-0 t-1 t-2")]);
        let times = Times::new().see(0..4, 1, Some(&alone)).see(4..20, 1, Some(&whole()));
        assert!(times.told.is_empty(), "it has passed");
        let times = Times::new().see(0..400, 1, Some(&alone));
        assert_eq!(times.turns, [6, 36, 96, 216], "nobody was let in");
        assert_eq!(times.told[0], 6);
        // Each of ours is seen as a rebalance, too.
        let times = Times::new().see(0..7, 1, Some(&alone)).see(7..66, 3, Some(&alone));
        assert_eq!(times.turns, [6]);
        assert_eq!(times.told.last(), Some(&64), "it is known all the while");
        let times = times.see(66..100, 3, Some(&whole())).see(100..107, 4, Some(&alone));
        assert_eq!(times.turns, [6, 106], "what has helped is forgotten");
    }

    #[test]
    fn who_comes_later_waits_for_those_before_and_for_what_their_rebalance_does() {
        let times = Times::new().see(0..20, 1, Some(&orphaned()));
        assert_eq!(times.turns, [16]);
        let times = Times::new().see(0..8, 1, Some(&orphaned())).see(8..30, 2, Some(&orphaned()));
        assert!(times.turns.is_empty(), "a rebalance in vain: the next one has time");
        let times = times.see(30..50, 2, Some(&orphaned()));
        assert_eq!(times.turns, [48]);
    }

    #[test]
    fn a_group_that_nobody_tells_of_is_asked_for_rarely() {
        let mut watch = Watch::new("b", &["t".to_owned()]);
        let start = Instant::now();
        let due = |second: &u64| {
            let now = start + Duration::from_secs(*second);
            let is_due = watch.is_due(now, 1);
            assert!(!is_due || watch.judge(now, 1, None) == Verdict::Unclear);
            is_due
        };
        assert_eq!((0..300).filter(due).count(), 13);
    }
}
