use super::*;
use crate::Args;
use proptest::collection::vec;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::{format, println};

type Request = Vec<Vec<u8>>;

const OPEN: DecodeLimits = DecodeLimits { bulk_bytes_max: 512 * 1024 * 1024, authenticated: true };
const GUARDED: DecodeLimits = DecodeLimits { authenticated: false, ..OPEN };

/// A connection as its owner drives it: keeps the unfinished bytes, appends what arrives.
#[derive(Default)]
struct Connection {
    decoder: Decoder,
    kept: Vec<u8>,
    requests: Vec<Request>,
}

impl Connection {
    fn receive(&mut self, chunk: &[u8], limits: &DecodeLimits) -> Result<(), ProtocolError> {
        self.kept.extend_from_slice(chunk);
        let mut position = 0;
        let mut args = Vec::new();
        let result = loop {
            match self.decoder.decode(&mut self.kept, &mut position, limits, &mut args) {
                Ok(Step::Request) => {}
                Ok(Step::Incomplete) => break Ok(()),
                Err(error) => break Err(error),
            }
            let found = Args::new(&self.kept, &args);
            assert!(!found.is_empty());
            self.requests.push(found.iter_from(0).map(<[u8]>::to_vec).collect());
            args.clear();
        };
        assert!(args.is_empty(), "arguments come with a request only");
        self.kept.drain(..position);
        result
    }
}

fn decode_chunks<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    limits: &DecodeLimits,
) -> (Vec<Request>, Result<(), ProtocolError>, usize) {
    let mut connection = Connection::default();
    let result = chunks.into_iter().try_for_each(|chunk| connection.receive(chunk, limits));
    (connection.requests, result, connection.kept.len())
}

fn decode_whole(input: &[u8], limits: &DecodeLimits) -> (Vec<Request>, Result<(), ProtocolError>, usize) {
    decode_chunks([input], limits)
}

