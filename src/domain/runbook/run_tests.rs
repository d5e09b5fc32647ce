use super::*;
use crate::domain::runbook::parse::parse;
use crate::domain::runbook::probe::Probe;

const SOURCE: &str = "# T
- [ ] prepare
- [ ] deploy {gate}
- [ ] healthy {due=T+5m}

  ```probe
  service backend healthy
  ```
- [ ] early {due=T+5m}
";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn text(text: &str) -> SafeText {
    SafeText::from_text(text)
}

fn started() -> RunState {
    let runbook = parse("t", "t.md", SOURCE).unwrap();
    RunState::new("run-1", runbook, at(0), at(0), text("anna"))
}

fn act(state: &mut RunState, number: usize, action: ItemAction, by: &str) -> Result<(), Unfit> {
    let event = state.plan(number, action, None, text(by), at(1))?;
    state.apply(&event)
}

const TICK: ItemAction = ItemAction::Tick { evidence: None };

fn probed(state: &mut RunState, outcome: ProbeOutcome, evidence: &str, now: i64) -> bool {
    let item = state.runbook.find("healthy").unwrap().clone();
    let revision = state.item(3).unwrap().revision;
    match state.plan_probed(&item, revision, outcome, text(evidence), at(now)) {
        Some(event) => {
            state.apply(&event).unwrap();
            true
        }
        None => false,
    }
}

#[test]
fn an_item_goes_through_its_states() {
    let mut state = started();
    act(&mut state, 1, ItemAction::Claim, "anna").unwrap();
    assert_eq!(state.item(1).unwrap().state, ItemState::Claimed);
    act(
        &mut state,
        1,
        ItemAction::Tick {
            evidence: Some(text("saw it")),
        },
        "boris",
    )
    .unwrap();
    let item = state.item(1).unwrap();
    assert_eq!(
        (
            item.state,
            item.by.as_ref().unwrap().as_str(),
            item.revision
        ),
        (ItemState::Done, "boris", 2)
    );
    assert_eq!(item.evidence.as_ref().unwrap().as_str(), "saw it");
    act(&mut state, 1, ItemAction::Undo, "anna").unwrap();
    assert_eq!(state.item(1).unwrap().state, ItemState::Open);
    assert_eq!(state.item(1).unwrap().evidence, None);
    act(
        &mut state,
        1,
        ItemAction::Skip {
            reason: text("not today"),
        },
        "anna",
    )
    .unwrap();
    assert_eq!(state.progress(), (1, 4));
    act(&mut state, 2, ItemAction::Fail { reason: None }, "anna").unwrap();
    assert!(state.has_failed() && !state.is_complete());
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let mut state = started();
    act(&mut state, 1, TICK, "anna").unwrap();
    let again = act(&mut state, 1, TICK, "boris").unwrap_err();
    assert!(
        again
            .to_string()
            .contains("done by anna at 2027-01-15T08:00:01Z"),
        "{again}"
    );
    assert!(matches!(
        act(&mut state, 9, TICK, "anna"),
        Err(Unfit::NoItem {
            number: 9,
            count: 4
        })
    ));
    assert!(matches!(
        act(&mut state, 0, TICK, "anna"),
        Err(Unfit::NoItem { .. })
    ));
    assert!(matches!(
        act(&mut state, 2, ItemAction::Undo, "anna"),
        Err(Unfit::NotNow { .. })
    ));
    assert!(matches!(
        act(
            &mut state,
            2,
            ItemAction::Skip { reason: text(" ") },
            "anna"
        ),
        Err(Unfit::Empty(_))
    ));
}

#[test]
fn of_two_who_looked_at_the_same_revision_one_is_told() {
    let mut state = started();
    let anna = state.plan(1, TICK, Some(0), text("anna"), at(1)).unwrap();
    let boris = state
        .plan(
            1,
            ItemAction::Fail { reason: None },
            Some(0),
            text("boris"),
            at(1),
        )
        .unwrap();
    state.apply(&anna).unwrap();
    let before = state.clone();
    assert!(matches!(
        state.apply(&boris),
        Err(Unfit::Conflict { number: 1, .. })
    ));
    assert_eq!(state, before, "a refused event changes nothing");
    let late = state
        .plan(1, ItemAction::Undo, Some(0), text("boris"), at(2))
        .unwrap_err();
    assert!(late.to_string().contains("done by anna"), "{late}");
}

