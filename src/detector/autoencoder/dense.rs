//! The loops in which the time is spent. Each is compiled several times (AVX-512, AVX2, NEON, baseline) and chosen once
//! per call; every variant adds in the same sixteen strands and multiplies and adds separately, so all give the same bits.
//!
//! They are written for the registers: sums stay in them over a whole row or a whole list of units, and leave them once.

use multiversion::multiversion;
use std::hint::black_box;

/// Strands of a sum. Part of the bits: never change it within a snapshot format.
const STRANDS: usize = 16;
type Strands = [f32; STRANDS];
/// Columns of a matrix that are worked through together: with 16 floats a register four of them, with 8 eight.
const COLUMNS: usize = 4 * STRANDS;

#[inline(always)]
fn add_products(strands: &mut Strands, a: &Strands, b: &Strands) {
    for k in 0..STRANDS {
        strands[k] += a[k] * b[k];
    }
}

/// The end of a row that fills no whole register; the zeros add nothing.
#[inline(always)]
fn padded(tail: &[f32]) -> Strands {
    let mut all = [0.0; STRANDS];
    all[..tail.len()].copy_from_slice(tail);
    all
}

#[inline(always)]
fn halved<const N: usize, const FROM: usize, const TO: usize>(sums: &[[f32; FROM]; N]) -> [[f32; TO]; N] {
    let mut halves = [[0.0; TO]; N];
    for n in 0..N {
        for k in 0..TO {
            halves[n][k] = sums[n][k] + sums[n][k + TO];
        }
    }
    halves
}

/// Joins the strands of several sums as a fixed tree.
#[inline(always)]
fn join<const N: usize>(sums: [Strands; N]) -> [f32; N] {
    // Seen through, the compiler would turn the loops that made the strands round to fit this tree, at twice their cost.
    let eights: [[f32; 8]; N] = black_box(halved(&black_box(sums)));
    let fours: [[f32; 4]; N] = black_box(halved(&eights));
    let mut joined = [0.0; N];
    for n in 0..N {
        let [a, b, c, d] = fours[n];
        joined[n] = (a + c) + (b + d);
    }
    joined
}

/// `sum over i of row(k + n)[i] * x[i]` for `N` rows with one pass over `x`: the additions of one row alone would wait for
/// one another.
#[inline(always)]
fn dots<'a, const N: usize>(row: &impl Fn(usize) -> &'a [f32], k: usize, x: &[f32]) -> [f32; N] {
    let (x_whole, x_tail) = x.as_chunks::<STRANDS>();
    let (mut whole, mut tail): ([&[Strands]; N], [&[f32]; N]) = ([&[]; N], [&[]; N]);
    for n in 0..N {
        (whole[n], tail[n]) = row(k + n)[..x.len()].as_chunks();
    }
    let mut sums = [[0.0; STRANDS]; N];
    for (i, x) in x_whole.iter().enumerate() {
        for n in 0..N {
            add_products(&mut sums[n], &whole[n][i], x);
        }
    }
    if !x_tail.is_empty() {
        let x = padded(x_tail);
        for n in 0..N {
            add_products(&mut sums[n], &padded(tail[n]), &x);
        }
    }
    join(sums)
}

/// `out[k] = sum over i of row(k)[i] * x[i]`.
#[inline(always)]
fn products<'a>(row: impl Fn(usize) -> &'a [f32], x: &[f32], out: &mut [f32]) {
    let (eights, rest) = out.as_chunks_mut::<8>();
    let (fours, ones) = rest.as_chunks_mut::<4>();
    let mut k = 0;
    for sums in eights {
        *sums = dots(&row, k, x);
        k += 8;
    }
    for sums in fours {
        *sums = dots(&row, k, x);
        k += 4;
    }
    for sum in ones {
        [*sum] = dots(&row, k, x);
        k += 1;
    }
}

/// `out[j] = sum over i of w[j][i] * x[i] + b[j]`; `w` is row-major, `out.len()` rows of `x.len()`. Allocates nothing.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn affine(w: &[f32], x: &[f32], b: &[f32], out: &mut [f32]) {
    let width = x.len();
    products(|j| &w[j * width..][..width], x, out);
    for (out, b) in out.iter_mut().zip(b) {
        *out += b;
    }
}

