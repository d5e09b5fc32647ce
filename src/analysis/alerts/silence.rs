//! Silences and deploy windows: for a while nobody is told of what is expected. A P0 is never silenced, and what still
//! fires when the silence ends is told then.

use jiff::Timestamp;

use crate::domain::alert::{Alert, AlertBook, AlertSeverity, AlertState, Silence};

/// Whether people are not told of an alert now.
pub fn is_silenced(silences: &[Silence], alert: &Alert, now: Timestamp) -> bool {
    alert.severity < AlertSeverity::P0
        && silences.iter().any(|silence| {
            let is_meant = silence.services.is_empty()
                || alert
                    .service
                    .as_ref()
                    .is_some_and(|id| silence.services.iter().any(|name| id.matches(name)));
            is_meant && silence.since <= now && now < silence.until
        })
}

/// Takes the silenced ones out of what is about to be told, and puts in what was silenced and is no more.
pub(super) fn sift(book: &mut AlertBook, fired: &mut Vec<usize>, now: Timestamp) {
    book.silences.retain(|silence| now < silence.until);
    let silences = book.silences.clone();
    for (at, alert) in book.alerts.iter_mut().enumerate() {
        if alert.state != AlertState::Firing {
            alert.is_silenced = false;
            continue;
        }
        let is_silenced = is_silenced(&silences, alert, now);
        match fired.iter().position(|fired| *fired == at) {
            Some(found) if is_silenced => {
                fired.remove(found);
                alert.is_silenced = true;
            }
            None if !is_silenced && alert.is_silenced && alert.page.is_none() => fired.push(at),
            _ => {}
        }
        alert.is_silenced &= is_silenced;
    }
}

/// Opens a silence; one of the same name is replaced.
pub fn open(book: &mut AlertBook, silence: Silence) {
    book.silences.retain(|old| old.name != silence.name);
    book.silences.push(silence);
}

/// Ends a silence by its name before its time. Returns whether there was one.
pub fn close(book: &mut AlertBook, name: &str) -> bool {
    let before = book.silences.len();
    book.silences.retain(|silence| silence.name != name);
    book.silences.len() < before
}
