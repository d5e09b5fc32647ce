use super::*;
use crate::domain::before_after::BeforeAfter;
use crate::domain::side_by_side::RequestRecord;
use crate::tui::fixtures::{at, bad_comparison, safe};

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

#[test]
fn a_request_is_shown_until_another_view_is() {
    let record = |shape: u64, at: i64, text: &str| RequestRecord {
        at: Some(at),
        shape,
        line: 7,
        service: crate::tui::fixtures::id("backend"),
        text: safe(text),
    };
    let pair = RequestPair {
        ids: BeforeAfter::new(None, Some(safe("88121"))),
        records: BeforeAfter::new(
            Vec::new(),
            vec![
                record(104, 1000, "GET"),
                record(100, 1250, "None"),
                record(9, 1300, "?"),
            ],
        ),
    };
    let mut pane = pane();
    pane.look_for(safe("88121"));
    assert_eq!((pane.view, pane.count()), (View::Sequence, 0));
    pane.set_request(pair.clone(), at("15:31:08"));
    // A record of a shape that the comparison has not seen is left out.
    assert_eq!(pane.count(), 2);
    assert!(
        template(&pane).contains("NoneType"),
        "the cursor is on what was selected"
    );
    pane.set(bad_comparison(), at("15:31:27"));
    assert_eq!(pane.count(), 2);
    pane.show(View::Sequence);
    assert_eq!(pane.count(), 3, "the start-up");
    pane.set_request(pair, at("15:31:28"));
    assert_eq!(pane.count(), 3, "nobody waits for it any more");
}
