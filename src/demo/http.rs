//! Just enough HTTP/1.1 for the shop's own processes: one request a connection, bodies with a length.
//!
//! The shop must look like any service to a probe, a browser or `curl`, and nothing here is for anybody else:
//! it listens on loopback only.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MAX_HEAD: usize = 8 * 1024;
const MAX_BODY: usize = 64 * 1024;
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How long requests under way may take when the process is asked to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: String,
    kind: &'static str,
}

impl Response {
    /// Plain text.
    pub(super) fn text(body: String) -> Self {
        Self {
            status: 200,
            body,
            kind: "text/plain; version=0.0.4",
        }
    }

    /// A JSON answer.
    pub(super) fn json(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            kind: "application/json",
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.status,
            reason(self.status),
            self.kind,
            self.body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(self.body.as_bytes());
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        404 => "Not Found",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unknown",
    }
}

/// Answers every request until `stop` is ready, then lets those under way finish for a moment.
pub(super) async fn serve<H, F>(listener: TcpListener, handler: H, stop: impl Future<Output = ()>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send,
{
    let handler = Arc::new(handler);
    let busy = Arc::new(AtomicUsize::new(0));
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, or a client that is gone already: the next one may do better.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let handler = Arc::clone(&handler);
        let guard = Busy::new(&busy);
        tokio::spawn(async move {
            let _guard = guard;
            let _ = answer(stream, &*handler).await;
        });
    }
    drop(listener);
    let drained = async {
        while busy.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(DRAIN_LIMIT, drained).await;
}

struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer<H, F>(mut stream: TcpStream, handler: &H) -> io::Result<()>
where
    H: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    let request = tokio::time::timeout(READ_LIMIT, read_request(&mut stream)).await;
    let response = match request {
        Ok(Ok(request)) => handler(request).await,
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Response::json(400, format!("{{\"error\":\"{error}\"}}"))
        }
        _ => return Ok(()),
    };
    stream.write_all(&response.to_bytes()).await?;
    stream.shutdown().await
}

/// Sends one request and reads the answer.
///
/// # Errors
/// No connection, a broken answer, or no whole answer within `limit` (`TimedOut`).
pub(super) async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    limit: Duration,
) -> io::Result<Response> {
    let work = async {
        let mut stream = TcpStream::connect(to).await?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let (line, body) = read_message(&mut stream).await?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| invalid("no status in the answer"))?;
        // Who asks looks at the status and the text.
        Ok(Response::json(status, String::from_utf8_lossy(&body)))
    };
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => answer,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
    let (line, body) = read_message(stream).await?;
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some(method), Some(path), Some(version))
            if version.starts_with("HTTP/1.") && path.starts_with('/') =>
        {
            Ok(Request {
                method: method.to_owned(),
                path: path.to_owned(),
                body,
            })
        }
        _ => Err(invalid("not an HTTP/1.1 request")),
    }
}

/// The first line and the body of a request or an answer.
async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1024);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if bytes.len() > MAX_HEAD {
            return Err(invalid("the head is too long"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid("the head is not text"))?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let mut length = 0;
    for line in lines {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value
                .trim()
                .parse()
                .map_err(|_| invalid("content-length is not a number"))?;
        }
    }
    if length > MAX_BODY {
        return Err(invalid("the body is too long"));
    }
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    body.truncate(length);
    Ok((first, body))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(text: &str) -> io::Result<Request> {
        read_request(&mut text.as_bytes()).await
    }

    #[tokio::test]
    async fn a_request_has_method_path_and_body() {
        let request =
            parse("POST /api/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcd")
                .await
                .unwrap();
        assert_eq!(
            (
                request.method.as_str(),
                request.path.as_str(),
                request.body.as_slice()
            ),
            ("POST", "/api/orders", b"abc".as_slice())
        );
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused() {
        for bad in [
            "hello\r\n\r\n",
            "GET nowhere HTTP/1.1\r\n\r\n",
            "GET / SPDY\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
            "GET / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n",
        ] {
            let error = parse(bad).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD * 2));
        assert_eq!(
            parse(&long[..MAX_HEAD + 100]).await.unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            parse("GET / HT").await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[tokio::test]
    async fn a_server_answers_until_it_is_told_to_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(
            listener,
            |request| async move {
                Response::json(
                    if request.path == "/health" { 200 } else { 404 },
                    request.method,
                )
            },
            async move {
                let _ = stopped.await;
            },
        ));
        let limit = Duration::from_secs(10);
        let health = request(address, "GET", "/health", limit).await.unwrap();
        assert_eq!(health, Response::json(200, "GET"));
        let other = request(address, "PUT", "/x", limit).await.unwrap();
        assert_eq!(other, Response::json(404, "PUT"));
        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(request(address, "GET", "/health", limit).await.is_err());
    }
}
