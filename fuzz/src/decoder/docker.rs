//! The engine's logs, framed and from a terminal.

use jiff::Timestamp;
use lastgood::domain::log::{LogBlock, RawLine, Stream};
use lastgood::runtime::docker::decode::{Decoder, MAX_LINE};

use super::LONGEST;
use crate::{Input, Stretch, memory};

/// The engine cuts messages into fragments of this size.
const FRAGMENT: usize = 16 * 1024;
/// A longer first word is no time.
const MAX_STAMP: usize = 40;
/// Besides two lines: the decoder's two stamps.
const SLACK: usize = 4 * 1024;

/// A line as the decoder gives it, and as it has to be.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    at: Option<Timestamp>,
    stream: Stream,
    text: Vec<u8>,
    cut_bytes: u32,
}

pub(super) fn check(input: &Input<'_>, is_tty: bool, bytes: &[u8]) {
    let (expected, messages) = match is_tty {
        true => read_terminal(bytes),
        false => read_frames(bytes),
    };
    let whole = decode(is_tty, &[bytes]);
    assert_eq!(whole.0, expected, "in one piece");
    assert_eq!(whole.1, messages);
    assert!(decode(is_tty, &input.pieces(bytes)) == whole, "in pieces");
    if bytes.len() <= 300 {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(is_tty, &single), whole, "in bytes");
    }
}

fn decode(is_tty: bool, pieces: &[&[u8]]) -> (Vec<Line>, u64) {
    let before = memory::held();
    let mut decoder = Decoder::new(is_tty);
    let mut block = LogBlock::default();
    for piece in pieces {
        decoder.feed(piece, &mut block);
        let lines = block.bytes.capacity() + block.lines.capacity() * size_of::<RawLine>();
        let grown = memory::held().saturating_sub(before + lines);
        assert!(grown <= 2 * MAX_LINE + SLACK, "{grown} bytes are held");
    }
    decoder.finish(&mut block);
    let lines = block
        .iter()
        .map(|(line, text)| Line {
            at: line.at,
            stream: line.stream,
            text: text.to_vec(),
            cut_bytes: line.cut_bytes,
        })
        .collect();
    (lines, decoder.messages())
}

/// A line that is being put together, the simple way: all of it is kept.
#[derive(Default)]
struct Open {
    at: Option<Timestamp>,
    text: Vec<u8>,
}

impl Open {
    fn end(&mut self, stream: Stream, is_tty: bool, to: &mut Vec<Line>) {
        let mut text = std::mem::take(&mut self.text);
        let cut = text.len().saturating_sub(MAX_LINE);
        text.truncate(MAX_LINE);
        if is_tty && cut == 0 && text.last() == Some(&b'\r') {
            text.pop();
        }
        to.push(Line {
            at: self.at,
            stream,
            text,
            cut_bytes: cut as u32,
        });
    }
}

/// The first word of a message as a time, and what stands behind it; all of it where it is no time.
fn cut_stamp(message: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let first = &message[..message.len().min(MAX_STAMP + 1)];
    let end = first.iter().position(|byte| matches!(byte, b' ' | b'\n'));
    // A message that ends within its first word may be a time and nothing else.
    let end = end.unwrap_or(first.len());
    let time = std::str::from_utf8(&first[..end])
        .ok()
        .filter(|word| word.len() <= MAX_STAMP)
        .and_then(|word| word.parse().ok());
    let behind = match message.get(end) {
        Some(b' ') => &message[end + 1..],
        _ => &message[end..],
    };
    (time, if time.is_some() { behind } else { message })
}

