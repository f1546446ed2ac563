use super::*;
use crate::board::Board;
use crate::client::Connection;
use crate::lending::Work;
use crate::log::Log;
use crate::process::{Identity, Process};
use crate::pubsub::Message;
use crate::supervisor::Supervisor;
use slotmesh_command::{Call, ChannelKind, HandlerResult, Reach, Spec, find};
use slotmesh_conf::{Invocation, Reader, load};
use slotmesh_io::{Backend, mesh, run_core};
use slotmesh_keyspace::KeyHasher;
use slotmesh_resp::{ArgRange, Args};
use slotmesh_shard::{Client, KeptRequests, Shard, ShardSettings, SlotMap};
use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};

/// Makes of each function that takes a backend one test per backend: `io_uring::name`, `epoll::name`.
macro_rules! on_each_backend {
    ($($name:ident)+) => {
        mod io_uring {
            $( #[test] fn $name() { super::$name(slotmesh_io::Backend::IoUring); } )+
        }
        mod epoll {
            $( #[test] fn $name() { super::$name(slotmesh_io::Backend::Epoll); } )+
        }
    };
}

fn stumble(_: &mut Call<'_>) -> HandlerResult {
    panic!("as a bug would");
}

/// GET, with a bug.
static STUMBLE: LazyLock<Spec> = LazyLock::new(|| Spec { reach: Reach::Slot(stumble), ..*find(b"get").unwrap() });

/// A process of `cores` cores with a shard each, told this on its command line.
fn process(backend: Backend, cores: u16, told: &str) -> Arc<Process> {
    process_of(backend, SlotMap::even(cores), told)
}

/// The same over a map.
fn process_of(backend: Backend, map: SlotMap, told: &str) -> Arc<Process> {
    let cores = map.shards();
    let Invocation::Serve(line) = Invocation::parse(told.split_whitespace().map(Into::into)).unwrap() else {
        panic!("{told} does not serve")
    };
    let settings = load(&line, [], &(Arc::new(|path: &std::path::Path| std::fs::read_to_string(path)) as Reader))
        .unwrap()
        .settings;
    let identity = Identity {
        run_id: "0".repeat(40),
        backend,
        started_at: UnixMillis(0),
        executable: String::new(),
        config_file: String::new(),
        supervisor: Supervisor::Nobody,
    };
    let log = Arc::new(Log::nowhere());
    let slots = |core| map.slots(core).map(RangeInclusive::into_inner);
    let boards = (0..cores).map(|core| Board::new(None, slots(core), 16)).collect();
    Arc::new(Process::new(settings, identity, boards, map, log))
}

/// One of its cores, without a listener.
fn core(io: DataLoop<Parcel>, process: Arc<Process>) -> Core {
    let (hasher, core) = (KeyHasher::new([1, 2]), io.mail.core() as u16);
    let slots = process.map().slots(core).unwrap();
    let shard = Shard::new(ShardSettings { slots, databases: 16, hasher, seed: 3 });
    let settings = process.settings();
    let engine = Engine::new(core, Some(Box::new(shard)), process, hasher, settings);
    Core::new(io, engine, None, false)
}

fn connect(core: &mut Core) -> (UnixStream, u32) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let socket = core.io.sockets.adopt(ours.into());
    let mut client = Client::new(core.engine.process.next_client(), UnixMillis(0));
    client.authenticated = true;
    core.engine.adopt(socket, Connection::new(socket, client));
    (theirs, socket.index)
}

/// Turns until bytes have arrived, decoded but not run.
async fn receive(core: &mut Core) {
    let mut events = Vec::new();
    while core.batch.is_empty() {
        core.io.turn(Wait::Forever, &mut events).await;
        events.drain(..).for_each(|event| core.handle(event));
    }
}

on_each_backend! {
    a_panic_in_a_read_closes_its_connection_and_no_other
    what_comes_from_the_bus_is_heard_and_slots_that_leave_take_their_listeners_along
}

fn a_panic_in_a_read_closes_its_connection_and_no_other(backend: Backend) {
    let mail = mesh::<Parcel>(1).pop().unwrap();
    run_core(backend, mail, |io| async move {
        let mut core = core(io, process(backend, 1, ""));
        let (mut unlucky, place) = connect(&mut core);
        let (mut other, _) = connect(&mut core);
        unlucky.write_all(b"PING\r\nGET a\r\nPING\r\n").unwrap();
        receive(&mut core).await;
        assert_eq!(core.batch.frames.len(), 3);
        core.batch.frames[1].spec = Some(&STUMBLE);
        core.run_batch();
        assert!(core.engine.connection(place).is_none());
        other.write_all(b"SET a 1\r\nGET a\r\n").unwrap();
        receive(&mut core).await;
        core.run_batch();
        core.io.turn(Wait::No, &mut Vec::new()).await;
        let mut reply = [0; 12];
        other.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+OK\r\n$1\r\n1\r\n");
        // Closed at once: the reply before the panic may be lost with it, the ones behind it must not come.
        let mut rest = Vec::new();
        let _ = unlucky.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest == b"+PONG\r\n", "{rest:?}");
    })
    .unwrap();
}

