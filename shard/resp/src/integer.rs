//! Decimal integers of the protocol, read as strictly as Redis reads them and written without a formatter.

use alloc::vec::Vec;

/// Longest decimal text of an `i64`, sign included, in bytes.
const DIGITS_MAX: usize = 20;

/// Longest line of a kind, an integer and the line end, in bytes; one more makes whole words.
const LINE_BYTES_MAX: usize = 24;

/// Reads a whole text as an integer. Strict as Redis (`util.c`, `string2ll`): no blanks, no `+`, no leading
/// zeros, no `-0`, nothing behind the last digit.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    if text == b"0" {
        return Some(0);
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > DIGITS_MAX || !matches!(digits, [b'1'..=b'9', ..]) {
        return None;
    }
    let mut magnitude: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Appends `kind`, the integer and a line end to `out`. The room is made by one copy of constant size and the
/// digits are put into their final places, the last ones first.
#[inline]
pub(crate) fn push_line(out: &mut Vec<u8>, kind: u8, value: i64) {
    let start = out.len();
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    let sign = usize::from(value < 0);
    out.extend_from_slice(&[b'\n'; LINE_BYTES_MAX]);
    out.truncate(start + 1 + sign + digits + 2);
    let [first, text @ .., _] = &mut out[start..] else {
        return;
    };
    *first = kind;
    text[0] = b'-';
    if let [digits @ .., end] = &mut text[sign..] {
        *end = b'\r';
        write_digits(digits, value.unsigned_abs());
    }
}

/// A printed integer, for texts that are more than a line.
pub(crate) struct Decimal {
    bytes: [u8; DIGITS_MAX],
    len: usize,
}

impl Decimal {
    pub(crate) fn new(value: i64) -> Self {
        let mut bytes = [b'-'; DIGITS_MAX];
        let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
        let sign = usize::from(value < 0);
        write_digits(&mut bytes[sign..sign + digits], value.unsigned_abs());
        Self { bytes, len: sign + digits }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Fills `places` with the last digits of `rest`.
#[inline]
fn write_digits(places: &mut [u8], mut rest: u64) {
    let mut pairs = places.rchunks_exact_mut(2);
    for pair in &mut pairs {
        pair.copy_from_slice(&DIGIT_PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if let [place] = pairs.into_remainder() {
        *place = b'0' + (rest % 10) as u8;
    }
}

/// `00` to `99`.
const DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    #[test]
    fn only_the_canonical_spelling_is_a_number() {
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "00",
            "-01",
            "1a",
            "a",
            "0x1",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "111111111111111111111",
            "1\n",
            "1\0",
            "--1",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
        for value in [0, 1, -1, 9, 10, 99, 100, 1_000_000_007, i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
    }

    #[test]
    fn the_extremes_are_printed() {
        for value in [0, 9, 10, 99, 100, 999, 1000, -1, -10, -100, i64::MAX, i64::MIN] {
            assert_eq!(Decimal::new(value).as_bytes(), value.to_string().as_bytes());
            let mut out = Vec::from(b"before");
            push_line(&mut out, b':', value);
            assert_eq!(out, format!("before:{value}\r\n").into_bytes());
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree_with_std(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let (decimal, text) = (Decimal::new(value), value.to_string());
            prop_assert_eq!(decimal.as_bytes(), text.as_bytes());
            let mut out = Vec::new();
            push_line(&mut out, b':', value);
            prop_assert_eq!(out, format!(":{value}\r\n").into_bytes());
            prop_assert_eq!(parse_integer(text.as_bytes()), Some(value));
        }
    }
}
