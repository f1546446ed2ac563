//! Numbers as C's `long double` on x86 holds them: a sign, 64 bits and an exponent of 15 bits, with each operation
//! rounded to the nearest (of two, to the even one). INCRBYFLOAT computes with them, and the digits that it answers
//! and stores show it.
//!
//! Decimal text is exact: it is read into as many bits as it has, divided, and only then rounded once.

mod natural;

use natural::Natural;
use std::fmt;

/// Longest text that is read, in bytes (Redis: `MAX_LONG_DOUBLE_CHARS`).
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Bits of a number.
const MANTISSA_BITS: i64 = 64;

/// Exponent of the lowest bit that a number can have.
const EXPONENT_MIN: i64 = -16445;

/// Exponent of the lowest bit of the largest numbers.
const EXPONENT_MAX: i64 = 16320;

/// Decimal places that are printed.
const PLACES: usize = 17;

/// A finite number or an infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extended {
    /// `mantissa` times two to the `exponent`.
    Finite {
        /// Whether it is below zero.
        negative: bool,
        /// All its bits.
        mantissa: u64,
        /// Exponent of the lowest one.
        exponent: i64,
    },
    /// An infinity.
    Infinite {
        /// Whether it is that below zero.
        negative: bool,
    },
}

impl Extended {
    /// Zero.
    pub(crate) const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// The number that `text` spells as C's `strtold` reads it, nothing before and behind it; `None` for what is no
    /// number, too large or too small (Redis 7.2 `util.c` `string2ld`).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, number) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if number.eq_ignore_ascii_case(b"inf") || number.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite { negative });
        }
        let (base, number) = match number {
            [b'0', b'x' | b'X', digits @ ..] => (Base::Sixteen, digits),
            digits => (Base::Ten, digits),
        };
        let (digits, exponent) = base.split(number)?;
        let (natural, exponent, sticky) = base.scale(digits, exponent)?;
        if natural.is_zero() {
            return Some(Self::Finite { negative, mantissa: 0, exponent: 0 });
        }
        match round(negative, natural, exponent, sticky) {
            Self::Finite { mantissa: 0, .. } | Self::Infinite { .. } => None,
            number => Some(number),
        }
    }

    /// The sum, rounded; `None` for the sum of the two infinities.
    pub(crate) fn add(self, other: Self) -> Option<Self> {
        let (negative, mantissa, exponent, other_negative, other_mantissa, other_exponent) = match (self, other) {
            (Self::Infinite { negative: one }, Self::Infinite { negative: two }) => {
                return (one == two).then_some(self);
            }
            (Self::Infinite { .. }, _) => return Some(self),
            (_, Self::Infinite { .. }) => return Some(other),
            (
                Self::Finite { negative, mantissa, exponent },
                Self::Finite { negative: other_negative, mantissa: other_mantissa, exponent: other_exponent },
            ) => (negative, mantissa, exponent, other_negative, other_mantissa, other_exponent),
        };
        if mantissa == 0 {
            return Some(other);
        }
        if other_mantissa == 0 {
            return Some(self);
        }
        // Both with their highest bit in the same place, 62 bits free below the larger one.
        let (mut large, mut small) =
            ((negative, highest(mantissa, exponent)), (other_negative, highest(other_mantissa, other_exponent)));
        if large.1.1 < small.1.1 {
            (large, small) = (small, large);
        }
        const FREE: u32 = 62;
        let ((large_mantissa, large_exponent), (small_mantissa, small_exponent)) = (large.1, small.1);
        let distance = large_exponent - small_exponent;
        let one = u128::from(large_mantissa) << FREE;
        let all = u128::from(small_mantissa) << FREE;
        let two = match u32::try_from(distance) {
            // What is shifted out is remembered in the lowest bit: it decides only between the two sides of a half.
            Ok(distance) if distance < u128::BITS => all >> distance | u128::from(all & ((1 << distance) - 1) != 0),
            _ => 1,
        };
        let (negative, sum) = match (large.0 == small.0, one >= two) {
            (true, _) => (large.0, one + two),
            (false, true) => (large.0, one - two),
            (false, false) => (small.0, two - one),
        };
        if sum == 0 {
            return Some(Self::ZERO);
        }
        Some(round(negative, Natural::from_u128(sum), large_exponent - i64::from(FREE), false))
    }

    /// Whether it is an infinity.
    pub(crate) fn is_infinite(self) -> bool {
        matches!(self, Self::Infinite { .. })
    }
}

