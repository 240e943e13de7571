//! `offkey version`.

use super::{Failed, print};

pub(super) fn run() -> Result<(), Failed> {
    print(&format!("offkey {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}
