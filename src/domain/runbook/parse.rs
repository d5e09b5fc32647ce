//! Markdown to [`Runbook`].
//!
//! `#` is the title, `##` a phase, `- [ ] text {id=name owner=devops due=T+5m gate two-person}` an item; fenced blocks under an item
//! marked `sh run`, `sh undo` and `probe` are its work, everything else is prose and kept as it stands. Whatever
//! looks like work but would silently be prose (a block that is not indented, `- []`, `sh rnu`) is an error with
//! its place, because a check that never runs is worse than none.

use std::collections::HashMap;
use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Tag};

use super::probe::Probe;
use super::{Block, Due, Item, Phase, Runbook, slug_of};
use crate::domain::safe_text::SafeText;

mod tree;

use tree::{Node, TooDeep, read_tree};

/// A place in a runbook's text that cannot be understood, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct SyntaxError {
    /// The file as a person finds it, or the runbook's name for a shipped one.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The wrong bytes of the source, for a caret. Within the source and on character boundaries.
    pub span: Range<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Parses a runbook. `name` is what people start it by, `file` what an error calls the source.
/// The first mistake in the text ends the parsing.
pub fn parse(name: &str, file: &str, source: &str) -> Result<Runbook, SyntaxError> {
    let parsed = Builder {
        source,
        runbook: empty(name),
        title: None,
        slugs: HashMap::new(),
        number: 0,
    }
    .build();
    parsed.map_err(|wrong| wrong.locate(file, source))
}

/// A place within a text and on character boundaries.
pub(super) fn wrong_place(source: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(source.len());
    while !source.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, source.len());
    while !source.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

/// The error of a place in a text.
pub(super) fn syntax_error(
    file: &str,
    source: &str,
    span: Range<usize>,
    message: String,
) -> SyntaxError {
    Wrong { span, message }.locate(file, source)
}

/// An error before its line and column are counted.
struct Wrong {
    span: Range<usize>,
    message: String,
}

impl Wrong {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
        }
    }

    fn locate(self, file: &str, source: &str) -> SyntaxError {
        let Range { start, end } = wrong_place(source, self.span);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        SyntaxError {
            file: file.to_owned(),
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            span: start..end,
            message: self.message,
        }
    }
}

fn empty(name: &str) -> Runbook {
    Runbook {
        name: name.to_owned(),
        title: SafeText::default(),
        intro: Vec::new(),
        phases: Vec::new(),
    }
}

/// What a fenced block is for.
#[derive(Clone, Copy, PartialEq)]
enum Fence {
    Run,
    Undo,
    Probe,
    Prose,
}

struct Builder<'a> {
    source: &'a str,
    runbook: Runbook,
    title: Option<Range<usize>>,
    slugs: HashMap<String, usize>,
    number: usize,
}