#[test]
fn comments_never_conflict() {
    let mut state = started();
    let one = state
        .plan(
            1,
            ItemAction::Comment { text: text("a") },
            Some(0),
            text("anna"),
            at(1),
        )
        .unwrap();
    act(&mut state, 1, TICK, "boris").unwrap();
    state.apply(&one).unwrap();
    assert_eq!(state.item(1).unwrap().comments.len(), 1);
    assert_eq!(state.item(1).unwrap().state, ItemState::Done);
}

#[test]
fn a_gate_holds_back_the_probes_behind_it() {
    let mut state = started();
    assert!(state.due_probes().is_empty());
    assert!(!probed(&mut state, ProbeOutcome::Passed, "ok", 400));
    act(&mut state, 2, TICK, "anna").unwrap();
    let due = state.due_probes();
    assert_eq!(
        due.iter()
            .map(|d| (d.item, d.revision, d.probes.len()))
            .collect::<Vec<_>>(),
        [(3, 0, 1)]
    );
}

#[test]
fn a_probe_ticks_and_is_asked_again_when_its_time_comes() {
    let mut state = started();
    act(&mut state, 2, TICK, "anna").unwrap();
    assert!(probed(&mut state, ProbeOutcome::Passed, "200 in 9 ms", 10));
    assert_eq!(state.item(3).unwrap().state, ItemState::Done);
    assert!(
        !probed(&mut state, ProbeOutcome::Passed, "200 in 8 ms", 20),
        "nothing new before T+5m"
    );
    assert!(
        probed(&mut state, ProbeOutcome::Passed, "200 in 7 ms", 300),
        "the look at T+5m counts"
    );
    assert!(state.due_probes().is_empty());
    assert_eq!(
        state.item(3).unwrap().evidence.as_ref().unwrap().as_str(),
        "200 in 7 ms"
    );
}

#[test]
fn a_tick_that_came_too_early_is_taken_back() {
    let mut state = started();
    act(&mut state, 2, TICK, "anna").unwrap();
    probed(&mut state, ProbeOutcome::Passed, "ok", 10);
    probed(&mut state, ProbeOutcome::Failed, "500", 120);
    assert_eq!(state.item(3).unwrap().state, ItemState::Failed);
    assert!(
        !probed(&mut state, ProbeOutcome::Failed, "500", 130),
        "the same answer is written once"
    );
    assert!(probed(&mut state, ProbeOutcome::Failed, "502", 140));
    assert!(probed(
        &mut state,
        ProbeOutcome::Unknown,
        "no such service",
        150
    ));
    assert_eq!(
        state.item(3).unwrap().state,
        ItemState::Open,
        "unknown is never a tick"
    );
    assert!(probed(&mut state, ProbeOutcome::Passed, "ok", 310));
    assert_eq!(state.item(3).unwrap().state, ItemState::Done);
}

#[test]
fn what_a_person_said_no_probe_takes_back() {
    let mut state = started();
    act(&mut state, 2, TICK, "anna").unwrap();
    probed(&mut state, ProbeOutcome::Failed, "500", 10);
    act(
        &mut state,
        3,
        ItemAction::Fail {
            reason: Some(text("really down")),
        },
        "anna",
    )
    .unwrap();
    assert!(!probed(&mut state, ProbeOutcome::Passed, "ok", 20));
    assert_eq!(state.item(3).unwrap().by.as_ref().unwrap().as_str(), "anna");
    act(&mut state, 3, ItemAction::Undo, "anna").unwrap();
    assert!(
        probed(&mut state, ProbeOutcome::Passed, "ok", 30),
        "taken back, it is asked again"
    );
}

#[test]
fn a_claimed_item_keeps_its_owner_while_the_answer_is_unknown() {
    let mut state = started();
    act(&mut state, 2, TICK, "anna").unwrap();
    act(&mut state, 3, ItemAction::Claim, "boris").unwrap();
    assert!(probed(
        &mut state,
        ProbeOutcome::Unknown,
        "12 requests, needs 20",
        10
    ));
    let item = state.item(3).unwrap();
    assert_eq!(
        (item.state, item.by.as_ref().unwrap().as_str()),
        (ItemState::Claimed, "boris")
    );
    assert!(state.is_probe_due(state.runbook.find("3").unwrap()));
}

