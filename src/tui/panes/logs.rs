//! The logs of the chosen services as one log in the order of time: follows the end, or stands still where the cursor
//! is.
//!
//! ```text
//! ╔ 2 logs  backend worker ══ FOLLOW ══ live 312/s · held 48,210 of 1.2 M, oldest 14:32:07 · 0 skipped ╗
//! ║ ● backend live 310/s   ● worker ended (exit 137), silent 4 min                                     ║
//! ║ 15:31:05.113 backend ▏ERROR Invalid JSON response from payment service order=88121  ▸ 12 lines     ║
//! ║ ── recreated 15:00:12  backend 1.4 → 1.5 ───────────────────────────────────────────────────────── ║
//! ║ 15:31:05.204 worker  │info  job finished queue=mail 151 ms                                         ║
//! ╚ /payment  3 of 212  ▁▁▁▁▂█▇█▆█ 15:00–15:31 ════════════════════════════════════════════ UTC+03:00 ═╝
//! ```
//! Title and legend tell the truth: where each source stands, how fast lines come, how many are held in memory of how
//! many that came, how many were skipped because they came faster than they could be taken over. Lines that are not
//! held are read again from their source when the cursor comes near.
//!
//! The window is described by the cursor's line and how many screen rows stand above it, so that new lines,
//! dropped lines and wrapped lines all leave what is being read where it is.

mod draw;
mod export;
mod histogram;
mod look;
mod marks;
mod paging;
mod search;
mod secrets;
mod seek;
mod truth;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::log::{Level, LogNote};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::store::ring::{Key, OpenedFile, Rings};
use crate::tui::format;
use crate::tui::msg::LogPiece;

pub use draw::{draw, key_at};
pub use export::Export;
pub use look::{Look, Stamps};
pub use marks::{Mark, Marks};
pub use search::{FileFinds, Search, pattern};
pub use secrets::Secrets;
pub use seek::{Goal, MOST_PAGES, Seek, Wanted};
pub use truth::{State, Truth};

/// Bytes that one step of a search looks at: a few milliseconds.
const STEP: usize = 4 * 1024 * 1024;
/// So many lines beyond the window are read before the cursor gets there.
const AHEAD: usize = 100;

/// A service whose log is shown.
#[derive(Debug)]
pub struct Followed {
    /// Its number in the rings.
    pub slot: u32,
    /// The service, as it was when its log was opened.
    pub service: Service,
    /// Where its source stands.
    pub truth: Truth,
    /// Whether older or newer lines are being read again.
    is_paging: bool,
    /// Why lines cannot be read again, once that was tried.
    pub no_pages: Option<SafeText>,
    /// Matches in the part of the file that was there when the search began; `None` for a source that is no file.
    pub finds: Option<FileFinds>,
    /// Lines of the file before the first that was read.
    pub lines_before: u64,
    /// The file whose lines before the first that was read are to be counted.
    pub count_due: Option<OpenedFile>,
    /// The line to go to once what is around it was read.
    jump: Option<u64>,
}

impl Followed {
    /// Which service it is.
    pub fn id(&self) -> &ServiceId {
        &self.service.id
    }

    /// Lines cannot be read again, and why.
    pub fn stop_paging(&mut self, why: SafeText) {
        self.is_paging = false;
        self.no_pages = Some(why);
    }
}

/// A part of a log that is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedPage {
    /// Whose log.
    pub slot: u32,
    /// The line beside which lines are missing.
    pub border: Key,
    /// Whether the lines in front of it are wanted, not those behind.
    pub is_backward: bool,
    /// Whether the border itself is not held: the lines from it on are wanted.
    pub is_apart: bool,
}

/// The logs of the chosen services.
#[derive(Debug)]
pub struct LogsPane {
    /// The lines.
    pub rings: Rings,
    /// What hides the secrets in them.
    pub secrets: Secrets,
    /// Whose lines they are.
    pub sources: Vec<Followed>,
    next_slot: u32,
    /// Whether the end is followed.
    pub is_following: bool,
    /// How lines are drawn.
    pub look: Look,
    /// The line under the cursor; `None` while nothing is held.
    pub cursor: Option<Key>,
    /// The line that it stood on when another filter was chosen, until it is known which one is shown there.
    home: Option<Key>,
    /// How many screen rows stand above the cursor.
    pub above: usize,
    /// What is searched for.
    pub search: Option<Search>,
    /// What was searched for before the search that is being typed.
    pub search_before: Option<String>,
    /// Whether the cursor goes to the first match that is found.
    pub is_jump_due: bool,
    /// Lines that were marked.
    pub marks: Marks,
    /// The other end of the selected lines.
    pub anchor: Option<Key>,
    /// Lines that are being taken out.
    pub export: Option<Export>,
    /// What is looked for where nothing is held, while a filter is on.
    pub seek: Option<Seek>,
    /// Whether lines that are held were not searched or filtered yet.
    pub is_looking: bool,
    generation: u32,
}

