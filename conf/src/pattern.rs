//! Glob patterns for CONFIG GET: `*`, `?`, `[a-z]`, `[^a]` and `\`, letters in any case.
//! Reference: `stringmatchlen` in `util.c`.

/// Longest pattern that is matched, in bytes; no name is that long. At the bound: no match.
const PATTERN_BYTES_MAX: usize = 1024;

/// Whether the pattern holds a character that makes it more than a name.
pub(crate) fn is_glob(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Whether the whole of `name` matches `pattern`. Takes at most the product of their lengths in steps.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if pattern.len() > PATTERN_BYTES_MAX {
        return false;
    }
    let (mut at, mut read) = (0, 0);
    // Where to go on when what follows the last star did not fit: the star takes one letter more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            retry = Some((at + 1, read));
            at += 1;
            continue;
        }
        if read == name.len() && at >= pattern.len() {
            return true;
        }
        if let Some(next) = name.get(read).and_then(|&letter| one(pattern, at, letter)) {
            at = next;
            read += 1;
            continue;
        }
        match retry {
            Some((after_star, from)) if from < name.len() => {
                retry = Some((after_star, from + 1));
                at = after_star;
                read = from + 1;
            }
            _ => return false,
        }
    }
}

/// Matches one letter with the element at `at`; gives where the next element begins.
fn one(pattern: &[u8], at: usize, letter: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, letter),
        b'\\' if at + 1 < pattern.len() => same(pattern[at + 1], letter).then_some(at + 2),
        byte => same(byte, letter).then_some(at + 1),
    }
}

/// Matches one letter with the class whose inside begins at `at`. A class without its end goes to the end.
fn class(pattern: &[u8], mut at: usize, letter: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let letter = letter.to_ascii_lowercase();
    let mut found = false;
    while at < pattern.len() && pattern[at] != b']' {
        match &pattern[at..] {
            [b'\\', escaped, ..] => {
                found |= same(*escaped, letter);
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
                found |= (from.min(to)..=from.max(to)).contains(&letter);
                at += 3;
            }
            [byte, ..] => {
                found |= same(*byte, letter);
                at += 1;
            }
            [] => break,
        }
    }
    (found != negated).then_some((at + 1).min(pattern.len()))
}

fn same(left: u8, right: u8) -> bool {
    left.eq_ignore_ascii_case(&right)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_redis_matches() {
        let cases: [(&str, &str, bool); 15] = [
            ("*", "port", true),
            ("*", "", true),
            ("p?rt", "port", true),
            ("p?rt", "prt", false),
            ("*max*", "client-max-x", true),
            ("*max", "maxmax", true),
            ("*ab", "aab", true),
            ("MAX*", "maxclients", true),
            ("[a-p]ort", "port", true),
            ("[^p]ort", "port", false),
            ("[z-a]ort", "port", true),
            ("po\\rt", "port", true),
            ("port*x", "port", false),
            ("[port", "p", true),
            ("", "port", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
