use super::*;
use crate::detector::Scratch;
use crate::detector::row::{EventTime, Row};
use crate::detector::rules::Rules;
use crate::detector::schema::{Channel, Schema};
use safetensors::SafeTensors;
use std::sync::Arc;

/// A detector of two channels after so many rows.
fn detector(n_rows: i64) -> Detector {
    let channel = |name: &str| Channel { name: name.to_owned(), unit: Some("bar".to_owned()), resolution: 0.1 };
    let settings =
        Settings { warmup: crate::detector::warmup::Length::Rows(400), window_rows: 4, ..Settings::default() };
    let mut detector = Detector::new(Schema::new(vec![channel("a"), channel("b")]), Arc::new(settings));
    let mut scratch = Scratch::default();
    for i in 0..n_rows {
        let a = (i as f32 / 9.0).sin();
        let row = Row { at: EventTime::from_millis(i * 60_000), offset: i, values: &[a, 20.0 + a * a] };
        detector.step(&row, &Rules::default(), &mut scratch);
    }
    detector
}

fn detail(detector: &Detector) -> Detail {
    let envelope = Envelope {
        kind: crate::wire::state_record::Kind::Snapshot,
        fingerprint: 0xabc,
        as_of: 7,
        rows: detector.n_rows(),
        body: b"body",
    };
    let portrait = detector.portrait(&Rules::default());
    Detail {
        summary: Summary::of(("t", 1, "pump"), b"value", &envelope, "", Some(detector)),
        fits_this_config: true,
        detector: Some(DetectorV1::of(&portrait, detector.settings())),
    }
}

#[test]
fn weights_are_the_autoencoders_and_the_scaler_makes_its_input() {
    let detector = detector(500);
    let portrait = detector.portrait(&Rules::default());
    let (bytes, lines) = weights(Some(&portrait)).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.len(), lines.len());
    let floats = |name: &str| -> Vec<f32> {
        let data = read.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    let net = detector.autoencoder().unwrap();
    assert_eq!(read.tensor("encoder.weight").unwrap().shape(), [net.units(), 8]);
    for (name, _, values) in net.tensors() {
        assert_eq!(floats(name), values, "{name}");
    }
    let mean = read.tensor("scaler.mean").unwrap();
    assert_eq!(mean.dtype(), Dtype::F64);
    let (_, second) = mean.data().split_at(8);
    let second = f64::from_le_bytes(second.try_into().unwrap());
    assert!((second - 20.5).abs() < 0.2, "{second}");
}

#[test]
fn before_the_fit_there_are_no_weights_but_a_file_all_the_same() {
    let detector = detector(100);
    let (bytes, lines) = weights(Some(&detector.portrait(&Rules::default()))).unwrap();
    assert!(lines.is_empty() && SafeTensors::deserialize(&bytes).unwrap().is_empty());
    let detail = detail(&detector);
    assert_eq!(detail.summary.state, "warming");
    assert_eq!(detail.detector.unwrap().warmup_rows, Some(100));
}

#[test]
fn a_manifest_comes_back_as_it_went() {
    let detector = detector(600);
    let (_, tensors) = weights(Some(&detector.portrait(&Rules::default()))).unwrap();
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        offkey: "0".to_owned(),
        state_file: STATE.to_owned(),
        weights_file: WEIGHTS.to_owned(),
        tensors,
        detail: detail(&detector),
    };
    let text = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["entity"], &json["state"], &json["kind"]), (&"pump".into(), &"ready".into(), &"sparse".into()));
    assert_eq!(json["detector"]["channels"][1]["unit"], "bar");
    assert_eq!(json["detector"]["model"]["window"].as_array().unwrap().len(), 4);
}

#[test]
fn looking_changes_nothing() {
    let detector = detector(600);
    let before = detector.clone();
    let portrait = detector.portrait(&Rules::default());
    assert_eq!(portrait.channels.len(), 2);
    assert!(portrait.model.is_some() && portrait.warmup_rows.is_none());
    assert!((portrait.rows_a_day - 1440.0).abs() < 5.0, "{}", portrait.rows_a_day);
    assert_eq!(before, detector);
}
