//! Each script was run against redis-server as well.

use crate::family::testing::Fixture;

const SYNTAX: &str = "-ERR syntax error";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const OFFSET: &str = "-ERR bit offset is not an integer or out of range";
const TYPE: &str = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

#[test]
fn single_bits() {
    Fixture::new().script(&[
        ("SETBIT a 7 1", ":0"),
        ("SETBIT a 7 1", ":1"),
        ("SETBIT a 9 1", ":0"),
        ("GET a", "$2 \x01@"),
        ("GETBIT a 7", ":1"),
        ("GETBIT a 8", ":0"),
        ("GETBIT a 100", ":0"),
        ("GETBIT b 0", ":0"),
        ("SETBIT a 7 0", ":1"),
        ("SETBIT b 0 0", ":0"),
        ("STRLEN b", ":1"),
        ("OBJECT ENCODING b", "$3 raw"),
        ("SET c 1", "+OK"),
        ("SETBIT c 6 1", ":0"),
        ("GET c", "$1 3"),
        ("OBJECT ENCODING c", "$3 raw"),
        ("INCR c", ":4"),
        ("OBJECT ENCODING c", "$3 int"),
        ("SETBIT a -1 1", OFFSET),
        ("SETBIT a x 1", OFFSET),
        ("SETBIT a 4294967296 1", OFFSET),
        ("GETBIT a 4294967295", ":0"),
        ("GETBIT a 4294967296", OFFSET),
        ("SETBIT a 0 2", "-ERR bit is not an integer or out of range"),
        ("SETBIT a 0 x", "-ERR bit is not an integer or out of range"),
        ("RPUSH l x", ":1"),
        ("SETBIT l 0 1", WRONG_TYPE),
        ("GETBIT l 0", WRONG_TYPE),
    ]);
}

#[test]
fn bits_are_counted() {
    Fixture::new().script(&[
        ("SET a foobar", "+OK"),
        ("BITCOUNT a", ":26"),
        ("BITCOUNT a 0 0", ":4"),
        ("BITCOUNT a 1 1", ":6"),
        ("BITCOUNT a 1 1 BYTE", ":6"),
        ("BITCOUNT a 5 30 bit", ":17"),
        ("BITCOUNT a -2 -1", ":7"),
        ("BITCOUNT a -1 -2 NOSUCH", ":0"),
        ("BITCOUNT a 0 0 NOSUCH", SYNTAX),
        ("BITCOUNT a 0", SYNTAX),
        ("BITCOUNT a x 0", NOT_AN_INTEGER),
        ("BITCOUNT nosuch 0", ":0"),
        ("BITCOUNT nosuch x y z w", ":0"),
        ("BITCOUNT a 0 1 BIT x", SYNTAX),
        ("RPUSH l x", ":1"),
        ("BITCOUNT l", WRONG_TYPE),
    ]);
}

#[test]
fn bits_are_found() {
    Fixture::new().script(&[
        ("BITPOS a 0", ":0"),
        ("BITPOS a 1", ":-1"),
        ("SETBIT a 12 1", ":0"),
        ("BITPOS a 1", ":12"),
        ("BITPOS a 1 0", ":12"),
        ("BITPOS a 1 2", ":-1"),
        ("BITPOS a 1 0 -1 BIT", ":12"),
        ("BITPOS a 1 13 -1 BIT", ":-1"),
        ("BITPOS a 0 12 13 BIT", ":13"),
        ("BITFIELD f SET i16 0 -1", "*1 :0"),
        ("BITPOS f 0", ":16"),
        ("BITPOS f 0 1", ":16"),
        ("BITPOS f 0 0 -1", ":-1"),
        ("BITPOS f 0 2", ":-1"),
        ("BITPOS f 2", "-ERR The bit argument must be 1 or 0."),
        ("BITPOS f x", NOT_AN_INTEGER),
        ("BITPOS f 1 x", NOT_AN_INTEGER),
        ("BITPOS f 1 0 x", NOT_AN_INTEGER),
        ("BITPOS f 1 0 x NOSUCH", SYNTAX),
        ("BITPOS f 1 0 1 BIT x", SYNTAX),
        ("BITPOS nosuch 1 x y z w", ":-1"),
    ]);
}

