//! `offkey demo`, as a stranger meets it: no Kafka, alerts within a minute, a summary in the end.

use crate::broker::free_port;
use crate::wait_for;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn demo(http: u16, arguments: &[&str]) -> Child {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_offkey"));
    demo.arg("demo").args(["--listen", &format!("127.0.0.1:{http}")]).args(arguments);
    demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// What it had said when it ended by itself, and well.
fn told(mut demo: Child, seconds: u64) -> String {
    let mut stdout = demo.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text).unwrap()
    });
    let status = wait_for("the demo to end", seconds, || demo.try_wait().unwrap());
    let text = reading.join().unwrap();
    assert!(status.success(), "{status}\n{text}");
    text
}

#[test]
fn the_demo_injects_faults_finds_them_and_counts_both() {
    let http = free_port();
    let running = demo(http, &["--for", "50s"]);
    let metric = format!("http://127.0.0.1:{http}/metrics");
    wait_for("rows to be judged", 40, || {
        let text = ureq::get(&metric).call().ok()?.body_mut().read_to_string().ok()?;
        text.lines().any(|line| line.starts_with("offkey_rows_total ") && !line.ends_with(" 0")).then_some(())
    });
    let text = told(running, 90);
    assert!(text.contains("   fault: ") && text.contains(" opened: "), "{text}");
    let number = |before: &str| {
        let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before:?} in {text}"));
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u32>().unwrap()
    };
    let (injected, found, bad) = (number("faults injected "), number(", found "), number("bad records "));
    // Each is found or not by chance of a machine's speed; that none is, is not chance.
    assert!(injected >= 2 && (1..=injected).contains(&found) && bad > 0, "{text}");
}

#[test]
fn the_demo_ends_at_an_interrupt() {
    let started = Instant::now();
    let running = demo(free_port(), &[]);
    std::thread::sleep(Duration::from_secs(3));
    let id = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert!(told(running, 30).contains("faults injected 0"), "after {:?}", started.elapsed());
}

#[test]
fn a_demo_whose_port_is_taken_promises_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_offkey")).args(["demo", "--listen", &address]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{told}");
    assert!(told.contains("cannot listen on `--listen`"), "{told}");
}
