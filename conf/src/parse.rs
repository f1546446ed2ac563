//! From words to values: one function per [`Kind`], with Redis's bounds and reasons.

use crate::declaration::{Directive, Kind};
use crate::error::Reason;
use crate::title;
use crate::value::{OutputLimit, OutputLimits, SavePoint, Value};

/// The event classes that `A` stands for, in the order in which Redis prints them.
const ALL_EVENT_CLASSES: &str = "g$lshzxetd";

/// A host name must be shorter, in bytes (Redis: `NET_HOST_STR_LEN`). At the bound: refused.
const HOST_NAME_BYTES_MAX: usize = 256;

/// Reads the value of `directive` from the words after its name.
///
/// `before` is what the directive held: lines of `client-output-buffer-limit` set a class each and leave the
/// others alone.
pub(crate) fn parse(directive: &Directive, words: &[String], before: Option<&Value>) -> Result<Value, Reason> {
    match directive.kind {
        Kind::Flags(names) => flags(words, names),
        Kind::Words { max } => addresses(words, max),
        Kind::SavePoints => save_points(words),
        Kind::OutputLimits => output_limits(words, before),
        Kind::Percentiles => percentiles(words),
        Kind::OomScores => oom_scores(words),
        Kind::Master => master(words),
        Kind::Opaque => Ok(Value::Words(words.to_vec())),
        _ => match words {
            [word] => one_word(directive, word),
            _ => Err(Reason::WrongNumberOfArguments),
        },
    }
}

/// CPUs named by a list as `0-7:2,9` (`:2` = every second one), in rising order, each once.
///
/// Reference: `setcpuaffinity` in `setcpuaffinity.c`. Redis ignores a list that it cannot read; we refuse it.
pub(crate) fn cpu_list(text: &str) -> Result<Vec<usize>, Reason> {
    /// Highest CPU that a list may name: `CPU_SETSIZE` of the C library, less one.
    const CPU_MAX: usize = 1023;
    let number = |digits: &str| match decimal(digits).map(usize::try_from) {
        Some(Ok(cpu)) if cpu <= CPU_MAX => Ok(cpu),
        _ => Err(Reason::NotCpuList),
    };
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (range, stride) = part.split_once(':').unwrap_or((part, "1"));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to, stride) = (number(from)?, number(to)?, number(stride)?);
        if from > to || stride == 0 {
            return Err(Reason::NotCpuList);
        }
        cpus.extend((from..=to).step_by(stride));
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

fn one_word(directive: &Directive, word: &str) -> Result<Value, Reason> {
    match directive.kind {
        Kind::Boolean => boolean(word),
        Kind::Integer { min, max } => integer(word, min, max, directive.clamp),
        Kind::Memory { min, max } => memory_within(word, min, max, directive.clamp),
        Kind::HostName => host_name(word),
        Kind::MemoryOrPercent => memory_or_percent(word),
        Kind::Octal { max } => octal(word, max),
        Kind::Choice(names) => Ok(Value::Choice(one_of(word, names)?)),
        Kind::FileName { empty } => file_name(directive.name, word, empty),
        Kind::Template if !title::is_valid(word) => Err(Reason::BadTemplate),
        Kind::CpuList => cpu_list(word).map(|_| Value::Text(word.to_owned())),
        Kind::KeyspaceEvents => keyspace_events(word),
        _ => Ok(Value::Text(word.to_owned())),
    }
}

fn boolean(word: &str) -> Result<Value, Reason> {
    if word.eq_ignore_ascii_case("yes") {
        Ok(Value::Boolean(true))
    } else if word.eq_ignore_ascii_case("no") {
        Ok(Value::Boolean(false))
    } else {
        Err(Reason::NotBoolean)
    }
}

fn integer(word: &str, min: i64, max: i64, clamp: Option<(i64, i64)>) -> Result<Value, Reason> {
    let number = decimal(word).ok_or(Reason::NotInteger)?;
    if !(min..=max).contains(&number) {
        return Err(Reason::OutOfBounds { min: min.into(), max: max.into() });
    }
    Ok(Value::Integer(clamp.map_or(number, |(low, high)| number.clamp(low, high))))
}

fn memory_within(word: &str, min: u64, max: u64, clamp: Option<(i64, i64)>) -> Result<Value, Reason> {
    let bytes = memory(word).ok_or(Reason::NotMemory)?;
    if !(min..=max).contains(&bytes) {
        return Err(Reason::OutOfBounds { min: min.into(), max: max.into() });
    }
    let clamped = clamp.map_or(bytes, |(low, high)| bytes.clamp(low.unsigned_abs(), high.unsigned_abs()));
    Ok(Value::Memory(clamped))
}

