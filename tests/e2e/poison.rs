//! Bad records go to the dead-letter topic with a reason, are counted, and nothing else stops.

use crate::broker::{create_topic, create_topic_with, shared};
use crate::checker::source_of;
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::topic::{Read, Writer, read_all};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Key, value, reason; `None`: handled as documented, no dead letter.
fn bad_records() -> Vec<(Option<&'static str>, Vec<u8>, Option<&'static str>)> {
    let wide = |values: &str| format!("{{\"ts\":1760000000000,\"values\":{values}}}").into_bytes();
    let mut deep = b"{\"ts\":1,\"values\":".to_vec();
    deep.extend(std::iter::repeat_n(b"{\"a\":".as_slice(), 100_000).flatten());
    vec![
        (Some("x"), b"{no json".to_vec(), Some("malformed_json")),
        (Some("x"), Vec::new(), Some("malformed_json")),
        (Some("x"), deep, Some("malformed_json")),
        (Some("x"), wide("{\"a\":NaN}"), Some("malformed_json")),
        (Some("x"), vec![0xff, 0xfe, 0x00], Some("invalid_utf8")),
        (Some("x"), wide("{\"a\":\"hot\"}"), Some("not_a_number")),
        (Some("x"), wide("{\"a\":1e308}"), Some("number_out_of_range")),
        (Some("x"), wide("{}"), Some("missing_values")),
        (Some("x"), b"{\"values\":{\"a\":1}}".to_vec(), Some("missing_timestamp")),
        (Some("x"), b"{\"ts\":\"never\",\"values\":{\"a\":1}}".to_vec(), Some("invalid_timestamp")),
        (Some("x"), b"{\"ts\":4102444800000,\"values\":{\"a\":1}}".to_vec(), Some("timestamp_in_future")),
        (None, wide("{\"a\":1}"), Some("missing_entity")),
        (Some(""), wide("{\"a\":1}"), Some("invalid_entity")),
        (Some("x"), vec![b'x'; 5 << 20], Some("too_large")),
        (Some("old"), b"{\"ts\":1,\"values\":{\"a\":1}}".to_vec(), None),
    ]
}

#[test]
fn poison_is_dead_lettered_and_good_rows_do_not_notice() {
    let bootstrap = shared();
    let (clean, dirty) = (unique("clean"), unique("dirty"));
    create_topic(bootstrap, &clean, 1);
    create_topic_with(bootstrap, &dirty, 1, &[("max.message.bytes", "20000000")]);
    let mut fleet = Fleet::new(5, 2);
    let (clean_writer, dirty_writer) = (Writer::to(bootstrap, &clean), Writer::to(bootstrap, &dirty));
    let mut bad = bad_records().into_iter().cycle();
    let n_bad = bad_records().len() * 4;
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for tick in 0..1_300 {
        for row in fleet.tick() {
            let json = row.json();
            clean_writer.send(Some(&row.entity), Some(json.as_bytes()));
            dirty_writer.send(Some(&row.entity), Some(json.as_bytes()));
        }
        if tick % 20 == 0 && tick / 20 < n_bad {
            let (key, value, reason) = bad.next().unwrap();
            dirty_writer.send(key, Some(&value));
            reason.into_iter().for_each(|reason| *expected.entry(reason.to_owned()).or_default() += 1);
        }
    }
    clean_writer.flush();
    dirty_writer.flush();
    let (without, with) = (Setup::new(bootstrap, "without", &clean), Setup::new(bootstrap, "with", &dirty));
    for setup in [&without, &with] {
        let daemon = setup.start("a");
        setup.wait_until_read();
        if std::ptr::eq(setup, &with) {
            for (reason, n) in &expected {
                let counted = daemon.metric(&format!("offkey_records_rejected_total{{reason=\"{reason}\"}}"));
                assert_eq!(counted, *n as f64, "{reason}");
            }
        }
        daemon.stop();
    }
    let letters = read_all(bootstrap, &with.topic("dead"));
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for letter in &letters {
        let header = |name: &str| String::from_utf8_lossy(&letter.headers[name]).into_owned();
        *told.entry(header("reason")).or_default() += 1;
        assert_eq!(header("topic"), dirty);
        assert!(!header("error").is_empty() && header("offset").parse::<i64>().is_ok() && header("partition") == "0");
        match header("reason").as_str() {
            "missing_entity" => assert_eq!(letter.key, None),
            "invalid_entity" => assert_eq!(letter.key.as_deref(), Some(b"".as_slice())),
            _ => assert_eq!(letter.key.as_deref(), Some(b"x".as_slice())),
        }
        if header("reason") == "too_large" {
            assert_eq!((header("truncated").as_str(), header("size")), ("true", (5 << 20).to_string()));
            assert_eq!(header("sha256").len(), 64);
        }
    }
    assert_eq!(told, expected);
    let scores = |setup: &Setup| -> Vec<String> {
        let without_source = |score: &String| score.split(",\"source\"").next().unwrap().to_owned();
        let mut scores: Vec<String> =
            setup.values("scores").iter().filter(|score| score.contains("pump-")).map(without_source).collect();
        scores.sort();
        scores
    };
    assert_eq!(scores(&without).len(), 2_600);
    assert!(scores(&without) == scores(&with), "good rows' scores differ");
}

/// Names of the headers that tell of a cut: that it is one, of how many bytes, and their hash.
const VALUE_CUT: [&str; 3] = ["truncated", "size", "sha256"];
const KEY_CUT: [&str; 3] = ["key_truncated", "key_size", "key_sha256"];

