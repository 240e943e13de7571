//! The loops in which the time is spent. Each is compiled several times (AVX-512, AVX2, NEON, baseline) and chosen once
//! per call; every variant adds in the same sixteen strands and multiplies and adds separately, so all give the same bits.

use multiversion::multiversion;

/// Strands of a sum. Part of the bits: never change it within a snapshot format.
const STRANDS: usize = 16;

/// `sum of a[i] * b[i]` in sixteen strands, joined as a fixed tree.
#[inline(always)]
fn dot_body(a: &[f32], b: &[f32]) -> f32 {
    let mut strands = [0.0f32; STRANDS];
    let (a_body, b_body) = (a.chunks_exact(STRANDS), b.chunks_exact(STRANDS));
    let (a_tail, b_tail) = (a_body.remainder(), b_body.remainder());
    for (a, b) in a_body.zip(b_body) {
        for k in 0..STRANDS {
            strands[k] += a[k] * b[k];
        }
    }
    for (k, (a, b)) in a_tail.iter().zip(b_tail).enumerate() {
        strands[k] += a * b;
    }
    join(strands)
}

#[inline(always)]
fn join(mut strands: [f32; STRANDS]) -> f32 {
    let mut width = STRANDS / 2;
    while width > 0 {
        for k in 0..width {
            strands[k] += strands[k + width];
        }
        width /= 2;
    }
    strands[0]
}

/// Four products with one pass over `x`: the chains of additions of one row alone would leave the adder idle.
#[inline(always)]
fn dot4_body(rows: [&[f32]; 4], x: &[f32]) -> [f32; 4] {
    let mut strands = [[0.0f32; STRANDS]; 4];
    let n = x.len() / STRANDS * STRANDS;
    let [r0, r1, r2, r3] = rows.map(|row| &row[..x.len()]);
    let mut i = 0;
    while i < n {
        let x = &x[i..i + STRANDS];
        let (r0, r1, r2, r3) = (&r0[i..i + STRANDS], &r1[i..i + STRANDS], &r2[i..i + STRANDS], &r3[i..i + STRANDS]);
        for k in 0..STRANDS {
            strands[0][k] += r0[k] * x[k];
            strands[1][k] += r1[k] * x[k];
            strands[2][k] += r2[k] * x[k];
            strands[3][k] += r3[k] * x[k];
        }
        i += STRANDS;
    }
    for (k, j) in (n..x.len()).enumerate() {
        strands[0][k] += r0[j] * x[j];
        strands[1][k] += r1[j] * x[j];
        strands[2][k] += r2[j] * x[j];
        strands[3][k] += r3[j] * x[j];
    }
    strands.map(join)
}

/// `out[j] = sum over i of w[j][i] * x[i] + b[j]`; `w` is row-major, `out.len()` rows of `x.len()`. Allocates nothing.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn affine(w: &[f32], x: &[f32], b: &[f32], out: &mut [f32]) {
    let width = x.len();
    let mut j = 0;
    while j + 4 <= out.len() {
        let row = |k: usize| &w[(j + k) * width..(j + k + 1) * width];
        let sums = dot4_body([row(0), row(1), row(2), row(3)], x);
        for k in 0..4 {
            out[j + k] = sums[k] + b[j + k];
        }
        j += 4;
    }
    while j < out.len() {
        out[j] = dot_body(&w[j * width..(j + 1) * width], x) + b[j];
        j += 1;
    }
}

/// `out = bias + sum over active j of code[j] * w[j]`, in the order of `active`; `w` is row-major, `code.len()` rows of
/// `out.len()`. Inactive units cost nothing.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn combine(w: &[f32], code: &[f32], active: &[u32], bias: &[f32], out: &mut [f32]) {
    let width = out.len();
    out.copy_from_slice(bias);
    let row = |j: u32| &w[j as usize * width..(j as usize + 1) * width];
    let groups = active.chunks_exact(4);
    let rest = groups.remainder();
    for group in groups {
        let (r0, r1, r2, r3) = (row(group[0]), row(group[1]), row(group[2]), row(group[3]));
        let h = [0, 1, 2, 3].map(|k| code[group[k] as usize]);
        for (i, out) in out.iter_mut().enumerate() {
            *out = (((*out + h[0] * r0[i]) + h[1] * r1[i]) + h[2] * r2[i]) + h[3] * r3[i];
        }
    }
    for &j in rest {
        let h = code[j as usize];
        for (out, w) in out.iter_mut().zip(row(j)) {
            *out += h * w;
        }
    }
}

/// `out[k] = sum over i of w[active[k]][i] * x[i]`: the products of the active rows alone.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn project(w: &[f32], x: &[f32], active: &[u32], out: &mut [f32]) {
    let width = x.len();
    let row = |j: u32| &w[j as usize * width..(j as usize + 1) * width];
    let groups = active.chunks_exact(4);
    let rest = groups.remainder();
    let mut k = 0;
    for group in groups {
        let sums = dot4_body([row(group[0]), row(group[1]), row(group[2]), row(group[3])], x);
        out[k..k + 4].copy_from_slice(&sums);
        k += 4;
    }
    for &j in rest {
        out[k] = dot_body(row(j), x);
        k += 1;
    }
}

/// `w[i] -= p * x[i] + q * e[i]`: the step of one row of a tied matrix.
#[inline(always)]
fn retreat_body(w: &mut [f32], p: f32, x: &[f32], q: f32, e: &[f32]) {
    for ((w, x), e) in w.iter_mut().zip(x).zip(e) {
        *w -= p * x + q * e;
    }
}

/// For every active unit `j = active[k]`: `w[j] -= p[k] * x + q[k] * e`. Shapes as in [`combine`].
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn retreat(w: &mut [f32], active: &[u32], p: &[f32], x: &[f32], q: &[f32], e: &[f32]) {
    let width = x.len();
    for (k, &j) in active.iter().enumerate() {
        let row = &mut w[j as usize * width..(j as usize + 1) * width];
        retreat_body(row, p[k], x, q[k], e);
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
    dot_body(a, b)
}

/// `sums[c] += e[i * C + c]^2` over the rows `i` of a window, `C = sums.len()`.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2", "aarch64+neon"))]
pub fn energy_by_channel(e: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for row in e.chunks_exact(sums.len()) {
        for (sum, e) in sums.iter_mut().zip(row) {
            *sum += e * e;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The baseline, compiled without wide registers: the body is the same, the target is not.
    fn plain_dot(a: &[f32], b: &[f32]) -> f32 {
        let mut strands = [0.0f32; STRANDS];
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            strands[i % STRANDS] += std::hint::black_box(a * b);
        }
        join(strands)
    }

    proptest! {
        #[test]
        fn every_variant_gives_the_bits_of_the_plain_loop(
            values in prop::collection::vec((-1e3f32..1e3, -1e3f32..1e3, -1e3f32..1e3), 1..200),
            units in 1usize..9,
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
                let expected = (0..units).fold(x[i], |sum, j| sum + std::hint::black_box(out[j] * w[j * x.len() + i]));
                prop_assert_eq!(combined.to_bits(), expected.to_bits());
            }
        }
    }
}