/// Reference: `isValidAnnouncedHostname`.
fn host_name(word: &str) -> Result<Value, Reason> {
    if word.len() >= HOST_NAME_BYTES_MAX {
        return Err(Reason::HostNameTooLong);
    }
    if !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Err(Reason::BadHostName);
    }
    Ok(Value::Text(word.to_owned()))
}

fn memory_or_percent(word: &str) -> Result<Value, Reason> {
    const BYTES_MAX: u64 = i64::MAX.unsigned_abs();
    if let Some(percent) = word.strip_suffix('%') {
        let percent = decimal(percent).and_then(|number| u64::try_from(number).ok());
        return match percent {
            None => Err(Reason::NotMemoryOrPercent),
            // As in Redis, where a percentage is stored as a negative number.
            Some(0) => Ok(Value::Memory(0)),
            Some(percent) if percent <= 100 => Ok(Value::Percent(percent)),
            Some(_) => Err(Reason::PercentTooLarge),
        };
    }
    match memory(word).ok_or(Reason::NotMemoryOrPercent)? {
        bytes if bytes <= BYTES_MAX => Ok(Value::Memory(bytes)),
        _ => Err(Reason::OutOfBounds { min: -100, max: BYTES_MAX.into() }),
    }
}

fn octal(word: &str, max: u32) -> Result<Value, Reason> {
    let mode = i64::from_str_radix(word, 8).map_err(|_| Reason::NotOctal)?;
    match u32::try_from(mode) {
        Ok(mode) if mode <= max => Ok(Value::Octal(mode)),
        _ => Err(Reason::OctalOutOfBounds { max }),
    }
}

fn one_of(word: &str, names: &'static [&'static str]) -> Result<&'static str, Reason> {
    let found = names.iter().find(|name| name.eq_ignore_ascii_case(word));
    found.copied().ok_or(Reason::NotOneOf(names))
}

/// Reference: `pathIsBaseName` in `util.c`.
fn file_name(directive: &'static str, word: &str, empty: bool) -> Result<Value, Reason> {
    if word.is_empty() && !empty {
        return Err(Reason::EmptyFileName(directive));
    }
    if word.contains(['/', '\\']) {
        return Err(Reason::NotAFileName(directive));
    }
    Ok(Value::Text(word.to_owned()))
}

/// Prints the letters back in Redis's order (reference: `keyspaceEventsFlagsToString` in `notify.c`).
fn keyspace_events(word: &str) -> Result<Value, Reason> {
    if !word.chars().all(|class| "AgKEmn$lshzxetd".contains(class)) {
        return Err(Reason::BadEventClass);
    }
    let has = |class: char| word.contains(class);
    let all = has('A') || ALL_EVENT_CLASSES.chars().all(has);
    let order = if all { "AKEm".to_owned() } else { format!("{ALL_EVENT_CLASSES}nKEm") };
    let letters = order.chars().filter(|&class| has(class) || (all && class == 'A'));
    Ok(Value::Text(letters.collect()))
}

/// Words of a list, in the order of the list. The first name of the list means "none of the others".
fn flags(words: &[String], names: &'static [&'static str]) -> Result<Value, Reason> {
    let given = words.iter().map(|word| one_of(word, names)).collect::<Result<Vec<_>, _>>()?;
    if given.is_empty() {
        return Err(Reason::NotOneOf(names));
    }
    if given.contains(&"save") && given.contains(&"nosave") {
        return Err(Reason::SaveAndNoSave);
    }
    let mut held: Vec<String> =
        names[1..].iter().filter(|name| given.contains(name)).map(ToString::to_string).collect();
    if held.is_empty() {
        held.push(names[0].to_owned());
    }
    Ok(Value::Words(held))
}

fn addresses(words: &[String], max: usize) -> Result<Value, Reason> {
    if words.len() > max {
        return Err(Reason::TooManyAddresses);
    }
    let none = matches!(words, [word] if word.is_empty());
    Ok(Value::Words(if none { Vec::new() } else { words.to_vec() }))
}

fn save_points(words: &[String]) -> Result<Value, Reason> {
    if matches!(words, [word] if word.is_empty()) {
        return Ok(Value::SavePoints(Vec::new()));
    }
    let point = |pair: &[String]| match pair {
        [seconds, changes] => {
            let (seconds, changes) = (seconds.parse().ok()?, changes.parse().ok()?);
            (seconds >= 1 && changes >= 0).then_some(SavePoint { seconds, changes })
        }
        _ => None,
    };
    let points = words.chunks(2).map(point).collect::<Option<Vec<_>>>();
    points.map(Value::SavePoints).ok_or(Reason::BadSavePoints)
}

