//! What stands in front of the panes, one file each. One at a time: what is in front gets the keys.

pub mod confirm;
pub mod example;
pub mod findings;
pub mod help;
pub mod incident;
pub mod menu;
pub mod messages;
pub mod notes;
pub mod preflight;
pub mod prompt;
pub mod record;
pub mod sources;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::action::Place;
use super::app::App;
use super::theme::Role;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::store::ring::Key;
use menu::Menu;
use notes::Notes;
use prompt::Prompt;

/// What stands in front.
#[derive(Debug)]
pub enum Overlay {
    /// The actions of the selected service.
    Menu(Menu),
    /// The plan card; its state is [`App::operating`], so that closing the card ends nothing.
    Confirm,
    /// Every key that is possible here, from a row on.
    Help {
        /// Where help was asked for.
        place: Place,
        /// The first row that is shown.
        first: usize,
    },
    /// A line of text.
    Prompt(Box<Prompt>),
    /// The messages so far; the number is how far the view is scrolled up from the newest.
    Messages {
        /// Rows below the view.
        up: usize,
    },
    /// An example of a pattern from both sides.
    Example {
        /// The first row that is shown.
        first: usize,
    },
    /// What is wrong with a service.
    Findings {
        /// The service, or a machine.
        service: ServiceId,
        /// The first row that is shown.
        first: usize,
    },
    /// A record of a log, whole.
    Record {
        /// A line of it.
        key: Key,
        /// The first row that is shown.
        first: usize,
    },
    /// The incident that is open.
    Incident {
        /// The first row that is shown.
        first: usize,
    },
    /// The report of an incident.
    Report {
        /// Its lines.
        lines: Vec<SafeText>,
        /// The first row that is shown.
        first: usize,
    },
    /// Several lines of text that are being written.
    Notes(Box<Notes>),
    /// What would bite in a deploy.
    Preflight {
        /// The check under the cursor, among those that are not ok.
        cursor: usize,
    },
    /// Where each source of the logs stands.
    Sources {
        /// The first row that is shown.
        first: usize,
    },
}

impl Overlay {
    /// Where keys go while it is in front.
    pub fn place(&self) -> Place {
        match self {
            Self::Menu(_) => Place::Menu,
            Self::Confirm => Place::Confirm,
            Self::Help { .. } | Self::Report { .. } => Place::Help,
            Self::Incident { .. } => Place::Incident,
            Self::Notes(_) => Place::Notes,
            Self::Preflight { .. } => Place::Preflight,
            Self::Prompt(_) => Place::Prompt,
            Self::Messages { .. } => Place::Messages,
            Self::Example { .. } | Self::Findings { .. } => Place::Example,
            Self::Record { .. } | Self::Sources { .. } => Place::Record,
        }
    }
}

/// Draws what stands in front, if anything does.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    match &app.overlay {
        None => {}
        Some(Overlay::Menu(menu)) => menu::draw(app, menu, frame),
        Some(Overlay::Confirm) => confirm::draw(app, frame),
        Some(Overlay::Help { place, first }) => help::draw(app, *place, *first, frame),
        Some(Overlay::Prompt(prompt)) => prompt::draw(app, prompt, frame),
        Some(Overlay::Messages { up }) => messages::draw(app, *up, frame),
        Some(Overlay::Example { first }) => example::draw(app, *first, frame),
        Some(Overlay::Findings { service, first }) => findings::draw(app, service, *first, frame),
        Some(Overlay::Record { key, first }) => record::draw(app, *key, *first, frame),
        Some(Overlay::Incident { first }) => incident::draw(app, *first, frame),
        Some(Overlay::Report { lines, first }) => incident::draw_report(app, lines, *first, frame),
        Some(Overlay::Notes(notes)) => notes::draw(app, notes, frame),
        Some(Overlay::Preflight { cursor }) => preflight::draw(app, *cursor, frame),
        Some(Overlay::Sources { first }) => sources::draw(app, *first, frame),
    }
}

/// Clears a place in the middle of the screen, at most as large as asked for, and draws its frame. Returns the
/// room inside.
fn card(app: &App, title: &str, width: u16, height: u16, frame: &mut Frame<'_>) -> Rect {
    let screen = frame.area();
    let width = width.min(screen.width);
    let height = height.min(screen.height.saturating_sub(2).max(3));
    let area = Rect {
        x: (screen.width - width) / 2,
        y: (screen.height.saturating_sub(height)) / 2,
        width,
        height: height.min(screen.height),
    };
    let theme = app.setup.theme;
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(theme.border(true))
        .border_style(theme.border_style(true))
        .title(Line::styled(
            format!(" {title} "),
            theme.style(Role::Accent).add_modifier(Modifier::BOLD),
        ));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    // One column of air on both sides: text that touches a border reads badly.
    Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    }
}

/// Draws rows on a card from one of them on.
fn scrolled(
    app: &App,
    title: &str,
    width: u16,
    rows: Vec<Line<'static>>,
    first: usize,
    frame: &mut Frame<'_>,
) {
    let height = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX);
    let inner = card(app, title, width, height, frame);
    let first = first.min(rows.len().saturating_sub(inner.height as usize));
    let shown: Vec<Line<'_>> = rows
        .into_iter()
        .skip(first)
        .take(inner.height as usize)
        .collect();
    frame.render_widget(Paragraph::new(shown), inner);
}
