//! Everything that somebody elsewhere needs to look into an incident, in one archive, secrets taken out.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{find_any, redactor, report, store};
use crate::analysis::redact::Redactor;
use crate::domain::digest;
use crate::domain::incident::{Incident, Moment};
use crate::domain::log::{LogEvent, LogRequest, Window};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Service};
use crate::host::Command;
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError, audit, checkpoint, health, logs, report as words};
use crate::ops::{services, signals};
use crate::store::archive;
use crate::store::paths::{StoreError, create_new_with};

/// Logs from so long before the beginning on: the cause comes before the alarm.
const LEAD: SignedDuration = SignedDuration::from_mins(10);
/// More of one log is left out, and said so.
const MAX_LOG: u64 = 256 * 1024 * 1024;
/// A configuration file is small.
const MAX_CONFIG: u64 = 1024 * 1024;
/// A daemon that does not answer by then is the news.
const LIMIT: Duration = Duration::from_secs(10);
/// Facts about a machine and its engine: the file's name and the command.
const DIAGNOSTICS: &[(&str, &[&str])] = &[
    ("uname", &["uname", "-a"]),
    ("uptime", &["uptime"]),
    ("memory", &["cat", "/proc/meminfo"]),
    ("disk-use", &["df", "-P"]),
    ("disk-inodes", &["df", "-P", "-i"]),
    ("docker-version", &["docker", "version"]),
    ("docker-info", &["docker", "info"]),
    ("docker-disk-use", &["docker", "system", "df"]),
    ("docker-containers", &["docker", "ps", "-a", "--no-trunc"]),
    ("pm2-version", &["sh", "-c", PM2_VERSION]),
];
/// `pm2 --version` starts a daemon where none runs: its version is read of its package.
const PM2_VERSION: &str = r#"
p=$(command -v pm2) || { echo "no pm2 in the path" >&2; exit 127; }
p=$(readlink -f -- "$p")
echo "$p"
grep -m 1 '"version"' "${p%/*}/../package.json""#;

/// What was packed.
#[derive(Debug, Clone, Serialize)]
pub struct Bundled {
    /// The incident.
    pub id: String,
    /// The archive.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its files.
    pub files: Vec<BundledFile>,
    /// What could not be had, in words.
    pub missing: Vec<SafeText>,
}

/// One file of an archive.
#[derive(Debug, Clone, Serialize)]
pub struct BundledFile {
    /// Its name in the archive.
    pub name: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// Packs the report, logs of the window, comparisons, signals, health, configuration and facts about machines and engines
/// into a `.tar.gz` or `.tar.zst` that only this user can read.
///
/// # Errors
/// No such incident, another ending, the file exists, a full disk. What cannot be had of a service or a machine stands in
/// [`Bundled::missing`].
pub async fn bundle(ctx: &Context, id: Option<&str>, to: &Path) -> Result<Bundled, OpsError> {
    archive::check(to)?;
    let incident = find_any(ctx, id)?;
    let folder = store(ctx).folder(&incident.id);
    let staged = tempfile::Builder::new()
        .prefix(".bundle-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(&folder)
        .map_err(StoreError::at("make a folder in", &folder))?;
    let inventory = services::discover(ctx).await;
    let mut bundle = Bundle {
        ctx,
        redactor: redactor(ctx, &incident, &inventory).await?,
        incident: &incident,
        root: staged.path().to_owned(),
        files: Vec::new(),
        missing: Vec::new(),
    };
    bundle.add_facts(&inventory).await?;
    for away in &inventory.unreachable {
        let what = format!("what {} on {} runs", away.runtime.as_str(), away.host);
        bundle.miss(&what, &away.error);
    }
    for service in &inventory.services {
        bundle.add_log(service).await?;
        bundle.add_configs(service).await?;
    }
    bundle.add_kept_logs()?;
    bundle.add_diagnostics().await?;
    let missing = bundle.missing.clone();
    bundle.add_json("MISSING.json", &missing)?;
    let (root, files) = (bundle.root.clone(), bundle.files);
    let (target, name) = (to.to_owned(), incident.id.clone());
    let packing = tokio::task::spawn_blocking(move || {
        let names: Vec<PathBuf> = files.iter().map(|f: &BundledFile| f.name.clone()).collect();
        archive::pack(&root, &names, &name, &target).map(|bytes| (bytes, files))
    });
    let (bytes, files) = packing
        .await
        .map_err(|error| OpsError::new(ErrorKind::Failed, "packing broke off").because(error))??;
    Ok(Bundled {
        id: incident.id,
        path: to.to_owned(),
        bytes,
        files,
        missing,
    })
}

struct Bundle<'a> {
    ctx: &'a Context,
    redactor: Redactor,
    incident: &'a Incident,
    root: PathBuf,
    files: Vec<BundledFile>,
    missing: Vec<SafeText>,
}

impl Bundle<'_> {
    fn window(&self) -> Window {
        Window {
            since: Some(self.incident.started_at - LEAD),
            until: Some(self.incident.ended_at.unwrap_or_else(Timestamp::now)),
        }
    }

