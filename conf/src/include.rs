//! Which files a pattern of `include` names, as glob(3) has it (Redis 7.2 `config.c` `loadServerConfig`): `*`, `?`,
//! `[a-z]`, `[!a]` and `\` within each part of the path, letters in their case; a name that begins with a dot is
//! only matched by a dot; the paths come sorted by their bytes; none is no error.

use std::path::{Path, PathBuf};

/// Most paths that may be followed at any part of a pattern. At the bound: the rest is left out, and the files that are
/// read are bounded anyway.
const PATHS_MAX: usize = 10_000;

/// Whether a path is a pattern.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The paths that fit the pattern, sorted. `names` gives the names in a folder, in any order; none if it is no folder.
pub(crate) fn expand(pattern: &str, names: &dyn Fn(&Path) -> Vec<String>) -> Vec<String> {
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut paths = vec![root.to_owned()];
    let mut may_be_missing = false;
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        may_be_missing |= is_pattern(part);
        let mut next = Vec::new();
        for path in &paths {
            let join = |name: &str| match path.as_str() {
                "" | "/" => format!("{path}{name}"),
                _ => format!("{path}/{name}"),
            };
            if !may_be_missing || part == "." || part == ".." {
                next.push(join(&unescaped(part)));
                continue;
            }
            let folder = if path.is_empty() { PathBuf::from(".") } else { PathBuf::from(path) };
            next.extend(names(&folder).iter().filter(|name| fits(part, name)).map(|name| join(name)));
        }
        next.truncate(PATHS_MAX);
        paths = next;
    }
    paths.sort();
    paths
}

fn unescaped(part: &str) -> String {
    let mut text = String::new();
    let mut letters = part.chars();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    text
}

/// Whether a name fits one part of a pattern. Takes at most the product of their lengths in steps.
fn fits(part: &str, name: &str) -> bool {
    if name.starts_with('.') && !part.starts_with('.') && !part.starts_with("\\.") {
        return false;
    }
    let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // Where to go on when what follows the last star did not fit: the star takes one letter more.
    let mut retry = None;
    loop {
        if part.get(at) == Some(&'*') {
            at += 1;
            retry = Some((at, read));
            continue;
        }
        if at == part.len() && read == name.len() {
            return true;
        }
        if let Some(next) = name.get(read).and_then(|&letter| one(&part, at, letter)) {
            (at, read) = (next, read + 1);
            continue;
        }
        match retry {
            Some((behind_star, from)) if from < name.len() => {
                retry = Some((behind_star, from + 1));
                (at, read) = (behind_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one letter with the element at `at`; gives where the next element begins.
fn one(part: &[char], at: usize, letter: char) -> Option<usize> {
    match *part.get(at)? {
        '?' => Some(at + 1),
        '[' => match class(part, at + 1, letter) {
            Some((is_in, next)) => is_in.then_some(next),
            // Without its end it is a letter like others.
            None => (letter == '[').then_some(at + 1),
        },
        '\\' if at + 1 < part.len() => (part[at + 1] == letter).then_some(at + 2),
        other => (other == letter).then_some(at + 1),
    }
}

/// Whether a letter is in the class whose inside begins at `at`, and where the class ends; nothing if it does not end.
fn class(part: &[char], mut at: usize, letter: char) -> Option<(bool, usize)> {
    let is_negated = matches!(part.get(at), Some('!' | '^'));
    at += usize::from(is_negated);
    let first = at;
    let mut is_in = false;
    loop {
        match part.get(at..)? {
            [']', ..] if at > first => return Some((is_in != is_negated, at + 1)),
            [from, '-', to, ..] if *to != ']' => {
                is_in |= (*from..=*to).contains(&letter);
                at += 3;
            }
            ['\\', escaped, ..] => {
                is_in |= *escaped == letter;
                at += 2;
            }
            [other, ..] => {
                is_in |= *other == letter;
                at += 1;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{expand, fits};
    use std::path::Path;

    #[test]
    fn names_fit_patterns_as_in_a_shell() {
        let cases = [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*", "", true),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("?.conf", "a.conf", true),
            ("?", ".", false),
            ("A*", "ab", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("ä?", "äö", true),
        ];
        for (part, name, expected) in cases {
            assert_eq!(fits(part, name), expected, "{part} {name}");
        }
    }

    #[test]
    fn paths_are_sorted_and_each_part_may_be_a_pattern() {
        let names = |folder: &Path| -> Vec<String> {
            let names: &[&str] = match folder.to_str().unwrap() {
                "." => &["c.conf", "conf.d", "a.conf", ".hidden.conf"],
                "conf.d" | "./conf.d" | "/etc/x/conf.d" => &["20-b.conf", "10-a.conf", "100.conf", "read.me"],
                "/etc/x" => &["conf.d", "conf.e"],
                "/etc/x/conf.e" => &["10-a.conf"],
                _ => &[],
            };
            names.iter().map(|&name| name.to_owned()).collect()
        };
        let paths = |pattern| expand(pattern, &names);
        assert_eq!(paths("*.conf"), ["a.conf", "c.conf"]);
        assert_eq!(paths("conf.d/*.conf"), ["conf.d/10-a.conf", "conf.d/100.conf", "conf.d/20-b.conf"]);
        assert_eq!(paths("./conf.d//1?-*"), ["./conf.d/10-a.conf"]);
        assert_eq!(paths("/etc/x/conf.?/10-a.conf"), ["/etc/x/conf.d/10-a.conf", "/etc/x/conf.e/10-a.conf"]);
        assert!(paths("*.none").is_empty());
        assert!(paths("none/*").is_empty());
    }
}
