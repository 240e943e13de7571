#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::Source;
use crate::detector::State as Phase;
use crate::detector::row::EventTime;

fn config(input: &str) -> Config {
    Config::load(Source::Toml(&format!("[input]\n{input}\n[warmup]\nrows = 400")), []).unwrap()
}

/// A wave with a fault at its end, a row a second; then in the order of `order`.
fn table(order: &[usize]) -> Table {
    let value = |i: usize| {
        let noise = (i.wrapping_mul(0x9e37_79b9) >> 7) % 1000;
        (i as f32 * 0.2).sin() + noise as f32 * 0.0005 + if i % 900 > 880 { 8.0 } else { 0.0 }
    };
    Table {
        channels: vec!["a".to_owned(), "b".to_owned()],
        times: order.iter().map(|i| EventTime::from_millis(1_700_000_000_000 + 1_000 * *i as i64)).collect(),
        time_texts: order.iter().map(ToString::to_string).collect(),
        values: order.iter().flat_map(|i| [value(*i), 1.0 - value(*i)]).collect(),
        labels: None,
        clock: true,
        timed: true,
    }
}

fn replayed(table: &Table, config: &Config) -> Replayed {
    let request = Request { config, entity: "pump", topic: "telemetry", warmup_rows: None, state: None };
    replay(table, &request, |_| {}).unwrap()
}

fn bits(outcome: &Outcome) -> (EventTime, [u32; 3], Phase, bool) {
    let Outcome { score, rarity, score_ratio, .. } = outcome;
    (outcome.at, [*score, *rarity, *score_ratio].map(f32::to_bits), outcome.state, outcome.anomalous)
}

/// Event ids: the row apart, an alert's whole identity.
fn ids(replayed: &Replayed) -> Vec<String> {
    let id = |(_, json): &(usize, String)| {
        serde_json::from_str::<serde_json::Value>(json).unwrap()["event_id"].as_str().unwrap().to_owned()
    };
    replayed.alerts.iter().map(id).collect()
}

/// Each row up to nine places later than its time.
fn shuffled(n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|i| i + (i * i + i / 3) % 10);
    order
}

#[test]
fn rows_out_of_order_are_judged_as_those_in_order_if_they_are_waited_for() {
    let (order, config) = (shuffled(2_000), config("max_lateness = \"10s\""));
    assert!(!order.is_sorted());
    let (mixed, sorted) = (table(&order), table(&(0..2_000).collect::<Vec<_>>()));
    let (mixed, sorted) = (replayed(&mixed, &config), replayed(&sorted, &config));
    let mut outcomes: Vec<_> = mixed.outcomes.iter().map(bits).collect();
    for (outcome, i) in mixed.outcomes.iter().zip(&order) {
        assert_eq!(outcome.at, EventTime::from_millis(1_700_000_000_000 + 1_000 * *i as i64), "a row has its own line");
    }
    outcomes.sort_by_key(|(at, ..)| *at);
    assert_eq!(outcomes, sorted.outcomes.iter().map(bits).collect::<Vec<_>>());
    assert!(!ids(&sorted).is_empty());
    assert_eq!(ids(&mixed), ids(&sorted));
}

#[test]
fn what_order_costs_nothing_without_it() {
    let table = table(&(0..1_500).collect::<Vec<_>>());
    let (plain, waiting) = (replayed(&table, &config("")), replayed(&table, &config("max_lateness = \"10s\"")));
    assert_eq!(
        plain.outcomes.iter().map(bits).collect::<Vec<_>>(),
        waiting.outcomes.iter().map(bits).collect::<Vec<_>>()
    );
    assert_eq!(plain.alerts, waiting.alerts);
}

#[test]
fn rows_of_one_step_of_a_grid_share_its_outcome_and_an_alert_is_told_once() {
    let table = table(&(0..4_000).collect::<Vec<_>>());
    let replayed = replayed(&table, &config("interval = \"2s\""));
    assert_eq!(replayed.outcomes.len(), 4_000);
    for pair in replayed.outcomes.chunks(2) {
        assert_eq!(bits(&pair[0]), bits(&pair[1]));
    }
    let told: usize = replayed.outcomes.iter().map(|outcome| outcome.alerts.len()).sum();
    assert!(told > 0);
    assert_eq!(told, replayed.alerts.len());
    assert_eq!(replayed.entity.n_rows(), 2_000);
}

#[test]
fn a_late_row_that_is_dropped_has_a_line_without_a_score() {
    let mut order: Vec<usize> = (0..1_200).collect();
    order[1_100] = 1_000;
    let replayed = replayed(&table(&order), &config("late = \"drop\""));
    let late = &replayed.outcomes[1_100];
    assert_eq!((late.score, late.state, late.offset), (0.0, Phase::Ready, 1_100));
    assert!(replayed.outcomes[1_099].score > 0.0 && replayed.outcomes[1_101].score > 0.0);
    assert_eq!(replayed.entity.n_rows(), 1_199);
}

#[test]
fn a_state_takes_rows_of_an_earlier_time_too() {
    let config = config("interval = \"1s\"\nlate = \"drop\"");
    let table = table(&(0..600).collect::<Vec<_>>());
    let state = replayed(&table, &config).save();
    let request =
        Request { config: &config, entity: "pump", topic: "telemetry", warmup_rows: None, state: Some(&state) };
    let again = replay(&table, &request, |_| {}).unwrap();
    assert_eq!(again.entity.n_rows(), 1_200);
}

#[test]
fn a_file_has_no_more_channels_than_an_entity_may_have() {
    let wide = |n: usize| Table {
        channels: (0..n).map(|i| format!("c{i}")).collect(),
        times: Vec::new(),
        time_texts: Vec::new(),
        values: Vec::new(),
        labels: None,
        clock: true,
        timed: true,
    };
    let config = config("");
    let request = Request { config: &config, entity: "pump", topic: "telemetry", warmup_rows: None, state: None };
    assert!(replay(&wide(1_024), &request, |_| {}).is_ok());
    let told = replay(&wide(1_025), &request, |_| {}).err().unwrap();
    assert!(told.contains("1025 channels") && told.contains("1024"), "{told}");
}

#[test]
fn a_state_that_knows_no_channel_of_the_file_is_refused() {
    let config = config("");
    let first = table(&(0..600).collect::<Vec<_>>());
    for n_rows in [1, 600] {
        let rows: Vec<usize> = (0..n_rows).collect();
        let state = replayed(&table(&rows), &config).save();
        let request =
            Request { config: &config, entity: "pump", topic: "telemetry", warmup_rows: None, state: Some(&state) };
        let renamed = |names: [&str; 2]| Table { channels: names.map(str::to_owned).to_vec(), ..table(&rows) };
        let told = replay(&renamed(["c", "d"]), &request, |_| {}).err().unwrap();
        assert!(told.contains("none of the file's channels") && told.contains("`a`"), "{told}");
        assert!(replay(&renamed(["c", "b"]), &request, |_| {}).is_ok());
    }
    assert!(
        replay(
            &first,
            &Request { config: &config, entity: "pump", topic: "telemetry", warmup_rows: None, state: None },
            |_| {}
        )
        .is_ok()
    );
}
