//! Compressed text, told by its first bytes and not by its name: gzip and zstd, unpacked while it is read.

use std::io::{self, Chain, Cursor, Read};

/// How a text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip, also of several members.
    Gzip,
    /// zstd, also of several frames.
    Zstd,
}

impl Packing {
    /// What the first bytes say; `None` for plain text.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The text of a source, plain or packed. The mark that some editors put before UTF-8 is left out: it would hide
/// the time and the level of the first line. Waits for the source's first four bytes.
///
/// # Errors
/// The source cannot be read. What is damaged or cut off is an error of the reader that is returned.
pub fn text<'a>(mut source: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut head = [0u8; 4];
    let got = fill(&mut source, &mut head)?;
    let start = match head {
        [0xef, 0xbb, 0xbf, _] => 3.min(got),
        _ => 0,
    };
    let packing = Packing::of(&head[..got]);
    let whole: Chain<Cursor<Vec<u8>>, _> = Cursor::new(head[start..got].to_vec()).chain(source);
    Ok(match packing {
        Some(Packing::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Some(Packing::Zstd) => Box::new(zstd::stream::read::Decoder::new(whole)?),
        None => Box::new(whole),
    })
}

/// Fills the buffer as far as the source goes; returns how many bytes that were.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match source.read(&mut buffer[at..]) {
            Ok(0) => break,
            Ok(got) => at += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        text(bytes)?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn packed_and_plain_are_the_same_text() {
        let plain = b"one\ntwo\n".repeat(5000);
        let members = [gzip(&plain[..9000]), gzip(&plain[9000..])].concat();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for packed in [&plain, &gzip(&plain), &members, &zstd] {
            assert_eq!(read(packed).unwrap(), plain);
        }
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(b"ab").unwrap(), b"ab");
        assert_eq!(read(b"\xef\xbb\xbfab").unwrap(), b"ab");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let packed = gzip(&b"line\n".repeat(50_000));
        let error = read(&packed[..packed.len() / 2]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
