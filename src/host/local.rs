//! This machine: commands in process groups of their own, files replaced in one step.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;

use super::{Command, CommandOutput, FileStat, HostError};

/// Between asking a command to end and killing it.
const GRACE: Duration = Duration::from_secs(2);
/// A program in the background may hold the pipes of a command that has ended: it is not waited for.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(200);
/// What a clean environment keeps.
const KEPT_VARIABLES: &[&str] = &["HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ"];

/// The process of a command, not started yet: it reads nothing, and both its outputs are pipes.
pub(super) fn process(command: &Command) -> Result<tokio::process::Command, HostError> {
    let [program, arguments @ ..] = command.argv.as_slice() else {
        return Err(HostError::Start {
            program: String::new(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "an empty command"),
        });
    };
    let mut process = tokio::process::Command::new(program);
    process
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: a Ctrl-C for us is not for it, and a kill reaches what it started.
        .process_group(0);
    if command.has_clean_env {
        process.env_clear();
        for name in KEPT_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                process.env(name, value);
            }
        }
    }
    let variables = command.env.iter().chain(&command.secret);
    process.envs(variables.map(|(n, v)| (n, v)));
    if let Some(cwd) = &command.cwd {
        process.current_dir(cwd);
    }
    Ok(process)
}

/// Runs a command to its end or to its time limit.
pub(super) async fn run(command: &Command) -> Result<CommandOutput, HostError> {
    let mut process = process(command)?;
    let program = command.program().into_owned();
    let started = Instant::now();
    let mut child = process.spawn().map_err(|source| HostError::Start {
        program: program.clone(),
        source,
    })?;
    let group = Group::of(&child);
    let mut stdout = Kept::new(command.max_output, Keep::First);
    let mut stderr = Kept::new(command.max_output, Keep::Last);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let status = {
        let reading = async {
            tokio::join!(stdout.fill(out), stderr.fill(err));
        };
        let mut reading = std::pin::pin!(reading);
        let mut is_read = false;
        let ending = async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut reading, if !is_read => is_read = true,
                }
            }
        };
        let status = tokio::time::timeout(command.timeout, ending).await;
        if status.is_ok() && !is_read {
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
        }
        status
    };
    let Ok(status) = status else {
        group.end(&mut child).await;
        return Err(HostError::TimedOut {
            line: command.to_line(),
            limit: command.timeout,
        });
    };
    // It ended by itself: what it left running in the background is meant to run.
    group.release();
    let status = status.map_err(|source| HostError::Start {
        program: program.clone(),
        source,
    })?;
    Ok(output_of(status, stdout, stderr, started))
}

/// What a process that has ended said.
pub(super) fn output_of(
    status: std::process::ExitStatus,
    stdout: Kept,
    stderr: Kept,
    started: Instant,
) -> CommandOutput {
    CommandOutput {
        code: status.code(),
        signal: status.signal(),
        cut_bytes: stdout.cut + stderr.cut,
        stdout: stdout.bytes,
        stderr: stderr.bytes,
        took: started.elapsed(),
    }
}

/// A process group that is killed when the task that runs it is dropped.
pub(super) struct Group(Option<u32>);

impl Group {
    /// The group that a process leads.
    pub(super) fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// Ends all of it at once.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.0?).ok()?)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Gone already is what is wanted.
            let _ = kill_process_group(pid, signal);
        }
    }

    pub(super) async fn end(self, child: &mut Child) {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
        self.signal(Signal::KILL);
        let _ = child.wait().await;
        self.release();
    }

    pub(super) fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Which part of too long an output is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    First,
    Last,
}

/// What a stream gave so far, bounded.
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    pub(super) cut: u64,
    max: usize,
    keep: Keep,
}

impl Kept {
    pub(super) fn new(max: usize, keep: Keep) -> Self {
        Self {
            bytes: Vec::new(),
            cut: 0,
            max,
            keep,
        }
    }

