//! Levels as loggers write them.

use crate::domain::log::Level;

/// The level a word means, whatever its case; `None` for any other word.
pub fn from_word(word: &[u8]) -> Option<Level> {
    if !(3..=11).contains(&word.len()) {
        return None;
    }
    let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
    Some(match word[0].to_ascii_lowercase() {
        b't' if is("trace") => Level::Trace,
        b'v' if is("verbose") => Level::Debug,
        b'd' if is("debug") || is("dbg") => Level::Debug,
        b'f' if is("fine") || is("finer") => Level::Debug,
        b'f' if is("finest") => Level::Trace,
        b'f' if is("fatal") || is("failure") => Level::Fatal,
        b'i' if is("info") || is("information") || is("inf") => Level::Info,
        b'n' if is("notice") => Level::Info,
        b'l' if is("log") => Level::Info,
        b'w' if is("warn") || is("warning") || is("wrn") => Level::Warn,
        b'e' if is("error") || is("err") || is("eror") => Level::Error,
        b'e' if is("emerg") || is("emergency") => Level::Fatal,
        b's' if is("severe") => Level::Error,
        b'c' if is("crit") || is("critical") => Level::Fatal,
        b'a' if is("alert") => Level::Fatal,
        b'p' if is("panic") => Level::Fatal,
        _ => return None,
    })
}

/// A level that stands where a header has it: upper case (`ERROR`), or any case in brackets or before a colon.
/// Words that also begin sentences (`log`, `notice`, `alert`, `failure`, `fine`) need one of those forms.
pub fn from_token(token: &[u8]) -> Option<Level> {
    let (inner, marked) = strip_marks(token);
    // structlog pads inside of the brackets: `[error    ]`.
    let inner = inner.trim_ascii_end();
    let Some(level) = from_word(inner) else {
        return if token.ends_with(b":") {
            from_console_word(inner).or_else(|| behind_channel(inner, b'.'))
        } else if token.first() == Some(&b'[') {
            behind_channel(inner, b':')
        } else {
            None
        };
    };
    let upper = inner.iter().all(u8::is_ascii_uppercase);
    (marked || upper).then_some(level)
}

/// What only .NET's console logger calls its levels (`fail: Shop.Orders[0]`).
fn from_console_word(word: &[u8]) -> Option<Level> {
    Some(match word {
        b"trce" => Level::Trace,
        b"dbug" => Level::Debug,
        b"fail" => Level::Error,
        _ => return None,
    })
}

/// The level behind the name of a channel or module: `production.ERROR:` (Monolog), `[proxy:error]` (Apache).
fn behind_channel(word: &[u8], separator: u8) -> Option<Level> {
    let at = memchr::memrchr(separator, word)?;
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let is_channel = at > 0 && word[..at].iter().all(is_name);
    is_channel.then(|| from_word(&word[at + 1..])).flatten()
}

/// Takes brackets, a trailing colon and the like from around a word; says whether there were any.
fn strip_marks(token: &[u8]) -> (&[u8], bool) {
    let start = token
        .iter()
        .position(|b| !matches!(b, b'[' | b'<' | b'('))
        .unwrap_or(token.len());
    let end = token
        .iter()
        .rposition(|b| !matches!(b, b']' | b'>' | b')' | b':' | b'|'))
        .map_or(start, |at| at + 1);
    if end <= start {
        return (&[], false);
    }
    (&token[start..end], start > 0 || end < token.len())
}

/// The numbers of pino and bunyan (10, 20, … 60), of Monolog (100, 200, … 600) and of syslog severities (0 to 7).
pub fn from_number(number: u32) -> Option<Level> {
    Some(match number {
        10 => Level::Trace,
        20 => Level::Debug,
        30 => Level::Info,
        40 => Level::Warn,
        50 => Level::Error,
        60 => Level::Fatal,
        100 => Level::Debug,
        200 | 250 => Level::Info,
        300 => Level::Warn,
        400 => Level::Error,
        500 | 550 | 600 => Level::Fatal,
        0..=2 => Level::Fatal,
        3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        7 => Level::Debug,
        _ => return None,
    })
}

/// One letter, as Android and klog write it.
pub fn from_letter(letter: u8) -> Option<Level> {
    Some(match letter {
        b'V' => Level::Trace,
        b'D' => Level::Debug,
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' | b'C' => Level::Fatal,
        _ => return None,
    })
}

