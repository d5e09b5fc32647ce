//! From a key to an action.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};

use crate::domain::signal::Grade;
use crate::tui::action::Place;
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::keymap::{Chord, Resolution};
use crate::tui::overlays::Overlay;

use super::{act, logs, paging};

/// A key was pressed.
pub(super) fn press(app: &mut App, event: &KeyEvent) -> Vec<Effect> {
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    app.flash = None;
    let place = app.place();
    let chord = Chord::from_event(event);
    app.typed.push(chord);
    let sought = app.logs.seek.take();
    let performed = match resolve(app, place) {
        Resolution::Action(action) => {
            app.typed.clear();
            act::perform(app, action)
        }
        Resolution::Pending => Vec::new(),
        Resolution::Unbound => {
            app.typed.clear();
            text(app, place, event)
        }
    };
    // Whatever the key means: a search that nobody waits for any more is ended.
    let mut effects = paging::seek_again(app, sought);
    effects.extend(performed);
    effects
}

/// What was typed so far means; where the raw letter means nothing, the key it stands on may. Names that are
/// typed to confirm a plan, and prompts, are text and are never mapped.
fn resolve(app: &mut App, place: Place) -> Resolution {
    let keymap = &app.setup.keymap;
    let found = keymap.resolve(&app.typed, place);
    if found != Resolution::Unbound || place.is_text() || place == Place::Confirm {
        return found;
    }
    let Some(last) = app.typed.last().copied().and_then(Chord::to_latin) else {
        return found;
    };
    let mut mapped = app.typed.clone();
    mapped.pop();
    mapped.push(last);
    let found = keymap.resolve(&mapped, place);
    if found == Resolution::Pending {
        app.typed = mapped;
    }
    found
}

/// A key that means no action can be text.
fn text(app: &mut App, place: Place, event: &KeyEvent) -> Vec<Effect> {
    match (place, &mut app.overlay) {
        (Place::Prompt, Some(Overlay::Prompt(prompt))) => {
            prompt.text.input(*event);
            let (purpose, line) = (prompt.purpose, prompt.line().to_owned());
            return logs::typing(app, purpose, &line);
        }
        (Place::Notes, Some(Overlay::Notes(notes))) => {
            notes.text.input(*event);
        }
        (Place::Confirm, _) => {
            let Some(operating) = &mut app.operating else {
                return Vec::new();
            };
            if operating.names_to_type().is_none() {
                return Vec::new();
            }
            match event.code {
                KeyCode::Backspace => {
                    operating.typed.pop();
                }
                _ => {
                    if let Some(c) = Chord::from_event(event).text()
                        && operating.typed.len() < 200
                    {
                        operating.typed.push(c);
                    }
                }
            }
        }
        _ => {}
    }
    Vec::new()
}

/// Text was pasted. A name that confirms a plan has to be typed: pasting it proves nothing.
pub(super) fn paste(app: &mut App, text: &str) -> Vec<Effect> {
    app.flash = None;
    match &mut app.overlay {
        Some(Overlay::Prompt(prompt)) => {
            prompt.paste(text);
            let (purpose, line) = (prompt.purpose, prompt.line().to_owned());
            return logs::typing(app, purpose, &line);
        }
        Some(Overlay::Notes(notes)) => notes.paste(text),
        Some(Overlay::Confirm) => {
            app.tell(
                Grade::Warning,
                "Pasting is refused here: type the name.",
                None,
            );
        }
        // Pasted text must never act as keys.
        _ => app.tell(Grade::Unknown, "Pasted text was ignored.", None),
    }
    Vec::new()
}
