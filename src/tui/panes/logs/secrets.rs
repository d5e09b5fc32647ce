//! Secrets in lines: hidden wherever lines are drawn or taken out, until somebody asks to see them. A wall monitor, a
//! shared screen and a pasted line are read by more people than the log.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::analysis::redact::Redactor;
use crate::domain::safe_text::SafeText;

/// How lines are shown: without their secrets, or for a while with them.
#[derive(Debug, Clone)]
pub struct Secrets {
    redactor: Redactor,
    /// Until when they are shown; `None` while they are hidden.
    pub shown_until: Option<Timestamp>,
}

/// What is known is not compared.
impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.shown_until == other.shown_until
    }
}

impl Secrets {
    /// Hidden, as far as this redactor knows them.
    pub fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            shown_until: None,
        }
    }

    /// More, or others, are known.
    pub fn learn(&mut self, known: Self) {
        self.redactor = known.redactor;
    }

    /// A part of a line without its secrets; `None` where it holds none, and while they are shown.
    pub fn hidden(&self, bytes: &[u8]) -> Option<String> {
        self.without_secrets(&SafeText::from_bytes(bytes))
    }

    /// A part of a line, safe to draw and to hand on.
    pub fn safe(&self, bytes: &[u8]) -> SafeText {
        if self.shown_until.is_some() {
            return SafeText::from_bytes(bytes);
        }
        self.clean(bytes)
    }

    /// A part of a line without its secrets, even while they are shown: what is written down is read by others later.
    pub fn clean(&self, bytes: &[u8]) -> SafeText {
        let text = SafeText::from_bytes(bytes);
        match self.redactor.redact(text.as_str()) {
            Cow::Owned(clean) => SafeText::from_text(&clean),
            Cow::Borrowed(_) => text,
        }
    }

    fn without_secrets(&self, text: &SafeText) -> Option<String> {
        if self.shown_until.is_some() {
            return None;
        }
        match self.redactor.redact(text.as_str()) {
            Cow::Owned(clean) => Some(clean),
            Cow::Borrowed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::tui::app::App;
    use crate::tui::effect::Effect;
    use crate::tui::fixtures::{broken, later, log, redactor, screen};
    use crate::tui::msg::Msg;
    use crate::tui::update::update;

    #[test]
    fn a_secret_is_hidden_until_it_is_asked_for() {
        let mut secrets = Secrets::new(redactor(&["hunter2-hunter2"]));
        let line = b"connecting as app with hunter2-\x1b[31mhunter2";
        let safe = secrets.safe(line);
        assert!(!safe.as_str().contains("hunter2"), "{safe}");
        assert!(safe.as_str().contains("[REDACTED:"), "{safe}");
        assert_eq!(secrets.hidden(b"nothing of interest"), None);
        secrets.shown_until = Some(Timestamp::UNIX_EPOCH);
        assert!(secrets.safe(line).as_str().contains("hunter2-hunter2"));
        assert!(!secrets.clean(line).as_str().contains("hunter2"));
    }

    fn type_in(app: &mut App, text: &str) -> Vec<Effect> {
        let press = |c| Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        text.chars().flat_map(|c| update(app, press(c))).collect()
    }

    fn says(app: &App, text: &str) -> bool {
        app.notices.iter().any(|n| n.text.as_str().contains(text))
    }

    #[test]
    fn secrets_in_logs_are_hidden_until_somebody_asks_and_is_recorded() {
        let mut app = broken(120, 40);
        let known = Secrets::new(redactor(&["hunter2-of-the-pool"]));
        update(&mut app, Msg::SecretsKnown(known));
        let slot = app.logs.sources[0].slot;
        let line = "ERROR no connection as shop:hunter2-of-the-pool";
        let pieces = vec![log().1.block(&[("15:31:06.000", line)])];
        update(&mut app, Msg::Log { slot, pieces });
        type_in(&mut app, "2G");
        assert!(!screen(&app).contains("hunter2"), "{}", screen(&app));
        assert!(screen(&app).contains("shop:[REDACTED:"), "{}", screen(&app));
        let copied = |app: &mut App| format!("{:?}", type_in(app, "y"));
        assert!(!copied(&mut app).contains("hunter2"));

        // Not before it is recorded.
        let effects = type_in(&mut app, "R");
        assert!(
            effects
                .iter()
                .any(|e| matches!(e, Effect::RevealSecrets(ids) if !ids.is_empty()))
        );
        assert!(!screen(&app).contains("hunter2"));
        update(&mut app, Msg::SecretsRevealed);
        assert!(screen(&app).contains("shop:hunter2-of-the-pool"));
        assert!(screen(&app).contains("secrets shown"), "{}", screen(&app));
        assert!(copied(&mut app).contains("hunter2"));
        later(&mut app, Duration::from_secs(61));
        assert!(!screen(&app).contains("hunter2"));

        // Hidden again at once, and never on a wall.
        update(&mut app, Msg::SecretsRevealed);
        assert!(type_in(&mut app, "R").is_empty());
        assert!(!screen(&app).contains("hunter2"));
        app.focus.is_wall = true;
        let effects = type_in(&mut app, "R");
        let is_asked = |effect: &Effect| matches!(effect, Effect::RevealSecrets(_));
        assert!(!effects.iter().any(is_asked), "{effects:?}");
        assert!(says(&app, "not shown on a wall"));
    }
}
