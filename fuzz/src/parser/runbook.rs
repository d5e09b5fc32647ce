//! Runbooks: Markdown that people write, and that says what is run.

use std::collections::HashSet;

use lastgood::domain::runbook::parse::parse;
use lastgood::domain::runbook::{Block, Item, Runbook, SyntaxError};

pub(super) fn check(source: &str) {
    match parse("name", "name.md", source) {
        Ok(runbook) => check_runbook(&runbook, source),
        Err(error) => check_error(&error, source),
    }
}

/// A mistake has a place that can be shown.
fn check_error(error: &SyntaxError, source: &str) {
    assert!(source.get(error.span.clone()).is_some(), "{error}");
    let before = &source[..error.span.start];
    assert_eq!(error.line, before.matches('\n').count() + 1);
    let line = before.rsplit('\n').next().unwrap_or_default();
    assert_eq!(error.column, line.chars().count() + 1);
    assert!(!error.message.is_empty());
}

fn check_runbook(runbook: &Runbook, source: &str) {
    let items: Vec<&Item> = runbook.items().collect();
    assert!(!items.is_empty());
    let mut slugs = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        assert_eq!(item.number, index + 1);
        assert!(slugs.insert(&item.slug), "{} stands there twice", item.slug);
        assert!(!item.slug.is_empty() && !item.text.is_empty());
        assert_eq!(runbook.find(&item.number.to_string()), Some(*item));
        for block in &item.blocks {
            // What is run stands in the source, line by line.
            if let Block::Run(code) | Block::Undo(code) = block {
                assert!(!code.trim().is_empty());
                assert!(code.lines().all(|line| source.contains(line.trim())));
            }
        }
    }
}
