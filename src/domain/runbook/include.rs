//! `[Checks](parts/checks.md) {include}`: a runbook, or a part of one, inside another.
//!
//! The directive is a link, so that the text reads well, and leads on, in any editor. What it names takes the place of
//! its line before anything else is read: phases and items are numbered through the whole, and the record of a run
//! holds the whole. The title of what is included is left out (its place is the link), its introduction becomes a note.
//! A mistake keeps the place where a person corrects it: file and line of the part, and who included it.
//!
//! Defaults of variables pass inwards: what the outer runbook says holds in what it includes.

use std::ops::Range;
use std::path::PathBuf;

use super::SyntaxError;
use super::parse::{syntax_error, wrong_place};
use super::variables::{self, Variables};

/// How many runbooks stand inside one another. Deeper is a circle or a maze.
const MAX_DEPTH: usize = 8;
/// How many includes a runbook has, those of its parts counted.
const MAX_INCLUDES: usize = 100;
/// The whole, with everything in its place.
const LARGEST_BYTES: usize = 1024 * 1024;

/// A text that was read, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What an error calls it: the path of a file, `NAME.md` of a shipped one. The same text has the same.
    pub file: String,
    /// The folder that its links start from; `None` for a shipped one.
    pub folder: Option<PathBuf>,
    /// The Markdown.
    pub text: String,
}

/// A mistake and the text that its span points into.
pub type Located = (SyntaxError, String);

/// A runbook with everything that it includes in its place.
#[derive(Debug)]
pub struct Expanded {
    /// The Markdown.
    pub text: String,
    parts: Vec<Placed>,
    /// Where each line of the text comes from.
    lines: Vec<Origin>,
}

#[derive(Debug)]
struct Placed {
    part: Part,
    /// Which part included it, and the directive's line from 0.
    by: Option<(usize, usize)>,
    depth: usize,
}

#[derive(Debug, Clone, Copy)]
struct Origin {
    part: usize,
    /// From 0.
    line: usize,
    /// Whether the line stands there as in its file, but for the values of variables.
    is_whole: bool,
}

/// Puts what a runbook includes into its place. `find` reads what a part's link names; its error says why it cannot.
///
/// # Errors
/// A file that is not there, a circle, an include that is written wrong, too much or too deep: each with its place, a
/// caret, and the chain that led there.
pub fn expand(
    root: Part,
    find: impl FnMut(&Part, &str) -> Result<Part, String>,
) -> Result<Expanded, Box<Located>> {
    let mut work = Work {
        done: Expanded {
            text: String::new(),
            parts: vec![Placed {
                part: root,
                by: None,
                depth: 0,
            }],
            lines: Vec::new(),
        },
        find,
    };
    work.take(0, &Variables::new())?;
    Ok(work.done)
}

impl Expanded {
    /// A mistake in the text, with or without values in it, as a mistake of the file that it comes from.
    pub fn locate(&self, error: SyntaxError, filled: &str) -> Located {
        let Some(&origin) = self.lines.get(error.line - 1).or(self.lines.last()) else {
            return (error, filled.to_owned());
        };
        if self.parts.len() == 1 {
            return (error, filled.to_owned());
        }
        // The file as it is, with the values where they were put in.
        let part = &self.parts[origin.part].part;
        let mut lines: Vec<&str> = part.text.split_inclusive('\n').collect();
        for (from, line) in self.lines.iter().zip(filled.split_inclusive('\n')) {
            if from.part == origin.part && from.is_whole {
                lines[from.line] = line;
            }
        }
        let line_start = filled[..error.span.start]
            .rfind('\n')
            .map_or(0, |at| at + 1);
        let start: usize = lines[..origin.line].iter().map(|line| line.len()).sum();
        let line = lines.get(origin.line).map_or("", |line| line.trim_end());
        let column = (error.span.start - line_start).min(line.len());
        let end = (column + error.span.len()).min(line.len());
        let text = lines.concat();
        let message = format!("{}{}", error.message, self.chain(origin.part));
        let located = syntax_error(&part.file, &text, start + column..start + end, message);
        (located, text)
    }