fn multibulk(request: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn words(line: &str) -> Request {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn requests_of_both_forms_are_found_in_order() {
    let table: &[(&[u8], &[&str])] = &[
        (b"", &[]),
        (b"*1\r\n$4\r\nPING\r\n", &["PING"]),
        (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n", &["GET k", "PING"]),
        (b"PING\r\nGET k\n*1\r\n$4\r\nPING\r\nQUIT\r\n", &["PING", "GET k", "PING", "QUIT"]),
        (b"\r\n\n \t\r\nPING\r\n", &["PING"]),
        (b"*0\r\n*-1\r\n*-77\r\n*1\r\n$4\r\nPING\r\n", &["PING"]),
        (b"*1\r\n$0\r\n\r\n", &[""]),
        // Line ends are two bytes of any kind behind an argument, a carriage return and any byte in headers.
        (b"*2\rx$1\ryaXY$1\r\nbZZ*1\r\n$1\r\nc\r\n", &["a b", "c"]),
        (b"*0\rxPING\r\n", &["PING"]),
        (b"*10\r\n$1\r\n0\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n", &["0 1 2 3 4 5 6 7 8 9"]),
        (b"*1\r\n$12\r\nabc\r\ndef\0ghi\r\n", &["abc\r\ndef\0ghi"]),
    ];
    for (input, expected) in table {
        let expected: Vec<Request> = expected.iter().map(|line| words(line)).collect();
        let (requests, result, _) = decode_whole(input, &OPEN);
        assert_eq!((requests, result), (expected, Ok(())), "{}", input.escape_ascii());
    }
    for unjudged in [&b"*1\r\n:"[..], b"*1\r\n:3\r", b"*a\r", b"*1\r\n$4\r", b"\"a"] {
        let (requests, result, kept) = decode_whole(unjudged, &OPEN);
        assert_eq!((requests.len(), result, kept), (0, Ok(()), unjudged.len()), "{}", unjudged.escape_ascii());
    }
    let quoted = decode_whole(b"set k \"a\\x20b\" 'it\\'s'\r\n", &OPEN).0;
    assert_eq!(quoted, [["set", "k", "a b", "it's"].map(|word| word.as_bytes().to_vec())]);
}

#[test]
fn violations_have_their_own_errors() {
    use ProtocolError::*;
    let table: &[(&[u8], ProtocolError)] = &[
        (b"*a\r\n", InvalidCount),
        (b"*\r\n", InvalidCount),
        (b"*+1\r\n", InvalidCount),
        (b"* 1\r\n", InvalidCount),
        (b"*01\r\n", InvalidCount),
        (b"*-0\r\n", InvalidCount),
        (b"*1 \r\n", InvalidCount),
        (b"*1\n$4\r\nPING\r\n", InvalidCount),
        (b"*2147483648\r\n", InvalidCount),
        (b"*99999999999999999999999\r\n", InvalidCount),
        (b"*1\r\n:3\r\n", ExpectedBulk(b':')),
        (b"*1\r\n\r\n\r\n", ExpectedBulk(b'\r')),
        (b"*1\r\n4\r\n", ExpectedBulk(b'4')),
        (b"*2\r\n$1\r\na\r\n*1\r\n", ExpectedBulk(b'*')),
        (b"*1\r\n$-1\r\n", InvalidBulkLength),
        (b"*1\r\n$\r\n", InvalidBulkLength),
        (b"*1\r\n$abc\r\n", InvalidBulkLength),
        (b"*1\r\n$+1\r\na\r\n", InvalidBulkLength),
        (b"*1\r\n$01\r\na\r\n", InvalidBulkLength),
        (b"*1\r\n$00\r\n\r\n", InvalidBulkLength),
        (b"*1\r\n$-0\r\n\r\n", InvalidBulkLength),
        (b"*1\r\n$1 \r\na\r\n", InvalidBulkLength),
        (b"*1\r\n$536870913\r\n", InvalidBulkLength),
        (b"*1\r\n$9223372036854775808\r\n", InvalidBulkLength),
        (b"SET k \"abc\r\n", UnbalancedQuotes),
        (b"SET k 'abc'd\n", UnbalancedQuotes),
    ];
    for (input, error) in table {
        let (requests, result, _) = decode_whole(&[b"PING\r\n", *input].concat(), &OPEN);
        assert_eq!(requests, [words("PING")], "what came before is served");
        assert_eq!(result, Err(*error), "{}", input.escape_ascii());
        let bytes = input.chunks(1);
        assert_eq!(decode_chunks(bytes, &OPEN).1, Err(*error), "byte by byte: {}", input.escape_ascii());
    }
}

#[test]
fn bounds_of_clients_that_have_not_authenticated() {
    let eleven: Request = (0..11).map(|_| Vec::from(b"a")).collect();
    let long = |length| multibulk(&[b"a".to_vec(), std::vec![b'x'; length]]);
    assert_eq!(decode_whole(&multibulk(&eleven[..10]), &GUARDED).0.len(), 1);
    assert_eq!(decode_whole(&multibulk(&eleven), &GUARDED).1, Err(ProtocolError::UnauthenticatedCount));
    assert_eq!(decode_whole(&multibulk(&eleven), &OPEN).0.len(), 1);
    assert_eq!(decode_whole(b"*1048577\r\n", &GUARDED).1, Err(ProtocolError::UnauthenticatedCount));
    assert_eq!(decode_whole(b"*2147483648\r\n", &GUARDED).1, Err(ProtocolError::InvalidCount));
    assert_eq!(decode_whole(&long(16384), &GUARDED).0.len(), 1);
    assert_eq!(decode_whole(&long(16385), &GUARDED).1, Err(ProtocolError::UnauthenticatedBulkLength));
    assert_eq!(decode_whole(&long(16385), &OPEN).0.len(), 1);
    let many_words = "a ".repeat(100) + "\r\n";
    assert_eq!(decode_whole(many_words.as_bytes(), &GUARDED).0[0].len(), 100, "inline requests are not bounded");
}

#[test]
fn lines_are_bounded_while_their_end_is_missing() {
    use ProtocolError::*;
    for (begin, error) in [("", InlineTooBig), ("*", CountLineTooBig), ("*1\r\n$", BulkLineTooBig)] {
        let line_start = begin.rfind(['*', '$']).unwrap_or(0);
        let line = |length: usize| begin.to_string() + &"1".repeat(length - (begin.len() - line_start));
        assert_eq!(decode_whole(line(LINE_BYTES_MAX).as_bytes(), &OPEN).1, Ok(()), "{begin:?} at the bound");
        let longer = line(LINE_BYTES_MAX + 1);
        assert_eq!(decode_whole(longer.as_bytes(), &OPEN).1, Err(error));
        assert_eq!(decode_chunks(longer.as_bytes().chunks(1000), &OPEN).1, Err(error));
    }
    let whole = "x".repeat(LINE_BYTES_MAX * 2) + "\r\n";
    assert_eq!(decode_whole(whole.as_bytes(), &OPEN).0[0][0].len(), LINE_BYTES_MAX * 2, "whole lines may be longer");
}

#[test]
fn a_zero_byte_hides_the_line_end_behind_it() {
    for hidden in [&b"PI\0NG\r\n"[..], b"*1\0\r\n$4\r\nPING\r\n", b"*1\r\n$4\0\r\nPING\r\n"] {
        assert_eq!(decode_whole(hidden, &OPEN), (Vec::new(), Ok(()), hidden.len()), "{}", hidden.escape_ascii());
        let flooded = [hidden, &std::vec![b'\n'; LINE_BYTES_MAX]].concat();
        assert!(decode_chunks(flooded.chunks(777), &OPEN).1.is_err());
    }
}

#[test]
fn a_declared_size_holds_no_memory() {
    for input in [&b"*2147483647\r\n$536870912\r\n"[..], b"*2147483647\r\n", b"*2147483647\r\n$1\r\na\r\n$9\r\n"] {
        let mut decoder = Decoder::default();
        let (mut position, mut args) = (0, Vec::new());
        assert_eq!(decoder.decode(&mut input.to_vec(), &mut position, &OPEN, &mut args), Ok(Step::Incomplete));
        assert_eq!(position, 0);
        assert!(
            decoder.found.capacity() + args.capacity() <= 8,
            "memory follows the bytes that came: {} {}",
            decoder.found.capacity(),
            args.capacity()
        );
    }
}

#[test]
fn memory_of_a_large_request_is_given_back() {
    let large: Request = (0..5000).map(|_| Vec::from(b"ab")).collect();
    let mut connection = Connection::default();
    for chunk in multibulk(&large).chunks(100) {
        connection.receive(chunk, &OPEN).unwrap();
    }
    assert_eq!(connection.requests, [large]);
    assert!(connection.decoder.found.capacity() <= ARGUMENT_RANGES_KEPT_MAX);
}

#[test]
fn missing_bytes_of_an_argument_are_known() {
    let mut decoder = Decoder::default();
    let mut missing_after = |input: &[u8]| {
        let (mut position, mut args) = (0, Vec::new());
        decoder.decode(&mut input.to_vec(), &mut position, &OPEN, &mut args).unwrap();
        decoder.missing()
    };
    assert_eq!(missing_after(b"*2\r\n"), 0);
    assert_eq!(missing_after(b"*2\r\n$100"), 0);
    assert_eq!(missing_after(b"*2\r\n$100\r\n"), 102);
    assert_eq!(missing_after(b"*2\r\n$100\r\nabc"), 99);
    assert_eq!(missing_after(&[&b"*2\r\n$100\r\n"[..], &[b'x'; 102], b"$"].concat()), 0);
    assert_eq!(missing_after(&[&b"*2\r\n$100\r\n"[..], &[b'x'; 102], b"$1\r\na\r\n"].concat()), 0);
    assert_eq!(missing_after(b"*1\r\n$1\r\n"), 3);
    assert_eq!(missing_after(b"*1\r\n$1\r\na\r\n"), 0);
    assert_eq!(missing_after(b""), 0);
}

#[test]
#[ignore = "maps more than 4 GiB, though it touches little of them"]
fn what_32_bits_cannot_name_is_refused_or_left_for_later() {
    let limits = DecodeLimits { bulk_bytes_max: i64::MAX, authenticated: true };
    let mut input = std::vec![0; REQUEST_BYTES_MAX + 100];
    let (ping, giant) = (b"*1\r\n$4\r\nPING\r\n", b"*1\r\n$5000000000\r\n");
    input[..ping.len()].copy_from_slice(ping);
    input[ping.len()..][..giant.len()].copy_from_slice(giant);
    let (mut decoder, mut position, mut args) = (Decoder::default(), 0, Vec::new());
    let mut decode = |input: &mut [u8], position: &mut usize| decoder.decode(input, position, &limits, &mut args);
    assert_eq!(decode(&mut input, &mut position), Ok(Step::Request));
    assert_eq!(decode(&mut input, &mut position), Ok(Step::Incomplete));
    assert_eq!(position, ping.len(), "the caller moves the request to the front");
    let mut moved = 0;
    assert_eq!(decode(&mut input[position..][..REQUEST_BYTES_MAX], &mut moved), Ok(Step::Incomplete));
    assert_eq!(decode(&mut input[position..], &mut moved), Err(ProtocolError::InvalidBulkLength));
}

#[test]
fn no_byte_is_searched_twice() {
    let mut decoder = Decoder::default();
    let (mut position, mut args) = (0, Vec::new());
    let mut input = std::vec![b'a'; 40_000];
    assert_eq!(decoder.decode(&mut input, &mut position, &OPEN, &mut args), Ok(Step::Incomplete));
    assert_eq!(decoder.searched, 40_000);
    // A line end among the bytes that were searched already stays unseen.
    input[100] = b'\n';
    input.extend_from_slice(b"\r\n");
    assert_eq!(decoder.decode(&mut input, &mut position, &OPEN, &mut args), Ok(Step::Request));
    assert_eq!((position, args[0].len), (40_002, 40_000));
    for header in ["*", "*1\r\n$"] {
        let line = header.to_string() + &"1".repeat(40_000);
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&mut line.into_bytes(), &mut 0, &OPEN, &mut args), Ok(Step::Incomplete));
        assert_eq!(decoder.searched, 40_001);
    }
}

#[test]
fn requests_follow_one_another_behind_earlier_arguments() {
    let mut input = b"*1\r\n$4\r\nPING\r\nGET k\r\n*1\r\n$300\r\n".to_vec();
    input.extend_from_slice(&[b'x'; 302]);
    let (mut decoder, mut position, mut args) = (Decoder::default(), 0, Vec::new());
    for expected in [1, 3, 4] {
        assert_eq!(decoder.decode(&mut input, &mut position, &OPEN, &mut args), Ok(Step::Request));
        assert_eq!(args.len(), expected);
    }
    assert_eq!(decoder.decode(&mut input, &mut position, &OPEN, &mut args), Ok(Step::Incomplete));
    assert_eq!((position, args.len()), (input.len(), 4));
    let args = Args::new(&input, &args);
    assert_eq!((args.at(0), args.at(2), args.at(3).len()), (&b"PING"[..], &b"k"[..], 300));
}

#[test]
fn errors_are_spelled_as_in_redis() {
    let texts: Vec<String> =
        [ProtocolError::ExpectedBulk(b':'), ProtocolError::InvalidBulkLength].iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["Protocol error: expected '$', got ':'", "Protocol error: invalid bulk length"]);
}

