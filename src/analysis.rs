//! Pure computations over the nouns of [`crate::domain`]: no I/O, no clock, benchmarked.

pub mod alerts;
pub mod align;
pub mod compare;
pub mod format;
pub mod freshness;
pub mod judge;
pub mod kept;
pub mod latency;
pub mod line_pattern;
pub mod machine;
pub mod own_signal;
pub mod parse;
pub mod pattern;
pub mod preflight;
pub mod redact;
pub mod retention;
pub mod rules;
pub mod scan;
pub mod upstream;
