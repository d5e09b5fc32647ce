//! Numbers out of text: what a regular expression captures in lines, what a command prints, what a database says of its
//! connections.
//!
//! What is no number is told, never taken for 0.

use regex::bytes::Regex;

use crate::analysis::latency::Histogram;
use crate::domain::own_signal::Pick;

/// Reads one number: `42`, ` 1.5e3 `, `1,204.5`. `None` for anything else, and for what is not finite.
pub fn read_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = match text.contains(',') && is_grouped(text) {
        true => text.replace(',', "").parse(),
        false => text.parse(),
    };
    number.ok().filter(|n: &f64| n.is_finite())
}

/// Whether commas stand where thousands are: `1,204.5` and not `1,5`.
fn is_grouped(text: &str) -> bool {
    let whole = text.split('.').next().unwrap_or(text);
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_digits(first.trim_start_matches(['-', '+']))
        && groups.all(|group| group.len() == 3 && is_digits(group))
}

/// What an expression captured in the lines of a window.
#[derive(Debug, Clone)]
pub struct Captured {
    regex: Regex,
    pick: Pick,
    lines: u64,
    matches: u64,
    last: Option<(f64, Option<i64>)>,
    last_match: Option<i64>,
    sum: f64,
    min: f64,
    max: f64,
    numbers: u64,
    spread: Histogram,
    odd: Option<String>,
}

impl Captured {
    /// Nothing yet.
    ///
    /// # Errors
    /// The expression cannot be read.
    pub fn new(regex: &str, pick: Pick) -> Result<Self, String> {
        Ok(Self {
            regex: Regex::new(regex).map_err(|error| error.to_string())?,
            pick,
            lines: 0,
            matches: 0,
            last: None,
            last_match: None,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            numbers: 0,
            spread: Histogram::default(),
            odd: None,
        })
    }

    /// One line, with its time in milliseconds since 1970.
    pub fn feed(&mut self, at: Option<i64>, line: &[u8]) {
        self.lines += 1;
        let Some(found) = self.regex.captures(line) else {
            return;
        };
        self.matches += 1;
        self.last_match = at.or(self.last_match);
        if self.pick == Pick::Count {
            return;
        }
        let Some(group) = found.name("value").or_else(|| found.get(1)) else {
            return;
        };
        let text = String::from_utf8_lossy(group.as_bytes());
        let Some(number) = read_number(&text) else {
            self.odd
                .get_or_insert_with(|| text.chars().take(40).collect());
            return;
        };
        self.last = Some((number, at));
        self.sum += number;
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.numbers += 1;
        self.spread.record(number);
    }

    /// Adds what the same expression captured in the lines behind these.
    pub fn merge(&mut self, later: &Self) {
        self.lines += later.lines;
        self.matches += later.matches;
        self.last = later.last.or(self.last);
        self.last_match = later.last_match.or(self.last_match);
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.numbers += later.numbers;
        self.spread.merge(&later.spread);
        if self.odd.is_none() {
            self.odd.clone_from(&later.odd);
        }
    }

    /// The value, when it was written in milliseconds since 1970 (`None` where lines have no time), and on what it rests.
    ///
    /// # Errors
    /// Why there is none.
    pub fn value(&self) -> Result<(f64, Option<i64>, String), String> {
        if self.lines == 0 {
            return Err("its log has no line in this window".to_owned());
        }
        let lines = format!("{} lines, {} match", self.lines, self.matches);
        let odd = match &self.odd {
            Some(text) => format!(", {text:?} is no number"),
            None => String::new(),
        };
        if self.pick == Pick::Count {
            return Ok((self.matches as f64, self.last_match, lines));
        }
        let Some((last, at)) = self.last else {
            return Err(format!("no number in this window: {lines}{odd}"));
        };
        let value = match self.pick {
            Pick::Last | Pick::Count => last,
            Pick::Mean => self.sum / self.numbers as f64,
            Pick::Min => self.min,
            Pick::Max => self.max,
            Pick::Sum => self.sum,
            Pick::P95 => self.spread.percentile(0.95).unwrap_or(last),
        };
        Ok((value, at, format!("{lines}{odd}")))
    }
}

/// How many connections a database has and how many it may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InUse {
    /// Open now.
    pub used: f64,
    /// The most there may be.
    pub max: f64,
}

impl InUse {
    /// As a share of what there may be.
    pub fn share(self) -> f64 {
        self.used / self.max
    }
}

/// Reads what a command prints of connections: `95 100`, `95/100`, or a share (`0.95`, `95%`).
///
/// # Errors
/// It is neither.
pub fn read_in_use(text: &str) -> Result<InUse, String> {
    let odd = || {
        let start: String = text.trim().chars().take(60).collect();
        format!("{start:?} is neither a share nor two numbers, those in use and those there may be")
    };
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || matches!(c, '/' | '|'))
        .filter(|word| !word.is_empty())
        .collect();
    let found = match words.as_slice() {
        [one] => match one.strip_suffix('%') {
            Some(percent) => InUse {
                used: read_number(percent).ok_or_else(odd)?,
                max: 100.0,
            },
            None => InUse {
                used: read_number(one).filter(|n| *n <= 1.0).ok_or_else(odd)?,
                max: 1.0,
            },
        },
        [used, max] => InUse {
            used: read_number(used).ok_or_else(odd)?,
            max: read_number(max).ok_or_else(odd)?,
        },
        _ => return Err(odd()),
    };
    match found.used >= 0.0 && found.max > 0.0 {
        true => Ok(found),
        false => Err(odd()),
    }
}

