//! Twenty machines in one console: `cargo bench --bench hosts [-- HOSTS]`.
//!
//! One engine with ten services stands behind twenty sshd on loopback addresses, each a machine of its own to the console.
//! Measured are the time until every service of every machine is on the screen, and then, left alone, CPU and memory of the
//! console, with the ssh masters told apart. Goals: the whole list within 3 s, at most 1 % of a core, at most 150 MB.
//!
//! The other ends run on this machine too: their share of its cores is in the first number, not in the others.
//!
//! Needs Docker, Compose 2, a static busybox and sshd; what it makes is named `lastgood-bench-…` and removed.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

const HOSTS: usize = 20;
const SERVICES: usize = 10;
const LIST_LIMIT: Duration = Duration::from_secs(3);
const CPU_LIMIT: f64 = 1.0;
const MEMORY_LIMIT: f64 = 150.0;
/// Until the console is at rest: no age is shown in seconds any more.
const SETTLE: Duration = Duration::from_secs(70);
const IDLE: Duration = Duration::from_secs(60);
/// Questions that the console asks its terminal, and what a terminal answers.
const ANSWERS: &[(&[u8], &[u8])] = &[
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b[0c", b"\x1b[?62;22c"),
];
const LONGEST: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    // Cargo adds `--bench`; without it this is a test run, which has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("hosts: `cargo bench --bench hosts` measures");
        return ExitCode::SUCCESS;
    }
    let hosts = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let hosts = hosts.unwrap_or(HOSTS);
    let has = |words: &[&str]| docker(Path::new("/"), words).is_some();
    let has_sshd = Path::new("/usr/sbin/sshd").is_file();
    if !has(&["info"]) || !has(&["compose", "version"]) || !has_sshd {
        println!("hosts: no Docker with Compose 2, or no sshd here; nothing measured");
        return ExitCode::SUCCESS;
    }
    let bed = Bed::new(hosts);
    let mut console = Console::start(&bed);
    let listed = console.wait_for_all(&bed);
    std::thread::sleep(SETTLE);
    let masters = bed.masters();
    let before = (cpu(&[console.process]), cpu(&masters));
    std::thread::sleep(IDLE);
    let spent = |before: f64, now: f64| (now - before) / IDLE.as_secs_f64() * 100.0;
    let own = spent(before.0, cpu(&[console.process]));
    let of_masters = spent(before.1, cpu(&masters));
    let (memory, shared) = (memory(&[console.process]), memory(&masters));
    console.end();
    let verdict = |is_met| if is_met { "met" } else { "MISSED" };
    let is_met = [
        listed <= LIST_LIMIT,
        own <= CPU_LIMIT,
        memory <= MEMORY_LIMIT,
    ];
    println!(
        "{hosts} machines x {SERVICES} services: all on the screen in {:.2} s (at most {} s: {})",
        listed.as_secs_f64(),
        LIST_LIMIT.as_secs(),
        verdict(is_met[0])
    );
    println!(
        "left alone: {own:.2} % of a core (at most {CPU_LIMIT} %: {}), its {} ssh masters {of_masters:.2} %",
        verdict(is_met[1]),
        masters.len()
    );
    println!(
        "memory: {memory:.1} MB (at most {MEMORY_LIMIT} MB: {}), its ssh masters {shared:.1} MB",
        verdict(is_met[2])
    );
    match is_met.iter().all(|is_met| *is_met) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// stdout; `None` where it failed.
fn docker(folder: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("docker");
    let output = command.args(words).current_dir(folder).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// The services, the servers, and what the client knows of them.
struct Bed {
    name: String,
    folder: tempfile::TempDir,
    hosts: usize,
    servers: Vec<Child>,
}

impl Bed {
    fn new(hosts: usize) -> Self {
        let name = format!("lastgood-bench-{}", std::process::id());
        let folder = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        let mut bed = Self {
            name,
            folder,
            hosts,
            servers: Vec::new(),
        };
        bed.start_services();
        for number in 1..=hosts {
            bed.start_server(number);
        }
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start_services(&self) {
        let image = image(self.folder.path(), &self.name);
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

    fn start_server(&mut self, number: usize) {
        let address = format!("127.0.0.{}", number + 1);
        let free = std::net::TcpListener::bind((address.as_str(), 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
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
        fs::write(
            &config,
            format!(
                "ListenAddress {address}:{port}\nHostKey {}\nAuthorizedKeysFile {at}/authorized_keys\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nSetEnv XDG_STATE_HOME={at}/there\n",
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

    /// The ssh masters of the console.
    fn masters(&self) -> Vec<u32> {
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
        let label = format!("label=lastgood-bench={}", self.name);
        let ids = docker(folder, &["images", "-aq", "--filter", &label]);
        for id in ids.unwrap_or_default().lines() {
            let _ = docker(folder, &["rmi", "-f", id]);
        }
    }
}

/// The console in a terminal that is as tall as its list.
struct Console {
    _master: Box<dyn portable_pty::MasterPty + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    screen: Arc<Mutex<vt100::Parser>>,
    process: u32,
    begun: Instant,
}

impl Console {
    fn start(bed: &Bed) -> Self {
        // Of this machine there may be more services than those of the bench.
        let rows = u16::try_from(bed.hosts * (SERVICES + 4) + 200).unwrap();
        let size = PtySize {
            rows,
            cols: 160,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lastgood"));
        command.args(["tui", "--only", "services"]);
        command.cwd(bed.folder.path());
        command.env("TERM", "xterm-256color");
        command.env("LASTGOOD_SSH_CONFIG", bed.path("ssh_config"));
        command.env("LASTGOOD_STATE_DIR", bed.path("state"));
        let begun = Instant::now();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, 160, 0)));
        let (into, mut reader) = (Arc::clone(&screen), pair.master.try_clone_reader().unwrap());
        let writer = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let answers = Arc::clone(&writer);
        std::thread::spawn(move || {
            let mut piece = vec![0; 65_536];
            while let Ok(n @ 1..) = reader.read(&mut piece) {
                for (question, answer) in ANSWERS {
                    if piece[..n]
                        .windows(question.len())
                        .any(|part| part == *question)
                    {
                        answers.lock().unwrap().write_all(answer).unwrap();
                    }
                }
                into.lock().unwrap().process(&piece[..n]);
            }
        });
        Self {
            process: child.process_id().unwrap(),
            writer,
            _master: pair.master,
            child,
            screen,
            begun,
        }
    }

    /// Until every service of every machine stands on the screen.
    fn wait_for_all(&self, bed: &Bed) -> Duration {
        loop {
            let text = self.screen.lock().unwrap().screen().contents();
            let is_whole = (1..=bed.hosts).all(|number| {
                let group = format!("box-{number}:{}", bed.name);
                let mut lines = text.lines().skip_while(|line| !line.contains(&group));
                let is_there = lines.next().is_some();
                let own = lines.take(SERVICES).collect::<Vec<_>>().join("\n");
                is_there && (0..SERVICES).all(|s| own.contains(&format!("s{s} ")))
            });
            if is_whole {
                return self.begun.elapsed();
            }
            assert!(
                self.begun.elapsed() < LONGEST,
                "the list is not whole:\n{text}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) {
        let _ = self.writer.lock().unwrap().write_all(b"q");
        let _ = self.child.wait();
    }
}

/// CPU seconds so far.
fn cpu(processes: &[u32]) -> f64 {
    let ticks: u64 = processes
        .iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{process}/stat")).ok())
        .map(|stat| {
            let fields = stat.rsplit(')').next().unwrap_or_default();
            let numbers = fields.split_whitespace().skip(11).take(2);
            numbers.filter_map(|n| n.parse::<u64>().ok()).sum::<u64>()
        })
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Millions of bytes, shared pages by their share: the masters are one program.
fn memory(processes: &[u32]) -> f64 {
    let kibibytes: u64 = processes
        .iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum();
    kibibytes as f64 * 1024.0 / 1e6
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

/// An image without a registry: a static busybox that sleeps.
fn image(folder: &Path, name: &str) -> String {
    let root = folder.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox.iter().find(|path| Path::new(path).is_file());
    fs::copy(busybox.expect("busybox-static"), root.join("bin/busybox")).unwrap();
    symlink("busybox", root.join("bin/sleep")).unwrap();
    let archive = folder.join("root.tar");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    let label = format!("LABEL lastgood-bench={name}");
    let archive = archive.to_string_lossy().into_owned();
    let tag = format!("{name}:1");
    let change = "CMD [\"/bin/sleep\",\"1000000\"]";
    let words = ["import", "-c", change, "-c", &label, &archive, &tag];
    docker(folder, &words).expect("docker import");
    tag
}
