#![allow(clippy::unwrap_used, clippy::panic)]

//! Whole operations on real processes: a service run by commands, in a temporary folder.

mod left;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::domain::operation::{ContainerAction, Fingerprint, FingerprintSubject};
use crate::domain::outcome::{AuditPhase, OutcomeKind};
use crate::domain::settings::{ExecCommands, ServiceSettings};
use crate::ops::Access;
use crate::store::config::Config;
use crate::store::journal::{self, JournalEvent};

/// A service that is two files: `release` says what it runs, `up` is there while it runs.
struct Shop {
    dir: tempfile::TempDir,
    ctx: Context,
    id: ServiceId,
}

impl Shop {
    fn new(access: Access) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let (up, release) = (at("up"), at("release"));
        let exec = ExecCommands {
            status: Some(format!("test -e {up}")),
            start: Some(format!("touch {up}")),
            stop: Some(format!("rm -f {up}")),
            restart: Some(format!("touch {up} {}", at("restarted"))),
            logs: None,
            release_command: Some(format!("cat {release}")),
            roll_back: Some(format!("echo $LASTGOOD_RELEASE > {release}")),
        };
        fs::write(&up, "").unwrap();
        fs::write(&release, "1.5\n").unwrap();
        let id = ServiceId::local("exec", "bot");
        let mut config = Config::default();
        let settings = ServiceSettings {
            exec: Some(exec),
            ..ServiceSettings::default()
        };
        config.services.insert(id.to_string(), settings);
        let ctx = Context::of_anna(dir.path(), config, access);
        Self { dir, ctx, id }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn services(&self) -> Vec<ServiceId> {
        vec![self.id.clone()]
    }

    async fn plan(&self, operation: &Operation) -> Plan {
        plan(&self.ctx, operation).await.unwrap()
    }

    async fn execute(&self, plan: &Plan) -> Result<Outcome, OpsError> {
        let confirmation = Confirmation {
            plan_hash: plan.hash.clone(),
            typed: plan.confirmation().map(|id| id.name.clone()),
        };
        let (to, _from) = mpsc::channel(64);
        execute(&self.ctx, plan, &confirmation, to).await
    }

    fn phases(&self) -> Vec<(AuditPhase, Option<String>)> {
        let records = self.ctx.audit().list().unwrap();
        self.ctx.audit().verify(None).unwrap();
        records
            .into_iter()
            .map(|r| (r.phase, r.outcome.map(|o| o.to_string())))
            .collect()
    }

    fn journal(&self) -> Vec<JournalEvent> {
        let runs = fs::read_dir(self.ctx.state.runs()).unwrap();
        let path = runs
            .map(|entry| entry.unwrap().path().join("journal.jsonl"))
            .find(|path| path.exists())
            .unwrap();
        let entries = journal::read(&path).unwrap();
        entries.into_iter().map(|entry| entry.event).collect()
    }

    /// A plan of these steps, for what no real operation can be made to do.
    fn plan_of(&self, steps: Vec<Step>) -> Plan {
        Plan {
            operation: Operation::Restart {
                services: self.services(),
                reload: false,
                rolling: false,
            },
            host: HostName::local(),
            risk: Risk::Disruptive,
            services: self.services(),
            from: None,
            to: None,
            notes: Vec::new(),
            steps,
            not_rolled_back: Vec::new(),
            on_failure: None,
            downtime_ms: None,
            budget_ms: 60_000,
            hash: String::new(),
        }
        .seal()
    }
}

fn shell(line: &str, undo: Option<&str>) -> Step {
    let work = |line: &str| StepWork::Command {
        argv: ["sh", "-c", line].map(str::to_owned).to_vec(),
        cwd: None,
        env: std::collections::BTreeMap::new(),
    };
    Step {
        text: SafeText::from_text(line),
        work: work(line),
        undo: undo.map(work),
        manual: Some(SafeText::from_text(line)),
        fingerprints: Vec::new(),
        timeout_ms: 10_000,
        may_fail: false,
    }
}

fn verify_quickly(id: &ServiceId, identity: Option<&str>) -> Step {
    Step {
        text: SafeText::from_text("verify"),
        work: StepWork::Verify {
            service: id.clone(),
            identity: identity.map(str::to_owned),
            running: true,
            replaced: Vec::new(),
            stable_ms: 0,
            probes: 0,
            timeout_ms: 1,
        },
        ..shell("true", None)
    }
}

fn write_file(path: &Path, source: &Path, content: &str, undo: Option<StepWork>) -> Step {
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    fs::write(source, content).unwrap();
    Step {
        text: SafeText::from_text("put back"),
        work: StepWork::WriteFile {
            path: path.to_owned(),
            source: source.to_owned(),
            from_machine: false,
            mix: None,
            sha256: sha256(content),
            mode: 0o644,
        },
        undo,
        ..shell("true", None)
    }
}

