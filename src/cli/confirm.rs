//! From a wish to an outcome: the plan is printed, confirmed, carried out, and its outcome printed.
//!
//! Without `--yes` a person at a terminal is asked: Enter for a disruptive plan, the service's name for a
//! destructive one. Where nobody can be asked, nothing is done.

use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Global;
use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop, talk};
use crate::analysis::format::clock_span;
use crate::domain::operation::{Operation, Plan, Risk, StepWork};
use crate::domain::outcome::{Outcome, OutcomeKind, Progress};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::settings::Probe;
use crate::ops::{self, Confirmation, Context, ErrorKind, OpsError};

/// Plans the operation and, unless `--dry-run`, carries it out once it is confirmed.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    ctx: &Arc<Context>,
    operation: &Operation,
    global: &Global,
    out: &mut Output,
) -> Ended {
    let plan = ops::plan(ctx, operation).await?;
    carry_out(ctx, &plan, global, out).await
}

/// Prints a plan, or carries it out once it is confirmed.
///
/// # Errors
/// See [`super::output::Stop`].
pub(super) async fn carry_out(
    ctx: &Arc<Context>,
    plan: &Plan,
    global: &Global,
    out: &mut Output,
) -> Ended {
    if global.dry_run {
        if out.is_json() {
            out.json("plan", &PlanView::of(plan))?;
        } else {
            for line in card(plan) {
                out.line(line)?;
            }
        }
        return Ok(Exit::Done);
    }
    let confirmation = confirm(plan, global)?;
    let (outcome, interrupted) = execute(ctx, plan, &confirmation, out).await?;
    if out.is_json() {
        out.json("outcome", &outcome)?;
    } else {
        print_outcome(&outcome, out)?;
    }
    Ok(interrupted.unwrap_or(Exit::from(outcome.outcome)))
}

/// Carries it out and tells what happens. The second value says how the program ends if a signal asked for its end meanwhile.
pub(super) async fn execute(
    ctx: &Arc<Context>,
    plan: &Plan,
    confirmation: &Confirmation,
    out: &Output,
) -> Result<(Outcome, Option<Exit>), Stop> {
    let (to, mut from) = mpsc::channel(64);
    let is_quiet = out.is_json() && out.verbose == 0;
    let (started, budget_ms) = (Instant::now(), plan.budget_ms);
    let telling = tokio::spawn(async move {
        while let Some(progress) = from.recv().await {
            if !is_quiet {
                let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let clock = format!("{} of {}", clock_span(ms), clock_span(budget_ms));
                tell(&progress, &clock);
            }
        }
    });
    let mut signals: Vec<_> = [
        (SignalKind::hangup(), Exit::Hangup),
        (SignalKind::interrupt(), Exit::Interrupted),
        (SignalKind::terminate(), Exit::Terminated),
    ]
    .into_iter()
    .filter_map(|(kind, exit)| Some((signal(kind).ok()?, exit)))
    .collect();
    let executed = ops::execute(ctx, plan, confirmation, to).await;
    let mut interrupted = None;
    for (signal, exit) in &mut signals {
        let came = futures_util::future::poll_immediate(signal.recv()).await;
        if matches!(came, Some(Some(()))) {
            interrupted = Some(*exit);
        }
    }
    // The last lines of progress stand before the outcome.
    let _ = telling.await;
    Ok((executed?, interrupted))
}

fn tell(progress: &Progress, clock: &str) {
    match progress {
        Progress::StepStarted { index, text } => {
            talk(format_args!("{:>3}  {text}  ({clock})", index + 1));
        }
        Progress::StepEnded { result, .. } => {
            let mark = if result.ok { "✔" } else { "✖" };
            talk(format_args!(
                "     {mark} {:.1} s  {}",
                result.ms as f64 / 1000.0,
                result.detail
            ));
        }
        Progress::Note(text) => talk(format_args!("     {text}")),
        Progress::Counted { .. } => {}
    }
}

