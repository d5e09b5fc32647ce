//! Colours by meaning. Panes ask for a role, never for a colour, so `NO_COLOR` and plain terminals are decided
//! here and nowhere else.
//!
//! Only the sixteen colours of the terminal's own palette are used: they fit the background the user chose.
//! Whatever a colour says is said by a glyph or a word too.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

use crate::domain::before_after::Side;
use crate::domain::health::HealthState;
use crate::domain::log::Level;
use crate::domain::outcome::OutcomeKind;
use crate::domain::service::ServiceState;
use crate::domain::signal::Grade;
use crate::domain::verdict::Decision;

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    Text,
    /// Less important: times, units, hints, borders.
    Dim,
    /// What the eye should find first: titles, names.
    Strong,
    /// The one accent: focus, keys, what can be acted on.
    Accent,
    /// Under every limit.
    Ok,
    /// Over a warning limit.
    Warning,
    /// Over a critical limit, failed.
    Critical,
    /// Not known. Never drawn like [`Role::Ok`].
    Unknown,
    /// Older than it should be.
    Stale,
    /// Belongs to the side before the deploy.
    Before,
    /// Belongs to the side after the deploy.
    After,
    /// The selected row.
    Selected,
    /// A match of a search.
    Match,
    /// The match of a search that the cursor stands on.
    CurrentMatch,
    /// A seam in a log.
    Seam,
}

/// How every role looks, and which glyphs stand for grades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    has_color: bool,
    is_plain: bool,
}

impl Theme {
    /// `has_color: false` leaves bold, reverse and underline; `is_plain` also replaces box drawing and glyphs by
    /// ASCII, for serial lines and screen readers.
    pub fn new(has_color: bool, is_plain: bool) -> Self {
        Self {
            has_color: has_color && !is_plain,
            is_plain,
        }
    }

