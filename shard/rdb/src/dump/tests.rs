use super::*;
use alloc::string::String;
use slotmesh_keyspace::{Element, ListBuilder};
use std::format;

const LIMIT: PackedLimit = PackedLimit::new(-2);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list(elements: &[&[u8]]) -> Value {
    let mut builder = ListBuilder::new(LIMIT);
    elements.iter().for_each(|element| builder.push(element));
    Value::List(builder.finish().unwrap())
}

fn text(value: &Value) -> Vec<Vec<u8>> {
    match value {
        Value::String(string) => std::vec![string.clone()],
        Value::List(list) => {
            let mut all = Vec::new();
            list.visit(0..list.len(), |element| match element {
                Element::Bytes(bytes) => all.push(bytes.to_vec()),
                Element::Integer(value) => all.push(format!("{value}").into_bytes()),
            });
            all
        }
        other => panic!("{other:?}"),
    }
}

/// A body with a right footer.
fn payload(body: &[u8], version: u16) -> Vec<u8> {
    let mut out = [body, &version.to_le_bytes()].concat();
    let checksum = Crc64::of(&out);
    out.extend(checksum.to_le_bytes());
    out
}

#[test]
fn payloads_are_byte_for_byte_those_of_redis() {
    let string = |text: &[u8]| Value::String(text.to_vec());
    for (value, dump) in [
        (string(b"hello"), "00 05 68656c6c6f 0a00 6372df766534200a"),
        (string(b"12"), "00 c00c 0a00 3c2af8515c04bcd5"),
        (string(b"-12345"), "00 c1c7cf 0a00 67eda236b4db26d0"),
        (string(b"1234567"), "00 c287d61200 0a00 e93e1e362b3b7c5e"),
        (string(b"12345678901"), "00 0b 3132333435363738393031 0a00 304e52d727176510"),
        (string(&[b'a'; 64]), "00 c3094040016161e033000161 61 0a00 c3659612ce1cc46c"),
        (string(b"1"), "00 c0 01 0a 00 26 78 e7 b6 d1 01 11 fc"),
        (list(&[b"a", b"b", b"1"]), "12 01 02 0f 0f000000 0300 816102 816202 0101 ff 0a00 e01bab4a47ce5922"),
    ] {
        let mut out = Vec::new();
        Dumper::new(true).dump(&mut out, value.borrow());
        assert_eq!(hex(&out), hex(&bytes(dump)));
        let again = restore(&out, 1 << 20, LIMIT).unwrap();
        assert_eq!(text(&again), text(&value));
    }
    let mut out = Vec::new();
    Dumper::new(true).dump(&mut out, list(&[&[b'y'; 9000], b"z"]).borrow());
    assert_eq!(hex(&out[..6]), "120202c3407a");
    assert_eq!(hex(&out[out.len() - 22..out.len() - 10]), "020a0a0000000100817a02ff");
}

#[test]
fn lists_of_all_versions_are_read() {
    // Strings; a ziplist; a quicklist of ziplists; a plain node as valkey writes them, and an empty node.
    for (body, elements) in [
        ("01 02 0161 c005", &[&b"a"[..], b"5"][..]),
        ("0a 10 10000000 0d000000 0200 00 01 61 03 f6 ff", &[b"a", b"5"]),
        ("0e 02 0e 0e000000 0a000000 0100 00 01 61 ff 0b 0b000000 0a000000 0000 ff", &[b"a"]),
        ("12 03 01 03 78797a 02 07 07000000 0000 ff 02 09 09000000 0100 0501 ff", &[b"xyz", b"5"]),
    ] {
        for version in [1, 9, 11] {
            let value = restore(&payload(&bytes(body), version), 100, LIMIT);
            assert_eq!(text(&value.unwrap()), elements, "{body}");
        }
    }
}

#[test]
fn refused_payloads_say_which_half_is_wrong() {
    let good = payload(&bytes("00 0161"), 10);
    assert!(restore(&good, 100, LIMIT).is_ok());
    for end in 0..good.len() {
        assert_eq!(restore(&good[..end], 100, LIMIT).unwrap_err(), RestoreError::Footer);
    }
    for at in 0..good.len() {
        let mut broken = good.clone();
        broken[at] ^= 1;
        assert_eq!(restore(&broken, 100, LIMIT).unwrap_err(), RestoreError::Footer);
    }
    assert_eq!(restore(&payload(&bytes("00 0161"), 12), 100, LIMIT).unwrap_err(), RestoreError::Footer);
    for body in ["00 40ff", "02 01 0161", "63 0161", "12 00", "12 01 02 08 08000000 0100 ff", "ff", "00 4065 61"] {
        assert_eq!(restore(&payload(&bytes(body), 10), 100, LIMIT).unwrap_err(), RestoreError::Body, "{body}");
    }
    // What is behind the value is not looked at, as in Redis.
    assert!(restore(&payload(&bytes("00 0161 00"), 10), 100, LIMIT).is_ok());
}
