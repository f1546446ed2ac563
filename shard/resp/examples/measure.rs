//! Nanoseconds per decoded request and per written reply, in batches of 64, beside a bare loop that checks
//! nothing: the price of limits, strict numbers and resumability.
//!
//! `cargo run --release -p slotmesh-resp --example measure`

use slotmesh_resp::{ArgRange, DecodeLimits, Decoder, Protocol, Reply, Step, reply_length};
use std::hint::black_box;
use std::time::Instant;

const BATCH: usize = 64;
const ROUNDS: usize = 15;
const REPEATS: usize = 20_000;
const LIMITS: DecodeLimits = DecodeLimits { bulk_bytes_max: 512 << 20, authenticated: true };

fn main() {
    let key = "key:000000000001";
    let requests = [
        ("GET, key of 16", multibulk(&["GET", key])),
        ("SET, value of 32", multibulk(&["SET", key, &"v".repeat(32)])),
        ("SET, value of 500", multibulk(&["SET", key, &"v".repeat(500)])),
        ("MGET, 20 keys", multibulk(&[&["MGET"][..], &[key; 20]].concat())),
    ];
    for (name, request) in requests {
        let mut input = request.repeat(BATCH);
        let decoder = best_of(|| decode_batch(black_box(&mut input)));
        let bare = best_of(|| bare_batch(black_box(&input)));
        let split = best_of(|| decode_split(black_box(&mut input), request.len() / 2));
        println!("decode {name:18} {decoder:6.1} ns   bare loop {bare:6.1} ns   one in 64 cut {split:6.1} ns");
    }
    let inline = best_of(|| decode_batch(black_box(&mut b"GET key:000000000001\r\n".repeat(BATCH))));
    println!("decode inline GET         {inline:6.1} ns");

    let value = [b'v'; 32];
    let large = [b'v'; 500];
    let mut out = Vec::with_capacity(BATCH * 600);
    let mut show = |name, write: &dyn Fn(&mut Reply<'_>)| {
        let nanoseconds = best_of(|| write_batch(&mut out, write));
        println!("write  {name:18} {nanoseconds:6.1} ns");
    };
    show("bulk of 32", &|reply| reply.bulk(black_box(&value)));
    show("bulk of 500", &|reply| reply.bulk(black_box(&large)));
    show("integer 7", &|reply| reply.integer(black_box(7)));
    show("integer 123456", &|reply| reply.integer(black_box(123_456)));
    show("ok", &|reply| reply.ok());
    show("null", &|reply| reply.null());
    show("double 3.25", &|reply| reply.double(black_box(3.25)));

    let replies = b"$32\r\nvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n".repeat(BATCH);
    let scan = best_of(|| {
        let mut rest = black_box(&replies[..]);
        while let Ok(Some(length)) = reply_length(rest) {
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    });
    println!("reply_length, bulk of 32  {scan:6.1} ns");
}

fn multibulk(words: &[&str]) -> Vec<u8> {
    let arguments: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{arguments}", words.len()).into_bytes()
}

/// Nanoseconds per element of a batch, the best of several rounds.
fn best_of(mut run: impl FnMut()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        (0..REPEATS / ROUNDS).for_each(|_| run());
        start.elapsed().as_secs_f64() * 1e9 / (REPEATS / ROUNDS * BATCH) as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn decode_batch(input: &mut [u8]) {
    let (mut decoder, mut position) = (Decoder::default(), 0);
    let mut args: Vec<ArgRange> = Vec::with_capacity(32);
    while decoder.decode(input, &mut position, &LIMITS, &mut args) == Ok(Step::Request) {
        black_box(&args);
        args.clear();
    }
    assert_eq!(position, input.len());
}

/// The last request of the batch arrives in two halves.
fn decode_split(input: &mut [u8], tail: usize) {
    let (mut decoder, mut position) = (Decoder::default(), 0);
    let mut args: Vec<ArgRange> = Vec::with_capacity(32);
    let arrived = input.len() - tail;
    while decoder.decode(&mut input[..arrived], &mut position, &LIMITS, &mut args) == Ok(Step::Request) {
        black_box(&args);
        args.clear();
    }
    let (kept, mut resumed) = (position, 0);
    assert_eq!(decoder.decode(&mut input[kept..], &mut resumed, &LIMITS, &mut args), Ok(Step::Request));
    assert_eq!(kept + resumed, input.len());
}

fn write_batch(out: &mut Vec<u8>, write: &dyn Fn(&mut Reply<'_>)) {
    out.clear();
    let mut reply = Reply::new(out, Protocol::Resp2);
    (0..BATCH).for_each(|_| write(&mut reply));
    black_box(&out);
}

/// Trusts its input: no limits, no digits checked, no state.
fn bare_batch(input: &[u8]) {
    let mut position = 0;
    let mut args: [&[u8]; 32] = [&[]; 32];
    while position < input.len() {
        position += 1;
        let count = bare_number(input, &mut position);
        for slot in args.iter_mut().take(count) {
            position += 1;
            let length = bare_number(input, &mut position);
            *slot = &input[position..position + length];
            position += length + 2;
        }
        black_box(&args[..count]);
    }
}

fn bare_number(input: &[u8], position: &mut usize) -> usize {
    let mut number = 0;
    loop {
        let byte = input[*position];
        *position += 1;
        if byte == b'\r' {
            *position += 1;
            return number;
        }
        number = number * 10 + usize::from(byte & 15);
    }
}
