//! How long blocking commands wait, and what they answer when nothing came.

use crate::{Flags, NodeCommand, Reach, Spec, TimeoutAt};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_resp::{Args, Reply};

/// The timeout that an argument says in seconds, in ms; `None` is for ever (Redis 7.2 `timeout.c`
/// `getTimeoutFromObjectOrReply`: 0 is for ever, a part of a millisecond counts as a whole one).
///
/// # Errors
/// `TimeoutNotAFloat`, `TimeoutNegative`, and `TimeoutOutOfRange` if it would end beyond the last millisecond.
pub(crate) fn parse_timeout(text: &[u8], now: UnixMillis) -> Result<Option<u64>, ReplyError> {
    let seconds = parse_seconds(text).ok_or(ReplyError::TimeoutNotAFloat)?;
    let millis = (seconds * 1000.0).ceil();
    // What is beyond 64 bits becomes the largest.
    match millis as i64 {
        ..0 => Err(ReplyError::TimeoutNegative),
        0 => Ok(None),
        millis if millis > i64::MAX - now.0 => Err(ReplyError::TimeoutOutOfRange),
        millis => Ok(Some(millis.unsigned_abs())),
    }
}

/// Where a request that waits for keys says for how long, and what it says, in ms (`None`: for ever, or nothing that can be
/// read).
pub fn timeout_of(spec: &Spec, args: Args<'_>, now: UnixMillis) -> Option<(usize, Option<u64>)> {
    let index = match spec.timeout? {
        TimeoutAt::First => 1,
        TimeoutAt::Last => args.len() - 1,
    };
    Some((index, parse_timeout(args.find(index)?, now).ok().flatten()))
}

fn parse_seconds(text: &[u8]) -> Option<f64> {
    /// Redis: `MAX_LONG_DOUBLE_CHARS`.
    const BYTES_MAX: usize = 5 * 1024;
    let text = str::from_utf8(text).ok().filter(|text| text.len() < BYTES_MAX)?;
    if let Some(hexadecimal) = parse_hexadecimal(text) {
        return Some(hexadecimal);
    }
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| !seconds.is_nan())?;
    // Less than a double can tell from nothing, but not nothing.
    let mantissa = text.bytes().take_while(|byte| !byte.eq_ignore_ascii_case(&b'e'));
    let vanished = seconds == 0.0 && mantissa.into_iter().any(|byte| matches!(byte, b'1'..=b'9'));
    Some(if vanished { f64::MIN_POSITIVE.copysign(seconds) } else { seconds })
}

/// The number that `text` spells as C reads it in hexadecimal: a sign, `0x`, digits with a point, and a power of two
/// behind a `p` (which no `long double` holds if it takes more than 16 bits).
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))?;
    let (mantissa, power) = match number.split_once(['p', 'P']) {
        Some((mantissa, power)) => (mantissa, power.parse::<i16>().ok()?),
        None => (number, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let value = whole.chars().chain(part.chars()).try_fold(0.0, |value: f64, digit| {
        // What has become infinite stays so.
        Some(value * 16.0 + f64::from(digit.to_digit(16)?))
    })?;
    let shift = i32::from(power).saturating_sub(i32::try_from(4 * part.len()).ok()?);
    let seconds = if value == 0.0 { 0.0 } else { (value * 2f64.powi(shift)).max(f64::MIN_POSITIVE) };
    Some(if text.starts_with('-') { -seconds } else { seconds })
}

/// Writes what a blocking command answers whose time is up: the null array for all that wait for keys, also where the
/// command's own null is another (Redis 7.2 `blocked.c` `replyToBlockedClientTimedOut`).
///
/// # Panics
/// If the command does not block.
pub fn timeout_reply(spec: &Spec, reply: &mut Reply<'_>) {
    match spec.reach {
        // Nobody has followed, and nothing is on a disk.
        Reach::Node(NodeCommand::Wait) => reply.integer(0),
        Reach::Node(NodeCommand::WaitAof) => {
            reply.array(2);
            reply.integer(0);
            reply.integer(0);
        }
        _ => {
            assert!(spec.flags.contains(Flags::BLOCKING), "{} does not block", spec.full_name);
            reply.null_array();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn timeouts_are_seconds_with_parts() {
        for (text, millis) in [
            ("0", None),
            ("-0", None),
            ("0.0", None),
            ("-0.0001", None),
            ("1", Some(1000)),
            ("+0.01", Some(10)),
            (".5", Some(500)),
            ("1.", Some(1000)),
            ("0.0001", Some(1)),
            ("1e-400", Some(1)),
            ("-1e-400", None),
            ("1.0001", Some(1001)),
            ("2E1", Some(20_000)),
            ("0x10", Some(16_000)),
            ("+0X1.8p1", Some(3000)),
            ("0x.8", Some(500)),
            ("0x1p-10", Some(1)),
            ("0x1p-9999", Some(1)),
            ("-0x0", None),
            ("9e15", Some(9_000_000_000_000_000_000)),
        ] {
            assert_eq!(parse_timeout(text.as_bytes(), NOW), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_refused_in_three_ways() {
        let long = "1".repeat(5 * 1024);
        for text in ["", " 1", "1 ", "x", "1x", "nan", "-nan", "1e", "--1", "\u{e9}", &long] {
            assert_eq!(parse_timeout(text.as_bytes(), NOW), Err(ReplyError::TimeoutNotAFloat), "{text}");
        }
        for text in "0x 0x. 0x1g 0x1p 0x1p+-1 0x+1 0x1p99999 0x1p-99999 0x1.1.1 x1".split(' ') {
            assert_eq!(parse_timeout(text.as_bytes(), NOW), Err(ReplyError::TimeoutNotAFloat), "{text}");
        }
        for text in ["-1", "-0x1", "-0.001", "-inf", "-1e300", "-1e400"] {
            assert_eq!(parse_timeout(text.as_bytes(), NOW), Err(ReplyError::TimeoutNegative), "{text}");
        }
        for text in ["0x7FFFFFFFFFFFFF", "0x1p9999"] {
            assert_eq!(parse_timeout(text.as_bytes(), NOW), Err(ReplyError::TimeoutOutOfRange), "{text}");
        }
        for text in ["inf", "Infinity", "1e16", "1e400", "9223372036854775807", "9223370336854777"] {
            assert_eq!(parse_timeout(text.as_bytes(), NOW), Err(ReplyError::TimeoutOutOfRange), "{text}");
        }
    }
}
