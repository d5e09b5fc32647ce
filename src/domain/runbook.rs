//! A runbook: what people do in a fixed order when it matters, as a checklist that knows its clock, its owners
//! and what it can look up by itself.
//!
//! A runbook is Markdown, because it has to read well in any editor at 3 a.m., when this program may be the thing
//! that is broken. [`parse`] turns the text into [`Runbook`]; [`run`] holds what happens to it while people walk
//! through it. Both are pure.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::host::HostName;
use super::operation::Operation;
use super::safe_text::SafeText;

pub mod include;
pub mod parse;
pub mod probe;
pub mod run;
pub mod variables;

pub use parse::SyntaxError;
pub use probe::Probe;
pub use run::{ItemState, RunEvent, RunState};

/// A parsed runbook. Items are numbered from 1 through all phases, slugs are unique within it.
#[derive(Debug, Clone, PartialEq)]
pub struct Runbook {
    /// The file's name without `.md`: what `runbook start NAME` takes.
    pub name: String,
    /// The `#` heading.
    pub title: SafeText,
    /// The Markdown between the title and the first phase, line by line.
    pub intro: Vec<SafeText>,
    /// The phases, in order; every item belongs to one.
    pub phases: Vec<Phase>,
}

/// The part of a runbook under one `##` heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// The heading. Empty for items that stand before the first `##`.
    pub title: SafeText,
    /// The Markdown of the phase that belongs to no item, line by line.
    pub notes: Vec<SafeText>,
    /// The items, in order.
    pub items: Vec<Item>,
}

/// One box to tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// From 1, through the whole runbook.
    pub number: usize,
    /// `{id=…}`, else made from the text: `api-health-check`; a second one of the same text gets `-2`.
    pub slug: String,
    /// What to do, without Markdown signs and attributes.
    pub text: SafeText,
    /// The title of its phase.
    pub phase: SafeText,
    /// 0, or how deep the item stands below other items.
    pub depth: usize,
    /// The role or person of `{owner=…}`.
    pub owner: Option<SafeText>,
    /// The time of `{due=…}`, counted from T.
    pub due: Option<Due>,
    /// `{gate}`: no probe of a later item is asked before this item is resolved. A probe that proves the result
    /// of a change means nothing before the change.
    pub is_gate: bool,
    /// `{two-person}`: done only when two different users said so, because what follows cannot be taken back.
    pub is_two_person: bool,
    /// The Markdown below the item that is neither work nor another item, line by line.
    pub notes: Vec<SafeText>,
    /// The fenced blocks that are its work, in order.
    pub blocks: Vec<Block>,
}

/// Work that a fenced block under an item describes.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// ```` ```sh run ````: a command that does the item. Exact bytes: it is executed as it stands.
    Run(String),
    /// ```` ```sh undo ````: what takes the item's effect back.
    Undo(String),
    /// A line of a ```` ```probe ```` block: a question whose answer ticks the item.
    Probe(Probe),
}

/// Somebody who looks at an item of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The user's name.
    pub user: SafeText,
    /// The run.
    pub run: String,
    /// The item's number.
    pub item: usize,
}

/// The language of a shipped runbook. Both have the same items, attributes and work: a run is the same run in either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Language {
    /// `en`
    #[default]
    #[serde(rename = "en")]
    English,
    /// `ru`
    #[serde(rename = "ru")]
    Russian,
}

/// An offset from T, the moment the runbook counts from: `T+5m`, `T-24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due(pub SignedDuration);

impl Runbook {
    /// Every item, in order.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.phases.iter().flat_map(|phase| phase.items.iter())
    }

    /// The item that a person means by its number or its slug.
    pub fn find(&self, item: &str) -> Option<&Item> {
        match item.parse::<usize>() {
            Ok(number) => self.items().find(|i| i.number == number),
            Err(_) => self.items().find(|i| i.slug == item),
        }
    }

    /// How many items tick themselves.
    pub fn automatic_count(&self) -> usize {
        self.items().filter(|item| item.is_automatic()).count()
    }
}

impl Item {
    /// Whether it has probes, so that it can tick itself.
    pub fn is_automatic(&self) -> bool {
        self.probes().next().is_some()
    }

    /// Its probes; all of them have to pass.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Probe(probe) => Some(probe),
            Block::Run(_) | Block::Undo(_) => None,
        })
    }

    /// Its commands, in order.
    pub fn run_scripts(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Run(script) => Some(script.as_str()),
            Block::Undo(_) | Block::Probe(_) => None,
        })
    }

    /// The operation that carries its work out on a host; `None` for an item without a command.
    pub fn operation(&self, host: HostName) -> Option<Operation> {
        let scripts: Vec<&str> = self.run_scripts().collect();
        (!scripts.is_empty()).then(|| Operation::RunCommand {
            title: self.text.clone(),
            command: scripts.join("\n"),
            host,
        })
    }

    /// What takes its effect back, in order.
    pub fn undo_scripts(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Undo(script) => Some(script.as_str()),
            Block::Run(_) | Block::Probe(_) => None,
        })
    }
}

