//! Text from outside, made safe for a terminal. The sanitiser here is its only constructor.
//!
//! Log lines, container names, labels, probe bodies and error messages of other programs can carry escape
//! sequences that move the cursor, retitle the window, write the clipboard or reorder what is read. A pane, a
//! report and a notification take [`SafeText`] only, so none of that can reach a screen, and the compiler says
//! where it was forgotten.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthChar;

/// At most so many bytes of a line are kept for a screen; the rest is counted, not shown.
pub const MAX_BYTES: usize = 64 * 1024;
/// A string sequence (OSC, DCS) that is not ended by then was never one.
const MAX_SEQUENCE: usize = 4 * 1024;
/// A cell of a terminal gets at most so many code points: one base and its combining marks.
const MAX_MARKS: usize = 7;
/// Stands for an escape sequence that was taken out.
const ESCAPE_MARK: char = '␛';

/// One line of text that is safe to draw: no control characters, no escape sequences, no bidirectional
/// overrides or invisible characters, a bounded number of combining marks and of bytes.
///
/// Sanitising is idempotent: safe text made from safe text is the same text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct SafeText(Arc<str>);

impl SafeText {
    /// Makes one line safe. Line breaks inside become `␊`; [`SafeText::lines`] splits instead.
    pub fn from_text(text: &str) -> Self {
        if is_plain(text) {
            return Self(Arc::from(text));
        }
        Self(Arc::from(sanitise(text, &mut |_, _| {}).as_str()))
    }

    /// Makes bytes safe and keeps what they say of colour and weight: the parameters of each SGR sequence (`1;31`),
    /// with the byte of the text from which on they hold.
    pub fn with_colours(bytes: &[u8]) -> (Self, Vec<(usize, String)>) {
        let text = String::from_utf8_lossy(bytes);
        let mut colours = Vec::new();
        let safe = sanitise(&text, &mut |at, parameters| {
            colours.push((at, parameters.to_owned()));
        });
        (Self(Arc::from(safe.as_str())), colours)
    }

    /// Makes bytes safe; what is not UTF-8 becomes U+FFFD.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::from_text(text),
            Err(_) => Self::from_text(&String::from_utf8_lossy(bytes)),
        }
    }

    /// The whole chain of causes of an error: `what: why: why`. A cause that its parent already prints is not
    /// repeated.
    pub fn from_error(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text.push_str(": ");
                text.push_str(&inner_text);
            }
            cause = inner.source();
        }
        Self::from_text(text.trim_end())
    }

    /// Splits at line breaks and makes each line safe.
    pub fn lines(text: &str) -> Vec<Self> {
        text.lines().map(Self::from_text).collect()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Default for SafeText {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl AsRef<str> for SafeText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for SafeText {
    fn from(text: String) -> Self {
        Self::from_text(&text)
    }
}

impl From<&str> for SafeText {
    fn from(text: &str) -> Self {
        Self::from_text(text)
    }
}

impl From<SafeText> for String {
    fn from(text: SafeText) -> Self {
        text.0.to_string()
    }
}

/// Printable ASCII within the limit needs no work; nearly every log line is that.
fn is_plain(text: &str) -> bool {
    text.len() <= MAX_BYTES && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// `on_colour` hears of every SGR sequence: where in the safe text it stood, and its parameters.
fn sanitise(text: &str, on_colour: &mut dyn FnMut(usize, &str)) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_BYTES) + 16);
    let mut column = 0usize;
    let mut marks = 0usize;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if out.len() >= MAX_BYTES {
            // Text that was cut before carries its own note: cutting it again would not be idempotent.
            if is_note(rest) {
                out.push_str(rest);
            } else {
                out.push_str(&format!("… {} more bytes", rest.len()));
            }
            break;
        }
        let tail = &rest[c.len_utf8()..];
        match c {
            '\u{1b}' => {
                let (used, mark) = escape_length(tail);
                if mark {
                    out.push(ESCAPE_MARK);
                    column += 1;
                    marks = 0;
                } else {
                    on_colour(out.len(), &tail[1..used - 1]);
                }
                rest = &tail[used..];
                continue;
            }
            '\u{9b}' => {
                let (used, is_sgr) = csi_length(tail);
                if is_sgr {
                    on_colour(out.len(), &tail[..used - 1]);
                } else {
                    out.push(ESCAPE_MARK);
                    column += 1;
                    marks = 0;
                }
                rest = &tail[used..];
                continue;
            }
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => {
                out.push(ESCAPE_MARK);
                column += 1;
                rest = &tail[string_length(tail)..];
                marks = 0;
                continue;
            }
            '\t' => {
                let to = 8 - column % 8;
                push_within(&mut out, &"        "[..to]);
                column += to;
                marks = 0;
            }
            '\u{0}'..='\u{1f}' => {
                // The control pictures: NUL is ␀, carriage return (which would overwrite the line) is ␍.
                out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'));
                column += 1;
                marks = 0;
            }
            '\u{7f}' => {
                out.push('␡');
                column += 1;
                marks = 0;
            }
            c if is_invisible(c) => {
                let shown = format!("<U+{:04X}>", c as u32);
                column += shown.len();
                push_within(&mut out, &shown);
                marks = 0;
            }
            c => {
                let width = c.width().unwrap_or(0);
                if width == 0 {
                    marks += 1;
                    if marks <= MAX_MARKS {
                        out.push(c);
                    }
                } else {
                    marks = 0;
                    column += width;
                    out.push(c);
                }
            }
        }
        rest = tail;
    }
    out
}

