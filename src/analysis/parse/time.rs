//! Times as log lines write them: some have no zone, some no year, some no date at all.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Turns written times into milliseconds since 1970, filling in what they leave out.
///
/// A missing zone is the reader's zone, a missing year or day the reference's. A time of day that falls back
/// by more than twelve hours means that midnight has passed.
#[derive(Debug, Clone)]
pub struct TimeReader {
    zone: TimeZone,
    reference: DateTime,
    /// Days since 1970 of the last time of day, to notice midnight.
    day: Option<(i64, i64)>,
    /// The zone's offset in the hour last asked for: an offset lookup for every line would dominate the scan.
    offset: Option<(i64, i64)>,
}

/// A time as it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    year: Option<i32>,
    month: u32,
    day: u32,
    millisecond_of_day: i64,
    /// Seconds east of UTC.
    offset: Option<i64>,
}

impl TimeReader {
    /// A reader for logs that were written up to `reference` on a machine in its zone.
    pub fn new(reference: &Zoned) -> Self {
        Self {
            zone: reference.time_zone().clone(),
            reference: reference.datetime(),
            day: None,
            offset: None,
        }
    }

    /// A reader in UTC, for tests and for sources whose times carry their zone.
    pub fn utc() -> Self {
        Self::new(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
    }

    /// Whether a time without a date was read: such times depend on the ones before them.
    pub fn counts_days(&self) -> bool {
        self.day.is_some()
    }

    /// Milliseconds since 1970; `None` for a date that does not exist.
    pub fn resolve(&mut self, written: &Written) -> Option<i64> {
        let days = if written.month == 0 {
            self.day_of(written.millisecond_of_day)
        } else {
            let year = written.year.unwrap_or_else(|| self.year_of(written.month));
            let (y, m, d) = (year as i16, written.month as i8, written.day as i8);
            Date::new(y, m, d).ok()?;
            days_from_civil(i64::from(year), written.month, written.day)
        };
        let local = days * 86_400_000 + written.millisecond_of_day;
        let seconds = match written.offset {
            Some(seconds) => seconds,
            None => self.offset_at(local)?,
        };
        Some(local - seconds * 1000).filter(|ms| is_instant(*ms))
    }

    /// The time that the value of a key says: written out, or as a number since 1970.
    pub fn read_value(&mut self, text: &[u8]) -> Option<i64> {
        read(text)
            .and_then(|(written, _)| self.resolve(&written))
            .or_else(|| epoch_ms(text))
    }

    /// The year of a date without one: the reference's, or the one before where that would lie ahead.
    fn year_of(&self, month: u32) -> i32 {
        let year = i32::from(self.reference.year());
        if month > self.reference.month() as u32 {
            year - 1
        } else {
            year
        }
    }

    fn day_of(&mut self, millisecond: i64) -> i64 {
        let day = match self.day {
            None => {
                let date: Date = self.reference.date();
                days_from_civil(
                    i64::from(date.year()),
                    date.month() as u32,
                    date.day() as u32,
                )
            }
            Some((day, last)) if last - millisecond > 43_200_000 => day + 1,
            // A line out of order just after midnight belongs to the day before.
            Some((day, last)) if millisecond - last > 43_200_000 => {
                return day - 1;
            }
            Some((day, _)) => day,
        };
        self.day = Some((day, millisecond));
        day
    }

    fn offset_at(&mut self, local_ms: i64) -> Option<i64> {
        let hour = local_ms.div_euclid(900_000);
        if let Some((known, offset)) = self.offset
            && known == hour
        {
            return Some(offset);
        }
        let civil = Timestamp::from_millisecond(local_ms)
            .ok()?
            .to_zoned(TimeZone::UTC)
            .datetime();
        let offset = i64::from(self.zone.to_zoned(civil).ok()?.offset().seconds());
        self.offset = Some((hour, offset));
        Some(offset)
    }
}

/// Whether these milliseconds since 1970 are an instant that everything behind the reader can show.
fn is_instant(ms: i64) -> bool {
    (Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_millisecond()).contains(&ms)
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let month = i64::from(month);
    let day_of_year =
        (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// A reader over the bytes of one time.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn eat_any(&mut self, bytes: &[u8]) -> Option<u8> {
        let found = self.peek().filter(|b| bytes.contains(b))?;
        self.at += 1;
        Some(found)
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let slice = self.text.get(self.at..self.at + count)?;
        let mut value = 0;
        for byte in slice {
            value = value * 10 + u32::from(byte.checked_sub(b'0').filter(|d| *d < 10)?);
        }
        self.at += count;
        Some(value)
    }

    /// One or two digits, a leading space allowed as in syslog.
    fn day(&mut self) -> Option<u32> {
        let _ = self.eat(b' ');
        let first = self.digits(1)?;
        Some(self.digits(1).map_or(first, |second| first * 10 + second))
    }

    fn month_name(&mut self) -> Option<u32> {
        const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let name = self.text.get(self.at..self.at + 3)?;
        let index = NAMES.chunks_exact(3).position(|n| n == name)?;
        self.at += 3;
        Some(index as u32 + 1)
    }

    /// `14:50`, `14:50:00`, `14:50:00.123456` or with a comma, in milliseconds of the day.
    fn clock(&mut self, separator: u8) -> Option<i64> {
        let hour = self.digits(2).filter(|h| *h < 24)?;
        self.eat(separator)?;
        let minute = self.digits(2).filter(|m| *m < 60)?;
        let mut ms = i64::from(hour) * 3_600_000 + i64::from(minute) * 60_000;
        let before_seconds = self.at;
        if self.eat(separator).is_some() {
            match self.digits(2).filter(|s| *s < 61) {
                Some(second) => ms += i64::from(second) * 1000 + self.fraction(),
                None => self.at = before_seconds,
            }
        }
        Some(ms)
    }

    fn fraction(&mut self) -> i64 {
        let start = self.at;
        if self.eat_any(b".,:").is_none() || !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at = start;
            return 0;
        }
        let (mut ms, mut scale) = (0, 100);
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            ms += i64::from(digit - b'0') * scale;
            scale /= 10;
            self.at += 1;
        }
        ms
    }

    /// `Z`, `+03:00`, `+0300`, ` UTC`, ` +0300`, ` MSK` is not understood.
    fn zone(&mut self) -> Option<i64> {
        let start = self.at;
        let _ = self.eat(b' ');
        if self.eat(b'Z').is_some() {
            return Some(0);
        }
        if self.text[self.at..].starts_with(b"UTC") || self.text[self.at..].starts_with(b"GMT") {
            self.at += 3;
            return Some(0);
        }
        let found = (|| {
            let sign = self.eat_any(b"+-")?;
            let hours = self.digits(2).filter(|h| *h <= 14)?;
            let _ = self.eat(b':');
            let minutes = self.digits(2).unwrap_or(0);
            if self.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
                return None;
            }
            let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
            Some(if sign == b'-' { -seconds } else { seconds })
        })();
        if found.is_none() {
            self.at = start;
        }
        found
    }

    /// A time must not run on into a word or a number.
    fn ends(&self) -> bool {
        !self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    }
}

