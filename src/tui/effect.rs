//! What `update` asks for, and the one file of the console that may spawn tasks.
//!
//! Every task has a key; starting a key replaces the task that runs under it, so that an impatient key press does
//! not pile up work. Executing a plan is the exception: it is never replaced and holds the exit. A task that
//! fails or panics becomes [`Msg::Failed`] by construction: its result is what the join returns.

mod compare;
mod incident;
mod logs;
mod operate;
mod runbook;
mod secrets;
mod wanted;
mod watch;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::domain::log::FileHits;
use crate::domain::safe_text::SafeText;
use crate::ops::logs::FileSearch;
use crate::ops::runbook::Start;
use crate::ops::{self, Context, ErrorKind};

use super::msg::{Msg, Problem};
use super::outlet::{Writing, joined, not_copied, said};
use super::panes::timeline;
use super::terminal;

pub use incident::IncidentWork;
pub use logs::{FilePattern, FileSift};
pub use wanted::{Effect, TaskKey};

/// Moving through the services quickly opens the log of the last one only.
const SETTLE: Duration = Duration::from_millis(120);

type Ended = Result<Option<Msg>, Problem>;

/// Runs effects.
#[derive(Debug)]
pub struct Effects {
    ctx: Arc<Context>,
    inbox: mpsc::Sender<Msg>,
    tasks: JoinSet<Ended>,
    running: HashMap<TaskKey, AbortHandle>,
    /// The comparison that goes on.
    watched: compare::Watched,
    /// The file that lines are taken out to.
    pub writing: Writing,
    learned: secrets::Learned,
    /// Where this console is, for the others.
    place: ops::runbook::Place,
}

impl Effects {
    /// A runner whose tasks send to `inbox`.
    pub fn new(ctx: Arc<Context>, inbox: mpsc::Sender<Msg>) -> Self {
        Self {
            ctx,
            inbox,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            watched: compare::Watched::default(),
            writing: Writing::default(),
            learned: secrets::Learned::default(),
            place: ops::runbook::Place::default(),
        }
    }

    /// Whether a machine is being changed.
    pub fn is_executing(&self) -> bool {
        self.running.contains_key(&TaskKey::Execute)
    }

