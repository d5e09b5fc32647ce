//! The source files, and their text without comments and strings, so that prose never counts as code.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file of the repository.
pub(crate) struct Source {
    /// From the repository's root, with `/`: `src/tui/panes/logs.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All `.rs` files under `folder`, sorted by path. Panics when there are none: an empty list would pass every check.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no Rust files under {folder}");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/");
            found.push(Source {
                path: relative,
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

impl Source {
    /// `src/tui/panes/logs.rs` is the module `["tui", "panes", "logs"]`; `src/lib.rs` is the empty path.
    pub(crate) fn module(&self) -> Vec<&str> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        if inner == "lib" {
            Vec::new()
        } else {
            inner.split('/').collect()
        }
    }

    /// The code without comments, strings and character literals (each replaced by blanks of the same line count).
    pub(crate) fn code(&self) -> String {
        strip(&self.text)
    }

    /// As [`Source::code`], without `#[cfg(test)]` modules; empty for a file of tests.
    pub(crate) fn production_code(&self) -> String {
        if self.is_tests() {
            return String::new();
        }
        without_test_modules(&self.code())
    }

    /// Whether the file holds the unit tests of the module above it: `tests.rs`, `parse_tests.rs`.
    pub(crate) fn is_tests(&self) -> bool {
        self.module()
            .last()
            .is_some_and(|name| *name == "tests" || name.ends_with("_tests"))
    }
}

/// Line number, counted from 1, of a byte offset.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Whether a byte can stand in an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Offsets at which `word` stands as a whole word.
pub(crate) fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| {
            let end = at + word.len();
            (at == 0 || !is_word(bytes[at - 1])) && (end == bytes.len() || !is_word(bytes[end]))
        })
        .collect()
}

fn strip(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let skipped = token_to_skip(bytes, at);
        if skipped == 0 {
            let end = (at + 1..=bytes.len())
                .find(|&end| text.is_char_boundary(end))
                .unwrap();
            kept.push_str(&text[at..end]);
            at = end;
        } else {
            kept.push(' ');
            for byte in &bytes[at..at + skipped] {
                if *byte == b'\n' {
                    kept.push('\n');
                }
            }
            at += skipped;
        }
    }
    kept
}

/// Length of the comment, string or character literal that begins at `at`; 0 where none does.
fn token_to_skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'b' | b'c', b'"', ..] if starts_word => 1 + string(&rest[1..]),
        [b'r', b'"' | b'#', ..] if starts_word => raw_string(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if starts_word => raw_string(rest, 2),
        [b'\'', b'\\', ..] => {
            2 + rest[2..]
                .iter()
                .skip(1)
                .position(|&byte| byte == b'\'')
                .map_or(0, |end| end + 2)
        }
        // A lifetime has no closing quote within the next character.
        [b'\'', ..] => (2..=5.min(rest.len().saturating_sub(1)))
            .find(|&end| rest[end] == b'\'')
            .filter(|&end| end == 2 || !rest[1].is_ascii())
            .map_or(0, |end| end + 1),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0; // a raw identifier: r#type
    }
    let closing: Vec<u8> = std::iter::once(b'"')
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    let body = prefix + hashes + 1;
    rest[body..]
        .windows(closing.len())
        .position(|window| window == closing)
        .map_or(rest.len(), |end| body + end + closing.len())
}

fn without_test_modules(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, after) = rest.split_at(at);
        kept.push_str(before);
        let item = &after["#[cfg(test)]".len()..];
        let open = item.find('{').unwrap_or(item.len());
        let end = item
            .find(';')
            .filter(|&semicolon| semicolon < open)
            .map_or_else(|| closing_brace(item, open), |semicolon| semicolon + 1);
        rest = &item[end..];
    }
    kept.push_str(rest);
    kept
}

fn closing_brace(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn comments_strings_and_characters_are_not_code() {
    let text = "let a = \"crate::host\"; // crate::host\n/* crate::host\n */ let b = r#\"crate::\"host\"#; let c = '\"'; let d: &'static str; let e = b'\\''; let f = 'é';crate::audit";
    let source = Source {
        path: "src/x.rs".into(),
        text: text.into(),
    };
    let code = source.code();
    assert!(!code.contains("host"), "{code}");
    assert!(
        code.contains("crate::audit") && code.contains("&'static str") && code.contains("let f"),
        "{code}"
    );
    assert_eq!(code.matches('\n').count(), text.matches('\n').count());
}

#[test]
fn test_modules_are_not_production_code() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { { } } }\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}";
    let code = Source {
        path: "src/x.rs".into(),
        text: text.into(),
    }
    .production_code();
    assert!(
        code.contains("fn a")
            && code.contains("fn c")
            && code.contains("fn d")
            && !code.contains("fn b")
            && !code.contains("more"),
        "{code}"
    );
}
