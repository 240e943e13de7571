use super::*;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

const SHORT: Limits =
    Limits { connections: 2, header: Duration::from_millis(150), connection: Duration::from_secs(20) };

struct Server {
    address: std::net::SocketAddr,
    ready: Arc<AtomicBool>,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ready = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ready);
    let check =
        move || vec![Check { name: "lanes", ok: told.load(Ordering::SeqCst), reason: "1 of 2 \"lanes\"".to_owned() }];
    let served = Arc::new(Served { metrics: Arc::new(Metrics::new()), checks: Box::new(check) });
    let (end, ends) = watch::channel(false);
    Server { address, ready, end, task: tokio::spawn(serve(listener, served, SHORT, ends)) }
}

impl Server {
    /// A client that blocks: the server has threads of its own. Sends these bytes, and reads until the server hangs up.
    fn say(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn get(&self, path: &str) -> String {
        self.say(&format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_does_not_ask_and_readiness_tells_each_check() {
    let server = start().await;
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    let waiting = server.get("/readyz");
    assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
    let body: serde_json::Value = serde_json::from_str(waiting.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["ready"], false);
    assert_eq!(body["checks"][0]["reason"], "1 of 2 \"lanes\"");
    server.ready.store(true, Ordering::SeqCst);
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_counter_is_there_before_its_first_event() {
    let text = start().await.get("/metrics");
    for line in [
        "offkey_records_rejected_total{reason=\"malformed_json\"} 0",
        "offkey_commits_total{outcome=\"ok\"} 0",
        "offkey_alerts_opened_total{severity=\"critical\"} 0",
        "offkey_recoveries_total{outcome=\"truncated_log\"} 0",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_served_is_refused() {
    let server = start().await;
    assert!(server.get("/../etc/passwd").starts_with("HTTP/1.1 404"));
    assert!(
        server.say("POST /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").starts_with("HTTP/1.1 405")
    );
    assert!(server.say("no such language\r\n\r\n").starts_with("HTTP/1.1 400"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dribbles_a_header_is_hung_up_on_and_the_others_are_served() {
    let server = start().await;
    let mut slow = Vec::new();
    for _ in 0..SHORT.connections {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"GET /metrics HT").unwrap();
        slow.push(stream);
    }
    // Every connection is taken: this one waits until the slow ones are gone.
    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_when_told_though_every_connection_is_taken() {
    let server = start().await;
    let _first = TcpStream::connect(server.address).unwrap();
    let _second = TcpStream::connect(server.address).unwrap();
    server.end.send_replace(true);
    server.task.await.unwrap();
}
