use super::*;
use proptest::prelude::*;

fn ratio_of(settings: Settings, score: f32) -> f32 {
    let mut threshold = Threshold::default();
    for i in 0..2000u32 {
        let noise = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 24) as f32;
        threshold.learn(1.0 + noise, &settings);
    }
    threshold.judge(score, 0.0, 288.0, &settings).ratio
}

#[test]
fn every_method_that_judges_the_score_tells_the_usual_from_the_strange() {
    let all = [
        Settings::Fixed { level: 3.0 },
        Settings::Quantile { q: 0.999 },
        Settings::Mad { k: 5.0 },
        Settings::MeanSd { k: 4.0 },
        Settings::Spot { q: 1e-4 },
    ];
    for settings in all {
        assert!(ratio_of(settings, 1.5) < 1.0, "{settings:?}");
        assert!(ratio_of(settings, 9.0) > 1.0, "{settings:?}");
    }
}

#[test]
fn a_learned_threshold_leaves_so_many_rows_above_it_as_it_says_however_low_the_first_ones_were() {
    let noise = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 24) as f32;
    let share_above = |settings: Settings| {
        let mut threshold = Threshold::default();
        (0..300).for_each(|i| threshold.learn(0.3 * noise(i), &settings));
        let over = |i: &u32| {
            let judged = threshold.judge(noise(*i), 0.0, 288.0, &settings);
            threshold.learn(noise(*i), &settings);
            judged.ratio >= 1.0
        };
        f64::from((300..20_300).filter(over).count() as u32) / 20_000.0
    };
    for q in [0.51, 0.9, 0.99] {
        let share = share_above(Settings::Quantile { q });
        assert!((share - (1.0 - q)).abs() < 0.02 + 0.1 * (1.0 - q), "{share} above the quantile {q}");
    }
    // Of evenly spread scores, half are further from the median than a quarter, and none further than 1.8 deviations from the mean.
    let share = share_above(Settings::Mad { k: 1.0 });
    assert!((share - 0.25).abs() < 0.05, "{share} above median + MAD");
    let share = share_above(Settings::MeanSd { k: 2.0 });
    assert!(share < 0.05, "{share} above mean + 2 sd");
}

#[test]
fn a_calibrated_threshold_speaks_at_once() {
    let scores = (0..125u16).map(|i| 1.0 + f32::from(i % 10) / 10.0);
    for settings in [Settings::Quantile { q: 0.99 }, Settings::Mad { k: 3.0 }, Settings::MeanSd { k: 4.0 }] {
        let mut threshold = Threshold::default();
        threshold.calibrate(scores.clone(), &settings);
        let ratio = |score| threshold.judge(score, 0.0, 288.0, &settings).ratio;
        assert!(ratio(1.5) < 1.0 && ratio(1.5) > 0.0 && ratio(9.0) > 1.0, "{settings:?}");
    }
}

#[test]
fn a_budget_that_is_overspent_raises_its_threshold() {
    let settings = Settings::Budget { alerts_a_day: 1.0 };
    let mut threshold = Threshold::default();
    let before = threshold.judge(0.0, 2.0, 288.0, &settings).threshold;
    threshold.spend(true, 288.0, &settings);
    assert!(threshold.judge(0.0, 2.0, 288.0, &settings).threshold > before);
    for _ in 0..10_000 {
        threshold.spend(false, 288.0, &settings);
    }
    assert!(threshold.judge(0.0, 2.0, 288.0, &settings).threshold < before);
}

#[test]
fn a_budget_of_more_than_there_can_be_asks_for_every_other_episode() {
    for (alerts_a_day, rows_a_day) in [(0.5, 24.0), (10.0, 288.0), (9_999.0, 24.0)] {
        let settings = Settings::Budget { alerts_a_day };
        let mut threshold = Threshold::default();
        (0..1_000).for_each(|_| threshold.spend(false, rows_a_day, &settings));
        let judged = threshold.judge(0.0, 2.0, rows_a_day, &settings);
        assert!((judged.threshold - 0.3).abs() < 1e-6 && judged.ratio > 1.0, "{judged:?}");
    }
}

#[test]
fn a_quantile_close_to_one_has_a_threshold_in_every_row() {
    let settings = Settings::Quantile { q: 1.0 - 1e-7 };
    let mut threshold = Threshold::default();
    for i in 0..30_000u32 {
        let noise = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 24) as f32;
        threshold.learn(0.5 + noise, &settings);
        let judged = threshold.judge(50.0, 0.0, 288.0, &settings);
        assert!(u64::from(i) + 1 < WARM || judged.ratio > 1.0, "row {i}: {judged:?}");
    }
}

