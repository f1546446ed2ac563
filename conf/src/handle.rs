//! Handles: names of directives whose type says what [`Settings::value`](crate::Settings::value) returns.

use std::marker::PhantomData;

use crate::declaration::Kind;
use crate::parse;
use crate::value::{LogLevel, OutputLimits, SavePoint, Value};

/// The place of one directive in the table, with the type of its value.
#[derive(Debug)]
pub struct Handle<T: Read + ?Sized> {
    pub(crate) index: usize,
    value: PhantomData<fn() -> Box<T>>,
}

impl<T: Read + ?Sized> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Read + ?Sized> Copy for Handle<T> {}

impl<T: Read + ?Sized> Handle<T> {
    /// The handle of the row at `index`. Fails to compile where the row's kind cannot give a `T`.
    pub(crate) const fn of(index: usize, kind: Kind) -> Self {
        let shape = Shape::of(kind);
        assert!(shape as u8 == T::SHAPE as u8, "the kind of the row is not that of the handle");
        if let Shape::Number = shape {
            let (min, max) = bounds(kind);
            assert!(T::MIN <= min && max <= T::MAX, "the bounds of the row do not fit the handle");
        }
        Self { index, value: PhantomData }
    }
}

/// What a handle's type can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    /// `yes` or `no`.
    Boolean,
    /// Any kind of number.
    Number,
    /// One word of a list.
    Choice,
    /// Text.
    Text,
    /// CPUs.
    Cpus,
    /// Words.
    Words,
    /// Save points.
    SavePoints,
    /// Output limits.
    OutputLimits,
    /// What no handle reads.
    Other,
}

impl Shape {
    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Boolean => Shape::Boolean,
            Kind::Integer { .. } | Kind::Memory { .. } | Kind::Octal { .. } => Shape::Number,
            Kind::Choice(_) => Shape::Choice,
            Kind::Text | Kind::Template | Kind::HostName | Kind::FileName { .. } | Kind::KeyspaceEvents => Shape::Text,
            Kind::CpuList => Shape::Cpus,
            Kind::Words { .. } | Kind::Flags(_) | Kind::OomScores | Kind::Percentiles | Kind::Master => Shape::Words,
            Kind::SavePoints => Shape::SavePoints,
            Kind::OutputLimits => Shape::OutputLimits,
            _ => Shape::Other,
        }
    }
}

const fn bounds(kind: Kind) -> (i128, i128) {
    match kind {
        Kind::Integer { min, max } => (min as i128, max as i128),
        Kind::Memory { min, max } => (min as i128, max as i128),
        Kind::Octal { max } => (0, max as i128),
        _ => (0, 0),
    }
}

/// A type that a directive's value can be read as.
pub trait Read {
    /// What reading gives.
    type Output<'a>;
    /// The shape that the row must have.
    const SHAPE: Shape;
    /// Least number that fits; of no meaning for other shapes.
    const MIN: i128 = 0;
    /// Greatest number that fits; of no meaning for other shapes.
    const MAX: i128 = 0;

    /// Reads the value.
    ///
    /// # Panics
    /// If the value is not of the shape, which [`Handle`] excludes when it is compiled.
    fn read(value: &Value) -> Self::Output<'_>;
}

macro_rules! numbers {
    ($($number:ty)+) => { $(
        impl Read for $number {
            type Output<'a> = $number;
            const SHAPE: Shape = Shape::Number;
            const MIN: i128 = <$number>::MIN as i128;
            const MAX: i128 = <$number>::MAX as i128;

            fn read(value: &Value) -> $number {
                let number = match value {
                    Value::Integer(number) => <$number>::try_from(*number).ok(),
                    Value::Memory(bytes) => <$number>::try_from(*bytes).ok(),
                    Value::Octal(mode) => <$number>::try_from(*mode).ok(),
                    _ => None,
                };
                number.expect("the handle was compiled against the kind and bounds of its row")
            }
        }
    )+ };
}

numbers!(u16 i32 u32 i64 u64 usize);

impl Read for bool {
    type Output<'a> = bool;
    const SHAPE: Shape = Shape::Boolean;

    fn read(value: &Value) -> bool {
        match value {
            Value::Boolean(yes) => *yes,
            other => wrong(other),
        }
    }
}

impl Read for str {
    type Output<'a> = &'a str;
    const SHAPE: Shape = Shape::Text;

    fn read(value: &Value) -> &str {
        match value {
            Value::Text(text) => text,
            other => wrong(other),
        }
    }
}

impl Read for &'static str {
    type Output<'a> = &'static str;
    const SHAPE: Shape = Shape::Choice;

    fn read(value: &Value) -> &'static str {
        match value {
            Value::Choice(word) => word,
            other => wrong(other),
        }
    }
}

impl Read for LogLevel {
    type Output<'a> = LogLevel;
    const SHAPE: Shape = Shape::Choice;

    fn read(value: &Value) -> LogLevel {
        LogLevel::named(<&'static str>::read(value))
    }
}

impl Read for [String] {
    type Output<'a> = &'a [String];
    const SHAPE: Shape = Shape::Words;

    fn read(value: &Value) -> &[String] {
        match value {
            Value::Words(words) => words,
            other => wrong(other),
        }
    }
}

/// CPUs, in rising order; none stands for all that the process may run on.
impl Read for [usize] {
    type Output<'a> = Vec<usize>;
    const SHAPE: Shape = Shape::Cpus;

    fn read(value: &Value) -> Vec<usize> {
        match value {
            Value::Text(text) => parse::cpu_list(text).expect("the list was read once when it was set"),
            other => wrong(other),
        }
    }
}

impl Read for [SavePoint] {
    type Output<'a> = &'a [SavePoint];
    const SHAPE: Shape = Shape::SavePoints;

    fn read(value: &Value) -> &[SavePoint] {
        match value {
            Value::SavePoints(points) => points,
            other => wrong(other),
        }
    }
}

impl Read for OutputLimits {
    type Output<'a> = OutputLimits;
    const SHAPE: Shape = Shape::OutputLimits;

    fn read(value: &Value) -> OutputLimits {
        match value {
            Value::OutputLimits(limits) => *limits,
            other => wrong(other),
        }
    }
}

/// The value is not of the shape for which the handle was compiled. It is not printed: it may be a secret.
fn wrong(_: &Value) -> ! {
    unreachable!("a handle is compiled against the kind of its row")
}
