//! Every file says at its top what it is for.

use crate::source::{Source, sources};

#[test]
fn every_file_begins_with_module_docs() {
    let bare: Vec<String> = sources("src")
        .iter()
        .filter(|source| !source.is_tests() && !has_module_docs(source))
        .map(|source| format!("  {}", source.path))
        .collect();
    assert!(
        bare.is_empty(),
        "no module docs (//! what it is for, and why it is so):\n{}",
        bare.join("\n")
    );
}

/// A sentence, not a title: what the module is for cannot be said in two words.
fn has_module_docs(source: &Source) -> bool {
    let docs: Vec<&str> = source
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .collect();
    docs.iter().flat_map(|line| line.split_whitespace()).count() >= 4
}

#[test]
fn a_file_without_docs_is_found() {
    let source = |text: &str| Source {
        path: "src/x.rs".into(),
        text: text.into(),
    };
    assert!(!has_module_docs(&source("use std::fs;\n")));
    assert!(!has_module_docs(&source("//! Logs.\nuse std::fs;\n")));
    assert!(has_module_docs(&source(
        "//! The logs pane: lines of one service or of several, merged by time.\n"
    )));
}
