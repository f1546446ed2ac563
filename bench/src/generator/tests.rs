//! The generator against the echo server, over real sockets.

use super::*;
use crate::arguments::default_load;
use crate::echo;
use crate::workload::{Sizes, parse_mix};
use slotmesh_io::tcp;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SIZES: Sizes = Sizes { key_bytes: 16, value_bytes: 32 };

/// Rings are opened and closed by one test at a time: opening one is recognised by the descriptors that appear.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn start_echo() -> Endpoint {
    let listener = echo::listen(0).unwrap();
    let address = tcp::listener_address(listener.as_fd()).unwrap();
    std::thread::spawn(move || echo::serve_on(listener, SIZES).unwrap());
    Endpoint::parse(&format!("echo={address},pid={}", std::process::id())).unwrap()
}

pub(super) fn load(clients: usize, pipeline: u64, threads: usize, requests: u64) -> Load {
    Load {
        clients,
        pipeline,
        threads,
        extent: Extent::Requests(requests),
        warmup_seconds: 0.01,
        mix: parse_mix("get:3,set:1").unwrap(),
        ..default_load()
    }
}

fn run_hidden(endpoint: &Endpoint, load: &Load) -> Result<Measurement, Failure> {
    run(endpoint, load, &ProgressBar::hidden())
}

#[test]
fn an_open_loop_ends_with_what_it_runs_beside() {
    let _alone = alone();
    let endpoint = start_echo();
    let hour = Load { rate: Some(10_000.0), extent: Extent::Seconds(3600.0), ..load(2, 1, 1, 1) };
    let beside = Duration::from_millis(50);
    let (measurement, told) = run_during(&endpoint, &hour, || {
        std::thread::sleep(beside);
        Ok(7)
    })
    .unwrap();
    assert_eq!(told, 7);
    // All that was due meanwhile, and nothing of the hour behind it.
    assert!((400..100_000).contains(&measurement.tally.replies), "{}", measurement.tally.replies);
    assert!(matches!(run_during(&endpoint, &hour, || Err::<(), _>(Failure::Thread)), Err(Failure::Thread)));
}

#[test]
fn a_closed_loop_gets_every_reply() {
    let _alone = alone();
    let endpoint = start_echo();
    for (clients, pipeline, threads, requests) in
        [(1, 1, 1, 100), (50, 1, 1, 5000), (7, 64, 2, 10_001), (300, 100, 3, 100_000), (20, 8, 1, 5)]
    {
        let measurement = run_hidden(&endpoint, &load(clients, pipeline, threads, requests)).unwrap();
        assert_eq!(measurement.tally.replies, requests);
        assert_eq!(measurement.tally.latencies.len(), requests);
        assert_eq!((measurement.tally.errors, measurement.tally.surplus, measurement.tally.nulls), (0, 0, 0));
        assert!(measurement.seconds > 0.0 && measurement.cpu.is_some());
    }
}

#[test]
fn an_open_loop_sends_as_scheduled() {
    let _alone = alone();
    let endpoint = start_echo();
    for (pipeline, threads, requests) in [(1, 1, 2000), (16, 2, 4001)] {
        let load = Load { rate: Some(20_000.0), ..load(10, pipeline, threads, requests) };
        let measurement = run_hidden(&endpoint, &load).unwrap();
        assert_eq!(measurement.tally.latencies.len(), requests);
        // It cannot be done before the last batch is due; how much later is the machine's affair.
        let last_due = (requests - 2 * pipeline * threads as u64) as f64 / 20_000.0;
        assert!(measurement.seconds >= last_due, "{} s", measurement.seconds);
    }
}

#[test]
fn a_run_bounded_by_time_takes_that_time() {
    let _alone = alone();
    let endpoint = start_echo();
    let load = Load { extent: Extent::Seconds(0.05), ..load(10, 4, 1, 1) };
    let measurement = run_hidden(&endpoint, &load).unwrap();
    assert!(measurement.seconds >= 0.04 && measurement.tally.replies > 0);
    assert_eq!(measurement.tally.replies % 4, 0);
}

/// Answers every request of `request_bytes` with `reply`, on one connection; then closes it.
fn start_server(request_bytes: usize, reply: &'static [u8], requests: usize) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; request_bytes];
        for _ in 0..requests {
            stream.read_exact(&mut request).unwrap();
            stream.write_all(reply).unwrap();
        }
    });
    Endpoint::parse(&address.to_string()).unwrap()
}

