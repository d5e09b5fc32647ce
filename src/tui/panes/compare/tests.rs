use super::*;
use crate::tui::fixtures::{at, bad_comparison};

fn pane() -> ComparePane {
    let mut pane = ComparePane::default();
    pane.set(bad_comparison(), at("15:31:07"));
    pane
}

fn template(pane: &ComparePane) -> String {
    pane.pattern().unwrap().template.to_string()
}

#[test]
fn one_pattern_is_selected_in_every_view() {
    let mut pane = pane();
    pane.step(3);
    let slow = template(&pane);
    assert!(slow.contains("answered slowly"));
    pane.show(View::Stream);
    assert_eq!(template(&pane), slow);
    assert!(matches!(pane.row(), Some(Row::Aligned(_))));
    pane.step(1);
    assert!(template(&pane).contains("NoneType"));
    pane.show(View::Patterns);
    assert_eq!(
        (pane.cursor, template(&pane).contains("NoneType")),
        (0, true)
    );
    pane.step(3);
    pane.show(View::Sequence);
    assert_eq!((pane.cursor, template(&pane)), (2, slow));
}

#[test]
fn a_folded_row_keeps_what_was_selected_and_opens() {
    let mut pane = pane();
    pane.show(View::Stream);
    let before = template(&pane);
    let (folded, known) = (pane.count(), 3);
    pane.step(-10);
    assert!(matches!(pane.row(), Some(Row::Folded { .. })));
    assert_eq!(template(&pane), before);
    pane.toggle_unchanged();
    assert_eq!(pane.count(), folded - 2 + known);
    assert_eq!(template(&pane), before);
    pane.toggle_unchanged();
    assert_eq!(template(&pane), before);
}

#[test]
fn the_next_comparison_moves_no_selection() {
    let mut pane = pane();
    pane.step(2);
    let selected = template(&pane);
    let mut next = bad_comparison();
    next.patterns.rotate_right(1);
    next.side_by_side = crate::domain::side_by_side::SideBySide::default();
    pane.set(next, at("15:31:27"));
    assert_eq!(template(&pane), selected);
    pane.show(View::Stream);
    assert_eq!((pane.count(), pane.row()), (0, None));
    assert_eq!(template(&pane), selected);
    pane.step(5);
    pane.show(View::Patterns);
    assert_eq!(template(&pane), selected);
}