/// Reads a time that stands at the start of `text`. Returns it and its length in bytes.
pub fn read(text: &[u8]) -> Option<(Written, usize)> {
    let first = *text.first()?;
    let found = if first.is_ascii_digit() {
        read_numeric(text)
    } else if first.is_ascii_uppercase() {
        read_named(text)
    } else {
        None
    };
    found.filter(|(w, _)| w.month <= 12 && w.day <= 31 && (w.month == 0) == (w.day == 0))
}

fn read_numeric(text: &[u8]) -> Option<(Written, usize)> {
    iso(text)
        .or_else(|| time_of_day(text))
        .or_else(|| short_date(text))
        .or_else(|| access_log(text))
        .or_else(|| redis(text))
        .or_else(|| compact(text))
}

/// `2025-12-27T14:50:00.123+03:00`, `2025-12-27 14:50:00,123`, `2025/12/27 14:50:00`, `2025.12.27`,
/// `2025-12-27-14.50.00.123456`.
fn iso(text: &[u8]) -> Option<(Written, usize)> {
    let mut c = Cursor::new(text);
    let year = c.digits(4)?;
    let dash = c.eat_any(b"-/.")?;
    let month = c.digits(2)?;
    c.eat(dash)?;
    let day = c.digits(2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut written = Written {
        year: Some(year as i32),
        month,
        day,
        ..Written::default()
    };
    let date_end = c.at;
    let separator = c.eat_any(b"T t-_");
    // Go's gin writes `2025/12/27 - 14:50:00`.
    if separator == Some(b' ') && c.eat(b'-').is_some() {
        c.eat(b' ')?;
    }
    let clock_at = c.at;
    let clock = separator.and_then(|s| match s {
        b'-' => c.clock(b'.'),
        _ => c.clock(b':'),
    });
    match clock {
        Some(ms) => {
            written.millisecond_of_day = ms;
            written.offset = c.zone();
        }
        None => {
            c.at = clock_at.min(date_end);
        }
    }
    c.ends().then_some((written, c.at))
}

/// `15:35`, `15:35:10`, `15:35:10.123`.
fn time_of_day(text: &[u8]) -> Option<(Written, usize)> {
    let mut c = Cursor::new(text);
    let ms = c.clock(b':')?;
    let written = Written {
        millisecond_of_day: ms,
        offset: None,
        ..Written::default()
    };
    (c.ends() && c.peek() != Some(b':')).then_some((written, c.at))
}

/// `03-17 16:13:38.811` (Android), `12-27|14:50:00.123` (geth), `10.30 16:49:06`, `17/06/09 20:10:40` (year first).
fn short_date(text: &[u8]) -> Option<(Written, usize)> {
    let mut c = Cursor::new(text);
    let a = c.digits(2)?;
    let dash = c.eat_any(b"-./")?;
    let b = c.digits(2)?;
    let third = c.eat(dash).and_then(|()| c.digits(2));
    c.eat_any(b" |")?;
    let ms = c.clock(b':')?;
    let (year, month, day) = match third {
        Some(day) => (Some(2000 + a as i32), b, day),
        None => (None, a, b),
    };
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && c.ends();
    valid.then_some((
        Written {
            year,
            month,
            day,
            millisecond_of_day: ms,
            offset: None,
        },
        c.at,
    ))
}

/// `27/Dec/2025:14:50:00 +0300`, `27-Dec-2025 14:50:00.123 UTC` (PHP, Tomcat).
fn access_log(text: &[u8]) -> Option<(Written, usize)> {
    let mut c = Cursor::new(text);
    let day = c.digits(2)?;
    let separator = c.eat_any(b"/-")?;
    let month = c.month_name()?;
    c.eat(separator)?;
    let year = c.digits(4)?;
    c.eat_any(b": ")?;
    let ms = c.clock(b':')?;
    Some((
        Written {
            year: Some(year as i32),
            month,
            day,
            millisecond_of_day: ms,
            offset: c.zone(),
        },
        c.at,
    ))
}

/// `27 Dec 2025 14:50:00.123`.
fn redis(text: &[u8]) -> Option<(Written, usize)> {
    let mut c = Cursor::new(text);
    let day = c.day()?;
    c.eat(b' ')?;
    let month = c.month_name()?;
    c.eat(b' ')?;
    let year = c.digits(4)?;
    c.eat(b' ')?;
    let ms = c.clock(b':')?;
    c.ends().then_some((
        Written {
            year: Some(year as i32),
            month,
            day,
            millisecond_of_day: ms,
            offset: None,
        },
        c.at,
    ))
}

/// `081109 203615` and `20171223-22:15:29:606`.
fn compact(text: &[u8]) -> Option<(Written, usize)> {
    let mut c = Cursor::new(text);
    let (year, month, day);
    if text.get(6) == Some(&b' ') {
        year = 2000 + c.digits(2)? as i32;
        month = c.digits(2)?;
        day = c.digits(2)?;
        c.eat(b' ')?;
        let (h, m, s) = (c.digits(2)?, c.digits(2)?, c.digits(2)?);
        let valid =
            (1..=12).contains(&month) && (1..=31).contains(&day) && h < 24 && m < 60 && s < 61;
        return (valid && c.ends()).then_some((
            Written {
                year: Some(year),
                month,
                day,
                millisecond_of_day: i64::from(h * 3600 + m * 60 + s) * 1000,
                offset: None,
            },
            c.at,
        ));
    }
    year = c.digits(4)? as i32;
    month = c.digits(2)?;
    day = c.digits(2)?;
    c.eat(b'-')?;
    let hour = c.day().filter(|h| *h < 24)?;
    c.eat(b':')?;
    let minute = c.day().filter(|m| *m < 60)?;
    c.eat(b':')?;
    let second = c.day().filter(|s| *s < 61)?;
    let ms = i64::from(hour * 3600 + minute * 60 + second) * 1000 + c.fraction();
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && year > 1969;
    (valid && c.ends()).then_some((
        Written {
            year: Some(year),
            month,
            day,
            millisecond_of_day: ms,
            offset: None,
        },
        c.at,
    ))
}

/// `Dec 27 14:50:00` (syslog) and `Sat Dec 27 14:50:00.123456 2025` (Apache).
fn read_named(text: &[u8]) -> Option<(Written, usize)> {
    let mut c = Cursor::new(text);
    let named_day = matches!(
        text.get(..4)?,
        b"Mon " | b"Tue " | b"Wed " | b"Thu " | b"Fri " | b"Sat " | b"Sun "
    );
    if named_day {
        c.at = 4;
    }
    let month = c.month_name()?;
    c.eat(b' ')?;
    let day = c.day()?;
    c.eat(b' ')?;
    let ms = c.clock(b':')?;
    let after_clock = c.at;
    let year = c.eat(b' ').and_then(|()| c.digits(4)).filter(|_| c.ends());
    let year = year.filter(|y| named_day && (1970..2200).contains(y));
    if year.is_none() {
        c.at = after_clock;
    }
    c.ends().then_some((
        Written {
            year: year.map(|y| y as i32),
            month,
            day,
            millisecond_of_day: ms,
            offset: None,
        },
        c.at,
    ))
}

/// A number of seconds or milliseconds since 1970, as JSON loggers write it.
pub fn epoch_ms(text: &[u8]) -> Option<i64> {
    let whole = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let ms = match whole {
        10 => number * 1000.0,
        13 => number,
        16 => number / 1000.0,
        19 => number / 1_000_000.0,
        _ => return None,
    };
    // An exponent makes ten digits larger than any time.
    Some(ms as i64).filter(|ms| is_instant(*ms))
}

#[cfg(test)]
mod tests;