/// Appends ASCII up to the limit and not over it: made safe again, the text has to be cut at the same byte.
fn push_within(out: &mut String, ascii: &str) {
    let room = MAX_BYTES - out.len();
    out.push_str(&ascii[..room.min(ascii.len())]);
}

/// `… 12 more bytes`, the note of text that was cut.
fn is_note(text: &str) -> bool {
    text.strip_prefix("… ")
        .and_then(|rest| rest.strip_suffix(" more bytes"))
        .is_some_and(|count| {
            (1..=20).contains(&count.len()) && count.bytes().all(|b| b.is_ascii_digit())
        })
}

/// C1 controls, bidirectional controls, zero-width characters, line separators, tags, and variation
/// selectors, on whose width terminals disagree: none of them shows itself, all of them change what is read.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// How many bytes after ESC belong to the sequence, and whether it leaves a mark. Colour (SGR) leaves none.
fn escape_length(tail: &str) -> (usize, bool) {
    match tail.chars().next() {
        Some('[') => {
            let (used, is_sgr) = csi_length(&tail[1..]);
            (used + 1, !is_sgr)
        }
        Some(']' | 'P' | 'X' | '^' | '_') => (1 + string_length(&tail[1..]), true),
        // Two-character sequences, with intermediates such as `ESC ( B` (choice of character set).
        Some(c) if (' '..='/').contains(&c) => {
            let used = tail
                .find(|c: char| !(' '..='/').contains(&c))
                .unwrap_or(tail.len());
            let last = tail[used..]
                .chars()
                .next()
                .filter(char::is_ascii)
                .map_or(0, char::len_utf8);
            (used + last, true)
        }
        Some(c) if ('0'..='~').contains(&c) => (1, true),
        _ => (0, true),
    }
}

/// The length of a CSI's parameters and final byte, and whether it only sets colour and weight.
fn csi_length(tail: &str) -> (usize, bool) {
    let bytes = tail.as_bytes();
    let end = bytes
        .iter()
        .take(256)
        .position(|b| !(0x20..=0x3f).contains(b))
        .unwrap_or(bytes.len().min(256));
    match bytes.get(end) {
        Some(b'm') => (
            end + 1,
            bytes[..end]
                .iter()
                .all(|b| b.is_ascii_digit() || *b == b';' || *b == b':'),
        ),
        Some(0x40..=0x7e) => (end + 1, false),
        _ => (end, false),
    }
}

