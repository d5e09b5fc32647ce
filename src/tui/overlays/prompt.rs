//! A line of text on the footer: a search, or a command by its name.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};
use tui_textarea::TextArea;

use crate::domain::nearest::nearest;
use crate::tui::action::{ACTIONS, Action};
use crate::tui::app::App;
use crate::tui::theme::Role;

/// What the text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Find it in the log.
    Find,
    /// Show only what has it.
    FilterIn,
    /// Hide what has it.
    FilterOut,
    /// Go to that time of the log.
    Time,
    /// What is said of the line under the cursor.
    Mark,
    /// The file that lines of the log are saved to.
    Export,
    /// Run the action of that name.
    Command,
    /// What was seen of a runbook item that did not work.
    Fail,
    /// Why a runbook item is left out.
    Skip,
    /// A remark on a runbook item.
    Comment,
    /// What a new incident is about.
    IncidentTitle,
    /// How bad an incident is, and why.
    Severity,
    /// A role and who has it.
    Role,
    /// Who leads from now on, and what they have to know.
    HandOver,
    /// The last remark before an incident is over.
    EndIncident,
    /// A head hash that the audit log must still contain; nothing: its chain alone is checked.
    Anchor,
    /// Words of the events that are shown.
    FilterEvents,
}

impl Purpose {
    /// Whether it belongs to an incident or to the record of what was done.
    pub fn is_of_incident(self) -> bool {
        matches!(
            self,
            Self::IncidentTitle
                | Self::Severity
                | Self::Role
                | Self::HandOver
                | Self::EndIncident
                | Self::Anchor
        )
    }
}

/// A line of text that is being typed.
#[derive(Debug)]
pub struct Prompt {
    /// What it is for.
    pub purpose: Purpose,
    /// The text with its cursor.
    pub text: TextArea<'static>,
}

impl Prompt {
    /// A prompt that begins with some text.
    pub fn new(purpose: Purpose, text: &str) -> Self {
        let mut area = TextArea::new(vec![text.to_owned()]);
        area.move_cursor(tui_textarea::CursorMove::End);
        area.set_cursor_line_style(ratatui::style::Style::new());
        area.set_block(Block::new());
        Self {
            purpose,
            text: area,
        }
    }

    /// What was typed.
    pub fn line(&self) -> &str {
        self.text.lines().first().map_or("", String::as_str)
    }

    /// Puts in pasted text; only its first line, since a prompt is one line.
    pub fn paste(&mut self, text: &str) {
        let line: String = text
            .lines()
            .next()
            .unwrap_or("")
            .chars()
            .filter(|c| !c.is_control())
            .take(1000)
            .collect();
        self.text.insert_str(line);
    }

    /// Completes the name of an action as far as it is unique.
    pub fn complete(&mut self) {
        if self.purpose != Purpose::Command {
            return;
        }
        let typed = self.line().to_owned();
        let found = candidates(&typed);
        let Some(first) = found.first() else { return };
        let common = found.iter().fold((*first).to_owned(), |common, id| {
            common
                .chars()
                .zip(id.chars())
                .take_while(|(a, b)| a == b)
                .map(|(a, _)| a)
                .collect()
        });
        if common.len() > typed.len() {
            *self = Self::new(Purpose::Command, &common);
        }
    }
}

/// The ids that a typed text can become: those that begin with it, else those that contain it.
fn candidates(typed: &str) -> Vec<&'static str> {
    let ids = || ACTIONS.iter().map(|s| s.id);
    let found: Vec<&str> = ids().filter(|id| id.starts_with(typed)).collect();
    if found.is_empty() {
        ids().filter(|id| id.contains(typed)).collect()
    } else {
        found
    }
}

