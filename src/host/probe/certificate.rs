//! The certificate of an answer over HTTPS: how long it is good for, and in words why it was not accepted.
//!
//! A certificate that ends takes everything down that stands behind it, at a time that was known for months. Only that of
//! the server itself is looked at: reqwest gives no other.

use std::error::Error;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rustls::{CertificateError, InvalidMessage};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// What is said of a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) text: String,
    /// It is to be told of.
    pub(super) warns: bool,
}

impl Shown {
    /// Nobody can say how long it is good for: that is no good news, unless the user wants none.
    pub(super) fn unseen(text: &str, days: u16) -> Self {
        Self {
            text: text.to_owned(),
            warns: days > 0,
        }
    }
}

/// Judges a certificate that was accepted, by the days that it must be good for.
pub(super) fn judge(der: &[u8], days: u16, now: Timestamp) -> Shown {
    let ends_at = match ends_at(der) {
        Ok(ends_at) => ends_at,
        Err(why) => {
            return Shown::unseen(&format!("its certificate cannot be read: {why}"), days);
        }
    };
    let left = ends_at.duration_since(now);
    let text = format!("certificate ends in {}", in_words(left));
    match left < SignedDuration::from_hours(24 * i64::from(days)) {
        true => Shown {
            text: format!("{text}, on {}: renew it", day(ends_at)),
            warns: true,
        },
        false => Shown { text, warns: false },
    }
}

/// The end of its validity; the end of time where it has none.
fn ends_at(der: &[u8]) -> Result<Timestamp, String> {
    let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
    let end = certificate.tbs_certificate().validity().not_after;
    Ok(instant(end.to_unix_duration().as_secs()))
}

fn instant(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).ok();
    let at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.unwrap_or(Timestamp::MAX)
}

/// Its day, in UTC as certificates have it.
fn day(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d")
}

/// `54 days`, `1 day`, `7 hours`, `12 minutes`: whole ones, rounded down.
fn in_words(span: SignedDuration) -> String {
    let (days, hours) = (span.as_hours() / 24, span.as_hours());
    let (count, word) = match (days, hours) {
        (1.., _) => (days, "day"),
        (_, 1..) => (hours, "hour"),
        _ => (span.as_mins().max(0), "minute"),
    };
    let many = if count == 1 { "" } else { "s" };
    format!("{count} {word}{many}")
}

/// Why there is no TLS with `place`, and what to do about it; `None` where TLS is not the reason.
pub(super) fn refusal(
    error: &(dyn Error + 'static),
    place: &str,
    ca: Option<&Path>,
    now: Timestamp,
) -> Option<String> {
    let why = match tls_error(error)? {
        rustls::Error::InvalidCertificate(why) => why,
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return Some(format!(
                "{place} does not speak TLS: is its address http://{place}?"
            ));
        }
        other => return Some(format!("no TLS with {place}: {other}")),
    };
    let look = format!("openssl s_client -connect {place} -showcerts </dev/null");
    Some(match why {
        // Its own or that of an authority between: rustls does not say which.
        CertificateError::ExpiredContext { not_after, .. } => {
            let ended_at = instant(not_after.as_secs());
            let ago = in_words(now.duration_since(ended_at));
            format!(
                "a certificate that {place} shows ended on {}, {ago} ago: renew it and reload what answers there; {look}",
                day(ended_at)
            )
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "a certificate that {place} shows begins on {} only: are the clocks right? date -u",
            day(instant(not_before.as_secs()))
        ),
        CertificateError::UnknownIssuer => {
            let nobody = match ca {
                Some(file) => format!("nobody in {} or on this machine knows", file.display()),
                None => "this machine does not know".to_owned(),
            };
            format!(
                "the certificate of {place} is signed by an authority that {nobody}: if it is your own, write \
                 ca = \"/path/of/its.pem\" in the probe; if not, does {place} leave out a certificate between? {look}"
            )
        }
        // What knows an authority by its name has an older one.
        CertificateError::BadSignature => {
            let at = match ca {
                Some(file) => format!("in {}", file.display()),
                None => "on this machine".to_owned(),
            };
            format!(
                "the certificate of {place} is not signed by the authority of that name {at}: was the authority made anew? \
                 Then put its new certificate there; {look}"
            )
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = match names.as_slice() {
                [] => "no name at all".to_owned(),
                names => names.join(", "),
            };
            format!(
                "the certificate of {place} is for {names}, not for {}: ask by a name that it has",
                expected.to_str()
            )
        }
        why if why.to_string().contains("CaUsedAsEndEntity") => format!(
            "the certificate of {place} is one of an authority (CA:TRUE), which no server may show: make it one with \
             basicConstraints=CA:FALSE, or sign another with it"
        ),
        why => format!("the certificate of {place} is not accepted ({why}): {look}"),
    })
}

/// `shop.example` of `DnsName("shop.example")`, as rustls writes the names of a certificate.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