impl LogsPane {
    /// An empty pane that keeps at most `bytes` of lines.
    pub fn new(bytes: usize, secrets: Secrets) -> Self {
        Self {
            rings: Rings::new(bytes),
            secrets,
            sources: Vec::new(),
            next_slot: 0,
            is_following: true,
            look: Look::default(),
            cursor: None,
            home: None,
            above: 0,
            search: None,
            search_before: None,
            is_jump_due: false,
            marks: Marks::default(),
            anchor: None,
            export: None,
            seek: None,
            is_looking: false,
            generation: 0,
        }
    }

    /// Chooses the services whose logs are shown. Returns the sources to open and the slots to close; a service that is
    /// shown already goes on.
    pub fn choose(&mut self, services: &[Service]) -> (Vec<(u32, Service)>, Vec<u32>) {
        let is_wanted = |f: &Followed| services.iter().any(|s| s.id == f.service.id);
        let closed: Vec<u32> = self
            .sources
            .iter()
            .filter(|f| !is_wanted(f))
            .map(|f| f.slot)
            .collect();
        let is_fresh = closed.len() == self.sources.len();
        for slot in &closed {
            self.rings.remove(*slot);
        }
        self.sources.retain(|f| !closed.contains(&f.slot));
        let mut opened = Vec::new();
        for service in services {
            if self.sources.iter().any(|f| f.service.id == service.id) {
                continue;
            }
            opened.push((self.add(service.clone()), service.clone()));
        }
        if is_fresh {
            // Another log: what was being read is not there any more.
            self.marks.forget_lines();
            self.anchor = None;
            self.look.column = 0;
            self.is_following = true;
        }
        self.settle();
        (opened, closed)
    }

    /// Opens the log of a service again from the start. Returns the slot to close and the one to open.
    pub fn reopen(&mut self, slot: u32) -> Option<(u32, Service)> {
        let at = self.sources.iter().position(|f| f.slot == slot)?;
        let service = self.sources.remove(at).service;
        self.rings.remove(slot);
        let new = self.add(service.clone());
        self.settle();
        Some((new, service))
    }

    fn add(&mut self, service: Service) -> u32 {
        let slot = self.next_slot;
        self.next_slot += 1;
        self.rings.add(slot);
        let at = self.sources.partition_point(|f| f.service.id < service.id);
        self.sources.insert(
            at,
            Followed {
                slot,
                service,
                truth: Truth::default(),
                is_paging: false,
                no_pages: None,
                finds: None,
                lines_before: 0,
                count_due: None,
                jump: None,
            },
        );
        slot
    }

    /// The source of a slot; `None` for one that was closed.
    pub fn source(&self, slot: u32) -> Option<&Followed> {
        self.sources.iter().find(|f| f.slot == slot)
    }

    /// The source of a slot, to change.
    pub fn source_mut(&mut self, slot: u32) -> Option<&mut Followed> {
        self.sources.iter_mut().find(|f| f.slot == slot)
    }

    /// Takes pieces of a log over. Returns the seams among them.
    pub fn push(&mut self, slot: u32, pieces: Vec<LogPiece>, now: Timestamp) -> Vec<LogNote> {
        let mut notes = Vec::new();
        let Some(followed) = self.sources.iter_mut().find(|f| f.slot == slot) else {
            return notes;
        };
        let Some(ring) = self.rings.ring_mut(slot) else {
            return notes;
        };
        let truth = &mut followed.truth;
        truth.begin(now);
        for piece in pieces {
            match piece {
                LogPiece::Block(block) => {
                    truth.lines(&block, now);
                    ring.push(block);
                }
                LogPiece::Note(note) => {
                    truth.note(&note.note, now);
                    notes.push(note.note.clone());
                    ring.push_note(note);
                }
                LogPiece::Opened(file) => {
                    let is_first = ring.is_empty();
                    followed.count_due = file.clone().filter(|f| is_first && f.position.offset > 0);
                    ring.opened(file);
                }
                LogPiece::Skipped(lines) => truth.skipped += lines,
            }
        }
        self.rings.settle();
        self.settle();
        notes
    }

    /// Looks at lines that were not searched or filtered yet. Returns whether there is more to look at.
    pub fn look_on(&mut self) -> bool {
        let around = self.home.or(self.cursor);
        self.is_looking = self.rings.look(around, STEP);
        if let Some(home) = self.home {
            self.cursor = self.rings.near(home);
            let is_shown = self.cursor.is_some();
            self.home = self.home.filter(|_| self.is_looking || !is_shown);
            self.settle();
        } else if !self.rings.sieve().is_open() {
            self.settle();
        }
        self.is_looking
    }