fn old_again(path: &Path, source: PathBuf) -> StepWork {
    StepWork::WriteFile {
        path: path.to_owned(),
        source,
        from_machine: false,
        mix: None,
        sha256: sha256("old"),
        mode: 0o644,
    }
}

fn sha256(content: &str) -> String {
    crate::domain::digest::sha256(content.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_verified_and_stands_in_log_and_journal() {
    let shop = Shop::new(Access::Full);
    let operation = Operation::Stop {
        services: shop.services(),
    };
    let plan = shop.plan(&operation).await;
    assert!(shop.path("up").exists(), "a plan changes nothing");
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::Verified, "{outcome:?}");
    assert!(!shop.path("up").exists());
    assert_eq!(
        shop.phases(),
        [
            (AuditPhase::Intent, None),
            (AuditPhase::Outcome, Some("verified".into()))
        ]
    );
    let journal = shop.journal();
    assert!(matches!(&journal[0], JournalEvent::Intent { plan: p, .. } if **p == plan));
    assert!(matches!(journal[1], JournalEvent::Begin { step: 0, .. }));
    assert!(matches!(journal[2], JournalEvent::Done { step: 0, .. }));
    assert!(matches!(
        journal.last(),
        Some(JournalEvent::Commit {
            outcome: OutcomeKind::Verified
        })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_session_is_refused_below_everything() {
    let shop = Shop::new(Access::ReadOnly);
    let operation = Operation::Stop {
        services: shop.services(),
    };
    let plan = shop.plan(&operation).await;
    let error = shop.execute(&plan).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(shop.path("up").exists());
    assert_eq!(shop.phases()[0].0, AuditPhase::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_happens_without_the_right_yes() {
    let shop = Shop::new(Access::Full);
    let mut plan = shop.plan_of(vec![shell("rm -f up", None)]);
    plan.risk = Risk::Destructive;
    let plan = plan.seal();
    let (to, _from) = mpsc::channel(1);
    for (hash, typed) in [
        (plan.hash.as_str(), None),
        (plan.hash.as_str(), Some("boot")),
        ("another", Some("bot")),
    ] {
        let confirmation = Confirmation {
            plan_hash: hash.to_owned(),
            typed: typed.map(str::to_owned),
        };
        let refused = execute(&shop.ctx, &plan, &confirmation, to.clone()).await;
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Refused);
    }
    let mut changed = plan.clone();
    changed.steps[0].timeout_ms += 1;
    assert_eq!(
        shop.execute(&changed).await.unwrap_err().kind,
        ErrorKind::Refused
    );
    assert!(shop.phases().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_plan_is_refused_and_recorded() {
    let shop = Shop::new(Access::Full);
    let operation = Operation::Stop {
        services: shop.services(),
    };
    let plan = shop.plan(&operation).await;
    fs::write(shop.path("release"), "1.6\n").unwrap();
    let error = shop.execute(&plan).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("stale"), "{error}");
    assert!(error.message.contains("1.5 then, 1.6 now"), "{error}");
    assert!(shop.path("up").exists());
    assert_eq!(shop.phases()[0].0, AuditPhase::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_at_a_time() {
    let shop = Shop::new(Access::Full);
    let plan = shop.plan_of(vec![shell("true", None)]);
    let held = Leases::take(&shop.ctx, &plan).unwrap();
    let error = shop.execute(&plan).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("anna"), "{error}");
    drop(held);
    shop.execute(&plan).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_takes_back_what_was_done_the_newest_first() {
    let shop = Shop::new(Access::Full);
    let log = shop.path("log").display().to_string();
    let config = shop.path("config");
    fs::write(&config, "old").unwrap();
    let kept = shop.path("state/runs/kept/x");
    let undo = old_again(&config, kept);
    let plan = shop.plan_of(vec![
        shell(
            &format!("echo one >> {log}"),
            Some(&format!("echo -one >> {log}")),
        ),
        write_file(&config, &shop.path("saved/config"), "new", Some(undo)),
        shell(
            &format!(
                "cat {} >> {log}; echo >> {log}; echo why >&2; exit 3",
                config.display()
            ),
            Some(&format!(
                "cat {} >> {log}; echo ' again' >> {log}",
                config.display()
            )),
        ),
        shell(&format!("echo never >> {log}"), None),
    ]);
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedUnchanged, "{outcome:?}");
    // The failed step's own undo comes last and sees the old file.
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "one\nnew\n-one\nold again\n"
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), "old");
    assert!(outcome.manual.is_empty());
    let failed = outcome.steps.iter().find(|s| !s.ok).unwrap();
    assert_eq!(failed.detail.as_str(), "exit 3: why");
    assert!(matches!(
        shop.journal().last(),
        Some(JournalEvent::Abort { .. })
    ));
    assert_eq!(shop.phases()[1].1.as_deref(), Some("failed_unchanged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_back_is_partial_with_commands_to_type() {
    let shop = Shop::new(Access::Full);
    let release = shop.path("release").display().to_string();
    let plan = shop.plan_of(vec![
        shell(&format!("echo 1.6 > {release}"), Some("exit 9")),
        shell("exit 1", None),
        shell("echo more", None),
    ]);
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedPartial, "{outcome:?}");
    let manual: Vec<&str> = outcome.manual.iter().map(SafeText::as_str).collect();
    // Only the way back: what follows it here would contradict it.
    assert_eq!(manual, ["sh -c 'exit 9'"]);
    assert_eq!(outcome.release.path.unwrap().as_str(), "1.6");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_decides_not_the_exit_code() {
    let shop = Shop::new(Access::Full);
    let wrong = shop.plan_of(vec![
        shell("true", None),
        verify_quickly(&shop.id, Some("1.4")),
    ]);
    let outcome = shop.execute(&wrong).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::AppliedNotVerified);
    let detail = outcome.steps.last().unwrap().detail.to_string();
    assert!(detail.contains("it runs 1.5, not 1.4"), "{detail}");

    let shop = Shop::new(Access::Full);
    let right = shop.plan_of(vec![
        shell("true", None),
        verify_quickly(&shop.id, Some("1.5")),
    ]);
    let outcome = shop.execute(&right).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::Verified, "{outcome:?}");
    let detail = outcome.steps.last().unwrap().detail.to_string();
    assert!(detail.contains("no probe configured"), "{detail}");

    // Nothing proves a change that no verification follows.
    let shop = Shop::new(Access::Full);
    let blind = shop.plan_of(vec![shell("true", None)]);
    let outcome = shop.execute(&blind).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::AppliedNotVerified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_proof_before_the_last_step_leaves_the_rest_undone() {
    let shop = Shop::new(Access::Full);
    let plan = shop.plan_of(vec![
        shell("true", None),
        verify_quickly(&shop.id, Some("1.4")),
        shell("echo second", None),
        verify_quickly(&shop.id, Some("1.5")),
    ]);
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedPartial, "{outcome:?}");
    assert_eq!(outcome.steps.len(), 2);
    let manual: Vec<&str> = outcome.manual.iter().map(SafeText::as_str).collect();
    assert!(manual.contains(&"echo second"), "{manual:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_by_hand_begins_where_it_failed() {
    let shop = Shop::new(Access::Full);
    let release = shop.path("release").display().to_string();
    let plan = shop.plan_of(vec![
        shell("true", Some("echo first")),
        shell(&format!("echo 1.6 > {release}"), Some("exit 9")),
        shell("true", Some("echo newest")),
        shell("exit 1", Some("echo own")),
        shell("echo more", None),
    ]);
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedPartial, "{outcome:?}");
    let manual: Vec<&str> = outcome.manual.iter().map(SafeText::as_str).collect();
    let expected = ["sh -c 'exit 9'", "sh -c 'echo first'", "sh -c 'echo own'"];
    assert_eq!(manual, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_could_not_be_replaced_is_as_it_was() {
    let shop = Shop::new(Access::Full);
    let config = shop.path("config");
    fs::write(&config, "old").unwrap();
    // A source that does not agree stops the step after its work was begun.
    let undo = old_again(&config, shop.path("state/runs/kept/x"));
    let source = shop.path("saved/config");
    let step = write_file(&config, &source, "new", Some(undo));
    fs::write(&source, "tampered").unwrap();
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&config).unwrap());
    let before = inode();
    let outcome = shop.execute(&shop.plan_of(vec![step])).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedUnchanged, "{outcome:?}");
    assert_eq!(inode(), before, "it was written again for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_did_not_begin_is_not_taken_back() {
    let shop = Shop::new(Access::Full);
    let config = shop.path("config");
    fs::write(&config, "old").unwrap();
    // A folder is in the way of the copy that the way back would need.
    let kept = shop.path("state/runs/kept/x");
    fs::create_dir_all(kept.join("in the way")).unwrap();
    let undo = old_again(&config, kept);
    let step = write_file(&config, &shop.path("saved/config"), "new", Some(undo));
    let outcome = shop.execute(&shop.plan_of(vec![step])).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedUnchanged, "{outcome:?}");
    assert_eq!(outcome.steps.len(), 1, "{outcome:?}");
    assert_eq!(fs::read_to_string(&config).unwrap(), "old");
}

#[test]
fn what_was_done_before_an_interrupt_is_told() {
    // A signal reaches the whole process, so it is sent to a child that runs this very test.
    const CHILD: &str = "LASTGOOD_TEST_INTERRUPT";
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let shop = Shop::new(Access::Full);
            let done = shop.path("done").display().to_string();
            let plan = shop.plan_of(vec![
                shell(
                    &format!("touch {done}; kill -TERM $PPID; sleep 0.2"),
                    Some(&format!("rm {done}")),
                ),
                shell("echo second", None),
                verify_quickly(&shop.id, None),
            ]);
            let outcome = shop.execute(&plan).await.unwrap();
            assert_eq!(outcome.steps.len(), 1, "{outcome:?}");
            assert!(shop.path("done").exists());
            assert_eq!(outcome.outcome, OutcomeKind::FailedPartial, "{outcome:?}");
            let manual: Vec<&str> = outcome.manual.iter().map(SafeText::as_str).collect();
            assert!(manual[0].starts_with("lastgood resume "), "{manual:?}");
            assert_eq!(manual[1..], ["echo second", "true"]);
            // It can be gone on with: nothing says yet how it ended.
            let left = crate::ops::resume::unfinished(&shop.ctx).unwrap().runs;
            assert_eq!(left.len(), 1);
            assert!(manual[0].ends_with(&left[0].run));
            assert_eq!(shop.phases().len(), 1);
        });
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "ops::operation::tests::what_was_done_before_an_interrupt_is_told",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_may_fail_does_not_stop_the_plan() {
    let shop = Shop::new(Access::Full);
    let mut first = shell("exit 1", None);
    first.may_fail = true;
    // After the proof as well: what was proved stays so, and the rest is told with the command to type.
    let last = first.clone();
    let plan = shop.plan_of(vec![first, verify_quickly(&shop.id, None), last]);
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::Verified);
    assert!(!outcome.steps[0].ok && !outcome.steps[2].ok);
    assert_eq!(outcome.manual.len(), 2, "{outcome:?}");
    fs::remove_file(shop.path("up")).unwrap();
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::AppliedNotVerified);
    assert_eq!(outcome.steps.len(), 2, "nothing comes after a failed proof");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_two_steps_back_is_done_once_and_last() {
    let shop = Shop::new(Access::Full);
    let log = shop.path("log").display().to_string();
    let both = format!("echo both >> {log}");
    let plan = shop.plan_of(vec![
        shell("true", Some(&format!("echo first >> {log}"))),
        shell("true", Some(&both)),
        shell("exit 1", Some(&both)),
    ]);
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedUnchanged, "{outcome:?}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "first\nboth\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_command_is_ended_and_counts_as_failed() {
    let shop = Shop::new(Access::Full);
    let mut slow = shell("sleep 600", None);
    slow.timeout_ms = 200;
    let outcome = shop.execute(&shop.plan_of(vec![slow])).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedUnchanged, "{outcome:?}");
    let detail = outcome.steps[0].detail.to_string();
    assert!(detail.contains("did not end within"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_before_its_step_is_not_overwritten() {
    let shop = Shop::new(Access::Full);
    let config = shop.path("config");
    fs::write(&config, "old").unwrap();
    let mut put_back = write_file(&config, &shop.path("saved/config"), "new", None);
    put_back.fingerprints = vec![Fingerprint {
        subject: FingerprintSubject::File {
            host: HostName::local(),
            path: config.clone(),
        },
        value: sha256("old"),
    }];
    let edit = shell(&format!("echo edited > {}", config.display()), Some("true"));
    let plan = shop.plan_of(vec![edit, put_back]);
    let outcome = shop.execute(&plan).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedPartial, "{outcome:?}");
    assert_eq!(fs::read_to_string(&config).unwrap(), "edited\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_changed_is_not_written() {
    let shop = Shop::new(Access::Full);
    let config = shop.path("config");
    let source = shop.path("saved/config");
    let step = write_file(&config, &source, "new", None);
    fs::write(&source, "tampered").unwrap();
    let outcome = shop.execute(&shop.plan_of(vec![step])).await.unwrap();
    assert_eq!(outcome.outcome, OutcomeKind::FailedUnchanged);
    assert!(!config.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_a_runbook_is_judged_by_its_exit_code() {
    let shop = Shop::new(Access::Full);
    for (command, expected) in [
        ("true", OutcomeKind::Verified),
        // Nothing that can be looked at says what a failed command did.
        ("exit 2", OutcomeKind::FailedPartial),
    ] {
        let operation = Operation::RunCommand {
            title: SafeText::from_text("clean up"),
            command: command.to_owned(),
            host: HostName::local(),
        };
        let plan = shop.plan(&operation).await;
        let outcome = shop.execute(&plan).await.unwrap();
        assert_eq!(outcome.outcome, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_service_has_no_plan() {
    let shop = Shop::new(Access::Full);
    let services = vec![ServiceId::local("exec", "lastgood-no-such")];
    let operation = Operation::Start { services };
    assert!(plan(&shop.ctx, &operation).await.is_err());
    assert_eq!(ContainerAction::Restart.as_str(), "restart");
}
