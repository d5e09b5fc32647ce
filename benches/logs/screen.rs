//! A program in a pseudo-terminal, watched from outside: when its screen shows what, what it costs, what it writes.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

use crate::Fallible;
use crate::process::{self, Cpu};

const COLUMNS: u16 = 200;
const ROWS: u16 = 50;

/// What is kept of a flow that nobody has looked at: far more than fills a screen.
const BACKLOG: usize = 1 << 20;

/// Questions a program may ask its terminal, and what a terminal answers. A program that waits for an answer in vain
/// shows its first screen late, or never.
const ANSWERS: &[(&[u8], &[u8])] = &[
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b[5n", b"\x1b[0n"),
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b[0c", b"\x1b[?62;22c"),
    (b"\x1b[>c", b"\x1b[>1;10;0c"),
    (b"\x1b[>0c", b"\x1b[>1;10;0c"),
    (b"\x1b[?u", b"\x1b[?0u"),
    (b"\x1b[>q", b"\x1bP>|bench\x1b\\"),
    (b"\x1b[>0q", b"\x1bP>|bench\x1b\\"),
    (b"\x1b[14t", b"\x1b[4;800;1600t"),
    (b"\x1b[18t", b"\x1b[8;50;200t"),
    (b"\x1b]10;?", b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    (b"\x1b]11;?", b"\x1b]11;rgb:0000/0000/0000\x1b\\"),
];
/// A question cut by the end of a read is at most this long.
const LONGEST_QUESTION: usize = 8;

/// Whether the text of a screen is what is waited for.
type Wanted = Box<dyn Fn(&str) -> bool + Send>;

struct Seen {
    parser: vt100::Parser,
    /// Bytes that the parser has not seen yet.
    backlog: Vec<u8>,
    bytes: u64,
    last_at: Instant,
    /// While something is waited for every chunk is drawn as it comes, and the first that shows it is timed.
    wanted: Option<Wanted>,
    found_at: Option<Instant>,
    has_ended: bool,
}

impl Seen {
    fn draw(&mut self) -> String {
        let backlog = std::mem::take(&mut self.backlog);
        self.parser.process(&backlog);
        self.parser.screen().contents()
    }
}

/// What the reading thread and the measurer share.
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a program costs over a while.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// Of one core.
    pub(crate) cpu_percent: f64,
    /// Written to the terminal.
    pub(crate) bytes_per_second: f64,
    /// At the end, in millions of bytes.
    pub(crate) memory: f64,
}

/// The program; it and all that it started are killed when dropped.
pub(crate) struct Program {
    // The terminal hangs up when this is dropped.
    _master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    process: u32,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    shared: Arc<Shared>,
    started_at: Instant,
}

impl Program {
    /// Starts `command`, with its arguments, environment and folder, in a terminal of its own.
    pub(crate) fn start(command: &Command) -> Fallible<Program> {
        let pair = native_pty_system().openpty(PtySize {
            rows: ROWS,
            cols: COLUMNS,
            pixel_width: 0,
            pixel_height: 0,
        })?;
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env_clear();
        for (name, value) in command.get_envs() {
            builder.env(name, value.unwrap_or_default());
        }
        if let Some(folder) = command.get_current_dir() {
            builder.cwd(folder);
        }
        let reader = pair.master.try_clone_reader()?;
        let writer = Arc::new(Mutex::new(pair.master.take_writer()?));
        let started_at = Instant::now();
        let child = pair.slave.spawn_command(builder)?;
        drop(pair.slave);
        let shared = Arc::new(Shared {
            seen: Mutex::new(Seen {
                parser: vt100::Parser::new(ROWS, COLUMNS, 0),
                backlog: Vec::new(),
                bytes: 0,
                last_at: started_at,
                wanted: None,
                found_at: None,
                has_ended: false,
            }),
            changed: Condvar::new(),
        });
        let (into, answers) = (Arc::clone(&shared), Arc::clone(&writer));
        std::thread::spawn(move || read(reader, &into, &answers));
        Ok(Program {
            _master: pair.master,
            process: child.process_id().ok_or("a process without a number")?,
            child,
            writer,
            shared,
            started_at,
        })
    }

    /// The text on the screen.
    pub(crate) fn text(&self) -> String {
        self.shared.lock().draw()
    }

    /// How many bytes it has written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.lock().bytes
    }

    /// Waits until the screen shows what is wanted; the instant at which it did.
    ///
    /// # Errors
    /// The program ended, or `limit` passed: with the last line that stood on the screen.
    pub(crate) fn wait_for(
        &self,
        limit: Duration,
        wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Fallible<Instant> {
        let mut seen = self.shared.lock();
        let text = seen.draw();
        if wanted(&text) {
            return Ok(seen.last_at);
        }
        seen.wanted = Some(Box::new(wanted));
        self.wait(seen, limit)
    }

    /// Types `keys` and waits for what they bring on the screen; the time from one to the other.
    pub(crate) fn press(
        &self,
        keys: &str,
        limit: Duration,
        wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Fallible<Duration> {
        let mut seen = self.shared.lock();
        seen.draw();
        seen.wanted = Some(Box::new(wanted));
        // The lock is held, so that no answer can come in before it is waited for.
        let pressed_at = Instant::now();
        self.type_keys(keys)?;
        Ok(self.wait(seen, limit)?.duration_since(pressed_at))
    }

    fn wait(&self, seen: MutexGuard<'_, Seen>, limit: Duration) -> Fallible<Instant> {
        let (mut seen, _) = self
            .shared
            .changed
            .wait_timeout_while(seen, limit, |seen| {
                seen.found_at.is_none() && !seen.has_ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        seen.wanted = None;
        if let Some(at) = seen.found_at.take() {
            return Ok(at);
        }
        let text = seen.draw();
        let mut lines = text.lines().rev().filter(|line| !line.trim().is_empty());
        let last = lines
            .clone()
            .find(|line| line.contains("error"))
            .or_else(|| lines.next());
        let how = if seen.has_ended {
            "it ended"
        } else {
            "it did not come"
        };
        Err(format!("{how}: {}", last.unwrap_or("an empty screen").trim()).into())
    }

    /// Types, as from a keyboard.
    pub(crate) fn type_keys(&self, keys: &str) -> Fallible<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(keys.as_bytes())?;
        Ok(writer.flush()?)
    }

    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.duration_since(self.started_at)
    }

    /// Waits until the program has done what it does at its start: it writes nothing and computes next to nothing.
    pub(crate) fn wait_until_idle(&self, limit: Duration) -> Fallible<()> {
        const LOOK: Duration = Duration::from_millis(400);
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let before = process::cpu_of_living(&self.processes());
            std::thread::sleep(LOOK);
            let is_quiet = self.shared.lock().last_at.elapsed() > LOOK;
            let used = process::cpu_of_living(&self.processes()) - before;
            let is_idle = used < if is_quiet { 0.06 } else { 0.03 };
            if is_idle && !process::is_at_work(&self.processes()) {
                return Ok(());
            }
        }
        Err(format!("still busy after {} s", limit.as_secs()).into())
    }

    /// CPU seconds since the start.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        process::cpu_total(&self.processes())
    }

    /// Resident memory, in millions of bytes.
    pub(crate) fn memory(&self) -> f64 {
        process::memory(&self.processes())
    }

    /// Watches for `time`; looks at the screen every half second and hands it to `look`.
    pub(crate) fn watch(&self, time: Duration, mut look: impl FnMut(&str)) -> Cost {
        let cpu = Cpu::of(&self.processes());
        let bytes = self.shared.lock().bytes;
        let begun = Instant::now();
        while begun.elapsed() < time {
            // Not in step with anything that happens ten times a second.
            std::thread::sleep(Duration::from_millis(487));
            look(&self.text());
        }
        let seconds = begun.elapsed().as_secs_f64();
        Cost {
            cpu_percent: Cpu::of(&self.processes()).since(&cpu) / seconds * 100.0,
            bytes_per_second: (self.shared.lock().bytes - bytes) as f64 / seconds,
            memory: self.memory(),
        }
    }

    fn processes(&self) -> Vec<u32> {
        process::tree(self.process)
    }
}

fn read(mut reader: Box<dyn Read + Send>, shared: &Shared, answers: &Mutex<Box<dyn Write + Send>>) {
    let mut buffer = vec![0; 1 << 16];
    let mut cut = Vec::new();
    // A pseudo-terminal whose last program has gone fails to be read; that is its end.
    while let Ok(count) = reader.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let now = Instant::now();
        let chunk = &buffer[..count];
        answer(chunk, &mut cut, answers);
        let mut seen = shared.lock();
        seen.bytes += count as u64;
        seen.last_at = now;
        if seen.wanted.is_none() && seen.backlog.len() > BACKLOG {
            let half = seen.backlog.len() - BACKLOG / 2;
            seen.backlog.drain(..half);
        }
        seen.backlog.extend_from_slice(chunk);
        if let Some(wanted) = seen.wanted.take() {
            let text = seen.draw();
            if wanted(&text) {
                seen.found_at = Some(now);
                shared.changed.notify_all();
            } else {
                seen.wanted = Some(wanted);
            }
        }
    }
    shared.lock().has_ended = true;
    shared.changed.notify_all();
}

fn answer(chunk: &[u8], cut: &mut Vec<u8>, to: &Mutex<Box<dyn Write + Send>>) {
    if cut.is_empty() && memchr::memchr(0x1b, chunk).is_none() {
        return;
    }
    let text = [cut.as_slice(), chunk].concat();
    cut.clear();
    for at in memchr::memchr_iter(0x1b, &text) {
        let rest = &text[at..];
        if let Some((_, answer)) = ANSWERS
            .iter()
            .find(|(question, _)| rest.starts_with(question))
        {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = to.write_all(answer).and_then(|()| to.flush());
        } else if rest.len() < LONGEST_QUESTION && memchr::memchr(0x1b, &rest[1..]).is_none() {
            cut.extend_from_slice(rest);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The children first: a shell that is gone no longer leads to what it started.
        for process in self.processes().into_iter().rev() {
            if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
