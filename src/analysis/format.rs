//! How numbers, durations and instants are written on the screen: short, aligned, with their unit, in one way
//! everywhere.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::domain::signal::SignalName;

/// `0.4 s`, `12 s`, `42 min`, `3 h`, `9 d`: one unit, enough to act on.
pub fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s} s"),
        60..3600 => format!("{} min", s / 60),
        3600..86_400 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

/// A running time as a clock: `0:29`, `1:05:09`; from a day on `9 d`.
pub fn clock_span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..3600 => format!("{}:{:02}", s / 60, s % 60),
        3600..86_400 => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
        _ => format!("{} d", s / 86_400),
    }
}

/// Milliseconds between two instants, 0 where the second is not later.
pub fn elapsed_ms(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

/// `42 min ago`; `just now` under a second.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let ms = elapsed_ms(at, now);
    if ms < 1000 {
        "just now".to_owned()
    } else {
        format!("{} ago", span(ms))
    }
}

/// `15:31:05` in the given zone.
pub fn time_of_day(at: Timestamp, zone: &TimeZone) -> String {
    let at = zone.to_datetime(at);
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}

/// `15:31:05.113` in the given zone.
pub fn time_with_millis(at: Timestamp, zone: &TimeZone) -> String {
    let at = zone.to_datetime(at);
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// `15:31 +03`: the header's clock, with the zone that all times on screen are in.
pub fn clock(now: Timestamp, zone: &TimeZone) -> String {
    let at = now.to_zoned(zone.clone());
    let offset = at.offset().seconds();
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    let zone = match (minutes / 60, minutes % 60) {
        (0, 0) => "UTC".to_owned(),
        (h, 0) => format!("{sign}{h:02}"),
        (h, m) => format!("{sign}{h:02}:{m:02}"),
    };
    format!("{:02}:{:02} {zone}", at.hour(), at.minute())
}

/// `1,204`; from a million on `1.2 M`.
pub fn count(n: u64) -> String {
    if n >= 1_000_000 {
        return format!("{:.1} M", n as f64 / 1e6);
    }
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + 2);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A fraction as per cent: `0.5 %`, `25 %`; `?` where it is not known.
pub fn percent(fraction: Option<f64>) -> String {
    match fraction {
        None => "?".to_owned(),
        Some(f) => {
            let p = f * 100.0;
            if p == 0.0 {
                "0 %".to_owned()
            } else if p < 0.01 {
                "<0.01 %".to_owned()
            } else if p < 1.0 {
                format!("{} %", trimmed(p, 2))
            } else if p < 10.0 {
                format!("{} %", trimmed(p, 1))
            } else {
                format!("{p:.0} %")
            }
        }
    }
}

/// Milliseconds as a person says them: `113 ms`, `3.8 s`; `?` where they are not known.
pub fn millis(ms: Option<f64>) -> String {
    match ms {
        None => "?".to_owned(),
        Some(v) if v < 1000.0 => format!("{v:.0} ms"),
        Some(v) if v < 60_000.0 => format!("{} s", trimmed(v / 1000.0, 1)),
        Some(v) => format!("{:.0} min", v / 60_000.0),
    }
}

/// The value of a signal with its unit.
pub fn signal_value(signal: &SignalName, value: Option<f64>, unit: &str) -> String {
    let Some(v) = value else {
        return "?".to_owned();
    };
    match signal {
        SignalName::LatencyP95 => millis(value),
        SignalName::Traffic => format!("{}/s", trimmed(v, if v < 10.0 { 1 } else { 0 })),
        _ if unit == "fraction" => percent(value),
        _ if unit == "ms" => millis(value),
        _ => format!("{} {unit}", trimmed(v, 2)).trim_end().to_owned(),
    }
}

/// `×50`, `×1.8`.
pub fn ratio(r: f64) -> String {
    if r >= 10.0 {
        format!("×{r:.0}")
    } else {
        format!("×{}", trimmed(r, 1))
    }
}

/// A size: `812 B`, `63 MB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..1000 => format!("{n} B"),
        1000..1_000_000 => format!("{:.0} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

fn trimmed(v: f64, digits: usize) -> String {
    let text = format!("{v:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Cuts text to `width` columns, with `…` for what is missing. Never splits a wide or combined character.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = columns(text, 0, width.saturating_sub(1)).to_owned();
    if width > 0 {
        out.push('…');
    }
    out
}

/// Cuts at the left and keeps the end, with `…` in front: for paths and ids whose end tells them apart.
pub fn cut_left(text: &str, width: usize) -> String {
    let total = text.width();
    if total <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    format!("…{}", columns(text, total + 1 - width, width - 1))
}

/// The part of a text from column `start`, at most `width` columns. A wide character on either edge is left out.
pub fn columns(text: &str, start: usize, width: usize) -> &str {
    let mut column = 0;
    let mut from = None;
    let mut to = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        let w = grapheme.width();
        if from.is_none() && column >= start {
            from = Some((at, column));
        }
        if let Some((_, first)) = from {
            if column + w > first + width {
                break;
            }
            to = at + grapheme.len();
        }
        column += w;
    }
    from.map_or("", |(from, _)| text.get(from..to).unwrap_or(""))
}

/// Text in exactly `width` columns, cut or filled on the right.
pub fn left(text: &str, width: usize) -> String {
    let mut out = cut(text, width);
    let used = out.width();
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    out
}

/// Text in exactly `width` columns, cut or filled on the left.
pub fn right(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let fill = width.saturating_sub(text.width());
    format!("{}{text}", " ".repeat(fill))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!(count(48_210), "48,210");
        assert_eq!(count(1_200_000), "1.2 M");
        assert_eq!(count(7), "7");
        assert_eq!(percent(Some(0.005)), "0.5 %");
        assert_eq!(percent(Some(0.25)), "25 %");
        assert_eq!(percent(None), "?");
        assert_eq!(millis(Some(3200.0)), "3.2 s");
        assert_eq!(millis(Some(812.4)), "812 ms");
        assert_eq!(span(42 * 60_000), "42 min");
        assert_eq!(clock_span(29_000), "0:29");
        assert_eq!(ratio(50.2), "×50");
    }

    #[test]
    fn cutting_never_splits_a_wide_character() {
        assert_eq!(cut("接続エラー", 5), "接続…");
        assert_eq!(cut("接続エラー", 4), "接…");
        assert_eq!(columns("接続エラー", 1, 4), "続エ");
        assert_eq!(left("接", 4), "接  ");
        assert_eq!(right("é", 3), "  é");
        assert_eq!(cut_left("/srv/shop/.env", 6), "…/.env");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn the_clock_names_its_zone() {
        let at: Timestamp = "2025-12-27T12:31:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(3));
        assert_eq!(clock(at, &zone), "15:31 +03");
        assert_eq!(clock(at, &TimeZone::UTC), "12:31 UTC");
    }
}
