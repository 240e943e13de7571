//! `offkey run`: the daemon.

use crate::daemon::{self, Exit, Start};
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a daemon that another one of its name has pushed aside, or whose address is taken: try again.
pub const TRY_AGAIN: i32 = 75;
/// Exit code of a daemon that cannot go on.
pub const FATAL: i32 = 70;
/// Exit code of a bad config.
pub const CONFIG: i32 = 78;
/// Exit code of a second signal.
const KILLED: i32 = 130;

/// Runs the daemon until a signal ends it; its exit code.
///
/// # Panics
/// When the operating system gives no threads.
#[must_use]
pub fn run(file: Option<&Path>) -> i32 {
    let config = match daemon::load(file) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return CONFIG;
        }
    };
    crate::logging::start(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("the system gives threads");
    let (end, stop) = watch::channel(false);
    let exit = runtime.block_on(async {
        tokio::spawn(stop_at_signal(end));
        daemon::run(Start { config, file: file.map(Path::to_owned), stop }).await
    });
    runtime.shutdown_background();
    match exit {
        Ok(Exit::Clean) => {
            tracing::info!("stopped");
            0
        }
        Ok(Exit::Rival(why)) => {
            tracing::error!(why, "another instance runs under the same name (`kafka.instance`)");
            TRY_AGAIN
        }
        Ok(Exit::Fatal(why)) => {
            tracing::error!(why, "the daemon cannot go on");
            FATAL
        }
        Err(error) => {
            tracing::error!(%error, "cannot listen on `http.listen`");
            TRY_AGAIN
        }
    }
}

/// SIGTERM or SIGINT drains; a second one ends at once, which is safe: what is not committed is read again.
async fn stop_at_signal(end: watch::Sender<bool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else { return };
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if end.send_replace(true) {
            std::process::exit(KILLED);
        }
    }
}
