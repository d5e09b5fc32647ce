//! What happens to a runbook while people walk through it: events, and the state they add up to.
//!
//! The journal of a run is a list of [`RunEvent`]s that several people append to; [`RunState`] is their fold.
//! Every event that changes an item names the item's new revision, so two people who act on the same item at the
//! same time cannot both be right: the second one is told who was first. Comments change nothing and never
//! conflict.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Item, Runbook};
use crate::domain::safe_text::SafeText;

mod event;

pub use event::{DueProbe, ItemAction, ProbeAnswer, ProbeOutcome, RunEvent, RunEventKind, Unfit};

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Nobody said anything.
    #[default]
    Open,
    /// Somebody is on it.
    Claimed,
    /// Done.
    Done,
    /// It did not work.
    Failed,
    /// Left out, with a reason.
    Skipped,
}

/// An item of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemRun {
    /// Where it stands.
    pub state: ItemState,
    /// Who put it there; `None` while nobody did.
    pub by: Option<SafeText>,
    /// When.
    pub at: Option<Timestamp>,
    /// What was seen, or the reason for a failure or skip.
    pub evidence: Option<SafeText>,
    /// Counts the changes, from 0.
    pub revision: u64,
    /// The first of the two people that the item needs; `None` while nobody agreed.
    pub agreed: Option<SafeText>,
    /// Whether a probe put it there; a probe may change only what a probe said.
    pub is_auto: bool,
    /// When its probes were last asked and written down, and what came of it.
    pub probed: Option<(Timestamp, ProbeOutcome)>,
    /// Remarks, oldest first.
    pub comments: Vec<Comment>,
}

/// A remark.
#[derive(Debug, Clone, PartialEq)]
pub struct Comment {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: SafeText,
    /// The remark.
    pub text: SafeText,
}

/// A run: the runbook and where each of its items stands.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    /// The run's id, the name of its folder.
    pub run: String,
    /// The runbook as it was at the start.
    pub runbook: Runbook,
    /// When it was started.
    pub started_at: Timestamp,
    /// By whom.
    pub started_by: SafeText,
    /// T.
    pub t_at: Timestamp,
    /// One for each item of the runbook, in its order.
    pub items: Vec<ItemRun>,
    /// What crashes cost, oldest first.
    pub lost: Vec<SafeText>,
}

impl ItemState {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Claimed => "claimed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The box: `[ ]`, `[~]`, `[x]`, `[✖]`, `[-]`.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Open => "[ ]",
            Self::Claimed => "[~]",
            Self::Done => "[x]",
            Self::Failed => "[✖]",
            Self::Skipped => "[-]",
        }
    }

    /// Whether nobody has to do anything about it any more. A failed item is resolved: somebody looked and said no.
    pub fn is_resolved(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped)
    }
}

impl ItemRun {
    /// `done by anna at 2026-01-02T15:04:05Z`, or `open`.
    pub fn words(&self) -> String {
        match (&self.by, self.at) {
            (Some(by), Some(at)) if self.agreed.is_some() && !self.state.is_resolved() => {
                format!("agreed by {by} at {at:.0}")
            }
            (Some(by), Some(at)) if self.state != ItemState::Open => {
                format!("{} by {by} at {:.0}", self.state.as_str(), at)
            }
            _ => self.state.as_str().to_owned(),
        }
    }
}

impl RunState {
    /// The state after the first event.
    pub fn new(
        run: &str,
        runbook: Runbook,
        t_at: Timestamp,
        started_at: Timestamp,
        started_by: SafeText,
    ) -> Self {
        let items = vec![ItemRun::default(); runbook.items().count()];
        Self {
            run: run.to_owned(),
            runbook,
            started_at,
            started_by,
            t_at,
            items,
            lost: Vec::new(),
        }
    }

    /// Each item with where it stands.
    pub fn items(&self) -> impl Iterator<Item = (&Item, &ItemRun)> {
        self.runbook.items().zip(&self.items)
    }

    /// The run of the item with that number.
    pub fn item(&self, number: usize) -> Result<&ItemRun, Unfit> {
        number
            .checked_sub(1)
            .and_then(|index| self.items.get(index))
            .ok_or(Unfit::NoItem {
                number,
                count: self.items.len(),
            })
    }

    /// When an item is due, if it has a time.
    pub fn due_at(&self, item: &Item) -> Option<Timestamp> {
        item.due.map(|due| due.at(self.t_at))
    }

    /// Whether an item is unresolved a minute after its time: clocks of runbooks show minutes.
    pub fn is_late(&self, item: &Item, run: &ItemRun, now: Timestamp) -> bool {
        let over = |due: Timestamp| now.duration_since(due) >= SignedDuration::from_mins(1);
        !run.state.is_resolved() && self.due_at(item).is_some_and(over)
    }

