//! The system's log: datagrams to `/dev/log`, in the form that `syslog(3)` sends.

use slotmesh_conf::LogLevel;
use std::fmt::Arguments;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where the system's log listens.
const SOCKET: &str = "/dev/log";
/// Facilities by the words of `syslog-facility`: `user` is 1, `local0` is 16.
const USER: u8 = 1;
const LOCAL0: u8 = 16;

/// A way to the system's log. Who does not take a line at once does not get it: nobody waits for a log.
#[derive(Debug)]
pub(super) struct Syslog {
    socket: Option<UnixDatagram>,
    path: PathBuf,
    ident: String,
    facility: u8,
}

impl Syslog {
    /// `facility` is a word of the directive.
    pub(super) fn new(ident: &str, facility: &str) -> Self {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        let local = facility.strip_prefix("local").and_then(|number| number.parse::<u8>().ok());
        let facility = local.map_or(USER, |number| LOCAL0 + number);
        Self { socket, path: PathBuf::from(SOCKET), ident: ident.to_owned(), facility }
    }

    /// Sends a line. `time` begins as those of the log do: `24 Nov 2026 11:21:18.042`.
    pub(super) fn send(&self, level: LogLevel, time: &str, text: Arguments<'_>) {
        let Some(socket) = &self.socket else { return };
        let mut words = time.split([' ', '.']);
        let (day, month) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let clock = words.nth(1).unwrap_or_default();
        let day = day.trim_start_matches('0');
        let priority = self.facility * 8 + severity(level);
        let (ident, pid) = (&self.ident, std::process::id());
        let line = format!("<{priority}>{month} {day:>2} {clock} {ident}[{pid}]: {text}");
        let _ = socket.send_to(line.as_bytes(), &self.path);
    }
}

/// As Redis maps its levels.
fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Debug => 7,
        LogLevel::Verbose => 6,
        LogLevel::Notice => 5,
        LogLevel::Warning | LogLevel::Nothing => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_as_syslog_writes_them() {
        let path = std::env::temp_dir().join(format!("slotmesh-syslog-{}", std::process::id()));
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new("redis", "local3");
        syslog.path = path.clone();
        syslog.send(LogLevel::Warning, "04 Nov 2026 11:21:18.042", format_args!("hello {}", 1));
        let mut bytes = [0; 100];
        let length = receiver.recv(&mut bytes).unwrap();
        std::fs::remove_file(path).unwrap();
        let expected = format!("<156>Nov  4 11:21:18 redis[{}]: hello 1", std::process::id());
        assert_eq!(String::from_utf8_lossy(&bytes[..length]), expected);
        assert_eq!(Syslog::new("", "user").facility, 1);
    }
}
