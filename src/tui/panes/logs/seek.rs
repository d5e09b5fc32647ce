//! What passes the filter and is not held: it is looked for when the cursor wants to go on to it, and not before.
//!
//! A file is looked through in place; a source that is none is read page by page. What was found stands in its place at
//! once, the cursor goes on as far as was asked for, and any key ends the search and keeps what it has found.

use super::{LogsPane, WantedPage};
use crate::store::ring::{Key, Landing, Sieve, Sifted, Unlooked};

/// So many pages of a source that is no file are read for one key without a line that passes.
pub const MOST_PAGES: u32 = 10;

/// So many parts of files are looked through to fill a window: gaps that another filter has left are short.
const MOST_PARTS: u32 = 100;

/// Where the cursor is to get to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Nowhere: the window is to be full.
    Window,
    /// So many lines further.
    Lines(i64),
    /// To the first line at or behind this number of a source.
    Line(u32, u64),
}

/// A search for lines that pass the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seek {
    /// Where to.
    pub goal: Goal,
    /// Through which filter.
    generation: u32,
    /// Whether no line was shown when it began: the first that is found is one line further.
    is_from_nothing: bool,
    /// How often a source was asked that is no file, or for a window.
    pub asked: u32,
}

/// What a search needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// A part of a file is to be looked through, from its end or from its start.
    Sift {
        /// Whose log.
        slot: u32,
        /// Which part.
        part: Unlooked,
        /// From its end.
        is_backward: bool,
    },
    /// A page is to be read.
    Page(WantedPage),
    /// No more is wanted of the source of that slot.
    Nothing(u32),
    /// No more pages are read for one key.
    Enough,
}

impl LogsPane {
    /// Looks for what is not held until the cursor is where it is to get to; without a filter nothing is looked for.
    pub fn seek(&mut self, goal: Goal) {
        if !self.rings.sieve().is_open() {
            self.seek = Some(Seek {
                goal,
                generation: self.rings.generation(),
                is_from_nothing: self.cursor.is_none(),
                asked: 0,
            });
            if self.cursor.is_none() && !self.is_following {
                self.rings.pin(Some(Key::FIRST));
            }
        }
    }

    /// Another key came while this was looked for: if it wants more of the same, both are looked for, else the search is
    /// ended. Returns the sources that are not to be read any more.
    pub fn seek_again(&mut self, sought: Option<Seek>) -> Vec<Wanted> {
        let Some(sought) = sought else {
            return Vec::new();
        };
        let now = self
            .seek
            .filter(|seek| seek.generation == sought.generation);
        let goal = now.and_then(|seek| match (sought.goal, seek.goal) {
            (Goal::Lines(a), Goal::Lines(b)) if (a < 0) == (b < 0) => Some(Goal::Lines(a + b)),
            (a, b) => (a == b).then_some(a),
        });
        if let Some(goal) = goal {
            self.seek = Some(Seek { goal, ..sought });
            return Vec::new();
        }
        self.stop_reading()
    }

    /// Nothing of what is being read is wanted any more.
    fn stop_reading(&mut self) -> Vec<Wanted> {
        let reading = self.sources.iter_mut().filter(|f| f.is_paging);
        reading
            .map(|followed| {
                followed.is_paging = false;
                Wanted::Nothing(followed.slot)
            })
            .collect()
    }

    /// Shows other records; what is held is to be looked at ([`LogsPane::look_on`]). Returns the sources that are not to be
    /// read any more: they were asked for those before.
    pub fn set_sieve(&mut self, sieve: Sieve) -> Vec<Wanted> {
        self.rings.set_sieve(sieve);
        self.seek = None;
        self.home = self.home.or(self.cursor).filter(|_| !self.is_following);
        self.stop_reading()
    }

