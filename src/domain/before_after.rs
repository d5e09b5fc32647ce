//! Two sides of a deploy.

use serde::{Deserialize, Serialize};

/// Which side of the deploy something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// As it was when the checkpoint was made.
    Before,
    /// As it is, or was, after the deploy.
    After,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::After => Self::Before,
        }
    }
}

/// The same thing seen on both sides of a deploy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BeforeAfter<T> {
    /// The value before the deploy.
    pub before: T,
    /// The value after the deploy.
    pub after: T,
}

impl<T> BeforeAfter<T> {
    /// Pairs the two sides.
    pub fn new(before: T, after: T) -> Self {
        Self { before, after }
    }

    /// The value of one side.
    pub fn side(&self, side: Side) -> &T {
        match side {
            Side::Before => &self.before,
            Side::After => &self.after,
        }
    }

    /// The value of one side, to change it.
    pub fn side_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        }
    }

    /// Applies `f` to both sides.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> BeforeAfter<U> {
        BeforeAfter {
            before: f(self.before),
            after: f(self.after),
        }
    }

    /// Borrows both sides.
    pub fn as_ref(&self) -> BeforeAfter<&T> {
        BeforeAfter {
            before: &self.before,
            after: &self.after,
        }
    }
}
