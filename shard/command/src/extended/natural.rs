//! Natural numbers of any size, as far as reading and printing of floats needs them.

/// The largest power of five in 32 bits, and which it is.
const FIVES: (u32, usize) = (5_u32.pow(13), 13);

/// A natural number: 32 bits in each part, the lowest first, none of them a leading zero.
#[derive(Clone, Debug)]
pub(super) struct Natural(Vec<u32>);

impl Natural {
    pub(super) fn from_u128(value: u128) -> Self {
        let mut natural = Self((0..4).map(|part| (value >> (32 * part)) as u32).collect());
        natural.trim();
        natural
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of bits up to the highest that is set.
    pub(super) fn bits(&self) -> usize {
        let Some(top) = self.0.last() else { return 0 };
        32 * self.0.len() - top.leading_zeros() as usize
    }

    /// The lowest 64 bits.
    pub(super) fn low(&self) -> u64 {
        let part = |index| u64::from(self.0.get(index).copied().unwrap_or(0));
        part(1) << 32 | part(0)
    }

    /// Times `factor`, plus `more`.
    pub(super) fn multiply_add(&mut self, factor: u32, more: u32) {
        let mut carry = u64::from(more);
        for part in &mut self.0 {
            carry += u64::from(*part) * u64::from(factor);
            *part = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    pub(super) fn multiply_by_power_of_five(&mut self, power: usize) {
        (0..power / FIVES.1).for_each(|_| self.multiply_add(FIVES.0, 0));
        (0..power % FIVES.1).for_each(|_| self.multiply_add(5, 0));
    }

    /// The quotient; whether there was a rest.
    pub(super) fn divide_by_power_of_five(&mut self, power: usize) -> bool {
        let mut rest = false;
        (0..power / FIVES.1).for_each(|_| rest |= self.divide(FIVES.0) > 0);
        (0..power % FIVES.1).for_each(|_| rest |= self.divide(5) > 0);
        rest
    }

    /// The quotient; gives the rest.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0;
        for part in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*part);
            *part = (value / u64::from(divisor)) as u32;
            rest = value % u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    pub(super) fn shift_left(&mut self, bits: usize) {
        self.multiply_add(1 << (bits % 32), 0);
        if !self.is_zero() {
            self.0.splice(0..0, std::iter::repeat_n(0, bits / 32));
        }
    }

    /// Drops the lowest bits (at least one): whether the highest of them was set, and whether any other was.
    pub(super) fn shift_right(&mut self, bits: usize) -> (bool, bool) {
        let bit = |at: usize| self.0.get(at / 32).is_some_and(|part| part >> (at % 32) & 1 == 1);
        let is_half = bit(bits - 1);
        let (parts, within) = ((bits - 1) / 32, (bits - 1) % 32);
        let whole = self.0.iter().take(parts).any(|part| *part != 0);
        let is_more = whole || self.0.get(parts).is_some_and(|part| part & ((1 << within) - 1) != 0);
        self.0.drain(..(bits / 32).min(self.0.len()));
        self.divide_by_power_of_two(bits % 32);
        (is_half, is_more)
    }

    fn divide_by_power_of_two(&mut self, bits: usize) {
        if bits > 0 {
            self.divide(1 << bits);
        }
    }

    pub(super) fn to_decimal(&self) -> String {
        /// Digits that one division gives.
        const DIGITS: usize = 9;
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.is_zero() {
            groups.push(rest.divide(10_u32.pow(DIGITS as u32)));
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        groups.iter().rev().for_each(|group| text.push_str(&format!("{group:0DIGITS$}")));
        text
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}
