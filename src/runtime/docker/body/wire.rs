//! The connection itself: when it is read, and who is woken for it.

use std::io::{self, Read};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::BUFFER;

/// Following, so long is waited between two reads while lines come. The kernel holds what comes meanwhile, about 220
/// messages.
const PAUSE: Duration = Duration::from_millis(1);
/// A read of so much says that the kernel's hold was about full, and that the engine may wait: no pause then.
const FULL_READ: usize = 32 * 1024;

/// A connection to the engine.
#[derive(Debug)]
pub(in crate::runtime::docker) enum Io {
    /// A Unix socket, of this machine or forwarded from another.
    Unix(UnixStream),
    /// Plain TCP.
    Tcp(TcpStream),
}

impl Io {
    pub(in crate::runtime::docker) async fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read_buf(to).await,
            Self::Tcp(stream) => stream.read_buf(to).await,
        }
    }

    pub(in crate::runtime::docker) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
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

/// A connection, and how it is read.
#[derive(Debug)]
pub(super) struct Wire {
    state: State,
    /// Whether to pause between reads.
    is_paced: bool,
    /// Whether the last read was a full one.
    was_full: bool,
}

#[derive(Debug)]
enum State {
    /// The reactor tells when there is something.
    Awake(Io),
    /// Looked at from time to time.
    Resting(Resting),
    /// It could not be moved between the two.
    Lost,
}

impl Wire {
    pub(super) fn new(io: Io) -> Self {
        Self {
            state: State::Awake(io),
            is_paced: false,
            was_full: false,
        }
    }

    pub(super) fn pace(&mut self) {
        self.is_paced = true;
    }

    /// Appends what is there, once there is something; 0 at the end. Cancelling loses nothing.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        let size = loop {
            match &mut self.state {
                State::Awake(io) => {
                    let size = io.read(to).await?;
                    if self.is_paced {
                        self.lay_to_rest()?;
                    }
                    break size;
                }
                State::Resting(resting) => {
                    let has_paused = !std::mem::take(&mut self.was_full);
                    if has_paused {
                        tokio::time::sleep(PAUSE).await;
                    }
                    if let Some(size) = resting.read(to)? {
                        break size;
                    }
                    if has_paused {
                        self.wake()?;
                    }
                }
                State::Lost => return Err(io::ErrorKind::NotConnected.into()),
            }
        };
        self.was_full = size >= FULL_READ;
        Ok(size)
    }

    fn lay_to_rest(&mut self) -> io::Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Awake(io) => State::Resting(io.rest()?),
            state => state,
        };
        Ok(())
    }

    fn wake(&mut self) -> io::Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Resting(resting) => State::Awake(resting.wake()?),
            state => state,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_in_order_through_rest_and_waking() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(Io::Unix(near));
        wire.pace();
        let sent: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let sending = async {
            // Bursts that fill the kernel's hold, and silences long enough for the reader to wake.
            for (number, piece) in sent.chunks(70_000).enumerate() {
                far.write_all(piece).await.unwrap();
                if number % 2 == 0 {
                    tokio::time::sleep(4 * PAUSE).await;
                }
            }
            drop(far);
        };
        let reading = async {
            let mut read = Vec::new();
            let mut buffer = Vec::with_capacity(BUFFER);
            while wire.read(&mut buffer).await.unwrap() > 0 {
                read.append(&mut buffer);
                buffer.reserve(BUFFER);
            }
            read
        };
        let ((), read) = tokio::join!(sending, reading);
        assert!(read == sent);
    }
}
