//! One battery for every member of the family.

use super::*;
use rand_core::SeedableRng;

const CHANNELS: usize = 2;
const INPUTS: usize = 6;
const THETA: f32 = 0.3;

/// Every activation with the penalties that go with it.
pub(in crate::detector) const CODES: [(Activation, Penalty); 7] = [
    (Activation::Shrinkage { theta: THETA }, Penalty::None),
    (Activation::Linear, Penalty::None),
    (Activation::Tanh, Penalty::None),
    (Activation::Tanh, Penalty::L1 { weight: 0.05 }),
    (Activation::Relu, Penalty::L1 { weight: 0.05 }),
    (Activation::Sigmoid, Penalty::None),
    (Activation::Sigmoid, Penalty::Kl { rho: 0.1, beta: 0.2 }),
];

/// Every member of the family, small.
pub(in crate::detector) fn family() -> Vec<Settings> {
    let mut family = Vec::new();
    for (activation, penalty) in CODES {
        for loss in [Loss::Mse, Loss::Bce] {
            for tied in [true, false] {
                for start in [Start::Principal, Start::Random] {
                    for optimizer in [Optimizer::NormalizedSgd, Optimizer::Sgd, Optimizer::Adam] {
                        let base = Settings { hidden: 5, passes: 1, ..Settings::default() };
                        family.push(Settings { activation, penalty, loss, tied, start, optimizer, ..base });
                    }
                }
            }
        }
    }
    family
}

fn windows(rng: &mut Pcg32) -> Vec<Vec<f32>> {
    (0..80)
        .map(|_| {
            let (a, b) = (uniform(rng, 2.0), uniform(rng, 1.0));
            (0..INPUTS).map(|i| a * (i as f32 - 2.0) * 0.4 + b * (i % 3) as f32 + uniform(rng, 0.3)).collect()
        })
        .collect()
}

fn fit(settings: &Settings) -> (Autoencoder, Vec<f32>) {
    let mut rng = Pcg32::seed_from_u64(3);
    let windows = windows(&mut rng);
    let slices: Vec<&[f32]> = windows.iter().map(Vec::as_slice).collect();
    let net = Autoencoder::fit(&slices, INPUTS, CHANNELS, settings, &mut rng);
    let strange = (0..INPUTS).map(|_| uniform(&mut rng, 2.0)).collect();
    (net, strange)
}

/// The loss that one step descends, told from the reconstruction and the code alone.
fn loss(net: &Autoencoder, window: &[f32], settings: &Settings, means: &[f32]) -> (f64, Vec<u32>) {
    let mut pass = Pass::default();
    net.forward(window, settings, &mut pass);
    let channels = CHANNELS as f64;
    let misfit: f64 = match settings.loss {
        Loss::Mse => pass.residual.iter().map(|e| f64::from(*e) * f64::from(*e)).sum::<f64>() / 2.0,
        Loss::Bce => pass
            .residual
            .iter()
            .zip(window)
            .map(|(residual, x)| {
                let unit = |v: f32| f64::from((v / RANGE + 1.0) / 2.0);
                let (y, target) = (unit(residual + x), unit(*x).clamp(0.0, 1.0));
                -target * libm::log(y) - (1.0 - target) * libm::log(1.0 - y)
            })
            .sum(),
    };
    let penalty: f64 = match settings.penalty {
        Penalty::None => 0.0,
        Penalty::L1 { weight } => pass.code.iter().map(|h| f64::from(weight * h.abs())).sum(),
        // Of the running mean, which the one row moves little: its slope is held fast.
        Penalty::Kl { rho, beta } => {
            let slope = |mean: f32| f64::from(beta * ((1.0 - rho) / (1.0 - mean) - rho / mean));
            pass.code.iter().zip(means).map(|(h, mean)| slope(*mean) * f64::from(*h)).sum()
        }
    };
    (misfit / channels + penalty, pass.active)
}

/// A parameter vector of a network, to move one of its numbers.
type Part = fn(&mut Autoencoder) -> &mut [f32];

const PARTS: [(&str, Part); 4] = [
    ("encoder", |net| &mut net.encoder),
    ("decoder", |net| net.decoder.get_or_insert_default()),
    ("code bias", |net| &mut net.code_bias),
    ("output bias", |net| &mut net.output_bias),
];

