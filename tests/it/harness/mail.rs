//! A mail server with TLS. Python's own library has both sides of TLS, so that the
//! product's is not tested against itself.

use super::web::start;
use super::{Certificate, Sandbox};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command};

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

impl MailServer {
    pub(crate) fn start(sandbox: &Sandbox, tls: Tls, shown: &Certificate) -> MailServer {
        let mode = match tls {
            Tls::Implicit => "implicit",
            Tls::Start => "starttls",
        };
        let script = sandbox.path("mail.py");
        std::fs::write(&script, include_str!("mail.py")).unwrap();
        let kept = sandbox.path(&format!("mails-{mode}"));
        let mut python = Command::new("python3");
        python
            .arg(&script)
            .arg(mode)
            .args([&shown.file, &shown.key]);
        let (server, port) = start(python.arg(&kept));
        MailServer { port, kept, server }
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
