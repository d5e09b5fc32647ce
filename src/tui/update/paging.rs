//! Goes to lines of the logs that are not held: what has to be read or looked for is asked for.

use crate::domain::log::{LogPosition, PageBorder};
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::store::ring::OpenedFile;
use crate::tui::app::App;
use crate::tui::effect::{Effect, FileSift, TaskKey};
use crate::tui::layout::Pane;
use crate::tui::panes::logs::{Goal, MOST_PAGES, Seek, Wanted, WantedPage};

use super::logs::height;

/// More lines than anyone goes up by.
const MOST_LINES: i64 = 1_000_000;

/// Goes to a line by its number; lines around it are read where it is not held.
pub(super) fn go_to_number(app: &mut App, slot: u32, number: u64) -> Option<Effect> {
    app.focus.set(Pane::Logs);
    let height = height(app);
    let wanted = app.logs.go_to_number(slot, number, height)?;
    let ring = app.logs.rings.ring(slot)?;
    let file = ring.file(number)?.clone();
    let border = PageBorder::Place(LogPosition {
        offset: file.place(number),
        ..file.position.clone()
    });
    let service = Box::new(app.logs.source(slot)?.service.clone());
    Some(Effect::ReadPage {
        wanted,
        service,
        border,
        file: Some(file),
    })
}

/// To the first line; of a file to its very first, whether it is held or not.
pub(super) fn go_top(app: &mut App) -> Vec<Effect> {
    let height = height(app);
    if let [only] = app.logs.sources.as_slice()
        && let Some(file) = oldest_file(app, only.slot)
    {
        let slot = only.slot;
        return go_to_place(app, slot, file.number(0)).into_iter().collect();
    }
    app.logs.go_top(height);
    // Of several sources, and of one that is no file, as far as it is looked for at once.
    app.logs.seek(Goal::Lines(-MOST_LINES));
    Vec::new()
}

/// The file that the oldest line of a source stands in.
pub(super) fn oldest_file(app: &App, slot: u32) -> Option<OpenedFile> {
    let ring = app.logs.rings.ring(slot)?;
    ring.file(ring.first_number()?).cloned()
}

/// Goes to a line of a file; with a filter, to the first that passes from there on.
pub(super) fn go_to_place(app: &mut App, slot: u32, number: u64) -> Option<Effect> {
    if app.logs.rings.sieve().is_open() {
        return go_to_number(app, slot, number);
    }
    app.focus.set(Pane::Logs);
    let height = height(app);
    app.logs.stand_still(height);
    app.logs.seek(Goal::Line(slot, number));
    None
}

/// Ends the search for lines that pass the filter which was under way before a key, unless the key wants the same.
pub(super) fn seek_again(app: &mut App, sought: Option<Seek>) -> Vec<Effect> {
    let wanted = app.logs.seek_again(sought);
    effects_of(app, wanted)
}

/// Lines that the cursor comes near to and that are not held are read again; with a filter, looked for when the cursor
/// wants to go on to them.
pub(super) fn keep_paging(app: &mut App) -> Vec<Effect> {
    if !app.is_visible(Pane::Logs) {
        return Vec::new();
    }
    let height = height(app);
    if let Some(wanted) = app.logs.wanted_page(height) {
        return read_page(app, wanted).into_iter().collect();
    }
    if app.logs.is_looking {
        return Vec::new();
    }
    let wanted = app.logs.seek_on(height);
    effects_of(app, wanted)
}

pub(super) fn effects_of(app: &mut App, wanted: Vec<Wanted>) -> Vec<Effect> {
    wanted
        .into_iter()
        .filter_map(|wanted| match wanted {
            Wanted::Nothing(slot) => Some(Effect::Cancel(TaskKey::Page(slot))),
            Wanted::Enough => {
                let text = format!("{MOST_PAGES} pages of older lines were read; again reads on.");
                app.tell(Grade::Unknown, text, None);
                None
            }
            Wanted::Page(wanted) => read_page(app, wanted),
            Wanted::Sift {
                slot,
                part,
                is_backward,
            } => {
                let part = part.file?;
                Some(Effect::Sift {
                    slot,
                    service: Box::new(app.logs.source(slot)?.id().clone()),
                    sift: FileSift {
                        part,
                        is_backward,
                        sieve: app.logs.rings.sieve().clone(),
                        generation: app.logs.rings.generation(),
                    },
                })
            }
        })
        .collect()
}

fn read_page(app: &mut App, wanted: WantedPage) -> Option<Effect> {
    let followed = app.logs.source(wanted.slot)?;
    let ring = app.logs.rings.ring(wanted.slot)?;
    let border = ring.border(wanted.border.number, followed.truth.skipped);
    let file = ring.file(wanted.border.number).cloned();
    let service = Box::new(followed.service.clone());
    let Some(border) = border else {
        let why = SafeText::from_text("these lines have no time to ask for");
        app.logs.source_mut(wanted.slot)?.stop_paging(why);
        return None;
    };
    // A place in a file is that of a line that is held: forwards it comes once more, and is left out.
    let border = match border {
        PageBorder::Time { .. } if !wanted.is_backward => {
            let why = SafeText::from_text("go on to the newest lines with G");
            app.logs.source_mut(wanted.slot)?.stop_paging(why);
            return None;
        }
        border => border,
    };
    Some(Effect::ReadPage {
        wanted,
        service,
        border,
        file,
    })
}

#[cfg(test)]
mod tests;
