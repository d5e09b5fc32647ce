//! The body of a streaming answer, read over a connection of our own.
//!
//! The engine sends each message of a log as an HTTP chunk of its own, at up to 300,000 a second. A general HTTP
//! client hands each of them from task to task, which costs more than everything else that happens to a line
//! together; here the chunks are taken apart in the buffer that they were read into.

use std::io::{self, Read};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// What is read at once. The kernel holds little more of a connection.
const BUFFER: usize = 64 * 1024;
/// An answer's head is a few hundred bytes.
const LONGEST_HEAD: usize = 32 * 1024;
/// The size of a chunk in hexadecimal, and extensions that nobody sends.
const LONGEST_SIZE_LINE: usize = 256;
/// So much is kept of an error's text.
const LONGEST_ERROR: usize = 64 * 1024;
/// Following, so long is waited between two reads while lines come. The kernel holds what comes meanwhile, about 220
/// messages.
const PAUSE: Duration = Duration::from_millis(1);
/// A read of so much says that the kernel's hold was about full, and that the engine may wait: no pause then.
const FULL_READ: usize = 32 * 1024;

/// A connection to the engine.
#[derive(Debug)]
pub(super) enum Io {
    /// A Unix socket, of this machine or forwarded from another.
    Unix(UnixStream),
    /// Plain TCP.
    Tcp(TcpStream),
}

impl Io {
    async fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read_buf(to).await,
            Self::Tcp(stream) => stream.read_buf(to).await,
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes).await,
            Self::Tcp(stream) => stream.write_all(bytes).await,
        }
    }

    /// The same connection, of whose bytes nobody is told.
    fn rest(self) -> io::Result<Resting> {
        Ok(match self {
            Self::Unix(stream) => Resting::Unix(stream.into_std()?),
            Self::Tcp(stream) => Resting::Tcp(stream.into_std()?),
        })
    }
}

/// A connection outside of the reactor, which would be woken for each message even while nobody reads: at 100,000
/// lines a second that costs more than reading them.
#[derive(Debug)]
enum Resting {
    Unix(std::os::unix::net::UnixStream),
    Tcp(std::net::TcpStream),
}

impl Resting {
    /// Reads what is there; `None` if nothing is.
    fn read(&mut self, to: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let before = to.len();
        to.resize(to.capacity().max(BUFFER), 0);
        let read = match self {
            Self::Unix(stream) => stream.read(&mut to[before..]),
            Self::Tcp(stream) => stream.read(&mut to[before..]),
        };
        to.truncate(before + read.as_ref().map_or(0, |size| *size));
        match read {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn wake(self) -> io::Result<Io> {
        Ok(match self {
            Self::Unix(stream) => Io::Unix(UnixStream::from_std(stream)?),
            Self::Tcp(stream) => Io::Tcp(TcpStream::from_std(stream)?),
        })
    }
}

/// How a connection is read now.
#[derive(Debug)]
enum Wire {
    /// The reactor tells when there is something.
    Awake(Io),
    /// Looked at from time to time.
    Resting(Resting),
    /// It could not be moved between the two.
    Lost,
}

/// The body of an answer; dropping it closes the connection.
#[derive(Debug)]
pub(super) struct RawBody {
    wire: Wire,
    framed: Framed,
    /// Whether to pause between reads.
    is_paced: bool,
    /// Whether the last read was a full one.
    was_full: bool,
}

/// What was read of an answer and not yet taken.
#[derive(Debug)]
struct Framed {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were taken.
    taken: usize,
    framing: Framing,
}

/// What the next byte of the connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// The line with a chunk's size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line break behind a chunk.
    ChunkEnd,
    /// So many bytes, and nothing more.
    Length(u64),
    /// Everything until the connection ends.
    Open,
    /// Nothing: it is over.
    Over,
}

/// What the buffer holds next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// Nothing before more is read.
    Wait,
    /// The body is over, properly.
    End,
}

