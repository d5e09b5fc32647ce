//! Framings, in any pieces.

use super::*;
use proptest::prelude::*;

/// Reads an answer that comes in pieces of `step` bytes, and then ends.
fn read(answer: &[u8], step: usize) -> Result<(u16, Vec<u8>), io::ErrorKind> {
    let answer = pieces::read(answer.chunks(step));
    match answer.error {
        Some(error) => Err(error),
        None => Ok((answer.status.unwrap(), answer.body)),
    }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: x\r\nTransfer-Encoding: chunked\r\n\r\n";

proptest! {
    #[test]
    fn chunks_in_any_pieces_are_the_body(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 0..12),
        step in 1usize..700,
    ) {
        let mut answer = CHUNKED.as_bytes().to_vec();
        for chunk in &chunks {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        let (status, body) = read(&answer, step).unwrap();
        prop_assert_eq!(status, 200);
        prop_assert_eq!(body, chunks.concat());
    }

    #[test]
    fn any_answer_is_survived(answer in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&answer, 50);
        let _ = read(&[CHUNKED.as_bytes(), &answer].concat(), 50);
    }
}

#[test]
fn a_body_that_is_cut_off_is_an_error_and_no_end() {
    for body in ["5\r\nab", "5\r\nabcde\r\n", "5", ""] {
        let error = read(format!("{CHUNKED}{body}").as_bytes(), 9).unwrap_err();
        assert_eq!(error, io::ErrorKind::UnexpectedEof, "{body:?}");
    }
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    assert!(read(cut, 9).is_err());
}

#[test]
fn other_framings_are_read_too() {
    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nabcmore";
    assert_eq!(read(answer, 9).unwrap(), (404, b"abc".to_vec()));
    let answer = b"HTTP/1.0 200 OK\r\n\r\nabc";
    assert_eq!(read(answer, 9).unwrap(), (200, b"abc".to_vec()));
}

#[test]
fn a_name_in_the_head_is_found_however_it_is_written() {
    let head = "HTTP/1.1 200 OK\r\nOstype: linux\r\nAPI-version:1.41 \r\n\r\n";
    assert_eq!(header(head, "Api-Version"), Some("1.41"));
    assert_eq!(header(head, "Version"), None);
}

#[test]
fn a_head_has_its_limit_in_one_piece_too() {
    let answer = format!(
        "HTTP/1.0 200 OK\r\nx: {}\r\n\r\nabc",
        "y".repeat(LONGEST_HEAD)
    );
    for step in [99, usize::MAX] {
        let error = read(answer.as_bytes(), step).unwrap_err();
        assert_eq!(error, io::ErrorKind::InvalidData);
    }
}

#[test]
fn what_is_no_http_says_so() {
    for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
        let error = read(answer.as_bytes(), 99).unwrap_err();
        assert_eq!(error, io::ErrorKind::InvalidData, "{answer:?}");
    }
    for size in [
        "xyz\r\n",
        "12x\r\n",
        "\r\n",
        "ffffffffffffffff\r\n",
        "3\r\nabcde",
        // As long in one piece as in several.
        &format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(LONGEST_SIZE_LINE)),
    ] {
        for step in [99, 9999] {
            let error = read(format!("{CHUNKED}{size}").as_bytes(), step).unwrap_err();
            assert_eq!(error, io::ErrorKind::InvalidData, "{size:?}");
        }
    }
}
