//! What holds for every detector, whatever its model and its data.

use super::alert::{Alert, Kind, Severity, Transition};
use super::autoencoder::tests::family;
use super::row::EventTime;
use super::rules::{ChannelRule, Silence};
use super::schema::Channel;
use super::warmup::Length;
use super::*;
use proptest::prelude::*;
use rand_core::Rng;
use std::sync::OnceLock;

const WARMUP: u64 = 400;
const STEP: i64 = 60_000_000;

/// Rows of an entity as a test tells them: event time and values.
type Rows = Vec<(EventTime, Vec<f32>)>;

fn schema(channels: usize) -> Schema {
    let channel = |c| Channel { name: format!("sensor_{c}"), unit: None, resolution: 0.0 };
    Schema::new((0..channels).map(channel).collect())
}

fn small_settings() -> Settings {
    let model = autoencoder::Settings { hidden: 8, ..autoencoder::Settings::default() };
    Settings { model, warmup: Length::Rows(WARMUP), window_rows: 6, ..Settings::default() }
}

fn detector(channels: usize, settings: Settings) -> Detector {
    Detector::new(schema(channels), Arc::new(settings))
}

fn chance(rng: &mut Pcg32) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

fn at(row: usize) -> EventTime {
    EventTime::from_micros(1_700_000_000_000_000 + STEP * row as i64)
}

/// Channels of one rhythm and some noise.
fn calm(seed: u64, channels: usize, n: usize) -> Rows {
    let mut rng = Pcg32::seed_from_u64(seed);
    let value = |row: usize, c: usize, rng: &mut Pcg32| {
        let phase = row as f32 * 0.21 + c as f32;
        100.0 * c as f32 + libm::sinf(phase) + 0.5 * libm::cosf(0.37 * phase) + 0.2 * chance(rng)
    };
    (0..n).map(|row| (at(row), (0..channels).map(|c| value(row, c, &mut rng)).collect())).collect()
}

/// The same with all that telemetry does: holes, a sensor that stands still, whole rows without a value, spikes, a level
/// shift, absurd values, rows that come late.
fn wild(seed: u64, channels: usize, n: usize) -> Rows {
    let mut rows = calm(seed, channels, n);
    let mut rng = Pcg32::seed_from_u64(seed ^ 0x5eed);
    for (row, (time, values)) in rows.iter_mut().enumerate() {
        if channels > 1 {
            values[channels - 1] = if row % 97 == 96 { 7.5 } else { 7.0 };
        }
        if row > 450 && row % 150 > 120 {
            values[0] += 30.0;
        }
        for value in values.iter_mut() {
            match rng.next_u32() % 400 {
                0..20 => *value = f32::NAN,
                20 => *value = f32::MAX,
                21 => *value = -1e30,
                22 => *value = 1e-40,
                23 => *value = f32::INFINITY,
                _ => {}
            }
        }
        match rng.next_u32() % 50 {
            0 => values.fill(f32::NAN),
            1 => *time = EventTime::from_micros(time.micros() - 5 * STEP),
            _ => {}
        }
    }
    rows
}

/// Every bit of an outcome, NaN included.
fn told(outcome: &Outcome) -> String {
    format!("{outcome:?}")
}

fn play(detector: &mut Detector, rows: &[(EventTime, Vec<f32>)], rules: &Rules, scratch: &mut Scratch) -> Vec<Outcome> {
    let step = |(offset, (at, values)): (usize, &(EventTime, Vec<f32>))| {
        detector.step(&Row { at: *at, offset: offset as i64, values }, rules, scratch)
    };
    rows.iter().enumerate().map(step).collect()
}

fn bytes_of(detector: &Detector) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::encode(detector, &mut bytes);
    bytes
}

fn restored(detector: &Detector) -> Detector {
    let bytes = bytes_of(detector);
    let back = snapshot::decode(&bytes, detector.settings()).expect("its own snapshot");
    assert!(bytes == bytes_of(&back), "written, read and written again");
    back
}

