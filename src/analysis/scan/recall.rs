//! Records that look like one that was read before are not read again.
//!
//! Logs say the same few thousand sentences over and over. What reading a record finds out by its words (where its
//! header ends, its level, its pattern, its route, which of its numbers is the status) is remembered under its
//! [`Skeleton`]; a record with a known skeleton only has its numbers read. The result is that of reading it in full.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::skeleton::{Skeleton, Token};
use crate::analysis::kept::{Kept, place_in};
use crate::analysis::parse::header;
use crate::analysis::parse::request::{RequestFields, Unit, read_duration, read_status};
use crate::analysis::parse::time::{self, TimeReader, Written};
use crate::analysis::pattern::hash;
use crate::domain::log::Level;

/// So many skeletons are remembered (about 10 MB); then all are forgotten, since logs move on.
const MAX_PLANS: usize = 32_768;
/// A skeleton with more different outcomes than this depends on its numbers too much to be of use.
const MAX_OUTCOMES: usize = 64;
/// After so many records it is looked at whether recalling pays …
const TRIAL: u32 = 8192;
/// … and where fewer than a quarter were known, so many are read in full before it is tried again.
const PAUSE: u32 = 65_536;

/// A hasher for keys that are hashes already.
#[derive(Debug, Clone, Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes, self.0);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// A table by hashes of [`hash`].
pub type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Same>>;

/// What of a record does not depend on its numbers, but for those that its template and route keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub level: Option<Level>,
    /// The key of its route, where it is a request that counts.
    pub route: Option<u64>,
    /// The key of its shape.
    pub shape: u64,
}

/// A record whose skeleton was known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recalled {
    pub outcome: Outcome,
    /// Its time, not yet turned into an instant: that depends on the records before it.
    pub time: Option<Time>,
    pub status: Option<u16>,
    pub duration_ms: Option<f64>,
    /// The hash of its request id.
    pub request_id: Option<u64>,
}

/// A time as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    Written(Written),
    Epoch(i64),
}

impl Time {
    /// Milliseconds since 1970.
    pub(super) fn resolve(self, times: &mut TimeReader) -> Option<i64> {
        match self {
            Self::Written(written) => times.resolve(&written),
            Self::Epoch(at) => Some(at),
        }
    }
}

/// Where a record's time was read from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum TimeText<'a> {
    /// It has none.
    #[default]
    None,
    /// From a column that is written like one and is none: the 30th of February.
    NoInstant,
    /// The header's column of that number.
    Cell(usize),
    /// A value that is a number of JSON, or a text.
    Value(&'a [u8], bool),
}

/// A part of every line of a skeleton: its ends are so many bytes from the token they are next to, or from an end of
/// the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// The first token that does not end before it.
    from: usize,
    before: isize,
    /// How many tokens begin in front of its end; it ends by the last of them.
    to: usize,
    behind: isize,
}

impl Span {
    /// Describes a part of a line by the line's tokens. `None` where it ends within a token.
    fn of(range: std::ops::Range<usize>, tokens: &[Token], length: usize) -> Option<Self> {
        let from = tokens.partition_point(|t| t.end <= range.start);
        let to = tokens.partition_point(|t| t.start < range.end);
        let start = tokens.get(from).map_or(length, |t| t.start);
        let end = to.checked_sub(1).map_or(0, |at| tokens[at].end);
        let inside = |at: usize| tokens.iter().any(|t| t.start < at && at < t.end);
        (!inside(range.start) && !inside(range.end)).then(|| Self {
            from,
            before: start as isize - range.start as isize,
            to,
            behind: range.end as isize - end as isize,
        })
    }

    fn start(&self, tokens: &[Token], length: usize) -> Option<usize> {
        let start = tokens.get(self.from).map_or(length, |t| t.start);
        start.checked_add_signed(-self.before)
    }

    fn end(&self, tokens: &[Token]) -> Option<usize> {
        let end = match self.to.checked_sub(1) {
            Some(at) => tokens.get(at)?.end,
            None => 0,
        };
        end.checked_add_signed(self.behind)
    }

    fn text<'a>(&self, line: &'a [u8], tokens: &[Token]) -> Option<&'a [u8]> {
        line.get(self.start(tokens, line.len())?..self.end(tokens)?)
    }
}

/// Where the numbers of the lines of one skeleton stand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    /// The columns that are times, with their numbers: they must be so again.
    times: Vec<(Span, usize)>,
    /// Which of them is the record's time.
    time_column: Option<usize>,
    /// The value that is the record's time, and whether it is a number.
    time_value: Option<(Span, bool)>,
    status: Option<Span>,
    duration: Option<(Span, Unit)>,
    request_id: Option<Span>,
    /// The tokens on which the outcome depends.
    kept: Vec<usize>,
}

/// What is remembered of a skeleton.
#[derive(Debug, Clone)]
struct Plan {
    layout: Layout,
    /// By the hash of the tokens on which they depend.
    outcomes: Vec<(u64, Outcome)>,
    /// Lines of this skeleton have their numbers in different places.
    is_useless: bool,
}

/// What is remembered of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Recall {
    plans: ByHash<Plan>,
    skeleton: Skeleton,
    work: Vec<u8>,
    looked: u32,
    known: u32,
    paused: u32,
}

/// Everything that reading a record in full found out, with where it stands.
pub(super) struct Lesson<'a> {
    pub line: &'a [u8],
    pub time: TimeText<'a>,
    pub request: &'a RequestFields<'a>,
    pub kept: &'a Kept,
    pub outcome: Outcome,
}

