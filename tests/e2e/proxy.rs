//! A TCP proxy that understands Kafka's frames: it loses, delays and cuts chosen requests and answers. No packet tool can hold
//! one `EndTxn` back until the next transaction is open; this replays what Jepsen found, on purpose.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Kafka's numbers of the requests that a transaction is made of.
pub mod api {
    pub const PRODUCE: i16 = 0;
    pub const INIT_PRODUCER_ID: i16 = 22;
    pub const ADD_PARTITIONS: i16 = 24;
    pub const ADD_OFFSETS: i16 = 25;
    pub const END_TXN: i16 = 26;
    pub const TXN_OFFSET_COMMIT: i16 = 28;
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Pass,
    /// It never arrives; the connection is cut.
    LoseRequest,
    /// It arrives and is done; its answer is lost and the connection cut.
    LoseAnswer,
    /// The connection is cut, so that the client asks again on another; this copy arrives only now.
    Hold(Duration),
    /// It arrives late, and so does its answer.
    Delay(Duration),
}

pub struct Proxy {
    pub bootstrap: String,
    pub port: u16,
    faults: Arc<AtomicU32>,
}

type Rule = dyn Fn(i16) -> Fault + Send + Sync;

impl Proxy {
    /// Listens at once; `connect` says later where to.
    pub fn listen() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self { bootstrap: format!("127.0.0.1:{port}"), port, faults: Arc::default() }, listener)
    }

    /// Passes everything to `upstream`, but for what the rule says of a request by its number.
    pub fn connect(
        &self,
        listener: TcpListener,
        upstream: String,
        rule: impl Fn(i16) -> Fault + Send + Sync + 'static,
    ) {
        let (faults, rule): (_, Arc<Rule>) = (Arc::clone(&self.faults), Arc::new(rule));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(broker) = TcpStream::connect(&upstream) else { continue };
                let (faults, rule) = (Arc::clone(&faults), Arc::clone(&rule));
                std::thread::spawn(move || serve(client, broker, &*rule, &faults));
            }
        });
    }

    /// How many requests did not simply pass.
    pub fn faults(&self) -> u32 {
        self.faults.load(Ordering::SeqCst)
    }
}

fn frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes).ok()?;
    let size = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    bytes.resize(4 + size, 0);
    from.read_exact(&mut bytes[4..]).ok()?;
    Some(bytes)
}

fn number(frame: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

fn serve(mut client: TcpStream, mut broker: TcpStream, rule: &Rule, faults: &AtomicU32) {
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let lost: Arc<Mutex<BTreeSet<i32>>> = Arc::default();
    let (answers_to, answers_from, losing) =
        (client.try_clone().unwrap(), broker.try_clone().unwrap(), Arc::clone(&lost));
    std::thread::spawn(move || answer(answers_from, answers_to, &losing));
    while let Some(request) = frame(&mut client) {
        let fault = rule(i16::from_be_bytes([request[4], request[5]]));
        faults.fetch_add(u32::from(fault != Fault::Pass), Ordering::SeqCst);
        match fault {
            Fault::Pass => {}
            Fault::LoseRequest => break,
            Fault::LoseAnswer => drop(lost.lock().unwrap().insert(number(&request, 8))),
            Fault::Delay(time) => std::thread::sleep(time),
            Fault::Hold(time) => {
                let _ = client.shutdown(Shutdown::Both);
                std::thread::sleep(time);
                let _ = broker.write_all(&request);
                // The broker forgets what it has not read from a connection that ends.
                std::thread::sleep(Duration::from_secs(1));
                break;
            }
        }
        if broker.write_all(&request).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
}

fn answer(mut broker: TcpStream, mut client: TcpStream, lost: &Mutex<BTreeSet<i32>>) {
    while let Some(answer) = frame(&mut broker) {
        if lost.lock().unwrap().contains(&number(&answer, 4)) {
            break;
        }
        // The client may have been cut off while one of its requests is held.
        let _ = client.write_all(&answer);
    }
    let _ = (client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
}