fn is_finite(outcome: &Outcome) -> bool {
    let Outcome { score, row_score, rarity, threshold, score_ratio, model_loss, .. } = outcome;
    let figures = [*score, *row_score, *rarity, *threshold, *score_ratio, *model_loss];
    let alerts = outcome.alerts.iter().all(|alert| {
        let Alert { score, row_score, rarity, threshold, score_ratio, peak_ratio, channels, .. } = alert;
        let shares: f32 = channels.iter().map(|channel| channel.share).sum();
        snapshot::all_finite(&[*score, *row_score, *rarity, *threshold, *score_ratio, *peak_ratio])
            && channels.iter().all(|channel| snapshot::all_finite(&[channel.expected, channel.low, channel.high]))
            && (shares - 1.0).abs() < 1e-3
    });
    snapshot::all_finite(&figures) && figures.iter().all(|figure| *figure >= 0.0) && alerts
}

/// Plays `rows` twice, once with a new start from a snapshot before each row of `cuts`: same outcomes, same state.
fn survives(channels: usize, settings: &Settings, rows: &Rows, cuts: &[usize]) {
    let rules = Rules::default();
    let mut scratch = Scratch::default();
    let mut undisturbed = detector(channels, settings.clone());
    let expected = play(&mut undisturbed, rows, &rules, &mut scratch);
    assert!(expected.iter().all(is_finite), "{settings:?}");
    let mut cut = detector(channels, settings.clone());
    let mut scratch = Scratch::default();
    for (row, (at, values)) in rows.iter().enumerate() {
        if cuts.contains(&row) {
            cut = restored(&cut);
            scratch = Scratch::default();
        }
        let outcome = cut.step(&Row { at: *at, offset: row as i64, values }, &rules, &mut scratch);
        assert_eq!(told(&outcome), told(&expected[row]), "row {row}, cut at {cuts:?}: {settings:?}");
    }
    assert!(bytes_of(&cut) == bytes_of(&undisturbed), "{settings:?}");
}

