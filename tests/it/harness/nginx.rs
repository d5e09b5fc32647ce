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
        let (blue_port, green_port) = (blue.port, green.port);
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {at}/tmp_{what};"))
            .join("\n  ");
        fs::write(
            folder.join("nginx.conf"),
            format!(
                "pid {at}/pid;\nerror_log {at}/logs/error.log;\nworker_processes 1;\nevents {{}}\nhttp {{\n  map $upstream_addr $blue {{ default 0; ~:{blue_port}$ 1; }}\n  map $upstream_addr $green {{ default 0; ~:{green_port}$ 1; }}\n  access_log {at}/logs/blue.log combined if=$blue;\n  access_log {at}/logs/green.log combined if=$green;\n  {temporary}\n  include {at}/active.conf;\n  server {{\n    listen 127.0.0.1:{port};\n    location / {{ proxy_pass http://api; proxy_connect_timeout 1s; }}\n  }}\n}}\n"
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
            "[switch.api]\n{}\n{}\nactive = \"{at}/active.conf\"\ntest = \"{nginx} -t -q -p {at} -c nginx.conf\"\nreload = \"cat {at}/active.conf >> {at}/reloads; {nginx} -s reload -p {at} -c nginx.conf\"\n{more}",
            side("blue", self.blue.port, "blue is up"),
            side("green", self.green.port, green)
        )
    }

    /// How often the reload command was run.
    pub(crate) fn reloads(&self) -> usize {
        self.versions().len()
    }

    /// The files that nginx was told to read, one line each.
    pub(crate) fn versions(&self) -> Vec<String> {
        let all = fs::read_to_string(self.path("reloads")).unwrap_or_default();
        all.lines().map(str::to_owned).collect()
    }

    /// The weights of blue and green in what nginx reads now; 0 for one that is not in it.
    pub(crate) fn weights(version: &str, sides: [u16; 2]) -> [u32; 2] {
        sides.map(|port| {
            let servers = version
                .split(';')
                .filter(|part| part.contains(&format!(":{port}")));
            let weight = |server: &str| {
                let own = server.split("weight=").nth(1);
                own.map_or(1, |number| number.trim().parse().unwrap())
            };
            servers.map(weight).sum()
        })
    }

    /// The ports of blue and green.
    pub(crate) fn ports(&self) -> [u16; 2] {
        [self.blue.port, self.green.port]
    }

    /// The port of nginx.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Both sides answer this path too.
    pub(crate) fn serve(&self, path: &str) {
        for side in ["blue", "green"] {
            let folder = self.folder.with_file_name(side);
            fs::write(folder.join(path), "taken\n").unwrap();
        }
    }

    /// Asks a port for a path, and the answer's status; `None` where nobody answered.
    pub(crate) fn ask(port: u16, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split(' ').nth(1)?.parse().ok()
    }

    /// Puts a release in the place of green that is healthy, and fails whatever else it is asked.
    pub(crate) fn break_green(&mut self) {
        self.green.end();
        let listener = TcpListener::bind(("127.0.0.1", self.green.port)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = [0; 2048];
                let count = stream.read(&mut head).unwrap_or_default();
                let is_health = head[..count].starts_with(b"GET /health");
                let status = if is_health { "200 OK" } else { "500 Broken" };
                let _ = write!(
                    stream,
                    "HTTP/1.0 {status}\r\nContent-Length: 12\r\n\r\ngreen is up\n"
                );
            }
        });
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