    /// Whether box drawing and glyphs are replaced by ASCII.
    pub fn is_plain(self) -> bool {
        self.is_plain
    }

    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let style = Style::new();
        let plain = match role {
            Role::Text | Role::Ok | Role::Before | Role::After | Role::Unknown => style,
            Role::Dim | Role::Seam => style.add_modifier(Modifier::DIM),
            Role::Stale => style.add_modifier(Modifier::DIM | Modifier::ITALIC),
            Role::Strong | Role::Accent | Role::Warning | Role::Critical => {
                style.add_modifier(Modifier::BOLD)
            }
            Role::Selected | Role::CurrentMatch => style.add_modifier(Modifier::REVERSED),
            Role::Match => style.add_modifier(Modifier::UNDERLINED),
        };
        if !self.has_color {
            return plain;
        }
        match role {
            Role::Text | Role::Strong | Role::Selected => plain,
            Role::Dim => style.fg(Color::DarkGray),
            Role::Accent => style.fg(Color::Cyan),
            Role::Ok => style.fg(Color::Green),
            Role::Warning => style.fg(Color::Yellow),
            Role::Critical => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Role::Unknown => style.fg(Color::Magenta),
            Role::Stale => style.fg(Color::DarkGray).add_modifier(Modifier::ITALIC),
            Role::Before => style.fg(Color::Blue),
            Role::After => style.fg(Color::LightYellow),
            Role::Match => plain.fg(Color::Yellow),
            Role::CurrentMatch => style.fg(Color::Black).bg(Color::Yellow),
            Role::Seam => style.fg(Color::Cyan),
        }
    }

    /// The selected row: reversed in the focused pane, underlined in the others, so that one place on screen
    /// has the cursor.
    pub fn selection(self, is_focused: bool) -> Style {
        if is_focused {
            self.style(Role::Selected)
        } else {
            Style::new().add_modifier(Modifier::BOLD)
        }
    }

    /// The border of a pane: double where it has the focus, so focus shows without colour.
    pub fn border(self, is_focused: bool) -> border::Set<'static> {
        match (self.is_plain, is_focused) {
            (true, false) => ASCII,
            (true, true) => ASCII_FOCUSED,
            (false, false) => border::PLAIN,
            (false, true) => border::DOUBLE,
        }
    }

    /// The style of a border.
    pub fn border_style(self, is_focused: bool) -> Style {
        self.style(if is_focused { Role::Accent } else { Role::Dim })
    }

    /// A bar as high as a value is of the highest one; any value but 0 shows.
    pub fn bar(self, value: u64, most: u64) -> char {
        const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const PLAIN: [char; 9] = [' ', '.', '.', ':', ':', '-', '=', '#', '#'];
        let height = (value.saturating_mul(8)).div_ceil(most.max(1)).min(8) as usize;
        if self.is_plain {
            PLAIN[height]
        } else {
            BARS[height]
        }
    }

    /// The colour of the `n`th of several things that stand beside each other, such as the services of one log. Their
    /// names stand beside them: the colour only helps the eye.
    pub fn series(self, n: usize) -> Style {
        const COLORS: [Color; 6] = [
            Color::Blue,
            Color::Magenta,
            Color::Cyan,
            Color::Green,
            Color::LightBlue,
            Color::LightMagenta,
        ];
        if self.has_color {
            Style::new().fg(COLORS[n % COLORS.len()])
        } else {
            Style::new()
        }
    }

    /// Whether colours are shown at all.
    pub fn has_color(self) -> bool {
        self.has_color
    }

    /// The sign in front of a row: whether it is under the cursor, whether it is marked.
    pub fn marker(self, is_cursor: bool, is_marked: bool) -> &'static str {
        match (is_cursor, is_marked, self.is_plain) {
            (true, _, true) => ">",
            (true, true, false) => "◆",
            (true, false, false) => "▌",
            (false, true, true) => "*",
            (false, true, false) => "◇",
            (false, false, _) => " ",
        }
    }

    /// The sign in front of a note to a line.
    pub fn note_glyph(self) -> &'static str {
        if self.is_plain { "--" } else { "◆" }
    }

    /// The sign in front of one of several things.
    pub fn bullet(self) -> &'static str {
        if self.is_plain { "-" } else { "●" }
    }

    /// The glyph of a grade.
    pub fn grade_glyph(self, grade: Grade) -> &'static str {
        if !self.is_plain {
            return grade.glyph();
        }
        match grade {
            Grade::Ok => "+",
            Grade::Warning => "!",
            Grade::Critical => "X",
            Grade::Unknown => "?",
        }
    }

    /// The glyph, the word and the style of a grade. One that is old says nothing about now, whatever it was: its value may
    /// still be shown, it is neither ok nor critical.
    pub fn graded(self, grade: Grade, is_stale: bool) -> (&'static str, &'static str, Style) {
        if is_stale {
            let word = Grade::Unknown.as_str();
            return (self.stale_glyph(), word, self.style(Role::Stale));
        }
        (self.grade_glyph(grade), grade.as_str(), self.grade(grade))
    }

    /// Stands for something older than it should be, or still awaited.
    pub fn stale_glyph(self) -> &'static str {
        if self.is_plain { "~" } else { "…" }
    }

    /// Bars from the lowest to the highest.
    pub fn bars(self) -> [char; 8] {
        if self.is_plain {
            ['_', '.', '-', '-', '=', '=', '#', '#']
        } else {
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        }
    }

    /// A horizontal line of seams.
    pub fn rule(self) -> &'static str {
        if self.is_plain { "-" } else { "─" }
    }

    /// The style of a grade.
    pub fn grade(self, grade: Grade) -> Style {
        self.style(grade_role(grade))
    }

    /// The style of a log level's word; `None` for a record without one.
    pub fn level(self, level: Option<Level>) -> Style {
        self.style(match level {
            Some(Level::Fatal | Level::Error) => Role::Critical,
            Some(Level::Warn) => Role::Warning,
            Some(Level::Info) => Role::Text,
            Some(Level::Debug | Level::Trace) | None => Role::Dim,
        })
    }

    /// The style of a side of the deploy.
    pub fn side(self, side: Side) -> Style {
        self.style(match side {
            Side::Before => Role::Before,
            Side::After => Role::After,
        })
    }
}