fn failure_of(reply: &'static [u8], requests: usize) -> Failure {
    let load = Load { mix: parse_mix("get").unwrap(), warmup_seconds: 0.0, ..load(1, 1, 1, 10) };
    run_hidden(&start_server(SIZES.get_bytes(), reply, requests), &load).unwrap_err()
}

#[test]
fn a_server_that_answers_wrongly_fails_the_run() {
    let _alone = alone();
    let error = failure_of(b"-ERR no such thing\r\n", 10).to_string();
    assert!(error.contains("10 error replies (the first: -ERR no such thing)"), "{error}");
    assert!(matches!(failure_of(b"+OK\r\n+OK\r\n", 10), Failure::Wrong { errors: 0, surplus, .. } if surplus > 0));
    assert!(matches!(failure_of(b"hello\r\n", 10), Failure::Malformed { .. }));
    assert!(matches!(failure_of(b"+OK\r\n", 5), Failure::Closed { .. }));
    assert!(matches!(failure_of(b"-ERR out\r\n", 5), Failure::Wrong { errors: 5, .. }));
}

#[test]
fn nulls_are_counted() {
    let _alone = alone();
    let load = Load { mix: parse_mix("get").unwrap(), warmup_seconds: 0.0, ..load(1, 1, 1, 10) };
    let measurement = run_hidden(&start_server(SIZES.get_bytes(), b"$-1\r\n", 10), &load).unwrap();
    assert_eq!((measurement.tally.replies, measurement.tally.nulls), (10, 10));
}

/// Twelve replies make one request, closed loop and open, and a missing one is noticed.
#[test]
fn a_transaction_is_one_request() {
    let _alone = alone();
    const REPLIES: &[u8] = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+OK\r\n";
    // MULTI, two SETs, EXEC.
    let bytes = 15 + 2 * SIZES.set_bytes() + 14;
    for rate in [None, Some(1000.0)] {
        let mix = parse_mix("multi:2").unwrap();
        let load = Load { mix, warmup_seconds: 0.0, rate, ..load(1, 1, 1, 10) };
        let tally = run_hidden(&start_server(bytes, REPLIES, 10), &load).unwrap().tally;
        assert_eq!((tally.replies, tally.latencies.len(), tally.nulls), (10, 10, 0));
        let short = &REPLIES[..REPLIES.len() - 5];
        assert!(run_hidden(&start_server(bytes, short, 1), &load).is_err());
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let _alone = alone();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = Endpoint::parse(&format!("gone={port}")).unwrap();
    let error = run_hidden(&endpoint, &load(4, 1, 2, 10)).unwrap_err().to_string();
    assert!(error.starts_with("cannot connect to gone: "), "{error}");
}

/// A server that stalls: it answers nothing until it has 50 requests. A closed loop would never send the second.
#[test]
fn an_open_loop_goes_on_sending_and_counts_the_whole_wait() {
    let _alone = alone();
    const REQUESTS: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut requests = vec![0; SIZES.get_bytes() * REQUESTS];
        stream.read_exact(&mut requests).unwrap();
        stream.write_all(&b"+OK\r\n".repeat(REQUESTS)).unwrap();
        // Until the other side closes.
        let _ = stream.read(&mut [0]);
    });
    let mix = parse_mix("get").unwrap();
    let load = Load { mix, warmup_seconds: 0.0, rate: Some(1000.0), ..load(1, 1, 1, REQUESTS as u64) };
    let latencies = run_hidden(&endpoint, &load).unwrap().tally.latencies;
    assert_eq!(latencies.len(), REQUESTS as u64);
    // The first one waited for the last one's due time, those between for less, evenly.
    assert!(latencies.max() >= 48_000_000, "{}", latencies.max());
    assert!(latencies.value_at_quantile(0.5) >= 24_000_000);
}

#[test]
fn unix_sockets_serve_as_well() {
    let _alone = alone();
    let path = std::env::temp_dir().join(format!("slotmesh-bench-{}.sock", std::process::id()));
    let listener = tcp::listen_unix(&path, None, 16).unwrap();
    std::thread::spawn(move || echo::serve_on(listener, SIZES).unwrap());
    let endpoint = Endpoint::parse(&format!("echo={}", path.display())).unwrap();
    let measurement = run_hidden(&endpoint, &load(5, 16, 1, 3000)).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(measurement.tally.replies, 3000);
    assert!(measurement.cpu.is_none());
}
