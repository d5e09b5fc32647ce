//! Lines that are taken out of the pane, a piece at a time, so that keys are answered in between.

use super::{LogsPane, short_name};
use crate::store::ring::Key;
use crate::tui::outlet::{Outlet, Piece};

/// Bytes of one piece: a few milliseconds.
const PIECE: usize = 1024 * 1024;

/// What is shown, as far as it decides which lines are taken.
#[derive(Debug, PartialEq, Eq)]
struct View {
    sieve: String,
    is_folding: bool,
    slots: Vec<u32>,
}

impl View {
    fn of(pane: &LogsPane) -> Self {
        Self {
            sieve: format!("{:?}", pane.rings.sieve()),
            is_folding: pane.rings.is_folding(),
            slots: pane.sources.iter().map(|f| f.slot).collect(),
        }
    }
}

/// How far lines were taken out.
#[derive(Debug)]
pub struct Export {
    /// Where they go.
    pub to: Outlet,
    /// The first line that was not taken yet, and the last that will be; `None` for everything that is shown.
    span: Option<(Key, Key)>,
    view: View,
    /// What stands in front of the lines of each source.
    names: Vec<(u32, String)>,
    cursor: Option<Key>,
    is_begun: bool,
    /// Lines that were taken.
    pub lines: u64,
    /// The number of the cursor's line among them, from 1; that of the last one in front of it where it is not among
    /// them, 0 for none.
    pub cursor_line: u64,
    /// Whether the last piece was taken.
    pub is_over: bool,
    /// Whether secrets were left out.
    pub has_hidden: bool,
    /// Whether lines that were to be taken were dropped from memory before.
    pub is_torn: bool,
    /// Whether lines have to be looked at by the filter first.
    pub is_waiting: bool,
}

impl Export {
    /// Begins with the selected lines or, where none are, with everything that is shown.
    pub fn new(to: Outlet, pane: &LogsPane) -> Self {
        let names: Vec<(u32, String)> = if pane.sources.len() > 1 {
            let name = |id| short_name(id, &pane.sources);
            pane.sources
                .iter()
                .map(|f| (f.slot, name(f.id())))
                .collect()
        } else {
            Vec::new()
        };
        let width = names.iter().map(|(_, name)| name.chars().count()).max();
        let width = width.unwrap_or(0);
        Self {
            to,
            span: pane.anchor.and_then(|_| pane.selected()),
            view: View::of(pane),
            names: names
                .into_iter()
                .map(|(slot, name)| (slot, format!("{name:<width$}  ")))
                .collect(),
            cursor: pane.cursor,
            is_begun: false,
            lines: 0,
            cursor_line: 0,
            is_over: false,
            has_hidden: false,
            is_torn: false,
            is_waiting: false,
        }
    }

    /// Whether other lines are shown now than at the beginning: what follows would not fit to what was taken.
    pub fn is_outdated(&self, pane: &LogsPane) -> bool {
        self.view != View::of(pane)
    }

    /// The next piece; `None` when there is no line at all.
    pub fn piece(&mut self, pane: &LogsPane) -> Option<Piece> {
        let everything = || Some((pane.rings.first()?, pane.rings.last()?));
        let (from, to) = self.span.or_else(everything)?;
        self.is_torn |= pane.rings.line(from).is_none();
        let mut bytes = Vec::with_capacity(PIECE / 8);
        let is_wanted = |key: &Key| *key >= from && *key <= to;
        let mut next = pane.rings.near(from).filter(is_wanted);
        while let Some(key) = next
            && bytes.len() < PIECE
        {
            if let Some(line) = pane.rings.line(key)
                && line.note.is_none()
            {
                if let Some((_, name)) = self.names.iter().find(|(slot, _)| *slot == key.source) {
                    bytes.extend_from_slice(name.as_bytes());
                }
                let hidden = pane.secrets.hidden(line.bytes);
                self.has_hidden |= hidden.is_some();
                bytes.extend_from_slice(hidden.as_deref().map_or(line.bytes, str::as_bytes));
                bytes.push(b'\n');
                self.lines += 1;
                if self.cursor.is_some_and(|cursor| key <= cursor) {
                    self.cursor_line = self.lines;
                }
            }
            next = pane.rings.next(key).filter(is_wanted);
        }
        self.is_over = next.is_none();
        self.span = Some((next.unwrap_or(to), to));
        if self.is_over && self.lines == 0 {
            return None;
        }
        Some(Piece {
            to: self.to.clone(),
            bytes,
            is_first: !std::mem::replace(&mut self.is_begun, true),
            is_last: self.is_over,
        })
    }
}
