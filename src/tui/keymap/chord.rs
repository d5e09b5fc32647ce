//! One key with its modifiers: how it is written in a keymap, how a terminal sends it, how it is shown.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key with its modifiers. Shift is part of a character (`G`), never a modifier of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chord {
    /// The key.
    pub code: KeyCode,
    /// Control and alt; shift only for keys that are not characters.
    pub modifiers: KeyModifiers,
}

const NAMED: &[(&str, &str, KeyCode)] = &[
    ("enter", "Enter", KeyCode::Enter),
    ("esc", "Esc", KeyCode::Esc),
    ("tab", "Tab", KeyCode::Tab),
    ("backtab", "Shift-Tab", KeyCode::BackTab),
    ("backspace", "Backspace", KeyCode::Backspace),
    ("delete", "Del", KeyCode::Delete),
    ("insert", "Ins", KeyCode::Insert),
    ("home", "Home", KeyCode::Home),
    ("end", "End", KeyCode::End),
    ("pageup", "PgUp", KeyCode::PageUp),
    ("pagedown", "PgDn", KeyCode::PageDown),
    ("up", "↑", KeyCode::Up),
    ("down", "↓", KeyCode::Down),
    ("left", "←", KeyCode::Left),
    ("right", "→", KeyCode::Right),
    ("space", "Space", KeyCode::Char(' ')),
];

/// Every name of a key that is not a character, for "did you mean".
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _, _)| *name)
}

impl Chord {
    /// As a terminal sends it.
    pub fn from_event(event: &KeyEvent) -> Self {
        let mut modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        let mut code = event.code;
        match code {
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => {
                code = KeyCode::Char(c.to_ascii_lowercase());
            }
            KeyCode::Char(_) | KeyCode::BackTab => {}
            KeyCode::Tab if event.modifiers.contains(KeyModifiers::SHIFT) => {
                code = KeyCode::BackTab;
            }
            _ => modifiers |= event.modifiers & KeyModifiers::SHIFT,
        }
        Self { code, modifiers }
    }

    /// As it is written in a keymap: `g`, `G`, `ctrl-d`, `alt-<`, `enter`, `f1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut modifiers = KeyModifiers::NONE;
        loop {
            let (found, tail) = if let Some(tail) = rest.strip_prefix("ctrl-") {
                (KeyModifiers::CONTROL, tail)
            } else if let Some(tail) = rest.strip_prefix("alt-") {
                (KeyModifiers::ALT, tail)
            } else if let Some(tail) = rest.strip_prefix("shift-") {
                (KeyModifiers::SHIFT, tail)
            } else {
                break;
            };
            modifiers |= found;
            rest = tail;
        }
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() && c != ' ' => KeyCode::Char(c),
            _ => match NAMED.iter().find(|(name, _, _)| *name == rest) {
                Some((_, _, code)) => *code,
                None => {
                    let number = rest.strip_prefix('f')?.parse::<u8>().ok()?;
                    (1..=12).contains(&number).then_some(KeyCode::F(number))?
                }
            },
        };
        // `shift-g` is written `G`: a second spelling would be a second key.
        let is_char = matches!(code, KeyCode::Char(_));
        if is_char && modifiers.contains(KeyModifiers::SHIFT) {
            return None;
        }
        Some(Self { code, modifiers })
    }

    /// The same key of a Latin keyboard, where the letter comes from a ЙЦУКЕН layout: terminals send the letter,
    /// not the place of the key.
    pub fn to_latin(self) -> Option<Self> {
        const CYRILLIC: &str = "йцукенгшщзхъфывапролджэячсмитьбюё";
        const LATIN: &str = "qwertyuiop[]asdfghjkl;'zxcvbnm,.`";
        const CYRILLIC_SHIFT: &str = "ЙЦУКЕНГШЩЗХЪФЫВАПРОЛДЖЭЯЧСМИТЬБЮЁ";
        const LATIN_SHIFT: &str = "QWERTYUIOP{}ASDFGHJKL:\"ZXCVBNM<>~";
        let KeyCode::Char(c) = self.code else {
            return None;
        };
        let (at, row) = if let Some(at) = CYRILLIC.chars().position(|x| x == c) {
            (at, LATIN)
        } else {
            (CYRILLIC_SHIFT.chars().position(|x| x == c)?, LATIN_SHIFT)
        };
        let code = KeyCode::Char(row.chars().nth(at)?);
        Some(Self { code, ..self })
    }

    /// The character it types, where it types one.
    pub fn text(&self) -> Option<char> {
        match self.code {
            KeyCode::Char(c) if self.modifiers.is_empty() => Some(c),
            _ => None,
        }
    }

    /// How unhandy it is, to show the handiest of several: characters first, then named keys, then chords.
    pub(super) fn weight(&self) -> usize {
        let by_code = match self.code {
            KeyCode::Char(_) => 1,
            KeyCode::Enter | KeyCode::Tab | KeyCode::Esc => 1,
            _ => 3,
        };
        by_code + 3 * self.modifiers.iter().count()
    }
}

