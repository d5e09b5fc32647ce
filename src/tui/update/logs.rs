//! What is done to the logs: searching, filtering, jumping, marking, taking lines out.

use crate::domain::incident::Mark;
use crate::domain::log::{FileHits, Level};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::signal::Grade;
use crate::domain::time;
use crate::domain::timeline::{TimelineEvent, TimelineKind};
use crate::store::ring::{Key, OpenedFile, Sieve};
use crate::tui::action::Action;
use crate::tui::app::App;
use crate::tui::effect::{Effect, FilePattern, IncidentWork, TaskKey};
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::outlet::Tool;
use crate::tui::overlays::Overlay;
use crate::tui::overlays::prompt::{Prompt, Purpose};
use crate::tui::panes::logs::{FileFinds, Goal, Search};

use super::export;
use super::paging::{effects_of, go_to_number, oldest_file};

/// At most so many lines are copied at once; more than that is saved to a file.
const MOST_COPIED: usize = 5000;

/// Rows of lines in the logs pane.
pub(super) fn height(app: &App) -> usize {
    let inner = app.places().inner(Pane::Logs).height as usize;
    app.logs.body_height(inner).max(1)
}

/// Opens and closes logs, so that those of the chosen services are shown: the marked ones, else the selected one.
pub(super) fn choose(app: &mut App) -> Vec<Effect> {
    // A wall shows no log: following one for weeks would be for nobody.
    let services: Vec<Service> = match app.focus.is_wall {
        true => Vec::new(),
        false => app.services.chosen().cloned().collect(),
    };
    let is_moving = !app.logs.sources.is_empty();
    let (opened, closed) = app.logs.choose(&services);
    let close = closed.into_iter().flat_map(close);
    let open = opened.into_iter().map(|(slot, service)| Effect::Follow {
        slot,
        service: Box::new(service),
        is_moving,
    });
    close.chain(open).collect()
}

/// Ends everything that is read for a slot.
fn close(slot: u32) -> [Effect; 4] {
    [
        TaskKey::Follow(slot),
        TaskKey::Page(slot),
        TaskKey::SearchFile(slot),
        TaskKey::CountLines(slot),
    ]
    .map(Effect::Cancel)
}

/// Opens the logs of these slots again from the start.
pub(super) fn reopen(app: &mut App, slots: &[u32]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for slot in slots {
        if let Some((new, service)) = app.logs.reopen(*slot) {
            effects.extend(close(*slot));
            effects.push(Effect::Follow {
                slot: new,
                service: Box::new(service),
                is_moving: false,
            });
        }
    }
    effects
}

