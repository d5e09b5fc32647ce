//! A web server, with TLS and a certificate of the test's own or without.

use super::{Certificate, Sandbox};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Ended when dropped.
pub(crate) struct WebServer {
    pub(crate) port: u16,
    server: Child,
}

impl WebServer {
    pub(crate) fn start(sandbox: &Sandbox, shown: &Certificate) -> WebServer {
        WebServer::run(sandbox, &[&shown.file, &shown.key])
    }

    /// Without TLS.
    pub(crate) fn plain(sandbox: &Sandbox) -> WebServer {
        WebServer::run(sandbox, &[])
    }

    fn run(sandbox: &Sandbox, certificate: &[&PathBuf]) -> WebServer {
        let script = sandbox.path("web.py");
        std::fs::write(&script, include_str!("web.py")).unwrap();
        let mut python = Command::new("python3");
        let (server, port) = start(python.arg(&script).args(certificate));
        WebServer { port, server }
    }

    /// Where it says that it is well.
    pub(crate) fn health(&self) -> String {
        format!("https://localhost:{}/health", self.port)
    }

    /// Where it sends one on.
    pub(crate) fn to(&self, url: &str) -> String {
        format!("https://localhost:{}/to?{url}", self.port)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Starts a server that first says on which port it listens.
pub(super) fn start(server: &mut Command) -> (Child, u16) {
    let mut server = server
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    said.read_line(&mut port).unwrap();
    (server, port.trim().parse().unwrap())
}
