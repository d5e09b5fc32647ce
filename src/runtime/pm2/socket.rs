//! Messages from one of a daemon's sockets.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::amp::{AmpError, Argument, Decoder};

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Why no more messages come.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// The socket broke, or the daemon closed it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no message.
    #[error(transparent)]
    Amp(#[from] AmpError),
}

/// A socket that is read message by message.
#[derive(Debug)]
pub(super) struct Messages {
    stream: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Messages {
    /// Reads from a connected socket.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// The next message. Nothing is lost when this is dropped while it waits.
    ///
    /// # Errors
    /// The daemon closed the socket, or what it sent is no message.
    pub(super) async fn next(&mut self) -> Result<Vec<Argument>, SocketError> {
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(message);
            }
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.decoder.push(&self.buffer[..read]);
        }
    }
}
