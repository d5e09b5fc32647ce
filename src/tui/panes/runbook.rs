//! The runbook that is being worked through: items with owner, time and evidence.

use ratatui::Frame;
use ratatui::layout::Rect;

use crate::tui::app::App;
use crate::tui::layout::Pane;

/// The runbook.
#[derive(Debug, Default)]
pub struct RunbookPane {
    /// The row under the cursor.
    pub cursor: usize,
}

/// Draws the pane.
pub fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let inner = super::frame(app, Pane::Runbook, Vec::new(), frame, area);
    super::empty(
        app,
        "No runbook is being worked through.",
        &[],
        frame,
        inner,
    );
}
