//! Glob patterns of KEYS, SCAN and CONFIG GET: `*`, `?`, `[classes]`, `\escapes`, over bytes.
//!
//! Mirrors Redis 7.2 `util.c` `stringmatchlen` in what it matches. The way is another: instead of trying the rest
//! of the pattern recursively, only the last `*` is remembered. When something behind it does not fit, it takes
//! one byte more and the rest is tried again; an earlier `*` need never take more, since whatever it could reach
//! then, the later one reaches as well. So the cost is bounded by pattern × text, without recursion. Redis bounds
//! the depth of its recursion, so that a pattern of too many stars fits nothing; its bound is kept.

use slotmesh_base::limits::PATTERN_STARS_MAX;

/// Whether `text` as a whole fits `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    fits::<false>(pattern, text)
}

/// Whether `text` as a whole fits `pattern`, ASCII letters compared without case.
pub fn matches_ignore_case(pattern: &[u8], text: &[u8]) -> bool {
    fits::<true>(pattern, text)
}

fn fits<const NOCASE: bool>(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // Not even a star matches nothing, as in Redis; KEYS and SCAN do not ask for a plain `*`.
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where the pattern goes on behind the last star, and where the text does after the bytes that it took.
    let mut star: Option<(usize, usize)> = None;
    let mut stars = 0;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += pattern[p..].iter().take_while(|&&byte| byte == b'*').count();
            stars += 1;
            if p == pattern.len() {
                return true;
            }
            if stars > PATTERN_STARS_MAX {
                return false;
            }
            star = Some((p, t));
        } else if let Some(width) = one::<NOCASE>(&pattern[p..], text[t]) {
            p += width;
            t += 1;
        } else if let Some((behind, taken)) = star {
            (p, t) = (behind, taken + 1);
            star = Some((behind, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Length of the pattern's first element if it fits `byte`.
fn one<const NOCASE: bool>(pattern: &[u8], byte: u8) -> Option<usize> {
    let (literal, width) = match *pattern {
        [] => return None,
        [b'?', ..] => return Some(1),
        [b'[', ref class @ ..] => return in_class::<NOCASE>(class, byte).map(|width| width + 1),
        [b'\\', escaped, ..] => (escaped, 2),
        [literal, ..] => (literal, 1),
    };
    same::<NOCASE>(literal, byte).then_some(width)
}

/// Length of a class without its opening bracket, if it holds `byte`. A class that is not closed ends with the
/// pattern. Escaped members are compared with case, as in Redis.
fn in_class<const NOCASE: bool>(class: &[u8], byte: u8) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut index = usize::from(negated);
    let mut found = false;
    loop {
        match class[index..] {
            [] => break,
            [b'\\', member, ..] => {
                found |= member == byte;
                index += 2;
            }
            [b']', ..] => {
                index += 1;
                break;
            }
            [from, b'-', to, ..] => {
                // As signed characters, as in Redis on all platforms where `char` is signed.
                let (from, to) = if (from as i8) <= to as i8 { (from, to) } else { (to, from) };
                let range = fold::<NOCASE>(from) as i8..=fold::<NOCASE>(to) as i8;
                found |= range.contains(&(fold::<NOCASE>(byte) as i8));
                index += 3;
            }
            [member, ..] => {
                found |= same::<NOCASE>(member, byte);
                index += 1;
            }
        }
    }
    (found != negated).then_some(index)
}

fn same<const NOCASE: bool>(a: u8, b: u8) -> bool {
    fold::<NOCASE>(a) == fold::<NOCASE>(b)
}

fn fold<const NOCASE: bool>(byte: u8) -> u8 {
    if NOCASE { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        // Each line agrees with KEYS of redis-server 7.0.15.
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("**", "", false),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*a", "", false),
            ("?", "", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hbllo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("a[]b", "ab", false),
            ("a[^]b", "axb", true),
            ("a[b", "ab", true),
            ("a[^b", "ac", true),
            ("a[", "ab", false),
            ("a[b-", "a-", true),
            ("[\\]]", "]", true),
            ("[\\-a]", "-", true),
            ("[a-]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("a\\?", "a?", true),
            ("*ab*cd*", "xxabyycdzz", true),
            ("*ab*cd", "abcdabce", false),
            ("*aab", "aaaaab", true),
            ("a*b*c", "abcbc", true),
            ("Hello", "hello", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} against {text}");
        }
    }

    #[test]
    fn ranges_count_bytes_beyond_ascii_as_negative() {
        assert!(!matches(b"[a-\xff]", b"\x80"));
        assert!(matches(b"[a-\xff]", b"A"));
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(matches_ignore_case(b"MAX[A-C]*", b"maxbmemory"));
        assert!(matches_ignore_case(b"[X]\\Y", b"xy"));
        assert!(!matches_ignore_case(b"[\\X]", b"x"), "escaped members keep their case");
    }

    #[test]
    fn too_many_stars_fit_nothing() {
        // KEYS of redis-server 7.0.15 answers likewise.
        let text = b"a".repeat(2 * PATTERN_STARS_MAX);
        let stars = |count: usize, behind: &[u8]| matches(&[&b"*?".repeat(count)[..], behind].concat(), &text);
        assert!(stars(PATTERN_STARS_MAX, b""));
        assert!(stars(PATTERN_STARS_MAX, b"*"), "the last star needs no depth");
        assert!(!stars(PATTERN_STARS_MAX, b"*a"));
        assert!(!stars(PATTERN_STARS_MAX + 1, b""));
        assert!(matches(&b"*".repeat(10 * PATTERN_STARS_MAX), &text), "neighbours count once");
        assert!(matches(&[&b"*".repeat(10 * PATTERN_STARS_MAX)[..], b"a"].concat(), &text));
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_pattern_times_text() {
        let pattern = [&b"*a".repeat(PATTERN_STARS_MAX)[..], b"b"].concat();
        let text = vec![b'a'; 20_000];
        assert!(!matches(&pattern, &text));
    }
}
