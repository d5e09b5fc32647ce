//! Which module may use which.
//!
//! Every use of a crate path is read, grouped imports and paths in the middle of an expression included.

use crate::source::{Source, is_word, line_at, sources, words};

/// A module of the crate's top level, and what it may use: modules, or parts of one.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("analysis", &["domain"]),
    ("audit", &["domain", "analysis", "store::paths"]),
    ("store", &["domain", "analysis"]),
    ("host", &["domain", "analysis", "audit"]),
    ("runtime", &["domain", "analysis", "audit", "host"]),
    (
        "ops",
        &["domain", "analysis", "audit", "store", "host", "runtime"],
    ),
    (
        "demo",
        &[
            "domain", "analysis", "audit", "store", "host", "runtime", "ops",
        ],
    ),
    (
        "cli",
        &["domain", "analysis", "audit", "store", "ops", "demo"],
    ),
    ("tui", &["domain", "analysis", "audit", "store", "ops"]),
    // main wires the two front ends and the demo; both get the context that main opened.
    (
        "main",
        &["cli", "tui", "demo", "ops::Context", "ops::Options"],
    ),
];

#[test]
fn modules_use_only_what_their_layer_allows() {
    let broken: Vec<String> = sources("src").iter().flat_map(broken_layers).collect();
    assert!(
        broken.is_empty(),
        "layers are broken:\n{}",
        broken.join("\n")
    );
}

#[test]
fn every_top_level_module_has_a_layer() {
    for source in sources("src") {
        if let Some(top) = source.module().first() {
            assert!(
                LAYERS.iter().any(|(name, _)| name == top),
                "{}: `{top}` is in no layer; add it to the table and to the architecture in src/lib.rs",
                source.path
            );
        }
    }
}

fn broken_layers(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some(&top) = module.first() else {
        return Vec::new();
    };
    let allowed = LAYERS
        .iter()
        .find(|(name, _)| *name == top)
        .map_or(&[][..], |(_, allowed)| allowed);
    let code = source.code();
    used_paths(&code, module.len())
        .into_iter()
        .filter(|(_, path)| {
            let used = path[0].as_str();
            // Only top-level modules are layers: items of lib.rs itself are none.
            used != top
                && LAYERS.iter().any(|(name, _)| *name == used)
                && !allowed.iter().any(|rule| starts_with_path(path, rule))
        })
        .map(|(at, path)| {
            format!(
                "  {}:{}: {top} uses {}",
                source.path,
                line_at(&code, at),
                path.join("::")
            )
        })
        .collect()
}

/// Whether `path` lies in the module that `rule` names (`store::paths`).
pub(crate) fn starts_with_path(path: &[String], rule: &str) -> bool {
    rule.split("::")
        .enumerate()
        .all(|(index, part)| path.get(index).is_some_and(|name| name == part))
}

/// Paths from the crate's root, with their offsets: `crate::…`, `lastgood::…`, and `super::…` that climbs to the root
/// out of a module `depth` deep.
fn used_paths(code: &str, depth: usize) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for root in ["crate", "lastgood"] {
        for at in words(code, root) {
            let Some(rest) = after_colons(&code[at + root.len()..]) else {
                continue;
            };
            found.extend(expand(rest).into_iter().map(|path| (at, path)));
        }
    }
    for at in words(code, "super") {
        if let Some(rest) = from_crate_root(code, at, depth + inline_modules_around(code, at)) {
            found.extend(expand(rest).into_iter().map(|path| (at, path)));
        }
    }
    found
}

/// What follows a chain of `super::` that begins at `at`, when the chain climbs exactly `depth` modules.
fn from_crate_root(code: &str, at: usize, depth: usize) -> Option<&str> {
    let mut rest = &code[at + "super".len()..];
    let mut climbed = 1;
    // The word before a later `super` of the same chain is a `super` too: only the first one counts.
    if code[..at].trim_end().ends_with("super::") {
        return None;
    }
    loop {
        rest = after_colons(rest)?.trim_start();
        let Some(more) = rest.strip_prefix("super") else {
            return (climbed == depth).then_some(rest);
        };
        rest = more;
        climbed += 1;
    }
}

/// How many `mod name { … }` of the file enclose `at`.
fn inline_modules_around(code: &str, at: usize) -> usize {
    let mut open = Vec::new();
    for (position, byte) in code[..at].bytes().enumerate() {
        match byte {
            b'{' => {
                let mut before = code[..position].split_whitespace().rev();
                open.push(before.nth(1) == Some("mod"));
            }
            b'}' => {
                open.pop();
            }
            _ => {}
        }
    }
    open.into_iter().filter(|is_module| *is_module).count()
}

fn after_colons(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix("::")
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`; stops at the first thing that is neither a name, `::` nor a group.
fn expand(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return split_group(group).into_iter().flat_map(expand).collect();
    }
    let end = text
        .bytes()
        .position(|byte| !is_word(byte))
        .unwrap_or(text.len());
    if end == 0 {
        return Vec::new();
    }
    let name = text[..end].to_string();
    let tails = after_colons(&text[end..]).map(expand).unwrap_or_default();
    if tails.is_empty() {
        return vec![vec![name]];
    }
    tails
        .into_iter()
        .map(|tail| std::iter::once(name.clone()).chain(tail).collect())
        .collect()
}

fn split_group(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                parts.push(&text[start..at]);
                return parts;
            }
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A file that only a test of these tests knows.
pub(crate) fn sample(path: &str, text: &str) -> Source {
    Source {
        path: path.into(),
        text: text.into(),
    }
}

#[test]
fn a_broken_layer_is_found_however_it_is_written() {
    for text in [
        "use crate::host::Host;",
        "use crate::{domain::Service, host};",
        "use crate::{domain::{Service, Host as H}, ops::{self, plan}};",
        "fn f() { let x = crate::runtime::find(); }",
        "use super::super::host::Host;",
        "#[cfg(test)]\nmod tests { fn f() { use super::super::super::host::Host; } }",
    ] {
        assert!(
            !broken_layers(&sample("src/analysis/parse.rs", text)).is_empty(),
            "{text}"
        );
    }
    for text in [
        "use crate::domain::{host, Host};",
        "// use crate::host::Host;",
        "use super::pattern::Miner;",
        "use super::host;",
        "mod tests { use super::super::host; }",
        "use crate::analysis::judge;",
    ] {
        assert_eq!(
            broken_layers(&sample("src/analysis/parse.rs", text)),
            Vec::<String>::new(),
            "{text}"
        );
    }
    assert_eq!(
        broken_layers(&sample(
            "src/audit.rs",
            "use crate::store::paths::StateDir;"
        )),
        Vec::<String>::new()
    );
    assert_eq!(
        broken_layers(&sample(
            "src/audit.rs",
            "use crate::store::{paths, config};"
        ))
        .len(),
        1
    );
    assert_eq!(
        broken_layers(&sample("src/cli/logs.rs", "use crate::tui;")).len(),
        1
    );
    assert_eq!(
        broken_layers(&sample("src/main.rs", "use lastgood::runtime;")).len(),
        1
    );
}
