//! Keys and values of the compacted state topic, and the metadata text of the committed offsets. Reading never panics, never
//! allocates by a length it was told, and says what kind of unreadable a value is.
//!
//! Keys: `e1/topic/partition/entity` (snapshot), `t1/topic/partition` (terms), `b1/partition` (barrier). Topic names cannot hold a
//! slash, so the entity is the rest, whatever it holds.
//!
//! Values: `"OFK1" | u16 format | u16 kind | u64 fingerprint | i64 as_of | u64 rows | body | u32 crc32 of all before`, little-endian.

use std::fmt::Write as _;

const MAGIC: [u8; 4] = *b"OFK1";
/// The one format this version writes.
pub const FORMAT: u16 = 1;
const HEADER: usize = 4 + 2 + 2 + 8 + 8 + 8;
const CRC: usize = 4;

/// The key of a state record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<'a> {
    /// The whole state of one entity.
    Snapshot {
        /// Input topic.
        topic: &'a str,
        /// Input partition.
        partition: i32,
        /// The entity.
        entity: &'a str,
    },
    /// How the records of a partition are read and judged.
    Terms {
        /// Input topic.
        topic: &'a str,
        /// Input partition.
        partition: i32,
    },
    /// Committed at an assignment: what was committed before it, is before it in the log.
    Barrier {
        /// State partition.
        partition: i32,
    },
}

impl<'a> Key<'a> {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Snapshot { topic, partition, entity } => format!("e1/{topic}/{partition}/{entity}"),
            Self::Terms { topic, partition } => format!("t1/{topic}/{partition}"),
            Self::Barrier { partition } => format!("b1/{partition}"),
        }
        .into_bytes()
    }

    /// A key from its bytes.
    ///
    /// # Errors
    /// [`Unreadable::NotOurs`] for anything that [`Key::encode`] would not write.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        Self::parse(bytes).ok_or(Unreadable::NotOurs)
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = std::str::from_utf8(bytes).ok()?.split_once('/')?;
        match kind {
            "e1" => {
                let (topic, rest) = rest.split_once('/')?;
                let (partition, entity) = rest.split_once('/')?;
                let partition = number(partition)?;
                (!topic.is_empty() && !entity.is_empty()).then_some(Self::Snapshot { topic, partition, entity })
            }
            "t1" => {
                let (topic, partition) = rest.split_once('/')?;
                (!topic.is_empty()).then_some(Self::Terms { topic, partition: number(partition)? })
            }
            "b1" => Some(Self::Barrier { partition: number(rest)? }),
            _ => None,
        }
    }
}

/// A partition as `encode` writes it: no sign, no leading zero.
fn number(text: &str) -> Option<i32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok())?
}

/// What the body of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `detector::snapshot` bytes.
    Snapshot,
    /// Text of the configuration; the envelope's fingerprint is of it.
    Terms,
    /// A [`Barrier`].
    Barrier,
}

impl Kind {
    const fn code(self) -> u16 {
        match self {
            Self::Snapshot => 1,
            Self::Terms => 2,
            Self::Barrier => 3,
        }
    }

    const fn of_code(code: u16) -> Option<Self> {
        match code {
            1 => Some(Self::Snapshot),
            2 => Some(Self::Terms),
            3 => Some(Self::Barrier),
            _ => None,
        }
    }
}

/// Why a state record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unreadable {
    /// Shorter than any record of ours.
    Truncated,
    /// Not written by Offkey.
    NotOurs,
    /// Written by a version whose format this one does not know. To be left alone, never overwritten.
    ForeignVersion {
        /// The format it says it has.
        format: u16,
    },
    /// Ours once: the checksum or a field is wrong.
    Corrupt,
}