impl fmt::Display for Extended {
    /// With 17 decimal places, without the zeros at their end (Redis 7.2 `util.c` `ld2string`, `LD_STR_HUMAN`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: u128 = 10_u128.pow(PLACES as u32);
        let (negative, mantissa, exponent) = match *self {
            Self::Infinite { negative } => return f.write_str(if negative { "-inf" } else { "inf" }),
            Self::Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
        };
        if exponent >= 0 {
            let sign = if negative && mantissa != 0 { "-" } else { "" };
            let mut whole = Natural::from_u128(u128::from(mantissa));
            whole.shift_left(exponent.unsigned_abs() as usize);
            return write!(f, "{sign}{}", whole.to_decimal());
        }
        // Below 2^121, so that beyond that shift nothing is left, not even a half.
        let scaled = u128::from(mantissa) * UNIT;
        let shift = exponent.unsigned_abs();
        let rounded = if shift < 127 {
            let (whole, rest, half) = (scaled >> shift, scaled & ((1 << shift) - 1), 1_u128 << (shift - 1));
            whole + u128::from(rest > half || rest == half && whole & 1 == 1)
        } else {
            0
        };
        let (whole, part) = (rounded / UNIT, rounded % UNIT);
        let sign = if negative && rounded != 0 { "-" } else { "" };
        let places = format!("{part:0PLACES$}");
        match places.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            places => write!(f, "{sign}{whole}.{places}"),
        }
    }
}

/// The same number with its highest bit set.
fn highest(mantissa: u64, exponent: i64) -> (u64, i64) {
    let shift = mantissa.leading_zeros();
    (mantissa << shift, exponent - i64::from(shift))
}

/// The number that an unsigned decimal text spells, as its 64 highest bits, the exponent of two of the lowest of them, and
/// whether it is a little more. `None` for what is no number, and beyond all numbers of C.
pub(crate) fn significant_bits(text: &[u8]) -> Option<(u64, i64, bool)> {
    /// More digits than decide between two neighbours of the smallest doubles.
    const DIGITS_MAX: usize = 800;
    let (mut digits, mut exponent) = Base::Ten.split(text)?;
    let start = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
    digits.drain(..start);
    if digits.len() > DIGITS_MAX {
        exponent += (digits.len() - DIGITS_MAX) as i64;
        let is_more = digits[DIGITS_MAX - 1..].iter().any(|digit| *digit != 0);
        digits.truncate(DIGITS_MAX - 1);
        digits.push(u8::from(is_more));
    }
    let (mut natural, mut exponent, mut sticky) = Base::Ten.scale(digits, exponent)?;
    let bits = natural.bits() as i64;
    if bits > MANTISSA_BITS {
        let (is_half, is_more) = natural.shift_right((bits - MANTISSA_BITS) as usize);
        sticky |= is_half || is_more;
        exponent += bits - MANTISSA_BITS;
    }
    Some((natural.low(), exponent, sticky))
}

/// `natural` times two to the `exponent`, and a little more if `sticky`, rounded.
fn round(negative: bool, mut natural: Natural, exponent: i64, sticky: bool) -> Extended {
    let bits = natural.bits() as i64;
    let lowest = (exponent + bits - MANTISSA_BITS).max(EXPONENT_MIN);
    let mut target = exponent;
    let mut up = false;
    if lowest > exponent {
        target = lowest;
        let (is_half, is_more) = natural.shift_right((lowest - exponent) as usize);
        up = is_half && (is_more || sticky || natural.low() & 1 == 1);
    }
    let mut mantissa = natural.low();
    if up {
        let carried;
        (mantissa, carried) = mantissa.overflowing_add(1);
        if carried {
            (mantissa, target) = (1 << 63, target + 1);
        }
    }
    let top = target + i64::from(u64::BITS - mantissa.leading_zeros());
    if mantissa != 0 && top > EXPONENT_MAX + MANTISSA_BITS {
        return Extended::Infinite { negative };
    }
    Extended::Finite { negative, mantissa, exponent: target }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Ten,
    Sixteen,
}

