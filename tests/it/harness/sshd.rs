//! Real sshd on loopback addresses, with keys of the test's own, and the client's configuration for them.
//!
//! The client reads `~/.ssh/config` of the password file's home, whatever `HOME` says; so the product is pointed at a
//! configuration of the sandbox. Host keys are known from the key files, never from the network.

use super::{Sandbox, unique, wait_for};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The keys and the client's configuration of one test, and its machines.
pub(crate) struct Fleet {
    folder: PathBuf,
    hosts: Vec<String>,
}

/// A server on an address of its own; ended when dropped, with the sessions it holds.
pub(crate) struct Sshd {
    /// How the client's configuration calls it.
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    folder: PathBuf,
    options: Vec<String>,
    server: Option<Child>,
}

impl Fleet {
    /// Makes the key that every server takes, and points the sandbox at the client's configuration.
    pub(crate) fn new(sandbox: Sandbox) -> (Sandbox, Fleet) {
        let folder = sandbox.path("ssh");
        fs::create_dir(&folder).unwrap();
        let config = folder.join("config");
        let sandbox = sandbox.with("LASTGOOD_SSH_CONFIG", config.to_str().unwrap());
        let fleet = Fleet {
            folder,
            hosts: Vec::new(),
        };
        fleet.key("id");
        fleet.key("other");
        fleet.write_config();
        (sandbox, fleet)
    }

    fn key(&self, name: &str) {
        let path = self.folder.join(name);
        keygen(&[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            path.to_str().unwrap(),
        ]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write_config(&self) {
        fs::write(self.folder.join("config"), self.hosts.join("\n")).unwrap();
    }

    /// One more entry of the client's configuration.
    pub(crate) fn add_host(&mut self, entry: &str) {
        self.hosts.push(entry.to_owned());
        self.write_config();
    }

    /// A name for the same server by another way, of which the client checks the same host key.
    pub(crate) fn add_through(&mut self, name: &str, sshd: &Sshd, port: u16) {
        let at = self.folder.display();
        let entry = format!(
            "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias [{}]:{}\n  User {}\n  IdentityFile {at}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {at}/known_hosts\n  GlobalKnownHostsFile /dev/null\n",
            sshd.address,
            sshd.port,
            user()
        );
        self.add_host(&entry);
    }

    /// Starts a server on 127.0.0.`last`, known to the client by `name`, with more lines for its configuration.
    pub(crate) fn start(&mut self, name: &str, last: u8, options: &[&str]) -> Sshd {
        self.start_with(name, last, options, &[])
    }

    /// The same, with more lines for the client's entry.
    pub(crate) fn start_with(
        &mut self,
        name: &str,
        last: u8,
        options: &[&str],
        client: &[&str],
    ) -> Sshd {
        let address = format!("127.0.0.{last}");
        let port = TcpListener::bind((address.as_str(), 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = self.folder.join(name);
        fs::create_dir(&folder).unwrap();
        let host_key = folder.join("host_key");
        keygen(&[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            host_key.to_str().unwrap(),
        ]);
        let public = fs::read_to_string(folder.join("host_key.pub")).unwrap();
        let public: Vec<&str> = public.split(' ').take(2).collect();
        let known = format!("[{address}]:{port} {}\n", public.join(" "));
        append(&self.path("known_hosts"), &known);
        fs::copy(self.path("id.pub"), folder.join("authorized_keys")).unwrap();
        let at = self.folder.display();
        let mut entry = format!(
            "Host {name}\n  HostName {address}\n  Port {port}\n  User {}\n  IdentityFile {at}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {at}/known_hosts\n  GlobalKnownHostsFile /dev/null\n",
            user()
        );
        for line in client {
            entry.push_str(&format!("  {line}\n"));
        }
        self.add_host(&entry);
        let mut sshd = Sshd {
            name: name.to_owned(),
            address,
            port,
            folder,
            options: options.iter().map(|line| (*line).to_owned()).collect(),
            server: None,
        };
        sshd.revive();
        sshd
    }
}

impl Sshd {
    /// Starts it, again where it was killed.
    pub(crate) fn revive(&mut self) {
        let folder = self.folder.display();
        let mut config = format!(
            "ListenAddress {}:{}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\nPidFile {folder}/pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPermitUserEnvironment no\nPrintMotd no\n",
            self.address, self.port
        );
        // What is kept there stands in the sandbox too; a second SetEnv would not count.
        let state = format!("XDG_STATE_HOME={folder}/state");
        let mut has_variables = false;
        for line in &self.options {
            config.push_str(line);
            if line.starts_with("SetEnv ") {
                has_variables = true;
                config.push_str(&format!(" {state}"));
            }
            config.push('\n');
        }
        if !has_variables {
            config.push_str(&format!("SetEnv {state}\n"));
        }
        let path = self.folder.join("sshd_config");
        fs::write(&path, config).unwrap();
        // Where it puts the unprivileged half of itself.
        let _ = fs::create_dir_all("/run/sshd");
        let log = fs::File::create(self.folder.join("log")).unwrap();
        let server = Command::new(program())
            .args(["-D", "-e", "-f", path.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let at = (self.address.clone(), self.port);
        wait_for(
            &format!("sshd {}", unique(&self.name)),
            Duration::from_secs(10),
            || TcpStream::connect((at.0.as_str(), at.1)).ok(),
        );
    }

    /// Ends the server and every session that it holds, as a machine that loses its network does.
    pub(crate) fn kill(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        for child in children(server.id()) {
            for inner in children(child) {
                kill(inner);
            }
            kill(child);
        }
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// The server and every session that it holds stand still, as a machine does that swaps itself to death: connections
    /// stay, and nobody answers.
    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// All of it goes on.
    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let server = self.server.as_ref().unwrap().id();
        // The server first, so that it takes no new connection meanwhile.
        let sessions = children(server);
        let inner = sessions.iter().flat_map(|session| children(*session));
        let all = std::iter::once(server).chain(sessions.iter().copied());
        for process in all.chain(inner) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// How many connections it holds.
    pub(crate) fn connections(&self) -> usize {
        self.server.as_ref().map_or(0, |s| children(s.id()).len())
    }

    /// The processes that its clients started, detached ones too: sshd names the connection to each.
    pub(crate) fn running(&self) -> Vec<u32> {
        let way = format!(" {} {}", self.address, self.port);
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|id: &u32| {
                let variables = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
                let mut variables = variables.split(|byte| *byte == 0);
                variables
                    .any(|one| one.starts_with(b"SSH_CONNECTION=") && one.ends_with(way.as_bytes()))
            })
            .collect()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes of sshd that `process` started: sessions of ours are not touched, since what is detached is not its.
fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|id| id.parse().ok())
        .filter(|id| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            name.starts_with("sshd")
        })
        .collect()
}

fn kill(process: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

fn program() -> &'static str {
    // By its whole path, which it asks for.
    match Path::new("/usr/sbin/sshd").is_file() {
        true => "/usr/sbin/sshd",
        false => "/usr/bin/sshd",
    }
}

fn keygen(arguments: &[&str]) {
    let done = Command::new("ssh-keygen").args(arguments).output().unwrap();
    assert!(done.status.success(), "ssh-keygen: {done:?}");
}

fn append(path: &Path, text: &str) {
    let mut all = fs::read_to_string(path).unwrap_or_default();
    all.push_str(text);
    fs::write(path, all).unwrap();
}

/// Who runs the tests: the only user whom a server without root may let in.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
