use super::super::golden::noise;
use super::*;
use proptest::prelude::*;

fn see(level: &mut Level, x: f32, t: u64) -> Streams {
    level.see(
        &[x],
        &[0.0; 2],
        t as f64 * 300.0,
        t >= 100,
        &Steps::of(&Settings::default()),
        &Settings::default(),
        &mut Glances::default(),
    )
}

#[test]
fn a_jump_is_told_in_units_of_the_warm_up() {
    let mut level = Level::new(1, false, &Settings::default());
    for t in 0..200 {
        see(&mut level, if t % 2 == 0 { 1.0 } else { -1.0 }, t);
    }
    let jump = see(&mut level, 20.0, 200);
    assert!((jump.deviation - 20.0).abs() < 0.5, "{jump:?}");
}

#[test]
fn a_daily_rhythm_is_no_deviation_from_the_season() {
    let mut level = Level::new(1, true, &Settings::default());
    let day = |t: u64| if t % 288 < 144 { 10.0 } else { 0.0 };
    for t in 0..288 * 20 {
        see(&mut level, day(t), t);
    }
    let usual = see(&mut level, day(0), 288 * 20);
    let strange = see(&mut level, 40.0, 288 * 20 + 1);
    assert!(usual.season < 0.2 && strange.season > 10.0 * usual.season, "{usual:?} {strange:?}");
}

#[test]
fn a_missing_value_changes_nothing() {
    let mut level = Level::new(1, true, &Settings::default());
    see(&mut level, 3.0, 0);
    let before = level.clone();
    assert_eq!(see(&mut level, f32::NAN, 1), Streams::default());
    assert_eq!(level, before);
}

/// Hourly rows of two channels: a day's shape and noise, a spike, a shift of six rows, a wild value.
fn hourly(t: u64) -> [f32; 2] {
    let by_day = if (8..18).contains(&(t % 24)) { 3.0 } else { 0.0 };
    let mut row = [(10.0 + 2.0 * f64::from(noise(t)) + by_day) as f32, noise(t + 7777) - 0.5];
    match t {
        120 => row[0] = 40.0,
        130..136 => row[1] = 3.0,
        140 => row[0] = -5000.0,
        _ => {}
    }
    row
}

#[test]
fn the_streams_are_those_of_the_prototype() {
    let golden = [
        (1, [561.8034, 0.829_959_6, 0.829_959_6]),
        (2, [1.232_667, 0.096_154_29, 0.104_144_4]),
        (30, [1.196_494, 0.219_823_1, 0.314_501_3]),
        (49, [0.934_956_2, 0.093_240_48, 0.365_928_1]),
        (50, [0.355_865_7, 0.098_711_05, 0.355_610_7]),
        (99, [0.835_906_2, 0.158_823_8, 0.253_197_7]),
        (100, [0.598_704_3, 0.195_332_1, 0.276_308_9]),
        (120, [9.086_725, 0.501_223_3, 0.314_368_7]),
        (121, [0.692_046_5, 0.402_186_7, 0.256_197_7]),
        (130, [5.651_057, 0.584_105, 0.344_958_9]),
        (135, [5.626_407, 2.398_929, 1.683_921]),
        (140, [500.7572, 1.597_996, 1.521_048]),
        (141, [0.733_981_1, 1.526_286, 1.440_434]),
        (159, [0.725_524_8, 0.270_742_3, 0.411_288_7]),
    ];
    let (mut level, settings) = (Level::new(2, true, &Settings::default()), Settings::default());
    let told: Vec<Streams> = (0..160)
        .map(|t| {
            let seconds = t as f64 * 3600.0;
            level.see(
                &hourly(t),
                &[0.0; 2],
                seconds,
                t >= 100,
                &Steps::of(&settings),
                &settings,
                &mut Glances::default(),
            )
        })
        .collect();
    for (t, golden) in golden {
        let Streams { deviation, smoothed, season } = told[t];
        for (told, golden) in [deviation, smoothed, season].into_iter().zip(golden) {
            assert!(
                (told - golden).abs() <= 1e-5 * golden,
                "row {t}: {:?} against {golden}",
                [deviation, smoothed, season]
            );
        }
    }
}

/// Any finite value, now and then a missing one.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -100.0f32..100.0,
        2 => proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL | proptest::num::f32::ZERO,
        1 => Just(f32::MAX),
        1 => Just(f32::MIN),
        2 => Just(f32::NAN),
    ]
}

fn series() -> impl Strategy<Value = Vec<([f32; 2], i64)>> {
    proptest::collection::vec((prop::array::uniform2(value()), any::<i64>()), 1..200)
}