impl Base {
    /// The digits of a number without its point, and its exponent as it counts for the last of them: of ten, or of two
    /// for base sixteen.
    fn split(self, text: &[u8]) -> Option<(Vec<u8>, i64)> {
        let is_mark = |byte: &u8| match self {
            Self::Ten => byte.eq_ignore_ascii_case(&b'e'),
            Self::Sixteen => byte.eq_ignore_ascii_case(&b'p'),
        };
        let (mantissa, exponent) = match text.iter().position(is_mark) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (whole, part) = match mantissa.iter().position(|byte| *byte == b'.') {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        let base = if self == Self::Ten { 10 } else { 16 };
        let digit = |byte: &u8| char::from(*byte).to_digit(base).map(|digit| digit as u8);
        let digits = whole.iter().chain(part).map(digit).collect::<Option<Vec<u8>>>()?;
        let bits = if self == Self::Ten { 1 } else { 4 };
        (!digits.is_empty()).then(|| (digits, exponent - bits * part.len() as i64))
    }

    /// The number of these digits and this exponent as a natural number and an exponent of two; whether it is a
    /// little more. `None` if it is surely too large or too small.
    fn scale(self, digits: Vec<u8>, exponent: i64) -> Option<(Natural, i64, bool)> {
        /// Beyond this power of ten or two no text that short has a number that counts.
        const POWER_MAX: i64 = 40_000;
        let start = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
        let digits = &digits[start..];
        let mut natural = Natural::from_u128(0);
        let base = if self == Self::Ten { 10 } else { 16 };
        digits.iter().for_each(|&digit| natural.multiply_add(base, u32::from(digit)));
        if natural.is_zero() {
            return Some((natural, 0, false));
        }
        if self == Self::Sixteen {
            return (exponent.abs() <= POWER_MAX).then_some((natural, exponent, false));
        }
        // 10^4933 is beyond all numbers, 10^-4970 below all.
        let magnitude = exponent + digits.len() as i64;
        if !(-5000..=5000).contains(&magnitude) {
            return None;
        }
        if exponent >= 0 {
            natural.multiply_by_power_of_five(exponent as usize);
            return Some((natural, exponent, false));
        }
        // As many bits more as the division takes away, and enough to round.
        let power = exponent.unsigned_abs() as usize;
        let more = MANTISSA_BITS as usize + 8 + power * 7 / 3;
        natural.shift_left(more);
        let rest = natural.divide_by_power_of_five(power);
        Some((natural, exponent - more as i64, rest))
    }
}

/// An exponent; what is far beyond all numbers is cut.
pub(crate) fn parse_exponent(text: &[u8]) -> Option<i64> {
    const CUT: i64 = 1_000_000;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0, |value, digit| CUT.min(value * 10 + i64::from(digit - b'0')));
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Extended::parse(text.as_bytes()).map_or("none".into(), |number| number.to_string())
    }

    fn sum(one: &str, other: &str) -> String {
        let parse = |text: &str| Extended::parse(text.as_bytes()).unwrap();
        parse(one).add(parse(other)).map_or("none".into(), |number| number.to_string())
    }

    #[test]
    fn text_becomes_what_a_long_double_shows_of_it() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+1.50", "1.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("0.1", "0.1"),
            ("3.0e3", "3000"),
            ("1e-17", "0.00000000000000001"),
            ("-1e-18", "0"),
            ("6e-18", "0.00000000000000001"),
            ("0x1.8p1", "3"),
            ("0X10", "16"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551617", "18446744073709551616"),
            ("9007199254740993.3", "9007199254740993.2998046875"),
            ("1e20", "100000000000000000000"),
            ("1e30", "1000000000000000000024696061952"),
            ("-inf", "-inf"),
            ("Infinity", "inf"),
            ("17.23", "17.23"),
            ("123456789.123456789", "123456789.12345678899873747"),
            ("1e-4950", "0"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(shown("1e4932").len(), 4933);
        for text in [
            "",
            ".",
            "-",
            "e5",
            "1e",
            "1e+",
            " 1",
            "1 ",
            "1x",
            "nan",
            "0x",
            "0x.",
            "--1",
            "1.2.3",
            "1e5000",
            "1e-5000",
            "1e4933",
            "1e-4970",
            "1e99999999999999999999",
            "inf1",
            "1,5",
            "1\0",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Extended::parse(&[b'1'; TEXT_BYTES_MAX + 1]), None);
        assert_eq!(Extended::parse(&[b'1'; TEXT_BYTES_MAX]), None, "too large");
    }

    #[test]
    fn sums_are_rounded_once() {
        for (one, other, expected) in [
            ("0.1", "0.2", "0.3"),
            ("1", "-1", "0"),
            ("10.5", "0.1", "10.6"),
            ("3", "1.1", "4.1"),
            ("-1e-17", "0", "-0.00000000000000001"),
            ("1e18", "0.5", "1000000000000000000.5"),
            ("1e19", "0.5", "10000000000000000000"),
            ("10000000000000000001", "0.5", "10000000000000000002"),
            ("1e20", "0.1", "100000000000000000000"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("1e4000", "-1e4000", "0"),
            ("1e4932", "1e4932", "inf"),
            ("inf", "1", "inf"),
            ("inf", "-inf", "none"),
        ] {
            assert_eq!(sum(one, other), expected, "{one} {other}");
            assert_eq!(sum(other, one), expected, "{other} {one}");
        }
    }
}
