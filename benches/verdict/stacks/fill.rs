//! Templates of log lines: `{int:1-9}`, `{hex:16}`, `{uuid}`, `{ip}`, `{pick:a|b}`, `{user}`, `{t:%H:%M:%S}`, `{epoch}`
//! and what the line is about: `{level}`, `{msg}`, `{method}`, `{path}`, `{status}`, `{ms:DIGITS}`, `{s:DIGITS}`.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::dice::Dice;

const USERS: [&str; 7] = [
    "ivanov", "petrova", "smith", "garcia", "chen", "o.brien", "müller",
];

/// What a line is about.
#[derive(Default)]
pub(super) struct Blanks<'a> {
    /// Seconds since 1970.
    pub(super) at: f64,
    pub(super) level: &'a str,
    pub(super) message: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: &'a str,
    /// How long it took.
    pub(super) seconds: f64,
}

impl Blanks<'_> {
    /// A template with its blanks filled. `{{` stands for a brace of the log itself, a lone `}` for itself.
    pub(super) fn fill(&self, template: &str, dice: &mut Dice, to: &mut String) -> fmt::Result {
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            to.push_str(text);
            if let Some(after) = after.strip_prefix('{') {
                to.push('{');
                rest = after;
                continue;
            }
            let (blank, after) = after.split_once('}').unwrap_or((after, ""));
            rest = after;
            self.one(blank, dice, to)?;
        }
        to.push_str(rest);
        Ok(())
    }

    fn one(&self, blank: &str, dice: &mut Dice, to: &mut String) -> fmt::Result {
        let (name, with) = blank.split_once(':').unwrap_or((blank, ""));
        match name {
            "int" => {
                let (from, until) = with.split_once('-').unwrap_or(("0", with));
                let from: u64 = from.parse().unwrap_or(0);
                let until = until.parse().unwrap_or(9);
                write!(to, "{}", from + dice.below(until - from + 1))
            }
            "hex" => {
                let digits = with.parse().unwrap_or(8);
                (0..digits).try_for_each(|_| write!(to, "{:x}", dice.below(16)))
            }
            "uuid" => self.fill("{hex:8}-{hex:4}-4{hex:3}-a{hex:3}-{hex:12}", dice, to),
            "ip" => {
                let (b, c, d) = (dice.below(4), dice.below(256), 1 + dice.below(254));
                write!(to, "10.{b}.{c}.{d}")
            }
            "pick" => {
                let choices: Vec<&str> = with.split('|').collect();
                to.write_str(dice.pick(&choices))
            }
            "user" => to.write_str(dice.pick(&USERS)),
            "t" => {
                let at = Timestamp::from_nanosecond((self.at * 1e9) as i128).unwrap_or_default();
                write!(to, "{}", at.to_zoned(TimeZone::UTC).strftime(with))
            }
            "epoch" => write!(to, "{}", (self.at * 1000.0) as i64),
            "level" => to.write_str(self.level),
            "msg" => self.fill(self.message, dice, to),
            "method" => to.write_str(self.method),
            "path" => self.fill(self.path, dice, to),
            "status" => to.write_str(self.status),
            "ms" => {
                let digits = with.parse().unwrap_or(0);
                write!(to, "{:.*}", digits, self.seconds * 1000.0)
            }
            "s" => {
                let digits = with.parse().unwrap_or(3);
                write!(to, "{:.*}", digits, self.seconds)
            }
            other => write!(to, "{{{other}}}"),
        }
    }
}
