//! Where the kernel or a container refuses io_uring, the node serves by epoll.

mod forbidden;

use slotmesh_conform::{Server, is_self_test, node_command};

#[test]
fn where_io_uring_is_forbidden_epoll_takes_its_place_and_says_so() {
    if is_self_test() {
        return;
    }
    let mut command = node_command();
    forbidden::forbid(&mut command, &[(libc::SYS_io_uring_setup, libc::EPERM)]);
    let server = Server::start("slotmesh", command, &["--save", "", "--cores", "2", "--shards", "2"]);
    let mut connection = server.connect();
    assert_eq!(connection.say("MSET a 1 b 2 c 3 d 4"), b"+OK\r\n");
    assert_eq!(connection.say("EXISTS a b c d"), b":4\r\n");
    for (section, field) in [("io", "io_backend:epoll"), ("server", "multiplexing_api:epoll")] {
        let info = connection.text(&format!("INFO {section}"));
        assert!(info.lines().any(|line| line == field), "{info}");
    }
    let log = server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(" # ") && line.contains("io_uring")).collect();
    let [warning] = told[..] else { panic!("one line tells of it: {log}") };
    assert!(warning.contains("epoll") && warning.contains("--security-opt"), "{warning}");
}

/// Replies of another core are waited for for less than a millisecond, which older kernels have no epoll call for.
#[test]
fn a_wait_for_another_core_needs_neither_io_uring_nor_a_new_kernel() {
    if is_self_test() {
        return;
    }
    let mut command = node_command();
    let calls = [libc::SYS_io_uring_setup, libc::SYS_epoll_pwait2];
    forbidden::forbid(&mut command, &calls.map(|call| (call, libc::ENOSYS)));
    let server = Server::start("slotmesh", command, &["--save", "", "--cores", "2", "--shards", "2"]);
    let mut connection = server.connect();
    for round in 0..100 {
        assert_eq!(connection.say(&format!("MSET a {round} b {round} c {round}")), b"+OK\r\n");
        assert_eq!(connection.say("GET b"), format!("${}\r\n{round}\r\n", round.to_string().len()).as_bytes());
    }
}
