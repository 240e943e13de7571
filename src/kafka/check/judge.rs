//! What the settings of topics and brokers mean for us: each function tells what would go wrong, and what would be right.

use crate::config::Kafka;
use crate::kafka::topics;
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings by name, as the broker tells them.
pub type Settings = BTreeMap<String, String>;

/// A topic as its metadata tell.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its partitions.
    pub partitions: usize,
    /// Replicas of the partition that has the fewest.
    pub replicas: usize,
    /// Replicas in sync, of the partition that has the fewest.
    pub in_sync: usize,
    /// Partitions without a leader.
    pub leaderless: usize,
}

impl Seen {
    /// In a few words.
    pub fn words(&self) -> String {
        format!("{} partitions, {} replicas", self.partitions, self.replicas)
    }

    /// Can all of it be reached?
    pub fn reach(&self, key: &str, topic: &str) -> Option<String> {
        let Self { partitions, leaderless, .. } = self;
        (*leaderless > 0).then(|| {
            format!(
                "{key}: {leaderless} of {partitions} partitions of `{topic}` have no leader: their brokers are away"
            )
        })
    }

    /// Are there enough replicas to write?
    pub fn durability(&self, key: &str, topic: &str, settings: &Settings) -> Option<String> {
        let wanted = settings.get("min.insync.replicas")?.parse::<usize>().ok()?;
        let Self { replicas, in_sync, .. } = self;
        if wanted > *replicas {
            let why = "nothing can be written to it; give it more replicas, or lower the other";
            return Some(format!("{key}: `{topic}` has {replicas} replicas and min.insync.replicas {wanted}: {why}"));
        }
        (wanted > *in_sync).then(|| {
            format!("{key}: {in_sync} replicas of `{topic}` are in sync and min.insync.replicas is {wanted}: nothing can be written now")
        })
    }
}

/// Does an output topic take an alert?
pub fn output(key: &str, topic: &str, settings: &Settings, kafka: &Kafka) -> Option<String> {
    let least = topics::SMALLEST;
    (topics::limit(settings, kafka) < least)
        .then(|| format!("{key}: set max.message.bytes of `{topic}` to {least} or more"))
}

/// Does the state topic keep what is written to it, with a partition for each of the input's?
pub fn state(topic: &str, seen: &Seen, input_partitions: usize, settings: &Settings, kafka: &Kafka) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(policy) = settings.get("cleanup.policy").filter(|policy| *policy != "compact") {
        wrong.push(format!(
            "state.topic: `{topic}` has cleanup.policy `{policy}`: retention would delete learned models; set it to compact"
        ));
    }
    if seen.partitions < input_partitions && !kafka.create_topics {
        let partitions = seen.partitions;
        wrong.push(format!(
            "state.topic: `{topic}` has {partitions} partitions, the input has {input_partitions}: give it as many, or allow `kafka.create_topics`"
        ));
    }
    wrong
}

/// Do the brokers take our time-outs?
pub fn timeouts(broker: &Settings, kafka: &Kafka) -> Vec<String> {
    let limit = |name: &str| broker.get(name).and_then(|limit| limit.parse().ok()).map(Duration::from_millis);
    let transaction = ("kafka.transaction_timeout", kafka.transaction_timeout);
    let session = ("kafka.session_timeout", kafka.session_timeout);
    let most = [(transaction, "transaction.max.timeout.ms"), (session, "group.max.session.timeout.ms")];
    let above = most.into_iter().filter_map(|((key, ours), name)| {
        let most = limit(name).filter(|most| ours > *most)?;
        Some(format!("{key}: {ours:?} is above the brokers' {name}, {most:?}"))
    });
    let (key, ours) = session;
    let least = limit("group.min.session.timeout.ms").filter(|least| ours < *least);
    let below =
        least.map(|least| format!("{key}: {ours:?} is below the brokers' group.min.session.timeout.ms, {least:?}"));
    above.chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Source};

    const SEEN: Seen = Seen { partitions: 4, replicas: 3, in_sync: 3, leaderless: 0 };

    fn kafka() -> Kafka {
        Config::load(Source::Default, []).unwrap().kafka
    }

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn replicas_are_held_against_how_many_have_to_be_in_sync() {
        let two = settings(&[("min.insync.replicas", "2")]);
        assert_eq!(SEEN.durability("k", "t", &two), None);
        let poor = Seen { replicas: 1, in_sync: 1, ..SEEN };
        assert!(poor.durability("k", "t", &two).unwrap().contains("has 1 replicas and min.insync.replicas 2"));
        let behind = Seen { in_sync: 1, ..SEEN };
        assert!(behind.durability("k", "t", &two).unwrap().contains("nothing can be written now"));
    }

    #[test]
    fn a_state_topic_that_forgets_or_is_too_narrow_is_told() {
        let kafka = Kafka { create_topics: false, ..kafka() };
        let compact = settings(&[("cleanup.policy", "compact")]);
        assert!(state("s", &SEEN, 4, &compact, &kafka).is_empty());
        assert!(state("s", &SEEN, 8, &compact, &kafka)[0].contains("has 4 partitions, the input has 8"));
        assert!(state("s", &SEEN, 4, &settings(&[("cleanup.policy", "delete")]), &kafka)[0].contains("retention"));
    }

    #[test]
    fn time_outs_are_held_against_the_brokers() {
        let broker = settings(&[
            ("transaction.max.timeout.ms", "20000"),
            ("group.min.session.timeout.ms", "60000"),
            ("group.max.session.timeout.ms", "1800000"),
        ]);
        assert_eq!(
            timeouts(&broker, &kafka()),
            [
                "kafka.transaction_timeout: 30s is above the brokers' transaction.max.timeout.ms, 20s",
                "kafka.session_timeout: 30s is below the brokers' group.min.session.timeout.ms, 60s",
            ]
        );
        assert!(timeouts(&Settings::new(), &kafka()).is_empty());
    }

    #[test]
    fn an_output_topic_for_tiny_records_is_told() {
        assert!(output("output.alerts", "a", &settings(&[("max.message.bytes", "1000")]), &kafka()).is_some());
        assert_eq!(output("output.alerts", "a", &Settings::new(), &kafka()), None);
    }
}
