//! AMP, the framing of PM2's sockets: a byte `(version << 4) | argc`, then for each argument a big-endian `u32`
//! length and its bytes. An argument that begins with `s:` is text, with `j:` JSON, anything else is binary.
//!
//! What comes in is not trusted: a frame is bounded, and whatever is not well formed is an error, never a panic.
//! JSON is not taken apart here. It holds the whole environment of an application, so that only those who know
//! which fields they need read it.

/// A frame with more bytes is refused. PM2's largest reply is the list of all applications with their
/// environments, some 10 KiB for each.
pub(super) const MAX_FRAME: usize = 64 * 1024 * 1024;
/// The only version there is.
const VERSION: u8 = 1;

/// One argument of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// `s:`, text.
    Text(String),
    /// `j:`, JSON as it came. PM2 sends `undefined` as `null`.
    Json(Vec<u8>),
    /// No prefix.
    Binary(Vec<u8>),
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmpError {
    /// Another protocol, or a peer that lost its place.
    #[error("not a message of version 1 of AMP (it begins with byte {0:#04x})")]
    Version(u8),
    /// A message has at least one argument.
    #[error("a message without arguments")]
    Empty,
    /// Longer than [`MAX_FRAME`], or than what the decoder was told to take.
    #[error("a message of more than {0} bytes")]
    TooLong(usize),
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text,
    /// More than 15 arguments cannot be written.
    #[error("{0} arguments, and a message takes 15")]
    Count(usize),
}

/// Writes one message.
///
/// # Errors
/// No argument or more than 15, or too long.
pub(super) fn encode(arguments: &[Argument]) -> Result<Vec<u8>, AmpError> {
    let count = match arguments.len() {
        0 => return Err(AmpError::Empty),
        n @ 1..=15 => n as u8,
        n => return Err(AmpError::Count(n)),
    };
    let mut frame = vec![(VERSION << 4) | count];
    for argument in arguments {
        let (prefix, body): (&[u8], &[u8]) = match argument {
            Argument::Text(text) => (b"s:", text.as_bytes()),
            Argument::Json(json) => (b"j:", json),
            Argument::Binary(bytes) => (b"", bytes),
        };
        let length = prefix.len() + body.len();
        if frame.len() + 4 + length > MAX_FRAME {
            return Err(AmpError::TooLong(MAX_FRAME));
        }
        frame.extend_from_slice(&(length as u32).to_be_bytes());
        frame.extend_from_slice(prefix);
        frame.extend_from_slice(body);
    }
    Ok(frame)
}

/// Cuts a stream of bytes into messages, however the reads happen to cut it.
#[derive(Debug)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
    /// Where the next message begins in `bytes`.
    start: usize,
    max_frame: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_FRAME)
    }
}

impl Decoder {
    /// A decoder that refuses messages of more than so many bytes.
    pub(super) fn with_limit(max_frame: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            max_frame,
        }
    }

    /// Takes what was read. It grows by this and by nothing else, so a caller who takes every message out before
    /// the next read holds at most one message and one read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; `None` where more has to be read first.
    ///
    /// # Errors
    /// What was read is no message. The place in the stream is then lost for good.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Argument>>, AmpError> {
        let bytes = &self.bytes[self.start..];
        let Some(&head) = bytes.first() else {
            return Ok(None);
        };
        if head >> 4 != VERSION {
            return Err(AmpError::Version(head));
        }
        let count = usize::from(head & 0x0f);
        if count == 0 {
            return Err(AmpError::Empty);
        }
        let mut arguments: [&[u8]; 15] = [&[]; 15];
        let mut at = 1;
        for argument in &mut arguments[..count] {
            let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
                return self.check_length(at);
            };
            let end = (at + 4).saturating_add(u32::from_be_bytes(*length) as usize);
            let Some(body) = bytes.get(at + 4..end) else {
                return self.check_length(end);
            };
            *argument = body;
            at = end;
        }
        self.check_length(at)?;
        let message: Vec<Argument> = arguments[..count]
            .iter()
            .map(|bytes| read(bytes))
            .collect::<Result<_, _>>()?;
        self.start += at;
        Ok(Some(message))
    }

    /// No message yet, as long as one of at least `length` bytes is allowed.
    fn check_length(&self, length: usize) -> Result<Option<Vec<Argument>>, AmpError> {
        if length > self.max_frame {
            return Err(AmpError::TooLong(self.max_frame));
        }
        Ok(None)
    }
}