/// The yes of `--yes` and `--confirm`, or of the person at the terminal.
pub(super) fn confirm(plan: &Plan, global: &Global) -> Result<Confirmation, OpsError> {
    let confirmation = |typed| Confirmation {
        plan_hash: plan.hash.clone(),
        typed,
    };
    // What changes nothing needs no yes.
    if global.yes || plan.risk == Risk::ReadOnly {
        return Ok(confirmation(global.confirm.clone()));
    }
    let not_confirmed = || {
        let name = plan.confirmation();
        let needed = name.map_or_else(String::new, |id| format!(" --confirm {}", id.name));
        OpsError::new(ErrorKind::Refused, "not confirmed: nothing was done").fix(format!(
            "--dry-run to see the plan, --yes{needed} to accept it"
        ))
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(not_confirmed());
    }
    for line in card(plan) {
        talk(line);
    }
    match plan.confirmation() {
        Some(id) => talk(format_args!(
            "Type  {}  to do it, or just Enter to leave it:",
            id.name
        )),
        None => talk("Enter to do it, anything else to leave it:"),
    }
    let mut typed = String::new();
    let read = io::stdin().lock().read_line(&mut typed);
    let typed = typed.trim();
    match plan.confirmation() {
        // The end of input is not a yes.
        _ if !matches!(read, Ok(1..)) => Err(not_confirmed()),
        Some(id) if typed == id.name || typed == id.to_string() => {
            Ok(confirmation(Some(typed.to_owned())))
        }
        None if typed.is_empty() => Ok(confirmation(None)),
        _ => Err(not_confirmed()),
    }
}

/// The plan as people read it: the same text as on the console's card.
pub(super) fn card(plan: &Plan) -> Vec<String> {
    let names: Vec<String> = plan.services.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!(
        "{} {} on {}",
        plan.operation.verb(),
        names.join(" "),
        plan.host
    )];
    let mut add = |name: &str, text: &SafeText| lines.push(format!("  {name:<5} {text}"));
    if let Some(from) = &plan.from {
        add("from", from);
    }
    if let Some(to) = &plan.to {
        add("to", to);
    }
    for note in &plan.notes {
        add("note", note);
    }
    for (number, step) in plan.steps.iter().enumerate() {
        lines.push(format!("  {:>3}  {}", number + 1, step.text));
    }
    if !plan.not_rolled_back.is_empty() {
        let parts: Vec<&str> = plan.not_rolled_back.iter().map(SafeText::as_str).collect();
        lines.push(format!("  Not rolled back: {}.", parts.join(", ")));
    }
    if let Some(text) = &plan.on_failure {
        lines.push(format!("  If a step fails: {text}."));
    }
    let down = plan.downtime_ms.map_or_else(
        || "not known".to_owned(),
        |ms| format!("about {} s", ms / 1000),
    );
    lines.push(format!(
        "  Downtime {down}. Budget {} s. Risk {}. Plan {}",
        plan.budget_ms / 1000,
        plan.risk.as_str(),
        plan.hash.get(..12).unwrap_or(&plan.hash)
    ));
    lines
}

pub(super) fn print_outcome(outcome: &Outcome, out: &mut Output) -> Result<(), Stop> {
    let paint = match outcome.outcome {
        OutcomeKind::Verified => Paint::Good,
        OutcomeKind::AppliedNotVerified => Paint::Warning,
        _ => Paint::Bad,
    };
    let words = out.paint(paint, outcome.outcome.words());
    // The last words of a step are the evidence only where everything was proved.
    let last = outcome
        .steps
        .last()
        .filter(|_| outcome.outcome == OutcomeKind::Verified)
        .map(|step| &step.detail);
    out.line(format_args!(
        "{words} in {:.1} s  {}",
        outcome.duration_ms as f64 / 1000.0,
        last.cloned().unwrap_or_default()
    ))?;
    if let (true, Some(budget_ms)) = (outcome.is_over_budget(), outcome.budget_ms) {
        let text = format!("  over its budget of {}", clock_span(budget_ms));
        out.line(out.paint(Paint::Warning, &text))?;
    }
    for step in outcome.steps.iter().filter(|step| !step.ok) {
        out.line(format_args!("  ✖ {}: {}", step.text, step.detail))?;
    }
    if !outcome.manual.is_empty() {
        out.line("  by hand:")?;
        for command in &outcome.manual {
            out.line(format_args!("    {command}"))?;
        }
    }
    Ok(())
}

/// A plan as scripts read it.
#[derive(Serialize)]
pub(super) struct PlanView<'a> {
    operation: &'static str,
    host: &'a str,
    risk: &'static str,
    services: &'a [ServiceId],
    from: Option<&'a SafeText>,
    to: Option<&'a SafeText>,
    notes: &'a [SafeText],
    pub(super) steps: Vec<Value>,
    not_rolled_back: &'a [SafeText],
    on_failure: Option<&'a SafeText>,
    downtime_ms: Option<u64>,
    budget_ms: u64,
    pub(super) fingerprints: Vec<Value>,
    hash: &'a str,
}

