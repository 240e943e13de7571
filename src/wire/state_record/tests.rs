use super::*;
use proptest::prelude::*;

fn snapshot(body: &[u8]) -> Envelope<'_> {
    Envelope { kind: Kind::Snapshot, fingerprint: 0x0123_4567_89ab_cdef, as_of: 41, rows: 42, body }
}

fn encoded(envelope: &Envelope<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    envelope.encode(&mut bytes);
    bytes
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Snapshot), Just(Kind::Terms), Just(Kind::Barrier)]
}

#[test]
fn the_bytes_of_format_1_are_these_for_ever() {
    let bytes = encoded(&snapshot(b"body"));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "4f464b3101000100efcdab896745230129000000000000002a00000000000000626f64795687b187");
}

#[test]
fn a_newer_format_is_foreign_and_not_damaged() {
    let mut bytes = encoded(&snapshot(b"body"));
    bytes[4] = 2;
    assert_eq!(Envelope::decode(&bytes), Err(Unreadable::ForeignVersion { format: 2 }));
}

#[test]
fn each_way_of_being_unreadable_has_its_name() {
    let bytes = encoded(&snapshot(b"body"));
    assert_eq!(Envelope::decode(b""), Err(Unreadable::Truncated));
    assert_eq!(Envelope::decode(&bytes[..10]), Err(Unreadable::Truncated));
    assert_eq!(Envelope::decode(&bytes[..38]), Err(Unreadable::Corrupt));
    assert_eq!(Envelope::decode(b"{\"json\": true}"), Err(Unreadable::NotOurs));
}

#[test]
fn a_key_that_encode_would_not_write_is_not_ours() {
    for key in [
        "e1",
        "e1/",
        "e1/t/0",
        "e1/t/0/",
        "e1//0/x",
        "e1/t/-1/x",
        "e1/t/+1/x",
        "e1/t/01/x",
        "m1/t",
        "m1//0",
        "t1/t",
        "t1//0",
        "t1/t/x",
        "t1/t/0/x",
        "b1/",
        "b1/x",
        "c1/7",
        "",
        "m1/t/99999999999",
    ] {
        assert_eq!(Key::decode(key.as_bytes()), Err(Unreadable::NotOurs), "{key}");
    }
    assert_eq!(Key::decode(&[0xff, 0xfe]), Err(Unreadable::NotOurs));
}

#[test]
fn an_operators_metadata_is_not_ours() {
    for text in ["", "v1", "v1;", "v2;e=1;r=2;a=3", "v1;e=1;r=2", "v1;e=x;r=2;a=3", "hello"] {
        assert_eq!(OffsetMetadata::decode(text), None, "{text}");
    }
    assert_eq!(OffsetMetadata::decode(&format!("v1;e=1;r=2;a=3;x={}", "y".repeat(5000))), None);
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    let ours = OffsetMetadata { epoch: 1, replay_offset: 2, accumulator: 3, terms: Some(16), began: Some(-5) };
    assert_eq!(OffsetMetadata::decode("v1;e=1;r=2;a=3;t=10;s=-5;z=new"), Some(ours));
    let of_an_earlier_one = OffsetMetadata { terms: None, began: None, ..ours };
    assert_eq!(OffsetMetadata::decode("v1;e=1;r=2;a=3"), Some(of_an_earlier_one));
}

proptest! {
    #[test]
    fn a_value_comes_back_as_it_went(
        kind in kind(), fingerprint: u64, as_of: i64, rows: u64,
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let envelope = Envelope { kind, fingerprint, as_of, rows, body: &body };
        let bytes = encoded(&envelope);
        prop_assert_eq!(Envelope::decode(&bytes), Ok(envelope));
    }

    #[test]
    fn random_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Envelope::decode(&bytes).is_err());
        let _ = Key::decode(&bytes);
        let _ = Barrier::decode(&bytes);
    }

    #[test]
    fn a_changed_bit_or_a_cut_is_always_seen(
        body in proptest::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, bit in 0..8u8, cut: prop::sample::Index,
    ) {
        let whole = encoded(&snapshot(&body));
        let mut flipped = whole.clone();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        prop_assert!(Envelope::decode(&flipped).is_err());
        prop_assert!(Envelope::decode(&whole[..cut.index(whole.len())]).is_err());
    }

    #[test]
    fn a_key_comes_back_as_it_went(topic in "[a-zA-Z0-9._-]{1,20}", partition in 0..i32::MAX, entity in "\\PC{1,30}") {
        let (topic, entity) = (topic.as_str(), entity.as_str());
        for key in [
            Key::Snapshot { topic, partition, entity },
            Key::Terms { topic, partition },
            Key::Barrier { partition },
        ] {
            let bytes = key.encode();
            prop_assert_eq!(Key::decode(&bytes), Ok(key));
        }
    }

    #[test]
    fn barriers_and_metadata_come_back(
        epoch: u64, replay_offset: i64, accumulator: u64, terms: Option<u64>, began: Option<i64>, instance in "\\PC{0,20}",
    ) {
        let barrier = Barrier { instance, nonce: epoch };
        prop_assert_eq!(Barrier::decode(&barrier.encode()), Ok(barrier));
        let metadata = OffsetMetadata { epoch, replay_offset, accumulator, terms, began };
        let text = metadata.encode();
        prop_assert!(text.len() <= OffsetMetadata::MAX_LEN);
        prop_assert_eq!(OffsetMetadata::decode(&text), Some(metadata));
        let beginning = OffsetMetadata::beginning(began);
        prop_assert_eq!([&text, &beginning].map(|text| OffsetMetadata::began_of(text)), [began; 2]);
        prop_assert_eq!(OffsetMetadata::decode(&beginning), None);
    }
}