impl Builder<'_> {
    fn build(mut self) -> Result<Runbook, Wrong> {
        let nodes = read_tree(self.source).map_err(|TooDeep(span)| {
            Wrong::new(
                self.first_line_of(&span),
                "too deep: an item needs a few levels above it, not a hundred",
            )
        })?;
        for node in nodes {
            match &node.event {
                Event::Start(Tag::Heading {
                    level: HeadingLevel::H1,
                    ..
                }) => self.take_title(&node)?,
                Event::Start(Tag::Heading {
                    level: HeadingLevel::H2,
                    ..
                }) => {
                    let title = self.heading(&node)?;
                    self.runbook.phases.push(Phase {
                        title,
                        notes: Vec::new(),
                        items: Vec::new(),
                    });
                }
                _ if node.has_boxes() => self.take_list(&node, 0)?,
                _ => self.take_prose(&node)?,
            }
        }
        if self.title.is_none() {
            return Err(Wrong::new(
                0..first_line(self.source),
                "a runbook begins with its title: `# Deploy the shop`",
            ));
        }
        if self.number == 0 {
            let end = self.source.trim_end().len();
            return Err(Wrong::new(
                end..end,
                "a runbook has at least one item: `- [ ] what to do`",
            ));
        }
        Ok(self.runbook)
    }

    fn heading(&self, node: &Node<'_>) -> Result<SafeText, Wrong> {
        let mut text = String::new();
        node.flatten(&mut text);
        if text.trim().is_empty() {
            return Err(Wrong::new(
                self.visible(&node.span),
                "a heading without a text",
            ));
        }
        Ok(SafeText::from_text(text.trim()))
    }

    fn take_title(&mut self, node: &Node<'_>) -> Result<(), Wrong> {
        if self.title.is_some() {
            let message = "a second title: a runbook has one `#` heading, phases are `##`";
            return Err(Wrong::new(self.visible(&node.span), message));
        }
        if self.number > 0 || !self.runbook.phases.is_empty() {
            return Err(Wrong::new(
                self.visible(&node.span),
                "the title stands before the first phase and item",
            ));
        }
        self.runbook.title = self.heading(node)?;
        self.title = Some(node.span.clone());
        Ok(())
    }

    /// Prose outside of items. A work block here was meant for an item and would never run.
    fn take_prose(&mut self, node: &Node<'_>) -> Result<(), Wrong> {
        if let Some(info) = node.fence()
            && self.fence_kind(node, info)? != Fence::Prose
        {
            let message = format!(
                "a `{info}` block belongs to an item: indent it by two spaces under a `- [ ]` line"
            );
            return Err(Wrong::new(self.first_line_of(&node.span), message));
        }
        self.check_bullets(node)?;
        self.check_lost(node)?;
        let lines = self.lines_of(node);
        let notes = match self.runbook.phases.last_mut() {
            Some(phase) => &mut phase.notes,
            None => &mut self.runbook.intro,
        };
        append(notes, lines);
        Ok(())
    }

    /// `- []` and `- [x ]` are bullets for Markdown and boxes for people.
    fn check_bullets(&self, node: &Node<'_>) -> Result<(), Wrong> {
        if !node.is_list() {
            return Ok(());
        }
        for item in &node.children {
            let text = self.source[item.span.clone()]
                .trim_start_matches(['-', '*', '+'])
                .trim_start();
            let inner = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            if let Some((inside, after)) = inner
                && !after.starts_with(['(', '['])
                && matches!(inside.trim(), "" | "x" | "X")
                && !item.has_box()
            {
                return Err(Wrong::new(
                    self.first_line_of(&item.span),
                    "a box is written `- [ ] what to do`",
                ));
            }
        }
        Ok(())
    }

    /// Boxes and work inside a quote or under a plain bullet belong to no item and would never be done.
    fn check_lost(&self, node: &Node<'_>) -> Result<(), Wrong> {
        for child in &node.children {
            if child.has_box() {
                let message = "a box inside a quote or under a plain bullet is no item: give its parent a box, or put it in a list of its own";
                return Err(Wrong::new(self.first_line_of(&child.span), message));
            }
            if let Some(info) = child.fence()
                && self.fence_kind(child, info)? != Fence::Prose
            {
                let message = format!("a `{info}` block belongs to an item, a `- [ ]` line");
                return Err(Wrong::new(self.first_line_of(&child.span), message));
            }
            self.check_lost(child)?;
        }
        Ok(())
    }

    fn take_list(&mut self, list: &Node<'_>, depth: usize) -> Result<(), Wrong> {
        self.check_bullets(list)?;
        for item in &list.children {
            if item.has_box() {
                self.take_item(item, depth)?;
            } else {
                // A bullet among boxes: it explains the one above.
                self.check_lost(item)?;
                let lines = self.lines_of(item);
                let phase = self.phase();
                append(
                    phase
                        .items
                        .last_mut()
                        .map_or(&mut phase.notes, |above| &mut above.notes),
                    lines,
                );
            }
        }
        Ok(())
    }

    fn phase(&mut self) -> &mut Phase {
        if self.runbook.phases.is_empty() {
            self.runbook.phases.push(Phase {
                title: SafeText::default(),
                notes: Vec::new(),
                items: Vec::new(),
            });
        }
        self.runbook
            .phases
            .last_mut()
            .expect("a phase was pushed where there was none")
    }

    fn take_item(&mut self, node: &Node<'_>, depth: usize) -> Result<(), Wrong> {
        // A loose list wraps the text in a paragraph, a tight one does not.
        let (line, rest) = match node.children.split_first() {
            Some((paragraph, rest)) if paragraph.is_paragraph() => {
                (paragraph.children.as_slice(), rest)
            }
            _ => {
                let inline = node
                    .children
                    .iter()
                    .take_while(|child| child.is_inline())
                    .count();
                node.children.split_at(inline)
            }
        };
        let mut text = String::new();
        line.iter().for_each(|child| child.flatten(&mut text));
        let span = match (line.get(1), line.last()) {
            (Some(first), Some(last)) => first.span.start..last.span.end,
            _ => self.first_line_of(&node.span),
        };
        let attributes = self.read_attributes(&mut text, &span)?;
        let text = text.trim();
        if text.is_empty() {
            return Err(Wrong::new(
                self.first_line_of(&node.span),
                "an item without a text: say what to do",
            ));
        }
        let slug = self.unique_slug(&attributes.id.unwrap_or_else(|| slug_of(text)));
        self.number += 1;
        let item = Item {
            number: self.number,
            slug,
            text: SafeText::from_text(text),
            phase: self.phase().title.clone(),
            depth,
            owner: attributes.owner,
            due: attributes.due,
            is_gate: attributes.is_gate,
            is_two_person: attributes.is_two_person,
            notes: Vec::new(),
            blocks: Vec::new(),
        };
        self.phase().items.push(item);
        let at = self.phase().items.len() - 1;
        for child in rest {
            self.take_below(child, at, depth)?;
        }
        Ok(())
    }

    /// What stands under the item with index `at` of the current phase.
    fn take_below(&mut self, child: &Node<'_>, at: usize, depth: usize) -> Result<(), Wrong> {
        if child.has_boxes() {
            return self.take_list(child, depth + 1);
        }
        self.check_bullets(child)?;
        let kind = match child.fence() {
            Some(info) => self.fence_kind(child, info)?,
            None => Fence::Prose,
        };
        let blocks = match kind {
            Fence::Prose => {
                self.check_lost(child)?;
                let lines = self.lines_of(child);
                append(&mut self.phase().items[at].notes, lines);
                return Ok(());
            }
            Fence::Probe if self.phase().items[at].is_two_person => {
                return Err(Wrong::new(
                    self.first_line_of(&child.span),
                    "an item for two people has no probe: it is they who decide it",
                ));
            }
            Fence::Probe => self.read_probes(child)?,
            Fence::Run | Fence::Undo => {
                let code = child.code();
                if code.trim().is_empty() {
                    return Err(Wrong::new(
                        self.first_line_of(&child.span),
                        "an empty block: nothing would run",
                    ));
                }
                vec![if kind == Fence::Run {
                    Block::Run(code)
                } else {
                    Block::Undo(code)
                }]
            }
        };
        self.phase().items[at].blocks.extend(blocks);
        Ok(())
    }

    fn fence_kind(&self, node: &Node<'_>, info: &str) -> Result<Fence, Wrong> {
        let wrong = |message: String| Err(Wrong::new(self.first_line_of(&node.span), message));
        let words: Vec<&str> = info.split_whitespace().collect();
        match words.as_slice() {
            ["probe"] => Ok(Fence::Probe),
            ["probe", ..] => wrong(format!(
                "`{info}`: a probe block is marked `probe` alone, its questions stand inside"
            )),
            ["sh", "run"] => Ok(Fence::Run),
            ["sh", "undo"] => Ok(Fence::Undo),
            ["bash" | "shell" | "zsh", "run" | "undo"] => wrong(format!(
                "`{info}`: commands run in sh, write `sh {}`",
                words[1]
            )),
            ["sh", ..] if words.len() > 1 => wrong(format!(
                "`{info}` is unknown: `sh run` does the item, `sh undo` takes it back, `sh` alone is to read"
            )),
            _ => Ok(Fence::Prose),
        }
    }

    fn read_probes(&self, node: &Node<'_>) -> Result<Vec<Block>, Wrong> {
        let mut probes = Vec::new();
        for text in &node.children {
            let mut start = text.span.start;
            for line in self.source[text.span.clone()].split_inclusive('\n') {
                let trimmed = line.trim();
                if !trimmed.is_empty() && !trimmed.starts_with('#') {
                    let from = start + (line.len() - line.trim_start().len());
                    let probe = Probe::parse(trimmed).map_err(|e| {
                        Wrong::new(from + e.span.start..from + e.span.end, e.message)
                    })?;
                    probes.push(Block::Probe(probe));
                }
                start += line.len();
            }
        }
        if probes.is_empty() {
            return Err(Wrong::new(
                self.first_line_of(&node.span),
                "an empty probe block: nothing would be asked",
            ));
        }
        Ok(probes)
    }

    fn unique_slug(&mut self, base: &str) -> String {
        let mut slug = base.to_owned();
        while self.slugs.contains_key(&slug) {
            let count = self.slugs.entry(base.to_owned()).or_insert(1);
            *count += 1;
            slug = format!("{base}-{count}");
        }
        self.slugs.insert(slug.clone(), 1);
        slug
    }

    /// Takes `{id=… owner=… due=… gate two-person}` off the end of an item's text. `{{…}}` is a variable and stays.
    fn read_attributes(&self, text: &mut String, span: &Range<usize>) -> Result<Attributes, Wrong> {
        let mut found = Attributes::default();
        let raw = self.source[span.clone()].trim_end();
        if !raw.ends_with('}') || raw.ends_with("}}") {
            return Ok(found);
        }
        let (Some(open), Some(in_text)) = (raw.rfind('{'), text.rfind('{')) else {
            return Ok(found);
        };
        let inside = &raw[open + 1..raw.len() - 1];
        let mut at = span.start + open + 1;
        for word in inside.split(' ') {
            let place = at..at + word.len();
            at = place.end + 1;
            if word.is_empty() {
                continue;
            }
            let wrong = |message: String| Err(Wrong::new(place.clone(), message));
            match word.split_once('=') {
                Some((key, "")) => return wrong(format!("`{key}` has no value")),
                Some(("owner", owner)) if found.owner.is_none() => {
                    found.owner = Some(SafeText::from_text(owner));
                }
                Some(("due", due)) if found.due.is_none() => match Due::parse(due) {
                    Ok(due) => found.due = Some(due),
                    Err(message) => return wrong(message),
                },
                Some(("id", id)) if found.id.is_none() => {
                    if slug_of(id) != id {
                        return wrong(format!("`{id}` is no id: write `{}`", slug_of(id)));
                    }
                    found.id = Some(id.to_owned());
                }
                Some((key @ ("id" | "owner" | "due"), _)) => {
                    return wrong(format!("`{key}` stands here twice"));
                }
                None if word == "gate" => found.is_gate = true,
                None if word == "two-person" => found.is_two_person = true,
                _ => {
                    return wrong(format!(
                        "`{word}` is unknown: an item takes id=NAME, owner=NAME, due=T+5m, gate and two-person"
                    ));
                }
            }
        }
        text.truncate(in_text);
        Ok(found)
    }

    /// The Markdown of a node, without the indentation that it has from its item.
    fn lines_of(&self, node: &Node<'_>) -> Vec<SafeText> {
        let start = self.source[..node.span.start]
            .rfind('\n')
            .map_or(0, |at| at + 1);
        let before = &self.source[start..node.span.start];
        let indent = before.len() - before.trim_start().len();
        let indent = if before.trim().is_empty() { indent } else { 0 };
        self.source[node.span.clone()]
            .trim_end()
            .lines()
            .enumerate()
            .map(|(number, line)| {
                // The span begins behind the first line's indentation.
                let spaces = line.len() - line.trim_start_matches(' ').len();
                let cut = if number == 0 { 0 } else { spaces.min(indent) };
                SafeText::from_text(line[cut..].trim_end())
            })
            .collect()
    }

    /// The span without the white space around it.
    fn visible(&self, span: &Range<usize>) -> Range<usize> {
        let text = &self.source[span.clone()];
        let start = span.start + (text.len() - text.trim_start().len());
        start..start + text.trim().len()
    }

    fn first_line_of(&self, span: &Range<usize>) -> Range<usize> {
        let visible = self.visible(span);
        let start = visible.start;
        start..start + first_line(&self.source[visible])
    }
}

#[derive(Default)]
struct Attributes {
    id: Option<String>,
    owner: Option<SafeText>,
    due: Option<Due>,
    is_gate: bool,
    is_two_person: bool,
}

/// The length of the first line, without white space at its end.
fn first_line(text: &str) -> usize {
    text.lines().next().map_or(0, |line| line.trim_end().len())
}

/// Appends a paragraph, with an empty line between it and what is there.
fn append(notes: &mut Vec<SafeText>, lines: Vec<SafeText>) {
    if !notes.is_empty() {
        notes.push(SafeText::default());
    }
    notes.extend(lines);
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
