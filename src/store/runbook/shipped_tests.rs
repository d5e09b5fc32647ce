use std::collections::HashSet;

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
