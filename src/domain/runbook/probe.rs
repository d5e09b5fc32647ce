//! The questions that a runbook asks by itself, one a line of a ```` ```probe ```` block.

use std::fmt;

use crate::domain::settings;
use crate::domain::signal::SignalName;

/// A question with a yes or no. It is data: asking it is the work of the layers that know machines.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// `http URL`: a GET is answered with a status from 200 to 299 in time.
    Http {
        /// `http://…` or `https://…`.
        url: String,
    },
    /// `tcp HOST:PORT`: a connection is accepted.
    Tcp {
        /// `host:port`.
        addr: String,
    },
    /// `signal SERVICE NAME OP VALUE`: the signal was measured, and the comparison holds.
    Signal {
        /// The service as a person names it; it may be ambiguous or unknown on this box.
        service: String,
        /// Which signal.
        signal: SignalName,
        /// How it is compared.
        op: Comparison,
        /// In the signal's own unit: milliseconds for latency, a fraction for rates and saturation.
        value: f64,
    },
    /// `service NAME healthy`: every probe of the service says healthy.
    ServiceHealthy {
        /// The service as a person names it.
        service: String,
    },
    /// `file-absent PATH`: nothing exists at the path. A relative one starts where lastgood was started.
    FileAbsent {
        /// The path, `~` not expanded.
        path: String,
    },
}

/// How a signal's value is compared with the probe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// What is wrong with a probe line, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeSyntax {
    /// Byte range within the line.
    pub(crate) span: std::ops::Range<usize>,
    /// What was found and what was expected.
    pub(crate) message: String,
}

/// The kinds, as an error lists them.
const KINDS: &str =
    "http URL, tcp HOST:PORT, signal SERVICE NAME < VALUE, service NAME healthy, file-absent PATH";

impl Probe {
    /// Reads one line of a probe block.
    pub(crate) fn parse(line: &str) -> Result<Self, ProbeSyntax> {
        let words = words(line);
        let Some((kind, rest)) = words.split_first() else {
            return Err(ProbeSyntax {
                span: 0..line.len(),
                message: format!("an empty probe: write {KINDS}"),
            });
        };
        match kind.text {
            "http" => {
                let [url] = rest else {
                    return Err(shape(line, rest, "http URL"));
                };
                let host = url
                    .text
                    .strip_prefix("http://")
                    .or_else(|| url.text.strip_prefix("https://"));
                if host.is_none_or(|h| h.is_empty() || h.starts_with('/')) {
                    return Err(
                        url.wrong("is no URL: it begins with http:// or https:// and has a host")
                    );
                }
                Ok(Self::Http {
                    url: url.text.to_owned(),
                })
            }
            "tcp" => {
                let [addr] = rest else {
                    return Err(shape(line, rest, "tcp HOST:PORT"));
                };
                let port = addr
                    .text
                    .rsplit_once(':')
                    .filter(|(host, _)| !host.is_empty());
                if port.is_none_or(|(_, port)| port.parse::<u16>().is_err() || port == "0") {
                    return Err(addr.wrong("is no HOST:PORT with a port from 1 to 65535"));
                }
                Ok(Self::Tcp {
                    addr: addr.text.to_owned(),
                })
            }
            "service" => {
                let [service, state] = rest else {
                    return Err(shape(line, rest, "service NAME healthy"));
                };
                if state.text != "healthy" {
                    return Err(
                        state.wrong("cannot be asked: the only state a probe asks for is healthy")
                    );
                }
                Ok(Self::ServiceHealthy {
                    service: service.text.to_owned(),
                })
            }
            "file-absent" => {
                // A path may hold spaces: everything after the kind is the path.
                let Some(first) = rest.first() else {
                    return Err(shape(line, rest, "file-absent PATH"));
                };
                Ok(Self::FileAbsent {
                    path: line[first.start..].trim_end().to_owned(),
                })
            }
            "signal" => parse_signal(line, kind.end()),
            _ => Err(kind.wrong(&format!("is no kind of probe: write {KINDS}"))),
        }
    }
}

