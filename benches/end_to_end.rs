//! Rows a second through a real broker, in one run: a consumer with Offkey's own settings that only counts, and `offkey run`
//! (exactly once, default config, warm entities), with and without a score for every row: `cargo bench --bench end_to_end`.
//!
//! Each round appends rows to the topic, and all three read just these, in an order that changes from round to round. What
//! counts is the ratio; rates depend on the machine, which the broker shares. `OFFKEY_TEST_BOOTSTRAP` uses a running broker,
//! `OFFKEY_BENCH_ROWS` and `OFFKEY_ROUNDS` make it longer or shorter, `OFFKEY_BENCH_ENTITIES` the fleet larger.

#![allow(clippy::unwrap_used)]

mod bed;

use bed::broker::{create_topic, shared};
use bed::{Fleet, Setup, cpu_of, is_asked_for, median, number, say_load, wait_for};
use offkey::config::{Config, Source};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};
use std::time::{Duration, Instant};

const PARTITIONS: usize = 8;
/// Rows that an entity has behind it before anything is measured: the warm-up, and as much again.
const WARM: usize = 2_000;

/// What the reading of so many of a round's rows took.
#[derive(Clone, Copy)]
struct Reading {
    rows: usize,
    took: Duration,
    cpu: Duration,
}

fn main() {
    if !is_asked_for() {
        return;
    }
    let (rows, rounds) = (number("OFFKEY_BENCH_ROWS", 2_000_000), number("OFFKEY_ROUNDS", 5));
    let entities = number("OFFKEY_BENCH_ENTITIES", 48);
    let rows = rows / entities * entities;
    let bootstrap = shared();
    let input = format!("end-to-end-{}", std::process::id());
    create_topic(bootstrap, &input, PARTITIONS as i32);
    let mut fleet = Fleet::new(bootstrap, &input, entities, PARTITIONS);
    fleet.send(WARM * entities);
    let plain = Setup::new(bootstrap, "plain", &input, "", "");
    let scores = Setup::new(bootstrap, "scores", &input, "scores = \"end-to-end-scores\"", "");
    for setup in [&plain, &scores] {
        read_with_offkey(setup, WARM * entities);
    }
    say_load();
    println!(
        "{rounds} rounds of {rows} rows of {} channels, {entities} entities, {PARTITIONS} partitions",
        bed::CHANNELS
    );
    println!("\n        rows a second                        CPU us a row                 of the count");
    println!("round   count     offkey    with scores      count  offkey  with scores   offkey  with scores");
    let mut done: Vec<[Reading; 3]> = Vec::new();
    for round in 0..rounds {
        let begin = WARM * entities + round * rows;
        fleet.send(rows);
        let mut readings = [None; 3];
        for turn in 0..3 {
            let which = (round + turn) % 3;
            readings[which] = Some(match which {
                0 => count(&plain, &input, begin, rows),
                1 => read_with_offkey(&plain, rows),
                _ => read_with_offkey(&scores, rows),
            });
        }
        let readings = readings.map(Option::unwrap);
        show(&(round + 1).to_string(), &readings.map(|reading| (rate(reading), cpu(reading))));
        done.push(readings);
    }
    let middle = |which: usize| {
        let of = |figure: fn(Reading) -> f64| median(done.iter().map(|round| figure(round[which])));
        (of(rate), of(cpu))
    };
    show("median", &[middle(0), middle(1), middle(2)]);
    let ratios = |which: usize| done.iter().map(move |round| rate(round[which]) / rate(round[0]));
    for (which, name) in [(1, "offkey"), (2, "with scores")] {
        let (low, high) = ratios(which).fold((f64::MAX, 0.0_f64), |(low, high), r| (low.min(r), high.max(r)));
        println!(
            "{name}: {:.0} % of the counting consumer (median of the rounds' ratios; {:.0} to {:.0} %)",
            100.0 * median(ratios(which)),
            100.0 * low,
            100.0 * high
        );
    }
    say_load();
}

fn rate(reading: Reading) -> f64 {
    reading.rows as f64 / reading.took.as_secs_f64()
}

fn cpu(reading: Reading) -> f64 {
    1e6 * reading.cpu.as_secs_f64() / reading.rows as f64
}

fn show(round: &str, figures: &[(f64, f64); 3]) {
    let [(count, count_cpu), (plain, plain_cpu), (scores, scores_cpu)] = figures;
    println!(
        "{round:<7} {count:<9.0} {plain:<9.0} {scores:<16.0} {count_cpu:<6.2} {plain_cpu:<7.2} {scores_cpu:<13.2} {:<8} {:.0} %",
        format!("{:.0} %", 100.0 * plain / count),
        100.0 * scores / count
    );
}

/// The rows from `begin` on, as fast as a consumer with Offkey's settings gives them out.
fn count(setup: &Setup, input: &str, begin: usize, rows: usize) -> Reading {
    let config = Config::load(Source::Toml(&setup.config), []).unwrap();
    let mut client = ClientConfig::new();
    for (key, value) in config.kafka.restorer.iter() {
        client.set(key, value);
    }
    let consumer: BaseConsumer = client.create().unwrap();
    consumer.fetch_metadata(Some(input), Duration::from_secs(10)).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS as i32 {
        // The fleet sends to all partitions in turn.
        let offset = Offset::Offset((begin / PARTITIONS) as i64);
        list.add_partition_offset(input, partition, offset).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut n, mut bytes) = (0, 0);
    let mut first = None;
    while n < rows {
        let message = wait_for("a record", 60, || consumer.poll(Duration::from_millis(100))).unwrap();
        first.get_or_insert_with(|| (Instant::now(), cpu_of("self")));
        n += 1;
        bytes += message.payload().map_or(0, <[u8]>::len);
    }
    let (started, cpu) = first.unwrap();
    assert!(bytes > rows);
    Reading { rows, took: started.elapsed(), cpu: cpu_of("self").saturating_sub(cpu) }
}

/// From the moment all lanes are live until the last row is committed; then a clean stop, so that the next start finds snapshots.
/// What the first lanes had committed by then does not count.
fn read_with_offkey(setup: &Setup, rows: usize) -> Reading {
    let daemon = setup.start();
    let (started, cpu, before) = daemon.wait_for("lanes to be live", 120, |samples| {
        (samples.live_lanes() == PARTITIONS).then(|| (Instant::now(), daemon.cpu(), samples.consumed()))
    });
    daemon.wait_for("every row to be committed", 600, |samples| (samples.consumed() >= rows).then_some(()));
    let (took, cpu) = (started.elapsed(), daemon.cpu().saturating_sub(cpu));
    daemon.stop();
    Reading { rows: rows - before, took, cpu }
}
