//! Decodes the raw body of the engine's logs API into lines.
//!
//! A client library that guesses the framing from the bytes freezes for ever on a terminal line that starts with
//! a byte 0x00 to 0x02, and one that takes a frame for a line shows a 40,000-character line as three. So the
//! framing is what `Config.Tty` says, timestamps are always asked for, and a line is over where its `\n` is:
//!
//! - without a terminal, 8-byte headers (`stream 0 0 0 length`) cut the body into frames, one a message;
//! - with a terminal, the body is the bare text;
//! - each message begins with its RFC 3339 time and a space; messages over 16 KiB come in fragments that share one
//!   time, each with the time in front again.

use jiff::Timestamp;

use crate::domain::log::{LogBlock, Stream};

/// A longer line is cut, and the number of bytes cut is kept with it.
pub const MAX_LINE: usize = 1024 * 1024;
/// The engine cuts messages into fragments of this size.
const FRAGMENT: usize = 16 * 1024;
/// No RFC 3339 time is longer, so a longer first word is text.
const MAX_STAMP: usize = 40;
/// The engine always writes nine digits and `Z`.
const STAMP: usize = "2026-01-01T00:00:00.000000000Z".len();

/// An incremental decoder: bytes in, in any pieces, whole lines out. Memory stays under two times [`MAX_LINE`]
/// besides what the block holds.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    out: Assembler,
    err: Assembler,
    messages: u64,
}

#[derive(Debug)]
enum Framing {
    Tty,
    Header { bytes: [u8; 8], have: usize },
    Payload { stream: Stream, left: usize },
}

impl Decoder {
    /// A decoder for a container with or without a terminal (`Config.Tty`).
    pub fn new(is_tty: bool) -> Self {
        let framing = if is_tty { Framing::Tty } else { header() };
        Self {
            framing,
            out: Assembler::new(Stream::Stdout, is_tty),
            err: Assembler::new(Stream::Stderr, is_tty),
            messages: 0,
        }
    }

    /// How many messages the engine has sent: fragments of a long line count each, as in its own `tail`.
    pub fn messages(&self) -> u64 {
        self.messages + self.out.fragments
    }

    /// Takes the next piece of the body and appends every line that is whole now.
    pub fn feed(&mut self, mut bytes: &[u8], to: &mut LogBlock) {
        while !bytes.is_empty() {
            match &mut self.framing {
                Framing::Tty => {
                    self.out.text(bytes, to);
                    return;
                }
                Framing::Header { bytes: head, have } => {
                    let take = (8 - *have).min(bytes.len());
                    head[*have..*have + take].copy_from_slice(&bytes[..take]);
                    *have += take;
                    bytes = &bytes[take..];
                    if *have < 8 {
                        return;
                    }
                    let stream = if head[0] == 2 {
                        Stream::Stderr
                    } else {
                        Stream::Stdout
                    };
                    let left = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
                    self.messages += 1;
                    self.framing = if left == 0 {
                        header()
                    } else {
                        self.assembler(stream).begin_message();
                        Framing::Payload { stream, left }
                    };
                }
                Framing::Payload { stream, left } => {
                    let stream = *stream;
                    let take = (*left).min(bytes.len());
                    *left -= take;
                    let is_over = *left == 0;
                    let (payload, rest) = bytes.split_at(take);
                    bytes = rest;
                    if is_over {
                        self.framing = header();
                    }
                    self.assembler(stream).text(payload, to);
                }
            }
        }
    }

    /// The body is over: what is left without a `\n` (a prompt, a last word) is a line too.
    pub fn finish(&mut self, to: &mut LogBlock) {
        self.out.finish(to);
        self.err.finish(to);
    }

    fn assembler(&mut self, stream: Stream) -> &mut Assembler {
        match stream {
            Stream::Stdout => &mut self.out,
            Stream::Stderr => &mut self.err,
        }
    }
}

fn header() -> Framing {
    Framing::Header {
        bytes: [0; 8],
        have: 0,
    }
}

