//! Masks: what obviously varies (numbers, ids, addresses, paths, times) is taken out word by word.
//!
//! A level, an HTTP status, an errno name and an exit code are never masked: `500` is not a variant of `200`.

use super::WILD;
use crate::analysis::kept::Kept;

/// At most so many bytes of a message make its shape.
const MAX_MESSAGE: usize = 2048;

/// Whether a byte can stand inside a word; every other byte separates words and is kept as it is.
pub const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 0x80
        || matches!(
            byte,
            b'_' | b'.'
                | b'/'
                | b':'
                | b'@'
                | b'%'
                | b'+'
                | b'~'
                | b'$'
                | b'*'
                | b'#'
                | b'&'
                | b'\\'
                | b'-'
                | b'?'
        )
}

/// Appends the masked message to `out`; what is not masked is noted in `kept`.
pub fn mask(message: &[u8], out: &mut Vec<u8>, kept: &mut Kept) {
    let message = message[..message.len().min(MAX_MESSAGE)].trim_ascii_end();
    let start = out.len();
    let mut keep_number = false;
    let mut in_access_log = false;
    let mut was_amount = false;
    let (mut before, mut is_name): (&[u8], bool) = (b"", false);
    let mut at = 0;
    while at < message.len() {
        let byte = message[at];
        if !is_word_byte(byte) {
            if byte == b'"' && in_access_log {
                // Referer and user agent of an access log vary as a whole.
                let end =
                    memchr::memchr(b'"', &message[at + 1..]).map_or(message.len(), |n| at + 1 + n);
                out.extend_from_slice(&[b'"', WILD, b'"']);
                at = (end + 1).min(message.len());
                continue;
            }
            if matches!(byte, b'<' | b'>') && message.get(at + 1).is_some_and(u8::is_ascii_digit) {
                // `<1 sec` is an amount like any other.
                at += 1;
                continue;
            }
            push_separator(
                out,
                start,
                if byte == b'\t' || byte < 0x20 {
                    b' '
                } else {
                    byte
                },
            );
            at += 1;
            continue;
        }
        let length = message[at..]
            .iter()
            .position(|b| !is_word_byte(*b))
            .unwrap_or(message.len() - at);
        let word = &message[at..at + length];
        at += length;
        if keep_number && is_status(word) {
            out.extend_from_slice(word);
            kept.whole(word);
            in_access_log = in_access_log || message[..at].windows(6).any(|w| w == b" HTTP/");
            keep_number = false;
            continue;
        }
        let next = message.get(at).copied();
        keep_number = announces_status(word, next) || (keep_number && word.len() <= 2);
        if is_calendar_name(word) && continues_date(&message[at..]) {
            push_wild(out, start);
            continue;
        }
        let shape = &out[start..];
        if (shape.last() == Some(&WILD) || shape.ends_with(&[WILD, b' ']))
            && is_unit(word)
            && !matches!(next, Some(b'=' | b'('))
        {
            // The unit of the number in front; its punctuation stays.
            if out.last() == Some(&b' ') {
                out.pop();
            }
            // `1038 bytes (1.01 KB)` is one amount, written twice.
            if next == Some(b')') && was_amount && out[start..].ends_with(&[WILD, b' ', b'(', WILD])
            {
                out.truncate(out.len() - 3);
                at += 1;
            }
            was_amount = true;
            if let Some(last @ (b'.' | b':')) = word.last() {
                out.push(*last);
            }
            continue;
        }
        if is_name {
            is_name = false;
            push_wild(out, start);
            before = word;
            continue;
        }
        is_name = (next == Some(b' ') && announces_name(before, word))
            || (next == Some(b'=')
                && names_someone(word)
                && message.get(at + 1).is_some_and(|b| is_word_byte(*b)));
        before = word;
        mask_word(word, start, out, kept);
        if next == Some(b'=') && is_left_out(&message[at + 1..]) {
            // A value that is left out is a value too.
            out.extend_from_slice(&[b'=', WILD]);
            at += 1;
        }
    }
    fill_empty_parentheses(start, out);
}

