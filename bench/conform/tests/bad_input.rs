//! Malformed requests: the same bytes and the same close as from redis-server, and nothing held for promises.

use slotmesh_base::Rng;
use slotmesh_conform::{PASSWORD, Server, await_condition, request, resident_bytes, show, words};

const MIB: u64 = 1024 * 1024;

/// Connections of the crowds.
const CROWD: usize = 200;

/// Lines that have no end. (With one, it depends on how many bytes Redis finds at once whether it takes them.)
fn endless() -> Vec<Vec<u8>> {
    let long = |start: &str, byte: u8| [start.as_bytes(), &vec![byte; 70_000]].concat();
    vec![long("", b'a'), long("PING\r\n", b'a'), long("*", b'1'), long("*1\r\n$", b'1')]
}

/// Requests that are wrong in one way each. (What Redis does with replies that wait when it meets `POST` or `Host:`
/// depends on how many bytes it finds at once; so these stand alone.)
fn malformed() -> Vec<Vec<u8>> {
    let texts: &[&[u8]] = &[
        b"*-1\r\n",
        b"*0\r\n",
        b"*-1\r\n*0\r\n*-5\r\n",
        b"*a\r\n",
        b"*\r\n",
        b"*1x\r\n",
        b"*+1\r\n$4\r\nPING\r\n",
        b"* 1\r\n$4\r\nPING\r\n",
        b"*01\r\n$4\r\nPING\r\n",
        b"*2147483648\r\n",
        b"*9223372036854775808\r\n",
        b"*1\r\n:3\r\n",
        b"*1\r\n\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n\0\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\n$\r\n",
        b"*1\r\n$ 4\r\nPING\r\n",
        b"*1\r\n$04\r\nPING\r\n",
        b"*1\r\n$536870913\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n$0\r\n\r\n",
        b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
        b"*2\r\n$4\r\nECHO__$3\r\nabcXY",
        b"*1\r\n$4\r\nPINGxx",
        b"*1\n$4\nPING\n\r\n*1\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"   \r\n",
        b"PING\n",
        b"ping\r\n",
        b"  ECHO   spaced  \r\n",
        b"ECHO \"quoted \\x41\\n\\r\\t\\b\\a\\\\\\\"\"\r\n",
        b"ECHO 'single \\' quoted'\r\n",
        b"ECHO 'single \\n'\r\n",
        b"ECHO \"\"\r\n",
        b"ECHO a\"b\r\n",
        b"ECHO a\"b\"\r\n",
        b"ECHO \"a\"b\r\n",
        b"ECHO 'a'b\r\n",
        b"SET k \"abc\r\n",
        b"SET k 'abc\r\n",
        b"ECHO \"\\xzz\\q\"\r\n",
        b"ECHO \xff\xfe\r\n",
        b"ECHO a\0b\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Host: x\r\n",
        b"*1\r\n$4\r\nPOST\r\n",
        b"*2\r\n$5\r\nhost:\r\n$1\r\na\r\n",
        b"$4\r\nPING\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"%1\r\n",
        b"\0\r\n",
        b"NOSUCH\x01COMMAND 'a\nb'\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$-5\r\n",
        b"*2\r\n$3\r\nGET\r\n*1\r\n$1\r\na\r\n",
        b"PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
    ];
    let mut found: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    // The error echoes the command's name and arguments: their lengths are bounded.
    found.push(request(&["x".repeat(300)]));
    found.push(request(&["x".to_owned(), "y".repeat(300), "z".repeat(300)]));
    found.push(request(&["x"; 200]));
    found.push(words("a\r\nb c\r\nd"));
    found.push(words(&format!("CLIENT {}", "s".repeat(300))));
    found.push(words("config nosuch\0name"));
    found
}

/// All that a server sends for these bytes and a QUIT behind them, until it closes the connection.
fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut connection = server.connect();
    // It may close the connection before all is sent.
    let _ = connection.try_send(bytes);
    if endless().iter().any(|endless| endless == bytes) {
        return connection.read_to_close();
    }
    let _ = connection.try_send(b"\r\nPING\r\nQUIT\r\n");
    // Where a request has no end, the QUIT is part of it; then the end of the stream closes the connection.
    connection.finish_sending();
    connection.read_to_close()
}

