//! The body of a streaming answer, read over a connection of our own.
//!
//! The engine sends each message of a log as an HTTP chunk of its own, at up to 300,000 a second. A general HTTP
//! client hands each of them from task to task, which costs more than everything else that happens to a line
//! together; here the chunks are taken apart in the buffer that they were read into.

use std::io;

pub(super) use self::wire::Io;
use self::wire::Wire;

#[cfg(any(test, fuzzing))]
pub(super) mod pieces;
mod wire;

/// What is read at once; the kernel holds less of a connection.
const BUFFER: usize = 64 * 1024;
/// An answer's head is a few hundred bytes.
const LONGEST_HEAD: usize = 32 * 1024;
/// The size of a chunk in hexadecimal, and extensions that nobody sends.
const LONGEST_SIZE_LINE: usize = 256;
/// So much is kept of an error's text.
const LONGEST_ERROR: usize = 64 * 1024;
/// The body of an answer; dropping it closes the connection.
#[derive(Debug)]
pub(super) struct RawBody {
    wire: Wire,
    framed: Framed,
    head: String,
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
    pub(super) async fn get(io: Io, path: &str) -> io::Result<(u16, Self)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
        Self::ask(io, request.as_bytes()).await
    }

    /// Sends `POST path` with a body of JSON and reads the head of the answer. Gives its status too.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub(super) async fn post(io: Io, path: &str, json: &[u8]) -> io::Result<(u16, Self)> {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            json.len()
        )
        .into_bytes();
        request.extend_from_slice(json);
        Self::ask(io, &request).await
    }

    async fn ask(mut io: Io, request: &[u8]) -> io::Result<(u16, Self)> {
        io.write_all(request).await?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let length = loop {
            let seen = buffer.len();
            if io.read(&mut buffer).await? == 0 {
                return Err(cut_off());
            }
            if let Some(end) = end_of_head(&buffer, seen)? {
                break end;
            }
        };
        let (status, framing) = read_head(&buffer[..length])?;
        let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let framed = Framed {
            buffer,
            taken: length,
            framing,
        };
        let body = Self {
            wire: Wire::new(io),
            framed,
            head,
        };
        Ok((status, body))
    }

    /// What the head of the answer says under a name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Pauses a little between reads from here on: for a body that may never end, where a millisecond is early
    /// enough. A body that ends is read as fast as it comes.
    pub(super) fn pace(&mut self) {
        self.wire.pace();
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
        let size = self.wire.read(self.framed.room()).await?;
        match size {
            0 => self.framed.end(),
            _ => Ok(()),
        }
    }

    /// All that is left, whole.
    ///
    /// # Errors
    /// The connection broke, it is over `most` bytes, or what came is no HTTP.
    pub(super) async fn whole(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            match self.piece()? {
                Piece::Data(bytes) => all.extend_from_slice(bytes),
                Piece::Wait => self.fill().await?,
                Piece::End => return Ok(all),
            }
            if all.len() > most {
                return Err(no_http("an answer that is too long"));
            }
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

/// A whole answer, after which others may come over the same connection.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// None comes after it.
    pub(super) is_last: bool,
}

/// Reads the next answer of at most so many bytes. `early` is what was read behind the one before it.
///
/// # Errors
/// The connection broke or ended, it is longer, or what came is no HTTP.
pub(super) async fn read_reply(io: &mut Io, early: &mut Vec<u8>, most: usize) -> io::Result<Reply> {
    let mut seen = 0;
    let length = loop {
        // The end of the last chunk of the answer before it.
        if early.starts_with(b"\r\n") {
            early.drain(..2);
        }
        if let Some(end) = end_of_head(early, seen)? {
            break end;
        }
        seen = early.len();
        if io.read(early).await? == 0 {
            return Err(cut_off());
        }
    };
    let (status, framing) = read_head(&early[..length])?;
    let head = String::from_utf8_lossy(&early[..length]);
    let closes = header(&head, "Connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
    let is_last = closes || framing == Framing::Open;
    let mut framed = Framed {
        buffer: std::mem::take(early),
        taken: length,
        framing,
    };
    let mut body = Vec::new();
    loop {
        match framed.piece()? {
            Piece::Data(bytes) => body.extend_from_slice(bytes),
            Piece::Wait => {
                if io.read(framed.room()).await? == 0 {
                    framed.end()?;
                }
            }
            Piece::End => break,
        }
        if body.len() > most {
            return Err(no_http("an answer that is too long"));
        }
    }
    framed.room();
    *early = framed.buffer;
    Ok(Reply {
        status,
        body,
        is_last,
    })
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
                    let end = memchr::memchr(b'\n', here);
                    if end.unwrap_or(here.len()) > LONGEST_SIZE_LINE {
                        return Err(no_http("a chunk without a size"));
                    }
                    let Some(end) = end else {
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

/// Where the head of an answer ends, of which the first `seen` bytes were looked at before; `None` where more has to be
/// read.
fn end_of_head(answer: &[u8], seen: usize) -> io::Result<Option<usize>> {
    let from = seen.saturating_sub(3);
    let end = memchr::memmem::find(&answer[from..], b"\r\n\r\n").map(|at| from + at + 4);
    if end.unwrap_or(answer.len()) > LONGEST_HEAD {
        return Err(no_http("a head without an end"));
    }
    Ok(end)
}

/// What stands in a head under a name.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").skip(1);
    let mut named = lines.filter_map(|line| line.split_once(':'));
    let (_, value) = named.find(|(own, _)| own.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim())
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
mod tests;