impl RawBody {
    /// Sends `GET path` and reads the head of the answer. Gives its status too.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub(super) async fn get(mut io: Io, path: &str) -> io::Result<(u16, Self)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
        io.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let length = loop {
            let seen = buffer.len();
            if io.read(&mut buffer).await? == 0 {
                return Err(cut_off());
            }
            let from = seen.saturating_sub(3);
            if let Some(at) = memchr::memmem::find(&buffer[from..], b"\r\n\r\n") {
                break from + at + 4;
            }
            if buffer.len() > LONGEST_HEAD {
                return Err(no_http("a head without an end"));
            }
        };
        let (status, framing) = read_head(&buffer[..length])?;
        let framed = Framed {
            buffer,
            taken: length,
            framing,
        };
        let body = Self {
            wire: Wire::Awake(io),
            framed,
            is_paced: false,
            was_full: false,
        };
        Ok((status, body))
    }

    /// Pauses a little between reads from here on: for a body that may never end, where a millisecond is early
    /// enough. A body that ends is read as fast as it comes.
    pub(super) fn pace(&mut self) {
        self.is_paced = true;
    }

    /// What is here already.
    ///
    /// # Errors
    /// What came is no HTTP.
    pub(super) fn piece(&mut self) -> io::Result<Piece<'_>> {
        self.framed.piece()
    }

    /// Waits for more, once [`Self::piece`] says so. Cancelling loses nothing.
    ///
    /// # Errors
    /// The connection broke, or ended before the body did.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        let room = self.framed.room();
        let size = loop {
            match &mut self.wire {
                Wire::Awake(io) => {
                    let size = io.read(room).await?;
                    if self.is_paced {
                        self.wire = match std::mem::replace(&mut self.wire, Wire::Lost) {
                            Wire::Awake(io) => Wire::Resting(io.rest()?),
                            wire => wire,
                        };
                    }
                    break size;
                }
                Wire::Resting(resting) => {
                    let has_paused = !std::mem::take(&mut self.was_full);
                    if has_paused {
                        tokio::time::sleep(PAUSE).await;
                    }
                    if let Some(size) = resting.read(room)? {
                        break size;
                    }
                    if has_paused {
                        self.wire = match std::mem::replace(&mut self.wire, Wire::Lost) {
                            Wire::Resting(resting) => Wire::Awake(resting.wake()?),
                            wire => wire,
                        };
                    }
                }
                Wire::Lost => return Err(cut_off()),
            }
        };
        self.was_full = size >= FULL_READ;
        match size {
            0 => self.framed.end(),
            _ => Ok(()),
        }
    }

    /// All that is left, or the beginning of it: an error's text.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < LONGEST_ERROR {
            match self.piece() {
                Ok(Piece::Data(bytes)) => all.extend_from_slice(bytes),
                Ok(Piece::Wait) => {
                    if self.fill().await.is_err() {
                        break;
                    }
                }
                Ok(Piece::End) | Err(_) => break,
            }
        }
        all
    }
}

