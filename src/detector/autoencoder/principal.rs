//! The principal directions of the warm-up windows by subspace iteration with a final Rayleigh-Ritz step (Halko,
//! Martinsson and Tropp, 2011). Own loops: a library's matrix product picks its instructions per CPU, and with them its bits.

use super::dense;
use super::uniform;
use ndarray::Array2;
use rand_pcg::Pcg32;

/// Rounds of the iteration: the subspace of the leading directions has settled long before.
const ROUNDS: usize = 14;
/// Directions carried beyond those asked for: they take the error of a slowly falling spectrum.
const SPARE: usize = 8;

/// What was found.
pub struct Directions {
    /// Orthonormal, row-major, `spread.len() x inputs`.
    pub directions: Vec<f32>,
    /// Standard deviation along each direction, falling.
    pub spread: Vec<f32>,
    /// Mean window.
    pub mean: Vec<f32>,
}

/// At most `most` directions, as many as explain the share `explained` of the windows' variance, but at least one.
/// Costs about `ROUNDS x windows x inputs x (most + SPARE) x 4` flops, once per fit.
#[must_use]
pub fn directions(windows: &[&[f32]], inputs: usize, most: usize, explained: f64, rng: &mut Pcg32) -> Directions {
    let mean = mean_window(windows, inputs);
    let n = windows.len().max(1) as f64;
    let total: f64 = windows.iter().map(|window| squared_distance(window, &mean)).sum::<f64>() / n;
    let carried = (most + SPARE).min(inputs).max(1);
    let mut basis: Vec<f32> = (0..carried * inputs).map(|_| uniform(rng, 1.0)).collect();
    orthonormalize(&mut basis, inputs);
    let mut image = vec![0.0; basis.len()];
    for _ in 0..ROUNDS {
        apply_covariance(windows, &mean, &basis, inputs, &mut image);
        std::mem::swap(&mut basis, &mut image);
        orthonormalize(&mut basis, inputs);
    }
    let (variances, rotation) = eigen(projected_covariance(windows, &mean, &basis, inputs));
    let directions = rotate(&basis, &rotation, inputs);
    let units = units_that_explain(&variances, total, explained, most);
    Directions {
        directions: directions[..units * inputs].to_vec(),
        spread: variances[..units].iter().map(|variance| variance.max(0.0).sqrt() as f32).collect(),
        mean,
    }
}

fn units_that_explain(variances: &[f64], total: f64, explained: f64, most: usize) -> usize {
    let most = most.clamp(1, variances.len());
    let mut sum = 0.0;
    for (k, variance) in variances[..most].iter().enumerate() {
        sum += variance.max(0.0);
        if sum >= explained * total {
            return k + 1;
        }
    }
    most
}

fn mean_window(windows: &[&[f32]], inputs: usize) -> Vec<f32> {
    let mut sum = vec![0.0f64; inputs];
    for window in windows {
        for (sum, x) in sum.iter_mut().zip(*window) {
            *sum += f64::from(*x);
        }
    }
    let n = windows.len().max(1) as f64;
    sum.iter().map(|sum| (sum / n) as f32).collect()
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum()
}

/// `image = sum over windows of (V (x - m)) (x - m)'`, row by row of `V`.
fn apply_covariance(windows: &[&[f32]], mean: &[f32], basis: &[f32], inputs: usize, image: &mut [f32]) {
    let carried = basis.len() / inputs;
    let shift: Vec<f32> = (0..carried).map(|j| -dense::dot(&basis[j * inputs..(j + 1) * inputs], mean)).collect();
    let all: Vec<u32> = (0..carried as u32).collect();
    let (mut along, mut against) = (vec![0.0; carried], vec![0.0; carried]);
    image.fill(0.0);
    // Divided by the number of windows, so that sums of many large windows stay inside f32.
    let n = windows.len().max(1) as f32;
    for window in windows {
        dense::affine(basis, window, &shift, &mut along);
        along.iter_mut().for_each(|p| *p /= n);
        against.iter_mut().zip(&along).for_each(|(q, p)| *q = -p);
        dense::retreat(image, &all, &against, window, &along, mean);
    }
}

fn projected_covariance(windows: &[&[f32]], mean: &[f32], basis: &[f32], inputs: usize) -> Array2<f64> {
    let carried = basis.len() / inputs;
    let shift: Vec<f32> = (0..carried).map(|j| -dense::dot(&basis[j * inputs..(j + 1) * inputs], mean)).collect();
    let mut along = vec![0.0; carried];
    let mut covariance = Array2::<f64>::zeros((carried, carried));
    for window in windows {
        dense::affine(basis, window, &shift, &mut along);
        for i in 0..carried {
            for j in 0..=i {
                covariance[[i, j]] += f64::from(along[i]) * f64::from(along[j]);
            }
        }
    }
    let n = windows.len().max(1) as f64;
    for i in 0..carried {
        for j in 0..=i {
            covariance[[i, j]] /= n;
            covariance[[j, i]] = covariance[[i, j]];
        }
    }
    covariance
}

