//! The metrics as Prometheus' own tools see them.

use crate::broker::{create_topic, free_port, shared};
use crate::daemon::{Setup, unique};
use crate::fleet::Fleet;
use crate::topic::Writer;
use crate::wait_for;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

fn is_installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("SKIPPED: {tool} is not installed");
    }
    found
}

#[test]
fn promtool_and_prometheus_take_the_metrics_and_every_query_of_the_dashboard_has_an_answer() {
    if !is_installed("promtool") || !is_installed("prometheus") {
        return;
    }
    let bootstrap = shared();
    let input = unique("measured");
    create_topic(bootstrap, &input, 1);
    let setup = Setup::new(bootstrap, "metrics", &input);
    let writer = Writer::to(bootstrap, &input);
    let mut fleet = Fleet::new(1, 4);
    (0..1_300).flat_map(|_| fleet.tick()).for_each(|row| writer.send(Some(&row.entity), Some(row.json().as_bytes())));
    writer.flush();
    let daemon = setup.start("a");
    daemon.wait_until_ready();
    setup.wait_until_read();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(daemon.get("/metrics").unwrap().as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));

    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = folder.path().join("prometheus.yml");
    let target = format!("127.0.0.1:{}", daemon.http);
    std::fs::write(
        &config,
        format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: offkey\n  static_configs:\n  - targets: ['{target}']\n"),
    )
    .unwrap();
    let mut server = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ask = |query: &str| -> Option<Value> {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        let text = ureq::get(&url).query("query", query).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    };
    let has_answer = |query: &str| {
        ask(query).is_some_and(|told| told["data"]["result"].as_array().is_some_and(|rows| !rows.is_empty()))
    };
    // A rate wants two samples.
    wait_for("the first samples", 60, || has_answer("count_over_time(offkey_rows_total[1m]) > 3").then_some(()));
    let queries = dashboard_queries();
    assert!(queries.len() >= 10, "{queries:?}");
    let silent: Vec<&String> = queries.iter().filter(|query| !has_answer(query)).collect();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(silent.is_empty(), "no answer to {silent:#?}");
    daemon.stop();
}

/// Every expression of the dashboard, its variables replaced.
fn dashboard_queries() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/dashboards/offkey.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "1m")).collect()
}
