//! Numbers as people read them.

/// `1,000`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 request`, `1,000 requests`.
pub fn count(number: u64, of: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {of}{s}", thousands(number))
}

/// `0.5 %`, `25 %`, `0.012 %`.
pub fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent == 0.0 || percent >= 9.95 {
        format!("{percent:.0} %")
    } else if percent >= 0.095 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// `12 ms`, `1.2 s`, `0.4 ms`.
pub fn milliseconds(ms: f64) -> String {
    if ms >= 9_950.0 {
        format!("{:.0} s", ms / 1000.0)
    } else if ms >= 995.0 {
        format!("{:.1} s", ms / 1000.0)
    } else if ms >= 9.95 {
        format!("{ms:.0} ms")
    } else {
        format!("{ms:.1} ms")
    }
}

/// `50×`, `2.5×`.
pub(super) fn times(ratio: f64) -> String {
    if ratio >= 9.95 {
        format!("{ratio:.0}×")
    } else {
        format!("{ratio:.1}×")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1000, "request"), "1,000 requests");
        assert_eq!(count(1, "request"), "1 request");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(
            (
                percent(0.005),
                percent(0.25),
                percent(0.0),
                percent(0.00012)
            ),
            ("0.5 %".into(), "25 %".into(), "0 %".into(), "0.01 %".into())
        );
        assert_eq!(
            (
                milliseconds(3200.0),
                milliseconds(812.0),
                milliseconds(0.42)
            ),
            ("3.2 s".into(), "812 ms".into(), "0.4 ms".into())
        );
        assert_eq!((times(50.0), times(2.54)), ("50×".into(), "2.5×".into()));
    }
}
