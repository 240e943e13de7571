//! `offkey version`.

use super::{Failed, print};

pub(super) fn run() -> Result<(), Failed> {
    print(&format!("offkey {}\n", env!("CARGO_PKG_VERSION")))?;
    #[cfg(feature = "daemon")]
    {
        let (version, features) = crate::kafka::check::library();
        print(&format!("librdkafka {version} ({features})\n"))?;
    }
    Ok(())
}