/// Does what an action of the logs means.
pub(super) fn perform(app: &mut App, action: Action) -> Vec<Effect> {
    let height = height(app);
    match action {
        Action::FindText => {
            app.logs.search_before = app.logs.search.as_ref().map(|s| s.text.clone());
            let before = app.logs.search_before.clone().unwrap_or_default();
            ask(app, Purpose::Find, &before);
        }
        Action::FilterIn => ask(app, Purpose::FilterIn, ""),
        Action::FilterOut => ask(app, Purpose::FilterOut, ""),
        Action::JumpTime => ask(app, Purpose::Time, ""),
        Action::NoteMark => ask(app, Purpose::Mark, ""),
        Action::ExportLines => ask(app, Purpose::Export, ""),
        Action::FindNext => return find(app, true),
        Action::FindPrevious => return find(app, false),
        Action::NextError => go_to_level(app, Level::Error, true),
        Action::PreviousError => go_to_level(app, Level::Error, false),
        Action::NextWarning => go_to_level(app, Level::Warn, true),
        Action::PreviousWarning => go_to_level(app, Level::Warn, false),
        Action::ClearFilters => return sieve(app, |sieve| *sieve = Sieve::default()),
        Action::MoreContext => return context(app, 1),
        Action::LessContext => return context(app, -1),
        Action::CycleLevel => {
            return sieve(app, |sieve| {
                sieve.level = match sieve.level {
                    None => Some(Level::Info),
                    Some(Level::Info) => Some(Level::Warn),
                    Some(Level::Warn) => Some(Level::Error),
                    Some(_) => None,
                };
            });
        }
        Action::ToggleFollow if app.logs.is_following => app.logs.stand_still(height),
        Action::ToggleFollow => app.logs.follow(),
        Action::ToggleWrap => {
            app.logs.look.is_wrapped = !app.logs.look.is_wrapped;
            app.logs.look.column = 0;
        }
        Action::CycleStamps => app.logs.look.stamps = app.logs.look.stamps.next(),
        Action::TogglePretty => app.logs.look.is_pretty = !app.logs.look.is_pretty,
        Action::ToggleColours => app.logs.look.has_colours = !app.logs.look.has_colours,
        Action::FoldAll => {
            app.logs.stand_still(height);
            let is_on = !app.logs.rings.is_folding();
            app.logs.rings.set_folding(is_on);
            app.logs.settle();
        }
        Action::ToggleFold => {
            if let Some(head) = app
                .logs
                .cursor
                .and_then(|key| app.logs.rings.toggle_fold(key))
            {
                app.logs.go_to(head, height);
            }
        }
        Action::ShowRecord => {
            if let Some(key) = app.logs.cursor {
                app.logs.stand_still(height);
                app.overlay = Some(Overlay::Record { key, first: 0 });
            }
        }
        Action::ShowSources => app.overlay = Some(Overlay::Sources { first: 0 }),
        Action::ToggleMark => {
            if let Some(key) = app.logs.cursor {
                app.logs.stand_still(height);
                let is_marked = app.logs.marks.toggle(key);
                return tell_mark(app, key, SafeText::default(), is_marked);
            }
        }
        Action::NextMark => go_to_mark(app, true),
        Action::PreviousMark => go_to_mark(app, false),
        Action::ToggleSelect => {
            app.logs.stand_still(height);
            app.logs.anchor = match app.logs.anchor {
                Some(_) => None,
                None => app.logs.cursor,
            };
        }
        Action::CopyLine => return copy(app),
        Action::RevealSecrets => return reveal(app),
        Action::OpenPager => return export::to_tool(app, Tool::Pager),
        Action::OpenEditor => return export::to_tool(app, Tool::Editor),
        _ => {}
    }
    Vec::new()
}

/// Shows secrets once that is recorded, or hides them at once. Not on a wall: whoever passes reads it.
fn reveal(app: &mut App) -> Vec<Effect> {
    if app.logs.secrets.shown_until.take().is_some() {
        app.tell(Grade::Unknown, "Secrets in logs are hidden again.", None);
        return Vec::new();
    }
    if app.focus.is_wall {
        let text = "Secrets are not shown on a wall.";
        app.tell(Grade::Warning, text, None);
        return Vec::new();
    }
    let services = app.logs.sources.iter().map(|f| f.id().clone());
    vec![Effect::RevealSecrets(services.collect())]
}

fn ask(app: &mut App, purpose: Purpose, text: &str) {
    app.overlay = Some(Overlay::Prompt(Box::new(Prompt::new(purpose, text))));
}

/// The text of a search changed while it is typed: its matches show at once.
pub(super) fn typing(app: &mut App, purpose: Purpose, line: &str) -> Vec<Effect> {
    if purpose != Purpose::Find {
        return Vec::new();
    }
    search(app, (!line.is_empty()).then_some(line))
}

