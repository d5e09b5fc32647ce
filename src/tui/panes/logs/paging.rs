//! Lines that are not held: they are read again when the cursor comes near, and found in the file they stand in.

use super::{AHEAD, Followed, LogsPane, Search, WantedPage};
use crate::store::ring::{Key, PreparedPage, Totals};
use crate::tui::msg::Problem;

impl LogsPane {
    /// Searches for a text, or for nothing.
    pub fn set_search(&mut self, text: Option<&str>) {
        self.generation += 1;
        for followed in &mut self.sources {
            followed.finds = None;
        }
        self.is_jump_due = false;
        self.search = text.map(|text| Search::new(text, self.generation));
        self.rings
            .search(self.search.as_ref().map(|search| search.finder.clone()));
    }

    /// Which search is the last one; what was found for an older one does not hold.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Lines that should be read again because the cursor comes near to a gap; marks their source as being read.
    pub fn wanted_page(&mut self, height: usize) -> Option<WantedPage> {
        // With a filter lines are looked for, not read one page after the other.
        if self.is_following || !self.rings.sieve().is_open() {
            return None;
        }
        let cursor = self.cursor?;
        let reach = AHEAD + height;
        let above = self.rings.gap_above(cursor, reach);
        let below = self.rings.gap_below(cursor, reach);
        let wanted = [(above, true), (below, false)]
            .into_iter()
            .filter_map(|(gap, is_backward)| Some((gap?.0, is_backward)))
            .find(|(border, _)| {
                self.source(border.source)
                    .is_some_and(|f| !f.is_paging && f.no_pages.is_none())
            });
        let (border, is_backward) = wanted?;
        self.source_mut(border.source)?.is_paging = true;
        Some(WantedPage {
            slot: border.source,
            border,
            is_backward,
            is_apart: false,
        })
    }

    /// Lines were read again. Returns how many were new.
    pub fn put_page(&mut self, wanted: WantedPage, page: PreparedPage, height: usize) -> u64 {
        self.count_page();
        let Some(followed) = self.sources.iter_mut().find(|f| f.slot == wanted.slot) else {
            return 0;
        };
        followed.is_paging = false;
        let Some(ring) = self.rings.ring_mut(wanted.slot) else {
            return 0;
        };
        let lines = if wanted.is_apart {
            ring.insert_apart(page)
        } else {
            ring.insert(page, wanted.border.number, wanted.is_backward)
        };
        let goal = followed.jump.take_if(|_| wanted.is_apart);
        let goal = goal.and_then(|number| ring.key_of(number));
        if let Some(key) = goal {
            self.rings.pin(Some(key));
        }
        self.rings.settle();
        match goal {
            Some(key) => self.go_to(key, height),
            None => self.settle(),
        }
        lines
    }

    /// Goes to a line of a source by its number; what has to be read for it, if it is not held.
    pub fn go_to_number(&mut self, slot: u32, number: u64, height: usize) -> Option<WantedPage> {
        let ring = self.rings.ring(slot)?;
        if let Some(key) = ring.key_of(number) {
            self.go_to(key, height);
            return None;
        }
        let key = Key::of(slot, number);
        let followed = self.source_mut(slot)?;
        followed.jump = Some(number);
        followed.is_paging = true;
        Some(WantedPage {
            slot,
            border: key,
            is_backward: false,
            is_apart: true,
        })
    }

    /// The next match, also where lines are not held: the source and number of its line.
    pub fn next_match(&self, from: Key, is_forward: bool) -> Option<(u32, u64)> {
        let held = self.rings.next_match(from, is_forward);
        // A file's lines that are not held have no time yet: they are found from a line of the same file only.
        let (slot, number) = (from.source, from.number);
        let unheld = self
            .source(slot)
            .and_then(|f| f.finds.as_ref())
            .filter(|_| self.rings.sieve().is_open())
            .and_then(|finds| finds.next(number, is_forward));
        match (held, unheld) {
            (Some(held), Some(number)) if held.source == slot => {
                let is_nearer = (number < held.number) == is_forward && number != held.number;
                Some(if is_nearer {
                    (slot, number)
                } else {
                    (slot, held.number)
                })
            }
            (Some(held), _) => Some((held.source, held.number)),
            (None, number) => number.map(|number| (slot, number)),
        }
    }

    /// How many lines of a source match, how many of them stand before the cursor, and whether all were looked at.
    pub fn totals(&self, followed: &Followed) -> Totals {
        let floor = followed.finds.as_ref().map_or(0, |finds| finds.floor);
        let mut totals = self.rings.totals(followed.slot, self.cursor, floor);
        if let Some(finds) = &followed.finds {
            totals.found += finds.total;
            totals.is_complete &= finds.is_complete();
            let at = self.cursor.and_then(|key| {
                if key.source == followed.slot {
                    Some(key.number)
                } else {
                    self.rings.at_or_before(followed.slot, key)
                }
            });
            totals.before += at.map_or(0, |number| finds.before(number));
        }
        totals
    }

    /// Lines could not be read again.
    pub fn no_page(&mut self, slot: u32, problem: &Problem) {
        if let Some(followed) = self.source_mut(slot) {
            followed.stop_paging(problem.text.clone());
        }
    }
}
