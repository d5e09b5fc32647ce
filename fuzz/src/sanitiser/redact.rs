//! Secrets, taken out.

use std::borrow::Cow;
use std::ops::Range;

use lastgood::analysis::redact::{KnownSecrets, RedactionKey, Redactor, env_variables};

/// An input is an environment file, an empty line, and a text.
pub(super) fn check(input: &str) {
    let (file, text) = input.split_once("\n\n").unwrap_or(("", input));
    let mut known = KnownSecrets::default();
    known.harvest_env_file(file);
    let redactor = Redactor::new(&known, RedactionKey([7; 32]));
    let redacted = redactor.redact(text);
    assert_eq!(redactor.redact(text), redacted);
    if let Cow::Owned(redacted) = &redacted {
        assert_ne!(redacted, text, "nothing is allocated where there is none");
    }
    // The shortest that is found, `pwd=a`, becomes `pwd=[REDACTED:password:3f9a1c]`.
    assert!(redacted.len() <= 6 * text.len(), "{} bytes", redacted.len());
    assert_eq!(redactor.redact(&redacted), redacted, "redacted twice");
    for value in values(file) {
        for gap in gaps(&redacted) {
            assert!(!redacted[gap].contains(&value), "{value:?} is left");
        }
    }
}

/// Values that are certainly known to be secret.
fn values(file: &str) -> Vec<String> {
    env_variables(file)
        .filter(|(_, value)| !value.contains("://"))
        .filter(|(name, value)| {
            let mut known = KnownSecrets::default();
            known.harvest(name, value);
            !known.is_empty()
        })
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// What stands between tokens: a token may spell a secret by chance.
fn gaps(text: &str) -> Vec<Range<usize>> {
    let mut gaps = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices("[REDACTED:") {
        if at >= from
            && let Some(length) = token(&text[at..])
        {
            gaps.push(from..at);
            from = at + length;
        }
    }
    gaps.push(from..text.len());
    gaps
}

/// The length of a token at the start, `[REDACTED:password:3f9a1c]`.
fn token(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("[REDACTED:")?;
    let (kind, rest) = rest.split_once(':')?;
    let hash = rest.get(..6)?;
    let is_token = !kind.is_empty()
        && kind.bytes().all(|b| b.is_ascii_lowercase())
        && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && rest[6..].starts_with(']');
    is_token.then(|| "[REDACTED:".len() + kind.len() + 1 + 6 + 1)
}
