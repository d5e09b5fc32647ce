//! Takes secrets out of text that leaves the machine or reaches a report.
//!
//! First values that are known to be secret, harvested from environment files and the like: that finds them in
//! any disguise. Then what has the shape of a secret. A token keeps the identity of what it stands for,
//! `[REDACTED:password:3f9a1c]`, so that a changed secret still shows as changed; the hash is keyed, so that it
//! cannot be guessed back from a list of likely passwords.

mod structure;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use sha2::{Digest, Sha256};

pub use structure::is_secret_name;

/// With a longer value the full table of states is not built: that takes time by the square of the length (8 KB: over a
/// second), and keys and certificates are values too.
const MAX_TABLE: usize = 256;
/// Shorter values are too likely to be ordinary words.
const MIN_KNOWN: usize = 6;
/// Words that are values of secret-looking keys and no secrets: `AUTH_TOKEN=disabled`.
const ORDINARY: &[&str] = &[
    "disabled",
    "enabled",
    "default",
    "localhost",
    "changeme",
    "production",
    "staging",
    "development",
    "undefined",
    "postgres",
];

/// The values that are known to be secret. Its debug form does not show them.
#[derive(Clone, Default)]
pub struct KnownSecrets {
    values: BTreeMap<String, &'static str>,
}

impl fmt::Debug for KnownSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownSecrets({} values)", self.values.len())
    }
}

impl KnownSecrets {
    /// Takes what others know too.
    pub fn extend(&mut self, others: &Self) {
        let values = others.values.iter();
        self.values
            .extend(values.map(|(v, kind)| (v.clone(), *kind)));
    }

    /// Takes a variable of an environment if its name or its value is that of a secret: `DB_PASSWORD=…`,
    /// `DATABASE_URL=postgres://user:password@…`. Values under six characters and ordinary words are left out:
    /// they would black out half of every log.
    pub fn harvest(&mut self, name: &str, value: &str) {
        if let Some(password) = structure::url_password(value) {
            self.add(password, "password");
        }
        if let Some(kind) = structure::kind_of_name(name) {
            self.add(value, kind);
        }
    }

    /// Takes every variable of an environment file's text: `NAME=value` or `export NAME="value"` lines.
    pub fn harvest_env_file(&mut self, text: &str) {
        for (name, value) in env_variables(text) {
            self.harvest(name, value);
        }
    }

    /// Takes what looks like a variable out of any configuration file: `NAME=value`, `NAME: value`, `"NAME": "value"`,
    /// also several on a line, as in compose files, ecosystem files and lists of PM2.
    pub fn harvest_config(&mut self, text: &str) {
        self.harvest_env_file(text);
        let quotes = ['"', '\'', '`'];
        for line in text.lines() {
            let whole = std::iter::once(line).filter(|line| !line.contains('{'));
            for part in whole.chain(line.split(['{', '}', ','])) {
                let part = part.trim().trim_start_matches("- ");
                let Some((name, value)) = part.split_once([':', '=']) else {
                    continue;
                };
                let name = name.trim().trim_matches(quotes);
                // `proxy_pass http://…` is a sentence, no variable.
                if !name.contains(char::is_whitespace) {
                    let value = value.trim().trim_end_matches(',').trim_matches(quotes);
                    self.harvest(name, value);
                }
            }
        }
    }

    fn add(&mut self, value: &str, kind: &'static str) {
        let value = value.trim();
        let is_ordinary = ORDINARY.iter().any(|word| value.eq_ignore_ascii_case(word));
        if value.len() >= MIN_KNOWN && !is_ordinary && !value.contains('\n') {
            self.values.insert(value.to_owned(), kind);
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The variables of an environment file, quotes taken off.
pub fn env_variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.starts_with('#') {
            return None;
        }
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        let bare = ['"', '\'']
            .iter()
            .find_map(|q| value.strip_prefix(*q).and_then(|v| v.strip_suffix(*q)))
            .unwrap_or(value);
        Some((name.trim(), bare))
    })
}

/// The key of the tokens; one a state folder, so that tokens agree between checkpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct RedactionKey(pub [u8; 32]);

impl fmt::Debug for RedactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedactionKey")
    }
}

/// Replaces secrets by tokens.
#[derive(Debug, Clone)]
pub struct Redactor {
    known: Option<AhoCorasick>,
    kinds: Vec<&'static str>,
    key: RedactionKey,
}

impl Redactor {
    /// A redactor for these values, and for whatever has the shape of a secret.
    pub fn new(known: &KnownSecrets, key: RedactionKey) -> Self {
        let kinds = known.values.values().copied().collect();
        // The longest first: a whole connection string is one secret, not a password inside text.
        let is_long = known.values.keys().any(|value| value.len() > MAX_TABLE);
        let searcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(is_long.then_some(AhoCorasickKind::ContiguousNFA))
            .build(known.values.keys());
        Self {
            // Building fails only for gigabytes of patterns; the structure pass then still works.
            known: searcher.ok().filter(|_| !known.is_empty()),
            kinds,
            key,
        }
    }

