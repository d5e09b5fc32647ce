//! Following what others do: what they tick in a run, where they are, that they leave, what they say in an incident.
//!
//! The kernel tells when the journal grows (inotify), so a tick is on the other screen as soon as it is read. Where the
//! kernel does not tell, it is looked once a second.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::store;
use crate::domain::runbook::{Presence, RunState};
use crate::domain::safe_text::SafeText;
use crate::ops::incident::{Brief, brief_of};
use crate::ops::{Context, OpsError};
use crate::store::journal::watch::Watch;
use crate::store::paths::StateDir;
use crate::store::presence::{self, Here};
use crate::store::runbook::{RunJournal, RunbookStore};

/// How often it is looked where the kernel does not tell.
const POLL: Duration = Duration::from_secs(1);

/// What belongs together is read together; and of a console that was killed the kernel tells a moment before it lets go of
/// its lock.
const SETTLE: Duration = Duration::from_millis(20);

/// What others did.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The run went on.
    Run(Box<RunState>),
    /// A run was started; its id.
    Started(String),
    /// The others that are there now.
    Others(Vec<Presence>),
    /// An incident was opened or ended, or something was said in it: the one that is open now.
    Incident(Option<Box<Brief>>),
}

/// A run that is followed, and the folder of all runs.
#[derive(Debug)]
pub struct Follow {
    store: RunbookStore,
    state: StateDir,
    journal: Option<RunJournal>,
    newest: Option<String>,
    others: Vec<Presence>,
    incident: Option<String>,
    incidents: Vec<(PathBuf, u64)>,
    watch: Watch,
    changed: Arc<Notify>,
}

impl Follow {
    /// Follows a run; without one only what others start.
    ///
    /// # Errors
    /// No such run, or its journal cannot be read.
    pub fn start(ctx: &Context, run: Option<&str>) -> Result<Self, OpsError> {
        let store = store(ctx);
        let changed = Arc::new(Notify::new());
        let mut follow = Self {
            watch: Watch::start(&[], || ()),
            journal: None,
            newest: None,
            others: Vec::new(),
            incident: None,
            incidents: Vec::new(),
            state: ctx.state.clone(),
            changed,
            store,
        };
        // First watched, then read: nothing can come between unseen.
        follow.watch(run);
        follow.newest = follow.newest()?;
        follow.incident()?;
        follow.journal = run.map(|run| follow.store.follow(run)).transpose()?;
        Ok(follow)
    }

    /// What is new since the last look. Touches files: call it off the event loop.
    ///
    /// # Errors
    /// The journal cannot be read, or somebody changed it.
    pub fn look(&mut self) -> Result<Vec<News>, OpsError> {
        let run = self
            .journal
            .as_ref()
            .map(|journal| journal.run().to_owned());
        self.watch(run.as_deref());
        let mut news = Vec::new();
        if let Some(journal) = &mut self.journal
            && journal.catch_up()?
        {
            news.push(News::Run(Box::new(journal.state()?.clone())));
        }
        let newest = self.newest()?;
        if newest != self.newest {
            self.newest.clone_from(&newest);
            news.extend(
                newest
                    .filter(|id| Some(id) != run.as_ref())
                    .map(News::Started),
            );
        }
        news.extend(self.incident()?.map(News::Incident));
        let others = presence::others(&self.state)?;
        if others != self.others {
            self.others.clone_from(&others);
            news.push(News::Others(others));
        }
        Ok(news)
    }

    /// Waits until there may be something new.
    pub async fn changed(&self) {
        match self.watch.is_told() {
            true => {
                self.changed.notified().await;
                tokio::time::sleep(SETTLE).await;
            }
            false => tokio::time::sleep(POLL).await,
        }
    }

    /// The incident that is open, where something was said in one since the last look; `None` where nothing was.
    fn incident(&mut self) -> Result<Option<Option<Box<Brief>>>, OpsError> {
        let mut news = None;
        loop {
            let found = self.incident_journals();
            if found == self.incidents {
                return Ok(news);
            }
            self.incidents = found;
            let brief = brief_of(&self.state)?;
            let open = brief.as_ref().map(|brief| brief.incident.id.clone());
            news = Some(brief.map(Box::new));
            if open == self.incident {
                return Ok(news);
            }
            // Its folder is watched from now on, and what was said before that is read once more.
            self.incident = open;
            let run = self
                .journal
                .as_ref()
                .map(|journal| journal.run().to_owned());
            self.watch(run.as_deref());
        }
    }

    /// Each incident's journal with its length: who appends makes it longer.
    fn incident_journals(&self) -> Vec<(PathBuf, u64)> {
        let folders = std::fs::read_dir(self.state.incidents()).into_iter();
        let journals = folders
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("journal.jsonl")));
        let mut found: Vec<(PathBuf, u64)> = journals
            .filter_map(|path| {
                let length = std::fs::metadata(&path).ok()?.len();
                Some((path, length))
            })
            .collect();
        found.sort();
        found
    }

    fn newest(&self) -> Result<Option<String>, OpsError> {
        Ok(self.store.runs()?.into_iter().next().map(|run| run.run))
    }

    /// Watches the folders anew where others are there than before.
    fn watch(&mut self, run: Option<&str>) {
        let mut folders: Vec<PathBuf> =
            vec![self.store.folder().to_owned(), self.state.incidents()];
        if self.state.is_shared {
            folders.push(presence::folder(&self.state));
        }
        if !folders.iter().all(|folder| folder.is_dir()) {
            // They are made when somebody needs them.
            folders.push(self.state.root.clone());
        }
        folders.extend(
            self.incident
                .as_ref()
                .map(|id| self.state.incidents().join(id)),
        );
        folders.extend(run.and_then(|run| Some(self.store.path(run).parent()?.to_owned())));
        if !self.watch.covers(&folders) {
            let changed = Arc::clone(&self.changed);
            self.watch = Watch::start(&folders, move || changed.notify_one());
        }
    }
}

/// Where this console is, for the others: nowhere before the first [`Place::go`].
#[derive(Debug, Clone, Default)]
pub struct Place(Arc<Mutex<Option<Here>>>);

impl Place {
    /// Goes to an item of a run. Whoever may not write in the state folder stays unseen.
    ///
    /// # Errors
    /// The state folder cannot be written for another reason.
    pub fn go(&self, ctx: &Context, run: &str, item: usize) -> Result<(), OpsError> {
        let presence = Presence {
            user: SafeText::from_text(&ctx.actor.user),
            run: run.to_owned(),
            item,
        };
        let mut here = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = match &*here {
            Some(here) => here.show(&presence),
            None => Here::enter(&ctx.state, &presence).map(|entered| *here = Some(entered)),
        };
        match gone {
            Err(error) if error.source.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
            gone => Ok(gone?),
        }
    }
}