impl Probe {
    /// The same question in the form that configured health probes have, where there is one. Whoever can ask those
    /// can ask this.
    pub fn to_check(&self) -> Option<settings::Probe> {
        match self {
            Self::Http { url } => Some(settings::Probe::http(url.clone())),
            Self::Tcp { addr } => Some(settings::Probe::of(settings::ProbeKind::Tcp {
                address: addr.clone(),
            })),
            Self::Signal { .. } | Self::ServiceHealthy { .. } | Self::FileAbsent { .. } => None,
        }
    }
}

/// `SERVICE NAME OP VALUE`, with or without spaces around the operator.
fn parse_signal(line: &str, from: usize) -> Result<Probe, ProbeSyntax> {
    const SHAPE: &str = "signal SERVICE NAME < VALUE";
    let Some(op_at) = line[from..].find(['<', '>', '=', '!']).map(|at| from + at) else {
        return Err(shape(line, &[], SHAPE));
    };
    let op_len = line[op_at..].len() - line[op_at..].trim_start_matches(['<', '>', '=', '!']).len();
    let op_word = Word {
        text: &line[op_at..op_at + op_len],
        start: op_at,
    };
    let op = match op_word.text {
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::Greater,
        ">=" => Comparison::AtLeast,
        _ => return Err(op_word.wrong("is no comparison: write <, <=, > or >=")),
    };
    let before = words_from(&line[..op_at], from);
    let after = words_from(line, op_at + op_len);
    let ([service, signal], [value]) = (before.as_slice(), after.as_slice()) else {
        return Err(shape(line, &[], SHAPE));
    };
    let signal_name = SignalName::parse(signal.text);
    let value = parse_value(&signal_name, value.text).map_err(|why| value.wrong(&why))?;
    Ok(Probe::Signal {
        service: service.text.to_owned(),
        signal: signal_name,
        op,
        value,
    })
}

/// Reads a value in the unit of the signal. A rate without `%` is a fraction, and over 1 it is refused, because
/// `error_rate < 1` was meant as one per cent.
fn parse_value(signal: &SignalName, text: &str) -> Result<f64, String> {
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite())
        .ok_or_else(|| "is no number with a unit, such as 1%, 500ms or 1.5s".to_owned())?;
    match (signal.unit(), unit) {
        ("fraction", "%") => Ok(number / 100.0),
        ("fraction", "") if (0.0..1.0).contains(&number) => Ok(number),
        ("fraction", _) => Err(format!(
            "does not fit {signal}, which is a share: write a per cent such as 1%"
        )),
        ("ms", "ms") => Ok(number),
        ("ms", "s") => Ok(number * 1_000.0),
        ("ms", _) => Err(format!(
            "does not fit {signal}, which is a duration: write 500ms or 1s"
        )),
        ("1/s", "" | "/s") => Ok(number),
        ("1/s", _) => Err(format!(
            "does not fit {signal}, which is counted per second: write 10 or 10/s"
        )),
        // A signal of the user's own has the unit that its configuration gives it.
        (_, "%") => Ok(number / 100.0),
        (_, "s") => Ok(number * 1_000.0),
        _ => Ok(number),
    }
}

impl Comparison {
    /// Whether `left op right` holds. Never for a value that is no number.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}

/// The line as it stands in a runbook.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { url } => write!(f, "http {url}"),
            Self::Tcp { addr } => write!(f, "tcp {addr}"),
            Self::ServiceHealthy { service } => write!(f, "service {service} healthy"),
            Self::FileAbsent { path } => write!(f, "file-absent {path}"),
            Self::Signal {
                service,
                signal,
                op,
                value,
            } => {
                write!(f, "signal {service} {signal} {op} ")?;
                match signal.unit() {
                    // Rounded, since 0.07 * 100 is 7.000000000000001.
                    "fraction" => write!(f, "{}%", (value * 100.0 * 1e9).round() / 1e9),
                    "ms" if *value >= 1_000.0 && value % 100.0 == 0.0 => {
                        write!(f, "{}s", value / 1_000.0)
                    }
                    "ms" => write!(f, "{value}ms"),
                    _ => write!(f, "{value}"),
                }
            }
        }
    }
}

