//! One engine with some services behind twenty sshd on loopback addresses, and what the client knows of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::SERVICES;
use crate::busybox::{docker, image};
use crate::proxy::Proxy;

/// The services, the servers, and what the client knows of them.
pub(crate) struct Bed {
    pub(crate) name: String,
    folder: tempfile::TempDir,
    pub(crate) hosts: usize,
    servers: Vec<Child>,
    /// Where the first server listens.
    first_port: u16,
}

impl Bed {
    pub(crate) fn new(hosts: usize) -> Self {
        let name = format!("lastgood-bench-{}", std::process::id());
        let folder = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        let mut bed = Self {
            name,
            folder,
            hosts,
            servers: Vec::new(),
            first_port: 0,
        };
        bed.start_services();
        for number in 1..=hosts {
            bed.start_server(number);
        }
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn start_services(&self) {
        let folder = self.folder.path();
        let id = image(folder, &self.name, "exec sleep 1000000");
        let image = format!("{}:1", self.name);
        assert!(docker(folder, &["tag", &id, &image]).is_some(), "{image}");
        let mut compose = format!("name: {}\nservices:\n", self.name);
        for number in 0..SERVICES {
            compose.push_str(&format!(
                "  s{number}:\n    image: {image}\n    pull_policy: never\n    network_mode: none\n    stop_grace_period: 0s\n"
            ));
        }
        fs::write(self.path("compose.yaml"), compose).unwrap();
        let up = ["compose", "up", "-d", "--pull", "never"];
        assert!(docker(self.folder.path(), &up).is_some(), "{up:?}");
        keygen(&self.path("id"));
        fs::copy(self.path("id.pub"), self.path("authorized_keys")).unwrap();
    }

    pub(crate) fn start_server(&mut self, number: usize) {
        let address = format!("127.0.0.{}", number + 1);
        let free = std::net::TcpListener::bind((address.as_str(), 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        if number == 1 {
            self.first_port = port;
        }
        let at = self.folder.path().display().to_string();
        let key = self.path(&format!("host-{number}"));
        keygen(&key);
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let public: Vec<&str> = public.split(' ').take(2).collect();
        append(
            &self.path("known_hosts"),
            &format!("[{address}]:{port} {}\n", public.join(" ")),
        );
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        append(
            &self.path("ssh_config"),
            &format!(
                "Host box-{number}\n  HostName {address}\n  Port {port}\n  User {}\n  IdentityFile {at}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {at}/known_hosts\n  GlobalKnownHostsFile /dev/null\n",
                user.trim()
            ),
        );
        append(
            &self.path("lastgood.toml"),
            &format!("[hosts.box-{number}]\n"),
        );
        let config = self.path(&format!("sshd-{number}"));
        // What the login shell of whoever measures starts first is not measured: its start files stand elsewhere.
        fs::write(
            &config,
            format!(
                "ListenAddress {address}:{port}\nHostKey {}\nAuthorizedKeysFile {at}/authorized_keys\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nSetEnv XDG_STATE_HOME={at}/there HOME={at}\n",
                key.display()
            ),
        )
        .unwrap();
        // Where it puts the unprivileged half of itself.
        let _ = fs::create_dir_all("/run/sshd");
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f", config.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.servers.push(server);
        let begun = Instant::now();
        while std::net::TcpStream::connect((address.as_str(), port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "no sshd");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How long it takes ssh alone to run `true` on every machine at once: no console can be faster on this one.
    pub(crate) fn bare(&self) -> Duration {
        let begun = Instant::now();
        let clients: Vec<Child> = (1..=self.hosts)
            .map(|number| {
                let mut client = Command::new("ssh");
                client.arg("-F").arg(self.path("ssh_config"));
                let client = client.args(["-o", "BatchMode=yes", &format!("box-{number}"), "true"]);
                client.stdin(Stdio::null()).spawn().unwrap()
            })
            .collect();
        for mut client in clients {
            assert!(client.wait().unwrap().success());
        }
        begun.elapsed()
    }

    /// A folder whose only machine is the first one behind a link of 256 kbit/s and 300 ms there and back, where the first
    /// service of the list writes a hundred lines a second, a third of what that carries.
    pub(crate) fn far(&self) -> PathBuf {
        let proxy = Proxy::to("127.0.0.2", self.first_port);
        proxy.slow(Duration::from_millis(150), 32_000);
        let at = self.folder.path().display().to_string();
        let known = fs::read_to_string(self.path("ssh_config")).unwrap();
        let first = known.split("Host box-2\n").next().unwrap();
        let entry = first
            .replace("Host box-1\n", "Host far\n")
            .replace("HostName 127.0.0.2", "HostName 127.0.0.1")
            .replace(
                &format!("Port {}", self.first_port),
                &format!("Port {}", proxy.port),
            );
        let alias = format!("  HostKeyAlias [127.0.0.2]:{}\n", self.first_port);
        append(&self.path("ssh_config"), &format!("{entry}{alias}"));
        let folder = self.path("far");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("lastgood.toml"), "[hosts.far]\n").unwrap();
        let image = format!("{}:1", self.name);
        let line = "i=0; while :; do i=$((i+1)); echo \"INFO loud line $i of a service that writes a lot\"; busybox usleep 8000; done";
        let compose = format!(
            "name: {}\nservices:\n  loud:\n    image: {image}\n    pull_policy: never\n    network_mode: none\n    stop_grace_period: 0s\n    command: [busybox, sh, -c, {}]\n",
            self.loud(),
            serde_json::to_string(&line.replace('$', "$$")).unwrap()
        );
        fs::write(folder.join("compose.yaml"), compose).unwrap();
        let up = ["compose", "up", "-d", "--pull", "never"];
        assert!(docker(&folder, &up).is_some(), "{at}: {up:?}");
        folder
    }

    /// The first of the list, by its name.
    fn loud(&self) -> String {
        format!("a{}", self.name)
    }

    /// The ssh masters of the console.
    pub(crate) fn masters(&self) -> Vec<u32> {
        let config = self.path("ssh_config").display().to_string();
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|id: &u32| {
                let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                line.starts_with("ssh") && line.contains(&config)
            })
            .collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        let folder = self.folder.path();
        let _ = docker(folder, &["compose", "down", "-t", "0"]);
        let _ = docker(folder, &["compose", "-p", &self.loud(), "down", "-t", "0"]);
        let label = format!("label=lastgood-bench={}", self.name);
        let ids = docker(folder, &["images", "-aq", "--filter", &label]);
        for id in ids.unwrap_or_default().lines() {
            let _ = docker(folder, &["rmi", "-f", id]);
        }
    }
}

fn keygen(path: &Path) {
    let done = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(done.unwrap().success());
}

fn append(path: &Path, text: &str) {
    let mut all = fs::read_to_string(path).unwrap_or_default();
    all.push_str(text);
    fs::write(path, all).unwrap();
}
