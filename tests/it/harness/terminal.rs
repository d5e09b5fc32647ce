//! A terminal of the test's own: a pseudo-terminal with an emulator behind it.

use super::{Sandbox, sandbox::binary, wait_for};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Questions a program may ask its terminal, and what an xterm answers.
const ANSWERS: &[(&[u8], &[u8])] = &[
    (b"\x1b[6n", b"\x1b[1;1R"),
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b[0c", b"\x1b[?62;22c"),
];

/// The binary in a terminal; killed when dropped.
pub(crate) struct Terminal {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts the binary in a terminal of `columns` x `rows`.
    pub(crate) fn start(
        sandbox: &Sandbox,
        arguments: &[&str],
        (columns, rows): (u16, u16),
    ) -> Terminal {
        let size = PtySize {
            rows,
            cols: columns,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(binary());
        command.args(arguments);
        command.cwd(sandbox.work());
        command.env_clear();
        for (name, value) in sandbox.variables() {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let writer = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let seen = Arc::new(Mutex::new(Seen {
            parser: vt100::Parser::new(rows, columns, 0),
            bytes: Vec::new(),
        }));
        let reader = pair.master.try_clone_reader().unwrap();
        let (into, answers) = (Arc::clone(&seen), Arc::clone(&writer));
        std::thread::spawn(move || read(reader, &into, &answers));
        Terminal {
            master: pair.master,
            child,
            writer,
            seen,
        }
    }

    /// What stands on the screen, line by line.
    pub(crate) fn screen(&self) -> String {
        self.seen.lock().unwrap().parser.screen().contents()
    }

    /// How much memory the program holds, in kilobytes.
    pub(crate) fn memory_kb(&self) -> u64 {
        let process = self.child.process_id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        words[1].parse().unwrap()
    }

    /// Everything that was written to the terminal.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// Whether the program has switched to the alternate screen.
    pub(crate) fn is_alternate(&self) -> bool {
        self.seen.lock().unwrap().parser.screen().alternate_screen()
    }

    /// Fails, with the screen, unless the modes are those of a shell's terminal: main screen, visible cursor, no mouse,
    /// no bracketed paste.
    pub(crate) fn is_left_sane(&self) {
        let seen = self.seen.lock().unwrap();
        let screen = seen.parser.screen();
        assert!(
            !screen.alternate_screen(),
            "the alternate screen is left on"
        );
        assert!(!screen.hide_cursor(), "the cursor is left hidden");
        assert!(!screen.bracketed_paste(), "bracketed paste is left on");
        assert_eq!(
            screen.mouse_protocol_mode(),
            vt100::MouseProtocolMode::None,
            "the mouse is left captured"
        );
    }

    /// Waits until `text` stands on the screen.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let limit = Duration::from_secs(20);
        self.wait_until(text, limit, |screen| screen.contains(text))
    }

    /// Waits until the screen is so, and gives it.
    pub(crate) fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&str) -> bool,
    ) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, limit, || {
                last = self.screen();
                is_so(&last).then_some(())
            });
        }));
        assert!(
            found.is_ok(),
            "{what:?} did not come on the screen:\n{last}"
        );
        last
    }

    /// Types, as from a keyboard.
    pub(crate) fn keys(&self, keys: &str) {
        let mut writer = self.writer.lock().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    pub(crate) fn resize(&self, (columns, rows): (u16, u16)) {
        self.seen
            .lock()
            .unwrap()
            .parser
            .screen_mut()
            .set_size(rows, columns);
        self.master
            .resize(PtySize {
                rows,
                cols: columns,
                pixel_width: 0,
                pixel_height: 0,
            })
            .unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.process(), signal).unwrap();
    }

    pub(crate) fn process(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_raw(i32::try_from(self.child.process_id().unwrap()).unwrap())
            .unwrap()
    }

    /// Waits for the end; the exit code.
    pub(crate) fn exit_code(&mut self) -> u32 {
        let child = &mut self.child;
        let status = wait_for("the end of the program", Duration::from_secs(20), || {
            child.try_wait().unwrap()
        });
        // What the guard wrote last may still be on its way through the pseudo-terminal.
        std::thread::sleep(Duration::from_millis(200));
        assert!(status.signal().is_none(), "died by a signal: {status}");
        status.exit_code()
    }
}

fn read(
    mut reader: Box<dyn Read + Send>,
    seen: &Mutex<Seen>,
    answers: &Mutex<Box<dyn Write + Send>>,
) {
    let mut buffer = [0; 65536];
    while let Ok(count) = reader.read(&mut buffer) {
        if count == 0 {
            return;
        }
        let chunk = &buffer[..count];
        {
            let mut seen = seen.lock().unwrap();
            seen.parser.process(chunk);
            seen.bytes.extend_from_slice(chunk);
        }
        for (question, answer) in ANSWERS {
            if chunk
                .windows(question.len())
                .any(|window| window == *question)
            {
                let mut writer = answers.lock().unwrap();
                let _ = writer.write_all(answer).and_then(|()| writer.flush());
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