/// Searches for a text, or for nothing: in the lines that are held now, in files in the background.
pub(super) fn search(app: &mut App, text: Option<&str>) -> Vec<Effect> {
    app.logs.set_search(text);
    let mut effects: Vec<Effect> = app
        .logs
        .sources
        .iter()
        .map(|f| Effect::Cancel(TaskKey::SearchFile(f.slot)))
        .collect();
    if let Some(search) = &app.logs.search {
        let pattern = search.finder.pattern().clone();
        let generation = app.logs.generation();
        for followed in &mut app.logs.sources {
            let ring = app.logs.rings.ring(followed.slot);
            let last = ring.and_then(|ring| ring.last_number());
            let file = last.and_then(|number| ring?.file(number));
            let (Some(floor), Some(file)) = (last, file) else {
                continue;
            };
            let until = file.place(floor);
            followed.finds = Some(FileFinds::new(floor, until));
            effects.push(Effect::SearchFile {
                slot: followed.slot,
                generation,
                service: Box::new(followed.id().clone()),
                file: file.clone(),
                pattern: Some(FilePattern(pattern.clone())),
                until,
            });
        }
    }
    effects.extend(look_on(app));
    effects
}

/// A search of a file has looked at some more of it.
pub(super) fn file_hits(
    app: &mut App,
    slot: u32,
    generation: u32,
    file: &OpenedFile,
    hits: &FileHits,
) -> Vec<Effect> {
    if generation != app.logs.generation() {
        return Vec::new();
    }
    if let Some(finds) = app.logs.source_mut(slot).and_then(|f| f.finds.as_mut()) {
        let bytes = hits.looked.end - hits.looked.start;
        finds.put(hits.hits.iter().map(|place| file.number(*place)), bytes);
    }
    jump_if_due(app).into_iter().collect()
}

/// Goes to the first match once there is one, where the search was taken before it had any.
fn jump_if_due(app: &mut App) -> Option<Effect> {
    if !app.logs.is_jump_due {
        return None;
    }
    let (slot, number) = app.logs.next_match(app.logs.cursor?, false)?;
    app.logs.is_jump_due = false;
    go_to_number(app, slot, number)
}

/// A search was left without taking it: the one before holds again.
pub(super) fn untype(app: &mut App) -> Vec<Effect> {
    let before = app.logs.search_before.take();
    search(app, before.as_deref())
}

/// A text for the logs was typed and taken.
pub(super) fn accept(app: &mut App, purpose: Purpose, line: &str) -> Vec<Effect> {
    match purpose {
        Purpose::Find => return accept_find(app, line),
        Purpose::FilterIn | Purpose::FilterOut => {
            let (pattern, _) = crate::tui::panes::logs::pattern(line);
            return sieve(app, |sieve| {
                if purpose == Purpose::FilterIn {
                    sieve.include.push(pattern);
                } else {
                    sieve.exclude.push(pattern);
                }
            });
        }
        Purpose::Time => return jump(app, line),
        Purpose::Mark => return mark(app, line),
        Purpose::Export => return export::to_file(app, line),
        _ => {}
    }
    Vec::new()
}

fn accept_find(app: &mut App, line: &str) -> Vec<Effect> {
    app.logs.search_before = None;
    // While it was typed the search began already: what it found is kept.
    let mut effects = match &app.logs.search {
        Some(search) if search.text == line => look_on(app),
        _ => search(app, Some(line)),
    };
    let Some(cursor) = app.logs.cursor else {
        return effects;
    };
    // The newest match at or above the cursor: what is read is the end of the log.
    let hit = if is_match(app, cursor) {
        Some((cursor.source, cursor.number))
    } else {
        let above = app.logs.next_match(cursor, false);
        above.or_else(|| app.logs.next_match(cursor, true))
    };
    match hit {
        Some((slot, number)) => effects.extend(go_to_number(app, slot, number)),
        None if is_searched(app) => {
            app.tell(Grade::Unknown, format!("Not found: {line}"), None);
        }
        None => app.logs.is_jump_due = true,
    }
    effects
}

/// Whether every line was looked at.
fn is_searched(app: &App) -> bool {
    let logs = &app.logs;
    logs.sources.iter().all(|f| logs.totals(f).is_complete)
}

fn is_match(app: &App, key: Key) -> bool {
    let pattern = |search: &Search| {
        let line = app.logs.rings.line(key);
        line.is_some_and(|line| search.finder.pattern().is_match(line.bytes))
    };
    app.logs.search.as_ref().is_some_and(pattern)
}

