//! The console in a terminal of its own, whose screen and process are looked at.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::SERVICES;
use crate::bed::Bed;

/// Questions that the console asks its terminal, and what a terminal answers.
const ANSWERS: &[(&[u8], &[u8])] = &[
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b[0c", b"\x1b[?62;22c"),
];
const LONGEST: Duration = Duration::from_secs(120);

/// The console in a terminal that is as tall as its list.
pub(crate) struct Console {
    _master: Box<dyn portable_pty::MasterPty + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    screen: Arc<Mutex<vt100::Parser>>,
    pub(crate) process: u32,
    begun: Instant,
}

impl Console {
    /// The list alone, in a terminal in which it has its place. Of this machine there may be more services than those of
    /// the bench.
    pub(crate) fn list(bed: &Bed) -> Self {
        let rows = u16::try_from(bed.hosts * (SERVICES + 4) + 200).unwrap();
        Self::start(bed, &bed.path("."), rows, &["tui", "--only", "services"])
    }

    /// A console of one size in a folder with its configuration.
    pub(crate) fn start(bed: &Bed, folder: &Path, rows: u16, arguments: &[&str]) -> Self {
        let size = PtySize {
            rows,
            cols: 160,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let built = env!("CARGO_BIN_EXE_lastgood");
        let binary = std::env::var("LASTGOOD_BIN").unwrap_or_else(|_| built.to_owned());
        let mut command = CommandBuilder::new(binary);
        command.args(arguments);
        command.cwd(folder);
        // Only what the machines say is of interest.
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
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
    pub(crate) fn wait_for_all(&self, bed: &Bed) -> Duration {
        loop {
            let text = self.text();
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

    /// What is on the screen.
    pub(crate) fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Types, and waits until the screen is as it should be.
    pub(crate) fn typed(&self, keys: &[u8], is_there: impl Fn(&str) -> bool) -> Duration {
        let begun = Instant::now();
        self.writer.lock().unwrap().write_all(keys).unwrap();
        loop {
            let text = self.text();
            if is_there(&text) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < LONGEST, "never came:\n{text}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn end(&mut self) {
        let _ = self.writer.lock().unwrap().write_all(b"q");
        let _ = self.child.wait();
    }
}

/// CPU seconds so far.
pub(crate) fn cpu(processes: &[u32]) -> f64 {
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
pub(crate) fn memory(processes: &[u32]) -> f64 {
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
