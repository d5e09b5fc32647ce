//! Which lines belong together: a stack trace is one record, and so is a message over several lines.
//!
//! Compose writes the lines of several services into one another, each with its prefix, so framing keeps one
//! open record a stream.

/// The service a line's prefix names (`backend-1  | `, instance numbers left out) and where the line's own text
/// starts. A runtime's timestamp (nine digits of a second and `Z`) is left standing behind it.
pub fn strip_prefix(line: &[u8]) -> (Option<&[u8]>, usize) {
    let Some(bar) = memchr::memchr(b'|', &line[..line.len().min(80)]) else {
        return (None, 0);
    };
    if bar < 2 || line[bar - 1] != b' ' || line.get(bar + 1).is_some_and(|b| *b != b' ') {
        return (None, 0);
    }
    let name = strip_colour(line[..bar].trim_ascii_end());
    let plain = name
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    // A prefix of compose is padded with spaces; a single bar inside a sentence has spaces in front too, but
    // then there are several words.
    let is_word =
        name.is_empty() || name[0].is_ascii_digit() || super::level::from_word(name).is_some();
    if !plain || is_word {
        return (None, 0);
    }
    let start = (bar + 2).min(line.len());
    let rest = &line[start..];
    // `docker compose logs` closes the prefix's colour right behind it.
    let reset = if rest.starts_with(b"\x1b[0m") { 4 } else { 0 };
    (Some(without_instance(name)), start + reset)
}

fn strip_colour(name: &[u8]) -> &[u8] {
    let name = match name.strip_prefix(b"\x1b[") {
        Some(rest) => rest
            .iter()
            .position(|b| *b == b'm')
            .map_or(name, |at| &rest[at + 1..]),
        None => name,
    };
    memchr::memchr(0x1b, name)
        .map_or(name, |at| &name[..at])
        .trim_ascii_end()
}

/// `backend-1` and `shop_backend_1` are instances of one service.
fn without_instance(name: &[u8]) -> &[u8] {
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits + 2 > name.len() {
        return name;
    }
    let stem = &name[..name.len() - digits];
    match stem.last() {
        Some(b'-' | b'_') => &stem[..stem.len() - 1],
        _ => name,
    }
}

/// What stands in front of a line's own text: the service that compose's prefix names (only `with_prefix`), the runtime's
/// timestamp with all that follows it, and the text.
pub fn cut_front(line: &[u8], with_prefix: bool) -> (Option<&[u8]>, Option<&[u8]>, &[u8]) {
    let (name, start) = if with_prefix {
        strip_prefix(line)
    } else {
        (None, 0)
    };
    let text = &line[start..];
    match runtime_timestamp(text) {
        Some(length) => (name, Some(text), &text[length..]),
        None => (name, None, text),
    }
}

/// The runtime's timestamp in front of a line, as `docker logs --timestamps` writes it; its length with the space.
pub fn runtime_timestamp(line: &[u8]) -> Option<usize> {
    if line.len() < 26 || line[4] != b'-' || line[10] != b'T' || line[19] != b'.' {
        return None;
    }
    let fraction = line[20..].iter().take_while(|b| b.is_ascii_digit()).count();
    let zone = 20 + fraction;
    if !(7..=9).contains(&fraction) || line.get(zone) != Some(&b'Z') {
        return None;
    }
    match line.get(zone + 1) {
        Some(b' ') => Some(zone + 2),
        None => Some(zone + 1),
        _ => None,
    }
}

/// Takes the colour off a line (`ESC [ … m` and other CSI sequences), and titles and links (`ESC ] … BEL`). Copies
/// only where there is any.
pub fn without_colour<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memchr(0x1b, line).is_none() {
        return line;
    }
    buffer.clear();
    let mut rest = line;
    while let Some(escape) = memchr::memchr(0x1b, rest) {
        buffer.extend_from_slice(&rest[..escape]);
        rest = &rest[escape + 1..];
        if rest.first() == Some(&b'[') {
            let end = rest[1..]
                .iter()
                .take(64)
                .position(|b| (0x40..=0x7e).contains(b))
                .map_or(1, |at| at + 2);
            rest = &rest[end..];
        } else if rest.first() == Some(&b']') {
            let end = rest
                .iter()
                .take(4096)
                .position(|b| matches!(b, 0x07 | 0x1b))
                .map_or(rest.len(), |at| at + 1);
            rest = rest[end..].strip_prefix(b"\\").unwrap_or(&rest[end..]);
        }
    }
    buffer.extend_from_slice(rest);
    buffer
}

/// How far .NET's console logger indents what stands below a record's first line.
pub const CONSOLE_INDENT: &[u8] = b"      ";

