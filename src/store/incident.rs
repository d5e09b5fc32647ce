//! The incidents of a state folder: `incidents/<id>/journal.jsonl`, and beside it the comparisons and the report that were
//! stored while it ran.
//!
//! Several consoles append to one journal. The lock is held for the append only, readers take none: a line counts when it
//! is whole. Each line is sealed and names the hash of the line before, so that an edited, moved or dropped line is found;
//! see [`crate::domain::digest::seal`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::paths::{StateDir, StoreError};
use crate::domain::incident::{Incident, IncidentEvent, Moment};

mod error;
mod journal;

pub use error::IncidentError;
pub use journal::{Fault, Journal};

/// The incidents of a state folder.
#[derive(Debug, Clone)]
pub struct IncidentStore {
    state: StateDir,
}

/// A row of the list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name of its folder.
    pub id: String,
    /// What its journal says; the cause where its first line cannot be read.
    pub incident: Result<Incident, Fault>,
}

impl IncidentStore {
    /// Nothing is read or made yet.
    pub fn of(state: &StateDir) -> Self {
        Self {
            state: state.clone(),
        }
    }

    /// Every incident, the newest first, damaged ones too.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let dir = self.state.incidents();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::at("read the folder", &dir))?;
            let Ok(id) = entry.file_name().into_string() else {
                continue;
            };
            // A folder without a journal is a start that a crash cut off, before anything was said.
            if let Some(incident) = journal::summary(&self.path(&id), &id)? {
                found.push(Listed { id, incident });
            }
        }
        let began = |row: &Listed| row.incident.as_ref().ok().map(|i| i.started_at);
        found.sort_by(|a, b| (began(b), &b.id).cmp(&(began(a), &a.id)));
        Ok(found)
    }

    /// The incident of that name, or of a unique start of it; without a name the one that is open.
    ///
    /// # Errors
    /// None or several are meant; its journal's first line is damaged.
    pub fn find(&self, id: Option<&str>) -> Result<Incident, IncidentError> {
        let rows = self.list()?;
        let open = |row: &&Listed| row.incident.as_ref().is_ok_and(Incident::is_open);
        let chosen: Vec<&Listed> = match id {
            None => rows.iter().filter(open).collect(),
            Some(id) => match rows.iter().find(|row| row.id == id) {
                Some(exact) => vec![exact],
                None => rows
                    .iter()
                    .filter(|row| !id.is_empty() && row.id.starts_with(id))
                    .collect(),
            },
        };
        match (chosen.as_slice(), id) {
            ([one], _) => one
                .incident
                .clone()
                .map_err(|fault| IncidentError::Damaged {
                    path: self.path(&one.id),
                    fault,
                }),
            ([], None) => Err(IncidentError::NoneOpen {
                newest: rows.first().map(|row| row.id.clone()),
            }),
            ([], Some(id)) => Err(IncidentError::Unknown {
                id: id.to_owned(),
                known: rows.into_iter().take(5).map(|row| row.id).collect(),
            }),
            (several, _) => Err(IncidentError::Several {
                known: several.iter().map(|row| row.id.clone()).collect(),
            }),
        }
    }

    /// Opens an incident with its first line. Its id has a number behind it where the wanted one is taken.
    ///
    /// # Errors
    /// Another one is open, unless there may be several; the state folder cannot be written.
    pub fn start(
        &self,
        wanted: &str,
        first: &IncidentEvent,
        may_be_another: bool,
    ) -> Result<Incident, IncidentError> {
        let dir = self.state.incidents();
        // Two who start at once must see each other.
        let lock_path = dir.join("lock");
        let lock = self
            .state
            .with_reserve(|| self.state.open_append(&lock_path))?;
        lock.lock().map_err(StoreError::at("lock", &lock_path))?;
        let open = self
            .list()?
            .into_iter()
            .filter_map(|row| row.incident.ok())
            .find(Incident::is_open);
        if let (Some(open), false) = (open, may_be_another) {
            return Err(IncidentError::AlreadyOpen {
                id: open.id,
                title: open.title,
            });
        }
        let mut id = wanted.to_owned();
        let mut count = 1;
        while self.path(&id).exists() {
            count += 1;
            id = format!("{wanted}-{count}");
        }
        journal::append(&self.state, &self.path(&id), &id, first, None)?;
        self.find(Some(&id))
    }

    /// Appends an event under the journal's lock. With `head` only if that is still the newest hash, so that whoever read
    /// the journal knows that nothing came between. Returns the hash of the new line; the event is on the disk then.
    ///
    /// # Errors
    /// It is over; the journal went on since `head`; the disk is full.
    pub fn append(
        &self,
        id: &str,
        event: &IncidentEvent,
        head: Option<&str>,
    ) -> Result<String, IncidentError> {
        journal::append(&self.state, &self.path(id), id, event, head)
    }

    /// Reads a journal and checks its chain. A line that does not agree is told and the rest is read on: in the middle of
    /// an incident a damaged journal is better than none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, id: &str) -> Result<Journal, StoreError> {
        journal::read(&self.path(id))
    }

    /// The folder of an incident.
    pub fn folder(&self, id: &str) -> PathBuf {
        self.state.incidents().join(id)
    }

    /// The journal of an incident, for those who follow it.
    pub fn path(&self, id: &str) -> PathBuf {
        self.folder(id).join("journal.jsonl")
    }

    /// Where the comparison of a moment is kept.
    pub fn comparison(&self, id: &str, moment: Moment) -> PathBuf {
        self.folder(id)
            .join(format!("compare-{}.json", moment.as_str()))
    }

    /// Where the report is kept once the incident is over.
    pub fn report(&self, id: &str) -> PathBuf {
        self.folder(id).join("report.json")
    }

    /// Stores a file of an incident whole or not at all.
    ///
    /// # Errors
    /// No permission, a full disk.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.state.write_atomic(path, content)
    }
}

#[cfg(test)]
mod tests;
