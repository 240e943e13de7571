//! Bugs on purpose (feature `planted-bugs`), to show that the tests of the protocol can fail. Without the feature nothing is left.

/// Does the environment's `OFFKEY_PLANT` name this bug?
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(bug: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("OFFKEY_PLANT").ok()).as_deref() == Some(bug)
}

/// No.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
#[must_use]
pub const fn is_planted(_bug: &str) -> bool {
    false
}
