//! Noise that a prototype in another language draws too, to the bit.

/// In 0..1; exact in `f32`.
pub fn noise(i: u64) -> f32 {
    ((i.wrapping_mul(2_654_435_761) & 0xffff_ffff) >> 8) as f32 / (1u32 << 24) as f32
}