/// The action that a typed command means: its id, or a part of it that only one has.
///
/// # Errors
/// What to type instead.
pub fn resolve(typed: &str) -> Result<Action, String> {
    let typed = typed.trim();
    if let Some(action) = Action::parse(typed) {
        return Ok(action);
    }
    match candidates(typed).as_slice() {
        [one] => Action::parse(one).ok_or_else(|| format!("unknown command {typed:?}")),
        [] => Err(match nearest(typed, ACTIONS.iter().map(|s| s.id)) {
            Some(id) => format!("unknown command {typed:?}; did you mean {id}?"),
            None => format!("unknown command {typed:?}; ? shows what there is"),
        }),
        many => Err(format!(
            "{typed:?} can mean {}",
            many.iter().take(5).copied().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Draws the prompt on the last line, with what it could become above it.
pub fn draw(app: &App, prompt: &Prompt, frame: &mut Frame<'_>) {
    let theme = app.setup.theme;
    let screen = frame.area();
    let line = Rect {
        y: screen.bottom().saturating_sub(1),
        height: 1,
        ..screen
    };
    frame.render_widget(Clear, line);
    let sign = match prompt.purpose {
        Purpose::Find => "/",
        Purpose::FilterIn => "only lines with: ",
        Purpose::FilterOut => "hide lines with: ",
        Purpose::Time => "go to (15:02, -5m): ",
        Purpose::Mark => "note: ",
        Purpose::Export => "save to file (Enter: a new one, here): ",
        Purpose::Command => ":",
        Purpose::Fail => "what was seen: ",
        Purpose::Skip => "why is it left out: ",
        Purpose::Comment => "remark: ",
        Purpose::IncidentTitle => "what is it about: ",
        Purpose::Severity => "P0 or P1, and why: ",
        Purpose::Role => "role and person (communications anna): ",
        Purpose::HandOver => "hand over to NAME, and what they have to know: ",
        Purpose::EndIncident => "what ended it: ",
        Purpose::Anchor => "head hash from a report (Enter: the chain alone): ",
        Purpose::FilterEvents => "only events with (anna backend failed): ",
    };
    let used = sign.len() as u16 + 1;
    frame.render_widget(
        Line::styled(format!(" {sign}"), theme.style(Role::Accent)),
        Rect {
            width: used.min(line.width),
            ..line
        },
    );
    let text = Rect {
        x: line.x + used.min(line.width),
        width: line.width.saturating_sub(used),
        ..line
    };
    frame.render_widget(&prompt.text, text);
    if prompt.purpose == Purpose::Command && !prompt.line().is_empty() {
        let found: Vec<Line<'_>> = candidates(prompt.line())
            .into_iter()
            .take(6)
            .filter_map(Action::parse)
            .map(|action| {
                let spec = action.spec();
                Line::from(vec![
                    ratatui::text::Span::styled(
                        format!("  {:<28}", spec.id),
                        theme.style(Role::Accent),
                    ),
                    ratatui::text::Span::styled(spec.help.trim(), theme.style(Role::Dim)),
                ])
            })
            .collect();
        let height = (found.len() as u16).min(line.y);
        let area = Rect {
            y: line.y - height,
            height,
            ..screen
        };
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(found), area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_action_or_a_unique_part_of_one() {
        assert_eq!(resolve("app.quit"), Ok(Action::Quit));
        assert_eq!(resolve("quit"), Ok(Action::Quit));
        assert_eq!(resolve("roll-back"), Ok(Action::RollBack));
        assert!(resolve("focus").unwrap_err().contains("can mean"));
        assert!(resolve("ap.quit").unwrap_err().contains("app.quit"));
    }

    #[test]
    fn tab_completes_as_far_as_it_is_unique() {
        let mut prompt = Prompt::new(Purpose::Command, "services.ro");
        prompt.complete();
        assert_eq!(prompt.line(), "services.roll-back");
        let mut prompt = Prompt::new(Purpose::Command, "services.s");
        prompt.complete();
        assert_eq!(prompt.line(), "services.s");
    }

    #[test]
    fn pasted_text_is_one_line_without_controls() {
        let mut prompt = Prompt::new(Purpose::Find, "");
        prompt.paste("a\u{1b}[31mb\nsecond");
        assert_eq!(prompt.line(), "a[31mb");
    }
}
