//! An answer read from pieces instead of a connection, for the tests and the fuzz targets.

use super::*;

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runtime::docker) struct Answer {
    /// `None` where its head could not be read.
    pub(in crate::runtime::docker) status: Option<u16>,
    /// The body as far as it could be read.
    pub(in crate::runtime::docker) body: Vec<u8>,
    /// Why it could not be read to its end.
    pub(in crate::runtime::docker) error: Option<io::ErrorKind>,
}

/// Reads an answer that comes in these pieces, and then the connection ends.
pub(in crate::runtime::docker) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    let mut answer = Answer {
        status: None,
        body: Vec::new(),
        error: None,
    };
    answer.error = read_into(&mut answer, pieces.into_iter())
        .err()
        .map(|error| error.kind());
    answer
}

fn read_into<'a>(
    answer: &mut Answer,
    mut pieces: impl Iterator<Item = &'a [u8]>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let length = loop {
        let seen = buffer.len();
        buffer.extend_from_slice(pieces.next().ok_or_else(cut_off)?);
        if let Some(end) = end_of_head(&buffer, seen)? {
            break end;
        }
    };
    let (status, framing) = read_head(&buffer[..length])?;
    answer.status = Some(status);
    let mut framed = Framed {
        buffer,
        taken: length,
        framing,
    };
    loop {
        match framed.piece()? {
            Piece::Data(bytes) => answer.body.extend_from_slice(bytes),
            Piece::End => return Ok(()),
            Piece::Wait => match pieces.next() {
                Some(piece) => {
                    let room = framed.room();
                    assert!(
                        room.len() <= LONGEST_SIZE_LINE,
                        "more is kept than a size line"
                    );
                    room.extend_from_slice(piece);
                }
                None => framed.end()?,
            },
        }
    }
}
