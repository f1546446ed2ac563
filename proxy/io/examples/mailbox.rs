//! What a hop between two busy cores costs: requests of 80 bytes and replies of 64 through the mailboxes, in batches of
//! 32 as a pipeline makes them, each side pinned to a CPU of its own. Prints CPU ns per round trip, both sides together.
//!
//! `cargo run --release -p slotmesh-io --example mailbox`

use slotmesh_io::{Lane, Mail, allowed_cpus, clock, mesh, pin_to};

const BATCH: usize = 32;
const ROUND_TRIPS: usize = 4_000_000;
const REQUEST: [u8; 80] = [1; 80];
const REPLY: [u8; 64] = [2; 64];

fn main() -> std::io::Result<()> {
    let cpus = allowed_cpus()?;
    let [first, second, ..] = cpus[..] else { panic!("two CPUs are needed") };
    let mut mails = mesh::<()>(2);
    let (server, client) = (mails.pop().expect("two mailboxes"), mails.pop().expect("two mailboxes"));
    let other = std::thread::spawn(move || pin_to(second).map(|()| serve(server)));
    pin_to(first)?;
    let asked = ask(client);
    let served = other.join().expect("the server ends")?;
    println!(
        "{:.1} ns per round trip: {:.1} where it is asked, {:.1} where it is served (waiting included)",
        asked + served,
        asked,
        served
    );
    Ok(())
}

/// Sends batches and takes the replies, up to four batches ahead.
fn ask(mut mail: Mail<()>) -> f64 {
    let start = clock::thread_cpu_micros();
    let (mut sent, mut taken) = (0, 0);
    while taken < ROUND_TRIPS {
        if sent < ROUND_TRIPS && sent - taken <= 3 * BATCH {
            for _ in 0..BATCH {
                mail.reserve(1, Lane::Requests, REQUEST.len())
                    .expect("room for four batches")
                    .copy_from_slice(&REQUEST);
            }
            sent += BATCH;
            mail.publish_awake();
        }
        let count = |records: &[&[u8]], _: &mut dyn FnMut()| {
            (records.len(), records.iter().filter(|record| record[..] == REPLY).count())
        };
        taken += mail.receive_batch::<64, _>(1, Lane::Replies, count).unwrap_or(0);
    }
    per_round_trip(start)
}

fn serve(mut mail: Mail<()>) -> f64 {
    let start = clock::thread_cpu_micros();
    let mut served = 0;
    while served < ROUND_TRIPS {
        let count = |records: &[&[u8]], _: &mut dyn FnMut()| {
            (records.len(), records.iter().filter(|record| record[..] == REQUEST).count())
        };
        let Some(asked) = mail.receive_batch::<64, _>(0, Lane::Requests, count) else { continue };
        for _ in 0..asked {
            mail.reserve(0, Lane::Replies, REPLY.len()).expect("room for four batches").copy_from_slice(&REPLY);
        }
        served += asked;
        mail.publish_awake();
    }
    per_round_trip(start)
}

fn per_round_trip(start: u64) -> f64 {
    (clock::thread_cpu_micros() - start) as f64 * 1000.0 / ROUND_TRIPS as f64
}
