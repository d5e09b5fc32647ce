//! The story, chapter by chapter.

use std::fmt::Display;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::output::{Output, Paint, Stop};
use crate::demo::{BAD, GOOD, Member, Shop};
use crate::domain::change::ChangeKind;
use crate::domain::checkpoint::Manifest;
use crate::domain::comparison::{Comparison, PatternChange};
use crate::domain::health::HealthState;
use crate::domain::operation::{Operation, Plan, RollBackTarget};
use crate::domain::outcome::{Outcome, OutcomeKind, Progress};
use crate::domain::service::{Inventory, ServiceId, ServiceState};
use crate::domain::verdict::{Confidence, Decision, Severity};
use crate::ops::checkpoint::CreateCheckpoint;
use crate::ops::input::Input;
use crate::ops::{self, Confirmation, Context, OpsError};

/// Traffic that the checkpoint shall hold.
const BEFORE: Duration = Duration::from_secs(8);
/// Traffic between a change and the first look at it.
const AFTER: Duration = Duration::from_secs(4);
/// Between two looks while there is too little data for a verdict.
const PAUSE: Duration = Duration::from_millis(1500);
/// A verdict that is not there by then does not come.
const PATIENCE: Duration = Duration::from_secs(12);

/// Why the story broke off.
#[derive(Debug)]
pub(super) enum Broken {
    /// Something was not as the story wants it.
    Differs(String),
    /// A use case failed, or nobody reads the output.
    Stop(Stop),
}

impl<E: Into<Stop>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

/// What was told, for `--format json`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Told {
    ok: bool,
    chapters: Vec<Chapter>,
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Chapter {
    at_ms: u64,
    text: String,
    details: Vec<String>,
}

impl Told {
    pub(super) fn finish(mut self, problem: Option<&str>) -> Self {
        self.ok = problem.is_none();
        self.problem = problem.map(ToOwned::to_owned);
        self
    }
}

/// The story while it is played.
pub(super) struct Story<'a> {
    shop: &'a Shop,
    ctx: &'a Context,
    out: &'a mut Output,
    begun: Instant,
    told: Told,
}

impl<'a> Story<'a> {
    pub(super) fn new(shop: &'a Shop, ctx: &'a Context, out: &'a mut Output) -> Self {
        Self {
            shop,
            ctx,
            out,
            begun: Instant::now(),
            told: Told::default(),
        }
    }

    pub(super) fn into_told(self) -> Told {
        self.told
    }

    pub(super) async fn play(&mut self) -> Result<(), Broken> {
        self.see_services().await?;
        let checkpoint = self.make_checkpoint().await?;
        self.deploy().await?;
        self.see_verdict(&checkpoint).await?;
        let done_at = self.roll_back(&checkpoint).await?;
        self.see_recovery(&checkpoint, done_at).await?;
        self.verify_audit()
    }

    async fn see_services(&mut self) -> Result<(), Broken> {
        let inventory = ops::services::discover(self.ctx).await;
        let mut names = Vec::new();
        for member in Member::SERVICES {
            let service = inventory
                .find(&id(member))
                .ok_or_else(|| differs(format_args!("{} was not found", id(member))))?;
            if service.state != ServiceState::Running {
                return Err(differs(format_args!(
                    "{} is {}",
                    service.id,
                    service.state.as_str()
                )));
            }
            names.push(format!("{} {}", member.as_str(), service.release));
        }
        self.tell(format_args!(
            "the shop runs: {}; customers ask {} for orders",
            names.join(", "),
            self.shop.address(Member::Gateway)
        ))?;
        self.expect_health(&inventory).await?;
        self.add(format_args!(
            "letting {} s of traffic through",
            BEFORE.as_secs()
        ))?;
        tokio::time::sleep(BEFORE).await;
        Ok(())
    }

    async fn make_checkpoint(&mut self) -> Result<Manifest, Broken> {
        let what = CreateCheckpoint {
            services: Member::SERVICES.map(|m| id(m).to_string()).to_vec(),
            label: Some(format!("pre-{BAD}")),
            since: None,
        };
        let (progress, told) = mpsc::channel(64);
        let made = ops::checkpoint::create(self.ctx, &what, progress, CancellationToken::new());
        let ((manifest, path), ()) = both(made, ignore(told)).await?;
        let lines: u64 = manifest
            .services
            .iter()
            .filter_map(|s| s.log.as_ref())
            .map(|log| log.lines)
            .sum();
        self.tell(format_args!(
            "checkpoint {}: {lines} log lines, releases, settings and health of {} services",
            manifest.id,
            manifest.services.len()
        ))?;
        self.add(path.display())?;
        if !manifest.complete {
            let problems: Vec<&str> = manifest.problems.iter().map(|p| p.as_str()).collect();
            return Err(differs(format_args!(
                "the checkpoint is not complete: {}",
                problems.join("; ")
            )));
        }
        Ok(manifest)
    }

