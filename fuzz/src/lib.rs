//! What has to hold of every input that a stranger can write. The fuzz targets call these, and so does tests/fuzz.rs.

use offkey::config::{Config, Source};
use offkey::detector::row::EventTime;
use offkey::detector::warmup::Length;
use offkey::detector::{Scratch, Settings};
use offkey::lane::align;
use offkey::lane::entity::{Entity, Surroundings};
use offkey::lane::intake::Measured;
use offkey::wire::bounds::MAX_ENTITY;
use offkey::wire::channels::{ChannelId, Channels, Lookup, Selection};
use offkey::wire::decoder::{Content, Decoded, Decoder, Message};
use offkey::wire::state_record::{Barrier, Envelope, Key, OffsetMetadata};
use offkey::wire::timestamp::{Unit, parse_rfc3339, to_rfc3339};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// Keys, values and metadata of the state topic: what decodes is what encoding writes, byte for byte.
pub fn state_record(bytes: &[u8]) {
    if let Ok(key) = Key::decode(bytes) {
        assert_eq!(key.encode(), bytes);
    }
    if let Ok(envelope) = Envelope::decode(bytes) {
        let mut again = Vec::new();
        envelope.encode(&mut again);
        assert_eq!(again, bytes);
    }
    if let Ok(barrier) = Barrier::decode(bytes) {
        assert_eq!(barrier.encode(), bytes);
    }
    if let Some(metadata) = std::str::from_utf8(bytes).ok().and_then(OffsetMetadata::decode) {
        assert_eq!(OffsetMetadata::decode(&metadata.encode()), Some(metadata));
    }
}

/// A snapshot's body. The input is a recipe: its first byte says which sound state it begins with (beyond them: with nothing), then
/// every four bytes are a change: where, in 24 bits, and which byte. What decodes goes on with rows, and comes back as it is.
pub fn snapshot(recipe: &[u8]) {
    let states = states();
    let (first, rest) = recipe.split_first().unwrap_or((&0, &[]));
    let mut body = match states.get(*first as usize) {
        Some(state) => {
            let mut body = state.clone();
            for change in rest.chunks_exact(4) {
                let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize % body.len();
                body[at] = change[3];
            }
            // An odd end cuts it short.
            if let [most, ..] = rest.chunks_exact(4).remainder() {
                body.truncate(body.len() * usize::from(*most) / 256);
            }
            body
        }
        None => rest.to_vec(),
    };
    let Some((mut entity, mut channels)) = decode(&body) else { return };
    body.clear();
    entity.encode(&channels, &mut body);
    let (same, names) = decode(&body).expect("what was encoded can be read");
    let mut again = Vec::new();
    same.encode(&names, &mut again);
    assert_eq!(again, body, "what decodes comes back as it is");
    walk(&mut entity, &mut channels, 8);
}

/// A body under the settings that [`states`] were made under.
pub fn decode(body: &[u8]) -> Option<(Entity, Channels)> {
    let (settings, config) = (settings(), config_of_defaults());
    let mut channels = Channels::new(Selection::all());
    let entity = Entity::decode("pump", 7, body, settings, &config.rules, &mut channels).ok()?;
    Some((entity, channels))
}

/// States of one channel and of six: on probation, warming, with a model.
pub fn states() -> &'static [Vec<u8>] {
    static STATES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    STATES.get_or_init(|| {
        let lives = [(1, 2), (1, 40), (1, 420), (6, 2), (6, 40), (6, 420)];
        let state = |(n_channels, n_rows): (usize, i64)| {
            let mut channels = Channels::new(Selection::all());
            let ids = intern(&mut channels, n_channels);
            let mut entity = Entity::new("pump");
            (0..n_rows).for_each(|i| take(&mut entity, &channels, &ids, i, &row(i, n_channels)));
            let mut body = Vec::new();
            entity.encode(&channels, &mut body);
            body
        };
        lives.into_iter().map(state).collect()
    })
}

fn intern(channels: &mut Channels, n: usize) -> Vec<ChannelId> {
    (0..n)
        .filter_map(|c| match channels.intern(&format!("c{c}")) {
            Lookup::Channel(id) => Some(id),
            Lookup::Ignored | Lookup::Full => None,
        })
        .collect()
}

fn row(i: i64, n_channels: usize) -> Vec<f32> {
    (0..n_channels).map(|c| (i as f32 / 7.0 + c as f32).sin() + (i * i % 11) as f32 / 50.0).collect()
}

/// Rows that are usual, missing and out of all bounds.
fn walk(entity: &mut Entity, channels: &mut Channels, n_rows: i64) {
    let ids = intern(channels, 6);
    for i in 0..n_rows {
        let mut values = row(i, ids.len());
        match i {
            5 => values.fill(f32::MAX),
            6 => values.fill(-1e-40),
            _ => {}
        }
        let given = if i == 3 { &[] } else { &ids[..] };
        take(entity, channels, given, i + 100_000, &values);
    }
}

