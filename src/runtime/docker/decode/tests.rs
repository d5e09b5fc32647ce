use proptest::prelude::*;

use super::*;

const T1: &str = "2026-01-01T00:00:00.000000001Z";
const T2: &str = "2026-01-01T00:00:00.000000002Z";

fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
    let mut out = vec![stream, 0, 0, 0];
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text);
    out
}

fn message(stream: u8, stamp: &str, text: &[u8]) -> Vec<u8> {
    frame(stream, &[stamp.as_bytes(), b" ", text].concat())
}

type Line = (Option<String>, Stream, Vec<u8>, u32);

fn decode_in(is_tty: bool, pieces: &[&[u8]]) -> Vec<Line> {
    let mut decoder = Decoder::new(is_tty);
    let mut block = LogBlock::default();
    for piece in pieces {
        decoder.feed(piece, &mut block);
    }
    decoder.finish(&mut block);
    block
        .iter()
        .map(|(line, text)| {
            (
                line.at.map(|t| format!("{t:.9}")),
                line.stream,
                text.to_vec(),
                line.cut_bytes,
            )
        })
        .collect()
}

fn decode(is_tty: bool, bytes: &[u8]) -> Vec<Line> {
    decode_in(is_tty, &[bytes])
}

fn out(stamp: &str, text: &[u8]) -> Line {
    (Some(stamp.to_owned()), Stream::Stdout, text.to_vec(), 0)
}

#[test]
fn the_stamp_is_the_instant_that_it_says() {
    for text in [
        "1970-01-01T00:00:00.000000000Z",
        "2000-02-29T23:59:59.999999999Z",
        "2026-11-20T16:55:42.123456789Z",
        "1999-12-31T00:00:00.5Z",
    ] {
        let expected: Timestamp = text.parse().unwrap();
        let fast = StampReader::default().read(text.as_bytes());
        assert!(
            fast == Some(expected) || (fast.is_none() && text.len() != STAMP),
            "{text}"
        );
    }
    let no_month = b"2026-13-01T00:00:00.000000000Z";
    assert_eq!(StampReader::default().read(no_month), None);
}

#[test]
fn frames_become_lines_of_their_stream() {
    let bytes = [message(1, T1, b"one\n"), message(2, T2, b"\n")].concat();
    let lines = decode(false, &bytes);
    assert_eq!(lines[0], out(T1, b"one"));
    assert_eq!(lines[1], (Some(T2.into()), Stream::Stderr, Vec::new(), 0));
}

#[test]
fn fragments_of_a_long_line_are_one_line() {
    let part = vec![b'x'; FRAGMENT];
    let bytes = [
        message(1, T1, &part),
        message(1, T1, &part),
        message(1, T1, b"end\n"),
        message(1, T2, b"next\n"),
    ]
    .concat();
    let lines = decode(false, &bytes);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].2.len(), 2 * FRAGMENT + 3);
    assert_eq!(lines[1], out(T2, b"next"));
}

#[test]
fn streams_interleave_without_mixing() {
    let part = vec![b'x'; FRAGMENT];
    let bytes = [
        message(1, T1, &part),
        message(2, T1, b"err\n"),
        message(1, T1, b"tail\n"),
    ]
    .concat();
    let lines = decode(false, &bytes);
    assert_eq!(lines[0].2, b"err");
    assert_eq!(lines[1].2.len(), FRAGMENT + 4);
}

#[test]
fn a_line_that_was_never_ended_is_not_joined_to_the_next() {
    let bytes = [message(1, T1, b"died here"), message(1, T2, b"started\n")].concat();
    assert_eq!(
        decode(false, &bytes),
        [out(T1, b"died here"), out(T2, b"started")]
    );
}

#[test]
fn a_terminal_line_may_start_with_any_byte() {
    let text = [
        T1.as_bytes(),
        b" \x01\x00\x00\x00tail\r\n",
        T2.as_bytes(),
        b" \x02\r\n",
    ]
    .concat();
    assert_eq!(
        decode(true, &text),
        [out(T1, b"\x01\x00\x00\x00tail"), out(T2, b"\x02")]
    );
}

#[test]
fn a_long_terminal_line_loses_its_inner_stamps_only() {
    let part = vec![b'x'; FRAGMENT];
    let stamp = [T1.as_bytes(), b" "].concat();
    let text = [
        &stamp[..],
        &part,
        &stamp,
        &part,
        &stamp,
        b"end\r\n",
        T2.as_bytes(),
        b" next\r\n",
    ]
    .concat();
    let lines = decode(true, &text);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].2.len(), 2 * FRAGMENT + 3);
    // A line of exactly one fragment, and one that goes on with the first byte of its stamp.
    let text = [&stamp[..], &part, b"\r\n", &stamp, &part, b"2026x\r\n"].concat();
    let lines = decode(true, &text);
    assert_eq!(lines[0].2.len(), FRAGMENT);
    assert_eq!(lines[1].2.len(), FRAGMENT + 5);
}