    /// Lines a second over the last seconds, of all sources.
    pub fn rate(&self, now: Timestamp) -> u64 {
        self.sources.iter().map(|f| f.truth.rate(now)).sum()
    }

    /// Whether the title will change though nothing comes: a rate that falls, an age under a minute.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        self.look.stamps == Stamps::Relative || self.sources.iter().any(|f| f.truth.is_busy(now))
    }

    /// Keeps the cursor on a line that is shown, and at the end while that is followed.
    pub fn settle(&mut self) {
        if self.is_following {
            self.cursor = self.rings.last();
            self.above = usize::MAX;
            self.rings.pin(None);
            return;
        }
        self.cursor = match self.cursor {
            Some(key) => self.rings.near(key),
            None => self.rings.last(),
        };
        // Where nothing is shown yet, what is looked for stands in front of what is held.
        let sought = self.seek.map(|_| Key::FIRST);
        self.rings.pin(self.cursor.or(sought));
    }

    /// Moves the cursor by so many lines. Moving up stands still; reaching the end does not follow by itself. Returns by
    /// how many it did not move: there are no more, or with a filter lines in between that nobody has looked at.
    pub fn step(&mut self, by: i64, height: usize) -> i64 {
        self.stand_still(height);
        let Some(mut key) = self.cursor else {
            return by;
        };
        let edges = self.edges(key, by > 0);
        let mut moved = 0;
        for _ in 0..by.unsigned_abs() {
            let Some(next) = self.beyond(key, &edges, by > 0) else {
                break;
            };
            key = next;
            moved += 1;
        }
        let moved = if by > 0 { moved } else { -moved };
        self.above = self
            .above
            .saturating_add_signed(moved)
            .min(height.saturating_sub(1));
        self.cursor = Some(key);
        self.rings.pin(self.cursor);
        by - moved as i64
    }

    /// Moves the window by so many lines; the cursor keeps its row as long as the window is full. Returns by how many it
    /// did not move.
    pub fn scroll(&mut self, by: i64, height: usize) -> i64 {
        self.stand_still(height);
        let above = self.above;
        let left = self.step(by, height);
        self.above = above;
        self.fill(height);
        left
    }

    /// Puts the cursor on a line that stands on that row of the window, and leaves the window where it is.
    pub fn point(&mut self, at: Key, row: usize) {
        self.home = None;
        self.is_following = false;
        self.cursor = Some(at);
        self.above = row;
        self.rings.pin(self.cursor);
    }

    /// Puts the cursor on a line, in the middle of the window unless it is near already.
    pub fn go_to(&mut self, to: Key, height: usize) {
        self.stand_still(height);
        self.rings.open(to);
        self.above = self
            .distance(to, height)
            .and_then(|by| self.above.checked_add_signed(by))
            .filter(|above| *above < height)
            .unwrap_or(height / 2);
        self.cursor = Some(to);
        self.rings.pin(self.cursor);
    }

    /// How many shown lines lie between the cursor and another one, if that is less than a window.
    fn distance(&self, to: Key, height: usize) -> Option<isize> {
        let from = self.cursor?;
        let mut key = from;
        for n in 0..height as isize {
            if key == to {
                return Some(if to > from { n } else { -n });
            }
            key = if to > from {
                self.rings.next(key)?
            } else {
                self.rings.previous(key)?
            };
        }
        None
    }

    /// To the first line that is held.
    pub fn go_top(&mut self, height: usize) {
        self.stand_still(height);
        self.cursor = self.rings.first();
        self.above = 0;
        self.rings.pin(self.cursor);
    }

    /// Follows the end again.
    pub fn follow(&mut self) {
        self.home = None;
        self.is_following = true;
        self.settle();
    }

    /// Stops following where the window is.
    pub fn stand_still(&mut self, height: usize) {
        self.home = None;
        if !self.is_following {
            return;
        }
        self.is_following = false;
        let mut above = 0;
        let mut key = self.cursor;
        while above + 1 < height
            && let Some(previous) = key.and_then(|key| self.rings.previous(key))
        {
            key = Some(previous);
            above += 1;
        }
        self.above = above;
        self.rings.pin(self.cursor);
    }

    /// To the next record at least so loud after the cursor, or the one before it. Returns whether there was one.
    pub fn go_to_level(&mut self, level: Level, is_forward: bool, height: usize) -> bool {
        let Some(cursor) = self.cursor else {
            return false;
        };
        // From the followed end, "next" has nothing ahead: the last one is what is meant.
        let found = if self.is_following {
            self.rings
                .head(cursor)
                .filter(|head| self.is_loud(*head, level))
                .or_else(|| self.rings.next_loud(cursor, level, false))
        } else {
            self.rings.next_loud(cursor, level, is_forward)
        };
        match found {
            Some(key) => {
                self.go_to(key, height);
                true
            }
            None => false,
        }
    }

    fn is_loud(&self, key: Key, level: Level) -> bool {
        self.rings
            .line(key)
            .is_some_and(|line| line.level >= Some(level))
    }

    /// To the first line at or after an instant. Returns whether anything is held.
    pub fn go_to_time(&mut self, at: Timestamp, height: usize) -> bool {
        match self.rings.near(Key::at(at)) {
            Some(key) => {
                self.go_to(key, height);
                true
            }
            None => false,
        }
    }

    /// Whether older lines of a source are being read.
    pub fn is_paging(&self) -> bool {
        self.sources.iter().any(|f| f.is_paging)
    }

    /// Lines that are held, and that came, over all sources; seams not counted.
    pub fn counts(&self) -> (u64, u64) {
        let before: u64 = self.sources.iter().map(|f| f.lines_before).sum();
        self.rings
            .iter()
            .fold((0, before), |(held, received), ring| {
                (held + ring.held(), received + ring.received())
            })
    }

    /// Lines that came faster than they could be taken over.
    pub fn skipped(&self) -> u64 {
        self.sources.iter().map(|f| f.truth.skipped).sum()
    }

    /// The newest errors of a service among the lines that are held, the newest first; `None` where its log is not open.
    pub fn newest_errors(
        &self,
        id: &ServiceId,
        most: usize,
    ) -> Option<Vec<(Option<Timestamp>, SafeText)>> {
        let slot = self.sources.iter().find(|f| f.id() == id)?.slot;
        let before = |key: Key| self.rings.next_loud(key, Level::Error, false);
        let all = std::iter::successors(before(Key::LAST), |key| before(*key));
        let own = all.filter(|key| key.source == slot);
        let found = own.filter_map(|key| Some((key.instant(), self.text(key)?)));
        Some(found.take(most).collect())
    }

    /// The text under the cursor, safe to show and to copy.
    pub fn line_under_cursor(&self) -> Option<SafeText> {
        self.text(self.cursor?)
    }

    /// The text of a line; `None` for a seam.
    pub fn text(&self, key: Key) -> Option<SafeText> {
        let line = self.rings.line(key)?;
        line.note.is_none().then(|| self.secrets.safe(line.bytes))
    }

    /// The text of a line to be written down: without its secrets, even while they are shown.
    pub fn clean_text(&self, key: Key) -> Option<SafeText> {
        let line = self.rings.line(key)?;
        line.note.is_none().then(|| self.secrets.clean(line.bytes))
    }

    /// The selected lines from first to last; the line under the cursor where none are selected.
    pub fn selected(&self) -> Option<(Key, Key)> {
        let cursor = self.cursor?;
        let anchor = self.anchor.unwrap_or(cursor);
        Some((cursor.min(anchor), cursor.max(anchor)))
    }

    /// Whether a line is among the selected ones.
    pub fn is_selected(&self, key: Key) -> bool {
        self.anchor.is_some()
            && self
                .selected()
                .is_some_and(|(from, to)| key >= from && key <= to)
    }

    /// The lines that are shown from one to another, seams left out.
    pub fn lines_between(&self, from: Key, to: Key) -> impl Iterator<Item = (Key, &[u8])> {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let key = next.filter(|key| *key <= to)?;
            next = self.rings.next(key);
            Some(key)
        })
        .filter_map(|key| {
            let line = self.rings.line(key)?;
            line.note.is_none().then_some((key, line.bytes))
        })
    }

    /// Rows that the legend of the sources takes of a pane's height.
    pub fn legend_rows(&self, height: usize) -> usize {
        usize::from(self.sources.len() > 1 && height >= 5)
    }

    /// Rows that are left for lines.
    pub fn body_height(&self, height: usize) -> usize {
        height - self.legend_rows(height)
    }
}

/// The rate is the mean of the last so many seconds.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The shortest name of a service that tells it from the others beside it.
pub fn short_name(id: &ServiceId, all: &[Followed]) -> String {
    let is_unique = all
        .iter()
        .filter(|f| f.id().name == id.name)
        .take(2)
        .count()
        < 2;
    let name = if is_unique {
        id.name.clone()
    } else {
        id.to_string()
    };
    format::cut(SafeText::from_text(&name).as_str(), 40)
}

#[cfg(test)]
mod tests;