    /// ` (included by b.md:3, by a.md:12)`; nothing for the outermost.
    fn chain(&self, part: usize) -> String {
        let mut chain = String::new();
        let mut by = self.parts[part].by;
        while let Some((above, line)) = by {
            let file = &self.parts[above].part.file;
            let word = if chain.is_empty() {
                " (included by"
            } else {
                ", by"
            };
            chain.push_str(&format!("{word} {file}:{}", line + 1));
            by = self.parts[above].by;
        }
        if !chain.is_empty() {
            chain.push(')');
        }
        chain
    }
}

struct Work<F> {
    done: Expanded,
    find: F,
}

impl<F: FnMut(&Part, &str) -> Result<Part, String>> Work<F> {
    fn take(&mut self, at: usize, outer: &Variables) -> Result<(), Box<Located>> {
        let is_inside = at > 0;
        let mut text = self.done.parts[at].part.text.clone();
        let mut defaults = variables::defaults_of(&text);
        defaults.extend(outer.clone());
        if is_inside {
            // Its title may hold a default, and is left out.
            text = variables::with_defaults(&text, &defaults);
        }
        let mut has_title = false;
        let mut fence: Option<(Range<usize>, &str)> = None;
        let mut start = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let span = start..start + line.trim_end().len();
            start += line.len();
            let origin = Origin {
                part: at,
                line: number,
                is_whole: true,
            };
            if let Some((_, mark)) = &fence {
                if closes(line, mark) {
                    fence = None;
                }
            } else if let Some(mark) = opens(line) {
                fence = Some((span, mark));
            } else if is_inside && !has_title && line.starts_with("# ") {
                has_title = true;
                self.push_empty(origin);
                continue;
            } else {
                match read(line) {
                    Line::Text => {}
                    Line::Wrong(message) => {
                        return Err(self.wrong(at, number, 0..span.len(), message));
                    }
                    Line::Include(target) => {
                        // Between empty lines: what is included is never a part of the paragraph around it.
                        self.push_empty(origin);
                        self.include(at, number, line, target, &defaults)?;
                        self.push_empty(origin);
                        continue;
                    }
                }
            }
            self.push(line, origin);
        }
        if is_inside && let Some((span, mark)) = fence {
            let number = text[..span.start].matches('\n').count();
            let message = format!("a block that nothing closes: `{mark}` is missing below it");
            return Err(self.wrong(at, number, 0..span.len(), &message));
        }
        Ok(())
    }

    fn include(
        &mut self,
        by: usize,
        number: usize,
        line: &str,
        target: Range<usize>,
        defaults: &Variables,
    ) -> Result<(), Box<Located>> {
        let above = &self.done.parts[by];
        let depth = above.depth + 1;
        let found = (self.find)(&above.part, &line[target.clone()]);
        let part = found.map_err(|why| self.wrong(by, number, target.clone(), &why))?;
        if let Some(circle) = self.circle(by, number, &part) {
            return Err(self.wrong(by, number, target, &circle));
        }
        let too_much = if depth > MAX_DEPTH {
            Some(format!(
                "runbooks stand {MAX_DEPTH} deep inside one another here, and this would be one more"
            ))
        } else if self.done.parts.len() > MAX_INCLUDES {
            Some(format!("a runbook has at most {MAX_INCLUDES} includes"))
        } else if self.done.text.len() + part.text.len() > LARGEST_BYTES {
            Some(format!(
                "with this the runbook would be over {LARGEST_BYTES} bytes"
            ))
        } else {
            None
        };
        if let Some(message) = too_much {
            return Err(self.wrong(by, number, target, &message));
        }
        self.done.parts.push(Placed {
            part,
            by: Some((by, number)),
            depth,
        });
        self.take(self.done.parts.len() - 1, defaults)
    }

    /// The way round, if the part is one of those that it would stand in.
    fn circle(&self, by: usize, number: usize, part: &Part) -> Option<String> {
        let mut way = vec![format!("{}:{}", self.done.parts[by].part.file, number + 1)];
        let mut above = by;
        while self.done.parts[above].part.file != part.file {
            let (next, line) = self.done.parts[above].by?;
            way.push(format!("{}:{}", self.done.parts[next].part.file, line + 1));
            above = next;
        }
        way.reverse();
        Some(format!(
            "{} would include itself: {} -> {}",
            part.file,
            way.join(" -> "),
            part.file
        ))
    }

    fn push(&mut self, line: &str, origin: Origin) {
        self.done.text.push_str(line);
        if !line.ends_with('\n') {
            self.done.text.push('\n');
        }
        self.done.lines.push(origin);
    }

    fn push_empty(&mut self, origin: Origin) {
        let is_whole = false;
        self.push("\n", Origin { is_whole, ..origin });
    }

    /// A mistake in line `number` of a part, from 0, at the bytes of that line.
    fn wrong(
        &self,
        part: usize,
        number: usize,
        bytes: Range<usize>,
        message: &str,
    ) -> Box<Located> {
        let text = &self.done.parts[part].part.text;
        let start: usize = text.split_inclusive('\n').take(number).map(str::len).sum();
        let place = wrong_place(text, start + bytes.start..start + bytes.end);
        let message = format!("{message}{}", self.done.chain(part));
        let error = syntax_error(&self.done.parts[part].part.file, text, place, message);
        Box::new((error, text.clone()))
    }
}