/// A word of a probe line and where it begins.
struct Word<'a> {
    text: &'a str,
    start: usize,
}

impl Word<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn wrong(&self, why: &str) -> ProbeSyntax {
        ProbeSyntax {
            span: self.start..self.end(),
            message: format!("`{}` {why}", self.text),
        }
    }
}

fn words(line: &str) -> Vec<Word<'_>> {
    words_from(line, 0)
}

fn words_from(line: &str, from: usize) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut at = from;
    for piece in line[from..].split(char::is_whitespace) {
        if !piece.is_empty() {
            found.push(Word {
                text: piece,
                start: at,
            });
        }
        at += piece.len();
        at += line[at..].chars().next().map_or(0, char::len_utf8);
    }
    found
}

/// The wrong number of words: points at what is too much, or at the whole line.
fn shape(line: &str, words: &[Word<'_>], expected: &str) -> ProbeSyntax {
    let span = match words {
        [_, second, .., last] => second.start..last.end(),
        [_, second] => second.start..second.end(),
        _ => 0..line.trim_end().len(),
    };
    ProbeSyntax {
        span,
        message: format!("this probe is written: {expected}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_goes_through_text_and_back() {
        for line in [
            "http http://localhost:8000/health",
            "tcp localhost:5432",
            "tcp [::1]:5432",
            "signal backend error_rate < 1%",
            "signal pm2/api cpu <= 7%",
            "signal backend latency_p95 < 500ms",
            "signal backend latency_p95 < 1.5s",
            "signal backend traffic > 10",
            "signal cost cost_today < 50",
            "service pm2/api healthy",
            "file-absent dist",
            "file-absent /srv/my app/dist",
        ] {
            let probe = Probe::parse(line).unwrap();
            assert_eq!(probe.to_string(), line);
            assert_eq!(Probe::parse(&probe.to_string()).unwrap(), probe);
        }
    }

    #[test]
    fn values_come_in_the_unit_of_the_signal() {
        let value = |line: &str| match Probe::parse(line).unwrap() {
            Probe::Signal { value, .. } => value,
            other => panic!("{other}"),
        };
        assert_eq!(value("signal backend error_rate<1%"), 0.01);
        assert_eq!(value("signal backend error_rate < 0.05"), 0.05);
        assert_eq!(value("signal backend latency_p95 <= 1.5s"), 1500.0);
        assert_eq!(value("signal backend traffic >= 2/s"), 2.0);
    }

    #[test]
    fn an_error_points_at_the_word() {
        for (line, wrong) in [
            ("ping localhost", "ping"),
            ("http localhost:8000", "localhost:8000"),
            ("http http:///health", "http:///health"),
            ("tcp localhost", "localhost"),
            ("tcp localhost:70000", "localhost:70000"),
            ("service backend running", "running"),
            ("service backend healthy now please", "healthy now please"),
            ("signal backend error_rate < 1", "1"),
            ("signal backend error_rate < 5ms", "5ms"),
            ("signal backend latency_p95 < 1%", "1%"),
            ("signal backend latency_p95 == 1s", "=="),
            ("signal backend error_rate < many", "many"),
            ("signal error_rate < 1%", "signal error_rate < 1%"),
            ("file-absent", "file-absent"),
        ] {
            let error = Probe::parse(line).unwrap_err();
            assert_eq!(&line[error.span], wrong, "{line}: {}", error.message);
        }
    }

    #[test]
    fn not_a_number_never_holds() {
        for op in [
            Comparison::Less,
            Comparison::AtMost,
            Comparison::Greater,
            Comparison::AtLeast,
        ] {
            assert!(!op.holds(f64::NAN, 1.0));
        }
    }
}