#[test]
fn strings_are_combined() {
    Fixture::new().script(&[
        ("SET a abc", "+OK"),
        ("SET b abcdefghijklmnop", "+OK"),
        ("BITOP AND t a b", ":16"),
        ("GET t", "$16 abc\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("BITOP OR t a b", ":16"),
        ("GET t", "$16 abcdefghijklmnop"),
        ("OBJECT ENCODING t", "$3 raw"),
        ("BITOP xor t b b", ":16"),
        ("BITCOUNT t", ":0"),
        ("BITOP NOT t a", ":3"),
        ("BITCOUNT t", ":14"),
        ("BITOP NOT t nosuch", ":0"),
        ("EXISTS t", ":0"),
        ("SET a x EX 100", "+OK"),
        ("BITOP OR a a", ":1"),
        ("TTL a", ":-1"),
        ("BITOP NOT t a b", "-ERR BITOP NOT must be called with a single source key."),
        ("BITOP NAND t a b", SYNTAX),
        ("RPUSH l x", ":1"),
        ("BITOP AND t a l", WRONG_TYPE),
        ("BITOP OR l a", ":1"),
        ("TYPE l", "+string"),
    ]);
}

#[test]
fn keys_of_several_shards_are_combined() {
    let mut fixture = Fixture::with_shards(&[8192, 12000]);
    fixture.script(&[
        ("SET a 1", "+OK"),
        ("SET b 2", "+OK"),
        ("SET c 4", "+OK"),
        ("BITOP OR {x}t a b c", ":1"),
        ("GET {x}t", "$1 7"),
        ("BITOP AND a b c nosuch", ":1"),
        ("BITCOUNT a", ":0"),
        ("BITOP XOR a nosuch", ":0"),
        ("EXISTS a", ":0"),
    ]);
}

#[test]
fn fields() {
    Fixture::new().script(&[
        ("BITFIELD a", "*0"),
        ("BITFIELD a GET u8 0 GET i64 1000000", "*2 :0 :0"),
        ("EXISTS a", ":0"),
        ("BITFIELD a SET u8 0 255 GET u8 0 INCRBY u4 #1 3 GET i8 #0", "*4 :0 :255 :2 :-14"),
        ("BITFIELD a OVERFLOW FAIL INCRBY u8 0 100 OVERFLOW SAT INCRBY u8 0 100 INCRBY i8 0 -200", "*3 $-1 :255 :-128"),
        ("BITFIELD a SET i8 0 300 SET u8 0 -1 GET u8 0", "*3 :-128 :44 :255"),
        ("BITFIELD a SET i64 3 9223372036854775807 INCRBY i64 3 1", "*2 :-576460752303423488 :-9223372036854775808"),
        ("BITFIELD a OVERFLOW SAT INCRBY i64 3 -1", "*1 :-9223372036854775808"),
        ("STRLEN a", ":9"),
        ("BITFIELD a SET u63 #1 -1 GET u63 #1", "*2 :0 :9223372036854775807"),
        ("BITFIELD a GET u64 0", TYPE),
        ("BITFIELD a GET i65 0", TYPE),
        ("BITFIELD a GET u0 0", TYPE),
        ("BITFIELD a GET x8 0", TYPE),
        ("BITFIELD a GET u8 -1", OFFSET),
        ("BITFIELD a GET u8 #x", OFFSET),
        ("BITFIELD a SET u8 0 x", NOT_AN_INTEGER),
        ("BITFIELD a SET u8 0", SYNTAX),
        ("BITFIELD a OVERFLOW NOSUCH", "-ERR Invalid OVERFLOW type specified"),
        ("BITFIELD_RO a GET u8 0", "*1 :240"),
        ("BITFIELD_RO a SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand"),
        ("RPUSH l x", ":1"),
        ("BITFIELD l GET u8 0", WRONG_TYPE),
        ("BITFIELD l SET u8 0 1", WRONG_TYPE),
        ("OBJECT ENCODING a", "$3 raw"),
    ]);
}