    async fn deploy(&mut self) -> Result<(), Broken> {
        self.shop.command(&["deploy", BAD]).await.map_err(failed)?;
        self.tell(format_args!("deployed api {BAD} over {GOOD}"))?;
        self.add(self.shop.deploy_command(BAD))?;
        tokio::time::sleep(AFTER).await;
        Ok(())
    }

    async fn see_verdict(&mut self, checkpoint: &Manifest) -> Result<(), Broken> {
        let before = Input::Checkpoint {
            id: checkpoint.id.clone(),
            service: None,
        };
        let wanted = |c: &Comparison| {
            c.verdict.decision == Decision::RollBack && c.verdict.severity == Some(Severity::P0)
        };
        let found = self.compare(&before, &Input::Now, None, wanted).await?;
        self.tell_verdict("compare", &found)?;
        for change in &found.changes {
            let side = |side: &Option<_>| {
                side.as_ref()
                    .map_or_else(|| "nothing".to_owned(), ToString::to_string)
            };
            let what = match change.what {
                // What an exec service runs has no image, only a name.
                ChangeKind::Image => "release",
                what => what.as_str(),
            };
            self.add(format_args!(
                "changed: {} {what}: {} -> {}",
                change.service,
                side(&change.before),
                side(&change.after)
            ))?;
        }
        for pattern in &found.patterns {
            let is_bad = pattern
                .level
                .is_some_and(|l| l >= crate::domain::log::Level::Error);
            if pattern.change == PatternChange::New && is_bad {
                self.add(format_args!(
                    "new: {} ({} times)",
                    pattern.template, pattern.after
                ))?;
            }
        }
        for finding in found.verdict.findings.iter().take(6) {
            let severity = finding.severity.map_or("  ", Severity::as_str);
            self.add(format_args!(
                "{severity} {}: {}",
                finding.service, finding.text
            ))?;
        }
        if wanted(&found) {
            return Ok(());
        }
        Err(differs(
            "the bad release should get the verdict ROLL BACK, P0",
        ))
    }

    async fn roll_back(&mut self, checkpoint: &Manifest) -> Result<Timestamp, Broken> {
        let operation = Operation::RollBack {
            service: id(Member::Api),
            to: RollBackTarget::LastGood,
            configs_only: false,
            save_logs: true,
            downgrade: false,
        };
        let plan = ops::plan(self.ctx, &operation).await?;
        self.tell(format_args!(
            "roll back exec/api to checkpoint {}: {} steps, plan {}",
            checkpoint.id,
            plan.steps.len(),
            crate::domain::service::short_id(&plan.hash)
        ))?;
        let outcome = self.execute(&plan).await?;
        let seconds = outcome.duration_ms as f64 / 1000.0;
        self.add(format_args!(
            "{} in {seconds:.1} s: api {} runs",
            outcome.outcome.words(),
            outcome.release
        ))?;
        if outcome.outcome == OutcomeKind::Verified && outcome.release.identity() == Some(GOOD) {
            return Ok(Timestamp::now());
        }
        Err(differs(format_args!(
            "the rollback ended {} with release {}, not VERIFIED with {GOOD}",
            outcome.outcome.words(),
            outcome.release
        )))
    }

    async fn execute(&mut self, plan: &Plan) -> Result<Outcome, Broken> {
        // The engineer's yes: the hash of the plan that was shown, and the name typed once more.
        let confirmation = Confirmation {
            plan_hash: plan.hash.clone(),
            typed: plan.confirmation().map(|service| service.name.clone()),
        };
        let (progress, mut told) = mpsc::channel(64);
        let done = ops::execute(self.ctx, plan, &confirmation, progress);
        let show = async {
            while let Some(progress) = told.recv().await {
                if let Progress::StepEnded { index, result } = progress {
                    let mark = if result.ok { "✔" } else { "✖" };
                    self.add(format_args!(
                        "{mark} {}. {} ({} ms) {}",
                        index + 1,
                        result.text,
                        result.ms,
                        result.detail
                    ))?;
                }
            }
            Ok::<_, Broken>(())
        };
        let (outcome, shown) = tokio::join!(done, show);
        shown?;
        Ok(outcome?)
    }

    async fn see_recovery(
        &mut self,
        checkpoint: &Manifest,
        since: Timestamp,
    ) -> Result<(), Broken> {
        tokio::time::sleep(AFTER).await;
        let api = id(Member::Api);
        let before = Input::Checkpoint {
            id: checkpoint.id.clone(),
            service: Some(api.to_string()),
        };
        let after = Input::Service {
            name: api.to_string(),
            since: Some(since.to_string()),
            until: None,
        };
        let is_decided = |c: &Comparison| c.verdict.decision == Decision::Keep;
        let found = self
            .compare(&before, &after, Some(&api.to_string()), is_decided)
            .await?;
        self.tell_verdict("compare again, since the rollback", &found)?;
        if !matches!(found.verdict.decision, Decision::Keep | Decision::Watch) {
            for finding in &found.verdict.findings {
                self.add(&finding.text)?;
            }
            return Err(differs(format_args!(
                "after the rollback the verdict is {}",
                found.verdict.decision.words()
            )));
        }
        if found.after.error_rate.is_none_or(|rate| rate > 0.01) {
            return Err(differs("the error rate did not come back under 1 %"));
        }
        let inventory = ops::services::discover(self.ctx).await;
        self.expect_health(&inventory).await
    }