/// Whether nothing stands behind `key=`.
fn is_left_out(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b' ' | b',' | b';' | b')'))
}

/// Short names of months and days as dates write them.
fn is_calendar_name(word: &[u8]) -> bool {
    const NAMES: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDecMonTueWedThuFriSatSun";
    word.len() == 3 && NAMES.chunks_exact(3).any(|n| n == word)
}

/// Whether a date goes on behind the name of a month or day.
fn continues_date(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_start();
    rest.first().is_some_and(u8::is_ascii_digit) || rest.get(..3).is_some_and(is_calendar_name)
}

/// Units that stand behind a number as a word of their own.
fn is_unit(word: &[u8]) -> bool {
    let word = word
        .strip_suffix(b".")
        .or(word.strip_suffix(b":"))
        .unwrap_or(word);
    let plain = word.strip_suffix(b"s").unwrap_or(word);
    matches!(
        plain,
        b"sec"
            | b"second"
            | b"msec"
            | b"min"
            | b"minute"
            | b"hour"
            | b"day"
            | b"byte"
            | b"millisecond"
    ) || matches!(
        word,
        b"ms" | b"s" | b"us" | b"ns" | b"B" | b"KB" | b"MB" | b"GB" | b"TB" | b"kB"
    ) || matches!(word, b"KiB" | b"MiB" | b"GiB")
}

/// `()` where a name would stand is a name that is left out.
fn fill_empty_parentheses(start: usize, out: &mut Vec<u8>) {
    let mut from = start;
    while let Some(at) = memchr::memmem::find(&out[from..], b" ()") {
        out.insert(from + at + 2, WILD);
        from += at + 3;
    }
}

/// Whether the value of this key names a person, a machine or a thing.
fn names_someone(key: &[u8]) -> bool {
    let key = key
        .rsplit(|b| matches!(b, b'.' | b'-'))
        .next()
        .unwrap_or(key);
    matches!(
        key,
        b"user"
            | b"username"
            | b"login"
            | b"account"
            | b"host"
            | b"hostname"
            | b"rhost"
            | b"ruser"
            | b"client"
            | b"peer"
            | b"email"
            | b"ip"
            | b"addr"
            | b"address"
            | b"id"
            | b"tenant"
            | b"customer"
    ) || key.ends_with(b"_id")
        || key.ends_with(b"_name")
}

/// `for user kim`: the word behind is a name. `User authenticated` has no such word in front.
fn announces_name(before: &[u8], word: &[u8]) -> bool {
    word == b"user"
        && matches!(
            before,
            b"for" | b"by" | b"as" | b"invalid" | b"illegal" | b"unknown"
        )
}

/// Whether the number behind this word is a status or an exit code.
fn announces_status(word: &[u8], next: Option<u8>) -> bool {
    let word = word.strip_suffix(b":").unwrap_or(word);
    if word.starts_with(b"HTTP/") {
        return true;
    }
    let lower = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
    let key = word.rsplit(|b| *b == b'.').next().unwrap_or(word);
    let named = lower("status")
        || lower("statuscode")
        || lower("status_code")
        || lower("code")
        || lower("errno")
        || lower("exit")
        || lower("exited")
        || key.eq_ignore_ascii_case(b"status");
    named && matches!(next, Some(b' ' | b'=' | b'"' | b'(' | b'\''))
}

fn is_status(word: &[u8]) -> bool {
    let word = word
        .strip_suffix(b".")
        .or(word.strip_suffix(b":"))
        .unwrap_or(word);
    !word.is_empty() && word.len() <= 3 && word.iter().all(u8::is_ascii_digit)
}

/// Adds a separator; a blank after a wildcard is held back by [`push_wild`], which joins neighbours.
fn push_separator(out: &mut Vec<u8>, start: usize, byte: u8) {
    if byte == b' ' && (out.len() == start || out.last() == Some(&b' ')) {
        return;
    }
    out.push(byte);
}