/// Whether a line ends with level and category, as .NET's console logger writes them (`info: Shop.Orders[14]`): the
/// message stands on the next line, behind [`CONSOLE_INDENT`].
pub fn names_category(line: &[u8]) -> bool {
    let Some(rest) = line.strip_suffix(b"]") else {
        return false;
    };
    let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let Some(rest) = rest[..rest.len() - digits].strip_suffix(b"[") else {
        return false;
    };
    let mut words = rest.rsplit(|b| *b == b' ');
    let is_category = words.next().is_some_and(|word| {
        !word.is_empty()
            && word
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'`'))
    });
    let has_level = words
        .next()
        .is_some_and(|word| word.ends_with(b":") && super::level::from_token(word).is_some());
    digits > 0 && is_category && has_level
}

/// Whether a line goes on with the record above it, judged by the line and by whether that record is a trace.
///
/// `expects_header` says that nearly every record of the stream starts with a time, so that a line without one
/// belongs to the record above.
pub fn is_continuation(
    line: &[u8],
    in_trace: bool,
    expects_header: bool,
    has_header: bool,
) -> bool {
    let Some(first) = line.first() else {
        return true;
    };
    if has_header {
        return goes_on_with_header(line);
    }
    if matches!(first, b' ' | b'\t') {
        let inner = line.trim_ascii_start();
        // Content that merely starts with a blank is a line of its own, unless the stream has headers.
        return expects_header
            || in_trace
            || is_frame(inner)
            || inner.is_empty()
            || *first == b'\t';
    }
    if expects_header {
        return true;
    }
    const STARTS: &[&[u8]] = &[
        b"Traceback (most recent call last)",
        b"Caused by:",
        b"During handling of the above exception",
        b"The above exception was",
        b"goroutine ",
        b"... ",
        b"Suppressed:",
        b"--- End of ",
        b"DETAIL:",
        b"HINT:",
        b"STATEMENT:",
        b"CONTEXT:",
    ];
    if STARTS.iter().any(|s| line.starts_with(s)) {
        return true;
    }
    if !in_trace {
        return false;
    }
    super::level::exception_in_trace(line).is_some()
        || matches!(first, b'}' | b')' | b']' | b'^')
        || line.starts_with(b"main.")
        || line.starts_with(b"runtime.")
        || line.starts_with(b"created by ")
        || line.starts_with(b"exit status ")
        || (line.ends_with(b")")
            && memchr::memchr(b'(', line).is_some()
            && memchr::memchr(b' ', line).is_none())
}

/// Whether a line belongs to the record above although it has a header of its own: postgres writes one in front of
/// `DETAIL:  ` and `STATEMENT:  `, and Ruby's logger one in front of each line of a message.
fn goes_on_with_header(line: &[u8]) -> bool {
    const POSTGRES: &[&[u8]] = &[
        b"DETAIL",
        b"HINT",
        b"STATEMENT",
        b"CONTEXT",
        b"QUERY",
        b"LOCATION",
    ];
    let front = &line[..line.len().min(200)];
    if let Some(colon) = memchr::memmem::find(front, b":  ")
        && let Some(word) = front[..colon].rsplit(|b| *b == b' ').next()
        && POSTGRES.contains(&word)
    {
        return true;
    }
    let Some(at) = memchr::memmem::find(front, b" -- : ") else {
        return false;
    };
    // `[request id]` and other tags.
    let mut message = line[at + 6..].trim_ascii();
    while message.first() == Some(&b'[')
        && let Some(end) = memchr::memchr(b']', message)
    {
        message = message[end + 1..].trim_ascii();
    }
    message.is_empty() || ruby_frame(message).is_some()
}

/// The method of a frame as Ruby writes it, and what stands behind it: `app/cart.rb:31:in `total': undefined method`.
pub fn ruby_frame(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memmem::find(&text[..text.len().min(300)], b":in ")?;
    let is_place = text[..at]
        .rsplit(|b| *b == b':')
        .next()
        .is_some_and(|line| {
            !line.is_empty() && line.len() < at && line.iter().all(u8::is_ascii_digit)
        });
    let method = &text[at + 4..];
    let has_quote = matches!(method.first(), Some(b'`' | b'\''));
    if !is_place || !has_quote {
        return None;
    }
    let end = memchr::memchr(b'\'', &method[1..])?;
    Some((&method[1..=end], &method[end + 2..]))
}

/// A frame of a stack trace: `at com.Foo.bar(Foo.java:12)`, `File "x.py", line 3, in f`, `... 12 more`.
fn is_frame(text: &[u8]) -> bool {
    text.starts_with(b"at ")
        || text.starts_with(b"File \"")
        || text.starts_with(b"... ")
        || text.starts_with(b"from /")
        || ruby_frame(text).is_some()
}

