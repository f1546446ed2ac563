//! DEBUG PROTOCOL: a reply of each type, for those who test client libraries (Redis 7.2 `debug.c`).

use slotmesh_resp::{Protocol, Reply};

pub(super) fn show(kind: &[u8], reply: &mut Reply<'_>) {
    match &*kind.to_ascii_lowercase() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(3141.0 / 1000.0),
        b"bignum" => big_number("1234567999999999999999999999999999999", reply),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => attribute(reply),
        b"push" => push(reply),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim(b"txt", b"This is a verbatim\nstring"),
        _ => reply.error_text(WRONG_NAME),
    }
}

fn big_number(digits: &str, reply: &mut Reply<'_>) {
    match reply.protocol() {
        Protocol::Resp2 => reply.bulk(digits.as_bytes()),
        Protocol::Resp3 => reply.buffer().extend_from_slice(format!("({digits}\r\n").as_bytes()),
    }
}

/// An attribute is no reply, so that one follows it.
fn attribute(reply: &mut Reply<'_>) {
    if reply.attribute(1) {
        reply.bulk(b"key-popularity");
        reply.array(2);
        reply.bulk(b"key:123");
        reply.integer(90);
    }
    reply.bulk(b"Some real reply following the attribute");
}

/// A push is no reply, so that one follows it.
fn push(reply: &mut Reply<'_>) {
    if reply.protocol() == Protocol::Resp2 {
        return reply.error_text(b"ERR RESP2 is not supported by this command");
    }
    reply.push(2);
    reply.bulk(b"server-cpu-usage");
    reply.integer(42);
    reply.bulk(b"Some real reply following the push reply");
}

const WRONG_NAME: &[u8] = b"ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
