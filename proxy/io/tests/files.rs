//! Files written by a core: all bytes come where they belong, errors come back as they are, and the loop never waits.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod backend;

use slotmesh_io::{Backend, DataLoop, Event, FileDone, Wait, clock, mesh, run_core, sync_folder};
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

backend::each! {
    what_is_written_stands_in_the_file_and_bytes_come_back
    a_full_disk_is_told
    a_slow_task_holds_up_neither_the_loop_nor_the_other_orders
}

fn on_a_core(backend: Backend, body: impl AsyncFnOnce(DataLoop<()>)) {
    let mail = mesh::<()>(1).pop().unwrap();
    run_core(backend, mail, |io| body(io)).unwrap();
}

/// What has been done and was not looked at.
#[derive(Default)]
struct Seen(VecDeque<FileDone>);

impl Seen {
    /// The next order that is done.
    async fn next(&mut self, io: &mut DataLoop<()>) -> FileDone {
        let mut events = Vec::new();
        let until = clock::monotonic_nanos() + 10_000_000_000;
        while self.0.is_empty() && clock::monotonic_nanos() < until {
            io.turn(Wait::Until(until), &mut events).await;
            self.0.extend(events.drain(..).filter_map(|event| match event {
                Event::File(done) => Some(done),
                _ => None,
            }));
        }
        self.0.pop_front().unwrap()
    }
}

fn path(name: &str, backend: Backend) -> PathBuf {
    std::env::temp_dir().join(format!("slotmesh-files-{name}-{}-{}", backend.name(), std::process::id()))
}

fn what_is_written_stands_in_the_file_and_bytes_come_back(backend: Backend) {
    let (temporary, last) = (path("temporary", backend), path("last", backend));
    let file = Arc::new(File::create(&temporary).unwrap());
    let piece = |number: usize| -> Vec<u8> { (0..100_000).map(|byte| (byte * 7 + number * 13) as u8).collect() };
    on_a_core(backend, async |mut io: DataLoop<()>| {
        let mut done = Seen::default();
        for number in 0..20 {
            io.files.write(number as u32, &file, number as u64 * 100_000, piece(number));
        }
        assert_eq!(io.files.under_way(), 20);
        let mut seen = Vec::new();
        for _ in 0..20 {
            let ended = done.next(&mut io).await;
            ended.result.unwrap();
            assert_eq!(ended.bytes, piece(ended.token as usize));
            seen.push(ended.token);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<u32>>());
        io.files.write_synced(99, &file, 0, piece(0));
        let ended = done.next(&mut io).await;
        assert_eq!((ended.token, ended.result.is_ok(), ended.bytes), (99, true, piece(0)));
        io.files.begin_writeback(100, &file, 0, 2_000_000);
        done.next(&mut io).await.result.unwrap();
        for (token, data_only) in [(101, true), (102, false)] {
            io.files.sync(token, &file, data_only);
            let ended = done.next(&mut io).await;
            assert_eq!((ended.token, ended.result.is_ok()), (token, true));
        }
        let (from, to) = (temporary.clone(), last.clone());
        io.files.run(103, move || std::fs::rename(from, &to).and_then(|()| sync_folder(&to)));
        let ended = done.next(&mut io).await;
        assert_eq!((ended.token, ended.result.is_ok(), io.files.under_way()), (103, true, 0));
    });
    assert_eq!(std::fs::read(&last).unwrap(), (0..20).flat_map(piece).collect::<Vec<u8>>());
    assert!(!temporary.exists());
    std::fs::remove_file(last).unwrap();
}

fn a_full_disk_is_told(backend: Backend) {
    let full = Arc::new(File::options().write(true).open("/dev/full").unwrap());
    on_a_core(backend, async |mut io: DataLoop<()>| {
        let mut done = Seen::default();
        io.files.write(1, &full, 0, vec![1; 10]);
        let ended = done.next(&mut io).await;
        assert_eq!(ended.result.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(ended.bytes, [1; 10], "who wrote may try again");
        io.files.write_synced(3, &full, 0, vec![1; 10]);
        assert_eq!(done.next(&mut io).await.result.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        io.files.run(2, || Err(std::io::ErrorKind::NotFound.into()));
        assert_eq!(done.next(&mut io).await.result.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    });
}

fn a_slow_task_holds_up_neither_the_loop_nor_the_other_orders(backend: Backend) {
    let name = path("quick", backend);
    let file = Arc::new(File::create(&name).unwrap());
    on_a_core(backend, async |mut io: DataLoop<()>| {
        let mut done = Seen::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        io.files.run(1, move || {
            held.recv_timeout(Duration::from_secs(10)).map_err(|_| std::io::ErrorKind::TimedOut.into())
        });
        io.files.write(2, &file, 0, b"quick".to_vec());
        assert_eq!(done.next(&mut io).await.token, 2);
        release.send(()).unwrap();
        let ended = done.next(&mut io).await;
        assert_eq!((ended.token, ended.result.is_ok()), (1, true));
    });
    std::fs::remove_file(name).unwrap();
}
