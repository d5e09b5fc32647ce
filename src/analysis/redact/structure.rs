//! Secrets that are known by their shape: where they stand in a text.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;

/// Words of a name that make its value a secret, with the kind that the token says.
const NAME_WORDS: &[(&str, &str)] = &[
    ("password", "password"),
    ("passwd", "password"),
    ("pass", "password"),
    ("pwd", "password"),
    ("passphrase", "password"),
    ("dsn", "dsn"),
    ("secret", "secret"),
    ("token", "token"),
    ("apikey", "key"),
    ("key", "key"),
    ("credential", "secret"),
    ("credentials", "secret"),
    ("mnemonic", "seed"),
    ("seed", "seed"),
    ("cookie", "cookie"),
    ("salt", "secret"),
    ("auth", "secret"),
];

/// The kind of secret that a variable of this name holds; `None` for an ordinary one. Names of public keys and of
/// files that hold keys are ordinary.
pub(super) fn kind_of_name(name: &str) -> Option<&'static str> {
    let words: Vec<String> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(str::to_ascii_lowercase)
        .collect();
    let is_ordinary = [
        "public", "file", "path", "id", "name", "ttl", "expiry", "url",
    ]
    .iter()
    .any(|ordinary| words.iter().any(|word| word == ordinary));
    if is_ordinary {
        return None;
    }
    NAME_WORDS
        .iter()
        .find(|(word, _)| words.iter().any(|w| w == word))
        .map(|(_, kind)| *kind)
}

/// Whether a variable of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    kind_of_name(name).is_some()
}

/// The password of a URL: `postgres://user:password@host/…`.
pub(super) fn url_password(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user_info, _) = authority.rsplit_once('@')?;
    let (_, password) = user_info.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

/// The parts of a text that stand outside of tokens: `password` is the password of someone, and a word in a token.
pub(super) fn outside_tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    let tokens = memchr::memmem::find_iter(text.as_bytes(), "[REDACTED:")
        .filter_map(|at| Some(at..at + token_length(&text[at..])?));
    let mut from = 0;
    tokens
        .chain(std::iter::once(text.len()..text.len()))
        .map(move |token| std::mem::replace(&mut from, token.end)..token.start)
}

/// The length of the token that a text begins with, `[REDACTED:password:3f9a1c]`.
fn token_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("[REDACTED:")?;
    let kind = rest.find(|c: char| !c.is_ascii_lowercase())?;
    let (hash, rest) = rest[kind..].strip_prefix(':')?.split_at_checked(6)?;
    let is_hash = hash
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (kind > 0 && is_hash && rest.starts_with(']')).then(|| text.len() - rest.len() + 1)
}

/// One of these stands in every text that a shape below can match: a cheap look decides most lines.
static TRIGGERS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build([
            "://",
            "authorization",
            "bearer",
            "cookie",
            "-----begin",
            "eyj",
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "github_pat_",
            "glpat-",
            "npm_",
            "xox",
            "akia",
            "asia",
            "aiza",
            "sk-",
            "sk_live_",
            "sk_test_",
            "rk_live_",
            "whsec_",
            "sg.",
            "hooks.slack.com",
            "/webhooks/",
            ":aa",
            "hvs.",
            "age-secret-key-",
            "gocspx-",
            "shpat_",
            "dop_v1_",
            "hf_",
            "accountkey",
            "\"auth\"",
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "secret",
            "token",
            "api_key",
            "api-key",
            "apikey",
            "access_key",
            "accesskey",
            "private_key",
            "signing_key",
            "signing-key",
            "signingkey",
            "routing_key",
            "integration_key",
            "auth_key",
            "authkey",
            "encryptionkey",
            "encryption-key",
            "privatekey",
            "private-key",
            "access-key",
            "account_key",
            "encryption_key",
            "dsn",
            "credential",
            "mnemonic",
            "seed",
            "sessionid",
            "session_id",
        ])
        .ok()
});

