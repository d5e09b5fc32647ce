//! Containers that write lines at an exact rate, made without a registry.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::work::{LABEL, Work};
use crate::{Fallible, process, writer};

/// The engine on this machine.
pub(crate) struct Engine {
    socket: PathBuf,
    process: u32,
}

impl Engine {
    /// Finds the engine and makes the image.
    ///
    /// # Errors
    /// No engine answers here, with the client's words.
    pub(crate) fn find(work: &Work) -> Fallible<Engine> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None if host.is_empty() => PathBuf::from("/var/run/docker.sock"),
            None => return Err(format!("the engine at {host} is not on this machine").into()),
        };
        let stream = UnixStream::connect(&socket)
            .map_err(|error| format!("no Docker Engine at {}: {error}", socket.display()))?;
        // Who listens there: another engine on the same machine must not be measured in its place.
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        let engine = Engine {
            socket,
            process: u32::try_from(peer.pid.as_raw_nonzero().get())?,
        };
        engine.import(work)?;
        Ok(engine)
    }

    /// An image of links alone: the machine's own /usr is mounted into the containers.
    fn import(&self, work: &Work) -> Fallible<()> {
        let mut archive = tar::Builder::new(Vec::new());
        for (kind, names) in [
            (tar::EntryType::Directory, ["usr", "proc", "dev", "bench"]),
            (tar::EntryType::Symlink, ["bin", "sbin", "lib", "lib64"]),
        ] {
            for name in names {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(kind);
                header.set_size(0);
                header.set_mode(0o755);
                if kind == tar::EntryType::Symlink {
                    archive.append_link(&mut header, name, format!("usr/{name}"))?;
                } else {
                    archive.append_data(&mut header, format!("{name}/"), std::io::empty())?;
                }
            }
        }
        let file = work.path("image.tar");
        fs::write(&file, archive.into_inner()?)?;
        let label = format!("LABEL {LABEL}={}", std::process::id());
        let file = file.display().to_string();
        docker(work, &["import", "-c", &label, &file, &work.name("image")]).map(|_| ())
    }

    /// curl's arguments that read the whole log of a container, as lastgood asks for it.
    pub(crate) fn curl(&self, work: &Work, container: &str) -> Command {
        let url =
            format!("http://localhost/containers/{container}/logs?stdout=1&stderr=1&timestamps=1");
        let socket = self.socket.display().to_string();
        work.command("curl", &["-sSf", "--unix-socket", &socket, &url])
    }

    /// CPU seconds of the engine's process so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        process::cpu_total(&[self.process])
    }
}

fn docker(work: &Work, arguments: &[&str]) -> Fallible<String> {
    let output = work.command("docker", arguments).output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("docker {}: {}", arguments[0], words.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A container that writes; removed when dropped.
pub(crate) struct Writer {
    pub(crate) name: String,
    folder: PathBuf,
}

impl Writer {
    /// Starts a container that waits for [`Writer::go`], then writes `rate` lines a second (0: as fast as it can)
    /// until `limit` lines are written (0: for ever).
    pub(crate) fn start(work: &Work, name: &str, rate: u64, limit: u64) -> Fallible<Writer> {
        let name = work.name(name);
        // Made first, so that a container that was created and did not start is removed as well.
        let writer = Writer {
            folder: work.path(&name),
            name,
        };
        fs::create_dir_all(&writer.folder)?;
        let label = format!("{LABEL}={}", std::process::id());
        let program = format!("{}:/bench/write:ro", std::env::current_exe()?.display());
        let shared = format!("{}:/bench/shared", writer.folder.display());
        let image = work.name("image");
        let (rate, limit) = (rate.to_string(), limit.to_string());
        let mut arguments = vec!["run", "-d", "--name", &writer.name, "--label", &label];
        // The first service of every list, whatever else is on this machine.
        let service = format!("com.docker.compose.service={}", writer.name);
        for label in [
            "com.docker.compose.project=0-lastgood-bench",
            "com.docker.compose.version=2.0.0",
            &service,
        ] {
            arguments.extend(["--label", label]);
        }
        arguments.extend(["--network", "none", "--log-driver", "json-file"]);
        arguments.extend(["-v", "/usr:/usr:ro", "-v", &program, "-v", &shared]);
        arguments.extend([&image, "/bench/write", writer::SUBCOMMAND]);
        arguments.extend([&rate, &limit, "/bench/shared"]);
        docker(work, &arguments)?;
        Ok(writer)
    }

    /// Lets the writer begin.
    pub(crate) fn go(&self) -> Fallible<()> {
        Ok(fs::write(self.folder.join(writer::GO), "")?)
    }

    /// How many lines were written so far, to a tenth of a second.
    pub(crate) fn written(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(writer::COUNT)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Waits until `lines` are written.
    pub(crate) fn wait_for(&self, lines: u64, limit: Duration) -> Fallible<()> {
        let begun = Instant::now();
        while self.written() < lines {
            if begun.elapsed() > limit {
                return Err(format!("the writer wrote {} of {lines} lines", self.written()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["rm", "-f", "-v", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
