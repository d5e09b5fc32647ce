//! Runs that a dead process left, made by hand: what no machine can tell is neither repeated nor believed.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::domain::outcome::StepResult;
use crate::domain::service::ServiceState;
use crate::host::Host;
use crate::ops::resume;
use crate::store::journal::Journal;

/// A run of a plan whose process died after these lines.
async fn leave(shop: &Shop, plan: &Plan, lines: Vec<JournalEvent>) -> String {
    let before = seen::look(&shop.ctx, plan, None).await;
    let permit = shop
        .ctx
        .audit()
        .begin(plan, &shop.ctx.actor, Access::Full)
        .unwrap();
    let mut journal = Journal::create(&shop.ctx.state, permit.run()).unwrap();
    let intent = JournalEvent::Intent {
        plan: Box::new(plan.clone()),
        before,
        by: None,
    };
    for line in [intent].into_iter().chain(lines) {
        journal.append(line).unwrap();
    }
    permit.run().to_owned()
}

fn begin(step: usize) -> JournalEvent {
    JournalEvent::Begin {
        step,
        text: SafeText::from_text("begun"),
        seen: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_which_nothing_tells_is_not_repeated() {
    let shop = Shop::new(Access::Full);
    let operation = Operation::Restart {
        services: shop.services(),
        reload: false,
        rolling: false,
    };
    let mut plan = shop.plan(&operation).await;
    // Nobody waits for its proof here.
    plan.steps[1] = verify_quickly(&shop.id, None);
    let plan = plan.seal();
    leave(&shop, &plan, vec![begin(0)]).await;
    let again = shop.plan(&operation).await;
    assert_eq!(again.steps.len(), 1, "{again:#?}");
    assert!(
        again
            .notes
            .iter()
            .any(|n| n.as_str().contains("not repeated"))
    );
    let outcome = shop.execute(&again).await.unwrap();
    assert_eq!(
        outcome.outcome,
        OutcomeKind::AppliedNotVerified,
        "{outcome:?}"
    );
    assert!(!shop.path("restarted").exists());
    assert!(resume::unfinished(&shop.ctx).unwrap().runs.is_empty());
    let phases: Vec<AuditPhase> = shop.phases().into_iter().map(|(phase, _)| phase).collect();
    let expected = [AuditPhase::Intent, AuditPhase::Resumed, AuditPhase::Outcome];
    assert_eq!(phases, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_a_runbook_ends_unknown() {
    let shop = Shop::new(Access::Full);
    let ran = shop.path("ran").display().to_string();
    let operation = Operation::RunCommand {
        title: SafeText::from_text("clean up"),
        command: format!("touch {ran}"),
        host: HostName::local(),
    };
    let plan = shop.plan(&operation).await;
    let run = leave(&shop, &plan, vec![begin(0)]).await;
    // Typed again it is a new command.
    assert_eq!(shop.plan(&operation).await.operation, operation);
    let resuming = resume::operation(&shop.ctx, Some(&run), false).unwrap();
    let outcome = shop.execute(&shop.plan(&resuming).await).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::Unknown, "{outcome:?}");
    assert!(!shop.path("ran").exists());
    assert!(resume::operation(&shop.ctx, Some(&run), false).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plan_takes_the_place_of_what_was_left() {
    let shop = Shop::new(Access::Full);
    let plan = shop.plan_of(vec![
        shell("true", None),
        verify_quickly(&shop.id, Some("1.5")),
    ]);
    let run = leave(&shop, &plan, vec![begin(0)]).await;
    let stop = shop
        .plan(&Operation::Stop {
            services: shop.services(),
        })
        .await;
    assert!(stop.notes[0].as_str().contains(&run), "{:?}", stop.notes);
    shop.execute(&stop).await.unwrap();
    assert!(resume::unfinished(&shop.ctx).unwrap().runs.is_empty());
    let ended = shop
        .phases()
        .into_iter()
        .filter_map(|(phase, outcome)| (phase == AuditPhase::Outcome).then_some(outcome?))
        .collect::<Vec<_>>();
    assert_eq!(ended, ["failed_partial", "verified"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_contradicts_itself_is_told_and_not_gone_on_with() {
    let shop = Shop::new(Access::Full);
    let plan = shop.plan_of(vec![verify_quickly(&shop.id, None)]);
    let done = |step| JournalEvent::Done {
        step,
        result: StepResult {
            text: SafeText::from_text("done"),
            ok: true,
            ms: 0,
            detail: SafeText::default(),
        },
    };
    let run = leave(&shop, &plan, vec![done(0), done(1)]).await;
    let path = shop.ctx.state.runs().join(&run).join("journal.jsonl");
    for why in ["more steps than its plan", "line 1 is not its intent"] {
        let left = resume::unfinished(&shop.ctx).unwrap();
        assert!(left.runs.is_empty() && left.unread[0].problem.as_str().contains(why));
        let error = resume::operation(&shop.ctx, Some(&run), true).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed);
        let stop = Operation::Stop {
            services: shop.services(),
        };
        let note = &shop.plan(&stop).await.notes[0];
        assert!(note.as_str().contains(&run), "{note}");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.split_once('\n').unwrap().1).unwrap();
    }
}

#[test]
fn what_was_started_is_taken_back_after_what_it_reads() {
    let shop = Shop::new(Access::Full);
    let file = |name: &str| write_file(&shop.path(name), &shop.path("saved/x"), "new", None);
    let plan = shop.plan_of(vec![
        file("a"),
        file("b"),
        shell("start", None),
        verify_quickly(&shop.id, None),
        shell("save", None),
    ]);
    // A file starts nothing.
    assert_eq!(way_back(&plan, 1), [1, 0]);
    assert_eq!(way_back(&plan, 2), [1, 0, 2]);
    // The proof itself did nothing: what it proves comes before it.
    assert_eq!(way_back(&plan, 3), [1, 0, 2, 3]);
    assert_eq!(way_back(&plan, 4), [2, 1, 0, 4, 3]);
}

/// Where nobody can look, nothing is gone, done or stale.
async fn nobody_can_look(ctx: &Context, plan: &Plan, before: Option<&Vec<Service>>) {
    for index in 0..plan.steps.len() {
        let error = probe::probe(ctx, plan, index, None, before)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("could not be looked at"), "{text}");
        assert!(error.fix.is_some());
    }
    let undo = shell("true", None).work;
    let undone = probe::probe_undo(ctx, plan, 0, &undo, before).await;
    assert!(undone.is_err(), "{undone:?}");
    assert!(seen::look(ctx, plan, before).await.is_none());
}

fn container() -> Step {
    Step {
        work: StepWork::Container {
            container: "0123456789abcdef".to_owned(),
            action: ContainerAction::Stop,
            grace_s: 1,
        },
        ..shell("true", None)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_away_says_of_no_step_what_became_of_it() {
    let mut shop = Shop::new(Access::Full);
    let host = Host::away();
    let far = host.name();
    shop.ctx.hosts = vec![host];
    let id = ServiceId::parse("far:pm2/api").unwrap();
    let mut delete = shell("true", None);
    delete.work = StepWork::Command {
        argv: ["pm2", "delete", "0"].map(str::to_owned).to_vec(),
        cwd: None,
        env: std::collections::BTreeMap::new(),
    };
    let plan = Plan {
        host: far,
        services: vec![id.clone()],
        ..shop.plan_of(vec![container(), delete])
    };
    let before = vec![Service::new(id, Runtime::Pm2, ServiceState::Running)];
    nobody_can_look(&shop.ctx, &plan, Some(&before)).await;
}

#[test]
fn an_engine_that_is_away_says_of_no_step_what_became_of_it() {
    // Where it listens is told by the environment, so a child runs this very test.
    const CHILD: &str = "LASTGOOD_TEST_ENGINE_AWAY";
    const NAME: &str =
        "ops::operation::tests::left::an_engine_that_is_away_says_of_no_step_what_became_of_it";
    if std::env::var_os(CHILD).is_some() {
        let shop = Shop::new(Access::Full);
        let id = ServiceId::local("shop", "api");
        let plan = Plan {
            services: vec![id.clone()],
            ..shop.plan_of(vec![container(), shell("docker compose up -d", None)])
        };
        let before = vec![Service::new(id, Runtime::Compose, ServiceState::Running)];
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(nobody_can_look(&shop.ctx, &plan, Some(&before)));
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(CHILD, "1")
        .env("DOCKER_HOST", "unix:///nonexistent/engine.sock")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