/// Every shape, the secret itself in a group that is named by its kind and a number.
static SHAPES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let value = r#"(?:"(?P<KIND1>(?:[^"\\]|\\.)+)"|\\"(?P<KIND2>[^"\\]+)\\"|'(?P<KIND3>[^']+)'|(?P<KIND4>(?:<\*>|[^\s,;&"'(){}<>])+))"#;
    let keyed = |names: &str, kind: &str| {
        format!(
            r#"(?i:{names})(?:\\?["'])?\s*(?:=>|=|:)\s*(?:(?i:bearer|basic)\s+)?{}"#,
            value.replace("KIND", kind)
        )
    };
    let shapes = [
        // A token says its kind: it must not be taken for a key and its value.
        r"(?P<done>\[REDACTED:[a-z]+:[0-9a-f]{6}\])".to_owned(),
        r"(?P<pem0>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$))".to_owned(),
        r#"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@"'<>\[\]]*:(?P<password0>[^/\s"'<>]+)@"#.to_owned(),
        r#"[A-Za-z][A-Za-z0-9+.-]*://(?P<dsn0>[A-Za-z0-9_-]{16,})@"#.to_owned(),
        r#"(?i:authorization)(?:\\?["'])?\s*[:=]\s*(?:\\?["'])?(?:(?i:bearer|basic|token|digest)\s+)?(?P<auth0>[^\s"',;\\]+)"#.to_owned(),
        r"(?i:\bbearer)\s+(?P<auth1>[A-Za-z0-9._~+/=-]{8,})".to_owned(),
        r#"(?i:\b(?:set-)?cookie)(?:\\?["'])?\s*[:=]\s*(?:\\?["'])?(?P<cookie0>[^"'\\\r\n]+)"#.to_owned(),
        r"(?P<jwt0>\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)".to_owned(),
        r"\b(?P<token0>gh[pous]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_-]{20,}|whsec_[A-Za-z0-9]{16,}|hvs\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|dop_v1_[a-f0-9]{40,}|hf_[A-Za-z0-9]{30,}|AGE-SECRET-KEY-1[0-9A-Z]{40,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})".to_owned(),
        // Addresses that are secrets themselves: whoever knows them may write there.
        r"hooks\.slack\.com/services/(?P<token1>[A-Za-z0-9]+/[A-Za-z0-9]+/[A-Za-z0-9]{8,})".to_owned(),
        r"discord(?:app)?\.com/api/webhooks/(?P<token2>[0-9]{10,}/[A-Za-z0-9_-]{20,})".to_owned(),
        // A Telegram bot: its number, and 35 characters that begin with AA.
        r"(?P<token3>[0-9]{6,12}:AA[A-Za-z0-9_-]{33})\b".to_owned(),
        // Docker's own file of logins.
        r#""auth"\s*:\s*"(?P<auth2>[A-Za-z0-9+/]{12,}={0,2})""#.to_owned(),
        r#"(?i:mnemonic|seed[_ -]?phrase|\bseed)(?:\\?["'])?\s*[:=]\s*(?:\\?["'])?(?P<seed0>(?:[a-z]+ ){11,23}[a-z]+)"#.to_owned(),
        keyed("(?:password|passwd|passphrase|pwd|[_-]pass)", "passwordkey"),
        keyed("dsn", "dsnkey"),
        keyed("(?:secret(?:[_-]access)?(?:[_-]key)?|credentials?|session[_-]?id)", "secretkey"),
        keyed("token", "tokenkey"),
        keyed("(?:api|access|account|private|signing|encryption|auth|routing|integration)[_-]?key", "keykey"),
    ];
    Regex::new(&shapes.join("|")).ok()
});

/// The kinds by the start of their groups' names.
const KINDS: &[&str] = &[
    "pem", "password", "dsn", "auth", "cookie", "jwt", "token", "seed", "secret", "key",
];

/// Calls `found` with the kind and the place of each secret, in order, none overlapping.
pub(super) fn for_each_secret(text: &str, mut found: impl FnMut(&'static str, Range<usize>)) {
    let is_possible = TRIGGERS
        .as_ref()
        .is_none_or(|triggers| triggers.find(text).is_some());
    if !is_possible {
        return;
    }
    let Some(shapes) = SHAPES.as_ref() else {
        return;
    };
    for captures in shapes.captures_iter(text) {
        let secret = shapes
            .capture_names()
            .flatten()
            .find_map(|name| Some((name, captures.name(name)?)));
        let Some((name, secret)) = secret else {
            continue;
        };
        let Some(kind) = KINDS.iter().copied().find(|kind| name.starts_with(kind)) else {
            continue;
        };
        // `token = AppToken{9f4ef63 …`: an object that a program printed, by the name of its kind.
        let is_object = name.starts_with("tokenkey") && text[secret.end()..].starts_with('{');
        if !is_object && !is_harmless(name, secret.as_str()) {
            found(kind, secret.range());
        }
    }
}

/// Words that a key of that name may hold without being a secret.
fn is_harmless(group: &str, value: &str) -> bool {
    let is_word = ["null", "none", "nil", "true", "false", "undefined", "***"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word));
    is_word
        || value.starts_with("[REDACTED:")
        // The variable part of a pattern: what it stood for is not there any more.
        || value == "<*>"
        || (group.contains("key") && value.starts_with('/') && group.starts_with("password"))
        // "Unexpected token: }" is an error message, and a token of five characters is none.
        || (group.starts_with("tokenkey") && value.len() < 6)
        || (group.starts_with("secretkey") && value.len() < 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_compile() {
        assert!(SHAPES.is_some() && TRIGGERS.is_some());
    }

    #[test]
    fn names_of_secrets_are_told_from_ordinary_ones() {
        for secret in [
            "DB_PASSWORD",
            "API_KEY",
            "SENTRY_DSN",
            "SESSION_SECRET",
            "github-token",
            "STRIPE_KEY",
        ] {
            assert!(is_secret_name(secret), "{secret}");
        }
        for ordinary in [
            "MONKEY",
            "PUBLIC_KEY",
            "KEY_FILE",
            "TOKEN_TTL",
            "COMPASS",
            "PORT",
            "SEEDLING",
        ] {
            assert!(!is_secret_name(ordinary), "{ordinary}");
        }
    }

    #[test]
    fn tokens_are_told_from_what_looks_like_them() {
        let gaps = |text: &'static str| -> Vec<&str> {
            outside_tokens(text).map(|gap| &text[gap]).collect()
        };
        assert_eq!(
            gaps("a[REDACTED:key:3f9a1c]b[REDACTED:pem:000000]"),
            ["a", "b", ""]
        );
        for text in [
            "",
            "[REDACTED:",
            "[REDACTED::3f9a1c]",
            "[REDACTED:key:3f9a1]",
            "[REDACTED:key:3f9a1c",
            "[REDACTED:key:3F9A1C]",
            "[REDACTED:key:3f9é]",
        ] {
            assert_eq!(gaps(text), [text]);
        }
    }

    #[test]
    fn passwords_of_addresses() {
        assert_eq!(url_password("postgres://u:p@h/d"), Some("p"));
        assert_eq!(url_password("redis://:p@h"), Some("p"));
        assert_eq!(url_password("http://h:80/a:b@c"), None);
        assert_eq!(url_password("nothing"), None);
    }
}