/// Puts the lines of one stream together.
#[derive(Debug)]
struct Assembler {
    stream: Stream,
    is_tty: bool,
    state: State,
    /// The time in front of the current message, as it was written.
    stamp: Vec<u8>,
    /// The time of the line that is being put together.
    at: Option<Timestamp>,
    /// Its text so far; empty while a line starts.
    text: Vec<u8>,
    has_line: bool,
    cut: u32,
    /// Bytes of its text so far, those that were cut too.
    length: usize,
    /// Terminal messages counted: line starts and inner stamps.
    fragments: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Reading the time in front of a message.
    Stamp,
    /// Reading text.
    Text,
    /// Terminal, at a multiple of 16 KiB: so many bytes of the line's own stamp were seen again.
    MaybeStamp(usize),
}

impl Assembler {
    fn new(stream: Stream, is_tty: bool) -> Self {
        Self {
            stream,
            is_tty,
            state: State::Stamp,
            stamp: Vec::with_capacity(MAX_STAMP + 1),
            at: None,
            text: Vec::new(),
            has_line: false,
            cut: 0,
            length: 0,
            fragments: 0,
        }
    }

    /// A frame begins, and with it a time.
    fn begin_message(&mut self) {
        self.state = State::Stamp;
        self.stamp.clear();
    }

    fn text(&mut self, mut bytes: &[u8], to: &mut LogBlock) {
        while !bytes.is_empty() {
            match self.state {
                State::Stamp => bytes = self.take_stamp(bytes, to),
                State::MaybeStamp(seen) => {
                    if bytes[0] == self.stamp[seen] {
                        bytes = &bytes[1..];
                        self.state = State::MaybeStamp(seen + 1);
                        if seen + 1 == self.stamp.len() {
                            self.fragments += 1;
                            self.state = State::Text;
                        }
                    } else {
                        // It only looked like the stamp: it is text.
                        self.state = State::Text;
                        let stamp = std::mem::take(&mut self.stamp);
                        self.append(&stamp[..seen]);
                        self.stamp = stamp;
                    }
                }
                State::Text => bytes = self.take_text(bytes, to),
            }
        }
    }