/// `out[k] = sum over i of w[active[k]][i] * x[i]`: the products of the active rows alone.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn project(w: &[f32], x: &[f32], active: &[u32], out: &mut [f32]) {
    let width = x.len();
    products(|k| &w[active[k] as usize * width..][..width], x, &mut out[..active.len()]);
}

/// `out = bias + sum over active j of code[j] * w[j]`, in the order of `active`; `w` is row-major, `code.len()` rows of
/// `out.len()`. Inactive units cost nothing.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn combine(w: &[f32], code: &[f32], active: &[u32], bias: &[f32], out: &mut [f32]) {
    let width = out.len();
    out.copy_from_slice(bias);
    let (wide, rest) = out.as_chunks_mut::<COLUMNS>();
    let (narrow, rest) = rest.as_chunks_mut::<STRANDS>();
    let mut column = 0;
    for sums in wide {
        combine_columns(&w[column..], width, code, active, sums);
        column += COLUMNS;
    }
    for sums in narrow {
        combine_columns(&w[column..], width, code, active, sums);
        column += STRANDS;
    }
    for sum in rest {
        combine_columns(&w[column..], width, code, active, std::array::from_mut(sum));
        column += 1;
    }
}

/// The share of `N` columns in [`combine`]; `w` begins at the first of them.
#[inline(always)]
fn combine_columns<const N: usize>(w: &[f32], width: usize, code: &[f32], active: &[u32], sums: &mut [f32; N]) {
    let mut strands = *sums;
    for &j in active {
        let (h, row) = (code[j as usize], &w[j as usize * width..][..N]);
        for k in 0..N {
            strands[k] += h * row[k];
        }
    }
    *sums = strands;
}

/// For every active unit `j = active[k]`: `w[j] -= p[k] * x + q[k] * e`. Shapes as in [`combine`]; no unit is named twice.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn retreat(w: &mut [f32], active: &[u32], p: &[f32], x: &[f32], q: &[f32], e: &[f32]) {
    let (n, width) = (active.len(), x.len());
    let ((fours, rest), (p_fours, p_rest), (q_fours, q_rest)) =
        (active.as_chunks::<4>(), p[..n].as_chunks::<4>(), q[..n].as_chunks::<4>());
    for (([a, b, c, d], p), q) in fours.iter().zip(p_fours).zip(q_fours) {
        let row = |j: &u32| *j as usize * width..(*j as usize + 1) * width;
        let rows = w.get_disjoint_mut([row(a), row(b), row(c), row(d)]).expect("no unit is active twice");
        retreat_four(rows, p, x, q, e);
    }
    for ((&j, p), q) in rest.iter().zip(p_rest).zip(q_rest) {
        retreat_one(&mut w[j as usize * width..][..width], *p, x, *q, e);
    }
}

/// Four rows with one pass over `x` and `e`.
#[inline(always)]
fn retreat_four(rows: [&mut [f32]; 4], p: &[f32; 4], x: &[f32], q: &[f32; 4], e: &[f32]) {
    let (x_whole, x_tail) = x.as_chunks::<STRANDS>();
    let (e_whole, e_tail) = e.as_chunks::<STRANDS>();
    let [a, b, c, d] = rows;
    let rows = [a.as_chunks_mut(), b.as_chunks_mut(), c.as_chunks_mut(), d.as_chunks_mut()];
    for (i, (x, e)) in x_whole.iter().zip(e_whole).enumerate() {
        let (x, e): (Strands, Strands) = (*x, *e);
        for n in 0..4 {
            let w: &mut Strands = &mut rows[n].0[i];
            for k in 0..STRANDS {
                w[k] -= p[n] * x[k] + q[n] * e[k];
            }
        }
    }
    for n in 0..4 {
        retreat_one(rows[n].1, p[n], x_tail, q[n], e_tail);
    }
}

#[inline(always)]
fn retreat_one(row: &mut [f32], p: f32, x: &[f32], q: f32, e: &[f32]) {
    for ((w, x), e) in row.iter_mut().zip(x).zip(e) {
        *w -= p * x + q * e;
    }
}

