use std::collections::HashSet;

use crate::domain::runbook::Item;

use super::*;

#[path = "asked.rs"]
mod asked;

fn shipped() -> RunbookStore {
    RunbookStore::new(Path::new("/nowhere"), None)
}

#[test]
fn every_shipped_runbook_parses_and_has_unique_slugs() {
    let listing = shipped().list().unwrap();
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    assert_eq!(listing.runbooks.len(), SHIPPED.len());
    for source in &listing.runbooks {
        let name = &source.runbook.name;
        let slugs: HashSet<&str> = source
            .runbook
            .items()
            .map(|item| item.slug.as_str())
            .collect();
        assert_eq!(slugs.len(), source.runbook.items().count(), "{name}");
        let boxes = source
            .text
            .lines()
            .filter(|line| line.trim_start().starts_with("- [ ]"))
            .count();
        assert_eq!(
            boxes,
            source.runbook.items().count(),
            "{name}: every box is an item"
        );
        let texts: HashSet<&str> = source
            .runbook
            .items()
            .map(|item| item.text.as_str())
            .collect();
        assert_eq!(
            texts.len(),
            slugs.len(),
            "{name}: two items that say the same cannot be told apart"
        );
        assert!(
            source
                .runbook
                .phases
                .iter()
                .all(|phase| !phase.items.is_empty()),
            "{name}: an empty phase"
        );
        assert!(
            !source.runbook.intro.is_empty(),
            "{name} says what it is for"
        );
        assert!(source.path.is_none());
    }
}

/// What is the same in both languages of a runbook.
fn frame(runbook: &Runbook) -> Vec<String> {
    let mut frame = Vec::new();
    for phase in &runbook.phases {
        frame.push(format!("phase of {}", phase.items.len()));
        for item in &phase.items {
            let Item {
                number,
                slug,
                depth,
                owner,
                due,
                is_gate,
                is_two_person,
                blocks,
                notes,
                ..
            } = item;
            let paragraphs = notes.len();
            frame.push(format!(
                "{number} {slug} {depth} {owner:?} {due:?} {is_gate} {is_two_person} {blocks:?} {paragraphs}"
            ));
        }
    }
    frame
}

#[test]
fn both_languages_are_one_runbook() {
    let russian = shipped().with_language(Language::Russian);
    for Shipped { name, .. } in SHIPPED {
        let (en, ru) = (shipped().load(name).unwrap(), russian.load(name).unwrap());
        let (frame_en, frame_ru) = (frame(&en.runbook), frame(&ru.runbook));
        for (en, ru) in frame_en.iter().zip(&frame_ru) {
            assert_eq!(en, ru, "{name}");
        }
        assert_eq!(frame_en.len(), frame_ru.len(), "{name}");
        assert_eq!(en.runbook.intro.len(), ru.runbook.intro.len(), "{name}");
        // Commands to read are no blocks, and the same all the same.
        let commands = |text: &str| -> Vec<String> {
            text.split("\n  ```")
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(commands(&en.text), commands(&ru.text), "{name}");
    }
}

/// Text that is put in is in the language of the text around it.
#[test]
fn the_russian_runbooks_are_russian() {
    let russian = shipped().with_language(Language::Russian);
    let is_russian = |text: &SafeText| text.as_str().chars().any(|c| ('а'..='я').contains(&c));
    for Shipped { name, .. } in SHIPPED {
        let runbook = russian.load(name).unwrap().runbook;
        assert!(is_russian(&runbook.title), "{name}");
        for phase in &runbook.phases {
            assert!(is_russian(&phase.title), "{name}: {}", phase.title);
            for item in &phase.items {
                assert!(is_russian(&item.text), "{name}: {}", item.text);
            }
        }
    }
}

/// Figures stand in both.
#[test]
fn both_languages_hold_the_same_figures() {
    let figures = |text: &str| {
        let text = text.replace("1 000", "1,000");
        let words = text.split_whitespace();
        let mut found: Vec<String> = words
            .filter(|word| !word.starts_with("{id="))
            .flat_map(|word| word.split(|c: char| !c.is_ascii_digit() && !matches!(c, ',' | '.')))
            .map(|figure| figure.trim_matches([',', '.']).replace(',', "."))
            .filter(|figure| !figure.is_empty())
            .collect();
        found.sort();
        found
    };
    for Shipped {
        name,
        english,
        russian,
    } in SHIPPED
    {
        assert_eq!(figures(english), figures(russian), "{name}");
    }
}

/// A line of the lists below: a piece of an item's text, then its time and its owner where they are asked for.
fn check_items(name: &str, listed: &str) {
    let source = shipped().load(name).unwrap();
    for line in listed.trim().lines() {
        let mut asked = line.split('|').map(str::trim);
        let piece = asked.next().unwrap().to_lowercase();
        let (due, owner) = (asked.next(), asked.next());
        let found = source.runbook.items().any(|item| {
            let is_due = due.is_none_or(|due| item.due.is_some_and(|d| d.to_string() == due));
            let is_owned =
                owner.is_none_or(|owner| item.owner.as_ref().is_some_and(|o| o.as_str() == owner));
            item.text.as_str().to_lowercase().contains(&piece) && is_due && is_owned
        });
        assert!(found, "{name} lacks an item `{line}`");
    }
}

/// The checklists that this product was asked for, item by item.
#[test]
fn every_item_that_was_asked_for_is_there() {
    for (name, listed) in asked::ITEMS {
        check_items(name, listed);
    }
    let names: Vec<&str> = asked::ITEMS.iter().map(|(name, _)| *name).collect();
    for Shipped { name, .. } in SHIPPED {
        assert!(names.contains(&name), "nothing is asked of {name}");
    }
}

/// Limits, roles, times, figures and commands that stand in the text around the items.
#[test]
fn every_fact_that_was_asked_for_is_there() {
    let store = shipped();
    for (name, facts) in asked::FACTS {
        let text = store.load(name).unwrap().text;
        for fact in *facts {
            assert!(text.contains(fact), "{name} does not say `{fact}`");
        }
    }
}

#[test]
fn the_shape_is_what_was_asked_for() {
    let store = shipped();
    let deploy = store.load("deploy").unwrap();
    let steps: Vec<&str> = deploy
        .runbook
        .phases
        .iter()
        .map(|phase| phase.title.as_str())
        .collect();
    assert_eq!(steps.len(), 6);
    assert!(
        steps
            .iter()
            .enumerate()
            .all(|(i, step)| step.starts_with(&format!("Step {}:", i + 1))),
        "{steps:?}"
    );
    // Eight groups of four, then the first day, then what goes on.
    let readiness = store.load("production-readiness").unwrap();
    let phases = &readiness.runbook.phases;
    assert!(phases[..8].iter().all(|phase| phase.items.len() == 4));
    let later: Vec<&str> = phases[8..]
        .iter()
        .map(|phase| phase.title.as_str())
        .collect();
    assert_eq!(
        later,
        [
            "First 15 minutes",
            "First hour",
            "First 24 hours",
            "Every day",
            "Every week",
            "Every month",
            "Every quarter"
        ]
    );
    let checklist = store.load("deployment-checklist").unwrap();
    assert!(
        checklist.runbook.phases[..8]
            .iter()
            .all(|phase| phase.items.len() >= 4)
    );
}