    /// Starts what an effect asks for. Returns what is known at once.
    pub fn run(&mut self, effect: Effect) -> Option<Msg> {
        let ctx = Arc::clone(&self.ctx);
        let inbox = self.inbox.clone();
        match effect {
            Effect::Watch => self.start(TaskKey::Watch, watch::services(ctx, inbox)),
            Effect::Follow {
                slot,
                service,
                is_moving,
            } => {
                let after = if is_moving { SETTLE } else { Duration::ZERO };
                let begin = (after, self.learned.clone());
                let following = logs::follow(ctx, slot, service, begin, inbox);
                self.start(TaskKey::Follow(slot), following);
            }
            Effect::ReadPage {
                wanted,
                service,
                border,
                file,
            } => self.start(
                TaskKey::Page(wanted.slot),
                logs::read_page(ctx, wanted, service, border, file),
            ),
            Effect::Sample {
                service,
                after,
                is_first,
            } => self.start(
                TaskKey::Sample,
                watch::sample(ctx, service, after, is_first, inbox),
            ),
            Effect::SampleAll { services, after } => {
                self.start(TaskKey::SampleAll, watch::sample_all(ctx, services, after));
            }
            Effect::Acknowledge(key) => {
                self.start(TaskKey::Acknowledge, watch::acknowledge(ctx, key));
            }
            Effect::LearnSecrets(services, is_anew) => {
                let asked = (services, is_anew);
                let learning = secrets::learn(ctx, asked, self.learned.begin(), inbox);
                self.start(TaskKey::Secrets, learning);
            }
            Effect::RevealSecrets(services) => {
                self.start(TaskKey::Reveal, secrets::reveal(ctx, services));
            }
            Effect::ReadCheckpoints => self.start(TaskKey::Checkpoints, async move {
                let list = blocking(move || ops::checkpoint::list(&ctx)).await?;
                Ok(Some(Msg::Checkpoints(list)))
            }),
            Effect::ReadTimeline => self.start(TaskKey::Timeline, async move {
                let events = blocking(move || ops::timeline::recent(&ctx, timeline::READ)).await?;
                Ok(Some(Msg::Timeline(events)))
            }),
            Effect::Compare { checkpoint, after } => {
                self.start(
                    TaskKey::Compare,
                    compare::compare(ctx, self.watched.clone(), checkpoint, after, inbox),
                );
            }
            Effect::EndComparison => {
                self.start(TaskKey::Compare, compare::end_watch(self.watched.clone()));
            }
            Effect::FindRequest { checkpoint, wanted } => {
                self.start(
                    TaskKey::Request,
                    compare::find_request(ctx, checkpoint, wanted),
                );
            }
            Effect::CreateCheckpoint => {
                self.start(
                    TaskKey::CreateCheckpoint,
                    operate::create_checkpoint(ctx, inbox),
                );
            }
            Effect::ReadRunbooks => self.start(TaskKey::Runbooks, async move {
                let msg = blocking(move || runbook::read_runbooks(&ctx)).await?;
                Ok(Some(msg))
            }),
            Effect::StartRunbook(name) => self.start(TaskKey::RunbookItem, async move {
                let run =
                    blocking(move || ops::runbook::start(&ctx, &name, Start::default())).await?;
                Ok(Some(Msg::RunbookRun(Box::new(run))))
            }),
            Effect::ActOnItem {
                run,
                item,
                action,
                revision,
            } => self.start(TaskKey::RunbookItem, async move {
                let act = move || {
                    ops::runbook::act(&ctx, Some(&run), &item.to_string(), action, Some(revision))
                };
                let run = blocking(act).await?;
                Ok(Some(Msg::RunbookRun(Box::new(run))))
            }),
            Effect::AskProbes {
                run,
                inventory,
                after,
            } => self.start(
                TaskKey::RunbookProbes,
                runbook::ask_probes(ctx, run, inventory, after),
            ),
            Effect::FollowRun(run) => {
                self.start(TaskKey::RunbookFollow, runbook::follow(ctx, run, inbox));
            }
            Effect::BeAt(run, item) => {
                let place = self.place.clone();
                self.start(TaskKey::Presence, runbook::go_to(ctx, place, run, item));
            }
            Effect::Incident(work) => self.start(work.key(), incident::run(ctx, work)),
            Effect::Preflight => self.start(TaskKey::Preflight, incident::preflight(ctx)),
            Effect::VerifyAudit(anchor) => {
                self.start(TaskKey::Audit, incident::verify_audit(ctx, anchor));
            }
            Effect::Plan(operations) => self.start(TaskKey::Plan, operate::plan(ctx, operations)),
            Effect::Execute(plan, confirmation) => {
                if self.is_executing() {
                    return Some(Msg::Failed {
                        key: TaskKey::Plan,
                        problem: Problem {
                            kind: ErrorKind::Refused,
                            text: SafeText::from_text("another action of this session still runs"),
                            fix: None,
                            lines: Vec::new(),
                            is_broken: false,
                        },
                    });
                }
                self.start(
                    TaskKey::Execute,
                    operate::execute(ctx, plan, confirmation, inbox),
                );
            }
            Effect::Cancel(key) => {
                if let Some(task) = self.running.remove(&key) {
                    task.abort();
                }
            }
            Effect::SearchFile {
                slot,
                generation,
                service,
                file,
                pattern,
                until,
            } => {
                let key = match &pattern {
                    Some(_) => TaskKey::SearchFile(slot),
                    None => TaskKey::CountLines(slot),
                };
                let search = FileSearch {
                    path: file.position.path.clone(),
                    inode: file.position.inode,
                    pattern: pattern.map(|pattern| pattern.0),
                    range: 0..until,
                    is_backward: true,
                };
                let tell = move |hits: FileHits| match key {
                    TaskKey::CountLines(_) => Msg::LinesCounted {
                        slot,
                        lines: hits.lines,
                    },
                    _ => Msg::FileHits {
                        slot,
                        generation,
                        file: file.clone(),
                        hits,
                    },
                };
                self.start(key, logs::search_file(ctx, service, search, tell, inbox));
            }
            Effect::Sift {
                slot,
                service,
                sift,
            } => self.start(
                TaskKey::Page(slot),
                logs::sift(ctx, slot, service, sift, inbox),
            ),
            Effect::FindTime {
                slot,
                service,
                file,
                at,
            } => self.start(TaskKey::Page(slot), async move {
                let place = ops::logs::place_at(&ctx, &service, &file.position, at).await?;
                let number = file.number(place);
                Ok(Some(Msg::TimeFound { slot, number }))
            }),
            Effect::SearchOn => self.start(TaskKey::Search, async { Ok(Some(Msg::SearchOn)) }),
            Effect::Copy(lines) if terminal::is_in_tmux() => {
                self.start(TaskKey::Copy, async move {
                    let copied = terminal::copy_by_tmux(&joined(&lines)).await;
                    copied
                        .map(|route| Some(Msg::Copied(said(&lines, route))))
                        .map_err(not_copied)
                });
            }
            Effect::Copy(lines) => {
                return Some(match terminal::copy_by_escape(&joined(&lines)) {
                    Ok(route) => Msg::Copied(said(&lines, route)),
                    Err(error) => Msg::Failed {
                        key: TaskKey::Copy,
                        problem: not_copied(error),
                    },
                });
            }
            Effect::Write(piece) => {
                let writing = self.writing.clone();
                // Under no key: a file is brought to its end, nothing replaces it.
                self.tasks.spawn(async move {
                    let written = blocking(move || writing.write(&piece)).await;
                    let path = written.map(|path| SafeText::from_text(&path.to_string_lossy()));
                    let _ = inbox.send(Msg::Written(path)).await;
                    Ok(None)
                });
            }
            Effect::GiveUpWriting => self.writing.remove(),
            // The loop does these itself: they are about the terminal.
            Effect::Suspend | Effect::Redraw | Effect::Open { .. } => {}
        }
        None
    }

