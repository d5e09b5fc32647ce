//! Parts of remote files over one channel a machine, for logs.
//!
//! A channel for each file that is followed would use up what the server allows. So one small script answers questions
//! on its standard input: which file, from where, how much. What it reads is of the file that it opened, so that a
//! rotation between the look and the read cannot mix two files. A lost link ends the script with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openssh::{Child, ChildStdin, ChildStdout, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::link::{Failure, Link};
use super::{Session, Trouble};
use crate::host::HostError;

/// The most that one question asks for.
pub(super) const MAX_PIECE: u64 = 512 * 1024;
/// An answer of [`MAX_PIECE`] over a slow link takes its time.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const READY: &str = "lastgood-reader";
/// What to do where something else is answered than was asked for.
const NEEDED: &str = "it needs stat, tail, head and base64";

/// Three lines a question: the file, the offset, how many bytes. One line an answer.
const SERVE: &str = r#"echo lastgood-reader
while IFS= read -r p && IFS= read -r o && IFS= read -r m; do
  if [ ! -e "$p" ]; then
    case $(LC_ALL=C stat -L -- "$p" 2>&1) in *": Permission denied") echo denied ;; *) echo gone ;; esac
  elif [ ! -f "$p" ]; then echo other
  else
    { s=$(stat -L -c '%i %s' /dev/fd/3) && printf 'at %s ' "$s" && {
        [ "$m" = 0 ] || [ "${s#* }" -le "$o" ] || tail -c "+$((o+1))" <&3 | head -c "$m" | base64 | tr -d '\n'
      }; echo; } 2>/dev/null 3<"$p" || echo denied
  fi
done"#;

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file's identity on its file system.
    pub inode: u64,
    /// Its size when it was looked at.
    pub size: u64,
    /// What stands from the offset on; nothing at its end.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// Whether nothing came though there was something: the programs that read it failed.
    fn is_missing(&self, offset: u64, max: u64) -> bool {
        max > 0 && self.size > offset && self.bytes.is_empty()
    }
}

/// The script at the other end of its channel.
#[derive(Debug)]
pub(super) struct Reader {
    _child: Child<Arc<openssh::Session>>,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    // Keeps the master's folder for as long as the channel is open.
    _link: Arc<Link>,
}

