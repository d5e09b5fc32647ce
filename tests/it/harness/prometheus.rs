//! A real Prometheus as a process of the test, scraping a file that the test writes.

use super::{Sandbox, wait_for};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Ended when dropped.
pub(crate) struct Prometheus {
    metrics: PathBuf,
    port: u16,
    server: Child,
    /// What serves the written file; `None` where something else is scraped.
    exporter: Option<Child>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn quiet(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Prometheus {
    /// Scrapes every second what [`Prometheus::write`] wrote last.
    pub(crate) fn start(sandbox: &Sandbox) -> Prometheus {
        let folder = sandbox.path("prometheus");
        let exported = folder.join("exported");
        std::fs::create_dir_all(&exported).unwrap();
        let metrics = exported.join("metrics");
        std::fs::write(&metrics, "up_and_running 1\n").unwrap();
        let exporter_port = free_port();
        let exporter = quiet(
            Command::new("busybox")
                .args([
                    "httpd",
                    "-f",
                    "-p",
                    &format!("127.0.0.1:{exporter_port}"),
                    "-h",
                ])
                .arg(&exported),
        );
        let mut prometheus = Prometheus::scraping(sandbox, &format!("127.0.0.1:{exporter_port}"));
        prometheus.exporter = Some(exporter);
        prometheus
    }

    /// Scrapes an address every second, as the job `shop`.
    pub(crate) fn scraping(sandbox: &Sandbox, target: &str) -> Prometheus {
        let folder = sandbox.path("prometheus");
        std::fs::create_dir_all(&folder).unwrap();
        let metrics = folder.join("exported/metrics");
        let port = free_port();
        let config = folder.join("prometheus.yml");
        std::fs::write(
            &config,
            format!(
                "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n- job_name: shop\n  static_configs: [{{ targets: ['{target}'] }}]\n"
            ),
        )
        .unwrap();
        let server = quiet(
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    folder.join("data").display()
                )),
        );
        let prometheus = Prometheus {
            metrics,
            port,
            server,
            exporter: None,
        };
        wait_for("Prometheus", SOON, || prometheus.get("/-/ready"));
        prometheus
    }

    /// The address to configure.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What is scraped from now on.
    pub(crate) fn write(&self, metrics: &str) {
        // In one step: half a file would be scraped as what it says.
        let next = self.metrics.with_extension("next");
        std::fs::write(&next, metrics).unwrap();
        std::fs::rename(&next, &self.metrics).unwrap();
    }

    /// Ends the server; its address answers nobody then.
    pub(crate) fn end(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.0 200").then_some(text)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let exporter = self.exporter.as_mut();
        for child in std::iter::once(&mut self.server).chain(exporter) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
