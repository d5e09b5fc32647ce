//! Runbooks on disk, and the runs of them.
//!
//! Shipped runbooks are part of the binary: on the night when they are needed nothing may have to be installed
//! or found first. A user's `<config dir>/runbooks/NAME.md` takes the place of the shipped one of that name.
//!
//! A run is one file, `<state>/runbooks/<run>/journal.jsonl`: several people append to it, nobody rewrites it.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::nearest::nearest;
use crate::domain::runbook::include::{self, Part};
use crate::domain::runbook::run::{RunEvent, RunEventKind};
use crate::domain::runbook::variables::{self, Unset, Variables};
use crate::domain::runbook::{Language, RunState, Runbook, parse};
use crate::domain::safe_text::SafeText;

mod error;
mod journal;
mod shipped;

use shipped::{SHIPPED, Shipped};

pub use error::RunbookError;
pub use journal::RunJournal;

/// The schema of a run's journal.
const SCHEMA: &str = "lastgood.runbook-run/1";
/// A runbook is written by people for people: what is larger is something else.
const LARGEST_BYTES: u64 = 1024 * 1024;

/// A runbook and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Parsed.
    pub runbook: Runbook,
    /// The Markdown, with what it includes and the values of its variables.
    pub text: String,
    /// The user's file; `None` for a shipped one.
    pub path: Option<PathBuf>,
}

/// Every runbook that can be started, and what stands in the way of the others.
#[derive(Debug, Default)]
pub struct Listing {
    /// The shipped ones in their order, then the user's own by name.
    pub runbooks: Vec<Source>,
    /// A user's files that cannot be used. Never dropped silently: the shipped one of that name is not a fallback.
    pub problems: Vec<RunbookError>,
}

/// One run, without its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id: `20251227-150000-deploy`.
    pub run: String,
    /// When it was started; of a damaged one when it was last changed.
    pub started_at: Timestamp,
}

/// Reads runbooks and keeps their runs.
#[derive(Debug, Clone)]
pub struct RunbookStore {
    runs: PathBuf,
    user: Option<PathBuf>,
    variables: Variables,
    language: Language,
}

impl RunbookStore {
    /// `state` is the state directory, `config` the user's configuration directory, if there is one. Touches no
    /// file.
    pub fn new(state: &Path, config: Option<&Path>) -> Self {
        Self {
            runs: state.join("runbooks"),
            user: config.map(|dir| dir.join("runbooks")),
            variables: Variables::new(),
            language: Language::default(),
        }
    }

