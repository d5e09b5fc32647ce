//! The framing of PM2's sockets.

use lastgood::runtime::pm2::fuzzing::AmpDecoder;

use crate::{Input, memory};

/// Besides messages: the bookkeeping of this check.
const SLACK: usize = 4 * 1024;

pub(super) fn check(input: &Input<'_>) {
    let limit = match input.cuts[0] % 4 {
        0 => 16,
        1 => 300,
        2 => 64 * 1024,
        _ => 64 * 1024 * 1024,
    };
    let bytes = input.stretched(256 * 1024);
    let whole = decode(&[&bytes], limit);
    // Messages as they are written are the bytes that they were read from: none was lost, none was made up.
    assert!(bytes.starts_with(&whole.0.concat()));
    assert!(whole.0.iter().all(|message| message.len() <= limit));
    assert_eq!(decode(&input.pieces(&bytes), limit), whole, "in pieces");
    if bytes.len() <= 300 {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single, limit), whole, "in bytes");
    }
}

/// The messages as they are written, and the error that ended them.
fn decode(pieces: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let mut decoder = AmpDecoder::with_limit(limit);
    let mut messages = Vec::new();
    let longest = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
    for piece in pieces {
        let before = memory::held();
        decoder.push(piece);
        // A buffer doubles as it grows; half of the memory may be empty.
        let grown = memory::held().saturating_sub(before);
        assert!(
            grown <= 2 * (limit + longest) + SLACK,
            "{grown} bytes are held"
        );
        loop {
            match decoder.next_written() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}