#[test]
fn every_model_survives_wild_rows_and_a_new_start() {
    for model in family() {
        let settings = Settings { model, window_rows: 3, ..small_settings() };
        survives(3, &settings, &wild(5, 3, 480), &[130, 399, 400, 433]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_new_start_at_any_row_changes_nothing(
        seed in any::<u64>(),
        channels in 1usize..8,
        window_rows in 1usize..17,
        clock in any::<bool>(),
        by_time in any::<bool>(),
        cuts in prop::collection::vec(0usize..700, 1..5),
    ) {
        let warmup = if by_time { Length::Micros(STEP * 450) } else { Length::Rows(WARMUP) };
        let settings = Settings { window_rows, clock, seed, warmup, ..small_settings() };
        survives(channels, &settings, &wild(seed, channels, 700), &cuts);
    }
}

/// Channels, settings and a snapshot under them.
type Aged = (usize, Arc<Settings>, Vec<u8>);

/// Snapshots of many ages and kinds.
fn snapshots() -> &'static [Aged] {
    static SNAPSHOTS: OnceLock<Vec<Aged>> = OnceLock::new();
    SNAPSHOTS.get_or_init(|| {
        let adam = family().pop().expect("a family has members");
        let kinds = [
            (2, small_settings()),
            (6, Settings { warmup: Length::Micros(STEP * 399), ..small_settings() }),
            (5, Settings { model: adam, ..small_settings() }),
        ];
        let mut all = Vec::new();
        for (channels, settings) in kinds {
            let mut detector = detector(channels, settings);
            let rows = wild(11, channels, 620);
            let mut from = 0;
            for age in [70, 395, 460, 590, 620] {
                play(&mut detector, &rows[from..age], &Rules::default(), &mut Scratch::default());
                all.push((channels, Arc::clone(detector.settings()), bytes_of(&detector)));
                from = age;
            }
        }
        all
    })
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(u8),
    Put(u8),
    Insert(u8),
    Remove,
    Repeat(usize),
    Cut,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (0u8..8).prop_map(|bit| Damage::Flip(1 << bit)),
        4 => prop_oneof![Just(0), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()].prop_map(Damage::Put),
        1 => any::<u8>().prop_map(Damage::Insert),
        1 => Just(Damage::Remove),
        1 => (1usize..64).prop_map(Damage::Repeat),
        1 => Just(Damage::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, place: usize, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let i = place % bytes.len();
    match damage {
        Damage::Flip(bits) => bytes[i] ^= bits,
        Damage::Put(byte) => bytes[i] = *byte,
        Damage::Insert(byte) => bytes.insert(i, *byte),
        Damage::Remove => {
            bytes.remove(i);
        }
        Damage::Repeat(n) => bytes.extend_from_within(i..(i + n).min(bytes.len())),
        Damage::Cut => bytes.truncate(i),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_damaged_snapshot_is_refused_or_lived_with(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec((any::<u32>(), any::<bool>(), damage()), 1..4),
    ) {
        let (channels, settings, sound) = which.get(snapshots());
        let mut bytes = sound.clone();
        for (place, early, damage) in &damages {
            // Numbers and lengths stand in front of the long arrays: every second blow falls there.
            let place = if *early { *place as usize % 400 } else { *place as usize };
            apply(&mut bytes, place, damage);
        }
        if let Ok(mut detector) = snapshot::decode(&bytes, settings) {
            let rows = wild(23, *channels, 30);
            play(&mut detector, &rows, &Rules::default(), &mut Scratch::default());
            let again = snapshot::decode(&bytes_of(&detector), settings);
            prop_assert!(!matches!(again, Err(snapshot::SnapshotError::Malformed)));
        }
    }
}

#[test]
fn a_probe_is_told_of_three_moments_a_row_and_changes_nothing() {
    let rows = wild(3, 5, 2 * WARMUP as usize);
    let (mut plain, mut probed) = (detector(5, small_settings()), detector(5, small_settings()));
    let mut scratch = Scratch::default();
    let outcomes = play(&mut plain, &rows, &Rules::default(), &mut scratch);
    let (tell, told) = std::sync::mpsc::channel();
    scratch.probe = Some(Probe::new(move |moment| tell.send(moment).unwrap()));
    // As text, for what is missing is equal to nothing.
    let text = |outcomes: &[Outcome]| format!("{outcomes:?}");
    let again = play(&mut probed, &rows, &Rules::default(), &mut scratch);
    assert!(text(&again) == text(&outcomes), "the outcomes differ");
    assert_eq!(bytes_of(&probed), bytes_of(&plain));
    scratch.probe = None;
    let told: Vec<Moment> = told.iter().collect();
    let count = |moment| told.iter().filter(|told| **told == moment).count();
    assert_eq!(count(Moment::Begun), rows.len());
    // A row without a value is neither judged nor learned.
    assert_eq!(count(Moment::Judged) as u64, probed.n_rows());
    assert_eq!(count(Moment::Learned) as u64, probed.n_rows());
}

fn fault(rows: &mut Rows, channel: usize, from: usize, by: f32) {
    for (_, values) in &mut rows[from..] {
        values[channel] += by;
    }
}

#[test]
fn a_fault_opens_one_alert_that_names_its_channel_first() {
    for channels in [1, 3, 8] {
        let mut rows = calm(2, channels, 1200);
        let channel = channels - 1;
        fault(&mut rows, channel, 1100, 25.0);
        let mut detector = detector(channels, small_settings());
        let outcomes = play(&mut detector, &rows, &Rules::default(), &mut Scratch::default());
        let before: usize = outcomes[..1100].iter().map(|outcome| outcome.alerts.len()).sum();
        assert_eq!(before, 0, "{channels} channels");
        let alert = &outcomes[1100].alerts[0];
        assert_eq!((alert.transition, alert.onset), (Transition::Opened, at(1100)));
        assert!(alert.severity >= Severity::Warning);
        let first = &alert.channels[0];
        assert_eq!((first.slot, first.observed), (channel, rows[1100].1[channel]));
        assert!(first.share > 0.5 || channels == 1, "{first:?}");
        assert!(first.high < first.observed && first.expected > 100.0 * channel as f32 - 5.0, "{first:?}");
        let opened = outcomes.iter().flat_map(|o| &o.alerts).filter(|a| a.transition == Transition::Opened).count();
        assert_eq!(opened, 1, "{channels} channels");
    }
}

#[test]
fn the_first_wiggle_of_a_still_sensor_is_no_alert_but_its_first_jump_is() {
    let play_with = |n: usize, resolution: f32, wiggle: f32| {
        let mut channels = schema(n).channels().to_vec();
        channels[n - 1].resolution = resolution;
        let settings = Arc::new(small_settings());
        let mut detector = Detector::new(Schema::new(channels), settings);
        let mut rows = calm(9, n, 900);
        rows.iter_mut().for_each(|(_, values)| values[n - 1] = 20.0);
        rows[800].1[n - 1] += wiggle;
        let outcomes = play(&mut detector, &rows, &Rules::default(), &mut Scratch::default());
        outcomes.iter().map(|outcome| outcome.alerts.len()).sum::<usize>()
    };
    for n in [3, 6] {
        assert_eq!(play_with(n, 0.5, 0.5), 0, "{n} channels, a step as declared");
        assert_eq!(play_with(n, 0.0, 0.02), 0, "{n} channels, a thousandth of the value");
        assert!(play_with(n, 0.5, 50.0) > 0 && play_with(n, 0.0, 50.0) > 0, "{n} channels, a jump");
    }
}

#[test]
fn nor_is_it_where_nothing_has_ever_moved() {
    let play_with = |n: usize, resolution: f32, wiggle: f32, n_rows: usize| {
        let mut channels = schema(n).channels().to_vec();
        channels.iter_mut().for_each(|channel| channel.resolution = resolution);
        let mut detector = Detector::new(Schema::new(channels), Arc::new(small_settings()));
        let mut rows: Rows = (0..n_rows).map(|row| (at(row), vec![5.0; n])).collect();
        rows[n_rows - 100].1[0] += wiggle;
        let outcomes = play(&mut detector, &rows, &Rules::default(), &mut Scratch::default());
        outcomes.iter().map(|outcome| outcome.alerts.len()).sum::<usize>()
    };
    // With less than a day of rows, and with the time of day.
    for (n, n_rows) in [(1, 900), (3, 2000), (5, 900), (20, 900)] {
        for wiggle in [0.0005, 0.1] {
            assert_eq!(play_with(n, 0.1, wiggle, n_rows), 0, "{n} channels, {wiggle} of a step of 0.1");
        }
        for wiggle in [0.0005, 0.05] {
            assert_eq!(play_with(n, 0.0, wiggle, n_rows), 0, "{n} channels, {wiggle} of 5");
        }
        assert!(play_with(n, 0.1, 1.0, n_rows) > 0 && play_with(n, 0.0, 0.5, n_rows) > 0, "{n} channels, a jump");
    }
}

#[test]
fn where_nothing_moves_nothing_is_rare_however_many_channels_there_are() {
    for n in [1, 2, 3, 5, 7, 13, 27, 53, 107] {
        let rows: Rows = (0..900).map(|row| (at(row), vec![5.0; n])).collect();
        let mut detector = detector(n, small_settings());
        let outcomes = play(&mut detector, &rows, &Rules::default(), &mut Scratch::default());
        let rarest = outcomes[600..].iter().map(|outcome| outcome.rarity).fold(0.0, f32::max);
        assert_eq!(rarest, 0.0, "{n} channels");
    }
}

#[test]
fn a_warm_up_begins_with_the_first_row_that_is_learned() {
    for channels in [1, 5] {
        let silence = Silence { from: None, until: Some(at(450)), mute: true, learn: false };
        let rules = Rules { silences: vec![silence], ..Rules::default() };
        let (mut late, mut usual) = (detector(channels, small_settings()), detector(channels, small_settings()));
        let rows = calm(6, channels, 1400);
        let told = play(&mut late, &rows, &rules, &mut Scratch::default());
        let expected = play(&mut usual, &rows[450..], &Rules::default(), &mut Scratch::default());
        assert_eq!(told[..800].iter().filter(|outcome| outcome.state != State::Warming).count(), 0);
        for (told, expected) in told[900..].iter().zip(&expected[450..]) {
            let ratio = told.score / expected.score;
            assert!((0.2..5.0).contains(&ratio), "{channels} channels: {} against {}", told.score, expected.score);
        }
    }
}

#[test]
fn a_channel_that_falls_silent_is_no_alert() {
    for silent_from in [0, 250, 800] {
        let mut rows = calm(4, 6, 1000);
        let mut rng = Pcg32::seed_from_u64(44);
        rows.iter_mut().flat_map(|(_, values)| values).for_each(|value| *value += 4.0 * chance(&mut rng));
        rows[silent_from..].iter_mut().for_each(|(_, values)| values[2] = f32::NAN);
        let mut detector = detector(6, small_settings());
        let outcomes = play(&mut detector, &rows, &Rules::default(), &mut Scratch::default());
        let alerts: Vec<&Alert> = outcomes.iter().flat_map(|outcome| &outcome.alerts).collect();
        assert!(alerts.is_empty(), "silent from {silent_from}: {alerts:?}");
    }
}

#[test]
fn nothing_is_learned_in_a_silence_that_forbids_it() {
    for channels in [2, 6] {
        let mut detector = detector(channels, small_settings());
        let mut scratch = Scratch::default();
        play(&mut detector, &calm(6, channels, 600), &Rules::default(), &mut scratch);
        let before = detector.clone();
        let silence = Silence { from: None, until: None, mute: true, learn: false };
        let rules = Rules { silences: vec![silence], ..Rules::default() };
        let mut strange = calm(7, channels, 100);
        fault(&mut strange, 0, 0, 40.0);
        let outcomes = play(&mut detector, &strange, &rules, &mut scratch);
        assert!(outcomes.iter().all(|outcome| outcome.alerts.is_empty() && outcome.score > 0.0));
        assert_eq!(detector.autoencoder(), before.autoencoder());
        assert_eq!(detector.level, before.level);
        let mut unlearned = detector.fast.clone();
        unlearned.iter_mut().zip(&before.fast).for_each(|(fast, before)| fast.unlearn(before.clone()));
        assert_eq!(detector.fast, unlearned);
        assert_eq!(detector.streams, before.streams);
        assert_eq!(detector.threshold, before.threshold);
    }
}

#[test]
fn what_was_over_before_the_end_of_a_silence_is_not_told_after_it() {
    for (channels, learn) in [(3, false), (3, true), (6, false), (6, true)] {
        let mut rows = calm(6, channels, 900);
        rows[600..640].iter_mut().for_each(|(_, values)| values[0] += 40.0);
        let silence = Silence { from: Some(at(590)), until: Some(at(665)), mute: true, learn };
        let rules = Rules { silences: vec![silence], ..Rules::default() };
        let mut detector = detector(channels, small_settings());
        let outcomes = play(&mut detector, &rows, &rules, &mut Scratch::default());
        assert!(outcomes[600..640].iter().any(|outcome| outcome.score_ratio > 1.0), "this shows nothing");
        let told: Vec<&Alert> = outcomes.iter().flat_map(|outcome| &outcome.alerts).collect();
        assert!(told.is_empty(), "{channels} channels, learn {learn}: {told:?}");
    }
}

#[test]
fn an_alert_that_the_world_knows_of_is_closed_in_a_silence_too() {
    let mut rows = calm(6, 2, 900);
    fault(&mut rows, 0, 600, 40.0);
    rows.truncate(640);
    rows.extend(calm(6, 2, 900).split_off(640));
    rows[620].1[1] = 1e6;
    let range = ChannelRule { valid_max: 1e5, ..ChannelRule::default() };
    let silence = Silence { from: Some(at(621)), until: None, mute: true, learn: true };
    let rules = Rules { channels: vec![range; 2], silences: vec![silence], ..Rules::default() };
    let mut detector = detector(2, small_settings());
    let outcomes = play(&mut detector, &rows, &rules, &mut Scratch::default());
    let told = |kind: Kind, transition: Transition| {
        let alerts = outcomes.iter().flat_map(|outcome| &outcome.alerts);
        alerts.filter(|alert| (alert.kind, alert.transition) == (kind, transition)).map(|alert| alert.at).collect()
    };
    for kind in [Kind::Anomaly, Kind::DataQuality] {
        let (opened, closed): (Vec<_>, Vec<_>) = (told(kind, Transition::Opened), told(kind, Transition::Closed));
        assert_eq!((opened.len(), closed.len()), (1, 1), "{kind:?}: {opened:?} {closed:?}");
        assert!(opened[0] < at(621) && closed[0] > at(621));
    }
    assert_eq!(detector.open_alerts().count(), 0);
}

#[test]
fn shares_of_values_that_are_as_large_as_can_be_sum_to_one() {
    for channels in [3, 6] {
        let mut rows = calm(3, channels, 300);
        rows[250].1.fill(0.6 * f32::MAX);
        let outcomes =
            play(&mut detector(channels, small_settings()), &rows, &Rules::default(), &mut Scratch::default());
        assert!(!outcomes[250].alerts.is_empty() && outcomes.iter().all(is_finite), "{:?}", outcomes[250]);
    }
}

#[test]
fn a_fault_that_outlasts_a_silence_is_told_when_the_silence_ends() {
    for (until, is_told) in [(605, true), (700, false)] {
        let mut rows = calm(6, 2, 900);
        fault(&mut rows, 0, 600, 40.0);
        rows.truncate(620);
        rows.extend(calm(6, 2, 900).split_off(620));
        let silence = Silence { from: Some(at(590)), until: Some(at(until)), mute: true, learn: true };
        let rules = Rules { silences: vec![silence], ..Rules::default() };
        let outcomes = play(&mut detector(2, small_settings()), &rows, &rules, &mut Scratch::default());
        let alerts: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.alerts).collect();
        assert_eq!(alerts.len(), if is_told { 2 } else { 0 }, "{alerts:?}");
        if let [opened, closed] = alerts[..] {
            assert_eq!((opened.transition, closed.transition), (Transition::Opened, Transition::Closed));
            assert_eq!((opened.onset, opened.at), (at(600), at(until)));
        }
    }
}

#[test]
fn a_value_out_of_its_valid_range_is_told_of_and_never_learned() {
    let rule = ChannelRule { valid_min: -50.0, valid_max: 50.0, ..ChannelRule::default() };
    let rules = Rules { channels: vec![rule; 1], ..Rules::default() };
    let mut rows = calm(8, 1, 700);
    rows[600].1[0] = 1e6;
    let (mut with, mut without) = (detector(1, small_settings()), detector(1, small_settings()));
    let outcomes = play(&mut with, &rows, &rules, &mut Scratch::default());
    assert_eq!(outcomes[600].alerts[0].kind, Kind::DataQuality);
    rows[600].1[0] = f32::NAN;
    let plain = play(&mut without, &rows, &Rules::default(), &mut Scratch::default());
    assert!(outcomes[601..].iter().zip(&plain[601..]).all(|(a, b)| a.score.to_bits() == b.score.to_bits()));
    assert_eq!(with.autoencoder(), without.autoencoder());
}

#[test]
fn nothing_is_expected_of_a_channel_that_was_never_seen() {
    let range = ChannelRule { valid_max: 50.0, ..ChannelRule::default() };
    let rules = Rules { channels: vec![range; 2], ..Rules::default() };
    let mut rows = calm(8, 2, 1);
    rows[0].1[0] = 1e6;
    let outcomes = play(&mut detector(2, small_settings()), &rows, &rules, &mut Scratch::default());
    let channels = &outcomes[0].alerts[0].channels;
    assert!(channels.iter().all(|channel| channel.expected.is_nan()), "{channels:?}");
    assert_eq!((channels[0].observed, channels[0].high, channels[1].observed), (1e6, 50.0, rows[0].1[1]));
}

#[test]
fn a_wider_schema_in_the_warm_up_keeps_rows_and_open_alerts() {
    let mut rows = calm(3, 2, 300);
    fault(&mut rows, 0, 290, 60.0);
    let mut scratch = Scratch::default();
    let mut narrow = detector(2, small_settings());
    let outcomes = play(&mut narrow, &rows, &Rules::default(), &mut scratch);
    assert!(outcomes.iter().any(|outcome| !outcome.alerts.is_empty()) && narrow.has_open_alert());
    let grown = narrow.grow(schema(3), &Rules::default(), &mut scratch).expect("not fitted yet");
    assert_eq!((grown.schema().n_channels(), grown.n_rows(), grown.last_at()), (3, 300, narrow.last_at()));
    assert_eq!(grown.open_alerts().collect::<Vec<_>>(), narrow.open_alerts().collect::<Vec<_>>());
    let mut grown = restored(&grown);
    play(&mut grown, &wild(3, 3, 400), &Rules::default(), &mut scratch);
    assert!(grown.is_fitted() && grown.grow(schema(4), &Rules::default(), &mut scratch).is_none());
}

#[test]
fn these_rows_give_these_bits_on_every_cpu() {
    let mut detector = detector(6, Settings { window_rows: 16, ..small_settings() });
    let outcomes = play(&mut detector, &wild(1, 6, 900), &Rules::default(), &mut Scratch::default());
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let scores = outcomes.iter().flat_map(|outcome| outcome.score.to_bits().to_le_bytes());
    let hash = scores.chain(bytes_of(&detector)).fold(0xcbf2_9ce4_8422_2325, fnv);
    expect_test::expect!["a567b70b8a820c0e"].assert_eq(&format!("{hash:016x}"));
}