/// Set for the child process that is to panic.
const PANICS: &str = "SLOTMESH_TEST_PANICS";

/// Runs MULTI, a command with a bug, EXEC.
fn panic_in_a_transaction() {
    let mail = mesh::<Parcel>(1).pop().unwrap();
    run_core(Backend::IoUring, mail, |io| async move {
        let mut core = core(io, process(Backend::IoUring, 1, ""));
        let (mut unlucky, _) = connect(&mut core);
        unlucky.write_all(b"MULTI\r\nGET a\r\nEXEC\r\n").unwrap();
        receive(&mut core).await;
        core.batch.frames[1].spec = Some(&STUMBLE);
        core.run_batch();
    })
    .unwrap();
}

/// Has a loan wait for the shard, and brings that home under a command that only reads.
fn panic_in_a_loan() {
    let mail = mesh::<Parcel>(1).pop().unwrap();
    run_core(Backend::IoUring, mail, |io| async move {
        let mut core = core(io, process(Backend::IoUring, 1, ""));
        let (_unlucky, place) = connect(&mut core);
        let shard = core.engine.lending.take_home().unwrap();
        let (socket, ticket) = core.engine.raise_barrier(place).unwrap();
        let ranges = [ArgRange { start: 0, len: 3 }, ArgRange { start: 4, len: 1 }];
        let request = KeptRequests::of_one(&STUMBLE, Args::new(b"get a", &ranges));
        let mut hands = Hands { sockets: &mut core.io.sockets, mail: &mut core.io.mail };
        core.engine.begin_loan_for(&mut hands, place, &[0], Work::Command { socket, ticket, request });
        core.engine.running = Some((place, find(b"get")));
        let panicked = catch_unwind(AssertUnwindSafe(|| core.engine.return_home(&mut hands, shard)));
        assert!(panicked.is_err());
        core.survive_panic();
    })
    .unwrap();
}

/// Runs `panics` in a process of its own, which `test` is called in again; that must stop by itself.
fn assert_stops_the_process(test: &str, panics: fn()) {
    if std::env::var_os(PANICS).is_some() {
        return panics();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("core_loop::tests::{test}")]).env(PANICS, "1");
    let output = child.output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "{output:?}");
}

#[test]
fn a_panic_in_a_transaction_stops_the_process() {
    // Had it only closed the connection, nobody would know what of the transaction was done.
    assert_stops_the_process("a_panic_in_a_transaction_stops_the_process", panic_in_a_transaction);
}

#[test]
fn a_panic_in_a_loan_stops_the_process() {
    // Had it only closed the connection, the process would go on without its shard.
    assert_stops_the_process("a_panic_in_a_loan_stops_the_process", panic_in_a_loan);
}

mod seats;
mod served;

fn what_comes_from_the_bus_is_heard_and_slots_that_leave_take_their_listeners_along(backend: Backend) {
    let mail = mesh::<Parcel>(1).pop().unwrap();
    run_core(backend, mail, |io| async move {
        let mut core = core(io, process(backend, 1, ""));
        let (mut at_node, place) = connect(&mut core);
        let (mut at_gateway, _) = connect(&mut core);
        core.engine.connection(place).unwrap().client.is_at_node = true;
        // The seat of a node is not there, so that every slot is served.
        for client in [&mut at_node, &mut at_gateway] {
            client.write_all(b"SSUBSCRIBE foo\r\n").unwrap();
            receive(&mut core).await;
            core.run_batch();
        }
        core.io.turn(Wait::No, &mut Vec::new()).await;
        let tell = |core: &mut Core, text: &[u8]| {
            let mut hands = Hands { sockets: &mut core.io.sockets, mail: &mut core.io.mail };
            let message = Message { kind: ChannelKind::Shard, channel: b"foo", text };
            core.engine.hear_from_bus(&mut hands, message);
            core.settle_heard();
        };
        tell(&mut core, b"1");
        let mut hands = Hands { sockets: &mut core.io.sockets, mail: &mut core.io.mail };
        core.engine.expel_listeners(&mut hands, |_| true);
        core.engine.expel_listeners(&mut hands, |_| false);
        tell(&mut core, b"2");
        core.io.turn(Wait::No, &mut Vec::new()).await;
        let begin = "*3\r\n$10\r\nssubscribe\r\n$3\r\nfoo\r\n:1\r\n*3\r\n$8\r\nsmessage\r\n$3\r\nfoo\r\n$1\r\n1\r\n";
        for (mut client, end) in [
            (at_node, "*3\r\n$12\r\nsunsubscribe\r\n$3\r\nfoo\r\n:0\r\n"),
            (at_gateway, "*3\r\n$8\r\nsmessage\r\n$3\r\nfoo\r\n$1\r\n2\r\n"),
        ] {
            let expected = format!("{begin}{end}");
            let mut heard = vec![0; expected.len()];
            client.read_exact(&mut heard).unwrap();
            assert_eq!(String::from_utf8_lossy(&heard), expected);
        }
    })
    .unwrap();
}