impl<'a> PlanView<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        let steps = plan.steps.iter().map(|step| {
            json!({
                "text": step.text,
                "command": step.command(),
                "api": api(&step.work),
                "undo": step.undo.as_ref().map(undo),
            })
        });
        let fingerprints = plan.fingerprints().into_iter().map(|f| json!(f));
        Self {
            operation: plan.operation.verb(),
            host: plan.host.as_str(),
            risk: plan.risk.as_str(),
            services: &plan.services,
            from: plan.from.as_ref(),
            to: plan.to.as_ref(),
            notes: &plan.notes,
            steps: steps.collect(),
            not_rolled_back: &plan.not_rolled_back,
            on_failure: plan.on_failure.as_ref(),
            downtime_ms: plan.downtime_ms,
            budget_ms: plan.budget_ms,
            fingerprints: fingerprints.collect(),
            hash: &plan.hash,
        }
    }
}

/// What a step does without a command: the call of the engine, or the work of lastgood itself.
fn api(work: &StepWork) -> Option<Value> {
    match work {
        StepWork::Command { .. } => None,
        StepWork::TagImage { image, reference } => Some(json!({
            "call": format!("POST /images/{image}/tag"),
            "reference": reference,
        })),
        StepWork::LoadImage { source, image } => Some(json!({
            "call": "POST /images/load",
            "source": source,
            "image": image,
        })),
        StepWork::Container {
            container,
            action,
            grace_s,
        } => Some(json!({
            "call": format!("POST /containers/{container}/{}", action.as_str()),
            "grace_s": grace_s,
        })),
        StepWork::UpdateService { name, change } => Some(json!({
            "call": format!("POST /services/{name}/update"),
            "change": change,
        })),
        StepWork::Ask {
            probe,
            times,
            timeout_ms,
        } => Some(json!({
            "ask": probe.name(),
            "times": times,
            "timeout_ms": timeout_ms,
        })),
        StepWork::Judge {
            probes,
            services,
            hold_ms,
        } => Some(json!({
            "ask": probes.iter().map(Probe::name).collect::<Vec<_>>(),
            "compare": services,
            "hold_ms": hold_ms,
        })),
        other => Some(json!(other)),
    }
}

fn undo(work: &StepWork) -> Value {
    match work {
        StepWork::Command { argv, .. } => json!({ "command": argv }),
        other => json!({ "api": api(other) }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn plan(risk: Risk) -> Plan {
        let mut plan = Plan {
            risk,
            from: Some(SafeText::from_text("shop:1.5")),
            notes: vec![SafeText::from_text("as it is")],
            not_rolled_back: vec![SafeText::from_text("volumes")],
            downtime_ms: Some(10_000),
            ..crate::domain::operation::tests::plan()
        };
        plan.steps[0].text = SafeText::from_text("docker restart shop-backend-1");
        plan.seal()
    }

    fn global(arguments: &[&str]) -> Global {
        use clap::Parser;
        let all = ["lastgood"]
            .iter()
            .chain(arguments)
            .chain(&["audit", "list"]);
        crate::cli::Cli::try_parse_from(all).unwrap().global
    }

    #[test]
    fn a_card_says_every_step_and_what_is_not_rolled_back() {
        let card = card(&plan(Risk::Destructive)).join("\n");
        for part in [
            "restart shop/backend on local",
            "from  shop:1.5",
            "1  docker restart shop-backend-1",
            "Not rolled back: volumes.",
            "about 10 s",
            "Risk destructive",
        ] {
            assert!(card.contains(part), "{part}: {card}");
        }
    }

    #[test]
    fn a_plan_in_json_has_the_fields_that_scripts_read() {
        let plan = plan(Risk::Disruptive);
        let json = serde_json::to_value(PlanView::of(&plan)).unwrap();
        assert_eq!(json["operation"], "restart");
        assert_eq!(json["risk"], "disruptive");
        assert_eq!(json["services"][0], "shop/backend");
        assert_eq!(json["steps"][0]["command"], Value::Null);
        assert_eq!(
            json["steps"][0]["api"]["call"],
            "POST /containers/abc/restart"
        );
        assert_eq!(json["hash"], plan.hash.as_str());
    }

    #[test]
    fn yes_carries_the_hash_and_the_name() {
        let plan = plan(Risk::Destructive);
        let yes = confirm(&plan, &global(&["--yes", "--confirm", "backend"])).unwrap();
        assert_eq!(yes.plan_hash, plan.hash);
        assert_eq!(yes.typed.as_deref(), Some("backend"));
    }

    #[test]
    fn nobody_to_ask_is_a_refusal() {
        // The tests' standard input is no terminal, or is one without anybody: both are not a yes.
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            return;
        }
        let error = confirm(&plan(Risk::Destructive), &global(&[])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains("not confirmed"));
        assert!(error.fix.unwrap().contains("--confirm backend"));
    }
}