impl std::fmt::Display for Chord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (modifier, name) in [
            (KeyModifiers::CONTROL, "Ctrl-"),
            (KeyModifiers::ALT, "Alt-"),
            (KeyModifiers::SHIFT, "Shift-"),
        ] {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        if let Some((_, shown, _)) = NAMED.iter().find(|(_, _, code)| *code == self.code) {
            return f.write_str(shown);
        }
        match self.code {
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::F(n) => write!(f, "F{n}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// A sequence as it is written in a keymap: chords with spaces in between.
pub fn parse_sequence(text: &str) -> Option<Vec<Chord>> {
    let chords: Option<Vec<Chord>> = text.split_whitespace().map(Chord::parse).collect();
    chords.filter(|c| !c.is_empty())
}

/// A sequence as it is shown: `g g`, `Ctrl-d`.
pub fn display(chords: &[Chord]) -> String {
    let shown: Vec<String> = chords.iter().map(ToString::to_string).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(code: KeyCode, modifiers: KeyModifiers) -> Chord {
        Chord::from_event(&KeyEvent::new(code, modifiers))
    }

    #[test]
    fn what_is_written_is_what_a_terminal_sends() {
        let cases = [
            ("g", KeyCode::Char('g'), KeyModifiers::NONE),
            ("G", KeyCode::Char('G'), KeyModifiers::SHIFT),
            ("?", KeyCode::Char('?'), KeyModifiers::SHIFT),
            ("?", KeyCode::Char('?'), KeyModifiers::NONE),
            ("ctrl-d", KeyCode::Char('d'), KeyModifiers::CONTROL),
            ("ctrl-d", KeyCode::Char('D'), KeyModifiers::CONTROL),
            ("backtab", KeyCode::BackTab, KeyModifiers::SHIFT),
            ("backtab", KeyCode::Tab, KeyModifiers::SHIFT),
            ("space", KeyCode::Char(' '), KeyModifiers::NONE),
            ("f12", KeyCode::F(12), KeyModifiers::NONE),
            ("alt-<", KeyCode::Char('<'), KeyModifiers::ALT),
            ("ш", KeyCode::Char('ш'), KeyModifiers::NONE),
            ("-", KeyCode::Char('-'), KeyModifiers::NONE),
        ];
        for (text, code, modifiers) in cases {
            assert_eq!(Chord::parse(text), Some(sent(code, modifiers)), "{text}");
        }
    }

    #[test]
    fn what_no_terminal_sends_is_refused() {
        for bad in ["", "hyper-x", "entr", "f13", "f0", "shift-g", "ctrl-"] {
            assert_eq!(Chord::parse(bad), None, "{bad}");
        }
        assert_eq!(parse_sequence("  "), None);
    }

    #[test]
    fn a_cyrillic_letter_is_the_key_it_stands_on() {
        let latin = |c: char| {
            sent(KeyCode::Char(c), KeyModifiers::NONE)
                .to_latin()
                .and_then(|x| x.text())
        };
        assert_eq!(latin('о'), Some('j'));
        assert_eq!(latin('л'), Some('k'));
        assert_eq!(latin('Д'), Some('L'));
        assert_eq!(latin('Ж'), Some(':'));
        assert_eq!(latin('ъ'), Some(']'));
        assert_eq!(latin('j'), None);
    }
}
