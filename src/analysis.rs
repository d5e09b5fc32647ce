//! Pure computations over the nouns of [`crate::domain`]: no I/O, no clock, benchmarked.

pub mod redact;
