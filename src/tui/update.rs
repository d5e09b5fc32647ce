//! What happens to the state when something happens: `update(&mut App, Msg) -> Vec<Effect>`, and nothing else
//! changes an [`App`].

mod act;
mod export;
mod incident;
mod key;
mod logs;
mod motion;
mod mouse;
mod news;
mod operate;
mod paging;
mod runbook;

use std::time::Duration;

use crate::domain::signal::Grade;

use super::app::App;
use super::effect::{Effect, IncidentWork};
use super::layout::Pane;
use super::msg::{Interrupt, Msg};
use super::overlays::Overlay;
use super::panes::runbook::PROBE_EVERY;

pub use act::is_possible;

/// For so long secrets in logs are shown.
const REVEAL_FOR: Duration = Duration::from_secs(60);

/// What is asked for when the console opens.
pub fn begin() -> Vec<Effect> {
    vec![
        Effect::Watch,
        Effect::ReadCheckpoints,
        Effect::ReadTimeline,
        Effect::ReadRunbooks,
        Effect::Incident(IncidentWork::Read),
    ]
}

/// Changes the state by what happened; returns what is to be done about it.
pub fn update(app: &mut App, msg: Msg) -> Vec<Effect> {
    let mut effects = match msg {
        Msg::Key(event) => key::press(app, &event),
        Msg::Paste(text) => key::paste(app, &text),
        Msg::Mouse(event) => mouse::use_mouse(app, &event),
        Msg::Resize(size) => {
            app.size = size;
            Vec::new()
        }
        Msg::Tick => Vec::new(),
        Msg::Interrupted(interrupt) => interrupted(app, interrupt),
        Msg::Inventory(inventory) => news::inventory(app, inventory),
        Msg::Log { slot, pieces } => news::log(app, slot, pieces),
        Msg::LogEnded(slot) => news::log_ended(app, slot),
        Msg::LogPage { wanted, page } => {
            let height = logs::height(app);
            app.logs.put_page(wanted, page, height);
            app.is_awaited = true;
            logs::look_on(app)
        }
        Msg::Sifted {
            slot,
            sifted,
            is_over,
        } => {
            app.logs.put_sifted(slot, &sifted, is_over);
            app.is_awaited = true;
            logs::look_on(app)
        }
        Msg::Sampled(signals) => {
            let now = app.now;
            app.signals.is_sampling = false;
            app.signals.set(signals, now);
            let pause = app.signals.pause(app.setup.measure_every);
            app.signals.next_at = Some(now + pause);
            Vec::new()
        }
        Msg::SecretsKnown(known) => {
            app.logs.secrets.learn(known);
            Vec::new()
        }
        Msg::SecretsRevealed => {
            app.logs.secrets.shown_until = Some(app.now + REVEAL_FOR);
            let text = "Secrets in logs are shown for a minute; the audit log says to whom.";
            app.tell(Grade::Warning, text, None);
            Vec::new()
        }
        Msg::Around(around) => {
            app.signals.surround(*around);
            Vec::new()
        }
        Msg::Measured(measured) => {
            let board = &mut app.signals.board;
            board.is_sampling = false;
            board.next_at = Some(app.now + app.setup.measure_every);
            board.reading = crate::domain::reading::Reading::fresh(*measured, app.now);
            Vec::new()
        }
        Msg::Acknowledged { text, alerts } => {
            app.signals.set_alerts(alerts);
            app.tell(Grade::Ok, text, None);
            Vec::new()
        }
        Msg::Checkpoints(list) => news::checkpoints(app, list),
        Msg::Timeline(events) => {
            app.timeline.reading = crate::domain::reading::Reading::fresh(events, app.now);
            Vec::new()
        }
        Msg::Runbooks { list, run } => {
            app.runbook.reading = crate::domain::reading::Reading::fresh(list, app.now);
            if let Some(run) = run {
                app.runbook.set_run(*run);
            }
            Vec::new()
        }
        Msg::Probed(run) => {
            app.runbook.is_probing = false;
            app.runbook.next_at = Some(app.now + PROBE_EVERY);
            if app.runbook.run.as_ref().map(|r| &r.run) == Some(&run.run) {
                app.runbook.set_run(*run);
            }
            Vec::new()
        }
        Msg::RunbookRun(run) => {
            app.runbook.set_run(*run);
            Vec::new()
        }
        Msg::RunbookWentOn(run) => runbook::went_on(app, *run),
        Msg::RunbookStarted(run) => runbook::started(app, &run),
        Msg::Others(others) => {
            app.runbook.set_others(others);
            app.is_awaited = true;
            Vec::new()
        }
        Msg::Incident(brief) => {
            let brief = brief.map(|brief| *brief);
            app.incident = crate::domain::reading::Reading::fresh(brief, app.now);
            app.is_awaited = true;
            // What is said in it stands in the timeline too.
            vec![Effect::ReadTimeline]
        }
        Msg::IncidentSaid(text) => incident::said(app, text),
        Msg::IncidentReport(lines) => incident::reported(app, lines),
        Msg::Preflight(checks) => incident::checked(app, checks),
        Msg::AuditVerified(text) => {
            app.tell(Grade::Ok, text, None);
            Vec::new()
        }
        Msg::Compared(comparison) => news::compared(app, *comparison),
        Msg::RequestFound(pair) => {
            app.compare.set_request(*pair, app.now);
            Vec::new()
        }
        Msg::CheckpointMade(manifest) => news::checkpoint_made(app, &manifest),
        Msg::Planned(order) => operate::planned(app, order),
        Msg::Executed(outcome) => operate::executed(app, *outcome),
        Msg::Progress { key, progress } => news::progress(app, key, progress),
        Msg::Copied(text) => {
            app.tell(Grade::Ok, text, None);
            Vec::new()
        }
        Msg::FileHits {
            slot,
            generation,
            file,
            hits,
        } => logs::file_hits(app, slot, generation, &file, &hits),
        Msg::LinesCounted { slot, lines } => {
            if let Some(followed) = app.logs.source_mut(slot) {
                followed.lines_before += lines;
            }
            Vec::new()
        }
        Msg::TimeFound { slot, number } => {
            paging::go_to_place(app, slot, number).into_iter().collect()
        }
        Msg::SearchOn => {
            let mut effects = logs::look_on(app);
            effects.extend(export::looked(app));
            effects
        }
        Msg::Written(result) => export::written(app, result),
        Msg::Shown(result) => export::shown(app, result),
        Msg::Failed { key, problem } => news::failed(app, key, problem),
    };
    age(app);
    effects.extend(keep_sampling(app));
    effects.extend(keep_measuring(app));
    effects.extend(keep_probing(app));
    effects.extend(runbook::keep_pairing(app));
    effects.extend(paging::keep_paging(app));
    effects
}

