//! Integers as text, as strictly as Redis reads them and exactly as it writes them.

use slotmesh_base::ReplyError;

/// Longest text of an `i64`: `-9223372036854775808`.
pub const INTEGER_BYTES_MAX: usize = 20;

/// The integer that `text` spells: an optional minus, no plus, no leading zeros, no spaces, nothing else
/// (Redis 7.2 `util.c` `string2ll`).
///
/// # Errors
/// `NotAnInteger` for everything else.
pub fn parse_integer(text: &[u8]) -> Result<i64, ReplyError> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let wellformed = match digits {
        [b'0'] => !negative,
        [b'1'..=b'9', rest @ ..] => rest.len() < INTEGER_BYTES_MAX - 1 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !wellformed {
        return Err(ReplyError::NotAnInteger);
    }
    // 19 digits always fit into 64 bits without sign.
    let magnitude = digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    let value = if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    value.ok_or(ReplyError::NotAnInteger)
}

/// The unsigned integer that `text` spells, as C's `strtoul` reads it for the cursor of SCAN: an optional sign (a
/// minus wraps around), digits with leading zeros; nothing at all is 0 (Redis 7.2 `db.c`
/// `parseScanCursorOrReply`).
///
/// # Errors
/// `InvalidCursor` for everything else and for what does not fit.
pub fn parse_cursor(text: &[u8]) -> Result<u64, ReplyError> {
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ReplyError::InvalidCursor);
    }
    let magnitude = digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(ReplyError::InvalidCursor)?;
    Ok(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// An integer as text, without allocation.
#[derive(Clone, Copy, Debug)]
pub struct IntegerText {
    bytes: [u8; INTEGER_BYTES_MAX],
    start: usize,
}

impl IntegerText {
    /// The text of `value`.
    pub fn new(value: i64) -> Self {
        let mut text = Self::unsigned(value.unsigned_abs());
        if value < 0 {
            text.start -= 1;
            text.bytes[text.start] = b'-';
        }
        text
    }

    /// The text of `value`.
    pub fn unsigned(value: u64) -> Self {
        const PAIRS: &[u8; 200] = b"00010203040506070809\
            10111213141516171819\
            20212223242526272829\
            30313233343536373839\
            40414243444546474849\
            50515253545556575859\
            60616263646566676869\
            70717273747576777879\
            80818283848586878889\
            90919293949596979899";
        let mut bytes = [0; INTEGER_BYTES_MAX];
        let (mut start, mut rest) = (INTEGER_BYTES_MAX, value);
        while rest >= 100 {
            let pair = 2 * (rest % 100) as usize;
            rest /= 100;
            start -= 2;
            bytes[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        }
        if rest >= 10 {
            let pair = 2 * rest as usize;
            start -= 2;
            bytes[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        } else {
            start -= 1;
            bytes[start] = b'0' + rest as u8;
        }
        Self { bytes, start }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_strictly_as_in_redis() {
        for (text, value) in
            [("0", 0), ("7", 7), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_integer(text.as_bytes()), Ok(value), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1.0",
            "0x1",
            "1e3",
            "a",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "100000000000000000000000",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), Err(ReplyError::NotAnInteger), "{text:?}");
        }
    }

    #[test]
    fn cursors_are_read_as_loosely_as_in_redis() {
        for (text, value) in
            [("", 0), ("0", 0), ("007", 7), ("+7", 7), ("-1", u64::MAX), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(parse_cursor(text.as_bytes()), Ok(value), "{text:?}");
        }
        for text in ["-", "+", " 0", "0 ", "x", "1x", "18446744073709551616"] {
            assert_eq!(parse_cursor(text.as_bytes()), Err(ReplyError::InvalidCursor), "{text:?}");
        }
    }

    #[test]
    fn integers_are_written_as_the_standard_library_writes_them() {
        for value in [0, 9, 10, 99, 100, 101, 12345, -1, -10, -999, i64::MAX, i64::MIN] {
            assert_eq!(IntegerText::new(value).as_bytes(), value.to_string().as_bytes());
        }
        assert_eq!(IntegerText::unsigned(u64::MAX).as_bytes(), u64::MAX.to_string().as_bytes());
    }
}
