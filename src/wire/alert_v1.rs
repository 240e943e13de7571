//! An alert's transition as JSON and CloudEvents headers, version 1. The ids are hashes of what happened, never of where it stood in
//! the log: a replay of the same rows tells the same ids.

use super::{summary, timestamp, words};
use crate::detector::Settings;
use crate::detector::alert::{Alert, ChannelEvidence, Kind};
use crate::detector::row::EventTime;
use crate::detector::schema::Channel;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The JSON Schema of an alert.
pub const SCHEMA: &str = include_str!("../../schemas/alert.schema.json");

/// What is the same for all alerts of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// `alert.name` of the configuration.
    pub detector: &'a str,
    /// Settings of the detectors.
    pub settings: &'a Settings,
    /// Topic that their rows come from.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
}

/// One transition, ready to be sent: its JSON and its headers.
#[derive(Debug, Serialize)]
pub struct AlertV1<'a> {
    version: u32,
    alert_id: String,
    event_id: String,
    detector: &'a str,
    transition: &'static str,
    cause: &'static str,
    kind: &'static str,
    entity: &'a str,
    severity: &'static str,
    onset: String,
    at: String,
    score: f32,
    row_score: f32,
    rarity: f32,
    threshold: f32,
    score_ratio: f32,
    peak_ratio: f32,
    rows: u64,
    channels: Vec<ChannelV1<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    channels_omitted: usize,
    source: SourceV1<'a>,
    model: ModelV1,
    summary: String,
}

#[derive(Debug, Serialize)]
struct ChannelV1<'a> {
    name: &'a str,
    share: f32,
    observed: f32,
    expected: f32,
    low: f32,
    high: f32,
    unit: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct SourceV1<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

#[derive(Debug, Serialize)]
struct ModelV1 {
    kind: &'static str,
    generation: u32,
}

impl<'a> AlertV1<'a> {
    /// What strangers are told of a transition of `entity`'s alert; `schema`: the channels that its evidence speaks of.
    #[must_use]
    pub fn of(source: &Source<'a>, entity: &'a str, schema: &'a [Channel], alert: &Alert) -> Self {
        let Alert {
            kind,
            transition,
            cause,
            severity,
            onset,
            at,
            score,
            row_score,
            rarity,
            threshold,
            score_ratio,
            peak_ratio,
            rows,
            channels,
            offset,
            generation,
        } = alert;
        let alert_id = alert_id(source.detector, source.topic, entity, *onset, *kind);
        let event_id = hash(&[
            alert_id.as_bytes(),
            words::transition(*transition).as_bytes(),
            words::cause(*cause).as_bytes(),
            &at.micros().to_be_bytes(),
        ]);
        Self {
            version: 1,
            alert_id,
            event_id,
            detector: source.detector,
            transition: words::transition(*transition),
            cause: words::cause(*cause),
            kind: words::kind(*kind),
            entity,
            severity: words::severity(*severity),
            onset: timestamp::to_rfc3339(*onset),
            at: timestamp::to_rfc3339(*at),
            score: *score,
            row_score: *row_score,
            rarity: *rarity,
            threshold: *threshold,
            score_ratio: *score_ratio,
            peak_ratio: *peak_ratio,
            rows: *rows,
            channels: channels
                .iter()
                .filter_map(|evidence| {
                    let ChannelEvidence { slot, share, observed, expected, low, high } = evidence;
                    let channel = schema.get(*slot)?;
                    Some(ChannelV1 {
                        name: &channel.name,
                        share: *share,
                        observed: *observed,
                        expected: *expected,
                        low: *low,
                        high: *high,
                        unit: channel.unit.as_deref(),
                    })
                })
                .collect(),
            channels_omitted: 0,
            source: SourceV1 { topic: source.topic, partition: source.partition, offset: *offset },
            model: ModelV1 { kind: words::model(source.settings), generation: *generation },
            summary: summary::of(entity, schema, alert),
        }
    }

    /// Id of the alert: the same for all its transitions.
    #[must_use]
    pub fn alert_id(&self) -> &str {
        &self.alert_id
    }

    /// Id of this transition.
    #[must_use]
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// One line that a person understands.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Appends the JSON to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a Vec takes everything, and the fields are JSON");
    }

    /// Appends the JSON to `out`, in at most `max_bytes` if leaving out the channels with the smallest shares brings it there.
    pub fn write_within(&mut self, max_bytes: usize, out: &mut Vec<u8>) {
        let start = out.len();
        self.write(out);
        while out.len() - start > max_bytes && !self.channels.is_empty() {
            let kept = self.channels.len() / 2;
            self.channels_omitted += self.channels.len() - kept;
            self.channels.truncate(kept);
            out.truncate(start);
            self.write(out);
        }
    }

    /// The headers of CloudEvents 1.0, Kafka protocol binding, binary mode.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 7] {
        [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.event_id.clone()),
            ("ce_source", format!("/offkey/{}/{}", percent_encoded(self.detector), self.source.topic)),
            ("ce_type", format!("io.offkey.alert.{}.v1", self.transition)),
            ("ce_time", self.at.clone()),
            ("ce_subject", self.entity.to_owned()),
            ("content-type", "application/json".to_owned()),
        ]
    }
}

/// 128 bits of SHA-256 over detector name, topic, entity and onset, in hex. A data-quality alert with the same onset is another alert.
#[must_use]
pub fn alert_id(detector_name: &str, topic: &str, entity: &str, onset: EventTime, kind: Kind) -> String {
    let onset = onset.micros().to_be_bytes();
    let common: [&[u8]; 4] = [detector_name.as_bytes(), topic.as_bytes(), entity.as_bytes(), &onset];
    match kind {
        Kind::Anomaly => hash(&common),
        Kind::DataQuality => {
            let [name, topic, entity, onset] = common;
            hash(&[name, topic, entity, onset, words::kind(kind).as_bytes()])
        }
    }
}

/// Every part with its length before it, so that no two lists of parts are one text.
fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    super::hex(&hash.finalize()[..16])
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands over a reference
fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte as char);
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