#[test]
fn a_method_chosen_while_running_is_silent_until_it_has_learned() {
    let all = [
        Settings::Quantile { q: 0.999 },
        Settings::Mad { k: 5.0 },
        Settings::MeanSd { k: 4.0 },
        Settings::Spot { q: 1e-4 },
    ];
    for settings in all {
        let mut threshold = Threshold::default();
        for _ in 0..5000 {
            threshold.learn(1.0, &Settings::default());
        }
        for i in 0..WARM {
            let judged = threshold.judge(1.5, 0.0, 288.0, &settings);
            assert_eq!(judged.ratio, 0.0, "{settings:?} after {i} rows");
            threshold.learn(1.0 + 0.001 * i as f32, &settings);
        }
    }
}

#[test]
fn a_method_that_was_in_use_before_is_not_forgotten() {
    let settings = Settings::MeanSd { k: 3.0 };
    let mut threshold = Threshold::default();
    (0..500).for_each(|i| threshold.learn(1.0 + (i % 2) as f32, &settings));
    let before = threshold.judge(2.0, 0.0, 288.0, &settings);
    (0..500).for_each(|_| threshold.learn(90.0, &Settings::default()));
    assert_eq!(threshold.judge(2.0, 0.0, 288.0, &settings), before);
    assert!((before.threshold - 3.0).abs() < 0.02, "1.5 + 3 * 0.5: {before:?}");
}

/// All ends are whole steps of the sampler: proptest 1.12 asserts against itself for others, once in a while.
fn methods() -> impl Strategy<Value = Settings> {
    prop_oneof![
        (0.125f32..9.0).prop_map(|level| Settings::Rarity { level }),
        (0.015_625f64..50.0).prop_map(|alerts_a_day| Settings::Budget { alerts_a_day }),
        (0.125f32..9.0).prop_map(|level| Settings::Fixed { level }),
        (0.5f64..0.999_755_859_375).prop_map(|q| Settings::Quantile { q }),
        (1.0f32..9.0).prop_map(|k| Settings::Mad { k }),
        (1.0f32..9.0).prop_map(|k| Settings::MeanSd { k }),
        (9.536_743_164_062_5e-7f64..0.015_625).prop_map(|q| Settings::Spot { q }),
    ]
}

fn scores() -> impl Strategy<Value = Vec<f32>> {
    let score = prop_oneof![8 => 0.125f32..3.0, 1 => 0.0f32..f32::MAX, 1 => Just(0.0), 2 => Just(1.0)];
    proptest::collection::vec(score, 1..600)
}

fn go_on(threshold: &mut Threshold, scores: &[f32], settings: &Settings) -> Vec<Judged> {
    let row = |score: &f32| {
        let judged = threshold.judge(*score, score.min(8.0), 288.0, settings);
        threshold.spend(judged.ratio >= 1.0, 288.0, settings);
        threshold.learn(*score, settings);
        judged
    };
    scores.iter().map(row).collect()
}

fn is_sane(judged: &Judged) -> bool {
    let Judged { figure, threshold, ratio } = *judged;
    let tells = threshold > 0.0 && ((ratio >= 1.0) == (figure >= threshold) || (ratio - 1.0).abs() < 1e-6);
    figure.is_finite()
        && threshold.is_finite()
        && (0.0..=1e6).contains(&ratio)
        && (tells || threshold == 0.0 && ratio == 0.0)
}

proptest! {
    #[test]
    fn whatever_scores_come_every_method_tells_finite_figures(settings in methods(), scores in scores()) {
        let mut threshold = Threshold::default();
        for judged in go_on(&mut threshold, &scores, &settings) {
            prop_assert!(is_sane(&judged), "{judged:?}");
        }
        prop_assert_eq!(threshold.soundness(), Soundness::of(true, ""));
    }

    #[test]
    fn a_restored_threshold_goes_on_as_if_undisturbed(settings in methods(), before in scores(), after in scores()) {
        let mut threshold = Threshold::default();
        go_on(&mut threshold, &before, &settings);
        let mut restored: Threshold = postcard::from_bytes(&postcard::to_stdvec(&threshold).unwrap()).unwrap();
        prop_assert_eq!(go_on(&mut threshold, &after, &settings), go_on(&mut restored, &after, &settings));
        prop_assert_eq!(threshold, restored);
    }

    #[test]
    fn no_mutated_threshold_that_passes_for_sound_panics_or_tells_nonsense(
        settings in methods(),
        before in scores(),
        after in scores(),
        spots in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
    ) {
        let mut threshold = Threshold::default();
        go_on(&mut threshold, &before, &settings);
        let mut bytes = postcard::to_stdvec(&threshold).unwrap();
        for (spot, byte) in spots {
            *spot.get_mut(&mut bytes) = byte;
        }
        let Ok(mut mutated) = postcard::from_bytes::<Threshold>(&bytes) else { return Ok(()) };
        if mutated.soundness() == Soundness::of(true, "") {
            for judged in go_on(&mut mutated, &after, &settings) {
                prop_assert!(is_sane(&judged), "{judged:?}");
            }
        }
    }
}