/// The length of a string sequence with its terminator; up to the line's end or 4 KiB where there is none.
fn string_length(tail: &str) -> usize {
    let mut previous = '\0';
    for (at, c) in tail.char_indices() {
        if at >= MAX_SEQUENCE || c == '\n' {
            return at;
        }
        if c == '\u{7}' || c == '\u{9c}' || (previous == '\u{1b}' && c == '\\') {
            return at + c.len_utf8();
        }
        previous = c;
    }
    tail.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn safe(text: &str) -> String {
        SafeText::from_text(text).as_str().to_owned()
    }

    #[test]
    fn colour_goes_without_litter() {
        assert_eq!(safe("\u{1b}[1;31mERROR\u{1b}[0m x"), "ERROR x");
        assert_eq!(safe("\u{1b}[38:2::1:2:3mred"), "red");
    }

    #[test]
    fn colours_can_be_kept_beside_the_text() {
        let (text, colours) = SafeText::with_colours(b"a\x1b[1;31mred\x1b[0m \xc2\x9b32mb\x1b[2J");
        assert_eq!(text.as_str(), "ared b␛");
        let at: Vec<(usize, &str)> = colours.iter().map(|(at, c)| (*at, c.as_str())).collect();
        assert_eq!(at, [(1, "1;31"), (4, "0"), (5, "32")]);
    }

    #[test]
    fn other_sequences_leave_one_mark() {
        assert_eq!(safe("a\u{1b}[2Kb\u{1b}[10;20Hc"), "a␛b␛c");
        assert_eq!(safe("\u{1b}]0;title\u{7}x"), "␛x");
        assert_eq!(safe("\u{1b}]52;c;aGk=\u{1b}\\x"), "␛x");
        assert_eq!(safe("\u{1b}Pq#0\u{1b}\\x"), "␛x");
        assert_eq!(safe("\u{1b}(Bx"), "␛x");
        assert_eq!(safe("\u{9b}2Jx"), "␛x");
        assert_eq!(safe("end\u{1b}"), "end␛");
        assert_eq!(safe("\u{1b}[>4mx"), "␛x");
    }

    #[test]
    fn an_unended_string_sequence_ends_with_the_line() {
        assert_eq!(safe("a\u{1b}]0;evil\nnext"), "a␛␊next");
        let long = format!("\u{1b}]0;{}tail", "x".repeat(5000));
        assert!(safe(&long).ends_with("tail"));
    }

    #[test]
    fn controls_are_shown_not_obeyed() {
        assert_eq!(safe("50%\r100%"), "50%␍100%");
        assert_eq!(safe("a\u{0}b\u{7}\u{8}\u{7f}"), "a␀b␇␈␡");
        assert_eq!(safe("a\tb"), "a       b");
        assert_eq!(safe("12345678\tb"), "12345678        b");
    }

    #[test]
    fn what_reorders_or_hides_is_named() {
        assert_eq!(safe("user\u{202e}txt.exe"), "user<U+202E>txt.exe");
        assert_eq!(safe("a\u{200b}b\u{feff}"), "a<U+200B>b<U+FEFF>");
    }

    #[test]
    fn letters_of_every_script_stay() {
        for text in ["Ошибка подключения", "接続エラー", "naïve café", "👍 ok"]
        {
            assert_eq!(safe(text), text);
        }
    }

    #[test]
    fn a_cell_takes_a_bounded_number_of_marks() {
        let zalgo = format!("a{}b", "\u{301}".repeat(500));
        assert_eq!(safe(&zalgo).chars().count(), 2 + MAX_MARKS);
    }

    #[test]
    fn colour_between_marks_does_not_make_room_for_more() {
        let marks = "\u{301}".repeat(MAX_MARKS);
        let once = safe(&format!("a{marks}\u{1b}[0m{marks}\u{9b}m{marks}b"));
        assert_eq!(once.chars().count(), 2 + MAX_MARKS);
        assert_eq!(safe(&once), once);
    }

    #[test]
    fn what_looks_like_the_note_of_a_cut_is_made_safe_too() {
        let full = "x".repeat(MAX_BYTES);
        let once = safe(&format!("{full}… \u{1b}]0;evil\u{7} more bytes"));
        assert!(once.chars().all(|c| !c.is_control()));
        assert!(once.ends_with("… 24 more bytes"), "{}", &once[MAX_BYTES..]);
    }

    #[test]
    fn a_cut_line_is_cut_at_the_same_place_again() {
        for last in ["\t", "\u{202e}", "接", "\u{301}"] {
            for less in 0..12 {
                let text = format!("{}{last}{}", "x".repeat(MAX_BYTES - less), "y".repeat(40));
                let once = safe(&text);
                assert_eq!(safe(&once), once, "{last:?} {less} bytes before the limit");
            }
        }
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let line = "x".repeat(MAX_BYTES + 10);
        assert!(safe(&line).ends_with("… 10 more bytes"));
    }

    #[test]
    fn bytes_that_are_not_text_become_replacement_characters() {
        assert_eq!(SafeText::from_bytes(b"a\xffb").as_str(), "a\u{fffd}b");
    }

    #[test]
    fn the_chain_of_causes_is_kept() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the log")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk\u{1b}[2J gone"));
        assert_eq!(
            SafeText::from_error(&error).as_str(),
            "cannot read the log: disk␛ gone"
        );
    }

    proptest! {
        #[test]
        fn no_control_survives_and_sanitising_is_idempotent(text in "\\PC*|[\\x00-\\x1f\\u{7f}-\\u{9f}\\u{1b}\\[\\];a-z0-9m]*|.*") {
            let once = safe(&text);
            prop_assert!(once.chars().all(|c| !c.is_control() && !is_invisible(c)));
            prop_assert_eq!(safe(&once), once);
        }

        #[test]
        fn the_length_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..2000), times in 1usize..80) {
            let text = SafeText::from_bytes(&bytes.repeat(times));
            prop_assert!(text.as_str().len() <= MAX_BYTES + 64);
        }
    }
}