    fn miss(&mut self, what: &str, why: &dyn std::fmt::Display) {
        let text = format!("{what}: {why}");
        let text = self.redactor.redact(&text);
        self.missing.push(SafeText::from_text(&text));
    }

    /// Adds a text, secrets taken out of the whole of it: a key has several lines.
    fn add_text(&mut self, name: impl AsRef<Path>, text: &str) -> Result<(), OpsError> {
        let name = name.as_ref();
        let mut file = self.create(name)?;
        file.write_all(self.redactor.redact(text).as_bytes())
            .map_err(StoreError::at("write", name))?;
        self.close(name)
    }

    fn add_json(&mut self, name: &str, content: &impl Serialize) -> Result<(), OpsError> {
        let json = serde_json::to_string_pretty(content).map_err(|error| {
            OpsError::new(ErrorKind::Failed, format!("cannot write {name}")).because(error)
        })?;
        self.add_text(name, &json)
    }

    fn create(&self, name: &Path) -> Result<File, OpsError> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(StoreError::at("make the folder", parent))?;
        }
        Ok(create_new_with(&path, 0o600)?)
    }

    fn close(&mut self, name: &Path) -> Result<(), OpsError> {
        let path = self.root.join(name);
        let content = std::fs::read(&path).map_err(StoreError::at("read", &path))?;
        self.files.push(BundledFile {
            name: name.to_owned(),
            bytes: content.len() as u64,
            sha256: digest::sha256(&content),
        });
        Ok(())
    }

    async fn add_facts(&mut self, inventory: &Inventory) -> Result<(), OpsError> {
        let found = report(self.ctx, Some(&self.incident.id)).await?;
        let zone = TimeZone::system();
        let lines = words::to_markdown(&found, &zone);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.add_text("report.md", &text)?;
        self.add_text("report.html", &words::to_html(&found, &zone))?;
        self.add_json("report.json", &found)?;
        for moment in [Moment::Start, Moment::End] {
            let path = store(self.ctx).comparison(&self.incident.id, moment);
            match std::fs::read_to_string(&path) {
                Ok(text) => self.add_text(format!("compare-{}.json", moment.as_str()), &text)?,
                Err(error) => self.miss(&format!("the comparison {}", moment.words()), &error),
            }
        }
        let (since, until) = (self.window().since, self.window().until);
        let in_window = |at: Timestamp| Some(at) >= since && Some(at) <= until;
        let mut records = String::new();
        for record in audit::list(self.ctx)?.iter().filter(|r| in_window(r.at)) {
            records.push_str(&serde_json::to_string(record).unwrap_or_default());
            records.push('\n');
        }
        self.add_text("audit.jsonl", &records)?;
        self.add_json("services.json", inventory)?;
        self.add_json(
            "health.json",
            &health::check(self.ctx, &inventory.services).await,
        )?;
        let mut measured = Vec::new();
        for service in &inventory.services {
            measured.push(signals::measure(self.ctx, service, self.window()).await);
        }
        self.add_json("signals.json", &measured)
    }

    async fn add_log(&mut self, service: &Service) -> Result<(), OpsError> {
        let name = Path::new("logs")
            .join(service.id.relative_path())
            .with_extension("log");
        let mut file = std::io::BufWriter::new(self.create(&name)?);
        let request = LogRequest {
            window: self.window(),
            ..LogRequest::default()
        };
        let (to, mut from) = mpsc::channel(16);
        let reading = logs::read(self.ctx, service, &request, to);
        let redactor = &self.redactor;
        let mut notes = Vec::new();
        let writing = async {
            let mut written = 0;
            while let Some(event) = from.recv().await {
                match event {
                    LogEvent::Block(block) => {
                        for (line, text) in block.iter() {
                            let text = String::from_utf8_lossy(text);
                            let at = line.at.map_or(String::new(), |at| format!("{at} "));
                            let text = format!("{at}{}\n", redactor.redact(&text));
                            written += text.len() as u64;
                            file.write_all(text.as_bytes())?;
                        }
                    }
                    LogEvent::Note(note) => notes.push(note.detail.to_string()),
                    _ => {}
                }
                if written > MAX_LOG {
                    notes.push(format!("cut after {written} bytes"));
                    break;
                }
            }
            // Whoever still reads is told that nobody listens.
            from.close();
            file.flush()
        };
        let (read, written) = futures_util::future::join(reading, writing).await;
        written.map_err(StoreError::at("write", &name))?;
        if let Err(error) = read {
            notes.push(error.to_safe_text().to_string());
        }
        for note in notes {
            self.miss(&format!("the log of {}", service.id), &note);
        }
        self.close(&name)
    }

    /// The logs of releases that a rollback saved in the window: their containers are gone.
    fn add_kept_logs(&mut self) -> Result<(), OpsError> {
        let dir = self.ctx.state.runs();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            // Nothing was ever rolled back.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.miss("the logs of releases that were rolled back", &error);
                return Ok(());
            }
        };
        let window = self.window();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.miss("a log of a release that was rolled back", &error);
                    continue;
                }
            };
            let file = entry.file_name().to_string_lossy().into_owned();
            let changed = entry.metadata().and_then(|meta| meta.modified());
            let at = changed.ok().and_then(|at| Timestamp::try_from(at).ok());
            let is_inside = at >= window.since && at <= window.until;
            let Some(stem) = file.strip_suffix(".log.zst").filter(|_| is_inside) else {
                continue;
            };
            if !stem.starts_with("failed-") {
                continue;
            }
            let name = Path::new("logs").join(format!("{stem}.log"));
            match self.unpack(&entry.path(), &name) {
                Ok(()) => self.close(&name)?,
                Err(error) => {
                    let _ = std::fs::remove_file(self.root.join(&name));
                    self.miss(&file, &error);
                }
            }
        }
        Ok(())
    }

    fn unpack(&self, from: &Path, name: &Path) -> std::io::Result<()> {
        let mut reader = BufReader::new(zstd::Decoder::new(File::open(from)?)?);
        let path = self.root.join(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut file = std::io::BufWriter::new(file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            file.write_all(self.redactor.redact(&text).as_bytes())?;
            line.clear();
        }
        file.flush()
    }

    async fn add_configs(&mut self, service: &Service) -> Result<(), OpsError> {
        let host = host_of(self.ctx, &service.id)?;
        for (path, must_exist) in checkpoint::config_files(self.ctx, host, service).await {
            let place = path.strip_prefix("/").unwrap_or(&path);
            let name = Path::new("configs")
                .join(service.id.relative_path())
                .join(place);
            let what = format!("{}: {}", service.id, path.display());
            match host.read_file(&path, MAX_CONFIG).await {
                Ok(content) => match String::from_utf8(content) {
                    Ok(text) => self.add_text(&name, &text)?,
                    Err(_) => self.miss(
                        &what,
                        &"it is no text, so that secrets in it cannot be found",
                    ),
                },
                Err(error) if error.is_not_found() && !must_exist => {}
                Err(error) => self.miss(&what, &SafeText::from_error(&error)),
            }
        }
        Ok(())
    }

    async fn add_diagnostics(&mut self) -> Result<(), OpsError> {
        for host in &self.ctx.hosts {
            for (name, argv) in DIAGNOSTICS {
                let command = Command::new(argv.iter().copied(), LIMIT).with_env("LC_ALL", "C");
                let place = Path::new("diagnostics")
                    .join(host.name().as_str())
                    .join(format!("{name}.txt"));
                let output = host.query(&command).await;
                let text = match output {
                    Ok(output) if output.is_success() => {
                        format!("$ {}\n{}", command.to_line(), output.stdout_text())
                    }
                    Ok(output) => {
                        self.miss(
                            &format!("{}: {}", host.name(), command.to_line()),
                            &output.describe(),
                        );
                        continue;
                    }
                    Err(error) => {
                        self.miss(
                            &format!("{}: {}", host.name(), command.to_line()),
                            &SafeText::from_error(&error),
                        );
                        continue;
                    }
                };
                self.add_text(place, &text)?;
            }
        }
        Ok(())
    }
}