/// Reads frames as the documentation of the engine describes them.
fn read_frames(mut bytes: &[u8]) -> (Vec<Line>, u64) {
    let mut lines = Vec::new();
    let mut open = [Open::default(), Open::default()];
    let mut messages = 0;
    while let Some((&[kind, _, _, _, a, b, c, d], rest)) = bytes.split_first_chunk() {
        messages += 1;
        let stream = if kind == 2 {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        let open = &mut open[usize::from(kind == 2)];
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let message = &rest[..length.min(rest.len())];
        bytes = &rest[message.len()..];
        if message.is_empty() {
            continue;
        }
        let (at, text) = cut_stamp(message);
        if !open.text.is_empty() && (open.at != at || at.is_none()) {
            open.end(stream, false, &mut lines);
        }
        open.at = at;
        let mut parts = text.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            open.text.extend_from_slice(part);
            if parts.peek().is_some() {
                open.end(stream, false, &mut lines);
            }
        }
    }
    for (open, stream) in open.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
        if !open.text.is_empty() {
            open.end(stream, false, &mut lines);
        }
    }
    (lines, messages)
}

/// Reads a terminal's log: a time in front of each line, and again in front of each fragment of a long one.
fn read_terminal(bytes: &[u8]) -> (Vec<Line>, u64) {
    let mut lines = Vec::new();
    let mut messages = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        messages += 1;
        let (at, behind) = cut_stamp(line);
        let stamp = &line[..line.len() - behind.len()];
        let mut open = Open {
            at,
            text: Vec::new(),
        };
        let mut rest = behind.strip_suffix(b"\n").unwrap_or(behind);
        loop {
            let (fragment, behind) = rest.split_at(rest.len().min(FRAGMENT));
            open.text.extend_from_slice(fragment);
            rest = behind;
            if fragment.len() < FRAGMENT {
                break;
            }
            if let Some(behind) = rest.strip_prefix(stamp).filter(|_| !stamp.is_empty()) {
                messages += 1;
                rest = behind;
            }
        }
        if line.ends_with(b"\n") || !open.text.is_empty() {
            open.end(Stream::Stdout, true, &mut lines);
        }
    }
    (lines, messages)
}

const STAMPS: [&str; 8] = [
    "2026-01-01T00:00:00.000000001Z ",
    "2026-01-01T00:00:00.000000001Z ",
    "2026-01-01T00:00:00.000000002Z ",
    "2026-01-01T00:00:01.000000001Z ",
    "2026-01-01T00:00:00.5Z ",
    "2026-01-01T00:00:00+03:00 ",
    "2026-01-01T00:00:00.000000001Z",
    "",
];

/// Messages of the text, one for each part between bytes 0xff: a byte of choices, then what it says.
fn messages<'a>(
    input: &'a Input<'_>,
) -> impl Iterator<Item = (u8, &'static str, Vec<u8>, &'static [u8])> + 'a {
    let mut room = LONGEST;
    input
        .text
        .split(|byte| *byte == 0xff)
        .filter_map(move |part| {
            let (choice, text) = part.split_first()?;
            let stretch = Stretch {
                // One in four of the messages of an input that is stretched.
                size: if choice & 0xc0 == 0xc0 {
                    input.stretch.size
                } else {
                    0
                },
                ..input.stretch
            };
            let text = stretch.apply(text, room);
            room = room.saturating_sub(text.len());
            let end: &[u8] = match choice >> 4 & 3 {
                0 | 1 => b"\n",
                2 => b"\r\n",
                _ => b"",
            };
            let stamp = STAMPS[usize::from(choice >> 1 & 7)];
            Some((choice & 1, stamp, text, end))
        })
}

/// A body of frames, well formed.
pub(super) fn frames(input: &Input<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for (stream, stamp, text, end) in messages(input) {
        let message = [stamp.as_bytes(), &text, end].concat();
        body.extend_from_slice(&[1 + stream, 0, 0, 0]);
        body.extend_from_slice(&(message.len() as u32).to_be_bytes());
        body.extend_from_slice(&message);
    }
    body
}

/// A terminal's body, its long lines in fragments as the engine writes them.
pub(super) fn terminal(input: &Input<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for (_, stamp, text, end) in messages(input) {
        let mut fragments = text.chunks(FRAGMENT).peekable();
        if fragments.peek().is_none() {
            body.extend_from_slice(stamp.as_bytes());
        }
        for fragment in fragments {
            body.extend_from_slice(stamp.as_bytes());
            body.extend_from_slice(fragment);
        }
        body.extend_from_slice(end);
    }
    body
}
