use super::*;
use crate::{Protocol, Reply};
use alloc::vec::Vec;
use proptest::collection::vec;
use proptest::prelude::*;

/// Replies of every kind, each whole.
const WHOLE: &[&[u8]] = &[
    b"+OK\r\n",
    b"+\r\n",
    b"-ERR syntax error\r\n",
    b":-17\r\n",
    b"$0\r\n\r\n",
    b"$5\r\na\r\nb\0\r\n",
    b"$12\r\n+OK\r\n+OK\r\n+O\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n",
    b"_\r\n",
    b",3.141\r\n",
    b",-inf\r\n",
    b"#t\r\n",
    b"(1234567999999999999999999999999999999\r\n",
    b"=7\r\ntxt:a\r\n\r\n",
    b"!21\r\nSYNTAX invalid syntax\r\n",
    b"~2\r\n:1\r\n:2\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$2\r\ntk\r\n",
    b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$1\r\na\r\n:90\r\n*2\r\n:1\r\n|1\r\n+x\r\n+y\r\n:2\r\n",
    b"|0\r\n+OK\r\n",
];

#[test]
fn the_end_is_found_and_not_before_it_is_there() {
    for reply in WHOLE {
        for end in 0..reply.len() {
            assert_eq!(reply_length(&reply[..end]), Ok(None), "{} to {end}", reply.escape_ascii());
        }
        let followed = [reply, &b"?"[..]].concat();
        assert_eq!(reply_length(&followed), Ok(Some(reply.len())), "{}", reply.escape_ascii());
    }
}

#[test]
fn bytes_that_are_no_reply_are_refused() {
    for bytes in [
        &b"?\r\n"[..],
        b"\r\n",
        b"GET k\r\n",
        b"+OK\n",
        b"+O\rK\r\n",
        b"$a\r\n",
        b"$\r\n",
        b"$-2\r\n",
        b"$+1\r\na\r\n",
        b"$01\r\na\r\n",
        b"$-\r\n",
        b"$1\n",
        b"$1\ra",
        b"$1\r\nabc",
        b"$1\r\na\rb",
        b"*?\r\n",
        b"~-1\r\n",
        b"*1\r\n$1\r\nab\r\n",
        b"*9999999999999999999999\r\n",
    ] {
        assert_eq!(reply_length(bytes), Err(FrameError::Malformed), "{}", bytes.escape_ascii());
    }
}

#[test]
fn depth_and_declared_counts_cost_nothing() {
    let mut deep = b"*1\r\n".repeat(100_000);
    assert_eq!(reply_length(&deep), Ok(None));
    deep.extend_from_slice(b":1\r\n");
    assert_eq!(reply_length(&deep), Ok(Some(deep.len())));
    assert_eq!(reply_length(&b"*999999999999999999\r\n".repeat(10)), Ok(None));
    assert_eq!(reply_length(&b"*999999999999999999\r\n".repeat(100)), Err(FrameError::Malformed));
}

#[test]
fn the_scanner_tells_what_ended() {
    let stream = b"+OK\r\n-ERR x\r\n|1\r\n+a\r\n:1\r\n>1\r\n+m\r\n*1\r\n-ERR y\r\n$1\r\nb\r\n";
    let (mut scanner, mut position, mut kinds) = (ReplyScanner::default(), 0, Vec::new());
    while let Some(end) = scanner.next_end(stream, &mut position).unwrap() {
        assert_eq!(end.offset, position);
        kinds.push(end.kind);
    }
    assert_eq!(kinds, b"+->*$");
    assert_eq!(position, stream.len());
}

