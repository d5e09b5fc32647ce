//! What the analysis reads: lines, whole logs, and the runbooks that people write.
//!
//! Offsets lie inside of the line, times are instants, shapes are bounded, and a log that comes in pieces says what it
//! says in one. Comparing is comparing: the same twice over, and a log has not changed against itself.

mod compare;
mod line;
mod runbook;
mod scan;

use crate::Input;

/// Checks the reader that the input chooses.
pub fn check(input: &Input<'_>) {
    match input.choice % 4 {
        0 => line::check(&input.stretched(256 * 1024)),
        1 => compare::check(&input.stretched(64 * 1024)),
        2 => scan::check(input, &input.stretched(1024 * 1024 + 4096)),
        _ => runbook::check(&String::from_utf8_lossy(&input.stretched(64 * 1024))),
    }
}