impl Reader {
    async fn start(link: Arc<Link>) -> Result<Self, Failure> {
        let lost = |error: &dyn std::error::Error| Failure::Lost(super::link::chain(error));
        let words = link.script(SERVE);
        let mut child = Arc::clone(&link.session)
            .arc_command(words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .await
            .map_err(|error| lost(&error))?;
        let (Some(stdin), Some(stdout)) = (child.stdin().take(), child.stdout().take()) else {
            return Err(Failure::Lost("a channel without pipes".to_owned()));
        };
        let mut reader = Self {
            _child: child,
            stdin,
            stdout: BufReader::new(stdout),
            _link: link,
        };
        // What the login shell says comes first.
        loop {
            let line = reader.line().await.map_err(|error| lost(&error))?;
            if line == READY {
                return Ok(reader);
            }
        }
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        let read = self.stdout.read_until(b'\n', &mut line).await?;
        if read == 0 || line.pop() != Some(b'\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    async fn ask(&mut self, path: &Path, offset: u64, max: u64) -> std::io::Result<String> {
        use std::os::unix::ffi::OsStrExt;
        let mut question = path.as_os_str().as_bytes().to_vec();
        question.extend_from_slice(format!("\n{offset}\n{max}\n").as_bytes());
        let asking = async {
            self.stdin.write_all(&question).await?;
            self.stdin.flush().await?;
            self.line().await
        };
        tokio::time::timeout(ANSWER_LIMIT, asking)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl Session {
    /// A part of a file: at most so many bytes from an offset on, and the file's identity and size.
    ///
    /// # Errors
    /// The file is missing or cannot be read; the link is lost ([`HostError::Lost`]): asked again it connects again.
    pub async fn read_piece(&self, path: &Path, offset: u64, max: u64) -> Result<Piece, HostError> {
        use std::io::{Error, ErrorKind};
        let file = |source: Error| HostError::File {
            what: "read",
            path: path.to_owned(),
            source,
        };
        if path.as_os_str().as_encoded_bytes().contains(&b'\n') {
            return Err(file(ErrorKind::InvalidInput.into()));
        }
        let mut reader = self.reader.lock().await;
        let mut open = match reader.take() {
            Some(open) => open,
            None => {
                let link = self.link().await?;
                let channel = self.channels.acquire().await;
                let channel = channel.map_err(|error| self.lost(error.to_string()))?;
                let started = tokio::time::timeout(ANSWER_LIMIT, Reader::start(link)).await;
                let open = match started {
                    Ok(Ok(open)) => open,
                    Ok(Err(Failure::Lost(text) | Failure::Full(text))) => {
                        return Err(self.lost(text));
                    }
                    Ok(Err(Failure::NoShell(trouble))) => return Err(self.refused(trouble)),
                    Err(_) => return Err(self.lost("no answer to the start of a reader")),
                };
                drop(channel);
                open
            }
        };
        let answer = match open.ask(path, offset, max.min(MAX_PIECE)).await {
            Ok(answer) => answer,
            // It is not kept: what comes next from it would answer another question.
            Err(error) => return Err(self.lost(format!("the link was lost: {error}"))),
        };
        *reader = Some(open);
        match answer.as_str() {
            "gone" => Err(file(ErrorKind::NotFound.into())),
            "denied" => Err(file(ErrorKind::PermissionDenied.into())),
            "other" => Err(file(Error::new(
                ErrorKind::InvalidInput,
                "not a regular file",
            ))),
            answer => {
                let piece = parse(answer).ok_or_else(|| {
                    self.refused(Trouble {
                        text: "an answer that cannot be read".to_owned(),
                        fix: NEEDED.to_owned(),
                    })
                })?;
                match piece.is_missing(offset, max) {
                    true => Err(file(Error::other(format!(
                        "of its {} bytes none came from {offset} on; {NEEDED}",
                        piece.size
                    )))),
                    false => Ok(piece),
                }
            }
        }
    }
}

/// Reads `at INODE SIZE BASE64`.
fn parse(answer: &str) -> Option<Piece> {
    let mut words = answer.strip_prefix("at ")?.splitn(3, ' ');
    Some(Piece {
        inode: words.next()?.parse().ok()?,
        size: words.next()?.parse().ok()?,
        bytes: decode(words.next().unwrap_or_default().trim_end().as_bytes())?,
    })
}

/// Base64 as `base64` writes it.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let value = |byte: u8| -> Option<u32> {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    for group in text.chunks(4) {
        let mut bits = 0;
        for byte in group {
            bits = bits << 6 | value(*byte)?;
        }
        bits <<= 6 * (4 - group.len());
        let kept = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        bytes.extend_from_slice(&bits.to_be_bytes()[1..=kept]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn serve(questions: &str) -> Vec<String> {
        serve_by(Command::new("sh").args(["-c", SERVE]), questions)
    }

    fn serve_by(shell: &mut Command, questions: &str) -> Vec<String> {
        let mut child = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(questions.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn any_bytes_come_as_they_are_from_where_they_were_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a \"b\" $c");
        let content: Vec<u8> = (0..=255u8).cycle().take(1000).collect();
        std::fs::write(&file, &content).unwrap();
        let path = file.display();
        let none = dir.path().join("none");
        let questions = format!(
            "{path}\n0\n5000\n{path}\n10\n7\n{path}\n1000\n9\n{path}\n0\n0\n{}\n0\n1\n{}\n0\n1\n",
            none.display(),
            dir.path().display()
        );
        let answers = serve(&questions);
        let all: Vec<Piece> = answers[..4].iter().map(|a| parse(a).unwrap()).collect();
        assert_eq!(all[0].bytes, content);
        assert_eq!(all[0].size, 1000);
        assert_eq!(all[1].bytes, content[10..17]);
        assert!(all[2].bytes.is_empty() && all[3].bytes.is_empty());
        assert_eq!(answers[4..], ["gone", "other"]);
    }

    #[test]
    fn what_cannot_be_read_is_not_nothing_new() {
        let dir = tempfile::tempdir().unwrap();
        for program in ["stat", "tail", "head", "tr"] {
            let at = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            let at = at.iter().find(|at| at.exists()).unwrap();
            std::os::unix::fs::symlink(at, dir.path().join(program)).unwrap();
        }
        let log = dir.path().join("a.log");
        std::fs::write(&log, "one\n").unwrap();
        let path = log.display();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SERVE]).env("PATH", dir.path());
        let answers = serve_by(&mut shell, &format!("{path}\n0\n9\n{path}\n4\n9\n"));
        let pieces: Vec<Piece> = answers.iter().map(|a| parse(a).unwrap()).collect();
        assert!(pieces[0].is_missing(0, 9), "no base64: {pieces:?}");
        assert!(!pieces[1].is_missing(4, 9), "{pieces:?}");
        assert!(!pieces[0].is_missing(0, 0), "{pieces:?}");
        assert!(
            !parse(&serve(&format!("{path}\n0\n9\n"))[0])
                .unwrap()
                .is_missing(0, 9)
        );
    }

    #[test]
    fn base64_of_every_length_is_read() {
        for (text, bytes) in [
            ("", ""),
            ("YQ==", "a"),
            ("YWI=", "ab"),
            ("YWJj", "abc"),
            ("YWJjZA==", "abcd"),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode(b"Y"), None);
        assert_eq!(decode(b"Y*=="), None);
    }
}
