//! Both sides of a comparison beside each other, in the order in which things were written.

use std::collections::HashMap;

use super::before_after::{BeforeAfter, Side};
use super::safe_text::SafeText;
use super::service::ServiceId;

/// By what the places of both sides are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Axis {
    /// Milliseconds since the side's first record.
    #[default]
    Time,
    /// Lines since the side's first record: not every side has times.
    Lines,
}

/// Records of one pattern that stand together on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The place of its pattern in [`Comparison::patterns`](super::comparison::Comparison::patterns).
    pub pattern: usize,
    /// How many records.
    pub count: u64,
    /// Where the first of them stands, from the side's own start, in the unit of the axis.
    pub at: u64,
    /// The number of its line in the log of its service, from 1.
    pub line: u64,
    /// The place of its service in [`Comparison::services`](super::comparison::Comparison::services).
    pub service: usize,
    /// The record, redacted; `None` where its text was not kept.
    pub text: Option<SafeText>,
}

/// Records of patterns that did not change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fold {
    /// How many records.
    pub records: u64,
    /// Of how many patterns.
    pub patterns: usize,
}

/// One row of both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Everything that did not change in a piece of the axis, told in one row.
    Folded {
        /// Where that piece begins.
        at: u64,
        /// What is folded; `None` for a side that ended before: what is missing is not none.
        sides: BeforeAfter<Option<Fold>>,
    },
    /// One pattern that did not change, in a piece of the axis: what a folded row consists of.
    Known(BeforeAfter<Option<Item>>),
    /// What stands at one place of both sides. Two patterns in one row took each other's place.
    Aligned(BeforeAfter<Option<Item>>),
}

impl Row {
    /// What stands on either side; nothing where the row is folded.
    pub fn items(&self) -> BeforeAfter<Option<&Item>> {
        match self {
            Self::Folded { .. } => BeforeAfter::default(),
            Self::Known(pair) | Self::Aligned(pair) => {
                BeforeAfter::new(pair.before.as_ref(), pair.after.as_ref())
            }
        }
    }

    /// The pattern of the row; that of the after side where the two differ.
    pub fn pattern(&self) -> Option<usize> {
        let items = self.items();
        items.after.or(items.before).map(|item| item.pattern)
    }
}

/// What a sequence is of. A service is told by its place in
/// [`Comparison::services`](super::comparison::Comparison::services).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// What a service wrote when it last started.
    StartUp(usize),
    /// The first records of a service: when it started before is not known.
    Beginning(usize),
    /// One request of each side, by its id; `None` where that side has none like it.
    Request(BeforeAfter<Option<SafeText>>),
}

/// Records in their order, from one place of each side on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// What it is of.
    pub of: Of,
    /// The records, aligned; places are counted from the first of them.
    pub rows: Vec<Row>,
}

impl Sequence {
    /// Whether it matters where records of one pattern differ: the first records of a running service do that all the time.
    pub fn marks_values(&self) -> bool {
        !matches!(self.of, Of::Beginning(_))
    }
}

/// A record of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it was written, in milliseconds since 1970.
    pub at: Option<i64>,
    /// The hash of its shape.
    pub shape: u64,
    /// The number of its line in the log of its service, from 1.
    pub line: u64,
    /// The service.
    pub service: ServiceId,
    /// The record, redacted.
    pub text: SafeText,
}

/// One request of each side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestPair {
    /// Their ids.
    pub ids: BeforeAfter<Option<SafeText>>,
    /// Their records, in the order of time.
    pub records: BeforeAfter<Vec<RequestRecord>>,
}

/// Which request to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestWanted {
    /// The side that has it.
    pub side: Side,
    /// Its id.
    pub id: SafeText,
    /// Records of the other side with the id of their request: one of these is looked for there.
    pub others: Vec<(SafeText, SafeText)>,
}

/// Both sides beside each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SideBySide {
    /// How places are told.
    pub axis: Axis,
    /// What both sides wrote, from their own starts: what changed in rows of its own, the rest folded.
    pub stream: Vec<Row>,
    /// How each service began.
    pub sequences: Vec<Sequence>,
    /// The pattern of each shape, by its hash.
    pub patterns: HashMap<u64, usize>,
    /// Records that stand in no row: there were too many different ones.
    pub dropped: BeforeAfter<u64>,
}