enum Line {
    Text,
    /// The bytes of the line that name what is included.
    Include(Range<usize>),
    Wrong(&'static str),
}

/// What a line outside of blocks is. One that looks like an include and would be prose is a mistake: its items would
/// silently be missing.
fn read(line: &str) -> Line {
    const WRITTEN: &str =
        "an include is a line of its own at the left margin: `[Checks](parts/checks.md) {include}`";
    let trimmed = line.trim();
    let lone = trimmed.strip_prefix('[').and_then(|rest| {
        let (text, rest) = rest.split_once("](")?;
        let (target, after) = rest.split_once(')')?;
        Some((1 + text.len() + 2, target, after.trim()))
    });
    match lone {
        Some((from, target, "{include}")) if !target.is_empty() && line.starts_with('[') => {
            Line::Include(from..from + target.len())
        }
        Some((_, _, after)) if after.starts_with('{') && after.ends_with('}') => {
            Line::Wrong(WRITTEN)
        }
        _ if trimmed.ends_with("{include}") => Line::Wrong(WRITTEN),
        _ => Line::Text,
    }
}

/// The mark that opens a fenced block.
fn opens(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("- ").unwrap_or(line);
    let mark = ['`', '~'].into_iter().find_map(|sign| {
        let length = line.len() - line.trim_start_matches(sign).len();
        (length >= 3).then(|| &line[..length])
    })?;
    // A line with a backtick behind the mark is code inside of a line.
    (!(mark.starts_with('`') && line[mark.len()..].contains('`'))).then_some(mark)
}

fn closes(line: &str, mark: &str) -> bool {
    let line = line.trim();
    line.starts_with(mark) && line.chars().all(|sign| mark.starts_with(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(file: &str, text: &str) -> Part {
        Part {
            file: file.to_owned(),
            folder: None,
            text: text.to_owned(),
        }
    }

    #[test]
    fn only_a_line_of_its_own_outside_of_blocks_includes() {
        let text = "# A\n```md\n[b](b) {include}\n```\nsee [b](b) or `[b](b) {include}`\n[b](b)\n~~~\n```\n[b](b) {include}\n~~~\n";
        let whole = expand(part("a", text), |_, target| Err(target.to_owned())).unwrap();
        assert_eq!(whole.text, text);
    }

    #[test]
    fn the_defaults_of_the_outer_one_hold_inside() {
        let root = part("a", "{{x=outer}}\n[b](b) {include}\n{{y}}");
        let whole = expand(root, |_, _| Ok(part("b", "# T\n{{x=inner}} {{y=own}}"))).unwrap();
        assert_eq!(
            whole.text,
            "{{x=outer}}\n\n\n{{x=outer}} {{y=own}}\n\n{{y}}\n"
        );
        assert_eq!(whole.lines.len(), whole.text.lines().count());
    }
}
