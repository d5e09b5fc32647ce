//! Text that is safe to draw, with and without the colours of its source.

use lastgood::domain::safe_text::{MAX_BYTES, SafeText};
use lastgood::tui::format;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One cell takes a base and so many marks.
const MAX_MARKS: usize = 7;
/// `… 18446744073709551615 more bytes`.
const LONGEST_NOTE: usize = 36;
/// Longer text is not read in every way there is.
const SHORT: usize = 4096;

pub(super) fn check(bytes: &[u8]) {
    let safe = SafeText::from_bytes(bytes);
    check_characters(safe.as_str());
    check_width(bytes, safe.as_str());
    assert_eq!(SafeText::from_text(safe.as_str()), safe, "made safe twice");
    if bytes.len() <= MAX_BYTES && bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        assert_eq!(safe.as_str().as_bytes(), bytes, "plain text stays");
    }

    let (text, colours) = SafeText::with_colours(bytes);
    assert_eq!(text, safe, "with its colours");
    assert!(colours.is_sorted_by_key(|(at, _)| *at));
    for (at, parameters) in &colours {
        assert!(text.as_str().is_char_boundary(*at));
        assert!(
            parameters
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b';' || b == b':')
        );
    }

    if bytes.len() > SHORT {
        return;
    }
    let lossy = String::from_utf8_lossy(bytes);
    assert_eq!(SafeText::from_text(&lossy), safe);
    let lines = SafeText::lines(&lossy);
    assert_eq!(lines.len(), lossy.lines().count());
    for line in &lines {
        check_characters(line.as_str());
    }
}

/// No character moves the cursor, reorders what is read, or hides.
fn check_characters(text: &str) {
    assert!(
        text.len() <= MAX_BYTES + LONGEST_NOTE,
        "{} bytes",
        text.len()
    );
    let mut marks = 0;
    for c in text.chars() {
        if (' '..='~').contains(&c) {
            marks = 0;
            continue;
        }
        assert!(!c.is_control(), "{c:?} is a control character");
        assert!(!is_hidden(c), "{c:?} reorders or hides");
        marks = if c.width() == Some(0) { marks + 1 } else { 0 };
        assert!(marks <= MAX_MARKS, "{marks} marks in a cell");
    }
}

/// Bidi_Control, Default_Ignorable_Code_Point, and the separators of lines and paragraphs, of Unicode 16.
fn is_hidden(c: char) -> bool {
    const RANGES: [(u32, u32); 22] = [
        (0x00ad, 0x00ad),
        (0x034f, 0x034f),
        (0x061c, 0x061c),
        (0x115f, 0x1160),
        (0x17b4, 0x17b5),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x2028, 0x2029),
        (0x202a, 0x202e),
        (0x2060, 0x2064),
        (0x2065, 0x2065),
        (0x2066, 0x2069),
        (0x206a, 0x206f),
        (0x3164, 0x3164),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xffa0, 0xffa0),
        (0xfff0, 0xfff8),
        (0xfff9, 0xfffb),
        (0x1bca0, 0x1bca3),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
    ];
    RANGES
        .iter()
        .any(|(from, to)| (*from..=*to).contains(&u32::from(c)))
}

/// Columns are what they are said to be.
fn check_width(bytes: &[u8], text: &str) {
    // A tab goes to a multiple of eight, counted as a terminal counts.
    if bytes.len() <= SHORT {
        let tabbed = SafeText::from_bytes(&[bytes, b"\t"].concat());
        let columns: usize = tabbed.as_str().chars().filter_map(|c| c.width()).sum();
        // An escape sequence may have taken the tab with it.
        if tabbed.as_str().ends_with(' ') && !text.ends_with(' ') {
            assert_eq!(columns % 8, 0, "{tabbed:?}");
        }
    }
    if text.len() > 600 {
        return;
    }
    for width in [0, 1, 2, 7, 20] {
        for cut in [format::cut(text, width), format::cut_left(text, width)] {
            assert!(
                cut.width() <= width,
                "{cut:?} has more than {width} columns"
            );
        }
        let part = format::columns(text, 3, width);
        assert!(text.contains(part));
        let drawn: usize = part.graphemes(true).map(UnicodeWidthStr::width).sum();
        assert!(drawn <= width, "{part:?} has more than {width} columns");
    }
}
