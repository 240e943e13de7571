//! Named places to die, for the tests of the protocol (feature `failpoints`). Without the feature nothing is left of them.

/// Kills the process (SIGKILL: no destructor, no goodbye) if the environment's `OFFKEY_CRASH_AT` is this name, or `name:n` at
/// the n-th time.
#[cfg(feature = "failpoints")]
pub fn crash_at(name: &str) {
    use std::sync::atomic::AtomicU32;
    static PASSED: AtomicU32 = AtomicU32::new(0);
    if is_time("OFFKEY_CRASH_AT", name, &PASSED) {
        let _ = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn crash_at(_name: &str) {}

/// Never returns if the environment's `OFFKEY_HANG_AT` is this name, or `name:n` at the n-th time.
#[cfg(feature = "failpoints")]
pub fn hang_at(name: &str) {
    use std::sync::atomic::AtomicU32;
    static PASSED: AtomicU32 = AtomicU32::new(0);
    if is_time("OFFKEY_HANG_AT", name, &PASSED) {
        loop {
            std::thread::park();
        }
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hang_at(_name: &str) {}

/// Is this the place and the time that a variable of the environment names?
#[cfg(feature = "failpoints")]
fn is_time(variable: &str, name: &str, passed: &std::sync::atomic::AtomicU32) -> bool {
    let Ok(wanted) = std::env::var(variable) else { return false };
    let (wanted, times) =
        wanted.split_once(':').map_or((wanted.as_str(), 1), |(name, times)| (name, times.parse().unwrap_or(1)));
    wanted == name && passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == times
}

/// Panics if the environment's `OFFKEY_PANIC_ON` is this key of a record.
///
/// # Panics
/// Only if it is told to.
#[cfg(feature = "failpoints")]
pub fn panic_on(key: Option<&[u8]>) {
    static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let wanted = WANTED.get_or_init(|| std::env::var("OFFKEY_PANIC_ON").ok());
    let is_wanted = key.is_some() && wanted.as_ref().map(String::as_bytes) == key;
    assert!(!is_wanted, "a failpoint");
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn panic_on(_key: Option<&[u8]>) {}
