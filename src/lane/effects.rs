//! All that the world should see of some records, as plain values in one arena: nothing is allocated per record once the
//! buffers have grown.

use super::tally::Tally;
use crate::wire::state_record::{Barrier, Envelope, Key, Kind};
use std::ops::Range;

/// Where an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The topic of alerts.
    Alerts,
    /// The topic of scores.
    Scores,
    /// The topic of dead letters.
    DeadLetters,
    /// The compacted state topic.
    State,
}

/// A borrowed output.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Where it goes.
    pub stream: Stream,
    /// Which partition; `None`: by key.
    pub partition: Option<i32>,
    /// Key; `None`: it has none, which is not an empty one.
    pub key: Option<&'a [u8]>,
    /// Value; `None`: a tombstone.
    pub value: Option<&'a [u8]>,
    headers: &'a [Header],
    bytes: &'a [u8],
}

impl<'a> Output<'a> {
    /// Headers by name, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> + use<'a> {
        let (headers, bytes) = (self.headers, self.bytes);
        headers.iter().map(move |header| (header.name, &bytes[header.value.clone()]))
    }
}

#[derive(Clone, Debug)]
struct Header {
    name: &'static str,
    value: Range<usize>,
}

#[derive(Clone, Debug)]
struct Span {
    stream: Stream,
    partition: Option<i32>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

/// Outputs in the order in which they arose, what there is to count, and states that left memory.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    headers: Vec<Header>,
    /// What there is to count.
    pub tally: Tally,
    /// Snapshots of entities that left memory: to be kept where they are found again.
    pub evicted: Vec<(String, Vec<u8>)>,
    /// The records' own timestamps (ms) of the alerts, for their latency.
    pub alert_times: Vec<i64>,
}

impl Effects {
    /// Appends an output; `value` writes its bytes at the end of the buffer it is given, or says that there are none.
    pub fn push(
        &mut self,
        stream: Stream,
        partition: Option<i32>,
        key: Option<&[u8]>,
        headers: &[(&'static str, &[u8])],
        value: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let key = key.map(|key| self.append(key));
        let first = self.headers.len();
        for (name, value) in headers {
            let value = self.append(value);
            self.headers.push(Header { name, value });
        }
        let start = self.bytes.len();
        let has_value = value(&mut self.bytes);
        let value = has_value.then_some(start..self.bytes.len());
        self.spans.push(Span { stream, partition, key, value, headers: first..self.headers.len() });
    }

    /// Appends a barrier: what is committed to this partition of the state topic from now on comes behind it.
    pub fn push_barrier(&mut self, partition: i32, instance: &str, nonce: u64) {
        let body = Barrier { instance: instance.to_owned(), nonce }.encode();
        let envelope = Envelope { kind: Kind::Barrier, fingerprint: 0, as_of: -1, rows: 0, body: &body };
        self.push(Stream::State, Some(partition), Some(&Key::Barrier { partition }.encode()), &[], |out| {
            envelope.encode(out);
            true
        });
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// The outputs in order.
    pub fn outputs(&self) -> impl Iterator<Item = Output<'_>> {
        self.spans.iter().map(|span| Output {
            stream: span.stream,
            partition: span.partition,
            key: span.key.clone().map(|key| &self.bytes[key]),
            value: span.value.clone().map(|value| &self.bytes[value]),
            headers: &self.headers[span.headers.clone()],
            bytes: &self.bytes,
        })
    }

    /// How many outputs there are.
    #[must_use]
    pub fn n_outputs(&self) -> usize {
        self.spans.len()
    }

    /// Bytes they take.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }
}
