//! The event stream of the Markdown parser as a tree, with the questions a runbook asks of it.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

/// A Markdown element with what is inside it. The event stream of the parser as a tree, because an item has to be
/// seen whole before it can be told from an ordinary bullet.
pub(super) struct Node<'a> {
    pub(super) event: Event<'a>,
    pub(super) span: Range<usize>,
    pub(super) children: Vec<Node<'a>>,
}

/// Elements inside of elements. People need six or so; a thousand would end the stack of whoever walks the tree.
const MAX_DEPTH: usize = 100;

/// The place of the first element that stands deeper inside of others than a person means it.
pub(super) struct TooDeep(pub(super) Range<usize>);

pub(super) fn read_tree(source: &str) -> Result<Vec<Node<'_>>, TooDeep> {
    let options = Options::ENABLE_TASKLISTS | Options::ENABLE_TABLES;
    let mut open: Vec<Node<'_>> = Vec::new();
    let mut roots = Vec::new();
    for (event, span) in Parser::new_ext(source, options).into_offset_iter() {
        let done = match event {
            Event::Start(_) => {
                if open.len() == MAX_DEPTH {
                    return Err(TooDeep(span));
                }
                open.push(Node {
                    event,
                    span,
                    children: Vec::new(),
                });
                continue;
            }
            Event::End(_) => open.pop(),
            _ => Some(Node {
                event,
                span,
                children: Vec::new(),
            }),
        };
        match (done, open.last_mut()) {
            (Some(node), Some(parent)) => parent.children.push(node),
            (Some(node), None) => roots.push(node),
            (None, _) => {}
        }
    }
    Ok(roots)
}

impl<'a> Node<'a> {
    pub(super) fn is_list(&self) -> bool {
        matches!(self.event, Event::Start(Tag::List(_)))
    }

    pub(super) fn is_paragraph(&self) -> bool {
        matches!(self.event, Event::Start(Tag::Paragraph))
    }

    /// Text, code, emphasis: what a line of prose is made of.
    pub(super) fn is_inline(&self) -> bool {
        match &self.event {
            Event::Start(tag) => matches!(
                tag,
                Tag::Emphasis
                    | Tag::Strong
                    | Tag::Strikethrough
                    | Tag::Link { .. }
                    | Tag::Image { .. }
            ),
            Event::Rule => false,
            _ => true,
        }
    }

    /// Whether this list item has a box.
    pub(super) fn has_box(&self) -> bool {
        let first = match self.children.first() {
            Some(paragraph) if paragraph.is_paragraph() => paragraph.children.first(),
            first => first,
        };
        matches!(
            first.map(|node| &node.event),
            Some(Event::TaskListMarker(_))
        )
    }

    pub(super) fn has_boxes(&self) -> bool {
        self.is_list() && self.children.iter().any(Node::has_box)
    }

    /// The text without Markdown signs, line breaks as spaces.
    pub(super) fn flatten(&self, out: &mut String) {
        match &self.event {
            Event::Text(text) | Event::Code(text) => out.push_str(text),
            Event::SoftBreak | Event::HardBreak => out.push(' '),
            Event::InlineHtml(html) => out.push_str(html),
            _ => self.children.iter().for_each(|child| child.flatten(out)),
        }
    }

    /// The words after the fence, and whether this is a fenced block at all.
    pub(super) fn fence(&self) -> Option<&str> {
        match &self.event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => Some(info),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> String {
        let mut code = String::new();
        self.children
            .iter()
            .for_each(|child| child.flatten(&mut code));
        code
    }
}
