//! The time in front of a message: fixed positions, and the second before it is mostly the same.

use jiff::Timestamp;

/// The engine always writes nine digits and `Z`.
pub(super) const STAMP: usize = "2026-01-01T00:00:00.000000000Z".len();
/// Up to the point behind the second.
const SECOND: usize = "2026-01-01T00:00:00.".len();

/// Reads times, and remembers the last second: in a log that is worth reading fast the next line has the same.
#[derive(Debug)]
pub(super) struct StampReader {
    text: [u8; SECOND],
    second: i64,
}

impl Default for StampReader {
    fn default() -> Self {
        Self {
            text: *b"1970-01-01T00:00:00.",
            second: 0,
        }
    }
}

impl StampReader {
    /// Reads `2026-01-01T00:00:00.000000000Z`; `None` for any other form.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Timestamp> {
        let (second, rest) = bytes.split_first_chunk::<SECOND>()?;
        let [digits @ .., b'Z'] = rest else {
            return None;
        };
        let nanos = nine_digits(digits)?;
        if *second != self.text {
            self.second = parse_second(second)?;
            self.text = *second;
        }
        Timestamp::new(self.second, nanos).ok()
    }
}

/// Eight digits at once, each in a byte of its own, and the ninth.
fn nine_digits(digits: &[u8]) -> Option<i32> {
    let (eight, [last]) = digits.split_first_chunk::<8>()? else {
        return None;
    };
    let word = u64::from_le_bytes(*eight);
    let high = 0xF0F0_F0F0_F0F0_F0F0;
    let is_digits = word & high == 0x3030_3030_3030_3030
        && word.wrapping_add(0x0606_0606_0606_0606) & high == 0x3030_3030_3030_3030;
    if !is_digits || !last.is_ascii_digit() {
        return None;
    }
    // Neighbours become two, four and eight digits (Lemire, "Quickly parsing eight digits").
    let word = word & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (word.wrapping_mul(10) + (word >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    let eight = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xFFFF_FFFF;
    i32::try_from(eight * 10 + u64::from(last - b'0')).ok()
}

/// Seconds since 1970 of `2026-01-01T00:00:00.`.
fn parse_second(bytes: &[u8; SECOND]) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        bytes.get(from..to)?.iter().try_fold(0i64, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
        })
    };
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
    ];
    if marks.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    jiff::civil::Date::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
    )
    .ok()?;
    // Days since 1970 of a civil date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_read_as_the_general_parser_reads_it(
            second in -2_000_000_000i64..40_000_000_000,
            nanos in 0i32..1_000_000_000,
        ) {
            let at = Timestamp::new(second, 0).unwrap();
            let at = Timestamp::new(at.as_second(), nanos).unwrap_or(at);
            let text = format!("{at:.9}");
            let mut reader = StampReader::default();
            // The second time with the second remembered.
            prop_assert_eq!(reader.read(text.as_bytes()), Some(at));
            prop_assert_eq!(reader.read(text.as_bytes()), Some(at));
        }

        #[test]
        fn another_form_is_no_time(at in 0usize..STAMP, byte in any::<u8>()) {
            let mut text = *b"2026-01-31T23:59:59.123456789Z";
            text[at] = byte;
            let parsed = std::str::from_utf8(&text).ok().and_then(|t| t.parse::<Timestamp>().ok());
            let read = StampReader::default().read(&text);
            // The general parser takes a space for the `T`, small letters and leap seconds too.
            prop_assert!(read.is_none() || read == parsed, "{:?}", String::from_utf8_lossy(&text));
        }
    }
}
