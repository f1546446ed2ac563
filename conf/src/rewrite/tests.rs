use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{RewriteError, render, rewrite};
use crate::command_line::{CommandLine, Invocation};
use crate::declaration::{Kind, Standing};
use crate::directive;
use crate::load::{Reader, load};
use crate::settings::Settings;

fn read(text: String) -> Settings {
    let reader: Reader = Arc::new(move |_: &Path| Ok(text.clone()));
    let Ok(Invocation::Serve(line)) = Invocation::parse(["a.conf".into()]) else {
        panic!("a file alone is a run");
    };
    let _: &CommandLine = &line;
    load(&line, [], &reader).unwrap().settings
}

/// To bring the file up to date: `SLOTMESH_WRITE_CONF=1 cargo test -p slotmesh-conf`.
#[test]
fn the_shipped_file_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/slotmesh.conf");
    let text = render(&Settings::default());
    if std::env::var_os("SLOTMESH_WRITE_CONF").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text);
    assert_eq!(read(text), Settings::default());
}

/// A value that a directive of this kind takes, in the syntax of CONFIG SET.
fn text_of(kind: Kind) -> BoxedStrategy<String> {
    let word = "[^\\x00 ]{0,12}";
    match kind {
        Kind::Boolean => prop_oneof!["yes", "no"].boxed(),
        Kind::Integer { min, max } => (min..=max).prop_map(|number| number.to_string()).boxed(),
        Kind::Memory { min, max } => (min..=max).prop_map(|bytes| bytes.to_string()).boxed(),
        Kind::MemoryOrPercent => prop_oneof!["[0-9]{1,12}", "[1-9][0-9]%"].boxed(),
        Kind::Octal { max } => (0..=max).prop_map(|mode| format!("{mode:o}")).boxed(),
        Kind::Choice(names) | Kind::Flags(names) => proptest::sample::select(names).prop_map(str::to_owned).boxed(),
        Kind::Text => "\\PC{0,12}|[\\x01-\\x7f]{0,12}".boxed(),
        Kind::Template => "[a-z]{1,3}[{]title[}] ?[{][{]".boxed(),
        Kind::FileName { .. } => "[^/\\\\\\x00]{1,12}".boxed(),
        Kind::HostName => "[a-zA-Z0-9.-]{0,12}".boxed(),
        Kind::CpuList => prop_oneof!["", "[0-9],1[0-9]-2[0-9]:[1-9]"].boxed(),
        Kind::Words { .. } => proptest::collection::vec(word, 0..5)
            .prop_map(|words| words.join(" "))
            .prop_filter("one quoted word is split again", |text| {
                text.contains(' ') || !text.contains(['"', '\'', '\\', '\t', '\n', '\r'])
            })
            .prop_filter("blanks inside of a lone word", |text| {
                text.contains(' ') || !text.contains(char::is_whitespace)
            })
            .boxed(),
        Kind::SavePoints => prop_oneof!["", "([1-9][0-9]{0,5} [0-9]{1,5} ){0,3}1 1"].boxed(),
        Kind::OutputLimits => "(normal|slave|replica|pubsub) [0-9]{1,9}k?b? [0-9]{1,9} [0-9]{1,5}".boxed(),
        Kind::Percentiles => prop_oneof!["", "[0-9]{2}\\.[0-9]{1,5} 100"].boxed(),
        Kind::OomScores => "-?[0-9]{1,3} [0-9]{1,3} 1[0-9]{1,3}".boxed(),
        Kind::KeyspaceEvents => "[AgKEmn$lshzxetd]{0,8}".boxed(),
        // A master does not go with `cluster-enabled`.
        Kind::Master => Just("no one".to_owned()).boxed(),
        Kind::Opaque => Just(String::new()).boxed(),
    }
}

/// Any settings that can be reached, each directive left alone or set.
fn settings() -> impl Strategy<Value = Settings> {
    let rows: Vec<usize> = (0..directive::TABLE.len())
        .filter(|&index| {
            let standing = directive::TABLE[index].standing;
            matches!(standing, Standing::Used | Standing::Unused)
        })
        .filter(|&index| !["cores", "shards"].contains(&directive::TABLE[index].name))
        .collect();
    let texts: Vec<_> = rows.iter().map(|&index| proptest::option::of(text_of(directive::TABLE[index].kind))).collect();
    texts.prop_map(move |texts| {
        let mut settings = Settings::default();
        for (&index, text) in rows.iter().zip(texts) {
            let row = &directive::TABLE[index];
            if let Some(text) = text {
                let value = crate::settings::read_one(row, text.as_bytes(), settings.at(index));
                settings.put(index, value.unwrap_or_else(|error| panic!("{} {text:?}: {error}", row.name)));
            }
        }
        settings
    })
}

#[test]
fn a_file_keeps_its_comments_and_its_order() {
    let old = "# mine\n\n\nPORT  7000\n  hz 10\r\nport 7001\nslave-priority 9\nsave 1 2\nsave 3 4\n\
        # between\nclient-output-buffer-limit pubsub 1kb 1 1\nlogfile 'a b'\nappendonly yes\n\
        include other.conf\nnonsense 1\nhz \"x\ntimeout 3\n";
    let readable = old.replace("include other.conf\nnonsense 1\nhz \"x\n", "");
    let mut settings = read(readable);
    settings.set(&[("hz", "20"), ("save", "5 6"), ("maxmemory", "1gb"), ("timeout", "0")]).unwrap();
    let expected = "# mine\n\nport 7001\nhz 20\n\nreplica-priority 9\nsave 5 6\n\n# between\n\
        client-output-buffer-limit pubsub 1kb 1 1\nlogfile \"a b\"\nappendonly yes\ninclude other.conf\n\
        # ??? nonsense 1\n# ??? hz \"x\ntimeout 0\n# Generated by CONFIG REWRITE\n\
        maxmemory 1gb\n";
    let written = rewrite(&settings, old, false);
    assert_eq!(written.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>());
    // A second time nothing changes.
    assert_eq!(rewrite(&settings, &written, false), written);
}

#[test]
fn an_empty_file_gets_what_differs_or_everything() {
    let settings = Settings::default();
    assert_eq!(rewrite(&settings, "", false), "\n");
    let all = rewrite(&settings, "", true);
    assert!(all.contains("\nport 6379\n") && all.contains("\nsave 3600 1\nsave 300 100\nsave 60 10000\n"), "{all}");
    assert!(!all.contains("replicaof") && !all.contains("requirepass"), "{all}");
    assert_eq!(read(all), settings);
}

#[test]
fn failures_have_the_texts_of_redis() {
    let text = RewriteError::System(std::io::Error::from_raw_os_error(13)).to_string();
    assert_eq!(text, "Rewriting config file: Permission denied");
    assert_eq!(RewriteError::NoFile.to_string(), "The server is running without a config file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read_back(settings in settings()) {
        prop_assert_eq!(read(render(&settings)), settings);
    }

    #[test]
    fn what_is_rewritten_is_read_back(settings in settings(), before in settings(), force_all: bool) {
        let written = rewrite(&settings, &render(&before), force_all);
        prop_assert_eq!(read(written), settings);
    }

    #[test]
    fn no_old_file_panics(old in "\\PC*|(([a-z-]{1,10}|port|save|include|user) [\\x00-\\x7f]{0,20}\n){0,8}") {
        let written = rewrite(&Settings::default(), &old, false);
        prop_assert_eq!(rewrite(&Settings::default(), &written, false), written);
    }
}