    fn verify_audit(&mut self) -> Result<(), Broken> {
        let head = ops::audit::verify(self.ctx, None)?;
        self.tell(format_args!(
            "audit log: {} records, the chain of hashes is whole, head {}",
            head.records,
            crate::domain::service::short_id(&head.hash)
        ))?;
        if head.records < 2 {
            return Err(differs(
                "the rollback's intent and outcome are not in the audit log",
            ));
        }
        Ok(())
    }

    /// Compares until the answer is the wanted one or the time is over; too few requests are no answer yet.
    async fn compare(
        &mut self,
        before: &Input,
        after: &Input,
        service: Option<&str>,
        wanted: impl Fn(&Comparison) -> bool,
    ) -> Result<Comparison, Broken> {
        let begun = Instant::now();
        loop {
            let (progress, told) = mpsc::channel(64);
            let cancel = CancellationToken::new();
            let compared =
                ops::compare::compare(self.ctx, before, after, service, false, progress, cancel);
            let (found, ()) = both(compared, ignore(told)).await?;
            if wanted(&found) || begun.elapsed() > PATIENCE {
                return Ok(found);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn expect_health(&mut self, inventory: &Inventory) -> Result<(), Broken> {
        let services: Vec<_> = Member::SERVICES
            .into_iter()
            .filter_map(|member| inventory.find(&id(member)).cloned())
            .collect();
        let report = ops::health::check(self.ctx, &services).await;
        self.add(format_args!(
            "{}: {} of {} services",
            report.state.as_str(),
            report
                .services
                .iter()
                .filter(|s| s.state == HealthState::Healthy)
                .count(),
            services.len()
        ))?;
        if report.state == HealthState::Healthy {
            return Ok(());
        }
        for check in report.services.iter().flat_map(|s| &s.checks) {
            if !check.ok {
                self.add(format_args!("{}: {}", check.name, check.detail))?;
            }
        }
        Err(differs("a healthy shop should be healthy"))
    }

    fn tell_verdict(&mut self, what: &str, found: &Comparison) -> Result<(), Broken> {
        let verdict = &found.verdict;
        let severity = verdict
            .severity
            .map_or(String::new(), |s| format!(", {}", s.as_str()));
        let confidence = match verdict.confidence {
            Confidence::High => "high",
            Confidence::Low => "low",
        };
        self.tell(format_args!(
            "{what}: {}{severity}, confidence {confidence}",
            verdict.decision.words()
        ))?;
        let percent =
            |rate: Option<f64>| rate.map_or("?".to_owned(), |r| format!("{:.1} %", r * 100.0));
        let ms = |ms: Option<f64>| ms.map_or("?".to_owned(), |ms| format!("{ms:.0} ms"));
        self.add(format_args!(
            "requests {} -> {}, error rate {} -> {}, p95 {} -> {}",
            found.before.requests,
            found.after.requests,
            percent(found.before.error_rate),
            percent(found.after.error_rate),
            ms(found.before.latency_ms.p95),
            ms(found.after.latency_ms.p95)
        ))
    }

    /// Begins a chapter.
    fn tell(&mut self, text: impl Display) -> Result<(), Broken> {
        let at = self.begun.elapsed();
        let text = text.to_string();
        let number = self.told.chapters.len() + 1;
        if !self.out.is_json() {
            let head = self.out.paint(Paint::Bold, &format!("{number}  {text}"));
            self.out
                .line(format_args!("{:>6.1} s  {head}", at.as_secs_f64()))?;
            self.out.flush()?;
        }
        self.told.chapters.push(Chapter {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            text,
            details: Vec::new(),
        });
        Ok(())
    }

    /// Adds a line to the chapter.
    fn add(&mut self, text: impl Display) -> Result<(), Broken> {
        let text = text.to_string();
        if !self.out.is_json() {
            self.out.line(format_args!("             {text}"))?;
            self.out.flush()?;
        }
        if let Some(chapter) = self.told.chapters.last_mut() {
            chapter.details.push(text);
        }
        Ok(())
    }
}

fn id(member: Member) -> ServiceId {
    ServiceId::local("exec", member.as_str())
}

fn differs(why: impl Display) -> Broken {
    Broken::Differs(why.to_string())
}

fn failed(error: impl std::error::Error + 'static) -> Broken {
    Broken::Differs(crate::domain::safe_text::SafeText::from_error(&error).to_string())
}

/// Takes progress away, so that the teller never waits.
async fn ignore(mut told: mpsc::Receiver<Progress>) {
    while told.recv().await.is_some() {}
}

async fn both<T>(
    work: impl Future<Output = Result<T, OpsError>>,
    beside: impl Future<Output = ()>,
) -> Result<(T, ()), OpsError> {
    let (done, ()) = tokio::join!(work, beside);
    done.map(|value| (value, ()))
}