/// The error of TLS among the causes. An I/O error passes over what it wraps when it is asked for its source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        let io = cause.downcast_ref::<std::io::Error>();
        next = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Of openssl, with the number 0; ends 2036-11-23 10:52:12 UTC.
    fn certificate() -> Vec<u8> {
        let hex = "\
         3081c43078020100300506032b6570300f310d300b06035504030c0473686f70301e170d3236313132363130353231325a170d33\
         36313132333130353231325a300f310d300b06035504030c0473686f70302a300506032b65700321008d4b3f6987af0bbeb02beb\
         cca84802bb2a3715bafda5592935a515bc6539510b300506032b65700341000102a120be4a46e190ae4649c21400c2051fecbb0e\
         94ccd5143c35923864a43d347bb8de74be171359a026e28f9a63e6b0554bdfc5724821e2dd35e9493df80f";
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_certificate_is_judged_by_the_days_that_are_left() {
        let der = certificate();
        let judged = |now: &str, days| {
            let shown = judge(&der, days, at(now));
            (shown.text, shown.warns)
        };
        let fine = |text: &str| (text.to_owned(), false);
        let soon = |span: &str| {
            let text = format!("certificate ends in {span}, on 2036-11-23: renew it");
            (text, true)
        };
        assert_eq!(
            judged("2036-09-30T08:00:00Z", 14),
            fine("certificate ends in 54 days")
        );
        assert_eq!(
            judged("2036-11-09T10:52:12Z", 14),
            fine("certificate ends in 14 days")
        );
        assert_eq!(judged("2036-11-09T10:52:13Z", 14), soon("13 days"));
        assert_eq!(judged("2036-11-14T10:00:00Z", 14), soon("9 days"));
        assert_eq!(
            judged("2036-11-14T10:00:00Z", 7),
            fine("certificate ends in 9 days")
        );
        assert_eq!(judged("2036-11-22T10:00:00Z", 14), soon("1 day"));
        assert_eq!(judged("2036-11-23T09:30:00Z", 14), soon("1 hour"));
        assert_eq!(judged("2036-11-23T10:52:00Z", 14), soon("0 minutes"));
        assert_eq!(
            judged("2036-11-23T09:30:00Z", 0),
            fine("certificate ends in 1 hour")
        );
    }

    #[test]
    fn what_cannot_be_read_is_never_good() {
        let shown = judge(b"no certificate", 14, Timestamp::UNIX_EPOCH);
        assert!(
            shown.warns && shown.text.contains("cannot be read"),
            "{shown:?}"
        );
        assert!(!judge(b"", 0, Timestamp::UNIX_EPOCH).warns);
    }

    #[test]
    fn what_was_not_accepted_is_told_in_words() {
        let told = |error: rustls::Error, ca: Option<&Path>| {
            // As the connection wraps it.
            let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
            refusal(&error, "shop:443", ca, at("2026-11-26T12:00:00Z")).unwrap()
        };
        let of = |why, ca| told(rustls::Error::InvalidCertificate(why), ca);
        let seconds = |text: &str| {
            let since = at(text).as_second().unsigned_abs();
            rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(since))
        };
        let now = seconds("2026-11-26T12:00:00Z");
        let ended = CertificateError::ExpiredContext {
            time: now,
            not_after: seconds("2026-11-23T10:00:00Z"),
        };
        let text = of(ended, None);
        assert!(
            text.contains("shop:443 shows ended on 2026-11-23, 3 days ago: renew it"),
            "{text}"
        );
        let young = CertificateError::NotValidYetContext {
            time: now,
            not_before: seconds("2026-12-01T00:00:00Z"),
        };
        assert!(of(young, None).contains("begins on 2026-12-01 only"));
        let text = of(CertificateError::UnknownIssuer, None);
        assert!(
            text.contains("this machine does not know") && text.contains("ca = \"/"),
            "{text}"
        );
        let text = of(
            CertificateError::UnknownIssuer,
            Some(Path::new("/etc/ca.pem")),
        );
        assert!(
            text.contains("nobody in /etc/ca.pem or on this machine knows"),
            "{text}"
        );
        let text = of(
            CertificateError::BadSignature,
            Some(Path::new("/etc/ca.pem")),
        );
        assert!(
            text.contains("of that name in /etc/ca.pem: was the authority made anew?"),
            "{text}"
        );
        let name = CertificateError::NotValidForNameContext {
            expected: rustls::pki_types::ServerName::try_from("shop").unwrap(),
            presented: vec![
                "DnsName(\"a.example\")".into(),
                "IpAddress(127.0.0.1)".into(),
            ],
        };
        let text = of(name, None);
        assert!(
            text.contains("is for a.example, 127.0.0.1, not for shop"),
            "{text}"
        );
        assert!(of(CertificateError::Revoked, None).contains("not accepted"));
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert!(told(plain, None).contains("is its address http://shop:443?"));
        let other = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            refusal(&other, "shop:443", None, at("2026-11-26T12:00:00Z")),
            None
        );
    }
}
