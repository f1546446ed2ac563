use super::*;
use crate::reply_length;
use proptest::prelude::*;
use std::format;
use std::string::{String, ToString};

fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
    let mut out = Vec::from(b"before");
    write(&mut Reply::new(&mut out, protocol));
    out.strip_prefix(b"before").unwrap().escape_ascii().to_string().replace("\\r\\n", " ").replace("\\'", "'")
}

#[test]
fn every_kind_in_both_versions() {
    type Case = (fn(&mut Reply<'_>), &'static str, &'static str);
    let table: &[Case] = &[
        (|r| r.ok(), "+OK ", "+OK "),
        (|r| r.simple("PONG"), "+PONG ", "+PONG "),
        (|r| r.error(ReplyError::Syntax), "-ERR syntax error ", "-ERR syntax error "),
        (|r| r.error_text(b"\nERR a\r\nb\n"), "-ERR a  b ".trim_end(), "-ERR a  b "),
        (|r| r.error_text(b"\r\n"), "- ", "- "),
        (|r| r.integer(0), ":0 ", ":0 "),
        (|r| r.integer(-1), ":-1 ", ":-1 "),
        (|r| r.integer(10), ":10 ", ":10 "),
        (|r| r.integer(i64::MIN), ":-9223372036854775808 ", ":-9223372036854775808 "),
        (|r| r.bulk(b""), "$0  ", "$0  "),
        (|r| r.bulk(b"abc"), "$3 abc ", "$3 abc "),
        (|r| r.bulk_integer(-42), "$3 -42 ", "$3 -42 "),
        (|r| r.null(), "$-1 ", "_ "),
        (|r| r.null_array(), "*-1 ", "_ "),
        (|r| r.array(0), "*0 ", "*0 "),
        (|r| r.array(12), "*12 ", "*12 "),
        (|r| r.array(123_456), "*123456 ", "*123456 "),
        (|r| r.map(7), "*14 ", "%7 "),
        (|r| r.set(3), "*3 ", "~3 "),
        (|r| r.push(2), "*2 ", ">2 "),
        (|r| assert_eq!(r.attribute(1), r.protocol() == Protocol::Resp3), "", "|1 "),
        (|r| r.boolean(true), ":1 ", "#t "),
        (|r| r.boolean(false), ":0 ", "#f "),
        (|r| r.double(3.25), "$4 3.25 ", ",3.25 "),
        (|r| r.double(f64::NEG_INFINITY), "$4 -inf ", ",-inf "),
        (|r| r.double(10.0), "$2 10 ", ",10 "),
        (|r| r.verbatim(b"txt", b"a b"), "$3 a b ", "=7 txt:a b "),
        (
            |r| r.protocol_error(ProtocolError::ExpectedBulk(b':')),
            "-ERR Protocol error: expected '$', got ':' ",
            "-ERR Protocol error: expected '$', got ':' ",
        ),
        (
            |r| r.protocol_error(ProtocolError::ExpectedBulk(b'\r')),
            "-ERR Protocol error: expected '$', got ' ' ",
            "-ERR Protocol error: expected '$', got ' ' ",
        ),
    ];
    for (write, resp2, resp3) in table {
        assert_eq!(written(Protocol::Resp2, write).trim_end(), resp2.trim_end());
        assert_eq!(written(Protocol::Resp3, write).trim_end(), resp3.trim_end());
    }
}

#[test]
fn the_offending_byte_arrives_as_it_is() {
    let mut out = Vec::new();
    Reply::new(&mut out, Protocol::Resp2).protocol_error(ProtocolError::ExpectedBulk(0xff));
    assert_eq!(out, b"-ERR Protocol error: expected '$', got '\xff'\r\n");
}

#[test]
fn heads_that_come_late_stand_in_front() {
    let nested = |reply: &mut Reply<'_>| {
        let outer = reply.deferred_array();
        reply.integer(1);
        let inner = reply.deferred_array();
        reply.bulk(b"x");
        reply.bulk(b"y");
        reply.close_set(inner, 2);
        let empty = reply.deferred_array();
        reply.close_map(empty, 0);
        reply.close_array(outer, 3);
    };
    assert_eq!(written(Protocol::Resp2, nested), "*3 :1 *2 $1 x $1 y *0 ");
    assert_eq!(written(Protocol::Resp3, nested), "*3 :1 ~2 $1 x $1 y %0 ");
    let long = |reply: &mut Reply<'_>| {
        let deferred = reply.deferred_array();
        (0..150).for_each(|_| reply.null());
        reply.close_array(deferred, 150);
    };
    assert_eq!(written(Protocol::Resp3, long), format!("*150 {}", "_ ".repeat(150)));
}

proptest! {
    #[test]
    fn bulks_and_integers_end_where_they_say(bytes: Vec<u8>, extra in 0usize..1200, value: i64) {
        let bytes: Vec<u8> = bytes.into_iter().chain(core::iter::repeat_n(b'.', extra)).collect();
        let mut out = Vec::new();
        Reply::new(&mut out, Protocol::Resp2).bulk(&bytes);
        let expected = [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(reply_length(&out), Ok(Some(out.len())));
        out.clear();
        Reply::new(&mut out, Protocol::Resp2).integer(value);
        prop_assert_eq!(out, format!(":{value}\r\n").into_bytes());
    }
}

#[test]
fn requests_are_read_as_they_were_written() {
    for lengths in [&[3usize, 0, 9, 10][..], &[99, 100, 12345], &[1; 120]] {
        let words: Vec<Vec<u8>> = lengths.iter().map(|&length| std::vec![b'x'; length]).collect();
        let mut out = Vec::new();
        push_request(&mut out, words.iter().map(Vec::as_slice));
        let mut expected = std::format!("*{}\r\n", words.len()).into_bytes();
        for word in &words {
            expected.extend_from_slice(std::format!("${}\r\n", word.len()).as_bytes());
            expected.extend_from_slice(word);
            expected.extend_from_slice(b"\r\n");
        }
        assert_eq!(out, expected);
    }
}