fn any_request() -> impl Strategy<Value = Request> {
    let argument = prop_oneof![
        8 => vec(any::<u8>(), 0..12),
        2 => vec(any::<u8>(), 90..130),
        1 => vec(any::<u8>(), 980..1250),
    ];
    prop_oneof![8 => vec(argument.clone(), 1..6), 1 => vec(argument, 95..105)]
}

/// A request, empty ones included, and the bytes that carry it.
fn any_message() -> impl Strategy<Value = (Option<Request>, Vec<u8>)> {
    prop_oneof![
        6 => any_request().prop_map(|request| { let bytes = multibulk(&request); (Some(request), bytes) }),
        2 => "[a-zA-Z0-9$:]{1,9}( [a-z*0-9]{1,9}){0,4}".prop_map(|line| {
            (Some(words(&line)), (line + "\r\n").into_bytes())
        }),
        1 => vec(any::<u8>(), 0..20).prop_map(|word| {
            let quoted: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            (Some(std::vec![b"echo".to_vec(), word]), format!("echo \"{quoted}\"\n").into_bytes())
        }),
        1 => prop_oneof![Just("*0\r\n"), Just("*-1\r\n"), Just("\r\n"), Just(" \n")]
            .prop_map(|empty| (None, empty.as_bytes().to_vec())),
    ]
}

