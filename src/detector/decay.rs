//! Exponential forgetting, told as half-lives in rows.

/// Step of an exponentially weighted mean whose memory halves every `half_life` rows; 0 for a half-life of 0 (never moves).
#[must_use]
pub fn step(half_life: f64) -> f64 {
    if half_life > 0.0 { 1.0 - libm::exp2(-1.0 / half_life) } else { 0.0 }
}

/// What is left of a weight after one row.
#[must_use]
pub fn keep(half_life: f64) -> f64 {
    libm::exp2(-1.0 / half_life)
}

#[cfg(test)]
mod tests {
    #[test]
    fn after_a_half_life_half_is_left() {
        let kept = (0..300).fold(1.0, |weight, _| weight * super::keep(300.0));
        assert!((kept - 0.5).abs() < 1e-9, "{kept}");
        assert_eq!(super::step(0.0), 0.0);
    }
}