    /// Lines of a file that pass the filter were found.
    pub fn put_sifted(&mut self, slot: u32, sifted: &Sifted, is_over: bool) {
        let is_current = sifted.generation() == self.rings.generation();
        let Some(followed) = self.sources.iter_mut().find(|f| f.slot == slot) else {
            return;
        };
        // Of a search that was ended, what was on its way is taken over too; it says nothing of the one that runs.
        followed.is_paging &= !(is_over && is_current);
        let Some(ring) = self.rings.ring_mut(slot).filter(|_| is_current) else {
            return;
        };
        ring.insert_sifted(sifted);
        if let Some(Goal::Line(at, number)) = self.seek.map(|seek| seek.goal)
            && at == slot
        {
            // What was found for a place far away must not give way to what is around the cursor.
            let found = ring.key_from(number);
            self.rings.pin(found);
        }
        self.rings.settle();
        self.settle();
    }

    /// Goes on with the search: the cursor as far as lines are held, and what is to be read for the rest. Everything
    /// that is held was looked at.
    pub fn seek_on(&mut self, height: usize) -> Vec<Wanted> {
        let Some(seek) = self.seek else {
            return Vec::new();
        };
        match seek.goal {
            Goal::Line(slot, number) => self.land(slot, number, height),
            Goal::Window => {
                let (mut parts, is_forward) = self.missing_in_window(height);
                // Whoever only chose a filter did not ask an engine for more.
                parts.retain(|part| part.file.is_some());
                if parts.is_empty() || seek.asked >= MOST_PARTS {
                    return self.end_seeking(height);
                }
                let wanted = self.want(parts, !is_forward);
                if let Some(seek) = self.seek.as_mut().filter(|_| !wanted.is_empty()) {
                    seek.asked += 1;
                }
                wanted
            }
            Goal::Lines(by) => {
                // A seam that came meanwhile is nothing that was looked for.
                let line = self.cursor.and_then(|key| self.rings.line(key));
                let is_found = seek.is_from_nothing && line.is_some_and(|line| line.note.is_none());
                let by = by - if is_found { by.signum() } else { 0 };
                self.fill(height);
                let left = self.step(by, height);
                let mut parts = self.missing(self.cursor, left > 0);
                if left == 0 || parts.is_empty() {
                    return self.end_seeking(height);
                }
                parts.retain(|part| part.file.is_some() || seek.asked < MOST_PAGES);
                if parts.is_empty() {
                    let mut wanted = self.end_seeking(height);
                    wanted.push(Wanted::Enough);
                    return wanted;
                }
                self.seek = Some(Seek {
                    goal: Goal::Lines(left),
                    is_from_nothing: self.cursor.is_none(),
                    ..seek
                });
                self.want(parts, left < 0)
            }
        }
    }

    /// The cursor is there, or cannot get any further.
    fn end_seeking(&mut self, height: usize) -> Vec<Wanted> {
        self.seek = None;
        self.fill(height);
        self.stop_reading()
    }

    fn land(&mut self, slot: u32, number: u64, height: usize) -> Vec<Wanted> {
        let found = match self.rings.landing(slot, number) {
            Landing::Unlooked(part) if self.can_page(slot) => return self.want(vec![part], false),
            Landing::Line(key) => Some(key),
            Landing::Unlooked(_) | Landing::Nowhere => self.rings.last(),
        };
        if let Some(key) = found {
            self.go_to(key, height);
            self.above = 0;
        }
        self.end_seeking(height)
    }

    fn can_page(&self, slot: u32) -> bool {
        self.source(slot).is_some_and(|f| f.no_pages.is_none())
    }