#[test]
fn a_giant_line_is_cut_and_counted() {
    let part = vec![b'x'; FRAGMENT];
    let mut bytes = Vec::new();
    for _ in 0..65 {
        bytes.extend(message(1, T1, &part));
    }
    bytes.extend(message(1, T1, b"\n"));
    let lines = decode(false, &bytes);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].2.len(), MAX_LINE);
    assert_eq!(lines[0].3 as usize, FRAGMENT);
}

#[test]
fn a_message_without_a_time_is_text() {
    let lines = decode(
        false,
        &frame(1, b"Error grabbing logs: unexpected EOF, this is long\n"),
    );
    assert_eq!(lines[0].0, None);
    assert_eq!(
        lines[0].2,
        b"Error grabbing logs: unexpected EOF, this is long"
    );
    assert_eq!(decode(false, &frame(1, b"\n"))[0].2, b"");
}

#[test]
fn a_short_message_without_a_time_is_not_lost() {
    let none = |text: &[u8]| (None, Stream::Stdout, text.to_vec(), 0);
    // Neither a space nor a line break says that the first word is over: the frame does.
    let bytes = [frame(1, b"panic"), message(1, T1, b"next\n")].concat();
    let lines = [none(b"panic"), out(T1, b"next")];
    assert_eq!(decode(false, &bytes), lines);
    let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode_in(false, &one_by_one), lines);
    // Nor has it the time of the line before.
    let bytes = [message(1, T1, b"first\n"), frame(1, b"panic")].concat();
    assert_eq!(decode(false, &bytes), [out(T1, b"first"), none(b"panic")]);
}

#[test]
fn a_stamp_of_zeros_is_no_time() {
    let text = [&[0; 20][..], b"123456789Z text\n"].concat();
    let lines = decode(false, &frame(1, &text));
    assert_eq!(lines[0].0, None);
    assert_eq!(lines[0].2, text[..text.len() - 1]);
}

#[test]
fn a_return_inside_of_a_cut_terminal_line_stays() {
    let mut text = [T1.as_bytes(), b" "].concat();
    let start = text.len();
    // The inner stamps are no text.
    for _ in 0..MAX_LINE / FRAGMENT {
        text.extend(vec![b'x'; FRAGMENT]);
        text.extend_from_within(..start);
    }
    let last = text.len() - start - 1;
    text[last] = b'\r';
    text.extend(b"beyond\r\n");
    let lines = decode(true, &text);
    assert_eq!((lines[0].2.len(), lines[0].3), (MAX_LINE, 7));
}

#[test]
fn two_giant_lines_hold_no_more_than_themselves() {
    let mut decoder = Decoder::new(false);
    let mut block = LogBlock::default();
    for stream in [1, 2] {
        for _ in 0..3 {
            let part = message(stream, T1, &vec![b'x'; MAX_LINE / 2 + 1]);
            decoder.feed(&part, &mut block);
        }
        assert!(
            decoder
                .assembler(read_header([stream, 0, 0, 0, 0, 0, 0, 0]).0)
                .text
                .capacity()
                <= MAX_LINE
        );
    }
}

#[test]
fn several_lines_in_one_message_share_its_time() {
    assert_eq!(
        decode(false, &message(1, T1, b"a\nb\n\nc")),
        [out(T1, b"a"), out(T1, b"b"), out(T1, b""), out(T1, b"c"),]
    );
}

fn body(is_tty: bool, lines: &[(u8, u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, (stream, nanos, text)) in lines.iter().enumerate() {
        let stamp = format!("2026-01-01T00:00:{:02}.{nanos:09}Z", i % 60);
        let text: Vec<u8> = text.iter().copied().filter(|b| *b != b'\n').collect();
        let parts: Vec<&[u8]> = if text.is_empty() {
            vec![b""]
        } else {
            text.chunks(FRAGMENT).collect()
        };
        for (n, part) in parts.iter().enumerate() {
            let end: &[u8] = match (n + 1 == parts.len(), is_tty) {
                (true, true) => b"\r\n",
                (true, false) => b"\n",
                (false, _) => b"",
            };
            if is_tty {
                bytes.extend([stamp.as_bytes(), b" ", part, end].concat());
            } else {
                bytes.extend(message(1 + stream % 2, &stamp, &[*part, end].concat()));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_chunking_gives_the_same_lines(
        is_tty in any::<bool>(),
        lines in proptest::collection::vec(
            (any::<u8>(), any::<u16>(), prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                (any::<u8>(), 16_370usize..50_000).prop_map(|(b, n)| vec![b; n]),
            ]), 0..8),
        sizes in proptest::collection::vec(1usize..5000, 1..20),
    ) {
        let bytes = body(is_tty, &lines);
        let whole = decode(is_tty, &bytes);
        prop_assert_eq!(whole.len(), lines.len());
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(decode_in(is_tty, &pieces), whole);
    }

    #[test]
    fn any_bytes_are_survived(is_tty in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(decode_in(is_tty, &one_by_one), decode(is_tty, &bytes));
    }
}
