//! The protocol in single steps; `tests/simulation/` lets anything happen.

use super::*;
use crate::config::Config;
use crate::lane::effects::Effects;
use std::collections::BTreeMap;

fn lane(partition: i32) -> PartitionId {
    PartitionId { topic: "telemetry".into(), partition }
}

fn part(partition: i32, next_offset: i64) -> Part {
    Part {
        lane: lane(partition),
        effects: Effects::default(),
        next_offset,
        newest_ms: None,
        replay_offset: next_offset,
        accumulator: 0,
        terms: 0,
        is_news: true,
    }
}

fn lost() -> Failure {
    Failure::Unknown("no answer".to_owned())
}

/// A protocol and its clock.
struct Play {
    protocol: Protocol,
    now: Duration,
}

impl Play {
    /// These partitions are live; the group has committed nothing yet.
    fn with_live(partitions: &[i32]) -> Self {
        let settings = Settings { commit_interval: Duration::from_millis(100), n_partitions: 4 };
        let terms = Arc::new(Config::defaults().terms());
        let mut play = Self { protocol: Protocol::new(settings, terms, 0), now: Duration::ZERO };
        play.assign(partitions);
        play
    }

    fn assign(&mut self, partitions: &[i32]) {
        if partitions.is_empty() {
            return;
        }
        self.on(Event::Assigned(partitions.iter().map(|p| lane(*p)).collect()));
        let Some(Command::WriteBarriers { lanes, nonce }) = self.next_call() else { panic!("no barriers") };
        let start = |lane| Start { lane, committed: None, live_from: 0, log_start: 0, began: None };
        self.on(Event::Starts(Ok((lanes.iter().cloned().map(start).collect(), true))));
        for lane in lanes {
            self.on(Event::Recovered { lane, recovery: nonce });
        }
        let live = self.orders().iter().filter(|order| order.starts_with("GoLive")).count();
        assert_eq!(live, partitions.len());
    }

    fn on(&mut self, event: Event) {
        self.protocol.on(event, self.now);
    }

    /// Orders until nothing is to be done or a call comes, which is lost.
    fn orders(&mut self) -> Vec<String> {
        let mut orders = Vec::new();
        while !self.protocol.orders.is_empty() {
            orders.extend(self.protocol.next(self.now).map(|order| format!("{order:?}")));
        }
        orders
    }

    /// The next command that is answered, after waiting if need be.
    fn next_call(&mut self) -> Option<Command> {
        for _ in 0..100 {
            match self.protocol.next(self.now) {
                Some(
                    call @ (Command::Cut { .. }
                    | Command::Commit
                    | Command::Look { .. }
                    | Command::WriteBarriers { .. }
                    | Command::End(_)),
                ) => return Some(call),
                Some(_) => {}
                None => self.now = self.now.max(self.protocol.wake_at()),
            }
        }
        None
    }

    fn cut(&mut self, parts: Vec<Part>) {
        assert!(matches!(self.next_call(), Some(Command::Cut { .. })));
        self.on(Event::Cut { parts, is_drained: true });
    }

    /// An epoch of these parts up to its commit.
    fn commit(&mut self, parts: Vec<Part>) {
        self.cut(parts);
        assert!(matches!(self.next_call(), Some(Command::Commit)));
    }

    fn committed_partitions(&self) -> Vec<i32> {
        self.protocol.epoch().into_iter().flat_map(Epoch::commits).map(|commit| commit.lane.partition).collect()
    }
}

fn of_epoch(number: u64, lanes: &[i32]) -> Found {
    let committed = |partition| {
        let metadata = crate::wire::state_record::OffsetMetadata {
            epoch: number,
            replay_offset: 0,
            accumulator: 0,
            terms: None,
            began: None,
        };
        (lane(partition), Some(Committed { offset: 1, metadata: metadata.encode() }))
    };
    lanes.iter().map(|partition| committed(*partition)).collect()
}

#[test]
fn our_place_is_noted_before_losses_are_heard_and_the_commit_begins() {
    let mut play = Play::with_live(&[0, 1]);
    play.cut(vec![part(0, 5), part(1, 7)]);
    assert!(matches!(play.protocol.next(play.now), Some(Command::NotePlace)));
    play.on(Event::Lost(vec![lane(1)]));
    assert!(play.orders().iter().any(|order| order.starts_with("Drop")));
    assert!(matches!(play.protocol.next(play.now), Some(Command::Commit)));
    assert_eq!(play.committed_partitions(), [0]);
}

