//! Any bytes as a configuration file, as included files, as a command line and as values of CONFIG SET: nothing panics;
//! an error is one line, with the file and the line of the file that it is about; what was read can be written into the
//! file again (CONFIG REWRITE), and the new text gives the same settings. The first byte chooses where the bytes go.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotmesh_conf::{Invocation, Loaded, Reader, Settings, load, rewrite};
use std::path::Path;
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text).into_owned();
    match choice % 3 {
        0 => read_file(text),
        1 => read_command_line(&text),
        _ => set(&text),
    }
});

fn read_file(text: String) {
    let Some(loaded) = read(&text) else { return };
    let again = rewrite::rewrite(&loaded.settings, &text, false);
    let reread = read(&again).unwrap_or_else(|| panic!("a rewritten file is refused: {again}"));
    assert!(reread.settings == loaded.settings, "other settings: {again}");
    assert_eq!(rewrite::rewrite(&reread.settings, &again, false), again);
}

/// A file that may include itself; nothing if it is refused.
fn read(text: &str) -> Option<Loaded> {
    let lines = text.split('\n').count();
    let text = text.to_owned();
    let reader: Reader = Arc::new(move |_: &Path| Ok(text.clone()));
    let Ok(Invocation::Serve(line)) = Invocation::parse(["a.conf".into()]) else {
        unreachable!("a file alone is a run");
    };
    match load(&line, [], &reader) {
        Ok(loaded) => Some(loaded),
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains(char::is_control), "more than a line: {told:?}");
            let place = told.split_once(": '").map(|(place, _)| place.to_owned()).expect("a place");
            let line = place.rsplit(':').next().and_then(|line| line.parse::<usize>().ok());
            assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "no line: {told}");
            None
        }
    }
}

fn read_command_line(text: &str) {
    let reader: Reader = Arc::new(|_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound)));
    if let Ok(Invocation::Serve(line) | Invocation::CheckConfig(line)) = Invocation::parse(text.split(' ').map(Into::into))
    {
        let _ = load(&line, [("SLOTMESH_BIND".into(), text.into())], &reader);
    }
}

/// Pairs of lines: names and values.
fn set(text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    let pairs: Vec<(&str, &str)> = lines.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let mut settings = Settings::default();
    if settings.set(&pairs).is_err() {
        assert!(settings == Settings::default(), "half of it was set");
    }
    let _ = settings.get(&lines);
}