/// Adds a wildcard; neighbours that are parted by blanks and commas only are one.
fn push_wild(out: &mut Vec<u8>, start: usize) {
    let text = &out[start..];
    let end = text
        .iter()
        .rposition(|b| !matches!(b, b' ' | b','))
        .map_or(0, |at| at + 1);
    if end > 0 && text[end - 1] == WILD {
        out.truncate(start + end);
        return;
    }
    out.push(WILD);
}

fn mask_word(word: &[u8], start: usize, out: &mut Vec<u8>, kept: &mut Kept) {
    // Punctuation at the end belongs to the sentence.
    let core_end = word
        .iter()
        .rposition(|b| !matches!(b, b'.' | b':' | b'?' | b'-'))
        .map_or(0, |at| at + 1);
    let (core, tail) = word.split_at(core_end);
    // `key:value` is a key with a value.
    if let Some(colon) = memchr::memchr(b':', core)
        && colon > 1
        && colon + 1 < core.len()
        && core[..colon]
            .iter()
            .all(|b| b.is_ascii_alphabetic() || *b == b'_')
        && !core[colon + 1..].starts_with(b"/")
    {
        out.extend_from_slice(&core[..=colon]);
        mask_word(&word[colon + 1..], start, out, kept);
        return;
    }
    match classify(core, tail) {
        Kind::Constant => {
            out.extend_from_slice(core);
            kept.whole(core);
        }
        Kind::Variable => push_wild(out, start),
        Kind::Digits => {
            kept.letters(core);
            let mut rest = core;
            while let Some(digit) = rest.iter().position(u8::is_ascii_digit) {
                out.extend_from_slice(&rest[..digit]);
                out.push(WILD);
                let run = rest[digit..]
                    .iter()
                    .position(|b| !b.is_ascii_digit())
                    .unwrap_or(rest.len() - digit);
                rest = &rest[digit + run..];
            }
            out.extend_from_slice(rest);
        }
    }
    out.extend_from_slice(tail);
}

enum Kind {
    Constant,
    Variable,
    /// The digits in it vary, the letters do not.
    Digits,
}

