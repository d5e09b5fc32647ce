//! A mail server with TLS, and the certificate that it shows. Python's own library has both sides of TLS, so that the
//! product's is not tested against itself.

use super::Sandbox;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How it protects what is said to it.
#[derive(Clone, Copy)]
pub(crate) enum Tls {
    /// From the first byte.
    Implicit,
    /// After STARTTLS, and nothing is taken before.
    Start,
}

/// Ended when dropped.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    kept: PathBuf,
    server: Child,
}

/// A certificate of an authority of the test's own, for `localhost` and 127.0.0.1.
pub(crate) struct Certificate {
    /// The authority's, for `SSL_CERT_FILE`.
    pub(crate) authority: PathBuf,
    folder: PathBuf,
}

impl Certificate {
    pub(crate) fn make(folder: &Path) -> Certificate {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(
            folder.join("names"),
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
        )
        .unwrap();
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for line in [
            format!("req -x509 {new} -days 2 -keyout ca.key -out ca.pem -subj /CN=lastgood-test"),
            format!("req -new {new} -keyout mail.key -out mail.csr -subj /CN=localhost"),
            "x509 -req -in mail.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out mail.pem -extfile names"
                .to_owned(),
        ] {
            let done = Command::new("openssl")
                .args(line.split(' '))
                .current_dir(folder)
                .output()
                .unwrap();
            assert!(done.status.success(), "openssl {line}: {done:?}");
        }
        Certificate {
            authority: folder.join("ca.pem"),
            folder: folder.to_owned(),
        }
    }
}

impl MailServer {
    pub(crate) fn start(sandbox: &Sandbox, tls: Tls, shown: &Certificate) -> MailServer {
        let mode = match tls {
            Tls::Implicit => "implicit",
            Tls::Start => "starttls",
        };
        let script = sandbox.path("mail.py");
        std::fs::write(&script, include_str!("mail.py")).unwrap();
        let kept = sandbox.path(&format!("mails-{mode}"));
        let mut server = Command::new("python3")
            .arg(&script)
            .arg(mode)
            .arg(shown.folder.join("mail.pem"))
            .arg(shown.folder.join("mail.key"))
            .arg(&kept)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut said = BufReader::new(server.stdout.take().unwrap());
        said.read_line(&mut port).unwrap();
        MailServer {
            port: port.trim().parse().unwrap(),
            kept,
            server,
        }
    }

    /// Every dialogue that is over: what was said in plain text, what under TLS, and the mail.
    pub(crate) fn dialogues(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.kept).unwrap_or_default();
        let lines = text.lines();
        lines.map(|l| serde_json::from_str(l).unwrap()).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
