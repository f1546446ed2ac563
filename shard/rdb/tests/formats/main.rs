//! What holds for any bytes.

mod any_bytes;
mod check;
