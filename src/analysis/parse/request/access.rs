//! What access logs say by its place alone: durations without a name.

use super::{RequestFields, Unit, read_duration, read_status};

/// Where a part of a text begins in it.
pub(super) fn offset(text: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// The duration in an access log, which has its place behind the status and no name: nginx and actix write seconds as the
/// last word, Apache and gunicorn microseconds, Envoy milliseconds behind flags and two sizes.
pub(super) fn read_tail<'a>(message: &'a [u8], fields: &mut RequestFields<'a>) {
    let behind = offset(message, fields.status_text) + fields.status_text.len();
    // Only behind a request in quotes: other numbers behind a status are anything.
    if !message[..behind - fields.status_text.len()]
        .trim_ascii_end()
        .ends_with(b"\"")
    {
        return;
    }
    let tail = &message[behind..];
    let mut words = tail.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let is_number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    let first: [Option<&[u8]>; 4] = std::array::from_fn(|_| words.next());
    if let [Some(flags), Some(received), Some(sent), Some(duration)] = first
        && !flags.starts_with(b"\"")
        && !is_number(flags)
        && [received, sent, duration].into_iter().all(is_number)
    {
        set_tail(duration, Unit::Milliseconds, fields);
        return;
    }
    let last = words.next_back();
    let (before, last) = match (first, last) {
        (_, Some(last)) => (&tail[..offset(tail, last)], last),
        (
            [Some(_), Some(last), None, None] | [_, Some(_), Some(last), None] | [.., Some(last)],
            None,
        ) => (&tail[..offset(tail, last)], last),
        _ => return,
    };
    // Behind the agent in quotes, or behind the size alone.
    let is_placed = before.trim_ascii_end().ends_with(b"\"") || is_number(before.trim_ascii());
    if !is_placed {
        return;
    }
    if is_number(last) {
        set_tail(last, Unit::Microseconds, fields);
    } else if let Some(point) = memchr::memchr(b'.', last)
        && last.len() - point > 3
        && is_number(&last[..point])
        && is_number(&last[point + 1..])
    {
        set_tail(last, Unit::Seconds, fields);
    }
}

fn set_tail<'a>(text: &'a [u8], unit: Unit, fields: &mut RequestFields<'a>) {
    fields.duration_ms = read_duration(text, unit);
    fields.duration_text = (text, unit);
}

/// `0/0/1/44/45 200` of HAProxy: the last of the five is the whole time, in milliseconds.
pub(super) fn read_haproxy<'a>(
    word: &'a [u8],
    next: Option<&'a [u8]>,
    fields: &mut RequestFields<'a>,
) -> bool {
    let mut times = word.split(|b| *b == b'/');
    let is_time = |part: &[u8]| {
        let digits = part
            .strip_prefix(b"-")
            .or(part.strip_prefix(b"+"))
            .unwrap_or(part);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    let are_five = times.clone().count() == 5 && times.clone().all(is_time);
    let (Some(whole), Some(status)) = (times.next_back().filter(|_| are_five), next) else {
        return false;
    };
    let Some(code) = read_status(status) else {
        return false;
    };
    (fields.status, fields.status_text) = (Some(code), status);
    set_tail(whole, Unit::Milliseconds, fields);
    true
}