    /// Like [`RunbookStore::new`], with the user's own configuration directory: `$XDG_CONFIG_HOME/lastgood`, else
    /// `~/.config/lastgood`; neither known: shipped runbooks only.
    pub fn of_user(state: &Path) -> Self {
        let from = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path: &PathBuf| path.is_absolute())
        };
        let config =
            from("XDG_CONFIG_HOME").or_else(|| from("HOME").map(|home| home.join(".config")));
        Self::new(state, config.map(|dir| dir.join("lastgood")).as_deref())
    }

    /// The same with values for the variables of runbooks.
    #[must_use]
    pub fn with_variables(mut self, variables: Variables) -> Self {
        self.variables = variables;
        self
    }

    /// The same with the shipped runbooks in a language. A user's own file is what it is.
    #[must_use]
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// Every runbook. Fails only where the user's folder exists and cannot be read.
    pub fn list(&self) -> Result<Listing, RunbookError> {
        let mut listing = Listing::default();
        let own = self.user_files()?;
        let shipped = SHIPPED.iter().map(|shipped| shipped.name);
        let others = own
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| shipped::find(name).is_none());
        for name in shipped.chain(others) {
            match self.load(name) {
                Ok(source) => listing.runbooks.push(source),
                Err(problem) => listing.problems.push(problem),
            }
        }
        Ok(listing)
    }

    /// One runbook: the user's, else the shipped one. Variables without a value stay in its text.
    pub fn load(&self, name: &str) -> Result<Source, RunbookError> {
        self.load_with(name, Unset::Stays)
    }

    fn load_with(&self, name: &str, unset: Unset) -> Result<Source, RunbookError> {
        let own = self.user_files()?;
        let path = own
            .iter()
            .find(|(own_name, _)| own_name == name)
            .map(|(_, path)| path.clone());
        let part = match (&path, shipped::find(name)) {
            (Some(path), _) => read_part(path)?,
            (None, Some(shipped)) => shipped_part(shipped, self.language),
            (None, None) => {
                let known = known_names(&own);
                return Err(RunbookError::NoRunbook {
                    name: name.to_owned(),
                    nearest: nearest(name, known.iter().map(String::as_str))
                        .or_else(|| known.iter().map(String::as_str).find(|k| k.contains(name)))
                        .map(str::to_owned),
                    known,
                });
            }
        };
        let (runbook, text) = self.read(name, part, &own, unset)?;
        Ok(Source {
            runbook,
            text,
            path,
        })
    }

    /// Puts in what it includes and the values, and parses. What is kept is the text with all of it.
    fn read(
        &self,
        name: &str,
        part: Part,
        own: &[(String, PathBuf)],
        unset: Unset,
    ) -> Result<(Runbook, String), RunbookError> {
        let file = part.file.clone();
        let syntax = |(error, text)| RunbookError::Syntax { error, text };
        let whole = include::expand(part, |from, target| self.find_part(from, target, own))
            .map_err(|located| syntax(*located))?;
        let filled = variables::fill(&file, &whole.text, &self.variables, unset)
            .map_err(|error| syntax(whole.locate(error, &whole.text)))?;
        let runbook = parse::parse(name, &file, &filled)
            .map_err(|error| syntax(whole.locate(error, &filled)))?;
        Ok((runbook, filled))
    }

    /// What a link of an include names: a file beside the one that it stands in, else a runbook by its name.
    fn find_part(
        &self,
        from: &Part,
        target: &str,
        own: &[(String, PathBuf)],
    ) -> Result<Part, String> {
        if target.contains("://") || target.starts_with('/') {
            return Err(format!(
                "`{target}` is not included: write a path that starts beside this file, or the name of a runbook"
            ));
        }
        let beside = from
            .folder
            .as_ref()
            .map(|folder| folder.join(target.trim_start_matches("./")));
        if let Some(path) = beside.as_ref().filter(|path| path.is_file()) {
            // One file has one name, whichever way leads to it: a circle is seen at its first turn.
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            return read_part(&path).map_err(|error| error.to_string());
        }
        let name = target.strip_suffix(".md").unwrap_or(target);
        // An own runbook may include the shipped one whose place it takes.
        let is_other = |path: &Path| path.display().to_string() != from.file;
        let mut own_files = own.iter();
        if let Some((_, path)) = own_files.find(|(own, path)| own == name && is_other(path)) {
            return read_part(path).map_err(|error| error.to_string());
        }
        if let Some(shipped) = shipped::find(name) {
            return Ok(shipped_part(shipped, self.language));
        }
        let looked = beside.map_or(String::new(), |path| {
            format!(" no file {} and", path.display())
        });
        Err(format!(
            "nothing to include: there is{looked} no runbook `{name}`; there are: {}",
            known_names(own).join(", ")
        ))
    }

    /// `(name, path)` of the user's files, by name. No folder is no files.
    fn user_files(&self) -> Result<Vec<(String, PathBuf)>, RunbookError> {
        let Some(dir) = &self.user else {
            return Ok(Vec::new());
        };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => {
                return Err(RunbookError::Io {
                    what: "read",
                    path: dir.clone(),
                    cause,
                });
            }
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|cause| RunbookError::Io {
                    what: "read",
                    path: dir.clone(),
                    cause,
                })?
                .path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .filter(|stem| !stem.starts_with('.'));
            if let (Some(name), Some("md")) = (stem, path.extension().and_then(|e| e.to_str())) {
                files.push((name.to_owned(), path.clone()));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Starts a run; a variable without a value is a mistake. Its id is the local time and the name; two in one second get a number.
    pub fn start(
        &self,
        name: &str,
        t_at: Timestamp,
        now: Timestamp,
        zone: &TimeZone,
        by: SafeText,
    ) -> Result<RunState, RunbookError> {
        let source = self.load_with(name, Unset::IsWrong)?;
        let stamp = now
            .to_zoned(zone.clone())
            .strftime("%Y%m%d-%H%M%S")
            .to_string();
        let event = RunEvent {
            at: now,
            by: by.clone(),
            item: None,
            revision: 0,
            kind: RunEventKind::Started {
                schema: SafeText::from_text(SCHEMA),
                name: SafeText::from_text(name),
                t_at,
                source: source.text,
            },
        };
        let run = journal::create(&self.runs, &format!("{stamp}-{name}"), &event)?;
        Ok(RunState::new(&run, source.runbook, t_at, now, by))
    }

    /// All runs, newest first, damaged ones too: opening one says what is wrong with it.
    pub fn runs(&self) -> Result<Vec<RunSummary>, RunbookError> {
        let entries = match std::fs::read_dir(&self.runs) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => {
                return Err(RunbookError::Io {
                    what: "read",
                    path: self.runs.clone(),
                    cause,
                });
            }
        };
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|cause| RunbookError::Io {
                what: "read",
                path: self.runs.clone(),
                cause,
            })?;
            if let Some(run) = entry.file_name().to_str()
                && let Some(started_at) = journal::started_at(&self.path(run))
            {
                runs.push(RunSummary {
                    run: run.to_owned(),
                    started_at,
                });
            }
        }
        runs.sort_by(|a, b| (b.started_at, &b.run).cmp(&(a.started_at, &a.run)));
        Ok(runs)
    }

    /// The run that a command without `--run` means: the newest that still has something to do, else the newest.
    pub fn current(&self) -> Result<RunState, RunbookError> {
        let runs = self.runs()?;
        let mut newest = None;
        // Old runs are looked at until one is unfinished, but not all of a year's.
        for summary in runs.iter().take(20) {
            let state = self.open(&summary.run)?;
            if !state.is_complete() {
                return Ok(state);
            }
            newest.get_or_insert(state);
        }
        newest.ok_or_else(|| RunbookError::NoRun {
            example: SHIPPED[0].name.to_owned(),
        })
    }

    /// Reads a run from its journal.
    pub fn open(&self, run: &str) -> Result<RunState, RunbookError> {
        self.follow(run)?.into_state()
    }

    /// Reads a run from its journal, to go on reading or writing it.
    pub fn follow(&self, run: &str) -> Result<RunJournal, RunbookError> {
        RunJournal::open(run, &self.existing(run)?)
    }

    /// Appends the event that `decide` makes of the run as it is now, under the journal's lock, so that nothing
    /// can come between the look and the write. `None` writes nothing. The event is on disk when this returns.
    pub fn append(
        &self,
        run: &str,
        decide: impl FnOnce(&RunState) -> Result<Option<RunEvent>, RunbookError>,
    ) -> Result<RunState, RunbookError> {
        let mut journal = self.follow(run)?;
        journal.append(decide)?;
        journal.into_state()
    }

    /// The folder of all runs.
    pub fn folder(&self) -> &Path {
        &self.runs
    }

    /// The journal of a run, for those who follow it.
    pub fn path(&self, run: &str) -> PathBuf {
        self.runs.join(run).join("journal.jsonl")
    }

    fn existing(&self, run: &str) -> Result<PathBuf, RunbookError> {
        let path = self.path(run);
        // A run is a name, never a path out of the folder.
        let is_name = !run.is_empty() && !run.contains(['/', '\0']) && !run.starts_with('.');
        if is_name && path.exists() {
            return Ok(path);
        }
        let known: Vec<String> = self
            .runs()?
            .into_iter()
            .take(5)
            .map(|summary| summary.run)
            .collect();
        if known.is_empty() {
            return Err(RunbookError::NoRun {
                example: SHIPPED[0].name.to_owned(),
            });
        }
        Err(RunbookError::UnknownRun {
            run: run.to_owned(),
            known,
        })
    }
}