fn split<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn every_split_gives_the_same_requests(
        messages in vec(any_message(), 0..12),
        cuts in vec(any::<usize>(), 0..40),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let expected: Vec<Request> = messages.into_iter().filter_map(|(request, _)| request).collect();
        prop_assert_eq!(&decode_whole(&stream, &OPEN), &(expected.clone(), Ok(()), 0));
        prop_assert_eq!(&decode_chunks(split(&stream, &cuts), &OPEN), &(expected.clone(), Ok(()), 0));
        prop_assert_eq!(&decode_chunks(stream.chunks(1), &OPEN), &(expected, Ok(()), 0));
    }

    #[test]
    fn garbage_is_judged_the_same_whatever_the_split(
        pieces in vec(prop_oneof![
            Just(b"*".to_vec()), Just(b"$".to_vec()), Just(b"\r\n".to_vec()), Just(b"\"".to_vec()),
            Just(b"*2\r\n$1\r\na\r\n".to_vec()), Just(b"$3\r\nabc\r\n".to_vec()), Just(b"*1\r\n".to_vec()),
            "[0-9-]{1,4}".prop_map(String::into_bytes), vec(any::<u8>(), 0..4),
        ], 0..30),
        cuts in vec(any::<usize>(), 0..30),
    ) {
        let stream = pieces.concat();
        for limits in [OPEN, GUARDED] {
            let whole = decode_whole(&stream, &limits);
            let parts = decode_chunks(split(&stream, &cuts), &limits);
            prop_assert_eq!((&whole.0, &whole.1), (&parts.0, &parts.1));
            if whole.1.is_ok() {
                prop_assert_eq!(whole.2, parts.2);
            }
        }
    }
}

