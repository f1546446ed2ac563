//! The figures of `bench/RESULTS.md`.

use crate::arguments::SuiteOptions;
use crate::failure::Failure;

/// To come.
pub(crate) fn run(_options: &SuiteOptions) -> Result<(), Failure> {
    Ok(())
}