/// The names of the shipped ones, then the user's own.
fn known_names(own: &[(String, PathBuf)]) -> Vec<String> {
    let shipped = SHIPPED.iter().map(|shipped| shipped.name);
    let own = own.iter().map(|(name, _)| name.as_str());
    shipped
        .chain(own.filter(|name| shipped::find(name).is_none()))
        .map(str::to_owned)
        .collect()
}

fn shipped_part(shipped: &Shipped, language: Language) -> Part {
    Part {
        file: shipped.file(language),
        folder: None,
        text: shipped.text(language).to_owned(),
    }
}

fn read_part(path: &Path) -> Result<Part, RunbookError> {
    Ok(Part {
        file: path.display().to_string(),
        folder: path.parent().map(Path::to_owned),
        text: read_trusted(path)?,
    })
}

fn parse_text(name: &str, file: &str, text: &str) -> Result<Runbook, RunbookError> {
    parse::parse(name, file, text).map_err(|error| RunbookError::Syntax {
        error,
        text: text.to_owned(),
    })
}

/// Reads a file that holds commands: it has to belong to the user or root, and nobody else may write to it.
fn read_trusted(path: &Path) -> Result<String, RunbookError> {
    use std::io::Read as _;
    use std::os::unix::fs::MetadataExt as _;
    let io = |cause| RunbookError::Io {
        what: "read",
        path: path.to_owned(),
        cause,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let untrusted = |why: String| {
        Err(RunbookError::Untrusted {
            path: path.to_owned(),
            why,
        })
    };
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() != me && metadata.uid() != 0 {
        return untrusted(format!(
            "it belongs to uid {}, and it holds commands; chown it to you or root",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o002 != 0 {
        return untrusted(format!(
            "everybody may write to it, and it holds commands; chmod o-w {}",
            path.display()
        ));
    }
    if metadata.len() > LARGEST_BYTES {
        return untrusted(format!(
            "{} bytes is no runbook; at most {LARGEST_BYTES}",
            metadata.len()
        ));
    }
    let mut text = String::new();
    file.take(LARGEST_BYTES)
        .read_to_string(&mut text)
        .map_err(io)?;
    Ok(text)
}

#[cfg(test)]
#[path = "runbook/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "runbook/shipped_tests.rs"]
mod shipped_tests;