    /// Reads the time up to its space. Returns the bytes behind it.
    fn take_stamp<'a>(&mut self, bytes: &'a [u8], to: &mut LogBlock) -> &'a [u8] {
        // Nearly always the stamp is whole in this piece.
        if self.stamp.is_empty()
            && bytes.get(STAMP) == Some(&b' ')
            && let Some(at) = parse_stamp(&bytes[..STAMP])
        {
            if self.is_tty {
                self.stamp.extend_from_slice(&bytes[..=STAMP]);
            }
            self.begin_text(Some(at), to);
            return &bytes[STAMP + 1..];
        }
        let room = (MAX_STAMP + 1).saturating_sub(self.stamp.len());
        let piece = &bytes[..room.min(bytes.len())];
        let stop = piece.iter().position(|&b| b == b' ' || b == b'\n');
        let used = stop.map_or(piece.len(), |end| end + usize::from(piece[end] == b' '));
        self.stamp.extend_from_slice(&piece[..used]);
        let at = match (stop, self.stamp.split_last()) {
            (Some(_), Some((b' ', word))) => std::str::from_utf8(word)
                .ok()
                .and_then(|w| w.parse::<Timestamp>().ok()),
            // A message may be `TIME` and nothing else but its `\n`.
            (Some(_), _) => std::str::from_utf8(&self.stamp)
                .ok()
                .and_then(|w| w.parse::<Timestamp>().ok()),
            (None, _) if self.stamp.len() <= MAX_STAMP => return &bytes[used..],
            (None, _) => None,
        };
        self.begin_text(at, to);
        if at.is_none() {
            // No time in front: everything is text.
            let stamp = std::mem::take(&mut self.stamp);
            self.append(&stamp);
        }
        &bytes[used..]
    }

    /// The time of a message is known: it continues the open line, or ends it and starts another.
    fn begin_text(&mut self, at: Option<Timestamp>, to: &mut LogBlock) {
        // Fragments share one time; a line that the process never ended (it died, it printed a prompt) does not.
        if self.has_line && self.length > 0 && (self.at != at || at.is_none()) {
            self.emit(to);
        }
        if self.is_tty {
            self.fragments += 1;
        }
        self.at = at;
        self.has_line = true;
        self.state = State::Text;
    }

    fn take_text<'a>(&mut self, bytes: &'a [u8], to: &mut LogBlock) -> &'a [u8] {
        // A terminal's fragments are not framed: look for the stamp at each multiple of their size.
        let room = if self.is_tty && !self.stamp.is_empty() {
            FRAGMENT - self.length % FRAGMENT
        } else {
            usize::MAX
        };
        let piece = &bytes[..room.min(bytes.len())];
        match memchr::memchr(b'\n', piece) {
            Some(end) => {
                if self.text.is_empty() && self.cut == 0 && end <= MAX_LINE {
                    // The whole line is here: no copy but the one into the block.
                    let text = self.trim(&piece[..end]);
                    to.push(self.at, self.stream, text, 0);
                    self.start_over();
                } else {
                    self.append(&piece[..end]);
                    self.emit(to);
                }
                if self.is_tty {
                    self.begin_message();
                } else {
                    // More lines in one message share its time.
                    self.has_line = false;
                    self.state = State::Text;
                }
                &bytes[end + 1..]
            }
            None => {
                self.has_line = true;
                self.append(piece);
                if piece.len() == room {
                    self.state = State::MaybeStamp(0);
                }
                &bytes[piece.len()..]
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        let room = MAX_LINE - self.text.len();
        let take = room.min(bytes.len());
        self.text.extend_from_slice(&bytes[..take]);
        self.cut = self
            .cut
            .saturating_add(u32::try_from(bytes.len() - take).unwrap_or(u32::MAX));
    }

    /// A terminal ends its lines with `\r\n`.
    fn trim<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match line {
            [rest @ .., b'\r'] if self.is_tty => rest,
            _ => line,
        }
    }

    fn emit(&mut self, to: &mut LogBlock) {
        let text = self.trim(&self.text);
        to.push(self.at, self.stream, text, self.cut);
        self.start_over();
    }

    fn start_over(&mut self) {
        self.text.clear();
        // One giant line must not hold its memory for the rest of the stream.
        self.text.shrink_to(4 * FRAGMENT);
        self.cut = 0;
        self.length = 0;
        self.has_line = false;
    }

    fn finish(&mut self, to: &mut LogBlock) {
        match self.state {
            State::MaybeStamp(seen) => {
                let stamp = std::mem::take(&mut self.stamp);
                self.append(&stamp[..seen]);
            }
            State::Stamp if !self.stamp.is_empty() => {
                let stamp = std::mem::take(&mut self.stamp);
                let is_time = std::str::from_utf8(&stamp)
                    .is_ok_and(|w| w.trim_end().parse::<Timestamp>().is_ok());
                if !is_time {
                    self.has_line = true;
                    self.append(&stamp);
                }
            }
            State::Stamp | State::Text => {}
        }
        if self.has_line && self.length > 0 {
            self.emit(to);
        }
        self.start_over();
        self.begin_message();
    }
}

/// Reads `2026-01-01T00:00:00.000000000Z` without allocating; `None` for any other form.
fn parse_stamp(bytes: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, to: usize| -> Option<i64> {
        bytes.get(from..to)?.iter().try_fold(0i64, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
        })
    };
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (29, b'Z'),
    ];
    if bytes.len() != STAMP || marks.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    jiff::civil::Date::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
    )
    .ok()?;
    // Days since 1970 of a civil date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Timestamp::new(seconds, i32::try_from(number(20, 29)?).ok()?).ok()
}

#[cfg(test)]
mod tests {
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
            let fast = parse_stamp(text.as_bytes());
            assert!(
                fast == Some(expected) || (fast.is_none() && text.len() != STAMP),
                "{text}"
            );
        }
        assert_eq!(parse_stamp(b"2026-13-01T00:00:00.000000000Z"), None);
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
}