    pub(super) async fn fill(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else {
            return;
        };
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            self.push(&buffer[..n]);
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self.keep {
            Keep::First => {
                let take = self.max.saturating_sub(self.bytes.len()).min(bytes.len());
                self.bytes.extend_from_slice(&bytes[..take]);
                self.cut += (bytes.len() - take) as u64;
            }
            Keep::Last => {
                self.bytes.extend_from_slice(bytes);
                if let Some(over) = self.bytes.len().checked_sub(self.max) {
                    self.bytes.drain(..over);
                    self.cut += over as u64;
                }
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let at = path.clone();
    tokio::task::spawn_blocking(move || work(&at))
        .await
        .unwrap_or_else(|error| {
            Err(HostError::File {
                what,
                path,
                source: io::Error::other(error),
            })
        })
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HostError + use<> {
    let path = path.to_owned();
    move |source| HostError::File { what, path, source }
}

pub(super) async fn read_file(path: PathBuf, max: u64) -> Result<Vec<u8>, HostError> {
    blocking("read", path, move |path| {
        let file = File::open(path).map_err(file_error("read", path))?;
        let mut content = Vec::new();
        file.take(max.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(file_error("read", path))?;
        if content.len() as u64 > max {
            let size = fs::metadata(path).map_or(content.len() as u64, |m| m.len());
            return Err(HostError::TooLarge {
                path: path.to_owned(),
                size: size.max(content.len() as u64),
                max,
            });
        }
        Ok(content)
    })
    .await
}

pub(super) async fn read_link(path: PathBuf) -> Result<Option<PathBuf>, HostError> {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    blocking("look at", path, |path| match fs::read_link(path) {
        Ok(target) => Ok(Some(target)),
        // What is no link is an invalid argument.
        Err(error) if matches!(error.kind(), InvalidInput | NotADirectory | NotFound) => Ok(None),
        Err(error) => Err(file_error("look at", path)(error)),
    })
    .await
}

pub(super) async fn stat(path: PathBuf) -> Result<Option<FileStat>, HostError> {
    blocking("look at", path, |path| match fs::metadata(path) {
        Ok(found) => Ok(Some(FileStat {
            size: found.len(),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            inode: found.ino(),
            modified_at: found.modified().ok().and_then(|t| t.try_into().ok()),
            is_folder: found.is_dir(),
        })),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(file_error("look at", path)(error)),
    })
    .await
}

pub(super) async fn write_file_atomic(
    path: PathBuf,
    content: Vec<u8>,
    mode: u32,
) -> Result<(), HostError> {
    blocking("write", path, move |path| {
        replace(path, &content, mode).map_err(file_error("write", path))
    })
    .await
}

fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A link stays a link; a file that is not there yet has no target to look for.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let before = match fs::metadata(&target) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut staged = tempfile::Builder::new()
        .prefix(".lastgood-")
        .tempfile_in(folder)?;
    staged.write_all(content)?;
    if let Some(before) = &before {
        let now = staged.as_file().metadata()?;
        if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
            fchown(staged.as_file(), Some(before.uid()), Some(before.gid()))?;
        }
    }
    // After the owner: changing that clears set-id bits.
    let mode = before.as_ref().map_or(mode, |b| b.mode() & 0o7777);
    staged
        .as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    staged.as_file().sync_all()?;
    match staged.persist(&target) {
        Ok(_) => File::open(folder)?.sync_all(),
        // The file itself is mounted there: its content can change, not its identity.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(&target)?;
            file.write_all(content)?;
            file.sync_all()
        }
        Err(error) => Err(error.error),
    }
}

/// The name of a user of this machine, from the system's own list.
pub fn user_name(uid: u32) -> Option<String> {
    name_of(uid, &fs::read_to_string("/etc/passwd").ok()?)
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn names_come_from_the_list_of_users() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("anna"));
        assert_eq!(name_of(1, passwd), None);
    }

    async fn sh(line: &str) -> CommandOutput {
        run(&Command::shell(line, &[], LONG)).await.unwrap()
    }