/// Gram-Schmidt, twice, in f64 sums; a vanished row becomes the first unit vector that is not spanned yet.
fn orthonormalize(rows: &mut [f32], inputs: usize) {
    let n = rows.len() / inputs;
    for j in 0..n {
        let (done, rest) = rows.split_at_mut(j * inputs);
        let row = &mut rest[..inputs];
        let mut filler = 0;
        loop {
            let before = norm(row);
            for _ in 0..2 {
                for other in done.chunks_exact(inputs) {
                    let overlap: f64 = row.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    dense::subtract(row, overlap as f32, other);
                }
            }
            let after = norm(row);
            if after > 1e-6 * before && after > 1e-30 {
                row.iter_mut().for_each(|w| *w = (f64::from(*w) / after) as f32);
                break;
            }
            if filler == inputs {
                row.fill(0.0);
                break;
            }
            row.fill(0.0);
            row[filler] = 1.0;
            filler += 1;
        }
    }
}

fn norm(row: &[f32]) -> f64 {
    row.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt()
}

/// Eigenvalues, falling, and eigenvectors as columns of a small symmetric matrix, by cyclic Jacobi rotations.
fn eigen(mut a: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = a.nrows();
    let mut v = Array2::<f64>::eye(n);
    for _ in 0..30 {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[[i, j]] * a[[i, j]]).sum();
        let on: f64 = (0..n).map(|i| a[[i, i]] * a[[i, i]]).sum();
        if off <= 1e-24 * on {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate_pair(&mut a, &mut v, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[[j, j]].total_cmp(&a[[i, i]]));
    let values = order.iter().map(|&i| a[[i, i]]).collect();
    let vectors = Array2::from_shape_fn((n, n), |(i, k)| v[[i, order[k]]]);
    (values, vectors)
}

fn rotate_pair(a: &mut Array2<f64>, v: &mut Array2<f64>, p: usize, q: usize) {
    if a[[p, q]] == 0.0 {
        return;
    }
    let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..a.nrows() {
        let (x, y) = (a[[k, p]], a[[k, q]]);
        a[[k, p]] = c * x - s * y;
        a[[k, q]] = s * x + c * y;
    }
    for k in 0..a.nrows() {
        let (x, y) = (a[[p, k]], a[[q, k]]);
        a[[p, k]] = c * x - s * y;
        a[[q, k]] = s * x + c * y;
        let (x, y) = (v[[k, p]], v[[k, q]]);
        v[[k, p]] = c * x - s * y;
        v[[k, q]] = s * x + c * y;
    }
}

/// `out[k] = sum over j of rotation[j][k] * basis[j]`.
fn rotate(basis: &[f32], rotation: &Array2<f64>, inputs: usize) -> Vec<f32> {
    let carried = basis.len() / inputs;
    let mut out = vec![0.0; basis.len()];
    for k in 0..carried {
        for j in 0..carried {
            let weight = -rotation[[j, k]] as f32;
            dense::subtract(&mut out[k * inputs..(k + 1) * inputs], weight, &basis[j * inputs..(j + 1) * inputs]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    #[test]
    fn two_directions_of_a_plane_are_found() {
        let mut rng = Pcg32::seed_from_u64(1);
        let rows: Vec<Vec<f32>> = (0..300)
            .map(|_| {
                let (a, b) = (uniform(&mut rng, 3.0), uniform(&mut rng, 1.0));
                vec![5.0 + a, 1.0 + a, -2.0 + b, 0.5 - b, 7.0]
            })
            .collect();
        let windows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let found = directions(&windows, 5, 4, 0.999, &mut rng);
        assert_eq!(found.spread.len(), 2);
        let root = 0.5f32.sqrt();
        let first = &found.directions[..5];
        assert!((first[0].abs() - root).abs() < 1e-3 && (first[0] - first[1]).abs() < 1e-3, "{first:?}");
        let second = &found.directions[5..];
        assert!((second[2].abs() - root).abs() < 1e-3 && (second[2] + second[3]).abs() < 1e-3, "{second:?}");
    }

    #[test]
    fn windows_without_any_variance_give_one_direction_and_no_nan() {
        let rows = vec![vec![1.0f32; 6]; 40];
        let windows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let found = directions(&windows, 6, 3, 0.95, &mut Pcg32::seed_from_u64(1));
        assert_eq!(found.spread.len(), 1);
        assert!(found.directions.iter().all(|w| w.is_finite()));
    }
}