/// The level of text without one that says by itself that something failed: `TypeError: …`, `Traceback`,
/// `panic:`, `Exception in thread`, `Segmentation fault`.
pub fn from_failure(text: &[u8]) -> Option<Level> {
    const STARTS: &[(&[u8], Level)] = &[
        (b"Traceback (most recent call last)", Level::Error),
        (b"Exception in thread", Level::Error),
        (b"Unhandled exception", Level::Error),
        (b"Uncaught ", Level::Error),
        (b"UnhandledPromiseRejection", Level::Error),
        (b"panic:", Level::Fatal),
        (b"PHP Fatal error:", Level::Fatal),
        (b"PHP Parse error:", Level::Fatal),
        (b"PHP Recoverable fatal error:", Level::Error),
        (b"PHP Warning:", Level::Warn),
        (b"PHP Deprecated:", Level::Info),
        (b"PHP Notice:", Level::Info),
        (b"fatal error:", Level::Fatal),
        (b"Segmentation fault", Level::Fatal),
        (b"Error:", Level::Error),
        (b"Exception:", Level::Error),
        (b"Caused by:", Level::Error),
    ];
    if let Some((_, level)) = STARTS.iter().find(|(start, _)| text.starts_with(start)) {
        return Some(*level);
    }
    if text.starts_with(b"thread '")
        && memchr::memmem::find(&text[..text.len().min(200)], b" panicked at ").is_some()
    {
        return Some(Level::Fatal);
    }
    exception_class(text).map(|_| Level::Error)
}

/// The exception's class at the start of a line: `AttributeError`, `java.lang.IllegalStateException`,
/// `app.errors.NotFound`; it must be followed by a colon or the line's end.
pub fn exception_class(text: &[u8]) -> Option<&[u8]> {
    let end = text
        .iter()
        .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$' | b'\\')))
        .unwrap_or(text.len());
    let name = &text[..end];
    let follows = text.get(end).is_none_or(|b| matches!(b, b':' | b'\r'));
    let last = name.rsplit(|b| matches!(b, b'.' | b'$' | b'\\')).next()?;
    let named = [
        &b"Error"[..],
        b"Exception",
        b"Fault",
        b"Failure",
        b"Warning",
        b"Interrupt",
        b"Exit",
        b"Timeout",
    ]
    .iter()
    .any(|suffix| last.ends_with(suffix) && (last.len() > suffix.len() || name.len() > last.len()));
    (follows && named && name[0].is_ascii_alphabetic()).then_some(name)
}

/// As [`exception_class`], inside a trace, where a dotted name in front of a colon is one whatever it is called
/// (`app.errors.NotFound: …`).
pub fn exception_in_trace(text: &[u8]) -> Option<&[u8]> {
    exception_class(text).or_else(|| {
        let end = memchr::memchr(b':', text)?;
        let name = &text[..end];
        let last = name.rsplit(|b| *b == b'.').next()?;
        let plain = name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'));
        (plain && last.len() < name.len() && last.first()?.is_ascii_uppercase()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_need_the_form_of_a_level() {
        assert_eq!(from_token(b"ERROR"), Some(Level::Error));
        assert_eq!(from_token(b"ERROR:"), Some(Level::Error));
        assert_eq!(from_token(b"[error]"), Some(Level::Error));
        assert_eq!(from_token(b"[WARNING]"), Some(Level::Warn));
        assert_eq!(from_token(b"info:"), Some(Level::Info));
        assert_eq!(from_token(b"error"), None);
        assert_eq!(from_token(b"LOG:"), Some(Level::Info));
        assert_eq!(from_token(b"fail:"), Some(Level::Error));
        assert_eq!(from_token(b"[fail]"), None);
        assert_eq!(from_token(b"production.ERROR:"), Some(Level::Error));
        assert_eq!(from_token(b"[proxy:error]"), Some(Level::Error));
        assert_eq!(from_token(b"[error    ]"), Some(Level::Error));
        assert_eq!(from_token(b"see.error"), None);
        assert_eq!(from_token(b"10:error"), None);
        assert_eq!(from_token(b"errors"), None);
        assert_eq!(from_token(b"[]"), None);
    }

    #[test]
    fn text_can_say_by_itself_that_it_failed() {
        assert_eq!(
            from_failure(b"TypeError: x is undefined"),
            Some(Level::Error)
        );
        assert_eq!(
            from_failure(b"java.lang.IllegalStateException: no"),
            Some(Level::Error)
        );
        assert_eq!(from_failure(b"panic: runtime error"), Some(Level::Fatal));
        assert_eq!(
            from_failure(b"thread 'main' panicked at src/main.rs:1:1:"),
            Some(Level::Fatal)
        );
        assert_eq!(from_failure(b"No errors found"), None);
        assert_eq!(from_failure(b"Error rate is fine"), None);
    }
}
