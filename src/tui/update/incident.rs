//! The incident, preflight and the audit log, as far as keys and news go.

use crate::domain::check::Check;
use crate::domain::operation::Operation;
use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::domain::verdict::Severity;
use crate::ops::preflight::has_plan;
use crate::tui::action::Action;
use crate::tui::app::App;
use crate::tui::effect::{Effect, IncidentWork};
use crate::tui::overlays::Overlay;
use crate::tui::overlays::notes::Notes;
use crate::tui::overlays::preflight;
use crate::tui::overlays::prompt::{Prompt, Purpose};

use super::operate::ask_for_plan;

/// Does what an action means.
pub(super) fn perform(app: &mut App, action: Action) -> Vec<Effect> {
    let ask = |purpose| Some(Overlay::Prompt(Box::new(Prompt::new(purpose, ""))));
    match action {
        Action::ShowIncident => {
            app.overlay = Some(Overlay::Incident { first: 0 });
            return vec![Effect::Incident(IncidentWork::Read)];
        }
        Action::StartIncident => app.overlay = ask(Purpose::IncidentTitle),
        Action::NoteIncident => app.overlay = Some(Overlay::Notes(Box::new(Notes::new()))),
        Action::GradeIncident => app.overlay = ask(Purpose::Severity),
        Action::AssignRole => app.overlay = ask(Purpose::Role),
        Action::HandOver => app.overlay = ask(Purpose::HandOver),
        Action::EndIncident => app.overlay = ask(Purpose::EndIncident),
        Action::ReportIncident => {
            app.tell(Grade::Unknown, "Making the report…", None);
            return vec![Effect::Incident(IncidentWork::Report)];
        }
        Action::SaveNotes => {
            if let Some(Overlay::Notes(notes)) = app.overlay.take() {
                return work(app, IncidentWork::Note(notes.text()));
            }
        }
        Action::RunPreflight => {
            app.overlay = Some(Overlay::Preflight { cursor: 0 });
            app.preflight = Reading::Waiting;
            return vec![Effect::Preflight];
        }
        Action::FixCheck => return fix(app),
        Action::VerifyAudit => app.overlay = ask(Purpose::Anchor),
        _ => {}
    }
    Vec::new()
}

/// The incident comes back in front while its work is done.
fn work(app: &mut App, work: IncidentWork) -> Vec<Effect> {
    app.overlay = Some(Overlay::Incident { first: 0 });
    vec![Effect::Incident(work)]
}

/// What was typed for a purpose of this module.
pub(super) fn accept(app: &mut App, purpose: Purpose, line: &str) -> Vec<Effect> {
    let (head, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim().to_owned();
    match purpose {
        Purpose::IncidentTitle => work(app, IncidentWork::Start(line.to_owned())),
        Purpose::EndIncident => work(app, IncidentWork::End(line.to_owned())),
        Purpose::Role => {
            let (role, who) = (head.to_owned(), rest);
            work(app, IncidentWork::Assign { role, who })
        }
        Purpose::HandOver => {
            let (who, text) = (head.trim_end_matches(':').to_owned(), rest);
            work(app, IncidentWork::HandOver { who, text })
        }
        Purpose::Severity => {
            let known = [Severity::P0, Severity::P1].into_iter();
            let mut known = known.filter(|s| s.as_str().eq_ignore_ascii_case(head));
            match known.next() {
                Some(severity) => work(app, IncidentWork::Grade(severity, rest)),
                None => {
                    app.overlay = Some(Overlay::Incident { first: 0 });
                    app.tell(
                        Grade::Warning,
                        format!("{head:?} is neither P0 nor P1."),
                        None,
                    );
                    Vec::new()
                }
            }
        }
        Purpose::Anchor => vec![Effect::VerifyAudit(
            (!line.is_empty()).then(|| line.trim().to_owned()),
        )],
        _ => Vec::new(),
    }
}

fn fix(app: &mut App) -> Vec<Effect> {
    let Some(Overlay::Preflight { cursor }) = app.overlay else {
        return Vec::new();
    };
    let Some(check) = preflight::shown(app).get(cursor).copied() else {
        return Vec::new();
    };
    if !has_plan(check.name) {
        let text = "There is no plan for this one: people decide what is right.";
        let fix = check.fix.clone();
        app.tell(Grade::Unknown, text, fix);
        return Vec::new();
    }
    let services = check.service.iter().map(ToString::to_string).collect();
    let operation = Operation::Fix {
        check: check.name.to_owned(),
        services,
    };
    ask_for_plan(app, vec![operation])
}

/// The report was made.
pub(super) fn reported(app: &mut App, lines: Vec<SafeText>) -> Vec<Effect> {
    app.flash = None;
    app.overlay = Some(Overlay::Report { lines, first: 0 });
    app.is_awaited = true;
    Vec::new()
}

/// Something was done to the incident: what it is now is read.
pub(super) fn said(app: &mut App, text: SafeText) -> Vec<Effect> {
    app.tell(Grade::Ok, text, None);
    vec![Effect::Incident(IncidentWork::Read)]
}

/// What would bite in a deploy is known.
pub(super) fn checked(app: &mut App, checks: Vec<Check>) -> Vec<Effect> {
    app.preflight = Reading::fresh(checks, app.now);
    app.is_awaited = true;
    Vec::new()
}
