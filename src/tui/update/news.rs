//! What tasks tell: inventories, log lines, results, failures.

use std::time::Duration;

use crate::domain::checkpoint::{Checkpoint, Manifest};
use crate::domain::comparison::Comparison;
use crate::domain::log::LogNoteKind;
use crate::domain::outcome::Progress;
use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId, ServiceState};
use crate::domain::signal::Grade;
use crate::domain::timeline::{TimelineEvent, TimelineKind};
use crate::domain::verdict::Decision;
use crate::ops::ErrorKind;
use crate::tui::app::App;
use crate::tui::effect::{Effect, TaskKey};
use crate::tui::layout::Pane;
use crate::tui::msg::{LogPiece, Problem};
use crate::tui::overlays::Overlay;
use crate::tui::panes::compare::{SETTLED, WATCH_EVERY, WATCH_FOR};
use crate::tui::panes::logs::State;
use crate::tui::panes::services::short_release;
use crate::tui::theme::decision_grade;

use super::{logs, select};

/// What runs was read: deploys are seen, the log of a service that came back is opened again.
pub(super) fn inventory(app: &mut App, inventory: Inventory) -> Vec<Effect> {
    let deployed: Vec<(Service, Service)> = app
        .services
        .reading
        .value()
        .map(|before| deploys(before, &inventory))
        .unwrap_or_default();
    let ended = ended_logs(app);
    let ids = |all: &[Service]| all.iter().map(|s| s.id.clone()).collect::<Vec<_>>();
    let known = app.services.reading.value().map(|all| ids(&all.services));
    // Another release may have other passwords.
    let learn = (!deployed.is_empty() || known.as_ref() != Some(&ids(&inventory.services)))
        .then(|| Effect::LearnSecrets(inventory.services.clone(), !deployed.is_empty()));
    app.services.set(inventory, app.now);
    // The files that were named on the command line are opened once they are found.
    if !app.setup.open.is_empty() {
        let open = std::mem::take(&mut app.setup.open);
        app.services.open(open);
        app.focus.set(Pane::Logs);
    }
    let mut effects: Vec<Effect> = learn.into_iter().collect();
    effects.extend(select(app));
    for (before, after) in &deployed {
        if app.signals.service.as_ref() == Some(&after.id) {
            app.signals.restart();
        }
        app.timeline.push(TimelineEvent {
            at: app.now,
            kind: TimelineKind::Deploy,
            service: Some(after.id.clone()),
            grade: Grade::Unknown,
            text: SafeText::from_text(&if before.release.is_same(&after.release) {
                format!("{} {} recreated", after.id.name, short_release(after))
            } else {
                format!(
                    "{} {} → {}",
                    after.id.name,
                    short_release(before),
                    short_release(after)
                )
            }),
        });
    }
    if !deployed.is_empty() && app.checkpoint().is_some() {
        app.compare.watch_until = Some(app.now + WATCH_FOR);
        effects.extend(compare_now(app, SETTLED));
    }
    // A log that ended with its service is opened again when that runs again.
    let back: Vec<u32> = ended
        .into_iter()
        .filter(|(_, id)| is_running(app, id))
        .map(|(slot, _)| slot)
        .collect();
    effects.extend(logs::reopen(app, &back));
    effects
}

/// The logs that ended or failed and whose service does not run.
fn ended_logs(app: &App) -> Vec<(u32, ServiceId)> {
    app.logs
        .sources
        .iter()
        .filter(|f| matches!(f.truth.state, State::Failed(_) | State::Ended))
        .filter(|f| !is_running(app, f.id()))
        .map(|f| (f.slot, f.id().clone()))
        .collect()
}

fn is_running(app: &App, id: &ServiceId) -> bool {
    let inventory = app.services.reading.value();
    inventory
        .and_then(|inventory| inventory.find(id))
        .is_some_and(|service| service.state == ServiceState::Running)
}

/// Services that run another release than before, or the same in new containers: a changed environment file is
/// deployed without a new image.
fn deploys(before: &Inventory, after: &Inventory) -> Vec<(Service, Service)> {
    after
        .services
        .iter()
        .filter_map(|now| {
            let was = before.find(&now.id)?;
            let (a, b) = (was.release.identity()?, now.release.identity()?);
            let is_recreated = matches!(now.runtime, Runtime::Compose | Runtime::Docker)
                && !was.instances.is_empty()
                && !now.instances.is_empty()
                && now
                    .instances
                    .iter()
                    .all(|i| was.instances.iter().all(|w| w.id != i.id));
            (a != b || is_recreated).then(|| (was.clone(), now.clone()))
        })
        .collect()
}