/// What nothing can read, and no codec makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    Pcg32::seed_from_u64(bytes as u64).fill_bytes(&mut noise);
    noise
}

/// Bytes of a record without what Kafka itself adds: key, value, and headers with a length before each name and each value.
fn size_of(letter: &Read) -> usize {
    let length = |bytes: &[u8]| 1 + usize::from(bytes.len() > 63) + bytes.len();
    let headers = letter.headers.iter().map(|(name, value)| length(name.as_bytes()) + length(value));
    let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    of(&letter.key) + of(&letter.value) + headers.sum::<usize>()
}

/// Holds a part of a letter against what it was in the input. True: it was cut, and is told.
fn is_cut(letter: &Read, names: [&str; 3], found: Option<&[u8]>, sent: Option<&[u8]>) -> bool {
    let header = |name| letter.headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let told = names.map(header);
    if found == sent {
        assert_eq!(told, [const { None }; 3]);
        return false;
    }
    let (found, sent) = (found.unwrap(), sent.unwrap());
    let hash: String = Sha256::digest(sent).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told, [Some("true".to_owned()), Some(sent.len().to_string()), Some(hash)]);
    assert!(found.len() < sent.len() && sent.starts_with(found));
    true
}

/// A record of noise: bytes of its key and of its value.
type Sent = (Option<usize>, Option<usize>);

/// Records about a limit, of which so much may be left unused: keys of every kind, and values from what fits to what does not.
fn about(limit: usize, unused: usize) -> Vec<Sent> {
    let mut all = vec![
        (None, Some(10)),
        (Some(0), Some(10)),
        (Some(0), None),
        (Some(2_000), Some(10)),
        (Some(2_000), Some(limit)),
        (None, Some(limit)),
        (Some(limit), Some(10)),
        (Some(limit), None),
        (Some(limit - 700), Some(500)),
    ];
    let step = if limit < 100_000 { 4 } else { 20 };
    // Some 140 bytes are headers.
    let most = limit - unused - 40;
    for key in [5, 500] {
        all.extend((most - 200..most).step_by(step).map(|size| (Some(key), Some(size - key))));
    }
    all
}

/// Letters in a topic that takes batches of `limit` bytes are the records as they came, or nearly as long as it takes: `unused`
/// bytes at most are left. What it does not take would keep the daemon from ever reading on.
fn check_letters(name: &str, limit: usize, unused: usize, topic: &[(&str, &str)], more: &str) {
    let bootstrap = shared();
    let input = unique(name);
    create_topic_with(bootstrap, &input, 1, &[("max.message.bytes", "20000000")]);
    let mut setup = Setup::new(bootstrap, name, &input);
    more.clone_into(&mut setup.more);
    create_topic_with(bootstrap, &setup.topic("dead"), 1, topic);
    let sent: Vec<[Option<Vec<u8>>; 2]> =
        about(limit, unused).into_iter().map(|(key, value)| [key.map(noise), value.map(noise)]).collect();
    let writer = Writer::to(bootstrap, &input);
    sent.iter().for_each(|[key, value]| writer.send_bytes(key.as_deref(), value.as_deref()));
    writer.flush();
    let daemon = setup.start("a");
    setup.wait_until_read();
    daemon.stop();
    let mut letters = read_all(bootstrap, &setup.topic("dead"));
    letters.sort_by_key(source_of);
    assert_eq!(letters.len(), sent.len(), "{name}");
    let (mut n_cut, mut n_whole) = (0, 0);
    for (letter, [key, value]) in letters.iter().zip(&sent) {
        let lengths = (key.as_ref().map(Vec::len), value.as_ref().map(Vec::len));
        println!("{name}: {lengths:?} has {} bytes of {limit}", size_of(letter));
        let is_value_cut = is_cut(letter, VALUE_CUT, letter.value.as_deref(), value.as_deref());
        let is_key_cut = is_cut(letter, KEY_CUT, letter.key.as_deref(), key.as_deref());
        assert!(!is_key_cut || letter.value.as_ref().is_none_or(Vec::is_empty), "the key of {lengths:?} was cut first");
        if is_value_cut || is_key_cut {
            assert!(size_of(letter) + unused >= limit, "{lengths:?} was cut too short");
            let mut whole = Read { key: key.clone(), value: value.clone(), ..letter.clone() };
            whole.headers.retain(|name, _| !VALUE_CUT.contains(&name.as_str()) && !KEY_CUT.contains(&name.as_str()));
            assert!(size_of(&whole) + unused > limit, "{lengths:?} would have fitted");
            n_cut += 1;
        } else {
            n_whole += 1;
        }
    }
    assert!(n_cut > 10 && n_whole > 10, "{name}: {n_cut} are cut, {n_whole} are not");
}

#[test]
fn a_dead_letter_is_the_record_as_it_came_as_far_as_its_topic_takes_it() {
    check_letters("fits", 1_048_588, 100, &[], "");
    check_letters("fits-small", 16_384, 100, &[("max.message.bytes", "16384")], "");
    // The broker compresses anew, which makes noise a little longer.
    let gzip = [("max.message.bytes", "1000000"), ("compression.type", "gzip")];
    check_letters("fits-gzip", 1_000_000, 1_140, &gzip, "");
    let client = "[kafka.properties]\n\"message.max.bytes\" = \"20000\"";
    check_letters("fits-client", 20_000, 100, &[], client);
}