fn see_all(level: &mut Level, series: &[([f32; 2], i64)], from: usize) -> Vec<Streams> {
    let (settings, mut glances) = (Settings::default(), Glances::default());
    let row = |(i, (values, at)): (usize, &([f32; 2], i64))| {
        let seconds = *at as f64 / 1e6;
        level.see(values, &[0.0; 2], seconds, from + i >= 60, &Steps::of(&settings), &settings, &mut glances)
    };
    series.iter().enumerate().map(row).collect()
}

proptest! {
    #[test]
    fn whatever_finite_values_come_the_streams_are_finite_and_capped(series in series()) {
        let settings = Settings::default();
        let mut level = Level::new(2, true, &settings);
        for Streams { deviation, smoothed, season } in see_all(&mut level, &series, 0) {
            for told in [deviation, smoothed, season] {
                prop_assert!((0.0..=settings.cap).contains(&told), "{told}");
            }
        }
        prop_assert_eq!(level.soundness(2, true, &settings), Soundness::of(true, ""));
    }

    #[test]
    fn a_restored_level_goes_on_as_if_undisturbed(series in series(), cut in any::<prop::sample::Index>()) {
        let settings = Settings::default();
        let mut level = Level::new(2, true, &settings);
        let cut = cut.index(series.len());
        see_all(&mut level, &series[..cut], 0);
        let mut restored: Level = postcard::from_bytes(&postcard::to_stdvec(&level).unwrap()).unwrap();
        prop_assert_eq!(see_all(&mut level, &series[cut..], cut), see_all(&mut restored, &series[cut..], cut));
        prop_assert_eq!(level, restored);
    }

    #[test]
    fn a_channel_that_is_missing_for_a_while_leaves_the_other_alone(series in series()) {
        let settings = Settings::default();
        let (mut both, mut alone) = (Level::new(2, true, &settings), Level::new(1, true, &settings));
        let steps = Steps::of(&settings);
        for (i, ([value, _], at)) in series.iter().enumerate() {
            let seconds = *at as f64 / 1e6;
            let told = both.see(&[*value, f32::NAN], &[0.0; 2], seconds, i >= 60, &steps, &settings, &mut Glances::default());
            let expected = alone.see(&[*value], &[0.0; 2], seconds, i >= 60, &steps, &settings, &mut Glances::default());
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn channels_worked_through_together_are_what_they_are_alone(
        rows in proptest::collection::vec(prop::array::uniform11(value()), 1..120), step_of_sensor in 0.0f32..2.0,
    ) {
        let resolution: Vec<f32> = (0..11).map(|c| if c % 3 == 0 { step_of_sensor } else { 0.0 }).collect();
        let (steps, settings) = (Steps::of(&Settings::default()), Settings::default());
        let (mut together, mut glances) = (Level::new(11, false, &settings), Glances::default());
        let mut alone = vec![(Level::new(1, false, &settings), Glances::default()); 11];
        for (i, row) in rows.iter().enumerate() {
            let frozen = i >= 60;
            together.see(row, &resolution, 0.0, frozen, &steps, &settings, &mut glances);
            for (c, (level, glance)) in alone.iter_mut().enumerate() {
                level.see(&row[c..=c], &resolution[c..=c], 0.0, frozen, &steps, &settings, glance);
                let bits = |glance: Option<Glance>| {
                    glance.map(|glance| [glance.deviation, glance.scale, glance.unit].map(f64::to_bits))
                };
                prop_assert_eq!(bits(glances.of(c)), bits(glance.of(0)), "row {} channel {}", i, c);
                prop_assert_eq!(together.usual(c), level.usual(0));
            }
        }
    }

    #[test]
    fn no_mutated_level_that_passes_for_sound_panics_or_tells_nonsense(
        before in series(), after in series(), spots in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
    ) {
        let settings = Settings::default();
        let mut level = Level::new(2, true, &settings);
        see_all(&mut level, &before, 0);
        let mut bytes = postcard::to_stdvec(&level).unwrap();
        for (spot, byte) in spots {
            *spot.get_mut(&mut bytes) = byte;
        }
        let Ok(mut mutated) = postcard::from_bytes::<Level>(&bytes) else { return Ok(()) };
        if mutated.soundness(2, true, &settings) == Soundness::of(true, "") {
            for told in see_all(&mut mutated, &after, before.len()) {
                prop_assert!(told.deviation.is_finite() && told.smoothed.is_finite() && told.season.is_finite());
            }
        }
    }
}
