//! What librdkafka does not take of [kafka.properties], found out without a broker: each property by itself, then all of them as
//! the clients get them, for some exclude each other, and some need another or a file.

use super::client_config;
use crate::config::{ConfigError, Kafka, Passed, Properties};
use rdkafka::ClientConfig;
use rdkafka::bindings::rd_kafka_conf_properties_show;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::BaseProducer;
use rdkafka::types::RDKafkaConfRes;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

/// Where a person reads on.
const MANUAL: &str = "librdkafka's CONFIGURATION.md lists every property with its values";

/// Every property that cannot be used, in librdkafka's own words.
#[must_use]
pub fn not_taken(kafka: &Kafka) -> Vec<ConfigError> {
    let alone: Vec<_> = kafka.passed.iter().filter_map(alone).collect();
    if alone.is_empty() && !kafka.passed.is_empty() {
        return together(kafka);
    }
    alone
}

fn alone(passed: &Passed) -> Option<ConfigError> {
    let tried = ClientConfig::new().set(&passed.key, passed.reveal()).create_native_config();
    let (hint, words) = match tried {
        Ok(_) => return None,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, words, ..)) => {
            (nearest(&passed.key), words)
        }
        Err(KafkaError::ClientConfig(_, words, ..)) => (range(&passed.key), words),
        Err(_) => (None, "librdkafka does not take it".to_owned()),
    };
    Some(ConfigError::new(&passed.at, passed.hidden_in(words.trim_end()), hint.unwrap_or_else(|| MANUAL.to_owned())))
}

/// A client that knows no broker is made and thrown away.
fn together(kafka: &Kafka) -> Vec<ConfigError> {
    let client = |properties: &Properties| {
        let mut config = client_config(properties);
        config.remove("bootstrap.servers");
        config
    };
    let reader = |properties| client(properties).create().map(|_: BaseConsumer| ());
    let tried: [KafkaResult<()>; 3] =
        [reader(&kafka.consumer), reader(&kafka.restorer), client(&kafka.producer).create().map(|_: BaseProducer| ())];
    let words = |error| match error {
        KafkaError::ClientCreation(words) | KafkaError::ClientConfig(_, words, ..) => words,
        other => other.to_string(),
    };
    tried.into_iter().filter_map(Result::err).map(|error| concerns(kafka, &words(error))).collect()
}

/// The property that librdkafka names, if it is one of the user's.
fn concerns(kafka: &Kafka, words: &str) -> ConfigError {
    let named = kafka.passed.iter().filter(|passed| words.contains(&passed.key));
    let first = named.min_by_key(|passed| words.find(&passed.key));
    let at = first.map_or("kafka.properties", |passed| &passed.at);
    let words = kafka.passed.iter().fold(words.to_owned(), |words, passed| passed.hidden_in(&words));
    ConfigError::new(at, words.trim_end(), MANUAL)
}

fn nearest(key: &str) -> Option<String> {
    let known = known();
    let distances = known.keys().map(|name| (strsim::damerau_levenshtein(key, name), name));
    let (distance, name) = distances.min()?;
    (distance <= key.len() / 4).then(|| format!("did you mean `{name}`?"))
}

fn range(key: &str) -> Option<String> {
    known().remove(key).filter(|range| !range.is_empty()).map(|range| format!("it takes {range}"))
}

/// Every property with the values it takes, as far as they can be listed: librdkafka prints the table of its manual.
fn known() -> BTreeMap<String, String> {
    let table = printed();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.split(" | ").map(str::trim);
        Some((cells.next()?.to_owned(), cells.nth(1)?.to_owned()))
    });
    rows.collect()
}

unsafe extern "C" {
    fn open_memstream(text: *mut *mut c_char, size: *mut usize) -> *mut c_void;
    fn fclose(stream: *mut c_void) -> c_int;
    fn free(memory: *mut c_void);
}

fn printed() -> String {
    let (mut text, mut size) = (null_mut(), 0);
    // SAFETY: the stream is closed before its text is read, which then ends with a 0, and is ours to free.
    unsafe {
        let stream = open_memstream(&raw mut text, &raw mut size);
        if stream.is_null() {
            return String::new();
        }
        rd_kafka_conf_properties_show(stream.cast());
        fclose(stream);
        if text.is_null() {
            return String::new();
        }
        let printed = CStr::from_ptr(text).to_string_lossy().into_owned();
        free(text.cast());
        printed
    }
}
