//! Several lines of text: a remark in an incident. Enter begins a new line, so that what is pasted stays as it was.

use ratatui::Frame;
use ratatui::text::Line;
use ratatui::widgets::Block;
use tui_textarea::TextArea;

use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::theme::Role;

/// What is pasted beyond that is cut off.
const LONGEST: usize = 64 * 1024;

/// Text that is being written.
#[derive(Debug, Default)]
pub struct Notes {
    /// The text with its cursor.
    pub text: TextArea<'static>,
}

impl Notes {
    /// Nothing written yet.
    pub fn new() -> Self {
        let mut text = TextArea::default();
        text.set_cursor_line_style(ratatui::style::Style::new());
        text.set_block(Block::new());
        Self { text }
    }

    /// What was written.
    pub fn text(&self) -> String {
        self.text.lines().join("\n")
    }

    /// Puts in pasted text, line by line.
    pub fn paste(&mut self, text: &str) {
        let text: String = text
            .chars()
            .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
            .take(LONGEST)
            .collect();
        self.text.insert_str(text);
    }
}

/// Draws what is being written, and the key that keeps it.
pub fn draw(app: &App, notes: &Notes, frame: &mut Frame<'_>) {
    let screen = frame.area();
    let height = (notes.text.lines().len() as u16 + 5).clamp(9, 24);
    let inner = super::card(app, "Note", 96, height, frame);
    let keymap = &app.setup.keymap;
    let key = |action| keymap.key(action, Place::Notes).unwrap_or_default();
    let help = format!(
        "{} keeps it, {} leaves it",
        key(Action::SaveNotes),
        key(Action::Close)
    );
    let mut text = inner;
    text.height = inner.height.saturating_sub(1);
    frame.render_widget(&notes.text, text);
    let mut line = inner;
    line.y = inner.bottom().saturating_sub(1).min(screen.bottom());
    line.height = inner.height.min(1);
    frame.render_widget(Line::styled(help, app.setup.theme.style(Role::Dim)), line);
}
