//! `make install`, and the unit that it installs.

use slotmesh_conform::{Connection, await_condition, binary, is_self_test, unused_port, without_test_variables};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A place to install to, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("slotmesh-install-{}-{}", std::process::id(), unused_port()));
        fs::create_dir_all(&path).expect("the directory for temporary files can be written to");
        Self(path)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `make install` with these variables; nothing if there is no make here.
fn install(variables: &[String]) -> Option<Output> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut make = Command::new("make");
    make.arg("--no-print-directory").arg("-C").arg(root).arg("install");
    make.arg(format!("BINARY={}", binary().display())).args(variables);
    // Not those of a make that runs this test.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    match make.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(output)
        }
        Err(error) => {
            eprintln!("SKIPPED: make cannot be run ({error})");
            None
        }
    }
}

#[test]
fn what_is_installed_serves_and_its_unit_is_good() {
    let place = Place::new();
    let path = |name: &str| place.0.join(name).display().to_string();
    let variables = [format!("PREFIX={}", path("usr")), format!("CONFDIR={}", path("etc"))];
    if is_self_test() || install(&variables).is_none() {
        return;
    }
    assert!(place.text("etc/slotmesh.conf").contains("\nport 6379\n"));
    let unit = place.text("usr/lib/systemd/system/slotmesh.service");
    let start = format!("\nExecStart={} {} ", path("usr/bin/slotmesh"), path("etc/slotmesh.conf"));
    for words in [start.as_str(), "\nType=notify\n", "\nLimitMEMLOCK=", "\nLimitNOFILE=", "--supervised systemd"] {
        assert!(unit.contains(words), "{words}: {unit}");
    }
    assert!(!unit.contains("@BINDIR@") && !unit.contains("@CONFDIR@"), "{unit}");
    serves(&place);
    verify(&place);
    // An operator's own configuration stays.
    fs::write(place.0.join("etc/slotmesh.conf"), "port 7000\n").expect("a file of ours");
    install(&variables);
    assert_eq!(place.text("etc/slotmesh.conf"), "port 7000\n");
}

/// The installed binary with the installed configuration.
fn serves(place: &Place) {
    let port = unused_port();
    let mut command = without_test_variables(Command::new(place.0.join("usr/bin/slotmesh")));
    command.arg(place.0.join("etc/slotmesh.conf")).arg("--port").arg(port.to_string()).args(["--cores", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it was installed");
    await_condition("the node answers PING", 30, || {
        Connection::tcp(("127.0.0.1", port))
            .is_ok_and(|mut node| node.try_send(b"PING\r\n").is_ok() && node.try_reply().is_ok())
    });
    child.kill().expect("our child");
    child.wait().expect("our child");
}

/// What systemd says of the unit.
fn verify(place: &Place) {
    let unit = place.0.join("usr/lib/systemd/system/slotmesh.service");
    let output = match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit).output() {
        Ok(output) => output,
        Err(error) => return eprintln!("SKIPPED: systemd-analyze cannot be run ({error})"),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Other units of this machine are not ours to judge.
    let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("slotmesh")).collect();
    assert!(output.status.success() && of_ours.is_empty(), "{said}");
}

#[test]
fn packages_install_below_their_own_root() {
    let place = Place::new();
    if install(&[format!("DESTDIR={}", place.0.display()), "PREFIX=/usr".to_owned()]).is_none() {
        return;
    }
    assert!(place.0.join("usr/bin/slotmesh").exists() && place.0.join("etc/slotmesh/slotmesh.conf").exists());
    let unit = place.text("usr/lib/systemd/system/slotmesh.service");
    assert!(unit.contains("\nExecStart=/usr/bin/slotmesh /etc/slotmesh/slotmesh.conf "), "{unit}");
}