fn take(entity: &mut Entity, channels: &Channels, ids: &[ChannelId], i: i64, values: &[f32]) {
    thread_local! {
        static SCRATCH: std::cell::RefCell<Scratch> = std::cell::RefCell::default();
    }
    let measurements: Vec<(ChannelId, f32)> = ids.iter().copied().zip(values.iter().copied()).collect();
    SCRATCH.with_borrow_mut(|scratch| {
        let mut around = Surroundings {
            channels,
            rulebook: &config_of_defaults().rules,
            settings: settings(),
            probation_rows: 3,
            scratch,
            values: &mut Vec::new(),
        };
        let record = Measured { at: EventTime::from_millis(i * 60_000), offset: i, measurements: &measurements };
        entity.take_record(&record, &align::Settings::default(), &mut around, |_, outcome| {
            let figures = [outcome.score, outcome.row_score, outcome.rarity, outcome.threshold, outcome.score_ratio];
            assert!(figures.iter().all(|figure| figure.is_finite()), "{figures:?}");
        });
    });
}

fn settings() -> &'static Arc<Settings> {
    static SETTINGS: OnceLock<Arc<Settings>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let mut settings = Settings { warmup: Length::Rows(400), window_rows: 2, ..Settings::default() };
        settings.model.hidden = 3;
        Arc::new(settings)
    })
}

fn config_of_defaults() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(Config::defaults)
}

/// A row a message.
pub fn json_wide(bytes: &[u8]) {
    static DECODERS: OnceLock<Vec<Decoder>> = OnceLock::new();
    messages(
        bytes,
        DECODERS.get_or_init(|| {
            decoders(&[
                "",
                "[input]\nvalues = \".\"\nchannels = [\"a\", \"m.*\"]\nentity = [\"site\", \"id\"]",
                "[input]\nvalues = \"data.values\"\ntimestamp = \"data.at\"\ntimestamp_unit = \"ms\"\nmax_record_size = \"1KiB\"",
                "[input]\ntimestamp = \"record\"",
            ])
        }),
    );
}

/// A measurement a message.
pub fn json_long(bytes: &[u8]) {
    static DECODERS: OnceLock<Vec<Decoder>> = OnceLock::new();
    messages(
        bytes,
        DECODERS.get_or_init(|| {
            decoders(&[
                "[input]\nformat = \"json_long\"",
                "[input]\nformat = \"json_long\"\nsensor = \"tag.name\"\nvalue = \"tag.value\"\nentity = \"id\"\nchannels = [\"a*\"]",
            ])
        }),
    );
}

fn decoders(texts: &[&str]) -> Vec<Decoder> {
    let decoder = |text: &&str| Decoder::new(Config::load(Source::Toml(text), []).expect("a config").input.decoder);
    texts.iter().map(decoder).collect()
}

/// The first byte says which decoder reads the rest, and whether the record has a key.
fn messages(bytes: &[u8], decoders: &[Decoder]) {
    let Some((first, payload)) = bytes.split_first() else { return };
    let mut decoder = decoders[usize::from(*first) % decoders.len()].clone();
    let key = (*first < 128).then_some(&b"pump-1"[..]);
    let message = Message { key, payload: Some(payload), timestamp: Some(EventTime::from_millis(1_700_000_000_000)) };
    let mut decoded = Decoded::default();
    let content = decoder.decode(&message, &mut decoded);
    match &content {
        Ok(content) => {
            assert!((1..=MAX_ENTITY).contains(&decoded.entity.len()), "{:?}", decoded.entity);
            assert_eq!(parse_rfc3339(to_rfc3339(decoded.at).as_bytes()), Some(decoded.at));
            assert!(*content == Content::Measurements || decoded.measurements.is_empty());
            assert!(decoded.measurements.iter().all(|(_, value)| value.is_finite()));
            let ids: BTreeSet<ChannelId> = decoded.measurements.iter().map(|(id, _)| *id).collect();
            assert_eq!(ids.len(), decoded.measurements.len(), "each channel at most once");
        }
        Err(rejected) => assert!(!rejected.rejection.reason().is_empty()),
    }
    // Names are known now: it is read by the quick way, and is the same.
    let mut again = Decoded::default();
    assert_eq!(decoder.decode(&message, &mut again), content);
    if content.is_ok() {
        assert_eq!((again.entity, again.at, again.measurements), (decoded.entity, decoded.at, decoded.measurements));
    }
}

/// Times as text and as numbers: what is read is in range and comes back as it is.
pub fn timestamp(bytes: &[u8]) {
    let told = |at: EventTime| assert_eq!(parse_rfc3339(to_rfc3339(at).as_bytes()), Some(at));
    if let Some(at) = parse_rfc3339(bytes) {
        told(at);
    }
    if let Some(number) = bytes.first_chunk::<8>() {
        for unit in [Unit::Auto, Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos] {
            unit.of_integer(i64::from_le_bytes(*number)).map(told);
            unit.of_float(f64::from_le_bytes(*number)).map(told);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        Unit::Auto.of_text(text).map(told);
    }
}

/// A configuration is one, or every mistake has a key; and it never reads a file that it does not name.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A secret's file is read as it is: fuzzers may not open what they like.
    if text.contains("_file") {
        return;
    }
    for source in [Source::Toml(text), Source::Yaml(text)] {
        match Config::load(source, []) {
            Ok(config) => assert!(config.detector.window_rows > 0 && !config.input.topics.is_empty()),
            Err(errors) => assert!(!errors.0.is_empty() && errors.0.iter().all(|error| !error.problem.is_empty())),
        }
    }
}