/// A short run of what the fuzzer does, for every test run: valid streams, mutated and cut by a seed.
#[test]
fn fuzz_smoke() {
    let mut rng = slotmesh_base::Rng::new(0x5107_3e54);
    let seeds: [&[u8]; 5] = [
        b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\n",
        b"set \"a b\\x41\" 'c\\'d' e\r\n",
        b"*-1\r\n*0\r\n\r\n*1\r\n$0\r\n\r\n",
        b"*12\r\n$1\r\na\r\n$2147483647\r\n",
    ];
    let mut decoded = 0;
    for _ in 0..20_000 {
        let mut stream = Vec::new();
        for _ in 0..=rng.below(4) {
            stream.extend_from_slice(seeds[rng.below(5) as usize]);
        }
        for _ in 0..rng.below(4) {
            let at = rng.next_u64() as usize % stream.len();
            match rng.below(3) {
                0 => stream[at] = rng.next_u64() as u8,
                1 => stream.insert(at, b"*$\r\n019-\"\\"[rng.below(10) as usize]),
                _ => drop(stream.drain(at..(at + 3).min(stream.len()))),
            }
            if stream.is_empty() {
                stream.push(b'*');
            }
        }
        let cuts: Vec<usize> = (0..rng.below(6)).map(|_| rng.next_u64() as usize).collect();
        let whole = decode_whole(&stream, &OPEN);
        let parts = decode_chunks(split(&stream, &cuts), &OPEN);
        assert_eq!((&whole.0, &whole.1), (&parts.0, &parts.1), "{}", stream.escape_ascii());
        decoded += whole.0.len();
    }
    println!("{decoded} requests decoded");
    assert!(decoded > 10_000, "the mutations must leave enough that is right");
}