/// Whether a line begins or belongs to a stack trace, so that what follows may go on with it.
pub fn is_trace(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    is_frame(text)
        || memchr::memmem::find(
            &text[..text.len().min(400)],
            b"Traceback (most recent call last)",
        )
        .is_some()
        || text.starts_with(b"Caused by:")
        || text.starts_with(b"goroutine ")
        || text.starts_with(b"panic:")
        || text.starts_with(b"Exception in thread")
        || super::level::exception_class(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_prefixes_name_the_service() {
        let (service, start) = strip_prefix(b"backend-1  | 2025-12-27 x");
        assert_eq!((service, start), (Some(&b"backend"[..]), 13));
        assert_eq!(strip_prefix(b"shop_db_12 | x").0, Some(&b"shop_db"[..]));
        assert_eq!(strip_prefix(b"\x1b[36mapi-2  |\x1b[0m x").0, None);
        assert_eq!(
            strip_prefix(b"\x1b[36mapi-2  | \x1b[0mx"),
            (Some(&b"api"[..]), 18)
        );
        assert_eq!(strip_prefix(b"redis-1    | ").0, Some(&b"redis"[..]));
        for line in ["a sentence | with a bar", "| 200 |", "x|y", "12 | x", ""] {
            assert_eq!(strip_prefix(line.as_bytes()).0, None, "{line}");
        }
    }

    #[test]
    fn the_runtimes_timestamp_is_known_by_its_nine_digits() {
        assert_eq!(
            runtime_timestamp(b"2025-12-27T14:50:00.123456789Z text"),
            Some(31)
        );
        assert_eq!(runtime_timestamp(b"2025-12-27T14:50:00.123Z text"), None);
        assert_eq!(runtime_timestamp(b"text"), None);
    }

    #[test]
    fn colour_is_taken_off() {
        let mut buffer = Vec::new();
        assert_eq!(
            without_colour(b"\x1b[33mWARN\x1b[0m x", &mut buffer),
            b"WARN x"
        );
        assert_eq!(without_colour(b"plain", &mut buffer), b"plain");
        assert_eq!(
            without_colour(b"\x1b]0;title\x07ERROR: \x1b]8;;x\x1b\\link", &mut buffer),
            b"ERROR: link"
        );
        assert_eq!(without_colour(b"a\x1b]0;never ended", &mut buffer), b"a");
    }

    #[test]
    fn traces_of_every_language_hold_together() {
        for line in [
            "  File \"/app/x.py\", line 3, in f",
            "    at com.foo.Bar.baz(Bar.java:12)",
            "\tat Object.<anonymous> (/app/x.js:1:1)",
            "Caused by: java.io.IOException: x",
            "\t... 12 more",
            "goroutine 1 [running]:",
        ] {
            assert!(
                is_continuation(line.as_bytes(), true, false, false),
                "{line}"
            );
        }
        assert!(is_continuation(
            b"app.errors.NotFound: order 7",
            true,
            true,
            false
        ));
        assert!(is_continuation(
            b"AttributeError: 'NoneType'",
            true,
            false,
            false
        ));
        assert!(!is_continuation(
            b"AttributeError: 'NoneType'",
            false,
            false,
            false
        ));
        assert!(!is_continuation(b"A new sentence", true, false, false));
        assert!(!is_continuation(b"2025-12-27 x", true, true, true));
    }

    #[test]
    fn some_lines_go_on_although_they_have_a_header() {
        for line in [
            "2025-12-27 14:00:00.000 UTC [7] DETAIL:  Key (id)=(7) already exists.",
            "2025-12-27 14:00:00.000 UTC [7] STATEMENT:  SELECT 1",
            "E, [2025-12-27T14:00:00.000000 #17] ERROR -- : [4f1c] ",
            "E, [2025-12-27T14:00:00.000000 #17] ERROR -- : [4f1c] app/models/cart.rb:31:in `total'",
        ] {
            assert!(
                is_continuation(line.as_bytes(), false, true, true),
                "{line}"
            );
        }
        for line in [
            "2025-12-27 14:00:00.000 UTC [7] ERROR:  duplicate key",
            "2025-12-27 14:00:00.000 UTC [7] LOG:  statement: x",
            "E, [2025-12-27T14:00:00.000000 #17] ERROR -- : [4f1c] NoMethodError (undefined):",
        ] {
            assert!(
                !is_continuation(line.as_bytes(), false, true, true),
                "{line}"
            );
        }
        assert_eq!(
            ruby_frame(b"/srv/cart.rb:31:in `total': undefined (NoMethodError)"),
            Some((&b"total"[..], &b": undefined (NoMethodError)"[..]))
        );
        assert_eq!(
            ruby_frame(b"/srv/cart.rb:31:in 'Cart#total'"),
            Some((&b"Cart#total"[..], &b""[..]))
        );
        assert_eq!(ruby_frame(b"it is 14:in `x'"), None);
    }
}
