//! Words of a line, with Redis's quoting (reference: `sdssplitargs` and `sdscatrepr` in `sds.c`).

/// Splits a line into its words.
///
/// Double quotes know `\n \r \t \b \a`, `\xHH` and `\` before any other character; single quotes know `\'`
/// only; a closing quote must end the word. `None` stands for unbalanced quotes.
pub(crate) fn split(line: &str) -> Option<Vec<Vec<u8>>> {
    let bytes = line.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while at < bytes.len() && is_space(bytes[at]) {
            at += 1;
        }
        if at == bytes.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        at = word_at(bytes, at, &mut word)?;
        words.push(word);
    }
}

/// As [`split`], for text only: a word that is not UTF-8 gives `Err`.
pub(crate) fn split_text(line: &str) -> Option<Result<Vec<String>, std::string::FromUtf8Error>> {
    Some(split(line)?.into_iter().map(String::from_utf8).collect())
}

/// Writes `word` so that [`split`] reads it back as one word.
pub(crate) fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    let comment = word.starts_with('#');
    if !word.is_empty() && !comment && word.bytes().all(plain) {
        return word.to_owned();
    }
    quote_always(word)
}

/// As [`quote`], in quotes also where none are needed.
pub(crate) fn quote_always(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for letter in word.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Reads the word that starts at `at`; gives the position after it.
fn word_at(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\n' | b'\r' | b'\t' => return Some(at + 1),
            b'"' => return ends_word(bytes, double_quoted(bytes, at + 1, word)?),
            b'\'' => return ends_word(bytes, single_quoted(bytes, at + 1, word)?),
            byte => word.push(byte),
        }
        at += 1;
    }
    Some(at)
}

/// A closing quote must be followed by a blank or by nothing.
fn ends_word(bytes: &[u8], after_quote: usize) -> Option<usize> {
    match bytes.get(after_quote) {
        None => Some(after_quote),
        Some(&byte) if is_space(byte) => Some(after_quote),
        Some(_) => None,
    }
}

fn double_quoted(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'"', _) => return Some(at + 1),
            (b'\\', Some(&escaped)) => {
                if let Some(byte) = hexadecimal(bytes, at) {
                    word.push(byte);
                    at += 4;
                    continue;
                }
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            (&byte, _) => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

fn single_quoted(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', Some(b'\'')) => {
                word.push(b'\'');
                at += 2;
            }
            (b'\'', _) => return Some(at + 1),
            (&byte, _) => {
                word.push(byte);
                at += 1;
            }
        }
    }
}

/// The byte that `\xHH` at `at` stands for.
fn hexadecimal(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'\\', b'x', high, low] = *bytes.get(at..at + 4)? else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::{quote, split};

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split(line)?;
        Some(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
    }

    #[test]
    fn quoting_is_that_of_redis() {
        let cases: [(&str, Option<&[&str]>); 12] = [
            ("a  b\tc", Some(&["a", "b", "c"])),
            (r#"a "" b"#, Some(&["a", "", "b"])),
            (r#"a "b c\n\x41\"""#, Some(&["a", "b c\nA\""])),
            (r"a 'b \n \' c'", Some(&["a", r"b \n ' c"])),
            (r#"a "b"c"#, None),
            (r#"a "b"#, None),
            ("a 'b", None),
            (r#"a "b\"#, None),
            (r#"a b"c d""#, Some(&["a", "bc d"])),
            (r#"a "\q\xZZ""#, Some(&["a", "qxZZ"])),
            ("   ", Some(&[])),
            ("", Some(&[])),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|words| words.iter().map(ToString::to_string).collect());
            assert_eq!(words(line), expected, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_quoted_word_is_read_back(word in "\\PC*|[\\x00-\\x7f]*") {
            proptest::prop_assert_eq!(words(&quote(&word)), Some(vec![word]));
        }
    }
}
