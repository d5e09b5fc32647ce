//! Times as people write them: RFC 3339, a local time (`15:00`, `2025-12-27 14:50`), or a span back from now
//! (`30m`, `2h`).

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, Zoned};

/// Reads a time as [the module](self) says, against `now`. A local time of day that lies ahead means yesterday's.
///
/// # Errors
/// Text that is none of these; the message says which forms there are.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let text = text.trim();
    let error = || {
        format!(
            "not a time: {text:?}; use RFC 3339 (2025-12-27T14:50:00+03:00), a local time (15:00, 2025-12-27 14:50) or a span back from now (30m, 2h)"
        )
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Some(ago) = parse_span(text) {
        return now.timestamp().checked_sub(ago).map_err(|_| error());
    }
    let zone: TimeZone = now.time_zone().clone();
    if let Ok(local) = text.parse::<DateTime>() {
        return zone.to_timestamp(local).map_err(|_| error());
    }
    if let Ok(time) = text.parse::<Time>() {
        let today = now.date().to_datetime(time);
        let at = zone.to_timestamp(today).map_err(|_| error())?;
        if at <= now.timestamp() {
            return Ok(at);
        }
        let yesterday = now
            .date()
            .yesterday()
            .map_err(|_| error())?
            .to_datetime(time);
        return zone.to_timestamp(yesterday).map_err(|_| error());
    }
    Err(error())
}

/// Reads `30m`, `2h`, `1h30m`, `1d`, `90s`, `500ms`; `None` for anything else.
pub fn parse_span(text: &str) -> Option<SignedDuration> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains([':', '-']) {
        return None;
    }
    let span: Span = text.parse().ok()?;
    let marker = jiff::SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(marker).ok()?;
    (!duration.is_negative()).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2025-12-27T15:31:00+03:00[+03:00]".parse().unwrap()
    }

    fn at(text: &str) -> String {
        parse(text, &now()).unwrap().to_string()
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(at("2025-12-27T14:50:00+03:00"), "2025-12-27T11:50:00Z");
        assert_eq!(at("15:00"), "2025-12-27T12:00:00Z");
        assert_eq!(at("16:00"), "2025-12-26T13:00:00Z");
        assert_eq!(at("2025-12-27 14:50"), "2025-12-27T11:50:00Z");
        assert_eq!(at("30m"), "2025-12-27T12:01:00Z");
        assert_eq!(at("2h"), "2025-12-27T10:31:00Z");
        assert_eq!(at("1h30m"), "2025-12-27T11:01:00Z");
        assert_eq!(at("1d"), "2025-12-26T12:31:00Z");
    }

    #[test]
    fn anything_else_says_what_is_possible() {
        for bad in ["", "soon", "-5m", "25:00", "30"] {
            let error = parse(bad, &now()).unwrap_err();
            assert!(error.contains("span back from now"), "{bad}: {error}");
        }
    }
}