    /// How many items are resolved, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (
            self.items
                .iter()
                .filter(|item| item.state.is_resolved())
                .count(),
            self.items.len(),
        )
    }

    /// Whether every item is resolved.
    pub fn is_complete(&self) -> bool {
        self.items.iter().all(|item| item.state.is_resolved())
    }

    /// Whether an item failed.
    pub fn has_failed(&self) -> bool {
        self.items
            .iter()
            .any(|item| item.state == ItemState::Failed)
    }

    /// Turns a person's action into the event that would say so, or says why it makes no sense now. `expected` is
    /// the revision the person looked at; `None` takes the item as it is.
    pub fn plan(
        &self,
        number: usize,
        action: ItemAction,
        expected: Option<u64>,
        by: SafeText,
        at: Timestamp,
    ) -> Result<RunEvent, Unfit> {
        let item = self.item(number)?;
        let is_comment = matches!(action, ItemAction::Comment { .. });
        if expected.is_some_and(|revision| revision != item.revision) && !is_comment {
            return Err(Unfit::Conflict {
                number,
                now: item.words(),
            });
        }
        let not_now = |what, help: &str| {
            Err(Unfit::NotNow {
                number,
                what,
                now: format!("{}{help}", item.words()),
            })
        };
        use ItemState::{Claimed, Done, Failed, Open, Skipped};
        let kind = match (action, item.state) {
            (ItemAction::Comment { text }, _) if text.as_str().trim().is_empty() => {
                return Err(Unfit::Empty("a comment needs a text"));
            }
            (ItemAction::Comment { text }, _) => RunEventKind::Commented { text },
            (ItemAction::Claim, Open | Failed) => RunEventKind::Claimed,
            (ItemAction::Claim, _) => return not_now("claimed", ""),
            (ItemAction::Tick { evidence }, Open | Claimed | Failed) => {
                match (self.is_two_person(number), &item.agreed) {
                    (true, None) => RunEventKind::Agreed { evidence },
                    (true, Some(first)) if *first == by => {
                        let now = "you agreed already, somebody else has to tick it too".to_owned();
                        return Err(Unfit::SecondPerson { number, now });
                    }
                    _ => RunEventKind::Ticked { evidence },
                }
            }
            (ItemAction::Tick { .. }, Done) => return not_now("ticked", ""),
            (ItemAction::Tick { .. }, Skipped) => return not_now("ticked", "; undo it first"),
            (ItemAction::Fail { reason }, Open | Claimed | Done) => RunEventKind::Failed { reason },
            // A person may confirm what a probe found; then no probe takes it back.
            (ItemAction::Fail { reason }, Failed) if item.is_auto => {
                RunEventKind::Failed { reason }
            }
            (ItemAction::Fail { .. }, _) => return not_now("failed", ""),
            (ItemAction::Skip { reason }, _) if reason.as_str().trim().is_empty() => {
                return Err(Unfit::Empty(
                    "a skip needs a reason: --reason \"why it is left out\"",
                ));
            }
            (ItemAction::Skip { reason }, Open | Claimed | Failed) => {
                RunEventKind::Skipped { reason }
            }
            (ItemAction::Skip { .. }, _) => return not_now("skipped", "; undo it first"),
            (ItemAction::Undo, Open) => return not_now("undone", ""),
            (ItemAction::Undo, _) => RunEventKind::Undone,
        };
        let revision = if is_comment {
            item.revision
        } else {
            item.revision + 1
        };
        Ok(RunEvent {
            at,
            by,
            item: Some(number),
            revision,
            kind,
        })
    }

    fn is_two_person(&self, number: usize) -> bool {
        let mut items = self.runbook.items();
        items.any(|item| item.number == number && item.is_two_person)
    }

    /// Whether somebody may carry out the commands of an item: those of an item for two people only the second one,
    /// after the first said yes.
    ///
    /// # Errors
    /// [`Unfit::SecondPerson`], in words.
    pub fn may_run(&self, number: usize, by: &SafeText) -> Result<(), Unfit> {
        let item = self.item(number)?;
        if !self.is_two_person(number) || item.state == ItemState::Done {
            return Ok(());
        }
        let now = match &item.agreed {
            None => "nobody agreed yet: tick it, and somebody else runs it".to_owned(),
            Some(first) if first == by => {
                "you agreed to it, so somebody else has to run it".to_owned()
            }
            Some(_) => return Ok(()),
        };
        Err(Unfit::SecondPerson { number, now })
    }

    /// Whether the probes of an item are to be asked now: the item has some, no unresolved gate stands before it,
    /// no person decided it, and a tick that came before the item's due time is looked at once more at that time.
    pub fn is_probe_due(&self, item: &Item) -> bool {
        let Ok(run) = self.item(item.number) else {
            return false;
        };
        let gated = self
            .items()
            .take_while(|(before, _)| before.number < item.number)
            .any(|(before, run)| before.is_gate && !run.state.is_resolved());
        if !item.is_automatic() || gated {
            return false;
        }
        match run.state {
            ItemState::Open | ItemState::Claimed => true,
            ItemState::Failed => run.is_auto,
            ItemState::Done => {
                let due = self.due_at(item);
                run.is_auto
                    && run
                        .probed
                        .zip(due)
                        .is_some_and(|((probed_at, _), due)| probed_at < due)
            }
            ItemState::Skipped => false,
        }
    }

    /// Turns the answers to an item's probes into the event that is worth writing. `None` when it says nothing
    /// new: the same outcome as before, not across the due time, and for a failure the same evidence.
    pub fn plan_probed(
        &self,
        item: &Item,
        revision: u64,
        outcome: ProbeOutcome,
        evidence: SafeText,
        at: Timestamp,
    ) -> Option<RunEvent> {
        let run = self.item(item.number).ok()?;
        if run.revision != revision || !self.is_probe_due(item) {
            // A person was faster, or a gate was taken back: their word stands.
            return None;
        }
        if let Some((probed_at, before)) = run.probed {
            let crossed = self
                .due_at(item)
                .is_some_and(|due| probed_at < due && at >= due);
            let same_words =
                before == ProbeOutcome::Passed || run.evidence.as_ref() == Some(&evidence);
            if before == outcome && same_words && !crossed {
                return None;
            }
        }
        let kind = RunEventKind::Probed { outcome, evidence };
        Some(RunEvent {
            at,
            by: SafeText::from_text("auto"),
            item: Some(item.number),
            revision: revision + 1,
            kind,
        })
    }

    /// Adds an event. An event that does not fit leaves the state as it was.
    pub fn apply(&mut self, event: &RunEvent) -> Result<(), Unfit> {
        match &event.kind {
            RunEventKind::Started { .. } => return Err(Unfit::Order("a run is started once")),
            RunEventKind::Repaired { lost } => {
                self.lost.push(lost.clone());
                return Ok(());
            }
            _ => {}
        }
        let number = event.item.ok_or(Unfit::Order("the event names no item"))?;
        let index = number.wrapping_sub(1);
        let count = self.items.len();
        let is_two_person = self.is_two_person(number);
        let item = self
            .items
            .get_mut(index)
            .ok_or(Unfit::NoItem { number, count })?;
        if let RunEventKind::Commented { text } = &event.kind {
            item.comments.push(Comment {
                at: event.at,
                by: event.by.clone(),
                text: text.clone(),
            });
            return Ok(());
        }
        if event.revision != item.revision + 1 {
            return Err(Unfit::Conflict {
                number,
                now: item.words(),
            });
        }
        let agreed = item.agreed.take();
        if matches!(event.kind, RunEventKind::Ticked { .. })
            && is_two_person
            && agreed.as_ref().is_none_or(|first| *first == event.by)
        {
            item.agreed = agreed;
            return Err(Unfit::Order("one person alone ticked an item for two"));
        }
        item.revision = event.revision;
        item.is_auto = false;
        let (state, evidence) = match &event.kind {
            RunEventKind::Claimed => (ItemState::Claimed, None),
            RunEventKind::Agreed { evidence } => {
                item.agreed = Some(event.by.clone());
                let seen = evidence.as_ref().map_or("", |text| text.as_str());
                let said = format!("{} agreed; a second person has to tick it too", event.by);
                let said = format!("{seen}{}{said}", if seen.is_empty() { "" } else { "; " });
                (ItemState::Claimed, Some(SafeText::from_text(&said)))
            }
            // Both names stand in the record.
            RunEventKind::Ticked { evidence } => {
                let first = agreed.map(|first| format!("{first} agreed"));
                let seen = evidence.as_ref().map(SafeText::to_string);
                let words: Vec<String> = first.into_iter().chain(seen).collect();
                let said = (!words.is_empty()).then(|| SafeText::from_text(&words.join("; ")));
                (ItemState::Done, said)
            }
            RunEventKind::Failed { reason } => (ItemState::Failed, reason.clone()),
            RunEventKind::Skipped { reason } => (ItemState::Skipped, Some(reason.clone())),
            RunEventKind::Probed { outcome, evidence } => {
                item.probed = Some((event.at, *outcome));
                item.is_auto = *outcome != ProbeOutcome::Unknown;
                let state = match (outcome, item.state) {
                    (ProbeOutcome::Passed, _) => ItemState::Done,
                    (ProbeOutcome::Failed, _) => ItemState::Failed,
                    (ProbeOutcome::Unknown, ItemState::Claimed) => ItemState::Claimed,
                    // What can no longer be asked is no longer known to be well.
                    (ProbeOutcome::Unknown, _) => ItemState::Open,
                };
                if state == ItemState::Claimed {
                    // Who is on it stays named.
                    item.evidence = Some(evidence.clone());
                    return Ok(());
                }
                (state, Some(evidence.clone()))
            }
            _ => {
                item.probed = None;
                (ItemState::Open, None)
            }
        };
        item.state = state;
        item.evidence = evidence;
        item.by = Some(event.by.clone());
        item.at = Some(event.at);
        Ok(())
    }

    /// The probes to ask now, with the revision to record them under.
    pub fn due_probes(&self) -> Vec<DueProbe> {
        self.items()
            .filter(|(item, _)| self.is_probe_due(item))
            .map(|(item, run)| DueProbe {
                item: item.number,
                revision: run.revision,
                probes: item.probes().cloned().collect(),
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
