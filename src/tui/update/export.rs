//! Takes lines of the logs out: into a file, into a pager, into an editor.
//!
//! A log can be large and a disk slow: pieces are taken here, written by effects, and keys are answered in between.

use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::ops::ErrorKind;
use crate::tui::app::{App, Notice};
use crate::tui::effect::Effect;
use crate::tui::format;
use crate::tui::msg::Problem;
use crate::tui::outlet::{Outlet, Tool};
use crate::tui::overlays::confirm::Operating;
use crate::tui::panes::logs::Export;

/// Saves the selected lines, or everything that is shown, to a new file; an empty name makes one with the time in it.
pub(super) fn to_file(app: &mut App, name: &str) -> Vec<Effect> {
    let name = match name.trim() {
        "" => default_name(app),
        name => name.to_owned(),
    };
    begin(app, Outlet::File(name))
}

/// Opens the selected lines, or everything that is shown, in a program.
pub(super) fn to_tool(app: &mut App, tool: Tool) -> Vec<Effect> {
    if refuse(app) {
        return Vec::new();
    }
    begin(app, Outlet::Tool(tool))
}

/// `lastgood-backend-20251227-153107.log`
fn default_name(app: &App) -> String {
    let at = app.now.to_zoned(app.setup.zone.clone());
    let name = match app.logs.sources.as_slice() {
        [only] => only.id().name.as_str(),
        _ => "logs",
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .collect();
    format!("lastgood-{name}-{}.log", at.strftime("%Y%m%d-%H%M%S"))
}

/// A program in front would hide what is being done to a machine.
fn refuse(app: &mut App) -> bool {
    let is_executing = app.operating.as_ref().is_some_and(Operating::is_executing);
    if is_executing {
        app.tell(
            Grade::Warning,
            "An action is under way: no program is opened until it has ended.",
            None,
        );
    }
    is_executing
}

fn begin(app: &mut App, to: Outlet) -> Vec<Effect> {
    if app.logs.export.is_some() {
        app.tell(
            Grade::Warning,
            "Lines are being written already: try again when that has ended.",
            None,
        );
        return Vec::new();
    }
    app.logs.export = Some(Export::new(to, &app.logs));
    app.logs.anchor = None;
    go_on(app)
}

/// Lines were looked at: what waits for them goes on.
pub(super) fn looked(app: &mut App) -> Vec<Effect> {
    match &app.logs.export {
        Some(export) if export.is_waiting => go_on(app),
        _ => Vec::new(),
    }
}

/// Takes the next piece.
fn go_on(app: &mut App) -> Vec<Effect> {
    let Some(mut export) = app.logs.export.take() else {
        return Vec::new();
    };
    if export.is_outdated(&app.logs) {
        app.tell(
            Grade::Warning,
            "Other lines are shown now than when writing began: nothing was saved.",
            None,
        );
        return vec![Effect::GiveUpWriting];
    }
    // A line that the filter was not asked about yet is not one that it hides.
    export.is_waiting = !app.logs.rings.sieve().is_open() && app.logs.look_on();
    if export.is_waiting {
        app.logs.export = Some(export);
        return vec![Effect::SearchOn];
    }
    let piece = export.piece(&app.logs);
    // What was unpacked for it may go.
    app.logs.settle();
    let Some(piece) = piece else {
        app.tell(Grade::Unknown, "There is no line to take out.", None);
        return Vec::new();
    };
    app.logs.export = Some(export);
    vec![Effect::Write(piece)]
}

/// A piece was written to the file at a path, or could not be.
pub(super) fn written(app: &mut App, result: Result<SafeText, Problem>) -> Vec<Effect> {
    let path = match result {
        Ok(path) => path,
        Err(problem) => {
            app.logs.export = None;
            tell(app, problem);
            return Vec::new();
        }
    };
    let Some(export) = app.logs.export.take_if(|export| export.is_over) else {
        progress(app, &path);
        return go_on(app);
    };
    match export.to {
        Outlet::File(_) => {
            let hidden = if export.has_hidden {
                ", secrets hidden"
            } else {
                ""
            };
            let text = format!("Saved {} to {path}{hidden}", lines(export.lines));
            if export.is_torn {
                let text = format!("{text}; others were dropped from memory before");
                app.tell(Grade::Warning, text, None);
            } else {
                app.tell(Grade::Ok, text, None);
            }
            Vec::new()
        }
        // An action may have begun while the file was written.
        Outlet::Tool(_) if refuse(app) => vec![Effect::GiveUpWriting],
        Outlet::Tool(tool) => vec![Effect::Open {
            tool,
            line: export.cursor_line,
        }],
    }
}

/// How far it is, in the footer alone: it is no message to keep.
fn progress(app: &mut App, path: &SafeText) {
    let Some(export) = &app.logs.export else {
        return;
    };
    let text = match &export.to {
        Outlet::File(_) => format!("Saving… {} to {path}", lines(export.lines)),
        Outlet::Tool(_) => format!("Preparing {}…", lines(export.lines)),
    };
    app.flash = Some(Notice {
        at: app.now,
        grade: Grade::Unknown,
        text: SafeText::from_text(&text),
        fix: None,
    });
}

fn lines(n: u64) -> String {
    match n {
        1 => "1 line".to_owned(),
        n => format!("{} lines", format::count(n)),
    }
}

/// The program that showed lines ended.
pub(super) fn shown(app: &mut App, result: Result<(), Problem>) -> Vec<Effect> {
    if let Err(problem) = result {
        tell(app, problem);
    }
    Vec::new()
}

fn tell(app: &mut App, problem: Problem) {
    let grade = match problem.kind {
        ErrorKind::Failed => Grade::Critical,
        _ => Grade::Warning,
    };
    app.tell(grade, problem.text, problem.fix);
}

#[cfg(test)]
mod tests;