#[test]
fn barriers_are_written_under_a_place_that_was_noted_before_losses_are_heard() {
    let mut play = Play::with_live(&[]);
    play.on(Event::Assigned(vec![lane(0), lane(1)]));
    assert!(matches!(play.protocol.next(play.now), Some(Command::NotePlace)));
    play.on(Event::Lost(vec![lane(0)]));
    let Some(Command::WriteBarriers { lanes, .. }) = play.next_call() else { panic!("no barriers") };
    assert_eq!(lanes, [lane(1)]);
    let mut play = Play::with_live(&[]);
    play.on(Event::Assigned(vec![lane(1)]));
    assert!(matches!(play.protocol.next(play.now), Some(Command::NotePlace)));
    play.on(Event::Lost(vec![lane(1)]));
    assert!(matches!(play.next_call(), Some(Command::Cut { .. })), "nobody waits any more");
}

#[test]
fn where_a_lane_begins_is_what_it_has_committed_last() {
    let mut play = Play::with_live(&[]);
    play.on(Event::Assigned(vec![lane(0), lane(1)]));
    let Some(Command::WriteBarriers { nonce, .. }) = play.next_call() else { panic!("no barriers") };
    let start =
        |partition, committed| Start { lane: lane(partition), committed, live_from: 7, log_start: 0, began: Some(5) };
    let known = Committed { offset: 7, metadata: "known".to_owned() };
    assert_eq!(start(1, Some(known.clone())).beginning(), None);
    let (begun, went_on) = (start(0, None).begun(), start(1, Some(known.clone())).begun());
    assert_eq!(went_on.committed, Some(known.clone()));
    play.on(Event::Starts(Ok((vec![begun, went_on], true))));
    (0..2).for_each(|partition| play.on(Event::Recovered { lane: lane(partition), recovery: nonce }));
    play.orders();
    play.commit(vec![part(0, 9), part(1, 9)]);
    play.on(Event::Committed(Err(lost())));
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    assert!(play.protocol.epoch().unwrap().commits().all(|commit| commit.committed.metadata.ends_with(";s=5")));
    let beginning = Committed { offset: 7, metadata: "v1;s=5".to_owned() };
    play.on(Event::Found(Ok(BTreeMap::from([(lane(0), Some(beginning)), (lane(1), Some(known))]))));
    assert!(matches!(play.next_call(), Some(Command::Commit)), "neither is foreign");
    assert_eq!(play.committed_partitions(), [0, 1]);
}

#[test]
fn a_revoke_is_acknowledged_when_its_lanes_are_committed_and_not_before() {
    let mut play = Play::with_live(&[0, 1]);
    play.on(Event::Revoked(vec![lane(1)]));
    let Some(Command::Cut { staying, leaving, .. }) = play.next_call() else { panic!("no cut") };
    assert_eq!((staying, leaving), (vec![lane(0)], vec![lane(1)]));
    play.on(Event::Cut { parts: vec![part(1, 3)], is_drained: true });
    assert!(matches!(play.next_call(), Some(Command::Commit)));
    play.on(Event::Committed(Err(lost())));
    assert_eq!(play.orders(), ["EndProducer"], "nobody knows yet");
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    let number = play.protocol.epoch().unwrap().number;
    play.on(Event::Found(Ok(of_epoch(number, &[1]))));
    let orders = play.orders();
    assert!(orders[0].starts_with("Count") && orders[1].starts_with("Drop") && orders[2].starts_with("AckRevoke"));
    assert_eq!(play.protocol.n_lanes(), (1, 1));
}

#[test]
fn a_commit_that_was_not_prompt_ends_the_producer() {
    let mut play = Play::with_live(&[0]);
    play.commit(vec![part(0, 5)]);
    play.on(Event::Committed(Ok(false)));
    assert_eq!(play.orders()[0], "EndProducer");
    play.commit(vec![part(0, 9)]);
    play.on(Event::Committed(Ok(true)));
    assert!(play.orders()[0].starts_with("Count"));
}

