//! The HTTP around the engine's streams.

use std::io::ErrorKind;

use lastgood::runtime::docker::fuzzing::read_answer;

use super::docker;
use crate::Input;

pub(super) fn check(input: &Input<'_>, answer: &[u8]) {
    let whole = read_answer([answer]);
    assert!(
        whole.1.len() <= answer.len(),
        "a body longer than its answer"
    );
    assert!(
        matches!(
            whole.2,
            None | Some(ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
        ),
        "{:?}",
        whole.2
    );
    assert_eq!(read_answer(input.pieces(answer)), whole, "in pieces");
    if answer.len() <= 300 {
        assert_eq!(read_answer(answer.chunks(1)), whole, "in bytes");
    }
}

/// Chunks, each behind its size, are the body, and the body of a log gives its lines.
pub(super) fn check_chunked(input: &Input<'_>) {
    let body = docker::frames(input);
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in input.pieces(&body) {
        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(chunk);
        answer.extend_from_slice(b"\r\n");
    }
    // Without its last chunk an answer is cut off.
    let (status, read, error) = read_answer([answer.as_slice()]);
    assert_eq!((status, &read), (Some(200), &body));
    assert_eq!(error, Some(ErrorKind::UnexpectedEof));
    answer.extend_from_slice(b"0\r\n\r\n");
    let (_, read, error) = read_answer(answer.chunks(1 + usize::from(input.cuts[2]) * 7));
    assert_eq!((&read, error), (&body, None));
    docker::check(input, false, &read);
}
