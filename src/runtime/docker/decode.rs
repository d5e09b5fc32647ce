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

use self::stamp::{STAMP, StampReader};
use crate::domain::log::{LogBlock, Stream};

mod stamp;

/// A longer line is cut, and the number of bytes cut is kept with it.
pub const MAX_LINE: usize = 1024 * 1024;
/// The engine cuts messages into fragments of this size.
const FRAGMENT: usize = 16 * 1024;
/// No RFC 3339 time is longer, so a longer first word is text.
const MAX_STAMP: usize = 40;
/// The header of a frame: stream, three zeros, length.
const HEADER: usize = 8;

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
    Header { bytes: [u8; HEADER], have: usize },
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
            let is_start = matches!(self.framing, Framing::Header { have: 0, .. });
            if is_start && self.take_message(&mut bytes, to) {
                continue;
            }
            match &mut self.framing {
                Framing::Tty => {
                    self.out.text(bytes, to);
                    return;
                }
                Framing::Header { bytes: head, have } => {
                    let take = (HEADER - *have).min(bytes.len());
                    head[*have..*have + take].copy_from_slice(&bytes[..take]);
                    *have += take;
                    bytes = &bytes[take..];
                    if *have < HEADER {
                        return;
                    }
                    let (stream, left) = read_header(*head);
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
                    let assembler = self.assembler(stream);
                    assembler.text(payload, to);
                    if is_over {
                        assembler.end_message(to);
                        self.framing = header();
                    }
                }
            }
        }
    }

    /// Nearly every message is one whole line and stands whole in the piece: it goes into the block without a detour
    /// through the states. Takes nothing of any other.
    fn take_message(&mut self, bytes: &mut &[u8], to: &mut LogBlock) -> bool {
        let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return false;
        };
        let (stream, length) = read_header(*head);
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        if !self.assembler(stream).take_whole(payload, to) {
            return false;
        }
        self.messages += 1;
        *bytes = rest;
        true
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

fn read_header(head: [u8; HEADER]) -> (Stream, usize) {
    let [stream, _, _, _, length @ ..] = head;
    let stream = match stream {
        2 => Stream::Stderr,
        _ => Stream::Stdout,
    };
    (stream, u32::from_be_bytes(length) as usize)
}

fn header() -> Framing {
    Framing::Header {
        bytes: [0; HEADER],
        have: 0,
    }
}

/// Puts the lines of one stream together.
#[derive(Debug)]
struct Assembler {
    stream: Stream,
    is_tty: bool,
    state: State,
    stamps: StampReader,
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
            stamps: StampReader::default(),
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

    /// Takes a message that is one line with a time and its `\n`, while no line is open.
    fn take_whole(&mut self, message: &[u8], to: &mut LogBlock) -> bool {
        let Some((stamp, [b' ', line @ ..])) = message.split_at_checked(STAMP) else {
            return false;
        };
        let Some((text, [])) =
            memchr::memchr(b'\n', line).map(|end| (&line[..end], &line[end + 1..]))
        else {
            return false;
        };
        if self.length > 0 || text.len() > MAX_LINE {
            return false;
        }
        let Some(at) = self.stamps.read(stamp) else {
            return false;
        };
        to.push(Some(at), self.stream, text, 0);
        // A message without text may have begun a line.
        self.has_line = false;
        true
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
            && let Some(at) = self.stamps.read(&bytes[..STAMP])
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
        if stop.is_some() || self.stamp.len() > MAX_STAMP {
            self.end_stamp(to);
        }
        &bytes[used..]
    }

    /// The first word of a message is whole: it is a time, or text like everything behind it.
    fn end_stamp(&mut self, to: &mut LogBlock) {
        // A message may be `TIME` and nothing else but its `\n`.
        let word = self.stamp.strip_suffix(b" ").unwrap_or(&self.stamp);
        let at = Some(word)
            .filter(|word| word.len() <= MAX_STAMP)
            .and_then(|word| std::str::from_utf8(word).ok()?.parse::<Timestamp>().ok());
        self.begin_text(at, to);
        if at.is_none() {
            let stamp = std::mem::take(&mut self.stamp);
            self.append(&stamp);
        }
    }

    /// Nothing more of this message comes, though its first word was not ended by a space or a line break.
    fn end_message(&mut self, to: &mut LogBlock) {
        if self.state == State::Stamp && !self.stamp.is_empty() {
            self.end_stamp(to);
        }
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
        let needed = self.text.len() + take;
        if needed > self.text.capacity() {
            // Doubling, but not beyond the limit.
            let capacity = needed.max(2 * self.text.capacity()).min(MAX_LINE);
            self.text.reserve_exact(capacity - self.text.len());
        }
        self.text.extend_from_slice(&bytes[..take]);
        self.cut = self
            .cut
            .saturating_add(u32::try_from(bytes.len() - take).unwrap_or(u32::MAX));
    }

    /// A terminal ends its lines with `\r\n`. Of a line that was cut that end is gone.
    fn trim<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match line {
            [rest @ .., b'\r'] if self.is_tty && self.cut == 0 => rest,
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
            State::Stamp | State::Text => self.end_message(to),
        }
        if self.has_line && self.length > 0 {
            self.emit(to);
        }
        self.start_over();
        self.begin_message();
    }
}

#[cfg(test)]
mod tests;
