//! A TCP proxy that understands Kafka's frames: it loses, delays and cuts chosen requests and answers. No packet tool can hold
//! one `EndTxn` back until the next transaction is open; this replays what Jepsen found, on purpose.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
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

/// Kafka's numbers of some errors.
pub mod code {
    pub const UNKNOWN_SERVER_ERROR: i16 = -1;
    pub const MESSAGE_TOO_LARGE: i16 = 10;
    pub const NOT_ENOUGH_REPLICAS: i16 = 19;
    pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    pub const KAFKA_STORAGE_ERROR: i16 = 56;
}

/// Holds requests until it is opened.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    Pass,
    /// It never arrives; the connection is cut.
    LoseRequest,
    /// It arrives and is done; its answer is lost and the connection cut.
    LoseAnswer,
    /// The connection is cut, so that the client asks again on another; this copy arrives only now.
    Hold(Duration),
    /// The same, until the gate is opened.
    HoldBehind(Arc<Gate>),
    /// A Produce that never arrives: every partition of it is answered with this error.
    Refuse(i16),
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
    let answers = Arc::new(Mutex::new(client.try_clone().unwrap()));
    std::thread::spawn({
        let (from, to, lost) = (broker.try_clone().unwrap(), Arc::clone(&answers), Arc::clone(&lost));
        move || answer(from, &to, &lost)
    });
    let hold = |client: &TcpStream, broker: &mut TcpStream, request: &[u8], wait: &dyn Fn()| {
        let _ = client.shutdown(Shutdown::Both);
        wait();
        let _ = broker.write_all(request);
        // The broker forgets what it has not read from a connection that ends.
        std::thread::sleep(Duration::from_secs(1));
    };
    while let Some(request) = frame(&mut client) {
        let fault = rule(i16::from_be_bytes([request[4], request[5]]));
        faults.fetch_add(u32::from(!matches!(fault, Fault::Pass)), Ordering::SeqCst);
        match fault {
            Fault::Pass => {}
            Fault::LoseRequest => break,
            Fault::LoseAnswer => drop(lost.lock().unwrap().insert(number(&request, 8))),
            Fault::Delay(time) => std::thread::sleep(time),
            Fault::Hold(time) => {
                hold(&client, &mut broker, &request, &|| std::thread::sleep(time));
                break;
            }
            Fault::HoldBehind(gate) => {
                hold(&client, &mut broker, &request, &|| gate.wait());
                break;
            }
            Fault::Refuse(code) => {
                let _ = answers.lock().unwrap().write_all(&refusal(&request, code));
                continue;
            }
        }
        if broker.write_all(&request).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
}

fn answer(mut broker: TcpStream, client: &Mutex<TcpStream>, lost: &Mutex<BTreeSet<i32>>) {
    while let Some(answer) = frame(&mut broker) {
        if lost.lock().unwrap().contains(&number(&answer, 4)) {
            break;
        }
        // The client may have been cut off while one of its requests is held.
        let _ = client.lock().unwrap().write_all(&answer);
    }
    let _ = (client.lock().unwrap().shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
}

/// The answer to a Produce of version 9 or 10 that refuses every partition of it.
fn refusal(request: &[u8], code: i16) -> Vec<u8> {
    let version = i16::from_be_bytes([request[6], request[7]]);
    assert!((9..=10).contains(&version), "a Produce of version {version}");
    let mut asked = Fields(&request[12..]);
    let client_id = usize::from(u16::from_be_bytes([asked.0[0], asked.0[1]]));
    asked.skip(2 + client_id);
    asked.tags();
    let transactional_id = asked.size();
    asked.skip(transactional_id + 2 + 4);

    let mut answer = vec![0; 4];
    answer.extend_from_slice(&request[8..12]);
    answer.push(0);
    let n_topics = asked.size();
    put_size(&mut answer, n_topics);
    for _ in 0..n_topics {
        let size = asked.size();
        put_size(&mut answer, size);
        answer.extend_from_slice(asked.skip(size));
        let n_partitions = asked.size();
        put_size(&mut answer, n_partitions);
        for _ in 0..n_partitions {
            answer.extend_from_slice(asked.skip(4));
            let size = asked.size();
            asked.skip(size);
            asked.tags();
            answer.extend_from_slice(&code.to_be_bytes());
            // Base offset, append time, start of the log; no single records, no text, no tags.
            answer.extend_from_slice(&[0xff; 3 * 8]);
            answer.extend_from_slice(&[1, 0, 0]);
        }
        asked.tags();
        answer.push(0);
    }
    // Not throttled, no tags.
    answer.extend_from_slice(&[0; 5]);
    let size = answer.len() as u32 - 4;
    answer[..4].copy_from_slice(&size.to_be_bytes());
    answer
}

/// Kafka's compact encoding, KIP-482.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn skip(&mut self, n: usize) -> &'a [u8] {
        let (skipped, rest) = self.0.split_at(n);
        self.0 = rest;
        skipped
    }

    fn varint(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.skip(1)[0];
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    /// Of a text, of bytes, of an array; 0 for none of it.
    fn size(&mut self) -> usize {
        self.varint().saturating_sub(1)
    }

    fn tags(&mut self) {
        for _ in 0..self.varint() {
            self.varint();
            let size = self.varint();
            self.skip(size);
        }
    }
}

fn put_size(out: &mut Vec<u8>, size: usize) {
    let mut left = size + 1;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}
