//! Runbooks as JSON: the documents `runbook list` and `runbook status`.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::runbook::run::{Comment, ItemRun};
use crate::domain::runbook::{Item, ItemState, RunState};
use crate::domain::safe_text::SafeText;
use crate::store::runbook::Listing;

/// `lastgood.runbook-list/1` without its schema.
#[derive(Debug, Serialize)]
pub struct ListView {
    /// What can be started.
    pub runbooks: Vec<RunbookView>,
    /// What cannot, and why.
    pub problems: Vec<SafeText>,
}

/// One runbook of a list.
#[derive(Debug, Serialize)]
pub struct RunbookView {
    /// What `runbook start` takes.
    pub name: SafeText,
    /// The heading.
    pub title: SafeText,
    /// How many items it has.
    pub items: usize,
    /// How many of them tick themselves.
    pub automatic: usize,
    /// The user's file; `null` for a shipped one.
    pub path: Option<PathBuf>,
}

impl ListView {
    /// What JSON says of a listing.
    pub fn new(listing: &Listing) -> Self {
        let runbooks = listing.runbooks.iter().map(|source| RunbookView {
            name: SafeText::from_text(&source.runbook.name),
            title: source.runbook.title.clone(),
            items: source.runbook.items().count(),
            automatic: source.runbook.automatic_count(),
            path: source.path.clone(),
        });
        let problems = listing
            .problems
            .iter()
            .map(|problem| SafeText::from_error(problem));
        Self {
            runbooks: runbooks.collect(),
            problems: problems.collect(),
        }
    }
}

/// `lastgood.runbook-status/1` without its schema.
#[derive(Debug, Serialize)]
pub struct StatusView {
    /// The run's id.
    pub run: SafeText,
    /// The runbook's name.
    pub name: SafeText,
    /// Its heading.
    pub title: SafeText,
    /// When it was started.
    pub started_at: Timestamp,
    /// By whom.
    pub started_by: SafeText,
    /// The instant that due times count from.
    pub t_at: Timestamp,
    /// Every item.
    pub items: Vec<ItemView>,
    /// What crashes tore off the journal.
    pub lost: Vec<SafeText>,
}

/// One item of a run.
#[derive(Debug, Serialize)]
pub struct ItemView {
    /// From 1.
    pub number: usize,
    /// The name that stays when items are moved.
    pub slug: SafeText,
    /// What to do.
    pub text: SafeText,
    /// The heading it stands under.
    pub phase: SafeText,
    /// The role or person who does it.
    pub owner: Option<SafeText>,
    /// When it is due.
    pub due_at: Option<Timestamp>,
    /// Where it stands.
    pub state: ItemState,
    /// Who put it there.
    pub by: Option<SafeText>,
    /// When.
    pub at: Option<Timestamp>,
    /// What was seen, or the reason.
    pub evidence: Option<SafeText>,
    /// Counts the changes.
    pub revision: u64,
    /// Whether it ticks itself.
    pub automatic: bool,
    /// Whether it is unresolved after its time.
    pub late: bool,
    /// Remarks, oldest first.
    pub comments: Vec<CommentView>,
}

/// A remark.
#[derive(Debug, Serialize)]
pub struct CommentView {
    at: Timestamp,
    by: SafeText,
    text: SafeText,
}

impl StatusView {
    /// What JSON says of a run at an instant.
    pub fn new(state: &RunState, now: Timestamp) -> Self {
        Self {
            run: SafeText::from_text(&state.run),
            name: SafeText::from_text(&state.runbook.name),
            title: state.runbook.title.clone(),
            started_at: state.started_at,
            started_by: state.started_by.clone(),
            t_at: state.t_at,
            items: state
                .items()
                .map(|(item, run)| item_view(state, item, run, now))
                .collect(),
            lost: state.lost.clone(),
        }
    }
}

fn item_view(state: &RunState, item: &Item, run: &ItemRun, now: Timestamp) -> ItemView {
    ItemView {
        number: item.number,
        slug: SafeText::from_text(&item.slug),
        text: item.text.clone(),
        phase: item.phase.clone(),
        owner: item.owner.clone(),
        due_at: state.due_at(item),
        state: run.state,
        by: run.by.clone(),
        at: run.at,
        evidence: run.evidence.clone(),
        revision: run.revision,
        automatic: item.is_automatic(),
        late: state.is_late(item, run, now),
        comments: run.comments.iter().map(comment_view).collect(),
    }
}

fn comment_view(comment: &Comment) -> CommentView {
    CommentView {
        at: comment.at,
        by: comment.by.clone(),
        text: comment.text.clone(),
    }
}
