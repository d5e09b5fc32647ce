//! The streams at the door: the engine's logs with and without a terminal and the HTTP around them, the framing of
//! PM2's sockets, lines of files.
//!
//! The same bytes give the same lines however reads cut them; no byte is lost untold; no decoder holds more memory than
//! it says.

mod amp;
mod docker;
mod http;
mod lines;

use crate::Input;

/// Longer text is read no differently.
const LONGEST: usize = 3 * 1024 * 1024;

/// Checks the decoder that the input chooses.
pub fn check(input: &Input<'_>) {
    match input.choice % 8 {
        0 => docker::check(input, false, &input.stretched(LONGEST)),
        1 => docker::check(input, true, &input.stretched(LONGEST)),
        2 => docker::check(input, false, &docker::frames(input)),
        3 => docker::check(input, true, &docker::terminal(input)),
        4 => http::check(input, &input.stretched(LONGEST)),
        5 => http::check_chunked(input),
        6 => amp::check(input),
        _ => lines::check(input),
    }
}