/// Whether a PostgreSQL or Redis client was turned away because no connection is left: the server says so itself.
pub fn is_turned_away(said: &str) -> bool {
    let said = said.to_lowercase();
    [
        "too many clients",
        "too many connections",
        "remaining connection slots are reserved",
        "max number of clients reached",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// Reads `redis-cli INFO clients`, with the answer to `CONFIG GET maxclients` below it for servers whose INFO does not
/// say it.
///
/// # Errors
/// One of the numbers is not there; the server's own words where it refused.
pub fn read_redis(text: &str) -> Result<InUse, String> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
            .and_then(read_number)
    };
    let asked = || {
        let mut lines = text.lines().map(str::trim);
        lines.find(|line| *line == "maxclients")?;
        lines.next().and_then(read_number)
    };
    let refused = || {
        let refused = text.lines().find(|line| {
            ["NOAUTH", "WRONGPASS", "NOPERM", "ERR", "Could not connect"]
                .iter()
                .any(|word| line.starts_with(word))
        });
        refused.unwrap_or("INFO does not say connected_clients and maxclients")
    };
    match (
        field("connected_clients"),
        field("maxclients").or_else(asked),
    ) {
        // Who asks is one of them.
        (Some(used), Some(max)) if max > 0.0 => Ok(InUse {
            used: (used - 1.0).max(0.0),
            max,
        }),
        _ => Err(refused().trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pick: Pick, lines: &[&str]) -> Result<f64, String> {
        let mut captured = Captured::new(r"cost=([\w.,]+)", pick).unwrap();
        for (at, line) in lines.iter().enumerate() {
            captured.feed(Some(at as i64), line.as_bytes());
        }
        captured.value().map(|(value, ..)| value)
    }

    #[test]
    fn numbers_are_read_as_people_and_programs_write_them() {
        for (text, number) in [
            (" 42\n", Some(42.0)),
            ("1.5e3", Some(1500.0)),
            ("1,204.5", Some(1204.5)),
            ("-3", Some(-3.0)),
            ("1,5", None),
            ("", None),
            ("NaN", None),
            ("inf", None),
            ("12 apples", None),
        ] {
            assert_eq!(read_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn the_numbers_of_a_window_become_one() {
        let lines = ["a cost=1.0", "b", "c cost=4", "d cost=1"];
        for (pick, value) in [
            (Pick::Last, 1.0),
            (Pick::Mean, 2.0),
            (Pick::Min, 1.0),
            (Pick::Max, 4.0),
            (Pick::Sum, 6.0),
            (Pick::Count, 3.0),
        ] {
            assert_eq!(captured(pick, &lines), Ok(value), "{pick:?}");
        }
        let p95 = captured(Pick::P95, &lines).unwrap();
        assert!((p95 - 4.0).abs() < 0.2, "{p95}");
    }

    #[test]
    fn nothing_is_no_zero() {
        for pick in [Pick::Last, Pick::Sum, Pick::Count] {
            assert!(captured(pick, &[]).unwrap_err().contains("no line"));
        }
        let error = captured(Pick::Sum, &["a", "cost=lots"]).unwrap_err();
        assert!(error.contains("2 lines, 1 match"), "{error}");
        assert!(error.contains("\"lots\" is no number"), "{error}");
        assert_eq!(captured(Pick::Count, &["a"]), Ok(0.0));
    }

    #[test]
    fn connections_are_read_in_every_shape_and_nothing_is_guessed() {
        for (text, share) in [
            ("95 100\n", 0.95),
            ("95/100", 0.95),
            ("95|100", 0.95),
            ("95%", 0.95),
            ("0.95", 0.95),
        ] {
            assert_eq!(read_in_use(text).unwrap().share(), share, "{text}");
        }
        for text in ["", "95", "a b", "95 0", "-1 100", "1 2 3", "many"] {
            assert!(read_in_use(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn redis_says_it_in_info_or_when_asked() {
        let new = "# Clients\r\nconnected_clients:9\r\nmaxclients:10\r\nblocked_clients:0\r\n";
        assert_eq!(read_redis(new).unwrap().share(), 0.8);
        let old = "# Clients\r\nconnected_clients:9\r\nblocked_clients:0\r\n\r\nmaxclients\n10\n";
        assert_eq!(read_redis(old).unwrap().share(), 0.8);
        let locked = "NOAUTH Authentication required.\nNOAUTH Authentication required.\n";
        assert_eq!(
            read_redis(locked).unwrap_err(),
            "NOAUTH Authentication required."
        );
        assert!(is_turned_away("ERR max number of clients reached"));
        assert!(is_turned_away("FATAL:  sorry, too many clients already"));
        assert!(!is_turned_away("FATAL:  role \"x\" does not exist"));
    }
}