/// `w[i] -= p * x[i]`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn subtract(w: &mut [f32], p: f32, x: &[f32]) {
    for (w, x) in w.iter_mut().zip(x) {
        *w -= p * x;
    }
}

/// `sum of a[i] * b[i]`, in sixteen strands.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let [sum] = dots(&|_| a, 0, b);
    sum
}

/// `sums[c] = sum over i of e[i * C + c]^2` over the rows `i` of a window, `C = sums.len()`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn energy_by_channel(e: &[f32], sums: &mut [f32]) {
    let channels = sums.len();
    let (wide, rest) = sums.as_chunks_mut::<STRANDS>();
    let (narrow, rest) = rest.as_chunks_mut::<4>();
    let mut column = 0;
    for sums in wide {
        *sums = energy_of_columns(&e[column..], channels);
        column += STRANDS;
    }
    for sums in narrow {
        *sums = energy_of_columns(&e[column..], channels);
        column += 4;
    }
    for sum in rest {
        [*sum] = energy_of_columns(&e[column..], channels);
        column += 1;
    }
}

/// The share of `N` channels in [`energy_by_channel`]; `e` begins at the first of them.
#[inline(always)]
fn energy_of_columns<const N: usize>(e: &[f32], channels: usize) -> [f32; N] {
    let mut sums = [0.0; N];
    for row in e.chunks(channels) {
        for k in 0..N {
            sums[k] += row[k] * row[k];
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One product at a time, without wide registers.
    fn plain_dot(a: &[f32], b: &[f32]) -> f32 {
        let mut strands = [0.0f32; STRANDS];
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            strands[i % STRANDS] += black_box(a * b);
        }
        for width in [8, 4, 2, 1] {
            for k in 0..width {
                strands[k] += black_box(strands[k + width]);
            }
        }
        strands[0]
    }

    proptest! {
        #[test]
        fn every_variant_gives_the_bits_of_the_plain_loop(
            values in prop::collection::vec((-1e3f32..1e3, -1e3f32..1e3, -1e3f32..1e3), 1..200),
            units in 1usize..24,
        ) {
            let x: Vec<f32> = values.iter().map(|v| v.0).collect();
            let w: Vec<f32> = (0..units).flat_map(|u| values.iter().map(move |v| v.1 + u as f32 * v.2)).collect();
            let bias = vec![0.25; units];
            let mut out = vec![0.0; units];
            affine(&w, &x, &bias, &mut out);
            for (j, out) in out.iter().enumerate() {
                let expected = plain_dot(&w[j * x.len()..(j + 1) * x.len()], &x) + 0.25;
                prop_assert_eq!(out.to_bits(), expected.to_bits());
            }
            let active: Vec<u32> = (0..units as u32).collect();
            let mut projected = vec![0.0; units];
            project(&w, &x, &active, &mut projected);
            for (j, projected) in projected.iter().enumerate() {
                prop_assert_eq!(projected.to_bits(), plain_dot(&w[j * x.len()..(j + 1) * x.len()], &x).to_bits());
            }
            let mut combined = vec![0.0; x.len()];
            combine(&w, &out, &active, &x, &mut combined);
            for (i, combined) in combined.iter().enumerate() {
                let expected = (0..units).fold(x[i], |sum, j| sum + black_box(out[j] * w[j * x.len() + i]));
                prop_assert_eq!(combined.to_bits(), expected.to_bits());
            }
            // Built into the test, the same loop is compiled for the baseline.
            products(|j| &w[j * x.len()..][..x.len()], &x, &mut out);
            prop_assert_eq!(out, projected);
        }

        #[test]
        fn energies_are_those_of_the_plain_loop(
            rows in 1usize..20, channels in 1usize..40, cells in prop::collection::vec(-1e3f32..1e3, 800),
        ) {
            let e = &cells[..rows * channels];
            let mut sums = vec![0.0; channels];
            energy_by_channel(e, &mut sums);
            for (c, sum) in sums.iter().enumerate() {
                let expected = e.iter().skip(c).step_by(channels).fold(0.0, |sum, e| sum + black_box(e * e));
                prop_assert_eq!(sum.to_bits(), f32::to_bits(expected));
            }
        }
    }
}