#[test]
fn events_go_through_json_and_back() {
    let kinds = [
        RunEventKind::Claimed,
        RunEventKind::Ticked { evidence: None },
        RunEventKind::Ticked {
            evidence: Some(text("x")),
        },
        RunEventKind::Failed {
            reason: Some(text("x")),
        },
        RunEventKind::Skipped { reason: text("x") },
        RunEventKind::Undone,
        RunEventKind::Commented { text: text("x") },
        RunEventKind::Probed {
            outcome: ProbeOutcome::Unknown,
            evidence: text("x"),
        },
        RunEventKind::Repaired {
            lost: text("{\"at"),
        },
        RunEventKind::Started {
            schema: text("s"),
            name: text("n"),
            t_at: at(0),
            source: "# A\n\u{1b}".into(),
        },
    ];
    for kind in kinds {
        let event = RunEvent {
            at: at(0),
            by: text("anna"),
            item: Some(1),
            revision: 1,
            kind,
        };
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<RunEvent>(&line).unwrap(), event);
    }
}

#[test]
fn answers_add_up_to_the_worst() {
    let answer = |outcome| ProbeAnswer {
        probe: Probe::Tcp { addr: "a:1".into() },
        outcome,
        detail: text("d"),
    };
    use ProbeOutcome::{Failed, Passed, Unknown};
    for (outcomes, sum) in [
        (vec![], Unknown),
        (vec![Passed, Passed], Passed),
        (vec![Passed, Unknown], Unknown),
        (vec![Unknown, Failed], Failed),
    ] {
        let answers: Vec<_> = outcomes.into_iter().map(answer).collect();
        assert_eq!(ProbeAnswer::sum(&answers).0, sum);
    }
}

#[test]
fn an_item_for_two_people_needs_two_different_ones() {
    let source = "# T\n- [ ] restore {two-person}\n\n  ```sh run\n  restore\n  ```\n- [ ] after\n";
    let runbook = parse("t", "t.md", source).unwrap();
    let mut state = RunState::new("run-1", runbook, at(0), at(0), text("anna"));
    let may_run = |state: &RunState, by: &str| state.may_run(1, &text(by));
    assert!(may_run(&state, "anna").is_err(), "nobody agreed yet");

    act(&mut state, 1, TICK, "anna").unwrap();
    let item = state.item(1).unwrap();
    assert_eq!(item.state, ItemState::Claimed);
    assert_eq!(item.words(), "agreed by anna at 2027-01-15T08:00:01Z");
    assert!(!state.is_complete());
    let again = act(&mut state, 1, TICK, "anna").unwrap_err();
    assert!(
        again
            .to_string()
            .contains("needs two different people: you agreed already"),
        "{again}"
    );
    assert!(may_run(&state, "anna").is_err());
    assert_eq!(may_run(&state, "boris"), Ok(()));

    // A journal in which one person alone ticked it is no journal of this program.
    let forged = RunEvent {
        at: at(2),
        by: text("anna"),
        item: Some(1),
        revision: 2,
        kind: RunEventKind::Ticked { evidence: None },
    };
    let before = state.clone();
    assert!(matches!(state.apply(&forged), Err(Unfit::Order(_))));
    assert_eq!(state, before);

    let seen = ItemAction::Tick {
        evidence: Some(text("dump is there")),
    };
    act(&mut state, 1, seen, "boris").unwrap();
    let item = state.item(1).unwrap();
    assert_eq!(item.state, ItemState::Done);
    assert_eq!(item.by.as_ref().unwrap().as_str(), "boris");
    assert_eq!(
        item.evidence.as_ref().unwrap().as_str(),
        "anna agreed; dump is there"
    );

    // Taken back, the first yes is gone as well.
    act(&mut state, 1, ItemAction::Undo, "boris").unwrap();
    act(&mut state, 1, TICK, "boris").unwrap();
    assert_eq!(state.item(1).unwrap().state, ItemState::Claimed);
    act(&mut state, 1, ItemAction::Fail { reason: None }, "anna").unwrap();
    act(&mut state, 1, TICK, "boris").unwrap();
    assert_eq!(state.item(1).unwrap().state, ItemState::Claimed);
    // An item for one is ticked as ever, and run by anybody.
    assert_eq!(state.may_run(2, &text("anna")), Ok(()));
    act(&mut state, 2, TICK, "anna").unwrap();
}
