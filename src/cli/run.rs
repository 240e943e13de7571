//! `offkey run`: the daemon.

use super::{ConfigArgs, Failed};
use crate::daemon::{self, Exit, Start};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a second signal.
const KILLED: i32 = 130;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let config = args.config.load()?;
    crate::logging::start(&config.log);
    let runtime = runtime()?;
    let (end, stop) = watch::channel(false);
    let exit = runtime.block_on(async {
        tokio::spawn(stop_at_signal(end));
        daemon::run(Start { config, file: args.config.config.clone(), stop }).await
    });
    runtime.shutdown_background();
    told(exit)
}

/// Two threads: HTTP and signals. The work is done elsewhere.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failed::outside(format!("the system gives no threads: {error}")))
}

/// An exit as a code.
pub(super) fn told(exit: std::io::Result<Exit>) -> Result<(), Failed> {
    match exit {
        Ok(Exit::Clean) => {
            tracing::info!("stopped");
            Ok(())
        }
        Ok(Exit::Rival(why)) => {
            Err(Failed::try_again(format!("another instance runs under the same name (`kafka.instance`): {why}")))
        }
        Ok(Exit::Fatal(why)) => Err(Failed::outside(why)),
        Err(error) => Err(cannot_listen("http.listen", &error)),
    }
}

/// The address of metrics and health is taken, or not ours; `what` was said to have it.
pub(super) fn cannot_listen(what: &str, error: &std::io::Error) -> Failed {
    Failed::outside(format!("cannot listen on `{what}`: {error}"))
}

/// SIGTERM or SIGINT drains; a second one ends at once, which is safe: what is not committed is read again.
pub(super) async fn stop_at_signal(end: watch::Sender<bool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
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