/// Looks at some more lines, then lets keys through.
pub(super) fn look_on(app: &mut App) -> Vec<Effect> {
    let has_more = app.logs.look_on();
    let mut effects: Vec<Effect> = jump_if_due(app).into_iter().collect();
    if has_more {
        effects.push(Effect::SearchOn);
    }
    effects
}

/// To the match behind the cursor, or the one in front of it; at the end it goes round.
fn find(app: &mut App, is_forward: bool) -> Vec<Effect> {
    let (Some(search), Some(cursor)) = (&app.logs.search, app.logs.cursor) else {
        app.tell(Grade::Unknown, "Nothing is searched for.", None);
        return Vec::new();
    };
    let text = search.text.clone();
    let around = if is_forward {
        app.logs.rings.first().map(|key| Key::of(key.source, 0))
    } else {
        Some(Key::LAST)
    };
    let hit = app.logs.next_match(cursor, is_forward);
    match hit.or_else(|| app.logs.next_match(around?, is_forward)) {
        Some((slot, number)) => go_to_number(app, slot, number).into_iter().collect(),
        None => {
            let searched = if is_searched(app) { "" } else { " so far" };
            app.tell(Grade::Unknown, format!("Not found{searched}: {text}"), None);
            Vec::new()
        }
    }
}

fn go_to_level(app: &mut App, level: Level, is_forward: bool) {
    let height = height(app);
    if app.logs.go_to_level(level, is_forward, height) {
        app.focus.set(Pane::Logs);
    } else {
        let side = if is_forward { "below" } else { "above" };
        let what = if level == Level::Warn {
            "warning"
        } else {
            "error"
        };
        app.tell(
            Grade::Ok,
            format!("No {what} {side} in the lines that are held."),
            None,
        );
    }
}

fn go_to_mark(app: &mut App, is_forward: bool) {
    let height = height(app);
    let Some(cursor) = app.logs.cursor else {
        return;
    };
    match app.logs.marks.next(cursor, is_forward) {
        Some(key) if app.logs.rings.line(key).is_some() => app.logs.go_to(key, height),
        Some(_) => app.tell(
            Grade::Unknown,
            "The marked line is not held any more.",
            None,
        ),
        None => {
            let side = if is_forward { "below" } else { "above" };
            app.tell(Grade::Unknown, format!("No mark {side}."), None);
        }
    }
}

/// Marks the line under the cursor with a note, and tells the timeline.
fn mark(app: &mut App, note: &str) -> Vec<Effect> {
    let Some(key) = app.logs.cursor else {
        return Vec::new();
    };
    let note = SafeText::from_text(note);
    app.logs.marks.set_note(key, note.clone());
    if app.open_incident().is_some() {
        return tell_mark(app, key, note, true);
    }
    let line = app.logs.clean_text(key).unwrap_or_default();
    let service = app.logs.source(key.source).map(|f| f.id().clone());
    app.timeline.push(TimelineEvent {
        at: key.instant().unwrap_or(app.now),
        kind: TimelineKind::Mark,
        service,
        grade: Grade::Ok,
        text: SafeText::from_text(&format!("{note}: {}", format::cut(line.as_str(), 200))),
    });
    Vec::new()
}

/// Tells the open incident of a mark: it stays there when the console and the log are gone.
fn tell_mark(app: &App, key: Key, note: SafeText, is_marked: bool) -> Vec<Effect> {
    /// A line is quoted, not archived.
    const LONGEST: usize = 500;
    let (Some(_), Some(line)) = (app.open_incident(), app.logs.clean_text(key)) else {
        return Vec::new();
    };
    let mark = Mark {
        service: app.logs.source(key.source).map(|f| f.id().clone()),
        line_at: key.instant(),
        line: SafeText::from_text(&format::cut(line.as_str(), LONGEST)),
        note,
        is_marked,
    };
    vec![Effect::Incident(IncidentWork::Mark(key, mark))]
}

