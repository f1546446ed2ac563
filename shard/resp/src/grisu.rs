//! Decimal digits of a double by Grisu2 (F. Loitsch, "Printing Floating-Point Numbers Quickly and Accurately
//! with Integers", 2010), because that is what Redis 7.2 prints with (`fpconv`): one double in a thousand
//! comes out a digit longer than the shortest text, or not the nearest, and replies must be the same bytes.
//!
//! The idea: a double stands for all numbers between the midpoints to its neighbours. Scale both midpoints and
//! the double by a power of ten so that 32 to 60 bits remain behind the point, then write digits of the upper
//! midpoint until the rest is smaller than the interval: what was written lies inside. Last, lower the last
//! digit while that comes nearer to the double.

/// Most digits of a double.
const DIGITS_MAX: usize = 18;

/// `significand × 2^exponent`.
#[derive(Clone, Copy)]
struct Scaled {
    significand: u64,
    exponent: i32,
}

impl Scaled {
    fn normalized(self) -> Self {
        let shift = self.significand.leading_zeros();
        Self { significand: self.significand << shift, exponent: self.exponent - shift as i32 }
    }

    /// The product's upper 64 bits, rounded.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.significand) * u128::from(other.significand) + (1 << 63);
        Self { significand: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// Digits of a positive, finite double, and the power of ten of the first.
pub(crate) struct Digits {
    bytes: [u8; DIGITS_MAX],
    len: usize,
    exponent: i32,
}

impl Digits {
    pub(crate) fn new(value: f64) -> Self {
        let (exact, lower, upper) = with_midpoints(value);
        let (power, power_exponent) = power_for(upper.exponent);
        let exact = exact.times(power);
        // The products are rounded: stay inside of the interval by the error of one unit.
        let lower = lower.times(power).significand + 1;
        let upper = Scaled { significand: upper.times(power).significand - 1, ..upper.times(power) };
        let mut digits = Self { bytes: [0; DIGITS_MAX], len: 0, exponent: 0 };
        let last_exponent = digits.generate(exact.significand, lower, upper);
        digits.exponent = last_exponent - power_exponent + digits.len as i32 - 1;
        digits
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Writes digits of `upper` until they lie above `lower`. All three share an exponent. Returns the power of
    /// ten of the last digit, in units of the scaled number.
    fn generate(&mut self, exact: u64, lower: u64, upper: Scaled) -> i32 {
        let point = upper.exponent.unsigned_abs();
        let mut distance = upper.significand - exact;
        let mut interval = upper.significand - lower;
        let mut whole = upper.significand >> point;
        let mut fraction = upper.significand & ((1 << point) - 1);
        let mut unit = 1_000_000_000;
        for exponent in (0..10).rev() {
            self.push_significant((whole / unit) as u8);
            whole %= unit;
            let rest = (whole << point) + fraction;
            if rest <= interval {
                self.approach(distance, interval, rest, unit << point);
                return exponent;
            }
            unit /= 10;
        }
        for exponent in (i32::MIN..0).rev() {
            fraction *= 10;
            interval *= 10;
            distance = distance.wrapping_mul(10);
            self.push_significant((fraction >> point) as u8);
            fraction &= (1 << point) - 1;
            if fraction < interval {
                self.approach(distance, interval, fraction, 1 << point);
                return exponent;
            }
        }
        unreachable!("the interval grows tenfold with each digit")
    }

    /// Writes a digit, unless it is a zero in front of all others.
    fn push_significant(&mut self, digit: u8) {
        if digit > 0 || self.len > 0 {
            self.bytes[self.len] = b'0' + digit;
            self.len += 1;
        }
    }

    /// Lowers the last digit, each time by `unit`, while that brings the number nearer to the exact one and
    /// leaves it inside of the interval. `rest` and `distance` count from the upper end downwards.
    fn approach(&mut self, distance: u64, interval: u64, mut rest: u64, unit: u64) {
        while rest < distance
            && interval - rest >= unit
            && (rest + unit < distance || distance - rest > rest + unit - distance)
        {
            self.bytes[self.len - 1] -= 1;
            rest += unit;
        }
    }
}

/// The double, normalized, and the midpoints to its neighbours, both with the exponent of the upper one.
fn with_midpoints(value: f64) -> (Scaled, Scaled, Scaled) {
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
    const BIAS: i32 = 1023 + FRACTION_BITS as i32;
    let fraction = value.to_bits() & (HIDDEN_BIT - 1);
    let exact = match (value.to_bits() >> FRACTION_BITS) as i32 & 0x7ff {
        0 => Scaled { significand: fraction, exponent: 1 - BIAS },
        biased => Scaled { significand: fraction | HIDDEN_BIT, exponent: biased - BIAS },
    };
    let upper = Scaled { significand: exact.significand * 2 + 1, exponent: exact.exponent - 1 }.normalized();
    // Below a power of two the neighbours are twice as dense.
    let shift = if exact.significand == HIDDEN_BIT { 2 } else { 1 };
    let significand = (exact.significand << shift) - 1;
    let exponent = exact.exponent - shift;
    let lower = Scaled { significand: significand << (exponent - upper.exponent), exponent: upper.exponent };
    (exact.normalized(), lower, upper)
}

/// Powers of ten in the table, the exponent of the first and the step between two.
const POWERS: usize = 87;
const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;

/// A power of ten that scales a number of this binary exponent so that 32 to 60 bits lie behind the point, and
/// its decimal exponent. Two powers may fit; the search begins where Redis's begins, so as to meet the same.
fn power_for(exponent: i32) -> (Scaled, i32) {
    let guess = (f64::from(-(exponent + POWERS as i32)) * core::f64::consts::LOG10_2) as i32;
    let mut index = ((guess - FIRST_POWER) / POWER_STEP) as usize;
    loop {
        let power = POWERS_OF_TEN[index];
        match exponent + power.exponent + 64 {
            ..-60 => index += 1,
            -31.. => index -= 1,
            _ => return (power, FIRST_POWER + index as i32 * POWER_STEP),
        }
    }
}

/// 10^-348, 10^-340 … 10^340, normalized.
static POWERS_OF_TEN: [Scaled; POWERS] = {
    let mut powers = [Scaled { significand: 0, exponent: 0 }; POWERS];
    let middle = ((-4 - FIRST_POWER) / POWER_STEP) as usize;
    let mut below = Wide::ONE.divided_by(10_000);
    let mut above = Wide::ONE.multiplied_by(10_000);
    let mut offset = 0;
    while offset <= middle {
        powers[middle - offset] = below.rounded();
        below = below.divided_by(100_000_000);
        if middle + 1 + offset < POWERS {
            powers[middle + 1 + offset] = above.rounded();
            above = above.multiplied_by(100_000_000);
        }
        offset += 1;
    }
    powers
};

/// A normalized number of 128 bits, from which the table is made when this is compiled: 44 truncated steps lose
/// six of the 64 bits that are not needed.
#[derive(Clone, Copy)]
struct Wide {
    significand: u128,
    exponent: i32,
}

impl Wide {
    const ONE: Self = Self { significand: 1 << 127, exponent: -127 };

    const fn multiplied_by(self, factor: u32) -> Self {
        let low = (self.significand as u64 as u128) * factor as u128;
        let high = (self.significand >> 64) * factor as u128 + (low >> 64);
        let excess = 64 - high.leading_zeros();
        let low = (low as u64 as u128) >> excess;
        Self { significand: (high << (64 - excess)) | low, exponent: self.exponent + excess as i32 }
    }

    const fn divided_by(self, divisor: u32) -> Self {
        let quotient = self.significand / divisor as u128;
        let remainder = self.significand % divisor as u128;
        let shift = quotient.leading_zeros();
        let low = (remainder << shift) / divisor as u128;
        Self { significand: (quotient << shift) + low, exponent: self.exponent - shift as i32 }
    }

    const fn rounded(self) -> Scaled {
        let half = (self.significand >> 63) as u64 & 1;
        Scaled { significand: (self.significand >> 64) as u64 + half, exponent: self.exponent + 64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table's ends, its middle and one between, against exact integer arithmetic where that fits.
    #[test]
    fn powers_of_ten_are_the_nearest() {
        let at = |exponent: i32| POWERS_OF_TEN[((exponent - FIRST_POWER) / POWER_STEP) as usize];
        for exponent in [4, 12, 20, 28, 36] {
            let exact = 10u128.pow(exponent);
            let shift = exact.leading_zeros();
            let rounded = ((exact << shift) + (1 << 63)) >> 64;
            assert_eq!(u128::from(at(exponent as i32).significand), rounded, "10^{exponent}");
            assert_eq!(at(exponent as i32).exponent, 64 - shift as i32);
        }
        for power in POWERS_OF_TEN {
            assert!(power.significand >> 63 == 1, "normalized");
        }
    }
}