impl Language {
    /// Reads `en` or `ru`.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "en" => Ok(Self::English),
            "ru" => Ok(Self::Russian),
            _ => Err(format!("`{text}` is no language of runbooks: en or ru")),
        }
    }
}

impl Due {
    /// Reads `T`, `T+0`, `T+5m`, `T-24h`, `T+1h30m`; units are `s`, `m`, `h`, `d`. The error says what was
    /// expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is no time: write T+5m, T-24h or T+1h30m (units s, m, h, d)");
        let rest = text.strip_prefix('T').ok_or_else(expected)?;
        if rest.is_empty() {
            return Ok(Self(SignedDuration::ZERO));
        }
        let (is_before, mut rest) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(expected()),
        };
        if rest.is_empty() {
            return Err(expected());
        }
        if rest == "0" {
            return Ok(Self(SignedDuration::ZERO));
        }
        let mut seconds = 0i64;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: i64 = rest[..digits].parse().map_err(|_| expected())?;
            let unit = rest[digits..].chars().next().ok_or_else(expected)?;
            let factor = match unit {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return Err(expected()),
            };
            seconds = number
                .checked_mul(factor)
                .and_then(|part| seconds.checked_add(part))
                .filter(|&sum| sum <= 366 * 86_400)
                .ok_or_else(|| format!("`{text}` is more than a year from T"))?;
            rest = &rest[digits + unit.len_utf8()..];
        }
        Ok(Self(SignedDuration::from_secs(if is_before {
            -seconds
        } else {
            seconds
        })))
    }

    /// The instant, when T is known. Saturates at the ends of time.
    pub fn at(self, t: Timestamp) -> Timestamp {
        t.saturating_add(self.0).unwrap_or(t)
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds == 0 {
            return f.pad("T+0");
        }
        let mut text = String::from(if seconds < 0 { "T-" } else { "T+" });
        let mut rest = seconds.unsigned_abs();
        // 24h and 72h are how people say it; days only where they come out even and are many.
        if rest.is_multiple_of(86_400) && rest > 3 * 86_400 {
            text.push_str(&format!("{}d", rest / 86_400));
            return f.pad(&text);
        }
        for (unit, size) in [('h', 3_600), ('m', 60), ('s', 1)] {
            if rest >= size {
                text.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        f.pad(&text)
    }
}

/// The slug of a text: its letters and digits in lower case, everything else one `-`, cut at a word's end after
/// 48 characters. Never empty and never a number, so that it cannot be taken for an item's number.
pub(crate) fn slug_of(text: &str) -> String {
    const LONGEST: usize = 48;
    let mut slug = String::new();
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        let word = word.to_lowercase();
        if !slug.is_empty() {
            if slug.chars().count() + 1 + word.chars().count() > LONGEST {
                break;
            }
            slug.push('-');
        }
        slug.extend(word.chars().take(LONGEST));
    }
    if slug.is_empty() || slug.chars().all(|c| c.is_ascii_digit()) {
        slug.insert_str(0, if slug.is_empty() { "item" } else { "item-" });
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_go_through_text_and_back() {
        for (text, seconds) in [
            ("T+0", 0),
            ("T+5m", 300),
            ("T-24h", -86_400),
            ("T+1h30m", 5_400),
            ("T-10s", -10),
            ("T+7d", 604_800),
            ("T+72h", 259_200),
        ] {
            let due = Due::parse(text).unwrap();
            assert_eq!(due.0.as_secs(), seconds, "{text}");
            assert_eq!(due.to_string(), text);
        }
        assert_eq!(Due::parse("T").unwrap(), Due::parse("T-0").unwrap());
    }

    #[test]
    fn a_due_time_that_is_none_is_an_error() {
        for text in [
            "",
            "5m",
            "T5m",
            "T+",
            "T+5",
            "T+5x",
            "T+m",
            "T+99999999999999999999m",
            "T+9999999h",
            "t+5m",
            "T++5m",
        ] {
            assert!(Due::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn slugs_are_short_stable_and_never_numbers() {
        assert_eq!(slug_of("API health check"), "api-health-check");
        assert_eq!(slug_of("  T+5m: `pm2` -- restart! "), "t-5m-pm2-restart");
        assert_eq!(slug_of("Проверка Redis"), "проверка-redis");
        assert_eq!(slug_of("42"), "item-42");
        assert_eq!(slug_of("…"), "item");
        assert!(slug_of(&"word ".repeat(40)).chars().count() <= 48);
        assert_eq!(slug_of(&"a".repeat(100)).len(), 48);
    }
}
