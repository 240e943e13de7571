//! A record that was refused, as it came, with headers that say why: `reason`, `error`, `topic`, `partition`, `offset`, `timestamp`
//! (RFC 3339, if the record had one). What does not fit is cut, the value first, with `truncated` ("true"), `size` and `sha256` of
//! the whole; if the key alone is too long, nothing is left of the value, and `key_truncated`, `key_size` and `key_sha256` tell of
//! the key.

use super::rejection::Rejected;
use super::{frame, timestamp};
use crate::detector::row::EventTime;
use sha2::{Digest, Sha256};

/// What the headers mean, for `offkey schema dead-letter`.
pub const HEADERS: &str = include_str!("../../schemas/dead-letter.schema.json");

/// Headers that tell of a cut: that it is one, of how many bytes, and their hash.
const VALUE_CUT: [&str; 3] = ["truncated", "size", "sha256"];
const KEY_CUT: [&str; 3] = ["key_truncated", "key_size", "key_sha256"];

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
    /// The record's key, cut if nothing else helps; `None`: it had none.
    pub key: Option<&'a [u8]>,
    /// The record's value, cut if it has to be; `None`: it had none.
    pub value: Option<&'a [u8]>,
    headers: Headers,
}

type Headers = Vec<(&'static str, String)>;

impl<'a> DeadLetter<'a> {
    /// `max_bytes` is the limit of the dead letters' topic for a batch (`max.message.bytes`): one with this letter alone.
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
        let Refused { mut key, payload: mut value, .. } = *refused;
        if length(key) + length(value) > room(&headers, max_bytes) {
            // An empty one is whole, however little fits.
            if let Some(whole) = value.filter(|value| !value.is_empty()) {
                tell_cut(&mut headers, VALUE_CUT, whole);
                value = Some(&whole[..room(&headers, max_bytes).saturating_sub(length(key))]);
            }
            if let Some(whole) = key.filter(|key| key.len() > room(&headers, max_bytes)) {
                tell_cut(&mut headers, KEY_CUT, whole);
                key = Some(&whole[..room(&headers, max_bytes)]);
            }
        }
        Self { key, value, headers }
    }

    /// The headers in order.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, &[u8])> {
        self.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }
}

fn length(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

/// Bytes that are left for key and value.
fn room(headers: &Headers, max_bytes: usize) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| frame::header(name, value)).sum();
    max_bytes.saturating_sub(frame::ALONE + headers)
}

fn tell_cut(headers: &mut Headers, names: [&'static str; 3], whole: &[u8]) {
    let hash = super::hex(&Sha256::digest(whole));
    headers.extend(names.into_iter().zip(["true".to_owned(), whole.len().to_string(), hash]));
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

    /// Bytes of a batch with this letter alone, as librdkafka counts them.
    fn size(letter: &DeadLetter<'_>) -> usize {
        let headers = letter.headers.iter().map(|(name, value)| frame::header(name, value)).sum::<usize>();
        frame::ALONE + headers + length(letter.key) + length(letter.value)
    }

    #[test]
    fn all_of_a_record_is_kept_that_fits() {
        let rejected = Rejection::TooLarge.because("é".repeat(1_000));
        let record = [b'x'; 60_000];
        for (n_key, n_value) in [(0, 60_000), (1, 16_000), (2_000, 1_000), (20_000, 500), (30_000, 0)] {
            let record = Refused { key: Some(&record[..n_key]), ..refused(&record[..n_value]) };
            let letter = DeadLetter::of(&record, &rejected, 1 << 20);
            assert_eq!((letter.key, letter.value), (record.key, record.payload));
            let whole = size(&letter);
            let letter = DeadLetter::of(&record, &rejected, whole);
            assert_eq!((letter.key, letter.value, size(&letter)), (record.key, record.payload, whole));
            let letter = DeadLetter::of(&record, &rejected, whole - 1);
            assert_eq!(size(&letter), whole - 1);
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_and_can_be_recognised_the_value_before_the_key() {
        const LIMIT: usize = 16 << 10;
        let rejected = Rejection::TooLarge.because("é".repeat(1_000));
        let bytes = [b'x'; 20_000];
        let cut = |n_key: usize, value: Option<usize>, limit: usize| {
            let payload = value.map(|n| &bytes[..n]);
            let letter =
                DeadLetter::of(&Refused { key: Some(&bytes[..n_key]), payload, ..refused(b"") }, &rejected, limit);
            let is_cut =
                ["truncated=true", "key_truncated=true"].map(|header| told(&letter).contains(&header.to_owned()));
            assert!(size(&letter) == limit || limit < 1_000, "{} of {limit}", size(&letter));
            (letter.key.map(<[u8]>::len), letter.value.map(<[u8]>::len), is_cut, told(&letter))
        };
        let (key, value, is_cut, told) = cut(2_000, Some(20_000), LIMIT);
        assert!(key == Some(2_000) && value > Some(13_000) && is_cut == [true, false], "{key:?} {value:?}");
        let hash = super::super::hex(&Sha256::digest(bytes));
        assert_eq!(told[told.len() - 2..], ["size=20000".to_owned(), format!("sha256={hash}")]);
        let (key, value, is_cut, told) = cut(20_000, Some(1), LIMIT);
        assert!(key > Some(15_000) && value == Some(0) && is_cut == [true, true], "{key:?} {value:?}");
        assert_eq!(told[told.len() - 2..], ["key_size=20000".to_owned(), format!("key_sha256={hash}")]);
        for value in [None, Some(0)] {
            let (key, found, is_cut, _) = cut(20_000, value, LIMIT);
            assert!(key > Some(15_000) && found == value && is_cut == [false, true], "{key:?} {found:?}");
        }
        let (key, value, is_cut, _) = cut(1, Some(1), 10);
        assert_eq!((key, value, is_cut), (Some(0), Some(0), [true, true]));
    }
}