    fn start(&mut self, key: TaskKey, work: impl Future<Output = Ended> + Send + 'static) {
        if let Some(before) = self.running.remove(&key) {
            before.abort();
        }
        let task = self.tasks.spawn(work);
        self.running.insert(key, task);
    }

    /// Waits for the next task that ends and says what it has to say. Never returns `Some(None)` for a failure.
    /// `None` when no task runs.
    pub async fn join(&mut self) -> Option<Option<Msg>> {
        let joined = self.tasks.join_next_with_id().await?;
        let id = match &joined {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        // A task that was replaced is no longer the one under its key: it has nothing to say.
        let key = self
            .running
            .iter()
            .find(|(_, task)| task.id() == id)
            .map(|(key, _)| *key);
        let Some(key) = key else {
            return Some(None);
        };
        self.running.remove(&key);
        let problem = match joined {
            Ok((_, Ok(msg))) => return Some(msg),
            Ok((_, Err(problem))) => problem,
            Err(error) if error.is_cancelled() => return Some(None),
            Err(_) => Problem {
                kind: ErrorKind::Failed,
                text: SafeText::from_text(&format!(
                    "a task of the console broke; this is a bug of lastgood: {}",
                    terminal::take_last_panic().unwrap_or_default()
                )),
                fix: None,
                lines: Vec::new(),
                is_broken: true,
            },
        };
        Some(Some(Msg::Failed { key, problem }))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ops::OpsError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Problem::from),
        Err(error) => Err(Problem {
            kind: ErrorKind::Failed,
            text: SafeText::from_error(&error),
            fix: None,
            lines: Vec::new(),
            is_broken: true,
        }),
    }
}