fn classify(word: &[u8], tail: &[u8]) -> Kind {
    if word.is_empty() {
        return Kind::Constant;
    }
    let mut digits = 0;
    let mut letters = 0;
    let mut dots = 0;
    let mut slashes = 0;
    let mut hex = true;
    let mut at_sign = false;
    for byte in word {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'a'..=b'z' | b'A'..=b'Z' => {
                letters += 1;
                hex &= byte.is_ascii_hexdigit();
            }
            b'.' => dots += 1,
            b'/' => slashes += 1,
            b'-' | b':' => {}
            b'@' => {
                at_sign = true;
                hex = false;
            }
            0x80.. => {
                letters += 1;
                hex = false;
            }
            _ => hex = false,
        }
    }
    if word.starts_with(b"HTTP/") {
        return Kind::Constant;
    }
    let is_path = (word[0] == b'/' && word.len() > 1 && letters + digits > 0)
        || slashes >= 2
        || word.contains(&b'\\') && letters > 0;
    if is_path || memchr::memmem::find(word, b"://").is_some() {
        return Kind::Variable;
    }
    if at_sign && dots > 0 && letters > 0 {
        return Kind::Variable;
    }
    if digits == 0 {
        let dotted = dots >= 2
            && !tail.starts_with(b":")
            && word
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            && !word.starts_with(b".");
        let literal = matches!(
            word,
            b"true" | b"false" | b"null" | b"True" | b"False" | b"None" | b"nil" | b"undefined"
        );
        return if dotted || literal {
            Kind::Variable
        } else {
            Kind::Constant
        };
    }
    if letters == 0 || (hex && digits + letters >= 6) || word.starts_with(b"0x") {
        return Kind::Variable;
    }
    // A number with a unit: `30ms`, `5.5MB`, `10%`.
    let leading = word
        .iter()
        .take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'))
        .count();
    if word[0].is_ascii_digit() && word.len() - leading <= 4 {
        return Kind::Variable;
    }
    if digits * 2 >= word.len() || dots >= 2 || (word.len() >= 16 && digits >= 4) {
        return Kind::Variable;
    }
    Kind::Digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(message: &str) -> String {
        let mut out = Vec::new();
        mask(message.as_bytes(), &mut out, &mut Kept::off());
        super::super::shown(&out)
    }

    #[test]
    fn what_varies_is_masked() {
        for (message, expected) in [
            (
                "User 17 authenticated from 10.1.2.3:443",
                "User <*> authenticated from <*>",
            ),
            (
                "req 550e8400-e29b-41d4-a716-446655440000 done",
                "req <*> done",
            ),
            ("took 35 ms, 12.5MB at 0x7f3a", "took <*> at <*>"),
            ("took 35ms", "took <*>"),
            ("open /var/log/x.log failed", "open <*> failed"),
            ("see https://example.org/a?b=1 now", "see <*>=<*> now"),
            ("mail to kim77@example.com: sent", "mail to <*>: sent"),
            ("[1, 2, 3] sizes", "[<*>] sizes"),
            (
                "app.api.orders: NoneType has no attribute 'id' (order=5)",
                "app.api.orders: NoneType has no attribute 'id' (order=<*>)",
            ),
            ("proxy.go:214 up", "proxy.go:<*> up"),
            ("enabled=true", "enabled=<*>"),
            ("overlap:false index:-3", "overlap:<*> index:<*>"),
            (
                "close, 1038 bytes (1.01 KB) sent, lifetime <1 sec",
                "close, <*> sent, lifetime <*>",
            ),
            (
                "from 1.2.3.4 () at Sun Jul 10 03:55:15 2005",
                "from <*> (<*>) at <*>",
            ),
            ("logname= uid=0", "logname=<*> uid=<*>"),
            (
                "connection from 1.2.3.4 (host.example.org) closed",
                "connection from <*> (<*>) closed",
            ),
            (
                "opened for user root by user=kim",
                "opened for user <*> by user=<*>",
            ),
            ("in calculate_discount()", "in calculate_discount()"),
            ("blk_-6952295868487656571 added", "<*> added"),
            ("worker-3 ready", "worker-<*> ready"),
            ("Ошибка 12 в модуле", "Ошибка <*> в модуле"),
        ] {
            assert_eq!(masked(message), expected, "{message}");
        }
    }

    #[test]
    fn what_tells_kinds_apart_is_kept() {
        for (message, expected) in [
            (
                "completed in 0.8s status=500",
                "completed in <*> status=500",
            ),
            ("exited with code 137", "exited with code 137"),
            (
                "connect ECONNREFUSED 127.0.0.1:5432",
                "connect ECONNREFUSED <*>",
            ),
            (
                r#"10.0.0.1 - - "GET /a/b HTTP/1.1" 404 12 "-" "Mozilla/5.0 (X11)" rt=0.1"#,
                r#"<*> - - "GET <*> HTTP/1.1" 404 <*> "<*>" "<*>" rt=<*>"#,
            ),
        ] {
            assert_eq!(masked(message), expected, "{message}");
        }
    }

    #[test]
    fn what_stands_in_front_is_not_looked_at() {
        for before in [&b"took \x01"[..], b"took \x01 ", b"took \x01 (\x01 "] {
            for message in ["s", "ms)", "1 ms (2 s)", "1 (2 s)", ", 5"] {
                let mut out = before.to_vec();
                mask(message.as_bytes(), &mut out, &mut Kept::off());
                let mut alone = Vec::new();
                mask(message.as_bytes(), &mut alone, &mut Kept::off());
                assert_eq!(
                    out.strip_prefix(before),
                    Some(alone.as_slice()),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn any_bytes_are_masked_without_harm() {
        for message in [
            "", " ", "\u{1}", "....", "://", "\"\"\"", "=", "HTTP/", "\\",
        ] {
            let _ = masked(message);
        }
    }
}
