//! A record that was refused, as it came, with headers that say why: `reason`, `error`, `topic`, `partition`, `offset`, `timestamp`
//! (RFC 3339, if the record had one); what does not fit is cut, with `truncated` ("true"), `size` and `sha256` of the whole.

use super::rejection::Rejected;
use super::timestamp;
use crate::detector::row::EventTime;
use sha2::{Digest, Sha256};

/// What the headers mean, for `offkey schema dead-letter`.
pub const HEADERS: &str = include_str!("../../schemas/dead-letter.schema.json");

/// Bytes that key, headers and Kafka's own framing take at most beside a cut value: key and error are bounded too.
const OVERHEAD: usize = 2 * KEY_MAX;
/// Longer keys are cut: a dead letter must always fit.
const KEY_MAX: usize = 1024;

/// The refused record.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its own timestamp.
    pub timestamp: Option<EventTime>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub payload: Option<&'a [u8]>,
}

/// A dead letter, ready to be sent.
#[derive(Clone, Debug)]
pub struct DeadLetter<'a> {
    /// The record's key; `None`: it had none.
    pub key: Option<&'a [u8]>,
    /// The record's value, cut if it has to be; `None`: it had none.
    pub value: Option<&'a [u8]>,
    headers: Vec<(&'static str, String)>,
}

impl<'a> DeadLetter<'a> {
    /// `max_bytes` is the limit of the dead letters' topic for a whole record (`max.message.bytes`).
    #[must_use]
    pub fn of(refused: &Refused<'a>, rejected: &Rejected, max_bytes: usize) -> Self {
        let mut headers = vec![
            ("reason", rejected.rejection.reason().to_owned()),
            ("error", cut_text(&rejected.error, Rejected::MAX_ERROR).to_owned()),
            ("topic", refused.topic.to_owned()),
            ("partition", refused.partition.to_string()),
            ("offset", refused.offset.to_string()),
        ];
        if let Some(at) = refused.timestamp {
            headers.push(("timestamp", timestamp::to_rfc3339(at)));
        }
        let room = max_bytes.saturating_sub(OVERHEAD);
        let value = refused.payload.map(|payload| {
            if payload.len() <= room {
                return payload;
            }
            let hash = Sha256::digest(payload);
            headers.push(("truncated", "true".to_owned()));
            headers.push(("size", payload.len().to_string()));
            headers.push(("sha256", super::hex(&hash)));
            &payload[..room]
        });
        let key = refused.key.map(|key| &key[..key.len().min(KEY_MAX)]);
        Self { key, value, headers }
    }

    /// The headers in order.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, &[u8])> {
        self.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }
}

fn cut_text(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::rejection::Rejection;
    use super::*;

    fn refused(payload: &[u8]) -> Refused<'_> {
        Refused {
            topic: "telemetry",
            partition: 2,
            offset: 7,
            timestamp: Some(EventTime::from_millis(1)),
            key: Some(b"k"),
            payload: Some(payload),
        }
    }

    fn told(letter: &DeadLetter<'_>) -> Vec<String> {
        let headers = letter.headers();
        headers.iter().map(|(name, value)| format!("{name}={}", std::str::from_utf8(value).unwrap())).collect()
    }

    #[test]
    fn the_bytes_are_the_records_own() {
        let rejected = Rejection::MalformedJson.because("expected value");
        let letter = DeadLetter::of(&refused(b"\xff{"), &rejected, 1 << 20);
        assert_eq!((letter.key, letter.value), (Some(&b"k"[..]), Some(&b"\xff{"[..])));
        assert_eq!(
            told(&letter),
            [
                "reason=malformed_json",
                "error=expected value",
                "topic=telemetry",
                "partition=2",
                "offset=7",
                "timestamp=1970-01-01T00:00:00.001000Z"
            ]
        );
        for (key, payload) in [(None, None), (Some(&b""[..]), Some(&b""[..]))] {
            let nothing = Refused { key, payload, timestamp: None, ..refused(b"") };
            let letter = DeadLetter::of(&nothing, &rejected, 1 << 20);
            assert_eq!((letter.key, letter.value), (key, payload));
        }
    }

    #[test]
    fn headers_are_what_their_schema_says() {
        let schema: serde_json::Value = serde_json::from_str(HEADERS).unwrap();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        for rejection in Rejection::ALL {
            for max_bytes in [0, 1 << 20] {
                let rejected = rejection.because("why");
                let letter = DeadLetter::of(&refused(b"payload"), &rejected, max_bytes);
                let headers: serde_json::Map<_, _> = letter
                    .headers()
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), std::str::from_utf8(value).unwrap().into()))
                    .collect();
                assert!(schema.is_valid(&serde_json::Value::Object(headers)));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_and_can_be_recognised() {
        let payload = vec![b'x'; 5 << 20];
        let rejected = Rejection::TooLarge.because("é".repeat(1_000));
        let letter = DeadLetter::of(&refused(&payload), &rejected, 1 << 20);
        let headers = letter.headers();
        let size = letter.key.unwrap().len()
            + letter.value.unwrap().len()
            + headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum::<usize>()
            + 100;
        assert!(size <= 1 << 20, "{size}");
        let told = told(&letter);
        assert!(told.contains(&"truncated=true".to_owned()) && told.contains(&"size=5242880".to_owned()), "{told:?}");
        assert!(told.iter().any(|header| header.len() == "sha256=".len() + 64));
        assert!(DeadLetter::of(&refused(&payload), &rejected, 10).value.unwrap().is_empty());
    }
}
