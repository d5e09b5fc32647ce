//! Which external crate may be named where, and what the functional core must not name at all.

use crate::layers::{sample, starts_with_path};
use crate::source::{Source, is_word, sources, words};

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
    ("rustls", &["host"]),
    ("x509_cert", &["host"]),
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