/// Whether a typed command is one of the logs': a time to go to, or `export FILE`.
pub(super) fn command(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("export ") || line.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// Does what a typed command of the logs says.
pub(super) fn run(app: &mut App, line: &str) -> Vec<Effect> {
    match line.trim().strip_prefix("export ") {
        Some(file) => accept(app, Purpose::Export, file.trim()),
        None => jump(app, line),
    }
}

/// Goes to the time that a text says; in a file also where lines are not held.
fn jump(app: &mut App, typed: &str) -> Vec<Effect> {
    let text = typed.trim().trim_matches('"');
    let text = text.strip_prefix('-').unwrap_or(text);
    let now = app.now.to_zoned(app.setup.zone.clone());
    let Ok(at) = time::parse(text, &now) else {
        let text = format!("No time: {typed:?}; 15:02, \"2025-12-27 14:50\" or -5m");
        app.tell(Grade::Warning, text, None);
        return Vec::new();
    };
    let first = app.logs.rings.first();
    let is_held = first
        .and_then(|key| key.instant())
        .is_none_or(|oldest| oldest <= at);
    // With a filter, what is held is not all that passes between two lines that are.
    let is_filtered = !app.logs.rings.sieve().is_open();
    let slot = match first {
        Some(key) => Some(key.source),
        None => app.logs.sources.first().map(|f| f.slot),
    };
    if (is_filtered || !is_held)
        && let Some((slot, file)) = slot.and_then(|slot| Some((slot, oldest_file(app, slot)?)))
        && let Some(followed) = app.logs.source(slot)
    {
        let service = Box::new(followed.id().clone());
        return vec![Effect::FindTime {
            slot,
            service,
            file,
            at,
        }];
    }
    let height = height(app);
    if !app.logs.go_to_time(at, height) {
        app.tell(Grade::Unknown, "No line is held.", None);
        return Vec::new();
    }
    app.focus.set(Pane::Logs);
    if !is_held {
        let text = format!("The lines that are held begin after {}.", app.time(at));
        app.tell(Grade::Unknown, text, None);
    }
    Vec::new()
}

fn context(app: &mut App, by: isize) -> Vec<Effect> {
    sieve(app, |sieve| {
        sieve.before = sieve.before.saturating_add_signed(by).min(100);
        sieve.after = sieve.before;
    })
}

/// Changes which records are shown; the cursor stays where it is, or goes to the nearest record that is shown.
fn sieve(app: &mut App, change: impl FnOnce(&mut Sieve)) -> Vec<Effect> {
    let mut sieve = app.logs.rings.sieve().clone();
    change(&mut sieve);
    let wanted = app.logs.set_sieve(sieve);
    let mut effects = effects_of(app, wanted);
    effects.extend(look_on(app));
    app.logs.seek(Goal::Window);
    effects
}

fn copy(app: &mut App) -> Vec<Effect> {
    if let Some(Overlay::Record { key, .. }) = app.overlay {
        let lines = app.logs.rings.record(key);
        let lines = lines.into_iter().filter_map(|key| app.logs.text(key));
        return vec![Effect::Copy(lines.collect())];
    }
    let Some((from, to)) = app.logs.selected() else {
        return Vec::new();
    };
    let lines: Vec<SafeText> = app
        .logs
        .lines_between(from, to)
        .take(MOST_COPIED + 1)
        .map(|(_, bytes)| app.logs.secrets.safe(bytes))
        .collect();
    if lines.len() > MOST_COPIED {
        app.tell(
            Grade::Warning,
            format!("More than {MOST_COPIED} lines are selected: nothing was copied."),
            Some(SafeText::from_text("save them to a file: S")),
        );
        return Vec::new();
    }
    app.logs.anchor = None;
    if lines.is_empty() {
        return Vec::new();
    }
    vec![Effect::Copy(lines)]
}