impl Unreadable {
    /// The word for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::NotOurs => "not_ours",
            Self::ForeignVersion { .. } => "foreign_version",
            Self::Corrupt => "corrupt",
        }
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated => f.write_str("the state record is cut short"),
            Self::NotOurs => f.write_str("the state record was not written by offkey"),
            Self::ForeignVersion { format } => {
                write!(f, "the state record has format {format}, this version reads {FORMAT}")
            }
            Self::Corrupt => f.write_str("the state record is damaged: its checksum does not match"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// A value of the state topic around its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the body is.
    pub kind: Kind,
    /// What shaped the model: a body is only of use to a config with the same one.
    pub fingerprint: u64,
    /// Offset of the last input record whose effect is in the body; -1: none.
    pub as_of: i64,
    /// Rows that went into it.
    pub rows: u64,
    /// The rest.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Bytes that the envelope adds to its body.
    pub const OVERHEAD: usize = HEADER + CRC;

    /// Appends the value to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(Self::OVERHEAD + self.body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.kind.code().to_le_bytes());
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
        out.extend_from_slice(&self.as_of.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(self.body);
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads a value. Magic and format first, so that a foreign version is not called damaged.
    ///
    /// # Errors
    /// Says which kind of unreadable it is; nothing of it can be used then.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut header = Fields(bytes);
        match header.array::<4>() {
            None => return Err(Unreadable::Truncated),
            Some(magic) if magic != MAGIC => return Err(Unreadable::NotOurs),
            Some(_) => {}
        }
        let format = header.u16().ok_or(Unreadable::Truncated)?;
        if format != FORMAT {
            return Err(Unreadable::ForeignVersion { format });
        }
        if bytes.len() < Self::OVERHEAD {
            return Err(Unreadable::Truncated);
        }
        let (covered, crc) = bytes.split_at(bytes.len() - CRC);
        if Fields(crc).u32() != Some(crc32fast::hash(covered)) {
            return Err(Unreadable::Corrupt);
        }
        let mut fields = Fields(&covered[6..]);
        (|| {
            Some(Self {
                kind: Kind::of_code(fields.u16()?)?,
                fingerprint: fields.u64()?,
                as_of: fields.i64()?,
                rows: fields.u64()?,
                body: fields.0,
            })
        })()
        .ok_or(Unreadable::Corrupt)
    }
}

/// The body of a barrier: who is waiting for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The instance that restores.
    pub instance: String,
    /// Which of its restores.
    pub nonce: u64,
}

impl Barrier {
    /// Bytes of the body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = self.nonce.to_le_bytes().to_vec();
        body.extend_from_slice(self.instance.as_bytes());
        body
    }

    /// From a body.
    ///
    /// # Errors
    /// [`Unreadable::Corrupt`] if it is too short or not UTF-8.
    pub fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = Fields(body);
        let nonce = fields.u64().ok_or(Unreadable::Corrupt)?;
        let instance = std::str::from_utf8(fields.0).map_err(|_| Unreadable::Corrupt)?;
        Ok(Self { instance: instance.to_owned(), nonce })
    }
}

/// The text committed beside an offset: `v1;e=EPOCH;r=REPLAY_OFFSET;a=ACCUMULATOR;t=TERMS;s=MILLIS`, the accumulator and the terms in
/// hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetMetadata {
    /// The epoch that committed the offset.
    pub epoch: u64,
    /// Lowest offset whose effect is in no committed snapshot.
    pub replay_offset: i64,
    /// Sum of the accumulators of the lane's entities.
    pub accumulator: u64,
    /// Fingerprint of the terms under which records from the replay offset on were handled; `None`: nobody has said.
    pub terms: Option<u64>,
    /// Where the group begins with a partition of which it has committed nothing, in milliseconds since the Unix epoch: when its first
    /// member started, if `input.start` is `latest`.
    pub began: Option<i64>,
}

impl OffsetMetadata {
    /// What a broker takes at most (`offset.metadata.max.bytes`).
    pub const MAX_LEN: usize = 4096;

    /// The text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(96);
        write!(text, "v1;e={};r={};a={:016x}", self.epoch, self.replay_offset, self.accumulator)
            .expect("a String takes everything");
        if let Some(terms) = self.terms {
            write!(text, ";t={terms:016x}").expect("a String takes everything");
        }
        if let Some(began) = self.began {
            write!(text, ";s={began}").expect("a String takes everything");
        }
        text
    }

    /// The text beside an offset of which nothing but that is known. It is not decoded: nothing is vouched for.
    #[must_use]
    pub fn beginning(began: Option<i64>) -> String {
        began.map_or_else(String::new, |began| format!("v1;s={began}"))
    }

    /// [`OffsetMetadata::began`] of any text of ours.
    #[must_use]
    pub fn began_of(text: &str) -> Option<i64> {
        let fields = text.strip_prefix("v1;").filter(|fields| fields.len() <= Self::MAX_LEN)?;
        fields.split(';').find_map(|field| field.strip_prefix("s=")?.parse().ok())
    }

    /// From the text; `None` if it is not ours (an operator's reset leaves it empty). Unknown fields are left to later versions.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_LEN {
            return None;
        }
        let (mut epoch, mut replay_offset, mut accumulator, mut terms, mut began) = (None, None, None, None, None);
        for field in text.strip_prefix("v1;")?.split(';') {
            let (name, value) = field.split_once('=')?;
            match name {
                "e" => epoch = Some(value.parse().ok()?),
                "r" => replay_offset = Some(value.parse().ok()?),
                "a" => accumulator = Some(u64::from_str_radix(value, 16).ok()?),
                "t" => terms = Some(u64::from_str_radix(value, 16).ok()?),
                "s" => began = Some(value.parse().ok()?),
                _ => {}
            }
        }
        Some(Self { epoch: epoch?, replay_offset: replay_offset?, accumulator: accumulator?, terms, began })
    }
}

/// Takes fixed fields off the front of a slice; `None` once it is too short.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