fn output_limits(words: &[String], before: Option<&Value>) -> Result<Value, Reason> {
    let mut limits = match before {
        Some(Value::OutputLimits(limits)) => *limits,
        _ => OutputLimits::NONE,
    };
    for group in words.chunks(4) {
        let [class, hard, soft, seconds] = group else {
            return Err(Reason::OutputLimitWords);
        };
        let limit = match class.to_ascii_lowercase().as_str() {
            "normal" => &mut limits.normal,
            "slave" | "replica" => &mut limits.replica,
            "pubsub" => &mut limits.pubsub,
            _ => return Err(Reason::OutputLimitClass),
        };
        let read = || {
            let (hard_bytes, soft_bytes) = (memory(hard)?, memory(soft)?);
            Some(OutputLimit { hard_bytes, soft_bytes, soft_seconds: seconds.parse().ok()? })
        };
        *limit = read().ok_or(Reason::OutputLimitNumber)?;
    }
    Ok(Value::OutputLimits(limits))
}

fn percentiles(words: &[String]) -> Result<Value, Reason> {
    if matches!(words, [word] if word.is_empty()) {
        return Ok(Value::Words(Vec::new()));
    }
    let print = |word: &String| {
        let percentile: f64 = word.parse().map_err(|_| Reason::NotPercentiles)?;
        if percentile.is_nan() {
            return Err(Reason::NotPercentiles);
        }
        if !(0.0..=100.0).contains(&percentile) {
            return Err(Reason::PercentilesOutOfBounds);
        }
        let printed = format!("{percentile:.6}");
        Ok(printed.trim_end_matches('0').trim_end_matches('.').to_owned())
    };
    Ok(Value::Words(words.iter().map(print).collect::<Result<_, _>>()?))
}

fn oom_scores(words: &[String]) -> Result<Value, Reason> {
    if words.len() != 3 {
        return Err(Reason::WrongNumberOfArguments);
    }
    let print = |word: &String| match word.parse::<i32>() {
        Ok(score) if (-2000..=2000).contains(&score) => Ok(score.to_string()),
        _ => Err(Reason::BadOomScores),
    };
    Ok(Value::Words(words.iter().map(print).collect::<Result<_, _>>()?))
}

fn master(words: &[String]) -> Result<Value, Reason> {
    match words {
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => Ok(Value::Words(Vec::new())),
        [_, port] if port.parse::<u16>().is_ok() => Ok(Value::Words(words.to_vec())),
        [_, _] => Err(Reason::BadMasterPort),
        _ => Err(Reason::WrongNumberOfArguments),
    }
}

/// A number in the one way Redis writes it: no sign but `-`, no leading zeros or blanks
/// (reference: `string2ll` in `util.c`).
fn decimal(word: &str) -> Option<i64> {
    let number: i64 = word.parse().ok()?;
    (number.to_string() == word).then_some(number)
}

/// Bytes with a unit in any case (reference: `memtoull` in `util.c`, which takes no digits for 0, and more
/// digits than fit for the greatest number). Where Redis wraps around when it multiplies, we refuse.
fn memory(word: &str) -> Option<u64> {
    let unit_at = word.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(word.len());
    let (digits, unit) = word.split_at(unit_at);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1_000_000,
        "mb" => 1024 * 1024,
        "g" => 1_000_000_000,
        "gb" => 1024 * 1024 * 1024,
        _ => return None,
    };
    let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{cpu_list, decimal, keyspace_events, memory};
    use crate::value::Value;

    #[test]
    fn memory_units_are_those_of_redis() {
        let cases = [
            ("0", Some(0)),
            ("100", Some(100)),
            ("7b", Some(7)),
            ("1k", Some(1000)),
            ("1kb", Some(1024)),
            ("2M", Some(2_000_000)),
            ("2mB", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("1Gb", Some(1 << 30)),
            ("-1", None),
            ("1t", None),
            ("1 kb", None),
            ("kb", Some(0)),
            ("", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("18446744073709551616kb", None),
            ("17179869184gb", None),
        ];
        for (word, expected) in cases {
            assert_eq!(memory(word), expected, "{word}");
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(decimal("-12"), Some(-12));
        for word in ["+1", "01", "-0", " 1", "1 ", "", "abc", "9223372036854775808"] {
            assert_eq!(decimal(word), None, "{word}");
        }
    }

    #[test]
    fn cpu_lists_know_ranges_and_strides() {
        assert_eq!(cpu_list("0-7:2,9").unwrap(), [0, 2, 4, 6, 9]);
        assert_eq!(cpu_list("3,1,1-2").unwrap(), [1, 2, 3]);
        assert_eq!(cpu_list("").unwrap(), [0; 0]);
        for text in ["a", "2-1", "0-3:0", "1-", "-1", "0-1024", "0x1"] {
            assert!(cpu_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn event_classes_print_in_the_order_of_redis() {
        for (word, printed) in [("Elg", "glE"), ("KA", "AK"), ("g$lshzxetd", "A"), ("", "")] {
            assert_eq!(keyspace_events(word), Ok(Value::Text(printed.to_owned())), "{word}");
        }
        assert!(keyspace_events("q").is_err());
    }
}
