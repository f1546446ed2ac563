//! Cores that serve connections, each on a thread of its own.

use super::*;
use std::net::Shutdown;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

on_each_backend! {
    whoever_leaves_while_it_is_blocked_takes_nothing
    a_pipeline_of_loans_is_not_read_faster_than_it_runs
    a_transaction_is_bounded_though_its_commands_come_one_by_one
    whoever_quits_or_ends_behind_a_walk_is_closed
    a_transaction_whose_replies_are_too_long_runs_and_closes_its_client
}

/// A process under test. With two cores, `a` lies on core 1 and `b` on core 0.
struct Served {
    process: Arc<Process>,
    threads: Vec<JoinHandle<()>>,
    /// Clients, `CLIENTS` for each core.
    clients: Vec<Vec<UnixStream>>,
}

/// Clients of each core.
const CLIENTS: usize = 3;

impl Served {
    fn new(backend: Backend, cores: u16, told: &str) -> Self {
        let process = process(backend, cores, told);
        let (mut threads, mut clients) = (Vec::new(), Vec::new());
        for mail in mesh::<Parcel>(usize::from(cores)) {
            let (sender, receiver) = std::sync::mpsc::channel();
            let process = process.clone();
            threads.push(std::thread::spawn(move || {
                let serve = |io| async move {
                    let mut core = core(io, process);
                    sender.send((0..CLIENTS).map(|_| connect(&mut core).0).collect()).unwrap();
                    core.run().await;
                };
                run_core(backend, mail, serve).unwrap();
            }));
            clients.push(receiver.recv().unwrap());
        }
        Self { process, threads, clients }
    }

    fn client(&mut self, core: usize) -> UnixStream {
        self.clients[core].pop().unwrap()
    }

    fn blocked(&self) -> u64 {
        self.process.boards.iter().map(|board| board.read().blocked_clients).sum()
    }

    fn stop(self) {
        self.process.stop();
        drop(self.clients);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn expect(client: &mut UnixStream, reply: &str) {
    let mut bytes = vec![0; reply.len()];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), reply);
}

fn expect_end(client: &mut UnixStream) {
    if let Err(error) = client.read_to_end(&mut Vec::new()) {
        // With requests left unread the end comes so.
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

fn whoever_leaves_while_it_is_blocked_takes_nothing(backend: Backend) {
    let mut served = Served::new(backend, 2, "");
    for core in [0, 1] {
        let mut leaver = served.client(core);
        // More than may be outstanding, so that it is not read for a while, and something behind.
        for key in ["a", "b"] {
            leaver.write_all(format!("GET {key}\r\n").repeat(40).as_bytes()).unwrap();
        }
        leaver.write_all(b"BLPOP {a}list {b}list 0\r\nPING\r\n").unwrap();
        until("it is blocked", || served.blocked() == 1);
        drop(leaver);
        until("it has left", || served.blocked() == 0);
        let mut other = served.client(core);
        other.write_all(b"RPUSH {a}list 1\r\nLPOP {a}list\r\n").unwrap();
        expect(&mut other, ":1\r\n$1\r\n1\r\n");
    }
    served.stop();
}

fn a_pipeline_of_loans_is_not_read_faster_than_it_runs(backend: Backend) {
    let mut served = Served::new(backend, 2, "--client-query-buffer-limit 1mb");
    let mut client = served.client(0);
    let mut reader = client.try_clone().unwrap();
    let requests = 3000;
    let writer = std::thread::spawn(move || {
        let request = format!("MSET a {0} b {0}\r\n", "x".repeat(500));
        client.write_all(request.repeat(requests).as_bytes()).unwrap();
        client
    });
    expect(&mut reader, &"+OK\r\n".repeat(requests));
    drop(writer.join().unwrap());
    served.stop();
}

fn a_transaction_is_bounded_though_its_commands_come_one_by_one(backend: Backend) {
    let mut served = Served::new(backend, 1, "--client-query-buffer-limit 1mb");
    let mut client = served.client(0);
    client.write_all(b"MULTI\r\n").unwrap();
    expect(&mut client, "+OK\r\n");
    let request = format!("SET a {}\r\n", "x".repeat(1000));
    let mut reply = [0; 9];
    let queued = (0..2000)
        .take_while(|_| client.write_all(request.as_bytes()).is_ok() && client.read_exact(&mut reply).is_ok())
        .count();
    assert!((900..1100).contains(&queued), "{queued} commands of 1 kB were taken");
    served.stop();
}

fn whoever_quits_or_ends_behind_a_walk_is_closed(backend: Backend) {
    let mut served = Served::new(backend, 1, "--enable-debug-command yes");
    let [mut quits, mut ends] = [served.client(0), served.client(0)];
    quits.write_all(b"DEBUG SNAPSHOT\r\nQUIT\r\n").unwrap();
    expect_end(&mut quits);
    ends.write_all(b"DEBUG SNAPSHOT\r\n").unwrap();
    ends.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut ends);
    served.stop();
}

fn a_transaction_whose_replies_are_too_long_runs_and_closes_its_client(backend: Backend) {
    let mut served = Served::new(backend, 2, "--client-output-buffer-limit normal 100kb 0 0");
    let [mut client, mut other] = [served.client(0), served.client(0)];
    let exec = format!("SET b {}\r\nMULTI\r\nINCR a\r\n{}EXEC\r\n", "x".repeat(1000), "GET b\r\n".repeat(200));
    client.write_all(exec.as_bytes()).unwrap();
    expect(&mut client, &format!("+OK\r\n+OK\r\n{}", "+QUEUED\r\n".repeat(201)));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    other.write_all(b"GET a\r\n").unwrap();
    expect(&mut other, "$1\r\n1\r\n");
    served.stop();
}
