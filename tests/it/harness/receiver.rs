//! A receiver of messages on the loopback: HTTP or SMTP, every request kept byte for byte.

use super::wait_for;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request or mail, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The request line and headers, or the SMTP dialogue of the client before the mail.
    pub(crate) head: String,
    /// The body, or the mail.
    pub(crate) body: String,
    pub(crate) at: Instant,
}

impl Received {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.eq_ignore_ascii_case(name)).then(|| value.trim().to_string())
        })
    }
}

/// What it answers: the lines of each answer in turn, the last one for ever.
type Answers = Arc<Mutex<Vec<String>>>;

/// Listens until the test process ends.
pub(crate) struct Receiver {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    answers: Answers,
}

impl Receiver {
    /// An HTTP server that answers with `200 OK`.
    pub(crate) fn http() -> Receiver {
        Receiver::start(&["200 OK"], talk_http)
    }

    /// An HTTP server that answers with each of these statuses in turn (`"429 Too Many Requests\r\nretry-after: 2"`), the
    /// last one for ever.
    pub(crate) fn answering(answers: &[&str]) -> Receiver {
        Receiver::start(answers, talk_http)
    }

    /// A mail server without TLS.
    pub(crate) fn smtp() -> Receiver {
        Receiver::start(&["250 OK"], talk_smtp)
    }

    fn start(
        answers: &[&str],
        talk: fn(&TcpStream, &Answers) -> std::io::Result<Option<Received>>,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let answers: Answers = Arc::new(Mutex::new(
            answers.iter().map(ToString::to_string).collect(),
        ));
        let (kept, said) = (received.clone(), answers.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, said) = (kept.clone(), said.clone());
                std::thread::spawn(move || {
                    if let Ok(Some(one)) = talk(&stream, &said) {
                        kept.lock().unwrap().push(one);
                    }
                });
            }
        });
        Receiver {
            address,
            received,
            answers,
        }
    }

    /// `http://127.0.0.1:PORT` with `path` behind it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, status: &str) {
        *self.answers.lock().unwrap() = vec![status.to_string()];
    }

    /// Everything so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for the first that satisfies `wanted`.
    pub(crate) fn wait(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Received) -> bool,
    ) -> Received {
        wait_for(what, limit, || self.received().into_iter().find(&wanted))
    }
}

fn talk_http(stream: &TcpStream, answers: &Answers) -> std::io::Result<Option<Received>> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = {
        let mut answers = answers.lock().unwrap();
        match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        }
    };
    let received = Received {
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
        at: Instant::now(),
    };
    let mut writer = stream;
    writer.write_all(
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    Ok(Some(received))
}

fn talk_smtp(stream: &TcpStream, _answers: &Answers) -> std::io::Result<Option<Received>> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let (mut head, mut body, mut is_mail) = (String::new(), String::new(), false);
    let mut whole = None;
    writer.write_all(b"220 test ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(whole);
        }
        if is_mail {
            if line == ".\r\n" {
                is_mail = false;
                whole = Some(Received {
                    head: head.clone(),
                    body: body.clone(),
                    at: Instant::now(),
                });
                writer.write_all(b"250 taken\r\n")?;
            } else {
                body.push_str(&line);
            }
            continue;
        }
        head.push_str(&line);
        let answer: &[u8] = match line.get(..4).unwrap_or_default().to_uppercase().as_str() {
            "EHLO" => b"250-test\r\n250 AUTH PLAIN LOGIN\r\n",
            "DATA" => {
                is_mail = true;
                b"354 go on\r\n"
            }
            "AUTH" => b"235 welcome\r\n",
            "QUIT" => {
                writer.write_all(b"221 bye\r\n")?;
                return Ok(whole);
            }
            _ => b"250 OK\r\n",
        };
        writer.write_all(answer)?;
    }
}