#[test]
fn elements_are_split_raw() {
    let split = |reply| elements(reply).map(|elements| elements.collect::<Vec<&[u8]>>());
    let nested = b"*3\r\n$-1\r\n*1\r\n:1\r\n$2\r\nab\r\n";
    assert_eq!(split(nested).unwrap(), [&b"$-1\r\n"[..], b"*1\r\n:1\r\n", b"$2\r\nab\r\n"]);
    assert_eq!(elements(nested).unwrap().len(), 3);
    assert_eq!(split(b"*0\r\n").unwrap(), [b""; 0]);
    assert_eq!(split(b"%1\r\n+a\r\n_\r\n").unwrap(), [&b"+a\r\n"[..], b"_\r\n"]);
    assert_eq!(split(b"|1\r\n+a\r\n*0\r\n~1\r\n|1\r\n+b\r\n:1\r\n#t\r\n").unwrap(), [b"|1\r\n+b\r\n:1\r\n#t\r\n"]);
    for no_aggregate in [&b"$-1\r\n"[..], b"*-1\r\n", b"-ERR x\r\n", b":1\r\n", b"_\r\n"] {
        assert_eq!(split(no_aggregate), Err(FrameError::NotAggregate));
    }
    for not_one_reply in [&b"*2\r\n:1\r\n"[..], b"*0\r\n*0\r\n", b"", b"*1\r\n?"] {
        assert_eq!(split(not_one_reply), Err(FrameError::Malformed));
    }
}

/// A random reply and the number of values that it was written with.
fn write_value(reply: &mut Reply<'_>, shape: &mut core::slice::Iter<'_, u8>, depth: u32) {
    let Some(&byte) = shape.next() else {
        return reply.null();
    };
    let size = usize::from(byte / 16);
    let (elements, head): (usize, fn(&mut Reply<'_>, usize)) = match byte % 12 {
        0 => return reply.ok(),
        1 => return reply.integer(i64::from(byte) - 99),
        2 => return reply.null(),
        3 => return reply.double(f64::from(byte) / 7.0),
        4 => return reply.boolean(byte > 99),
        5 => return reply.verbatim(b"txt", &b"\r\n*3\r\n$1\r\nabcdefg"[..size]),
        6 | 7 => return reply.bulk(&b"+\r\n".repeat(size * size)),
        _ if depth == 0 => return reply.null_array(),
        8 => (size, |reply, len| reply.array(len)),
        9 => (size * 2, |reply, len| reply.map(len / 2)),
        10 => (size, |reply, len| reply.set(len)),
        _ => (size, |reply, len| reply.push(len)),
    };
    head(reply, elements);
    (0..elements).for_each(|_| write_value(reply, shape, depth - 1));
}

proptest! {
    #[test]
    fn what_the_writer_writes_is_scanned_whatever_the_split(
        shapes in vec(vec(any::<u8>(), 0..30), 1..8),
        resp3: bool,
        chunk_bytes in 1usize..40,
    ) {
        let protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let (mut stream, mut ends) = (Vec::new(), Vec::new());
        for shape in &shapes {
            let start = stream.len();
            write_value(&mut Reply::new(&mut stream, protocol), &mut shape.iter(), 4);
            prop_assert_eq!(reply_length(&stream[start..]), Ok(Some(stream.len() - start)));
            if let Ok(elements) = elements(&stream[start..]) {
                let bytes: usize = elements.map(<[u8]>::len).sum();
                prop_assert!(bytes < stream.len() - start);
            }
            ends.push(stream.len());
        }
        let (mut scanner, mut found) = (ReplyScanner::default(), Vec::new());
        for (index, chunk) in stream.chunks(chunk_bytes).enumerate() {
            let mut position = 0;
            while let Some(end) = scanner.next_end(chunk, &mut position).unwrap() {
                found.push(index * chunk_bytes + end.offset);
            }
            prop_assert_eq!(position, chunk.len());
        }
        prop_assert_eq!(found, ends);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(prop_oneof![any::<u8>(), prop::sample::select(&b"*$%|=0123\r\n-"[..])], 0..60)) {
        let _ = reply_length(&bytes);
        if let Ok(elements) = elements(&bytes) {
            let _ = elements.count();
        }
    }
}
