//! Which module may use which, and which external crate may be used where.
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

/// An external crate, and the only modules that may name it.
const EXTERNAL: &[(&str, &[&str])] = &[
    ("bollard", &["runtime::docker"]),
    ("openssh", &["host::ssh"]),
    ("ratatui", &["tui"]),
    ("crossterm", &["tui"]),
    ("tui_textarea", &["tui"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("similar", &["analysis"]),
    ("directories", &["store::paths"]),
    ("reqwest", &["host", "runtime::prometheus"]),
    ("lettre", &["host"]),
    ("notify", &["store::journal", "host::tail"]),
    // The functional core neither waits nor reads a clock nor touches a file.
    (
        "tokio",
        &[
            "audit", "store", "host", "runtime", "ops", "cli", "tui", "demo", "main",
        ],
    ),
];

/// What the functional core must not name, outside its tests.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
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
fn external_crates_stay_in_their_layer() {
    let broken: Vec<String> = sources("src").iter().flat_map(misplaced_crates).collect();
    assert!(
        broken.is_empty(),
        "external crates out of their layer:\n{}",
        broken.join("\n")
    );
}

#[test]
fn the_core_is_pure() {
    let broken: Vec<String> = sources("src").iter().flat_map(impure).collect();
    assert!(
        broken.is_empty(),
        "the functional core reads the world:\n{}",
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
fn starts_with_path(path: &[String], rule: &str) -> bool {
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

fn misplaced_crates(source: &Source) -> Vec<String> {
    let module: Vec<String> = source.module().into_iter().map(String::from).collect();
    let code = source.production_code();
    let mut broken = Vec::new();
    for (name, places) in EXTERNAL {
        if places.iter().any(|place| starts_with_path(&module, place)) {
            continue;
        }
        for at in words(&code, name) {
            if names_crate(&code, at, name) {
                broken.push(format!(
                    "  {}: uses {name}, which belongs to {}",
                    source.path,
                    places.join(", ")
                ));
            }
        }
    }
    broken
}

/// Whether the word at `at` is the external crate: `use NAME`, or `NAME::` that is not the tail of a longer path
/// and not a module of that name which the file itself declares or imports.
fn names_crate(code: &str, at: usize, name: &str) -> bool {
    let before = code[..at].trim_end();
    let after = code[at + name.len()..].trim_start();
    let in_use = before.ends_with("use")
        && (after.starts_with("::") || after.starts_with(';') || after.starts_with("as "));
    if in_use {
        return true;
    }
    if !after.starts_with("::") {
        return false;
    }
    if let Some(front) = before.strip_suffix("::") {
        let absolute = !front
            .trim_end()
            .bytes()
            .last()
            .is_some_and(|byte| is_word(byte) || byte == b'>');
        return absolute;
    }
    let is_own = words(code, name).into_iter().any(|other| {
        let front = code[..other].trim_end();
        let back = code[other + name.len()..].trim_start();
        front.ends_with("mod")
            || (!back.starts_with("::")
                && (front.ends_with("::") || front.ends_with('{') || front.ends_with(','))
                && (back.starts_with(';') || back.starts_with(',') || back.starts_with('}')))
    });
    !is_own
}

fn impure(source: &Source) -> Vec<String> {
    if !matches!(source.module().first(), Some(&("domain" | "analysis"))) {
        return Vec::new();
    }
    let code = source.production_code();
    IMPURE
        .iter()
        .filter(|word| !words(&code, word).is_empty())
        .map(|word| format!("  {}: {word}", source.path))
        .collect()
}

fn sample(path: &str, text: &str) -> Source {
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

#[test]
fn a_misplaced_crate_is_found() {
    for text in [
        "use bollard::Docker;",
        "fn f() { bollard::connect() }",
        "use ::bollard;",
        "type D = ::bollard::Docker;",
    ] {
        assert_eq!(
            misplaced_crates(&sample("src/ops/plan.rs", text)).len(),
            usize::from(text != "use ::bollard;"),
            "{text}"
        );
    }
    assert!(
        misplaced_crates(&sample(
            "src/runtime/docker/logs.rs",
            "use bollard::Docker;"
        ))
        .is_empty()
    );
    assert!(misplaced_crates(&sample("src/runtime/docker.rs", "use bollard::Docker;")).is_empty());
    assert!(
        misplaced_crates(&sample(
            "src/ops.rs",
            "pub mod notify; fn f() { notify::route(); crate::ops::notify::test(); }"
        ))
        .is_empty()
    );
    assert_eq!(
        misplaced_crates(&sample(
            "src/ops.rs",
            "fn f() { notify::recommended_watcher(); }"
        ))
        .len(),
        1
    );
}

#[test]
fn an_impure_core_is_found() {
    assert_eq!(
        impure(&sample(
            "src/domain/service.rs",
            "use std::fs; fn f() { Timestamp::now() }"
        ))
        .len(),
        2
    );
    assert!(
        impure(&sample(
            "src/domain/service.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }"
        ))
        .is_empty()
    );
}
