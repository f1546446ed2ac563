//! Tests in a network of their own, where firewalls stand in nobody's way.

use std::io::Write;
use std::process::{Command, Stdio};

/// Set for the run inside.
const MARK: &str = "SLOTMESH_TEST_NAMESPACE";

/// What it takes, and what shows that it is there.
const NEEDS: &[&[&str]] = &[&["unshare", "--net", "true"], &["ip", "-V"], &["nft", "--version"]];

/// Whether we are in a network namespace of our own, with nothing in it but loopback. If not, the test of this name is run
/// in one, as often as it is called; where there is none to be had, it says so.
///
/// # Panics
/// If the test fails inside.
pub fn is_in_namespace(test: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        assert!(succeeds(&["ip", "link", "set", "lo", "up"]), "loopback comes up");
        return true;
    }
    if let Some(missing) = NEEDS.iter().find(|command| !succeeds(command)) {
        eprintln!("SKIPPED: {test} (it needs root, network namespaces and nftables: '{}' fails)", missing.join(" "));
        return false;
    }
    let own = std::env::current_exe().expect("a test knows its file");
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(own).args([test, "--exact", "--nocapture"]).env(MARK, "1");
    assert!(inside.status().expect("it was there before").success(), "{test} failed in its namespace");
    false
}

fn succeeds(command: &[&str]) -> bool {
    let status = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Replaces all rules of the namespace by these, in the words of nft, for what comes in; none lets everything through.
///
/// # Panics
/// If nft refuses them.
pub fn set_firewall(rules: &[String]) {
    let rules: String = rules.iter().map(|rule| format!("        {rule}\n")).collect();
    let chain = "type filter hook input priority 0; policy accept;";
    let text = format!("flush ruleset\ntable inet wall {{\n    chain input {{\n        {chain}\n{rules}    }}\n}}\n");
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is there");
    nft.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("nft reads");
    assert!(nft.wait().expect("nft ends").success(), "nft takes {text}");
}