    fn want(&mut self, parts: Vec<Unlooked>, is_backward: bool) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for part in parts {
            let slot = part.beside.source;
            let is_file = part.file.is_some();
            let Some(followed) = self.sources.iter_mut().find(|f| f.slot == slot) else {
                continue;
            };
            if std::mem::replace(&mut followed.is_paging, true) {
                continue;
            }
            wanted.push(if is_file {
                Wanted::Sift {
                    slot,
                    part,
                    is_backward,
                }
            } else {
                Wanted::Page(WantedPage {
                    slot,
                    border: part.beside,
                    is_backward,
                    is_apart: false,
                })
            });
        }
        wanted
    }

    /// A page was read, perhaps for the search.
    pub(super) fn count_page(&mut self) {
        if let Some(seek) = &mut self.seek {
            seek.asked += 1;
        }
    }

    /// What stands above the cursor and was not looked at, up to the next line that is shown.
    pub fn missing_above(&self) -> Vec<Unlooked> {
        self.missing(self.cursor, false)
    }

    /// What stands between a line and the next one that is shown, or the end of the log, and was not looked at.
    pub(super) fn missing(&self, from: Option<Key>, is_forward: bool) -> Vec<Unlooked> {
        if self.rings.sieve().is_open() {
            return Vec::new();
        }
        let key = from.unwrap_or(Key::LAST);
        let next = from.and_then(|key| match is_forward {
            true => self.rings.next(key),
            false => self.rings.previous(key),
        });
        self.reachable(key, is_forward)
            .filter(|part| match next {
                None => true,
                Some(next) if is_forward => part.beside < next,
                Some(next) => part.beside > next && part.beside <= key,
            })
            .collect()
    }

    /// Of each source what was not looked at nearest to a line, as far as it can be read: forwards files only.
    fn reachable(&self, key: Key, is_forward: bool) -> impl Iterator<Item = Unlooked> {
        self.rings
            .unlooked(key, is_forward)
            .filter(|part| self.can_page(part.beside.source))
            .filter(move |part| !is_forward || part.file.is_some())
    }

    /// Lines beyond which a step would leave out what nobody has looked at: the nearest of each source.
    pub(super) fn edges(&self, key: Key, is_forward: bool) -> Vec<Key> {
        if self.rings.sieve().is_open() {
            return Vec::new();
        }
        self.reachable(key, is_forward)
            .map(|part| part.beside)
            .filter(|beside| is_forward || *beside <= key)
            .collect()
    }

    /// What is missing between the lines of the window, or above them where it is not full; whether it stands below a line.
    fn missing_in_window(&self, height: usize) -> (Vec<Unlooked>, bool) {
        if let Some(cursor) = self.cursor {
            let (last, is_full) = self.walk(cursor, height.saturating_sub(1), true);
            let parts = self.missing(Some(last), true);
            if !is_full && !parts.is_empty() {
                return (parts, true);
            }
        }
        let below = self.below(height);
        let top = self.cursor.map(|cursor| {
            let above = height.saturating_sub(1 + below);
            self.walk(cursor, above, false)
        });
        match top {
            Some((_, true)) => (Vec::new(), false),
            top => (self.missing(top.map(|(key, _)| key), false), false),
        }
    }

    /// Goes so many lines on, as far as nothing is missing; the line, and whether it is that far away.
    fn walk(&self, from: Key, by: usize, is_forward: bool) -> (Key, bool) {
        let edges = self.edges(from, is_forward);
        let mut key = from;
        for _ in 0..by {
            match self.beyond(key, &edges, is_forward) {
                Some(next) => key = next,
                None => return (key, false),
            }
        }
        (key, true)
    }

    /// The line that is shown next to one, unless it stands beyond an edge.
    pub(super) fn beyond(&self, key: Key, edges: &[Key], is_forward: bool) -> Option<Key> {
        let next = match is_forward {
            true => self.rings.next(key),
            false => self.rings.previous(key),
        }?;
        let is_between = |edge: &Key| match is_forward {
            true => *edge < next,
            false => *edge > next,
        };
        (!edges.iter().any(is_between)).then_some(next)
    }

    fn below(&self, height: usize) -> usize {
        let below = std::iter::successors(self.cursor, |key| self.rings.next(*key)).skip(1);
        below.take(height.saturating_sub(1)).count()
    }

    /// Draws lines above the cursor where there are not enough below it.
    pub(super) fn fill(&mut self, height: usize) {
        if !self.is_following {
            let last = height.saturating_sub(1);
            self.above = self.above.max(last - self.below(height)).min(last);
        }
    }
}