fn compare(args: &[&str], inputs: &[Vec<u8>]) {
    let oracle = Server::redis(args);
    let ours = [Server::slotmesh(1, 1, args), Server::slotmesh(3, 3, args)];
    let mut offences = Vec::new();
    for input in inputs {
        let expected = answer(&oracle, input);
        for ours in &ours {
            let got = answer(ours, input);
            if got != expected {
                offences.push(format!("{}\n  expected {}\n  got      {}", show(input), show(&expected), show(&got)));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn malformed_requests_are_answered_as_by_redis() {
    compare(&[], &malformed());
    compare(&[], &endless());
}

#[test]
fn the_limits_of_strangers_are_those_of_redis() {
    let mut inputs = [malformed(), endless()].concat();
    inputs.push(request(&["PING"; 10]));
    inputs.push(request(&["PING"; 11]));
    inputs.push(b"*11\r\n".to_vec());
    inputs.push(request(&["ECHO".to_owned(), "x".repeat(16384)]));
    inputs.push(b"*2\r\n$4\r\nECHO\r\n$16385\r\n".to_vec());
    inputs.push(b"PING a b c d e f g h i j k l m n\r\n".to_vec());
    // After the password the limits are gone, in the same pipeline.
    let large = request(&["MGET".to_owned(), "x".repeat(20_000)]);
    inputs.push([request(&["AUTH", PASSWORD]), large, request(&["EXISTS"; 20])].concat());
    compare(&["--requirepass", PASSWORD], &inputs);
}

#[test]
fn a_set_limit_of_length_holds() {
    let inputs = [
        b"*2\r\n$4\r\nECHO\r\n$1048577\r\n".to_vec(),
        request(&["SET".to_owned(), "a".to_owned(), "x".repeat(1_048_576)]),
        [request(&["SET".to_owned(), "a".to_owned(), "x".repeat(1_048_576)]), request(&["APPEND", "a", "y"])].concat(),
    ];
    compare(&["--proto-max-bulk-len", "1mb"], &inputs);
}

#[test]
fn declared_lengths_hold_no_memory() {
    let server = Server::slotmesh(3, 3, &[]);
    let before = resident_bytes(server.pid());
    let promises: [&[u8]; 4] = [
        b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc",
        b"*2147483647\r\n$3\r\nGET\r\n",
        b"*1048576\r\n$536870912\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n0123456789",
    ];
    let mut crowd = Vec::new();
    for index in 0..CROWD {
        let mut connection = server.connect();
        connection.send(promises[index % promises.len()]);
        crowd.push(connection);
    }
    let mut other = server.connect();
    await_condition("all promises have been read", 10, || {
        other.text("INFO clients").contains(&format!("connected_clients:{}", CROWD + 1))
    });
    assert_eq!(other.say("PING"), b"+PONG\r\n");
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown < 32 * MIB, "{} connections promise 512 MB each and cost {grown} bytes", CROWD);
}

#[test]
fn a_long_value_may_arrive_in_pieces() {
    let server = Server::slotmesh(3, 3, &[]);
    let mut connection = server.connect();
    let value = vec![b'v'; 20_000_000];
    let bytes = request(&[b"SET".as_slice(), b"large", &value]);
    for piece in bytes.chunks(777_777) {
        connection.send(piece);
    }
    assert_eq!(connection.reply(), b"+OK\r\n");
    assert_eq!(connection.say("STRLEN large"), b":20000000\r\n");
    let reply = connection.say("GET large");
    assert!(reply.len() == 20_000_000 + 13 && reply[11..reply.len() - 2] == value[..]);
}

#[test]
fn a_request_above_the_query_buffer_limit_closes_its_connection() {
    let mut server = Server::slotmesh(2, 2, &["--client-query-buffer-limit", "1mb"]);
    let mut connection = server.connect();
    let _ = connection.try_send(&request(&[b"SET".as_slice(), b"large", &vec![b'v'; 8_000_000]]));
    assert!(connection.read_to_close().is_empty());
    assert_eq!(server.connect().say("EXISTS large"), b":0\r\n");
    assert!(server.is_alive());
}

/// Bytes of which some look like requests.
fn garbage(rng: &mut Rng) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"*",
        b"$",
        b"\r\n",
        b"*1\r\n",
        b"*3\r\n$3\r\nSET\r\n",
        b"$3\r\nGET\r\n",
        b"$1\r\na\r\n",
        b"-1",
        b"2147483647",
        b"\"",
        b"'",
        b"\\x",
        b"PING",
        b" ",
        b"\n",
        b"\0",
        b"$536870912\r\n",
        b"*1048576\r\n",
        b"MGET a b c",
        b"HELLO 3",
        b"%2\r\n",
        b"_\r\n",
        b"SCAN 0 ",
        b"EXPIRE a 1",
        b"COMMAND ",
        b"DOCS",
        b"CLIENT LIST",
        b"RESET",
        b"INFO",
    ];
    let mut bytes = Vec::new();
    for _ in 0..rng.below(60) {
        if rng.below(4) == 0 {
            bytes.extend((0..rng.below(40)).map(|_| rng.next_u64() as u8));
        } else {
            bytes.extend_from_slice(PIECES[rng.below(PIECES.len() as u64) as usize]);
        }
    }
    bytes
}

#[test]
fn garbage_never_kills_the_server() {
    let mut server = Server::slotmesh(3, 3, &[]);
    let mut rng = Rng::new(7);
    for _ in 0..20 {
        let mut crowd: Vec<_> = (0..CROWD).map(|_| server.connect()).collect();
        for connection in &mut crowd {
            let _ = connection.try_send(&garbage(&mut rng));
        }
        for connection in &mut crowd {
            let _ = connection.try_send(&garbage(&mut rng));
        }
        drop(crowd);
        assert!(server.is_alive(), "{}", server.log());
    }
    let mut connection = server.connect();
    assert_eq!(connection.say("PING"), b"+PONG\r\n");
    await_condition("closed connections are forgotten", 30, || {
        connection.text("INFO clients").contains("connected_clients:1\r")
    });
    assert!(!server.log().contains("panic"), "{}", server.log());
}
