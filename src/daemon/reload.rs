//! SIGHUP, or a changed config file: new rules without forgetting anything learned. A bad file is refused whole.

use super::status::Status;
use crate::config::{Config, Source, environment};
use crate::lane::terms::Terms;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::watch::Sender;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Runs as long as the process: from before there is a Kafka, and when the daemon begins anew.
pub async fn watch(
    config: Arc<Config>,
    file: Option<PathBuf>,
    status: Arc<Status>,
    mut hangup: Signal,
    terms: Sender<Arc<Terms>>,
) {
    let read = |file: &Option<PathBuf>| file.as_ref().and_then(|file| std::fs::read(file).ok());
    let mut content = read(&file);
    status.metrics.config_reload_ok.set(1);
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        let now = read(&file);
        if !asked && (now == content || now.is_none()) {
            continue;
        }
        content = now;
        let source = file.as_deref().map_or(Source::Default, Source::File);
        let loaded = Config::load(source, environment()).and_then(|new| config.reload(&new));
        let taken = loaded.is_ok();
        match loaded {
            Ok(new) => {
                tracing::info!("the config was read again: new rules from the next epoch on");
                terms.send_replace(Arc::new(new));
            }
            Err(errors) => tracing::error!(%errors, "the changed config is refused; the old one stays"),
        }
        status.metrics.config_reload_ok.set(i64::from(taken));
        status.metrics.config_reloads.with_label_values(&[if taken { "ok" } else { "refused" }]).inc();
    }
}