/// Pieces of a log came. Those of a log that was closed were on their way already.
pub(super) fn log(app: &mut App, slot: u32, pieces: Vec<LogPiece>) -> Vec<Effect> {
    let is_first = app
        .logs
        .source(slot)
        .is_some_and(|f| f.truth.state == State::Waiting);
    app.is_awaited |= is_first;
    for note in app.logs.push(slot, pieces, app.now) {
        let grade = match note.kind {
            LogNoteKind::Gap
            | LogNoteKind::Unread
            | LogNoteKind::Reconnecting
            | LogNoteKind::Ended => Grade::Warning,
            _ => Grade::Unknown,
        };
        // A recreation is told by the inventory, as a deploy if the release changed.
        if note.kind == LogNoteKind::Recreated {
            continue;
        }
        app.timeline.push(TimelineEvent {
            at: note.to.or(note.from).unwrap_or(app.now),
            kind: TimelineKind::Log,
            service: Some(note.service.clone()),
            grade,
            text: SafeText::from_text(&format!("log {} {}", note.kind.as_str(), note.detail)),
        });
    }
    let mut effects = logs::look_on(app);
    for followed in &mut app.logs.sources {
        if let Some(file) = followed.count_due.take() {
            effects.push(Effect::SearchFile {
                slot: followed.slot,
                generation: 0,
                service: Box::new(followed.id().clone()),
                until: file.position.offset,
                file,
                pattern: None,
            });
        }
    }
    effects
}

/// A log ended by itself.
pub(super) fn log_ended(app: &mut App, slot: u32) -> Vec<Effect> {
    if let Some(followed) = app.logs.source_mut(slot) {
        followed.truth.state = State::Ended;
    }
    Vec::new()
}

/// The checkpoints were read.
pub(super) fn checkpoints(app: &mut App, list: Vec<Checkpoint>) -> Vec<Effect> {
    let is_first = matches!(app.checkpoints, Reading::Waiting);
    app.checkpoints = Reading::fresh(list, app.now);
    // What stands in the pane at the start is the answer to "is it worse than it was?".
    if is_first && app.checkpoint().is_some() {
        return compare_now(app, Duration::ZERO);
    }
    Vec::new()
}

/// Starts a comparison of the newest whole checkpoint with now.
pub(super) fn compare_now(app: &mut App, after: Duration) -> Vec<Effect> {
    let Some(manifest) = app.checkpoint() else {
        app.tell(
            Grade::Unknown,
            "No checkpoint yet, so nothing to compare with.",
            None,
        );
        return Vec::new();
    };
    let checkpoint = manifest.id.clone();
    let label = manifest
        .label
        .clone()
        .unwrap_or_else(|| SafeText::from_text(&manifest.id));
    app.compare.label = Some(label);
    if after.is_zero() {
        app.compare.running = Some(app.now);
        app.compare.doing = None;
        // Whoever asks wants to see where it goes.
        app.compare.watch_until = Some(app.now + WATCH_FOR);
    }
    vec![Effect::Compare { checkpoint, after }]
}

/// A comparison is done; after a deploy it is repeated for a while.
pub(super) fn compared(app: &mut App, comparison: Comparison) -> Vec<Effect> {
    let before = app.compare.reading.value().map(|c| c.verdict.decision);
    let verdict = &comparison.verdict;
    if before != Some(verdict.decision) {
        let worst: Vec<&str> = comparison
            .services
            .iter()
            .filter(|s| {
                s.verdict.decision == verdict.decision && verdict.decision != Decision::Keep
            })
            .map(|s| s.id.name.as_str())
            .collect();
        let severity = verdict
            .severity
            .map_or_else(String::new, |s| format!(" {}", s.as_str()));
        let names = if worst.is_empty() {
            String::new()
        } else {
            format!(": {}", worst.join(", "))
        };
        app.timeline.push(TimelineEvent {
            at: app.now,
            kind: TimelineKind::Verdict,
            service: None,
            grade: decision_grade(verdict.decision),
            text: SafeText::from_text(&format!("{}{severity}{names}", verdict.decision.words())),
        });
    }
    app.compare.set(comparison, app.now);
    match app.compare.watch_until {
        Some(until) if app.now < until => compare_now(app, WATCH_EVERY),
        _ => {
            app.compare.watch_until = None;
            vec![Effect::EndComparison]
        }
    }
}

/// A checkpoint was made.
pub(super) fn checkpoint_made(app: &mut App, manifest: &Manifest) -> Vec<Effect> {
    app.saving = None;
    let name = manifest
        .label
        .as_ref()
        .map_or(manifest.id.as_str(), |l| l.as_str());
    if manifest.complete {
        app.tell(
            Grade::Ok,
            format!("Checkpoint {name}: {} services.", manifest.services.len()),
            None,
        );
    } else {
        let problems: Vec<&str> = manifest.problems.iter().map(AsRef::as_ref).collect();
        app.tell(
            Grade::Warning,
            format!("Checkpoint {name} is not complete: {}", problems.join("; ")),
            None,
        );
    }
    vec![Effect::ReadCheckpoints, Effect::ReadTimeline]
}