fn read(bytes: &[u8]) -> Result<Argument, AmpError> {
    Ok(match bytes {
        [b's', b':', text @ ..] => {
            Argument::Text(str::from_utf8(text).map_err(|_| AmpError::Text)?.to_owned())
        }
        [b'j', b':', json @ ..] => Argument::Json(json.to_vec()),
        bytes => Argument::Binary(bytes.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_all(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Vec<Argument>>, AmpError> {
        let mut decoder = Decoder::default();
        let mut messages = Vec::new();
        let mut rest = bytes;
        let mut cuts = cuts.iter().copied().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap_or(1).clamp(1, rest.len()));
            decoder.push(now);
            while let Some(message) = decoder.next()? {
                messages.push(message);
            }
            rest = later;
        }
        Ok(messages)
    }

    fn argument() -> impl Strategy<Value = Argument> {
        prop_oneof![
            any::<String>().prop_map(Argument::Text),
            any::<String>().prop_map(|s| Argument::Json(s.into_bytes())),
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_filter("has no prefix", |b| !b.starts_with(b"s:")
                    && !b.starts_with(b"j:"))
                .prop_map(Argument::Binary),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_however_it_is_cut(
            messages in proptest::collection::vec(proptest::collection::vec(argument(), 1..=15), 0..5),
            cuts in proptest::collection::vec(1_usize..30, 1..10),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|m| encode(m).unwrap()).collect();
            prop_assert_eq!(decode_all(&bytes, &cuts).unwrap(), messages);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error_and_never_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(1_usize..30, 1..10),
        ) {
            let whole = decode_all(&bytes, &[usize::MAX]);
            let cut = decode_all(&bytes, &cuts);
            prop_assert_eq!(whole.is_err(), cut.is_err());
        }

        #[test]
        fn a_message_that_is_cut_short_is_none(arguments in proptest::collection::vec(argument(), 1..4)) {
            let bytes = encode(&arguments).unwrap();
            for end in 0..bytes.len() {
                prop_assert_eq!(decode_all(&bytes[..end], &[7]).unwrap(), Vec::<Vec<Argument>>::new());
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let message = [
            Argument::Json(b"{}".to_vec()),
            Argument::Text("7".to_owned()),
        ];
        assert_eq!(
            encode(&message).unwrap(),
            b"\x12\0\0\0\x04j:{}\0\0\0\x03s:7"
        );
        assert_eq!(encode(&[]), Err(AmpError::Empty));
        let many = vec![Argument::Binary(Vec::new()); 16];
        assert_eq!(encode(&many), Err(AmpError::Count(16)));
    }

    #[test]
    fn what_is_no_message_says_why() {
        let error = |bytes: &[u8]| decode_all(bytes, &[3]).unwrap_err();
        assert_eq!(error(b"HTTP/1.1 400"), AmpError::Version(b'H'));
        assert_eq!(error(b"\x10"), AmpError::Empty);
        assert_eq!(error(b"\x11\0\0\0\x03s:\xff"), AmpError::Text);
    }

    #[test]
    fn a_message_that_is_announced_too_long_is_refused_before_it_is_read() {
        let mut decoder = Decoder::default();
        decoder.push(b"\x11\xff\xff\xff\xff");
        assert_eq!(decoder.next(), Err(AmpError::TooLong(MAX_FRAME)));
        let mut small = Decoder::with_limit(10);
        small.push(&encode(&[Argument::Text("a long one".to_owned())]).unwrap());
        assert_eq!(small.next(), Err(AmpError::TooLong(10)));
    }
}
