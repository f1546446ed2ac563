//! What the process shows of itself to an operator: the pid file, the logo, and where it met a bug.

use crate::log::Log;
use slotmesh_conf::{Settings, directive, title};
use slotmesh_io::set_process_title;
use std::backtrace::Backtrace;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

/// The file of a process in the background that was not told of another.
const DEFAULT_PID_FILE: &str = "/var/run/slotmesh.pid";

/// Writes the process id where the settings want it; the file's path, if it was written.
pub(crate) fn write_pid_file(settings: &Settings, in_background: bool, log: &Log) -> Option<PathBuf> {
    let path = match settings.value(directive::PIDFILE) {
        "" if in_background => DEFAULT_PID_FILE,
        "" => return None,
        path => path,
    };
    match std::fs::write(path, format!("{}\n", std::process::id())) {
        // Whole, because the directory may change under CONFIG SET.
        Ok(()) => std::path::absolute(path).ok(),
        Err(error) => {
            log.warning(format_args!("Failed to write PID file: {error}"));
            None
        }
    }
}

/// Names the process as the template says; where the kernel does not let us, it keeps the name that it has.
pub(crate) fn set_title(settings: &Settings, config_file: &str, log: &Log) {
    if !settings.value(directive::SET_PROC_TITLE) {
        return;
    }
    let port = settings.value(directive::PORT);
    let socket = settings.value(directive::UNIXSOCKET);
    let value = |name: &str| {
        Some(match name {
            "title" => std::env::args().next().unwrap_or_default(),
            "listen-addr" if port == 0 => format!("unixsocket:{socket}"),
            "listen-addr" => {
                let first = settings.value(directive::BIND).first();
                format!("{}:{port}", first.map_or("*", String::as_str))
            }
            "server-mode" if settings.value(directive::CLUSTER_ENABLED) => "[cluster]".to_owned(),
            "server-mode" => String::new(),
            "config-file" if config_file.is_empty() => "-".to_owned(),
            "config-file" => config_file.to_owned(),
            "port" => port.to_string(),
            "tls-port" => "0".to_owned(),
            "unixsocket" => socket.to_owned(),
            _ => return None,
        })
    };
    let title = title::expand(settings.value(directive::PROC_TITLE_TEMPLATE), value);
    if let Some(Err(error)) = title.map(|title| set_process_title(&title)) {
        log.verbose(format_args!("The process cannot be named: {error}"));
    }
}

/// A logo for who reads the log at a terminal, a line for everybody else.
pub(crate) fn show_logo(settings: &Settings, log: &Log) {
    let mode = if settings.value(directive::CLUSTER_ENABLED) { "cluster" } else { "standalone" };
    let port = settings.value(directive::PORT);
    let at_terminal = log.is_standard_output() && io::stdout().is_terminal();
    if !at_terminal && !settings.value(directive::ALWAYS_SHOW_LOGO) {
        return log.notice(format_args!("Running mode={mode}, port={port}."));
    }
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    log.raw(&format!(
        "\n   o--O--o   slotmesh {version}, 64 bit\n   |\\ | /|   Running in {mode} mode\n   O--o--O   Port: {port}\n   |/ | \\|   PID: {pid}\n   o--O--o\n\n"
    ));
}

/// Tells the log of a bug where it was met, before anything else is done about it.
pub(crate) fn log_panics(log: Arc<Log>, wants_trace: impl Fn() -> bool + Send + Sync + 'static) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
        let place = panic.location().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
        let thread = std::thread::current();
        log.warning(format_args!("BUG met by {} at {place}: {text}", thread.name().unwrap_or("unnamed")));
        if wants_trace() {
            log.raw(&format!("{}\n", Backtrace::force_capture()));
        }
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_logged_with_its_place() {
        let path = std::env::temp_dir().join(format!("slotmesh-bug-{}", std::process::id()));
        log_panics(Arc::new(Log::to_file(&path)), || true);
        let thread = std::thread::Builder::new().name("core-7".to_owned());
        let ended = thread.spawn(|| panic!("as a {} would", "bug")).unwrap().join();
        // Other tests panic as well.
        drop(std::panic::take_hook());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(ended.is_err());
        let line =
            text.lines().find(|line| line.contains(" # BUG met by core-7 at ")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("presence.rs:") && line.ends_with(": as a bug would"), "{line}");
        assert!(text.contains("a_bug_is_logged_with_its_place"), "no trace: {text}");
    }
}