impl Framed {
    fn piece(&mut self) -> io::Result<Piece<'_>> {
        loop {
            let here = &self.buffer[self.taken..];
            match self.framing {
                Framing::Over => return Ok(Piece::End),
                _ if here.is_empty() => return Ok(Piece::Wait),
                Framing::Open => return Ok(self.take(here.len())),
                Framing::Length(left) => {
                    let size = within(left, here.len());
                    self.framing = match left - size as u64 {
                        0 => Framing::Over,
                        left => Framing::Length(left),
                    };
                    return Ok(self.take(size));
                }
                Framing::Chunk(left) => {
                    let size = within(left, here.len());
                    self.framing = match left - size as u64 {
                        0 => Framing::ChunkEnd,
                        left => Framing::Chunk(left),
                    };
                    return Ok(self.take(size));
                }
                Framing::ChunkEnd => match here {
                    [b'\r', b'\n', ..] => {
                        self.taken += 2;
                        self.framing = Framing::Size;
                    }
                    [b'\r'] => return Ok(Piece::Wait),
                    _ => return Err(no_http("a chunk longer than its size")),
                },
                Framing::Size => {
                    let Some(end) = memchr::memchr(b'\n', here) else {
                        if here.len() > LONGEST_SIZE_LINE {
                            return Err(no_http("a chunk without a size"));
                        }
                        return Ok(Piece::Wait);
                    };
                    // Trailers may follow the last chunk; nobody reads on.
                    self.framing = match read_size(&here[..end])? {
                        0 => Framing::Over,
                        size => Framing::Chunk(size),
                    };
                    self.taken += end + 1;
                }
            }
        }
    }

    fn take(&mut self, size: usize) -> Piece<'_> {
        let from = self.taken;
        self.taken += size;
        Piece::Data(&self.buffer[from..self.taken])
    }

    /// Where more goes: behind what is left, which is at most the beginning of a size line.
    fn room(&mut self) -> &mut Vec<u8> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        &mut self.buffer
    }

    /// The connection ended.
    fn end(&mut self) -> io::Result<()> {
        if self.framing != Framing::Open {
            return Err(cut_off());
        }
        self.framing = Framing::Over;
        Ok(())
    }
}

fn within(left: u64, here: usize) -> usize {
    usize::try_from(left).map_or(here, |left| left.min(here))
}

fn cut_off() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the connection ended in the middle of an answer",
    )
}

fn no_http(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("what came is no HTTP: {what}"),
    )
}

/// The status, and how the body is framed.
fn read_head(head: &[u8]) -> io::Result<(u16, Framing)> {
    let head = std::str::from_utf8(head).map_err(|_| no_http("a head that is no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok())
        .ok_or_else(|| no_http("a head without a status"))?;
    let mut framing = Framing::Open;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::Size;
            break;
        }
        if name.eq_ignore_ascii_case("content-length") {
            framing = match value
                .parse()
                .map_err(|_| no_http("a length that is none"))?
            {
                0 => Framing::Over,
                length => Framing::Length(length),
            };
        }
    }
    Ok((status, framing))
}

/// `1a2b;extension` and its `\r`.
fn read_size(line: &[u8]) -> io::Result<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let is_number = (1..=15).contains(&digits) && matches!(line.get(digits), Some(b'\r' | b';'));
    if !is_number {
        return Err(no_http("a size that is none"));
    }
    Ok(line[..digits].iter().fold(0, |n, b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            _ => (b | 0x20) - b'a' + 10,
        };
        n << 4 | u64::from(digit)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads an answer that comes in pieces of `step` bytes, and then ends.
    fn read(answer: &[u8], step: usize) -> io::Result<(u16, Vec<u8>)> {
        let head = memchr::memmem::find(answer, b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        let (status, framing) = read_head(&answer[..head])?;
        let mut framed = Framed {
            buffer: Vec::new(),
            taken: 0,
            framing,
        };
        let mut pieces = answer[head..].chunks(step);
        let mut all = Vec::new();
        loop {
            match framed.piece()? {
                Piece::Data(bytes) => all.extend_from_slice(bytes),
                Piece::End => return Ok((status, all)),
                Piece::Wait => match pieces.next() {
                    Some(piece) => framed.room().extend_from_slice(piece),
                    None => framed.end()?,
                },
            }
        }
    }

    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: x\r\nTransfer-Encoding: chunked\r\n\r\n";

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
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{body:?}");
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
    fn what_is_no_http_says_so() {
        for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
            let error = read(answer.as_bytes(), 99).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{answer:?}");
        }
        for size in [
            "xyz\r\n",
            "12x\r\n",
            "\r\n",
            "ffffffffffffffff\r\n",
            "3\r\nabcde",
        ] {
            let error = read(format!("{CHUNKED}{size}").as_bytes(), 99).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{size:?}");
        }
    }
}
