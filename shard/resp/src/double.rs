//! Doubles as Redis 7.2 prints them (`util.c`, `d2string`; layout of `fpconv_dtoa`).

use crate::grisu::Digits;
use crate::integer::Decimal;

/// Longest text: sign, 17 digits, point, `e`, sign and three digits of the exponent, or `0.` with up to six
/// zeros in front of 17 digits.
const TEXT_BYTES_MAX: usize = 32;

/// Integers up to here are printed in full (`util.c`, `double2ll`: half of the largest `i64`, as a double).
const INTEGER_MAX: f64 = (1u64 << 62) as f64;

/// A printed double.
pub(crate) struct Text {
    bytes: [u8; TEXT_BYTES_MAX],
    len: usize,
}

impl Text {
    pub(crate) fn new(value: f64) -> Self {
        let mut text = Self { bytes: [0; TEXT_BYTES_MAX], len: 0 };
        if value.is_nan() {
            text.push(b"nan");
        } else if value.is_infinite() {
            text.push(if value < 0.0 { b"-inf" } else { b"inf" });
        } else if value == 0.0 {
            text.push(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else if value.abs() <= INTEGER_MAX && (value as i64) as f64 == value {
            text.push(Decimal::new(value as i64).as_bytes());
        } else {
            if value < 0.0 {
                text.push(b"-");
            }
            let digits = Digits::new(value.abs());
            text.push_digits(digits.as_bytes(), digits.exponent());
        }
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Lays out `d.ddd × 10^exponent`: plainly while that is short, else with an exponent.
    fn push_digits(&mut self, digits: &[u8], exponent: i32) {
        let count = digits.len() as i32;
        let scale = exponent + 1 - count;
        if scale >= 0 && exponent < count + 7 {
            self.push(digits);
            self.push_zeros(scale);
        } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
            if exponent < 0 {
                self.push(b"0.");
                self.push_zeros(-exponent - 1);
                self.push(digits);
            } else {
                let (whole, fraction) = digits.split_at(exponent as usize + 1);
                self.push(whole);
                self.push(b".");
                self.push(fraction);
            }
        } else {
            let (first, rest) = digits.split_at(1);
            self.push(first);
            if !rest.is_empty() {
                self.push(b".");
                self.push(rest);
            }
            self.push(if exponent < 0 { b"e-" } else { b"e+" });
            self.push(Decimal::new(i64::from(exponent.unsigned_abs())).as_bytes());
        }
    }

    fn push_zeros(&mut self, count: i32) {
        for _ in 0..count {
            self.push(b"0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    fn text(value: f64) -> String {
        String::from_utf8(Text::new(value).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn doubles_look_as_in_redis() {
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (3.25, "3.25"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (4611686018427388928.0, "4611686018427389000"),
            (1e19, "1e+19"),
            (1.5e20, "1.5e+20"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e100, "1e+100"),
            (-1e308, "-1e+308"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (0.5, "0.5"),
            (0.001, "0.001"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (0.0012345678, "0.0012345678"),
            (0.00012345678, "1.2345678e-4"),
            (1234567.125, "1234567.125"),
            (12345678901.25, "12345678901.25"),
            (1.5e-10, "1.5e-10"),
            (5e-324, "5e-324"),
            (-2.2250738585072014e-308, "-2.2250738585072014e-308"),
            // Powers of two, whose neighbours below are nearer.
            (1.7800590868057611e-307, "1.7800590868057611e-307"),
            (7.120236347223045e-307, "7.120236347223045e-307"),
            // Not the shortest, or not the nearest: the digits of Grisu2.
            (4.35955076365159, "4.3595507636515904"),
            (3.1316709716158577e78, "3.1316709716158578e+78"),
            (2.665395735562245e186, "2.6653957355622448e+186"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ];
        for (value, expected) in table {
            assert_eq!(text(value), expected, "{value:e}");
        }
    }

    proptest! {
        #[test]
        fn every_double_reads_back_the_same(bits: u64) {
            let value = f64::from_bits(bits);
            let read: f64 = text(value).parse().unwrap();
            prop_assert!(read == value || value.is_nan() && read.is_nan());
        }
    }
}
