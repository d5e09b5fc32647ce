//! What reaches a screen, a report or another machine: text from outside without its tricks, and without secrets.

mod redact;
mod safe_text;

use crate::Input;

/// Checks what the input chooses.
pub fn check(input: &Input<'_>) {
    match input.choice % 2 {
        0 => safe_text::check(&input.stretched(80 * 1024)),
        _ => redact::check(&String::from_utf8_lossy(&input.stretched(4096))),
    }
}