impl Recall {
    /// The record of a line of a stream, where one of its look was read before.
    pub(super) fn find(&mut self, stream: usize, line: &[u8]) -> Option<Recalled> {
        if self.paused > 0 {
            self.paused -= 1;
            return None;
        }
        if self.looked == TRIAL {
            if self.known < TRIAL / 4 {
                self.paused = PAUSE;
                self.plans.clear();
            }
            (self.looked, self.known) = (0, 0);
        }
        self.looked += 1;
        let key = self.skeleton.read(line, stream as u64)?;
        let plan = self.plans.get(&key)?;
        let tokens = self.skeleton.tokens();
        let found = (plan.layout).read(&plan.outcomes, line, tokens, &mut self.work)?;
        self.known += 1;
        Some(found)
    }

    /// Remembers what was found out of a record.
    pub(super) fn learn(&mut self, stream: usize, lesson: &Lesson<'_>) {
        if self.paused > 0 {
            return;
        }
        let Some(key) = self.skeleton.read(lesson.line, stream as u64) else {
            return;
        };
        let tokens = self.skeleton.tokens();
        let Some(layout) = Layout::of(lesson, tokens) else {
            return;
        };
        if self.plans.len() >= MAX_PLANS && !self.plans.contains_key(&key) {
            self.plans.clear();
        }
        let plan = match self.plans.entry(key) {
            Entry::Occupied(known) => {
                let plan = known.into_mut();
                plan.agree(layout);
                plan
            }
            Entry::Vacant(place) => place.insert(Plan {
                layout,
                outcomes: Vec::new(),
                is_useless: false,
            }),
        };
        let value = plan.layout.kept_of(lesson.line, tokens, &mut self.work);
        let is_new = plan.outcomes.iter().all(|(known, _)| *known != value);
        if !plan.is_useless && is_new && plan.outcomes.len() < MAX_OUTCOMES {
            plan.outcomes.push((value, lesson.outcome));
        }
    }
}

impl Plan {
    /// Holds the layout of another line of the skeleton against what is remembered.
    fn agree(&mut self, mut other: Layout) {
        if self.layout == other {
            return;
        }
        self.outcomes.clear();
        self.layout.kept.append(&mut other.kept);
        self.layout.kept.sort_unstable();
        self.layout.kept.dedup();
        other.kept.clone_from(&self.layout.kept);
        self.is_useless |= self.layout != other;
    }
}

impl Layout {
    fn of(lesson: &Lesson<'_>, tokens: &[Token]) -> Option<Self> {
        if matches!(lesson.time, TimeText::NoInstant) {
            return None;
        }
        let line = lesson.line;
        let span = |part: &[u8]| Span::of(place_in(line, part)?, tokens, line.len());
        let request = lesson.request;
        let mut kept = Vec::new();
        for part in lesson.kept.parts_of(line) {
            let part = part?;
            let within = tokens.iter().enumerate().filter(|(_, t)| {
                t.start < part.range.end
                    && t.end > part.range.start
                    && (t.is_id || !part.letters_only)
            });
            kept.extend(within.map(|(at, _)| at));
        }
        let times = header::times_of(line)?;
        let times = times
            .into_iter()
            .map(|(start, end, index)| Some((Span::of(start..end, tokens, line.len())?, index)));
        let times = times.collect::<Option<Vec<_>>>()?;
        kept.sort_unstable();
        kept.dedup();
        Some(Self {
            times,
            time_column: match lesson.time {
                TimeText::Cell(index) => Some(index),
                _ => None,
            },
            time_value: match lesson.time {
                TimeText::Value(text, is_number) => Some((span(text)?, is_number)),
                _ => None,
            },
            status: match request.status {
                Some(_) => Some(span(request.status_text)?),
                None => None,
            },
            duration: match request.duration_ms {
                Some(_) => Some((span(request.duration_text.0)?, request.duration_text.1)),
                None => None,
            },
            request_id: match request.request_id {
                Some(id) => Some(span(id)?),
                None => None,
            },
            kept,
        })
    }

    fn kept_of(&self, line: &[u8], tokens: &[Token], work: &mut Vec<u8>) -> u64 {
        work.clear();
        for token in self.kept.iter().filter_map(|at| tokens.get(*at)) {
            work.extend_from_slice(&line[token.start..token.end]);
            work.push(0);
        }
        hash(work, 0)
    }

    /// Reads the numbers of a line; `None` where they are not what they were, so that it has to be read in full.
    fn read(
        &self,
        outcomes: &[(u64, Outcome)],
        line: &[u8],
        tokens: &[Token],
        work: &mut Vec<u8>,
    ) -> Option<Recalled> {
        let value = self.kept_of(line, tokens, work);
        let outcome = outcomes.iter().find(|(known, _)| *known == value)?.1;
        let mut time = None;
        for (span, index) in &self.times {
            let start = span.start(tokens, line.len())?;
            let (written, end) = header::time_at(line, start, *index)?;
            (Some(end) == span.end(tokens)).then_some(())?;
            if Some(*index) == self.time_column {
                time = Some(Time::Written(written));
            }
        }
        if let Some((span, is_number)) = &self.time_value {
            let text = span.text(line, tokens)?;
            let written = (!is_number).then(|| time::read(text)).flatten();
            time = Some(match written {
                Some((written, _)) => Time::Written(written),
                None => Time::Epoch(time::epoch_ms(text)?),
            });
        }
        let status = match &self.status {
            Some(span) => Some(read_status(span.text(line, tokens)?)?),
            None => None,
        };
        let duration_ms = match &self.duration {
            Some((span, unit)) => Some(read_duration(span.text(line, tokens)?, *unit)?),
            None => None,
        };
        let request_id = match &self.request_id {
            Some(span) => Some(span.text(line, tokens)?),
            None => None,
        };
        Some(Recalled {
            outcome,
            time,
            status,
            duration_ms,
            request_id: request_id.map(|id| hash(id, 0)),
        })
    }
}
