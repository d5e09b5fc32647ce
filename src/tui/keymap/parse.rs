//! Reads a keymap file and says what is wrong with it: file, line, caret, nearest right name.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use toml::de::{DeTable, DeValue};

use crate::domain::nearest::nearest;
use crate::tui::action::{ACTIONS, Action, Place};

use super::chord::{self, Chord};

/// A keymap file's content.
pub(super) struct File {
    pub(super) base: Option<String>,
    pub(super) bindings: Vec<(Place, Vec<Chord>, Option<Action>)>,
}

struct Mistake {
    span: Range<usize>,
    title: String,
    label: String,
}

/// Reads a keymap file.
///
/// # Errors
/// Every mistake in it, rendered.
pub(super) fn parse(text: &str, name: &str) -> Result<File, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let mistake = Mistake {
            span: error.span().unwrap_or(0..0),
            title: "this is not TOML".to_owned(),
            label: error.message().to_owned(),
        };
        render(&[mistake], text, name)
    })?;
    let mut file = File {
        base: None,
        bindings: Vec::new(),
    };
    let mut mistakes = Vec::new();
    for (key, value) in table.get_ref() {
        let word = key.get_ref().as_ref();
        match (word, value.get_ref()) {
            ("base", DeValue::String(base)) if ["default", "vim", "emacs"].contains(&&**base) => {
                file.base = Some(base.to_string());
            }
            ("base", _) => mistakes.push(Mistake {
                span: value.span(),
                title: "no such base".to_owned(),
                label: "expected \"default\", \"vim\" or \"emacs\"".to_owned(),
            }),
            (word, DeValue::Table(bindings)) => match Place::parse(word) {
                Some(place) => read_place(place, bindings, &mut file, &mut mistakes),
                None => mistakes.push(unknown(
                    key.span(),
                    "place",
                    word,
                    Place::ALL.iter().map(|p| p.name()),
                )),
            },
            (word, _) => mistakes.push(unknown(
                key.span(),
                "setting",
                word,
                std::iter::once("base").chain(Place::ALL.iter().map(|p| p.name())),
            )),
        }
    }
    if mistakes.is_empty() {
        return Ok(file);
    }
    mistakes.sort_by_key(|m| m.span.start);
    Err(render(&mistakes, text, name))
}

fn read_place(place: Place, table: &DeTable<'_>, file: &mut File, mistakes: &mut Vec<Mistake>) {
    for (key, value) in table {
        let written = key.get_ref().as_ref();
        let chords = chord::parse_sequence(written);
        if chords.is_none() {
            let last = written.rsplit([' ', '-']).next().unwrap_or(written);
            mistakes.push(unknown(key.span(), "key", last, chord::names()));
        }
        let DeValue::String(id) = value.get_ref() else {
            mistakes.push(Mistake {
                span: value.span(),
                title: "not an action".to_owned(),
                label: "expected the id of an action in quotes, or \"none\"".to_owned(),
            });
            continue;
        };
        let action = match id.as_ref() {
            "none" => None,
            id => match Action::parse(id) {
                Some(action) if action.is_allowed(place) => Some(action),
                Some(action) => {
                    let places: Vec<&str> = action.spec().places.iter().map(|p| p.name()).collect();
                    mistakes.push(Mistake {
                        span: value.span(),
                        title: format!("{id} does not belong in [{}]", place.name()),
                        label: format!("it is possible in: {}", places.join(", ")),
                    });
                    continue;
                }
                None => {
                    let ids = ACTIONS
                        .iter()
                        .filter(|s| s.action.is_allowed(place))
                        .map(|s| s.id);
                    mistakes.push(unknown(value.span(), "action", id, ids));
                    continue;
                }
            },
        };
        if let Some(chords) = chords {
            file.bindings.push((place, chords, action));
        }
    }
}

fn unknown<'a>(
    span: Range<usize>,
    what: &str,
    word: &str,
    names: impl Iterator<Item = &'a str>,
) -> Mistake {
    let label = nearest(word, names).map_or_else(
        || "`lastgood keys print` shows every name".to_owned(),
        |name| format!("did you mean {name:?}?"),
    );
    Mistake {
        span,
        title: format!("unknown {what} {word:?}"),
        label,
    }
}

fn render(mistakes: &[Mistake], text: &str, name: &str) -> String {
    let renderer = Renderer::plain();
    let shown: Vec<String> = mistakes
        .iter()
        .map(|mistake| {
            let group = Level::ERROR.primary_title(mistake.title.as_str()).element(
                Snippet::source(text).path(name).annotation(
                    AnnotationKind::Primary
                        .span(mistake.span.clone())
                        .label(mistake.label.as_str()),
                ),
            );
            renderer.render(&[group])
        })
        .collect();
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        match parse(text, "keymap.toml") {
            Ok(_) => panic!("accepted: {text}"),
            Err(error) => error,
        }
    }

    #[test]
    fn an_unknown_action_shows_its_place_and_the_nearest_name() {
        insta::assert_snapshot!(error("[global]\n\"x\" = \"app.qiut\"\n"));
    }

    #[test]
    fn an_unknown_key_shows_its_place_and_the_nearest_name() {
        insta::assert_snapshot!(error("[logs]\n\"ctrl-entr\" = \"logs.find-next\"\n"));
    }

    #[test]
    fn an_unknown_place_shows_the_nearest_name() {
        insta::assert_snapshot!(error("[log]\n\"x\" = \"logs.find-next\"\n"));
    }

    #[test]
    fn an_action_of_another_place_says_where_it_is_possible() {
        insta::assert_snapshot!(error("[global]\n\"R\" = \"services.restart-selected\"\n"));
    }

    #[test]
    fn broken_toml_shows_where() {
        insta::assert_snapshot!(error("[global\n\"x\" = 1\n"));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = error("base = \"nano\"\n[global]\n\"x\" = 1\n\"hyper-x\" = \"nope.nope\"\n");
        assert_eq!(text.matches("error:").count(), 4, "{text}");
    }
}