/// Ends the console with the signal's exit code; what runs is finished first, by the loop.
fn interrupted(app: &mut App, interrupt: Interrupt) -> Vec<Effect> {
    match interrupt.exit_code() {
        Some(code) => {
            app.leaving = Some(code);
            Vec::new()
        }
        None => vec![Effect::Redraw],
    }
}

/// Turns readings stale and locks an armed session when their time has come.
fn age(app: &mut App) {
    let now = app.now;
    if app.flash_left().is_some_and(|left| left.is_zero()) {
        app.flash = None;
    }
    if app
        .logs
        .secrets
        .shown_until
        .is_some_and(|until| now >= until)
    {
        app.logs.secrets.shown_until = None;
        app.tell(Grade::Unknown, "Secrets in logs are hidden again.", None);
    }
    let reading = std::mem::take(&mut app.signals.reading);
    app.signals.reading = reading.age(now, app.setup.measured_for());
    let reading = std::mem::take(&mut app.signals.board.reading);
    app.signals.board.reading = reading.age(now, app.setup.measured_for());
    let reading = std::mem::take(&mut app.services.reading);
    app.services.reading = reading.age(now, app.setup.looked_for());
    if let super::app::Lock::Armed { until } = app.lock
        && now >= until
    {
        app.lock = super::app::Lock::Locked;
        app.tell(Grade::Unknown, "The session locked itself again.", None);
    }
}

/// How long it is until then; nothing where that is now or was.
fn until(at: Option<jiff::Timestamp>, now: jiff::Timestamp) -> std::time::Duration {
    at.and_then(|at| std::time::Duration::try_from(at.duration_since(now)).ok())
        .unwrap_or_default()
}

/// Signals are measured only while someone can see them.
fn keep_sampling(app: &mut App) -> Option<Effect> {
    if app.signals.is_sampling || !app.is_visible(Pane::Signals) {
        return None;
    }
    let service = app.selected()?.clone();
    app.signals.is_sampling = true;
    let after = until(app.signals.next_at, app.now);
    Some(Effect::Sample {
        service: Box::new(service),
        after,
        is_first: app.signals.is_new(),
    })
}

/// All services are measured only while someone can see them all.
fn keep_measuring(app: &mut App) -> Option<Effect> {
    let is_table = app.signals.board.is_shown && app.is_visible(Pane::Signals);
    if app.signals.board.is_sampling || (app.places().wall.is_none() && !is_table) {
        return None;
    }
    let services = app.services.reading.value()?.services.clone();
    let board = &mut app.signals.board;
    board.is_sampling = true;
    let after = until(board.next_at, app.now);
    Some(Effect::SampleAll { services, after })
}

/// Probes are asked only while someone can see what comes of it, and only for a run that has due ones.
fn keep_probing(app: &mut App) -> Option<Effect> {
    if app.runbook.is_probing || !app.is_visible(Pane::Runbook) {
        return None;
    }
    let run = app.runbook.run.as_ref().filter(|run| !run.is_complete())?;
    let inventory = app.services.reading.value()?;
    if run.due_probes().is_empty() {
        return None;
    }
    let after = until(app.runbook.next_at, app.now);
    let effect = Effect::AskProbes {
        run: Box::new(run.clone()),
        inventory: Box::new(inventory.clone()),
        after,
    };
    app.runbook.is_probing = true;
    Some(effect)
}

/// Other services are shown: their logs, the signals of the selected one.
fn select(app: &mut App) -> Vec<Effect> {
    let selected = app.services.selected.clone();
    if app.signals.service != selected {
        app.signals.begin(selected);
    }
    logs::choose(app)
}

/// Whether the plan card is in front.
fn has_card(app: &App) -> bool {
    matches!(app.overlay, Some(Overlay::Confirm))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod several_tests;
#[cfg(test)]
mod together_tests;