#[test]
fn what_was_not_committed_is_sent_again_as_it_was() {
    let mut play = Play::with_live(&[0]);
    play.commit(vec![part(0, 5)]);
    let number = play.protocol.epoch().unwrap().number;
    play.on(Event::Committed(Err(lost())));
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    play.on(Event::Found(Ok(BTreeMap::from([(lane(0), None)]))));
    assert!(matches!(play.next_call(), Some(Command::Commit)));
    assert_eq!(play.protocol.epoch().unwrap().number, number);
}

#[test]
fn an_epoch_that_was_under_way_when_the_state_was_lost_vouches_for_nothing() {
    let replay_offset = |play: &Play| play.protocol.epoch().unwrap().parts[0].replay_offset;
    let mut play = Play::with_live(&[0]);
    play.commit(vec![part(0, 5)]);
    play.on(Event::Committed(Err(lost())));
    play.on(Event::StateLost);
    assert!(play.orders().iter().any(|order| order.starts_with("Rewrite")));
    assert_eq!(replay_offset(&play), 5, "it may have been committed as it was");
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    play.on(Event::Found(Ok(BTreeMap::from([(lane(0), None)]))));
    assert!(matches!(play.next_call(), Some(Command::Commit)));
    assert_eq!(replay_offset(&play), 0);
    play.on(Event::Committed(Ok(true)));
    play.commit(vec![part(0, 9)]);
    assert_eq!(replay_offset(&play), 9, "by then it is written again");
}

#[test]
fn what_was_lost_before_its_revoke_was_acknowledged_is_not_given_back_when_it_comes_again() {
    let mut play = Play::with_live(&[0, 1]);
    play.on(Event::Revoked(vec![lane(0), lane(1)]));
    play.cut(Vec::new());
    play.on(Event::Lost(vec![lane(0)]));
    play.on(Event::Assigned(vec![lane(0)]));
    let acknowledged: Vec<String> = play.orders().into_iter().filter(|order| order.starts_with("AckRevoke")).collect();
    assert!(acknowledged.len() == 1 && !acknowledged[0].contains("partition: 0"), "{acknowledged:?}");
}

#[test]
fn a_lane_that_is_restored_from_a_state_that_is_lost_begins_again() {
    let mut play = Play::with_live(&[0]);
    play.on(Event::Assigned(vec![lane(1)]));
    let Some(Command::WriteBarriers { nonce, .. }) = play.next_call() else { panic!("no barriers") };
    let start = Start { lane: lane(1), committed: None, live_from: 0, log_start: 0, began: None };
    play.on(Event::Starts(Ok((vec![start], true))));
    play.orders();
    play.on(Event::StateLost);
    let orders = play.orders();
    assert!(orders.iter().any(|order| order.starts_with("Drop") && order.contains('1')), "{orders:?}");
    play.on(Event::Recovered { lane: lane(1), recovery: nonce });
    assert_eq!(play.protocol.n_lanes(), (2, 1), "what it was restored from is not there");
    assert!(matches!(play.next_call(), Some(Command::WriteBarriers { lanes, .. }) if lanes == [lane(1)]));
}

#[test]
fn a_lane_that_somebody_else_has_committed_is_cut_out_and_begins_again() {
    let mut play = Play::with_live(&[0, 1]);
    play.commit(vec![part(0, 5), part(1, 5)]);
    play.on(Event::Committed(Err(lost())));
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    let mut found = of_epoch(77, &[1]);
    found.insert(lane(0), None);
    play.on(Event::Found(Ok(found)));
    assert!(play.orders().iter().any(|order| order.starts_with("Park")));
    assert!(matches!(play.next_call(), Some(Command::Commit)));
    assert_eq!(play.committed_partitions(), [0]);
    play.on(Event::Committed(Ok(true)));
    assert!(matches!(play.next_call(), Some(Command::WriteBarriers { lanes, .. }) if lanes == [lane(1)]));
}

