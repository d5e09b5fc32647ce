//! Where each source of the logs stands, with its counts: nothing that was lost is hidden behind a sum.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::text::{Line, Span};

use crate::domain::safe_text::SafeText;
use crate::store::ring::Gap;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::theme::Role;

fn lines(app: &App, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let mut rows = Vec::new();
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| app.time(at));
    for followed in &app.logs.sources {
        let Some(ring) = app.logs.rings.ring(followed.slot) else {
            continue;
        };
        let (words, grade) = followed.truth.words(app);
        let name = SafeText::from_text(&followed.id().to_string());
        rows.push(Line::from(vec![
            Span::styled(format!("{} ", theme.grade_glyph(grade)), theme.grade(grade)),
            Span::styled(format!("{name}  "), theme.style(Role::Strong)),
            Span::raw(format::cut(&words, width.saturating_sub(8))),
        ]));
        let facts = format!(
            "  seen {}  held {}  skipped {}  late {}",
            format::count(ring.received()),
            format::count(ring.held()),
            format::count(followed.truth.skipped),
            format::count(ring.late()),
        );
        rows.push(Line::raw(format::cut(&facts, width)));
        let before = match (ring.first_gap(), &followed.no_pages) {
            (Gap::None, _) => "the log begins there".to_owned(),
            (_, Some(why)) => format!("older lines cannot be read: {why}"),
            (_, None) => "older lines are read when you scroll up".to_owned(),
        };
        let places = format!(
            "  oldest {}  last came {}  {before}",
            time(ring.oldest_at()),
            time(followed.truth.heard_at),
        );
        rows.push(Line::styled(
            format::cut(&places, width),
            theme.style(Role::Dim),
        ));
    }
    let size = format::bytes(app.logs.rings.size() as u64);
    let bound = format::bytes(app.setup.log_bytes as u64);
    rows.push(Line::styled(
        format!("{size} of {bound} in memory"),
        theme.style(Role::Dim),
    ));
    rows
}

/// Draws the overlay.
pub fn draw(app: &App, first: usize, frame: &mut Frame<'_>) {
    let width = frame.area().width.min(110);
    let rows = lines(app, width.saturating_sub(4) as usize);
    super::scrolled(app, "Sources of the logs", width, rows, first, frame);
}
