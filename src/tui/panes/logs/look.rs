//! How lines are drawn: what the engineer chose.

/// What stands in the column of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamps {
    /// The time of day, in the zone of the screen.
    #[default]
    Absolute,
    /// How long ago.
    Relative,
    /// How long after the line above.
    Delta,
    /// Nothing.
    Off,
}

impl Stamps {
    /// The next in the circle.
    pub fn next(self) -> Self {
        match self {
            Self::Absolute => Self::Relative,
            Self::Relative => Self::Delta,
            Self::Delta => Self::Off,
            Self::Off => Self::Absolute,
        }
    }

    /// The word on the lower border; `None` for the usual.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Absolute => None,
            Self::Relative => Some("times: ago"),
            Self::Delta => Some("times: since the line above"),
            Self::Off => Some("times: off"),
        }
    }
}

/// How lines are drawn.
#[derive(Debug, Clone)]
pub struct Look {
    /// Whether long lines are wrapped.
    pub is_wrapped: bool,
    /// The first column that is shown of each line.
    pub column: usize,
    /// What stands in the column of times.
    pub stamps: Stamps,
    /// Whether JSON and logfmt are drawn as a message and its fields.
    pub is_pretty: bool,
    /// Whether the colours of the source are kept.
    pub has_colours: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            is_wrapped: false,
            column: 0,
            stamps: Stamps::default(),
            is_pretty: true,
            has_colours: true,
        }
    }
}