#[test]
fn two_fencings_in_a_minute_are_a_rival_and_an_outage_between_them_is_not() {
    let fenced = || Event::Committed(Err(Failure::Fenced("a newer one".to_owned())));
    let mut play = Play::with_live(&[0]);
    play.commit(vec![part(0, 5)]);
    play.on(fenced());
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    play.on(Event::Found(Err(lost())));
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    play.on(Event::Found(Ok(BTreeMap::from([(lane(0), None)]))));
    assert!(matches!(play.next_call(), Some(Command::Commit)));
    play.on(fenced());
    assert!(matches!(play.next_call(), Some(Command::Look { .. })));
    play.on(Event::Found(Ok(BTreeMap::from([(lane(0), None)]))));
    assert!(matches!(play.next_call(), Some(Command::Commit)));
    play.on(fenced());
    assert!(matches!(play.next_call(), Some(Command::End(End::Rival(_)))));
}

#[test]
fn a_recovery_of_the_past_does_not_wake_a_lane() {
    let mut play = Play::with_live(&[0]);
    play.on(Event::Lost(vec![lane(0)]));
    play.on(Event::Assigned(vec![lane(0)]));
    let Some(Command::WriteBarriers { nonce, .. }) = play.next_call() else { panic!("no barriers") };
    let start = Start { lane: lane(0), committed: None, live_from: 0, log_start: 0, began: None };
    play.on(Event::Starts(Ok((vec![start], true))));
    play.on(Event::Recovered { lane: lane(0), recovery: nonce - 1 });
    assert_eq!(play.protocol.n_lanes(), (1, 0));
    play.on(Event::Recovered { lane: lane(0), recovery: nonce });
    assert_eq!(play.protocol.n_lanes(), (1, 1));
}

#[test]
fn a_lane_lost_while_barriers_are_written_is_not_restored() {
    let mut play = Play::with_live(&[]);
    play.on(Event::Assigned(vec![lane(2)]));
    assert!(matches!(play.next_call(), Some(Command::WriteBarriers { .. })));
    play.on(Event::Lost(vec![lane(2)]));
    let start = Start { lane: lane(2), committed: None, live_from: 0, log_start: 0, began: None };
    play.on(Event::Starts(Ok((vec![start], true))));
    assert!(!play.orders().iter().any(|order| order.starts_with("Restore")));
}

#[test]
fn who_is_told_to_stop_drains_then_cuts_everything_dirty_then_leaves() {
    let mut play = Play::with_live(&[0]);
    play.on(Event::Stop);
    let Some(Command::Cut { all: false, .. }) = play.next_call() else { panic!("no cut") };
    play.on(Event::Cut { parts: vec![], is_drained: false });
    let Some(Command::Cut { all: false, .. }) = play.next_call() else { panic!("drained too early") };
    play.on(Event::Cut { parts: vec![part(0, 3)], is_drained: true });
    assert!(matches!(play.next_call(), Some(Command::Commit)));
    play.on(Event::Committed(Ok(true)));
    let Some(Command::Cut { all: true, .. }) = play.next_call() else { panic!("not everything dirty") };
    play.on(Event::Cut { parts: vec![], is_drained: true });
    assert!(matches!(play.next_call(), Some(Command::End(End::Stopped))));
}

#[test]
fn who_stops_while_the_broker_is_away_does_not_wait_for_ever() {
    let mut play = Play::with_live(&[0]);
    play.commit(vec![part(0, 5)]);
    play.on(Event::Committed(Err(lost())));
    play.on(Event::Stop);
    let ended = (0..100).find_map(|_| match play.next_call() {
        Some(Command::Look { .. }) => {
            play.on(Event::Found(Err(lost())));
            None
        }
        other => other,
    });
    assert!(matches!(ended, Some(Command::End(End::StoppedInDoubt))));
}

#[test]
fn a_partition_without_a_place_for_its_state_starts_everything_anew() {
    let mut play = Play::with_live(&[0]);
    play.on(Event::Assigned(vec![lane(4)]));
    assert!(matches!(play.next_call(), Some(Command::End(End::Again(_)))));
}

#[test]
fn a_record_that_its_topic_will_never_take_makes_everything_be_looked_at_again() {
    let mut play = Play::with_live(&[0]);
    play.commit(vec![part(0, 5)]);
    play.on(Event::Committed(Err(Failure::Refused("too large".to_owned()))));
    assert!(matches!(play.next_call(), Some(Command::End(End::Again(_)))));
}
