//! `/metrics`, `/healthz` (independent of Kafka) and `/readyz` (means progress). An accept loop of our own: `axum::serve`
//! installs no timer, so that a client which dribbles its header would hold a connection for ever.

use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// One check of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is looked at.
    pub name: &'static str,
    /// Is it well?
    pub ok: bool,
    /// Why not, or what there is to know.
    pub reason: String,
}

/// What is served.
pub struct Served {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Looks at readiness, now.
    pub checks: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
}

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time; more wait to be accepted.
    pub connections: usize,
    /// Time for a request's header.
    pub header: Duration,
    /// Time for a connection with all its requests: one that reads no answers is not kept.
    pub connection: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 256, header: Duration::from_secs(5), connection: Duration::from_secs(300) }
    }
}

/// Serves until `end` becomes true. Bodies of requests are never read.
pub async fn serve(listener: TcpListener, served: Arc<Served>, limits: Limits, mut end: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .with_state(served);
    let connections = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            _ = end.wait_for(|end| *end) => return,
        };
        let Ok((stream, permit)) = accepted else {
            // Out of file descriptors, most likely: the next moment may be better.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(limits.header);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            // A client that goes away is none of our business.
            let _ = tokio::time::timeout(limits.connection, connection).await;
            drop(permit);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    Ok((listener.accept().await?.0, permit))
}

async fn metrics(State(served): State<Arc<Served>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], served.metrics.text()).into_response()
}

async fn readiness(State(served): State<Arc<Served>>) -> Response {
    let checks = (served.checks)();
    let ready = checks.iter().all(|check| check.ok);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(serde_json::json!({ "ready": ready, "checks": checks }))).into_response()
}

#[cfg(test)]
mod tests;