/// A network that has taken one step, and the gradient it went along: `-(after - before) / rate`.
fn gradients_agree(settings: &Settings) {
    const RATE: f32 = 1e-2;
    const H: f32 = 1e-2;
    // Adam's first step is the rate, with the gradient's sign; later ones remember.
    let passes = if settings.optimizer == Optimizer::Adam { 0 } else { settings.passes };
    let settings = &Settings { passes, ..settings.clone() };
    let (before, window) = fit(settings);
    let mut after = before.clone();
    let mut pass = Pass::default();
    after.forward(&window, settings, &mut pass);
    after.learn(&window, &mut pass, CHANNELS, RATE, settings);
    let means = after.mean_activation.clone();
    let (_, active) = loss(&before, &window, settings, &means);
    let mut checked = 0;
    for (name, part) in PARTS {
        if name == "decoder" && before.decoder.is_none() {
            continue;
        }
        for i in 0..part(&mut before.clone()).len() {
            let moved = |by: f32| {
                let mut net = before.clone();
                part(&mut net)[i] += by;
                loss(&net, &window, settings, &means)
            };
            let ((up, active_up), (down, active_down)) = (moved(H), moved(-H));
            if active_up != active || active_down != active {
                continue; // across a kink there is no slope
            }
            let expected = (up - down) / f64::from(2.0 * H);
            let step = part(&mut before.clone())[i] - part(&mut after)[i];
            if settings.optimizer == Optimizer::Adam {
                assert!(expected.abs() < 1e-3 || f64::from(step) * expected > 0.0, "{name} {i} of {settings:?}");
            } else {
                let told = f64::from(step / RATE);
                let close = (told - expected).abs() < 0.02 * expected.abs() + 2e-3;
                assert!(close, "{name} {i} of {settings:?}: {told} against {expected}");
            }
            checked += 1;
        }
    }
    assert!(checked > before.output_bias.len(), "{settings:?}");
}

#[test]
fn one_step_goes_along_the_gradient_that_finite_differences_tell() {
    for settings in family() {
        // The normalised step is bounded per unit: another length, the same sign.
        if settings.optimizer != Optimizer::NormalizedSgd {
            gradients_agree(&settings);
        }
    }
}

#[test]
fn small_steps_on_one_window_lower_its_loss() {
    for settings in family() {
        let settings = Settings { penalty: Penalty::None, ..settings };
        let (mut net, window) = fit(&settings);
        let (before, _) = loss(&net, &window, &settings, &[]);
        let rate = if settings.optimizer == Optimizer::Adam { 1e-3 } else { 1e-2 };
        let mut pass = Pass::default();
        for _ in 0..50 {
            net.forward(&window, &settings, &mut pass);
            net.learn(&window, &mut pass, CHANNELS, rate, &settings);
        }
        let (after, _) = loss(&net, &window, &settings, &[]);
        assert!(after < before, "{before} to {after}: {settings:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_rate_does_not_touch_the_start() {
    for settings in family() {
        assert_eq!(fit(&settings).0, fit(&settings).0);
        let faster = Settings { learning_rate: 0.1, ..settings.clone() };
        assert_eq!(fit(&settings).0, fit(&faster).0);
    }
}

#[test]
fn the_principal_start_reconstructs_what_it_was_fitted_on() {
    for (activation, penalty) in CODES {
        for loss in [Loss::Mse, Loss::Bce] {
            let settings = Settings { hidden: 5, activation, penalty, loss, explained: 0.9, ..Settings::default() };
            let mut rng = Pcg32::seed_from_u64(3);
            let windows = windows(&mut rng);
            let slices: Vec<&[f32]> = windows.iter().map(Vec::as_slice).collect();
            let net = Autoencoder::fit(&slices, INPUTS, CHANNELS, &settings, &mut rng);
            let mut pass = Pass::default();
            let (mut missed, mut all) = (0.0, 0.0);
            for window in slices {
                net.forward(window, &settings, &mut pass);
                missed += dense::dot(&pass.residual, &pass.residual);
                all += dense::dot(window, window);
            }
            // Half of the units of relu are on the wrong side of it.
            let bound = if activation == Activation::Relu { 0.8 } else { 0.25 };
            assert!(missed < bound * all, "{} of the energy missed: {settings:?}", missed / all);
        }
    }
}

#[test]
fn a_rate_far_too_high_blows_the_reconstruction_up_but_leaves_numbers() {
    for settings in family() {
        let (mut net, window) = fit(&settings);
        let huge: Vec<f32> = window.iter().map(|x| x.signum() * 50.0).collect();
        let mut pass = Pass::default();
        for _ in 0..200 {
            net.forward(&huge, &settings, &mut pass);
            if !all_finite(&pass.residual) || !dense::dot(&pass.residual, &pass.residual).is_finite() {
                break; // from here on the detector starts over
            }
            net.learn(&huge, &mut pass, CHANNELS, 1e3, &settings);
            net.soundness(INPUTS, &settings).check().expect("finite weights after every step");
        }
    }
}
