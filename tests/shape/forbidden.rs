//! Words that the product's source must not hold: unfinished work, channels without a bound.

use crate::source::{Source, line_at, sources};

const FORBIDDEN: &[(&str, &str)] = &[
    ("todo!(", "unfinished"),
    ("unimplemented!(", "unfinished"),
    (
        "unbounded_channel",
        "a flood must meet back-pressure, not fill the memory",
    ),
    ("#[ignore", "a test that nobody runs; delete it or run it"),
];

/// Marks of unfinished work, in comments too.
const MARKS: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

#[test]
fn nothing_forbidden_stands_in_the_source() {
    let found: Vec<String> = sources("src").iter().flat_map(forbidden).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn forbidden(source: &Source) -> Vec<String> {
    let code = source.code();
    let words = FORBIDDEN.iter().flat_map(|(word, reason)| {
        code.match_indices(word)
            .map(move |(at, _)| (at, *word, *reason))
    });
    let mut found: Vec<String> = words
        .map(|(at, word, reason)| {
            format!(
                "  {}:{}: {word} ({reason})",
                source.path,
                line_at(&code, at)
            )
        })
        .collect();
    for (number, line) in source.text.lines().enumerate() {
        if let Some((_, comment)) = line.split_once("//") {
            found.extend(
                MARKS
                    .iter()
                    .filter(|mark| {
                        comment
                            .split(|c: char| !c.is_alphanumeric())
                            .any(|word| word == **mark)
                    })
                    .map(|mark| format!("  {}:{}: {mark} in a comment", source.path, number + 1)),
            );
        }
    }
    found
}

#[test]
fn forbidden_words_are_found() {
    let bad = Source {
        path: "src/x.rs".into(),
        text: "fn a() { todo!() }\nfn b() {} // TODO later\n".into(),
    };
    assert_eq!(
        forbidden(&bad),
        [
            "  src/x.rs:1: todo!( (unfinished)",
            "  src/x.rs:2: TODO in a comment"
        ]
    );
    let good = Source {
        path: "src/x.rs".into(),
        text: "/// Not `todo!()`: \"todo\".\nfn a() -> &'static str { \"unbounded_channel\" }"
            .into(),
    };
    assert_eq!(forbidden(&good), Vec::<String>::new());
}
