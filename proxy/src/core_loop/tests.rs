use super::*;
use crate::board::Board;
use crate::log::Log;
use crate::process::{Identity, Process};
use slotmesh_command::{Call, HandlerResult, Reach, Spec, find};
use slotmesh_conf::{LogLevel, Settings};
use slotmesh_io::{mesh, run_core};
use slotmesh_keyspace::KeyHasher;
use slotmesh_shard::{Client, Shard, ShardSettings, SlotMap};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};

fn stumble(_: &mut Call<'_>) -> HandlerResult {
    panic!("as a bug would");
}

/// GET, with a bug.
static STUMBLE: LazyLock<Spec> = LazyLock::new(|| Spec { reach: Reach::Slot(stumble), ..*find(b"get").unwrap() });

/// A core with one shard and without a listener.
fn core(io: DataLoop<Parcel>) -> Core {
    let hasher = KeyHasher::new([1, 2]);
    let settings = Settings::default();
    let identity = Identity {
        run_id: "0".repeat(40),
        started_at: UnixMillis(0),
        executable: String::new(),
        config_file: String::new(),
    };
    let log = Log::open(Some("/dev/null".as_ref()), LogLevel::Nothing).unwrap();
    let boards = vec![Board::new(None, Some((0, 16383)), 16)];
    let process = Arc::new(Process::new(settings, identity, boards, SlotMap::even(1), log));
    let shard = Shard::new(ShardSettings { slots: 0..=16383, databases: 16, hasher, seed: 3 });
    let settings = process.settings();
    let engine = Engine::new(0, Some(Box::new(shard)), process, hasher, settings);
    Core::new(io, engine, None, false)
}

fn connect(core: &mut Core) -> (UnixStream, u32) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let socket = core.io.sockets.adopt(ours.into());
    let mut client = Client::new(u64::from(socket.index) + 1, UnixMillis(0));
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

#[test]
fn a_panic_in_a_read_closes_its_connection_and_no_other() {
    let mail = mesh::<Parcel>(1).pop().unwrap();
    run_core(mail, |io| async move {
        let mut core = core(io);
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
    run_core(mail, |io| async move {
        let mut core = core(io);
        let (mut unlucky, _) = connect(&mut core);
        unlucky.write_all(b"MULTI\r\nGET a\r\nEXEC\r\n").unwrap();
        receive(&mut core).await;
        core.batch.frames[1].spec = Some(&STUMBLE);
        core.run_batch();
    })
    .unwrap();
}

#[test]
fn a_panic_in_a_transaction_stops_the_process() {
    if std::env::var_os(PANICS).is_some() {
        return panic_in_a_transaction();
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "core_loop::tests::a_panic_in_a_transaction_stops_the_process"]).env(PANICS, "1");
    let output = child.output().unwrap();
    // Had it only closed the connection, nobody would know what of the transaction was done.
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "{output:?}");
}
