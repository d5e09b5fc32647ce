//! Logs as usual stacks write them, made with what a deploy changes or without.

mod data;
mod fill;

use std::io::{self, Write};

use crate::dice::Dice;
use fill::Blanks;

pub(crate) use data::STACKS;

/// How a line is written: `{msg}` stands for what is said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    /// What a line looks like around its message.
    line: &'static str,
    /// How it calls info, warning and error.
    levels: [&'static str; 3],
    /// The message of a request: `{method}`, `{path}`, `{status}` and one of `{ms}`, `{s}`.
    request: &'static str,
    /// Everything else it says as long as all is well, and how often.
    talk: &'static [Said],
    /// What it says again and again until the deploy, and never after.
    gone: Said,
    /// What it says five times as often after it.
    more: Said,
    /// Errors that are new, the first the most frequent.
    new: [&'static str; 5],
}

/// A message, 0 for info, 1 for a warning, 2 for an error; and how often it is said for every 100 requests.
type Said = (usize, f64, &'static str);

/// What a deploy changed, by words that only it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    New,
    Gone,
    More,
}

impl Change {
    /// As `compare` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Gone => "gone",
            Change::More => "more",
        }
    }
}

/// What a side is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) seed: u64,
    pub(crate) requests: usize,
    /// Seconds since 1970.
    pub(crate) from: i64,
    /// Whether it stands after a deploy that broke something.
    pub(crate) is_broken: bool,
}

/// How often each new error is said in a broken log, whatever its size.
const NEW_COUNTS: [usize; 5] = [120, 40, 12, 6, 4];
/// Requests a second.
const RATE: f64 = 25.0;
/// Method, path, share, seconds, and whether a broken deploy makes it four times as slow.
const ROUTES: [(&str, &str, f64, f64, bool); 6] = [
    ("GET", "/api/items/{int:1-90000}", 40.0, 0.040, false),
    (
        "GET",
        "/api/items?page={int:1-40}&sort={pick:name|price}",
        20.0,
        0.120,
        false,
    ),
    ("POST", "/api/carts/{hex:16}/lines", 15.0, 0.090, false),
    ("POST", "/api/checkout", 8.0, 0.400, true),
    ("GET", "/api/users/{uuid}/profile", 15.0, 0.060, false),
    ("GET", "/healthz", 8.0, 0.002, false),
];

impl Stack {
    /// What stands in a log of a broken deploy, and by which words it is known there.
    pub(crate) fn changes(&self) -> Vec<(Change, &'static str)> {
        let mut changes: Vec<_> = self
            .new
            .iter()
            .map(|said| (Change::New, known_by(said)))
            .collect();
        changes.push((Change::Gone, known_by(self.gone.2)));
        changes.push((Change::More, known_by(self.more.2)));
        changes
    }

    /// The path of the route that a broken deploy slows down.
    pub(crate) fn slow_route() -> &'static str {
        ROUTES[3].1
    }

    /// Writes the log of one side.
    pub(crate) fn write(&self, side: Side, to: &mut dyn Write) -> io::Result<()> {
        let mut dice = Dice::new(side.seed);
        let mut at = side.from as f64;
        // New errors stand at random places, by the request that they follow.
        let mut new: Vec<(usize, usize)> = Vec::new();
        if side.is_broken {
            for (said, count) in NEW_COUNTS.iter().enumerate() {
                new.extend((0..*count).map(|_| (dice.below(side.requests as u64) as usize, said)));
            }
            new.sort_unstable();
        }
        let mut new = new.into_iter().peekable();
        for request in 0..side.requests {
            at += dice.wait(RATE);
            self.request(side, at, &mut dice, to)?;
            let changing = [
                (self.gone, if side.is_broken { 0.0 } else { 1.0 }),
                (self.more, if side.is_broken { 5.0 } else { 1.0 }),
            ];
            let talk = self.talk.iter().map(|said| (*said, 1.0)).chain(changing);
            for ((level, per_100, text), times) in talk {
                let mut left = per_100 * times / 100.0;
                while dice.part() < left {
                    left -= 1.0;
                    at += 0.000_4;
                    self.say(level, text, at, &mut dice, to)?;
                }
            }
            while let Some((_, said)) = new.next_if(|(place, _)| *place <= request) {
                at += 0.000_7;
                self.say(2, self.new[said], at, &mut dice, to)?;
            }
        }
        Ok(())
    }

    fn request(&self, side: Side, at: f64, dice: &mut Dice, to: &mut dyn Write) -> io::Result<()> {
        let (method, path, _, base, slows) = ROUTES[dice.weighted(ROUTES.iter().map(|r| r.2))];
        let slower = if slows && side.is_broken { 4.0 } else { 1.0 };
        let seconds = base * dice.spread(0.5) * slower;
        let status = if dice.part() < 0.985 {
            "200"
        } else {
            dice.pick(&["304", "400", "404", "404", "500"])
        };
        self.line(
            &Blanks {
                at,
                level: self.levels[0],
                message: self.request,
                method,
                path,
                status,
                seconds,
            },
            dice,
            to,
        )
    }

    fn say(
        &self,
        level: usize,
        text: &str,
        at: f64,
        dice: &mut Dice,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let blanks = Blanks {
            at,
            level: self.levels[level],
            message: text,
            ..Blanks::default()
        };
        self.line(&blanks, dice, to)
    }

    fn line(&self, blanks: &Blanks<'_>, dice: &mut Dice, to: &mut dyn Write) -> io::Result<()> {
        let mut line = String::with_capacity(256);
        blanks
            .fill(self.line, dice, &mut line)
            .map_err(io::Error::other)?;
        line.push('\n');
        to.write_all(line.as_bytes())
    }
}

/// The longest part of a message that does not vary and stands on one line.
fn known_by(said: &'static str) -> &'static str {
    let mut longest = "";
    for part in said.split('{') {
        let text = part.split_once('}').map_or(part, |(_, text)| text);
        for text in text.split('\n') {
            if text.trim().len() > longest.len() {
                longest = text.trim();
            }
        }
    }
    longest
}