/// Something long goes on.
pub(super) fn progress(app: &mut App, key: TaskKey, progress: Progress) -> Vec<Effect> {
    let now = app.now;
    match key {
        TaskKey::Execute => {
            if let Some(operating) = &mut app.operating {
                operating.progress(progress, now);
            }
        }
        TaskKey::CreateCheckpoint => {
            if let (Some(saving), Some(text)) = (&mut app.saving, words(&progress)) {
                saving.doing = text;
            }
        }
        TaskKey::Compare => {
            app.compare.doing = words(&progress).or_else(|| app.compare.doing.take());
        }
        _ => {}
    }
    Vec::new()
}

fn words(progress: &Progress) -> Option<SafeText> {
    match progress {
        Progress::StepStarted { text, .. } | Progress::Note(text) => Some(text.clone()),
        Progress::StepEnded { .. } => None,
        Progress::Counted { what, done, total } => {
            let of = total.map_or_else(String::new, |n| {
                format!(" of {}", crate::tui::format::count(n))
            });
            Some(SafeText::from_text(&format!(
                "{what} {}{of}",
                crate::tui::format::count(*done)
            )))
        }
    }
}

/// A task could not do its work: the pane that waits for it says so, and the message is kept.
pub(super) fn failed(app: &mut App, key: TaskKey, problem: Problem) -> Vec<Effect> {
    let now = app.now;
    let cause = problem.text.clone();
    match key {
        TaskKey::Watch => fail(&mut app.services.reading, &cause, now),
        TaskKey::Checkpoints => fail(&mut app.checkpoints, &cause, now),
        TaskKey::Timeline => fail(&mut app.timeline.reading, &cause, now),
        TaskKey::Compare => {
            app.compare.running = None;
            app.compare.doing = None;
            fail(&mut app.compare.reading, &cause, now);
        }
        TaskKey::Request => {
            if let Some(request) = &mut app.compare.request {
                fail(&mut request.reading, &cause, now);
            }
        }
        TaskKey::Sample => {
            app.signals.is_sampling = false;
            app.signals.next_at = Some(now + app.setup.measure_every);
            fail(&mut app.signals.reading, &cause, now);
        }
        TaskKey::SampleAll => {
            app.signals.board.is_sampling = false;
            app.signals.board.next_at = Some(now + app.setup.measure_every);
            fail(&mut app.signals.board.reading, &cause, now);
        }
        TaskKey::Follow(slot) => {
            if let Some(followed) = app.logs.source_mut(slot) {
                followed.truth.state = State::Failed(problem.clone());
            }
        }
        // The pane says so where older lines would stand.
        TaskKey::Page(slot) => {
            app.logs.no_page(slot, &problem);
            return Vec::new();
        }
        TaskKey::CreateCheckpoint => app.saving = None,
        TaskKey::Plan | TaskKey::Execute => {
            if let Some(operating) = &mut app.operating {
                operating.refuse(problem.clone());
                if app.overlay.is_none() {
                    app.overlay = Some(Overlay::Confirm);
                }
            }
        }
        TaskKey::Runbooks => fail(&mut app.runbook.reading, &cause, now),
        TaskKey::RunbookProbes => {
            app.runbook.is_probing = false;
            app.runbook.next_at = Some(now + crate::tui::panes::runbook::PROBE_EVERY);
        }
        TaskKey::Incident if app.incident.value().is_none() => {
            fail(&mut app.incident, &cause, now);
        }
        TaskKey::Preflight => fail(&mut app.preflight, &cause, now),
        TaskKey::RunbookItem
        | TaskKey::Incident
        | TaskKey::Mark(_)
        | TaskKey::Audit
        | TaskKey::RunbookFollow
        | TaskKey::Presence
        | TaskKey::Acknowledge
        | TaskKey::Search
        | TaskKey::SearchFile(_)
        | TaskKey::CountLines(_)
        | TaskKey::Secrets
        | TaskKey::Reveal
        | TaskKey::Copy => {}
    }
    let grade = match problem.kind {
        ErrorKind::No | ErrorKind::NotSure | ErrorKind::Refused => Grade::Warning,
        ErrorKind::Usage | ErrorKind::Failed => Grade::Critical,
    };
    app.tell(grade, problem.text, problem.fix);
    Vec::new()
}

fn fail<T>(reading: &mut Reading<T>, cause: &SafeText, now: jiff::Timestamp) {
    let before = std::mem::take(reading);
    *reading = before.fail(cause.clone(), now);
}