    #[tokio::test]
    async fn the_end_and_both_streams_are_told() {
        let out = sh("echo out; echo why >&2; exit 3").await;
        assert_eq!(
            (out.code, out.stdout.as_slice()),
            (Some(3), b"out\n".as_slice())
        );
        assert_eq!(out.describe().as_str(), "exit 3: why");
        let thrown = sh("printf 'Error: locked\\n    at start (a.js:1:2)\\n\\n' >&2; exit 1").await;
        assert_eq!(thrown.describe().as_str(), "exit 1: Error: locked");
        assert_eq!(sh("kill -9 $$").await.signal, Some(9));
    }

    #[tokio::test]
    async fn arguments_are_not_read_by_a_shell() {
        let command = Command::shell("printf %s \"$1\"", &["$(id); `id`"], LONG);
        assert_eq!(run(&command).await.unwrap().stdout, b"$(id); `id`");
    }

    #[tokio::test]
    async fn a_late_command_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let line = "sleep 600 & echo $! > \"$1\"; wait";
        let path = pid_file.to_str().unwrap();
        let command = Command::shell(line, &[path], Duration::from_millis(700));
        let error = run(&command).await.unwrap_err();
        assert!(matches!(error, HostError::TimedOut { .. }), "{error}");
        let pid = fs::read_to_string(&pid_file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        // A killed process is gone a moment after the signal.
        let is_dead = || fs::read_to_string(&stat).map_or(true, |s| s.contains(") Z "));
        for _ in 0..100 {
            if is_dead() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_dead(), "the child lives");
    }

    #[tokio::test]
    async fn a_background_program_is_neither_waited_for_nor_killed() {
        let started = Instant::now();
        let out = sh("sleep 5 & echo $!").await;
        assert!(started.elapsed() < Duration::from_secs(4));
        let pid = out.stdout_text().trim().to_owned();
        assert!(fs::metadata(format!("/proc/{pid}")).is_ok());
        sh(&format!("kill {pid}")).await;
    }

    #[tokio::test]
    async fn output_is_bounded_and_what_was_cut_is_counted() {
        let mut command = Command::shell("printf 123456; printf abcdef >&2", &[], LONG);
        command.max_output = 4;
        let out = run(&command).await.unwrap();
        assert_eq!(
            (out.stdout.as_slice(), out.stderr.as_slice()),
            (b"1234".as_slice(), b"cdef".as_slice())
        );
        assert_eq!(out.cut_bytes, 4);
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = run(&Command::new(["lastgood-no-such"], LONG))
            .await
            .unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "cannot start lastgood-no-such");
    }

    #[tokio::test]
    async fn a_replaced_file_keeps_its_mode_and_a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink("a", &link).unwrap();
        write_file_atomic(link.clone(), b"new".to_vec(), 0o600)
            .await
            .unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let found = stat(file).await.unwrap().unwrap();
        assert_eq!((found.mode, found.size), (0o640, 3));
        let fresh = dir.path().join("c");
        write_file_atomic(fresh.clone(), b"x".to_vec(), 0o600)
            .await
            .unwrap();
        assert_eq!(stat(fresh).await.unwrap().unwrap().mode, 0o600);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            3,
            "no temporary file is left"
        );
    }

    #[tokio::test]
    async fn files_that_cannot_be_read_say_why() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none");
        assert!(
            read_file(missing.clone(), 10)
                .await
                .unwrap_err()
                .is_not_found()
        );
        assert_eq!(stat(missing).await.unwrap(), None);
        let large = dir.path().join("large");
        fs::write(&large, "0123456789").unwrap();
        assert_eq!(read_file(large.clone(), 10).await.unwrap().len(), 10);
        let error = read_file(large, 9).await.unwrap_err();
        assert!(
            error.to_string().contains("10 bytes, over the limit of 9"),
            "{error}"
        );
        assert!(
            write_file_atomic(dir.path().to_owned(), Vec::new(), 0o600)
                .await
                .is_err()
        );
    }
}
