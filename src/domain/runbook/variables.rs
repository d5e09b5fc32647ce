//! `{{name}}` in a runbook: what differs between the machines that one runbook is for.
//!
//! A runbook is written once and walked on many boxes, where the same part is called `backend`, `shop/api` or
//! `pm2/api`. `{{backend=backend}}` names a variable and what it is where nobody says more; every other `{{backend}}`
//! of the text is the same. What has neither a default nor a value is a mistake with its place, because a command that
//! is run with a hole in it does something else. Anything that only looks like it (`{{.Image}}`, `{{range}}…{{end}}` of
//! Docker's formats) stays as it is.

use std::collections::BTreeMap;

use super::SyntaxError;
use super::parse::syntax_error;

/// Values by name.
pub type Variables = BTreeMap<String, String>;

/// What is done with a variable that has no value and no default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// It stays in the text: a runbook that is only looked at.
    Stays,
    /// It is a mistake: a runbook that is started.
    IsWrong,
}

/// The keywords of Docker's formats, which look like a variable and are none.
const FORMAT_WORDS: [&str; 4] = ["end", "else", "break", "continue"];

/// Puts the values into the text of a runbook. `file` is what an error calls the text.
///
/// # Errors
/// Two different defaults for one name, and with [`Unset::IsWrong`] a variable without a value.
pub fn fill(
    file: &str,
    source: &str,
    values: &Variables,
    unset: Unset,
) -> Result<String, SyntaxError> {
    let places = find(source);
    let mut defaults: BTreeMap<&str, &str> = BTreeMap::new();
    for place in &places {
        let Some(default) = place.default else {
            continue;
        };
        let first = *defaults.entry(place.name).or_insert(default);
        if first != default {
            let message = format!(
                "`{}` is `{first}` further up: a variable has one default in a runbook",
                place.name
            );
            return Err(syntax_error(file, source, place.span.clone(), message));
        }
    }
    let mut filled = String::with_capacity(source.len());
    let mut done = 0;
    for place in &places {
        let value = values.get(place.name).map(String::as_str);
        let Some(value) = value.or_else(|| defaults.get(place.name).copied()) else {
            if unset == Unset::Stays {
                continue;
            }
            let message = format!(
                "nobody says what `{0}` is: start with --set {0}=VALUE, set it under [runbooks.variables] of the configuration, or write a default, {{{{{0}=VALUE}}}}",
                place.name
            );
            return Err(syntax_error(file, source, place.span.clone(), message));
        };
        filled.push_str(&source[done..place.span.start]);
        filled.push_str(value);
        done = place.span.end;
    }
    filled.push_str(&source[done..]);
    Ok(filled)
}

/// The first default of each variable.
pub(super) fn defaults_of(source: &str) -> Variables {
    let mut defaults = Variables::new();
    for place in find(source) {
        if let Some(default) = place.default {
            let entry = defaults.entry(place.name.to_owned());
            entry.or_insert_with(|| default.to_owned());
        }
    }
    defaults
}

/// The text with these as the defaults of its variables, at every place.
pub(super) fn with_defaults(source: &str, defaults: &Variables) -> String {
    let mut text = String::with_capacity(source.len());
    let mut done = 0;
    for place in find(source) {
        if let Some(default) = defaults.get(place.name) {
            text.push_str(&source[done..place.span.start]);
            text.push_str(&format!("{{{{{}={default}}}}}", place.name));
            done = place.span.end;
        }
    }
    text.push_str(&source[done..]);
    text
}

/// Whether a text can be a variable's name: `backend`, `health_url`.
///
/// # Errors
/// What it has to look like.
pub fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    Err(format!(
        "not the name of a variable: {name:?}; small letters, digits and _, such as health_url"
    ))
}

/// Whether a text can be a variable's value. It stands in the middle of a line of Markdown and of a command.
///
/// # Errors
/// What it has to look like.
pub fn check_value(value: &str) -> Result<(), String> {
    if value.trim().is_empty() || value.chars().any(char::is_control) || value.contains("{{") {
        return Err(format!(
            "not a value of a variable: {value:?}; one line of text that is not empty"
        ));
    }
    Ok(())
}

struct Place<'a> {
    span: std::ops::Range<usize>,
    name: &'a str,
    default: Option<&'a str>,
}

fn find(source: &str) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(open) = source[from..].find("{{").map(|at| from + at) {
        let inner_from = open + 2;
        let line_end = source[inner_from..]
            .find('\n')
            .map_or(source.len(), |at| inner_from + at);
        let Some(close) = source[inner_from..line_end]
            .find("}}")
            .map(|at| inner_from + at)
        else {
            from = inner_from;
            continue;
        };
        let inner = &source[inner_from..close];
        let (name, default) = match inner.split_once('=') {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) || default.is_some_and(|value| check_value(value).is_err()) {
            from = inner_from;
            continue;
        }
        places.push(Place {
            span: open..close + 2,
            name,
            default,
        });
        from = close + 2;
    }
    places
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !FORMAT_WORDS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Variables {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_value_wins_over_the_default_and_stands_everywhere() {
        let text = "# A\n`{{backend=backend}}`\n- [ ] {{backend}} {owner=a}\n";
        let filled = |pairs: &[_]| fill("a.md", text, &values(pairs), Unset::IsWrong).unwrap();
        assert_eq!(filled(&[]), "# A\n`backend`\n- [ ] backend {owner=a}\n");
        assert_eq!(
            filled(&[("backend", "shop/api"), ("other", "x")]),
            "# A\n`shop/api`\n- [ ] shop/api {owner=a}\n"
        );
    }

    #[test]
    fn what_docker_writes_is_no_variable() {
        for text in [
            "{{.Image}}",
            "{{json .State}}",
            "{{range .Mounts}}{{.Source}}{{end}}",
            "{{ backend }}",
            "{{Backend}}",
            "{{backend",
            "{{backend\n}}",
            "{{x=}}",
        ] {
            assert_eq!(
                fill("a.md", text, &values(&[]), Unset::IsWrong).unwrap(),
                text
            );
        }
    }

    #[test]
    fn a_hole_is_a_mistake_with_its_place_once_it_is_started() {
        let text = "# A\n- [ ] see {{where}}\n";
        let shown = fill("a.md", text, &values(&[]), Unset::Stays).unwrap();
        assert_eq!(shown, text);
        let error = fill("a.md", text, &values(&[]), Unset::IsWrong).unwrap_err();
        assert_eq!((error.line, error.column), (2, 11));
        assert_eq!(&text[error.span.clone()], "{{where}}");
        let said = error.to_string();
        assert!(
            said.contains("--set where=VALUE") && said.contains("{{where=VALUE}}"),
            "{said}"
        );
    }

    #[test]
    fn one_name_has_one_default() {
        let text = "{{a=1}} {{a=1}}\n{{a=2}}";
        let error = fill("a.md", text, &values(&[]), Unset::Stays).unwrap_err();
        assert_eq!((error.line, error.column), (2, 1));
        assert!(error.message.contains("`1` further up"), "{error}");
    }

    #[test]
    fn names_and_values_stay_within_a_line() {
        assert!(check_name("health_url").is_ok());
        for name in ["", "Name", "9a", "a-b", "end"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_value("http://127.0.0.1:8000/health").is_ok());
        for value in ["", " ", "a\nb", "a\u{1b}b", "{{a}}"] {
            assert!(check_value(value).is_err(), "{value:?}");
        }
    }
}