    /// The text with every secret replaced by its token. Nothing is allocated where there is none. Redacting
    /// twice changes nothing more.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redact_known(text) {
            Cow::Borrowed(text) => self.redact_structure(text),
            Cow::Owned(text) => Cow::Owned(self.redact_structure(&text).into_owned()),
        }
    }

    fn redact_known<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(known) = &self.known else {
            return Cow::Borrowed(text);
        };
        let mut result = String::new();
        let mut end = 0;
        for gap in structure::outside_tokens(text) {
            for found in known.find_iter(&text[gap.clone()]) {
                let secret = gap.start + found.start()..gap.start + found.end();
                result.push_str(&text[end..secret.start]);
                let kind = self.kinds[found.pattern().as_usize()];
                self.push_token(&mut result, kind, &text[secret.clone()]);
                end = secret.end;
            }
        }
        if end == 0 {
            return Cow::Borrowed(text);
        }
        result.push_str(&text[end..]);
        Cow::Owned(result)
    }

    fn redact_structure<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut result = String::new();
        let mut end = 0;
        structure::for_each_secret(text, |kind, range| {
            result.push_str(&text[end..range.start]);
            self.push_token(&mut result, kind, &text[range.clone()]);
            end = range.end;
        });
        if end == 0 {
            return Cow::Borrowed(text);
        }
        result.push_str(&text[end..]);
        Cow::Owned(result)
    }

    fn push_token(&self, to: &mut String, kind: &str, secret: &str) {
        let mut hash = Sha256::new();
        hash.update(self.key.0);
        hash.update(secret.as_bytes());
        let digest = hash.finalize();
        to.push_str("[REDACTED:");
        to.push_str(kind);
        to.push_str(&format!(
            ":{:02x}{:02x}{:02x}]",
            digest[0], digest[1], digest[2]
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(variables: &[(&str, &str)]) -> Redactor {
        let mut known = KnownSecrets::default();
        for (name, value) in variables {
            known.harvest(name, value);
        }
        Redactor::new(&known, RedactionKey([7; 32]))
    }

    #[test]
    fn shapes_of_secrets_are_found() {
        let redactor = redactor(&[]);
        for (text, secret) in [
            (
                "connecting to postgresql://shop:s3cr3t@db:5432/shop",
                "s3cr3t",
            ),
            ("redis://:hunter2@cache:6379/0 refused", "hunter2"),
            ("mongodb+srv://u:p@ss@w0rd@host/db", "p@ss@w0rd"),
            (
                "SENTRY_DSN=https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2",
                "0123456789abcdef",
            ),
            (
                "sentry https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2",
                "0123456789abcdef",
            ),
            ("DB_PASSWORD=abc", "abc"),
            ("password: 'with space in it' next", "with space in it"),
            ("{\"api_key\":\"AbC-12345678\",\"n\":1}", "AbC-12345678"),
            ("{\"password\": \"a\\\"b\"}", "a\\\"b"),
            ("Authorization: Bearer abcdef.ghijkl", "abcdef.ghijkl"),
            ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
            ("got bearer 0123456789abcdef", "0123456789abcdef"),
            ("Cookie: session=abc; theme=dark", "session=abc"),
            ("set-cookie: sid=s%3Aabc.def; Path=/", "s%3Aabc"),
            (
                "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sflKxwRJSMeKKF2QT4",
                "sflKxwRJ",
            ),
            ("AKIAIOSFODNN7EXAMPLE in logs", "AKIAIOSFODNN7EXAMPLE"),
            (
                "pushed with ghp_0123456789abcdefghijABCDEFGHIJ012345",
                "ghp_0123",
            ),
            ("stripe sk_live_0123456789abcdefABCDEF", "sk_live_0123"),
            ("slack xoxb-123456789012-abcdefghijkl", "xoxb-1234"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\\nMIIEow\\n-----END RSA PRIVATE KEY-----",
                "MIIEow",
            ),
            (
                "mnemonic: legal winner thank year wave sausage worth useful legal winner thank yellow",
                "sausage",
            ),
            (
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "wJalrXUtnFEMI",
            ),
            ("?access_token=abcdef123456&x=1", "abcdef123456"),
            ("token: Bearer abcdefghijkl next", "abcdefghijkl"),
            // The template of a pattern: its numbers are masked already.
            ("api_key=sk_live_<*>H<*>abcdefghij next", "abcdefghij"),
            ("password=hunter<*>", "hunter"),
        ] {
            let redacted = redactor.redact(text);
            assert!(redacted.contains("[REDACTED:"), "{text}");
            assert!(!redacted.contains(secret), "{redacted}");
            assert_eq!(redactor.redact(&redacted), redacted, "twice: {text}");
        }
    }

    #[test]
    fn what_is_around_a_secret_stays() {
        let redactor = redactor(&[]);
        let redacted =
            redactor.redact("GET /x?token=abcdef123456&page=2 from postgres://shop:pw1@db/shop");
        assert!(
            redacted.starts_with("GET /x?token=[REDACTED:token:"),
            "{redacted}"
        );
        assert!(
            redacted.contains("]&page=2 from postgres://shop:[REDACTED:password:"),
            "{redacted}"
        );
        assert!(redacted.ends_with("]@db/shop"), "{redacted}");
    }

    #[test]
    fn ordinary_lines_are_not_touched_nor_copied() {
        let redactor = redactor(&[("DB_PASSWORD", "hunter2hunter2")]);
        for text in [
            "2025-12-27 INFO GET /api/orders/88121 completed in 3.412s status=500",
            "max_tokens=4096 prompt_tokens: 120",
            "Unexpected token: } in JSON",
            "password=",
            "password=<*> token: <*>",
            "token: null, secret: true",
            "see https://example.com/a@b and mail anna@example.com",
            "PWD=/home/anna",
            "the secret garden: a book",
            "basic information about cookies",
            "monkey=banana keyboard: qwerty",
            "http://localhost:8000/health",
        ] {
            assert!(
                matches!(redactor.redact(text), Cow::Borrowed(_)),
                "{}",
                redactor.redact(text)
            );
        }
    }

    #[test]
    fn known_values_are_found_in_any_disguise() {
        let redactor = redactor(&[
            ("DB_PASSWORD", "tr0ub4dor"),
            ("DATABASE_URL", "postgres://shop:correct-horse@db/shop"),
            ("PIN_TOKEN", "12"),
            ("LOG_LEVEL", "information"),
            ("API_TOKEN", "disabled"),
        ]);
        let redacted = redactor.redact(
            "auth failed for (shop, tr0ub4dor) and correct-horse, 12, information, disabled",
        );
        assert!(
            !redacted.contains("tr0ub4dor") && !redacted.contains("correct-horse"),
            "{redacted}"
        );
        assert!(
            redacted.ends_with(", 12, information, disabled"),
            "{redacted}"
        );
    }

    #[test]
    fn a_long_value_is_found_without_a_table_of_its_square() {
        let certificate = "p".repeat(8192);
        let redactor = redactor(&[("TLS_KEY", &certificate), ("DB_PASSWORD", "hunter2hunter2")]);
        let kind = redactor.known.as_ref().map(AhoCorasick::kind);
        assert_eq!(kind, Some(AhoCorasickKind::ContiguousNFA));
        let redacted =
            redactor.redact(&certificate).into_owned() + &redactor.redact("x hunter2hunter2");
        assert!(
            !redacted.contains("ppp") && !redacted.contains("hunter2"),
            "{redacted}"
        );
    }

    #[test]
    fn known_values_inside_of_a_token_are_none() {
        let redactor = redactor(&[
            ("DB_PASSWORD", "password"),
            ("API_TOKEN", "REDACTED"),
            ("SALT", "]@db/shop"),
        ]);
        let redacted = redactor.redact("password REDACTED postgres://shop:hunter2@db/shop");
        assert!(!redacted.contains("hunter2"), "{redacted}");
        assert_eq!(redactor.redact(&redacted), redacted);
    }

    #[test]
    fn a_token_keeps_the_identity_and_depends_on_the_key() {
        let a = redactor(&[]);
        assert_eq!(a.redact("password=one1"), a.redact("password=one1"));
        assert_ne!(a.redact("password=one1"), a.redact("password=two2"));
        let b = Redactor::new(&KnownSecrets::default(), RedactionKey([8; 32]));
        assert_ne!(a.redact("password=one1"), b.redact("password=one1"));
    }

    #[test]
    fn an_environment_file_is_harvested() {
        let mut known = KnownSecrets::default();
        known.harvest_env_file(
            "# DB_PASSWORD=commented\nexport DB_PASSWORD=\"quoted value\"\nPORT=8000\nSESSION_SECRET='abcdefgh'\nbroken\n",
        );
        assert_eq!(known.len(), 2);
        let redactor = Redactor::new(&known, RedactionKey([7; 32]));
        assert!(
            !redactor
                .redact("x quoted value y abcdefgh")
                .contains("quoted")
        );
        assert_eq!(format!("{known:?}"), "KnownSecrets(2 values)");
    }

    #[test]
    fn a_configuration_file_is_harvested() {
        let mut known = KnownSecrets::default();
        known.harvest_config(
            "    environment:\n      API_TOKEN: tok-inline-1\n      - DB_PASSWORD=pass:word=2\n  env: { MODE: 'good', TOKEN: 'hunter3secret' },\n{\"SESSION_SECRET\": \"four4444\", \"DSN_URL\": \"postgres://u:five5555@h/d\"}\nproxy_pass http://backend:8000;\nimage: shop:1.5\n",
        );
        let found: Vec<&str> = known.values.keys().map(String::as_str).collect();
        assert_eq!(
            found,
            [
                "five5555",
                "four4444",
                "hunter3secret",
                "pass:word=2",
                "tok-inline-1"
            ]
        );
    }
}
