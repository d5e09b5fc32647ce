//! A real nginx as a process of the test, in front of two real servers: its prefix, configuration, pid and ports are the
//! test's own.

use super::{Sandbox, wait_for};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

/// An application that runs twice, and the proxy before it. Ended when dropped.
pub(crate) struct BlueGreen {
    folder: PathBuf,
    port: u16,
    blue: Side,
    green: Side,
    nginx: Child,
}

/// One side: busybox's web server on a folder.
struct Side {
    port: u16,
    server: Option<Child>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Side {
    fn start(folder: &Path, colour: &str) -> Side {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("health"), format!("{colour} is up\n")).unwrap();
        let port = free_port();
        let server = Command::new("busybox")
            .args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("a side", SOON, || get(port));
        Side {
            port,
            server: Some(server),
        }
    }

    fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}

impl BlueGreen {
    /// Both sides up, requests go to blue.
    pub(crate) fn start(sandbox: &Sandbox) -> BlueGreen {
        let folder = sandbox.work().join("nginx");
        fs::create_dir_all(folder.join("logs")).unwrap();
        let blue = Side::start(&sandbox.work().join("blue"), "blue");
        let green = Side::start(&sandbox.work().join("green"), "green");
        for (name, side) in [("blue", &blue), ("green", &green)] {
            let text = format!("upstream api {{ server 127.0.0.1:{}; }}\n", side.port);
            fs::write(folder.join(format!("{name}.conf")), text).unwrap();
        }
        fs::copy(folder.join("blue.conf"), folder.join("active.conf")).unwrap();
        let port = free_port();
        let at = folder.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {at}/tmp_{what};"))
            .join("\n  ");
        fs::write(
            folder.join("nginx.conf"),
            format!(
                "pid {at}/pid;\nerror_log {at}/logs/error.log;\nworker_processes 1;\nevents {{}}\nhttp {{\n  access_log off;\n  {temporary}\n  include {at}/active.conf;\n  server {{\n    listen 127.0.0.1:{port};\n    location / {{ proxy_pass http://api; proxy_connect_timeout 1s; }}\n  }}\n}}\n"
            ),
        )
        .unwrap();
        let mut front = BlueGreen {
            nginx: Command::new(program())
                .args(["-p", folder.to_str().unwrap(), "-c", "nginx.conf"])
                .args(["-g", "daemon off;"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
            folder,
            port,
            blue,
            green,
        };
        wait_for("nginx", SOON, || {
            assert!(front.nginx.try_wait().unwrap().is_none(), "nginx ended");
            front.answer()
        });
        front
    }

    /// What the public way answers.
    pub(crate) fn answer(&self) -> Option<String> {
        get(self.port)
    }

    /// Of a file of nginx.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The content of a file of nginx.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// How often it was told to read its files: each time it starts another worker.
    pub(crate) fn worker(&self) -> String {
        let process = self.nginx.id();
        let path = format!("/proc/{process}/task/{process}/children");
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The configuration that names it, with what the public way must answer for green, and more lines.
    pub(crate) fn configuration(&self, green: &str, more: &str) -> String {
        let (at, nginx) = (self.folder.display(), program());
        let side = |name: &str, port: u16, verify: &str| {
            format!(
                "{name} = {{ file = \"{at}/{name}.conf\", probe = \"http://127.0.0.1:{port}/health\", verify = {{ http = \"http://127.0.0.1:{}/health\", contains = \"{verify}\" }} }}",
                self.port
            )
        };
        format!(
            "[switch.api]\n{}\n{}\nactive = \"{at}/active.conf\"\ntest = \"{nginx} -t -q -p {at} -c nginx.conf\"\nreload = \"echo reloaded >> {at}/reloads; {nginx} -s reload -p {at} -c nginx.conf\"\n{more}",
            side("blue", self.blue.port, "blue is up"),
            side("green", self.green.port, green)
        )
    }

    /// How often the reload command was run.
    pub(crate) fn reloads(&self) -> usize {
        fs::read_to_string(self.path("reloads"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    /// Ends the green side.
    pub(crate) fn end_green(&mut self) {
        self.green.end();
    }

    /// Whether blue answers by itself.
    pub(crate) fn is_blue_up(&self) -> bool {
        get(self.blue.port).is_some()
    }
}

impl Drop for BlueGreen {
    fn drop(&mut self) {
        // TERM, so that it ends its workers.
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.nginx.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.nginx.wait();
        self.blue.end();
        self.green.end();
    }
}

fn program() -> &'static str {
    match Path::new("/usr/sbin/nginx").is_file() {
        true => "/usr/sbin/nginx",
        false => "nginx",
    }
}

/// The body of a good answer.
fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream
        .write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.split(' ')
        .nth(1)
        .is_some_and(|status| status == "200")
        .then(|| body.trim().to_owned())
}
