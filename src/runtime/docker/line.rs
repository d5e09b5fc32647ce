//! A connection that carries one question after another: through a forwarded socket each new one is a channel more, with a
//! way there and back before it can be used.
//!
//! Questions are asked together and answered in their order, so that twenty containers cost one way there and back.

use std::io;

use super::body::{Io, Reply, read_reply};

/// So many questions are under way at a time: what is asked must fit into the buffers of a connection that nobody reads
/// yet.
const AT_ONCE: usize = 64;

/// More than most answers.
const BUFFER: usize = 32 * 1024;

/// A connection, and what was read of it too early.
#[derive(Debug)]
pub(super) struct Line {
    io: Io,
    early: Vec<u8>,
    /// The server ends it.
    is_over: bool,
}

impl Line {
    /// Over a new connection.
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            early: Vec::with_capacity(BUFFER),
            is_over: false,
        }
    }

    /// Whether it can be asked once more.
    pub(super) fn is_open(&self) -> bool {
        !self.is_over
    }

    /// GETs paths; each answer is added as it comes, of at most so many bytes.
    ///
    /// # Errors
    /// The connection broke or ended, or what came is no HTTP.
    pub(super) async fn get(
        &mut self,
        paths: &[String],
        most: usize,
        answers: &mut Vec<Reply>,
    ) -> io::Result<()> {
        for some in paths.chunks(AT_ONCE) {
            let ask = |path: &String| format!("GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n");
            let questions: String = some.iter().map(ask).collect();
            self.io.write_all(questions.as_bytes()).await?;
            for _ in some {
                let answer = read_reply(&mut self.io, &mut self.early, most).await?;
                self.is_over = answer.is_last;
                answers.push(answer);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn answers_come_in_order_however_they_are_framed_and_cut() {
        let said = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour";
        for size in [1, 7, said.len()] {
            let (near, mut far) = UnixStream::pair().unwrap();
            let mut line = Line::new(Io::Unix(near));
            let paths = ["/1", "/2", "/3", "/4", "/5"].map(str::to_owned);
            let mut answers = Vec::new();
            let answering = async {
                let mut asked = vec![0; 4096];
                let read = far.read(&mut asked).await.unwrap();
                for piece in said.chunks(size) {
                    far.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                drop(far);
                String::from_utf8_lossy(&asked[..read])
                    .matches("GET ")
                    .count()
            };
            let (asked, ended) = tokio::join!(answering, line.get(&paths, 100, &mut answers));
            // The fifth is not answered any more.
            assert_eq!(asked, 5);
            assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            let told: Vec<_> = answers
                .iter()
                .map(|a| (a.status, a.body.as_slice()))
                .collect();
            let expected: [(u16, &[u8]); 4] =
                [(200, b"one"), (404, b"two"), (200, b""), (200, b"four")];
            assert_eq!(told, expected, "{size}");
        }
    }
}