/// The role that a grade is drawn with.
pub fn grade_role(grade: Grade) -> Role {
    match grade {
        Grade::Ok => Role::Ok,
        Grade::Warning => Role::Warning,
        Grade::Critical => Role::Critical,
        Grade::Unknown => Role::Unknown,
    }
}

/// How a decision is graded. Inconclusive is unknown, never ok.
pub fn decision_grade(decision: Decision) -> Grade {
    match decision {
        Decision::Keep => Grade::Ok,
        Decision::Watch => Grade::Warning,
        Decision::RollBack => Grade::Critical,
        Decision::Inconclusive => Grade::Unknown,
    }
}

/// How an outcome is graded.
pub fn outcome_grade(outcome: OutcomeKind) -> Grade {
    match outcome {
        OutcomeKind::Verified => Grade::Ok,
        OutcomeKind::AppliedNotVerified | OutcomeKind::FailedUnchanged => Grade::Warning,
        OutcomeKind::FailedPartial => Grade::Critical,
        OutcomeKind::Unknown => Grade::Unknown,
    }
}

/// The grade of a service in a list: its state, then its health, then whether it is caught in a crash loop.
pub fn service_grade(
    state: ServiceState,
    health: Option<HealthState>,
    crash_loop: Option<bool>,
) -> Grade {
    if crash_loop == Some(true) {
        return Grade::Critical;
    }
    let by_state = match state {
        ServiceState::Running => Grade::Ok,
        ServiceState::Partial | ServiceState::Starting | ServiceState::Paused => Grade::Warning,
        ServiceState::Stopped | ServiceState::Failed => Grade::Critical,
        ServiceState::Unknown => Grade::Unknown,
    };
    let by_health = match health {
        None | Some(HealthState::Healthy) => Grade::Ok,
        Some(HealthState::Degraded) => Grade::Warning,
        Some(HealthState::Unhealthy) => Grade::Critical,
        Some(HealthState::Unreachable) => Grade::Unknown,
    };
    by_state.max(by_health)
}

const ASCII: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

const ASCII_FOCUSED: border::Set<'static> = border::Set {
    top_left: "#",
    top_right: "#",
    bottom_left: "#",
    bottom_right: "#",
    vertical_left: "#",
    vertical_right: "#",
    horizontal_top: "=",
    horizontal_bottom: "=",
};

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 15] = [
        Role::Text,
        Role::Dim,
        Role::Strong,
        Role::Accent,
        Role::Ok,
        Role::Warning,
        Role::Critical,
        Role::Unknown,
        Role::Stale,
        Role::Before,
        Role::After,
        Role::Selected,
        Role::Match,
        Role::CurrentMatch,
        Role::Seam,
    ];

    #[test]
    fn without_colour_no_role_has_one_and_the_cursor_row_still_shows() {
        let theme = Theme::new(false, false);
        for role in ROLES {
            let style = theme.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
        let selected = theme.style(Role::Selected);
        assert!(selected.add_modifier.contains(Modifier::REVERSED));
    }

    #[test]
    fn a_grade_is_never_colour_alone() {
        for theme in [Theme::new(true, false), Theme::new(true, true)] {
            let mut glyphs: Vec<_> = [Grade::Ok, Grade::Warning, Grade::Critical, Grade::Unknown]
                .map(|g| theme.grade_glyph(g))
                .to_vec();
            glyphs.dedup();
            assert_eq!(glyphs.len(), 4);
        }
    }

    #[test]
    fn what_is_not_known_is_never_ok() {
        assert_eq!(
            service_grade(ServiceState::Unknown, None, None),
            Grade::Unknown
        );
        assert_eq!(
            service_grade(ServiceState::Running, Some(HealthState::Unreachable), None),
            Grade::Unknown
        );
        assert_eq!(decision_grade(Decision::Inconclusive), Grade::Unknown);
        assert_eq!(
            service_grade(
                ServiceState::Running,
                Some(HealthState::Healthy),
                Some(true)
            ),
            Grade::Critical
        );
    }
}
