//! Files that a person can read in one sitting: about 400 lines, never over 600; `foo.rs` + `foo/`, no `mod.rs`.

use crate::source::{Source, sources};
use std::io::Write;

const AIM: usize = 400;
const LIMIT: usize = 600;

#[test]
fn files_stay_readable() {
    let files: Vec<Source> = ["src", "tests"].into_iter().flat_map(sources).collect();
    for file in over(&files, AIM) {
        // Straight to stderr: the test harness would swallow a remark of a test that passes.
        let _ = writeln!(std::io::stderr(), "long file, aim at {AIM} lines: {file}");
    }
    let broken = over(&files, LIMIT);
    assert!(
        broken.is_empty(),
        "files over {LIMIT} lines:\n{}",
        broken.join("\n")
    );
}

#[test]
fn no_file_is_named_mod() {
    let found: Vec<String> = sources("src")
        .into_iter()
        .map(|file| file.path)
        .filter(|path| is_mod_file(path))
        .collect();
    assert!(
        found.is_empty(),
        "use foo.rs beside foo/ instead of {found:?}"
    );
}

fn over(files: &[Source], limit: usize) -> Vec<String> {
    files
        .iter()
        .map(|file| (file.text.lines().count(), &file.path))
        .filter(|(lines, _)| *lines > limit)
        .map(|(lines, path)| format!("  {path}: {lines}"))
        .collect()
}

fn is_mod_file(path: &str) -> bool {
    path.rsplit('/').next() == Some("mod.rs")
}

#[test]
fn a_long_file_and_a_mod_file_are_found() {
    let long = Source {
        path: "src/x.rs".into(),
        text: "//\n".repeat(LIMIT + 1),
    };
    let short = Source {
        path: "src/y.rs".into(),
        text: "//\n".repeat(LIMIT),
    };
    assert_eq!(over(&[long, short], LIMIT), ["  src/x.rs: 601"]);
    assert!(is_mod_file("src/tui/mod.rs") && !is_mod_file("src/tui/model.rs"));
}
