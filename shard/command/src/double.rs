//! Doubles from text as C's `strtod` reads it: decimal and hexadecimal numbers, infinities, white space before them.
//! SORT weighs by them.
//!
//! The usual decimal number is the standard library's business. What is left are hexadecimal ones, and the smallest: C
//! calls a number too small (`ERANGE`) if it lies below all normal ones once it is rounded to as many bits as they have,
//! and is not one of the few that a double still holds there.

use crate::extended::significant_bits;

/// Bits of a normal number.
const MANTISSA_BITS: u32 = 53;

/// Exponent of the highest bit of the least normal number.
const NORMAL_MIN: i64 = -1022;

/// Exponent of the highest bit of the largest numbers.
const NORMAL_MAX: i64 = 1023;

/// Exponent of the lowest bit that a number can have.
const EXPONENT_MIN: i64 = -1074;

/// The number that all of `text` spells, white space before it apart; `None` for what is no number, not a number, too
/// large or too small.
pub(crate) fn parse_double(text: &[u8]) -> Option<f64> {
    let start = text.iter().position(|&byte| !is_space(byte))?;
    let (negative, number) = match &text[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let magnitude = match number {
        [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(digits)?,
        [b'0'..=b'9' | b'.', ..] => parse_decimal(number)?,
        _ if number.eq_ignore_ascii_case(b"inf") || number.eq_ignore_ascii_case(b"infinity") => f64::INFINITY,
        _ => return None,
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// C's `isspace` in the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn parse_decimal(digits: &[u8]) -> Option<f64> {
    let value: f64 = str::from_utf8(digits).ok()?.parse().ok()?;
    if value > f64::MIN_POSITIVE {
        return value.is_finite().then_some(value);
    }
    let (mantissa, exponent, more) = significant_bits(digits)?;
    round(mantissa, exponent, more)
}

/// The digits behind `0x`.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let mark = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'p'));
    let (digits, power) = match mark {
        Some(at) => (&text[..at], crate::extended::parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (mut mantissa, mut exponent, mut more) = (0_u64, power, false);
    let (mut is_number, mut is_part) = (false, false);
    for &byte in digits {
        if byte == b'.' && !is_part {
            is_part = true;
            continue;
        }
        let digit = u64::from(char::from(byte).to_digit(16)?);
        is_number = true;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | digit;
            exponent -= if is_part { 4 } else { 0 };
        } else {
            more |= digit != 0;
            exponent += if is_part { 0 } else { 4 };
        }
    }
    if is_number { round(mantissa, exponent, more) } else { None }
}

/// `mantissa` times two to the `exponent`, and a little more if `more`, as the nearest double.
fn round(mantissa: u64, exponent: i64, more: bool) -> Option<f64> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let shift = mantissa.leading_zeros();
    let (bits, exponent) = (mantissa << shift, exponent - i64::from(shift));
    const REST: u32 = u64::BITS - MANTISSA_BITS;
    let (whole, rest, half) = (bits >> REST, bits & ((1 << REST) - 1), 1 << (REST - 1));
    let up = rest > half || rest == half && (more || whole & 1 == 1);
    let (whole, top) = match whole + u64::from(up) {
        carried if carried >> MANTISSA_BITS == 1 => (carried >> 1, exponent + i64::from(u64::BITS)),
        whole => (whole, exponent + i64::from(u64::BITS) - 1),
    };
    if top > NORMAL_MAX {
        return None;
    }
    if top >= NORMAL_MIN {
        let biased = (top - NORMAL_MIN + 1) as u64;
        return Some(f64::from_bits(biased << (MANTISSA_BITS - 1) | whole & ((1 << (MANTISSA_BITS - 1)) - 1)));
    }
    // All bits that are set must be ones that such a small number has.
    let dropped = u32::try_from(EXPONENT_MIN - exponent).ok()?;
    let is_exact = !more && dropped <= bits.trailing_zeros();
    is_exact.then(|| f64::from_bits(bits >> dropped))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text was given to SORT of redis-server 7.0.15 as well.
    #[test]
    fn text_is_read_as_c_reads_it() {
        for (text, value) in [
            ("0", 0.0),
            ("-7", -7.0),
            ("+5", 5.0),
            ("00012", 12.0),
            (" 1", 1.0),
            ("\t\n\x0b\x0c\r 1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1.5e3", 1500.0),
            ("1E-2", 0.01),
            ("0e999", 0.0),
            ("0.1", 0.1),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("1.7976931348623158e308", f64::MAX),
            ("2.2250738585072014e-308", f64::MIN_POSITIVE),
            ("inf", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
            ("Infinity", f64::INFINITY),
            ("0x10", 16.0),
            ("-0x10", -16.0),
            ("0X1P+3", 8.0),
            ("0x.8", 0.5),
            ("0x8.", 8.0),
            ("0x0.8p1", 1.0),
            ("0x0p99999", 0.0),
            ("0x20000000000001", 9_007_199_254_740_992.0),
            ("0x20000000000003", 9_007_199_254_740_996.0),
            ("0x200000000000010000000000000000000", 2_f64.powi(129)),
            ("0x200000000000010000000000000000001", 2_f64.powi(129) + 2_f64.powi(77)),
            ("0x0.0000000000000000000000000000000000001p148", 1.0),
            ("0x1p1023", 2_f64.powi(1023)),
            ("0x1.fffffffffffff7p1023", f64::MAX),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1022", f64::MIN_POSITIVE),
            ("0x0.fffffffffffffcp-1022", f64::MIN_POSITIVE),
        ] {
            assert_eq!(parse_double(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_double(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    }

    #[test]
    fn what_is_no_double_is_refused() {
        for text in [
            "",
            " ",
            "1 ",
            "abc",
            "+-5",
            "--5",
            "+",
            "-",
            ".",
            "-.",
            "e5",
            "1e",
            "1e+",
            "1_0",
            "1,5",
            "1d",
            "1x",
            "nan",
            "-nan",
            "nan(1)",
            "infx",
            "infinit",
            "0x",
            "0x.",
            "0xp3",
            "0x1p",
            "0x1p+",
            "0x1..",
            "0b1",
            "1e400",
            "-1e400",
            "1e-400",
            "1e-310",
            "4.9e-324",
            "2.4e-324",
            "2.2250738585072012e-308",
            "1.7976931348623159e308",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
            "0x1p-1075",
            "0x1.8p-1074",
            "0x0.fffffffffffff8p-1022",
            "0x1p-99999999999999999999",
            "1\0",
        ] {
            assert_eq!(parse_double(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_ways_agree_with_the_standard_library() {
        let mut chance = slotmesh_base::Rng::new(3);
        for _ in 0..20_000 {
            let value = f64::from_bits(chance.next_u64() & (u64::MAX >> 1));
            if !value.is_finite() {
                continue;
            }
            let text = format!("{value:e}");
            let expected = (value >= f64::MIN_POSITIVE).then_some(value);
            assert_eq!(parse_double(text.as_bytes()), expected, "{text}");
            let exact = exact_hexadecimal(value);
            assert_eq!(parse_double(exact.as_bytes()), Some(value), "{exact}");
        }
    }

    /// The least normal number, told by more digits than count, and its neighbours.
    #[test]
    fn very_long_numbers_are_read_to_their_end() {
        let exact = format!("{:.1074}", f64::MIN_POSITIVE);
        assert_eq!(parse_double(exact.as_bytes()), Some(f64::MIN_POSITIVE));
        assert_eq!(parse_double(format!("{:.1074}", f64::from_bits(1)).as_bytes()), Some(f64::from_bits(1)));
        assert_eq!(parse_double(format!("{:.1074}0001", f64::from_bits(1)).as_bytes()), None);
        let long = format!("0.{}1", "0".repeat(1 << 20));
        assert_eq!(parse_double(long.as_bytes()), None);
        let long = format!("1.{}1", "0".repeat(1 << 20));
        assert_eq!(parse_double(long.as_bytes()), Some(1.0));
        let long = format!("0x1.{}1", "0".repeat(1 << 20));
        assert_eq!(parse_double(long.as_bytes()), Some(1.0));
    }

    fn exact_hexadecimal(value: f64) -> String {
        let bits = value.to_bits();
        let (power, mantissa) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
        match power {
            0 => format!("0x{mantissa:x}p-1074"),
            power => format!("0x{:x}p{}", mantissa | 1 << 52, power - 1075),
        }
    }
}
