//! A wish for several machines, from its plans to what became of them: shown and confirmed together, carried out one after
//! the other.

use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Global;
use super::confirm::{PlanView, card, execute, print_outcome};
use super::exit::Exit;
use super::output::{Ended, Output, Paint, talk};
use crate::domain::operation::{Operation, Risk};
use crate::domain::outcome::OutcomeKind;
use crate::domain::service::ServiceId;
use crate::ops::several::{Order, PartEnd};
use crate::ops::{Confirmation, Context, ErrorKind, OpsError};

/// Plans all of them and, unless `--dry-run`, carries them out once they are confirmed.
///
/// # Errors
/// See [`super::output::Stop`].
pub(super) async fn run(
    ctx: &Arc<Context>,
    operations: &[Operation],
    global: &Global,
    out: &mut Output,
) -> Ended {
    let order = Order::plan(ctx, operations).await?;
    if global.dry_run {
        if out.is_json() {
            out.json("plan", &view(&order))?;
        } else {
            for line in cards(&order) {
                out.line(line)?;
            }
        }
        return Ok(Exit::Done);
    }
    let confirmations = confirm(&order, global)?;
    let (mut ends, mut interrupted) = (Vec::new(), None);
    for (number, (plan, confirmation)) in order.plans.iter().zip(&confirmations).enumerate() {
        talk(format_args!(
            "{} of {}: {} on {}",
            number + 1,
            order.plans.len(),
            plan.operation.verb(),
            plan.host
        ));
        match execute(ctx, plan, confirmation, out).await {
            Ok((outcome, signal)) => {
                let is_good = outcome.outcome == OutcomeKind::Verified;
                ends.push(PartEnd::Ended(outcome));
                interrupted = signal;
                if !is_good || signal.is_some() {
                    break;
                }
            }
            // Nothing was done yet: as where one plan is refused.
            Err(stop) if ends.is_empty() => return Err(stop),
            Err(super::output::Stop::Ops(error)) => {
                ends.push(PartEnd::Refused(error));
                break;
            }
            Err(stop) => return Err(stop),
        }
    }
    let Some(whole) = order.conclude(&ends) else {
        return Ok(Exit::Done);
    };
    if out.is_json() {
        out.json("outcome", &whole)?;
    } else {
        print_outcome(&whole.outcome, out)?;
        for id in &whole.not_begun {
            out.line(out.paint(Paint::Warning, &format!("  not begun: {id}")))?;
        }
    }
    Ok(interrupted.unwrap_or(Exit::from(whole.outcome.outcome)))
}

fn cards(order: &Order) -> Vec<String> {
    let mut lines = vec![format!(
        "{} plans, one after the other; the first that does not prove itself ends it",
        order.plans.len()
    )];
    for plan in &order.plans {
        lines.extend(card(plan));
    }
    lines
}

/// The yes to all of them: `--yes`, with the name of every service that a plan asks for, or that of the person at the
/// terminal.
fn confirm(order: &Order, global: &Global) -> Result<Vec<Confirmation>, OpsError> {
    let names = order.names_to_type().join(",");
    let not_confirmed = || {
        let needed = match names.is_empty() {
            true => String::new(),
            false => format!(" --confirm {names}"),
        };
        OpsError::new(ErrorKind::Refused, "not confirmed: nothing was done").fix(format!(
            "--dry-run to see the plans, --yes{needed} to accept them"
        ))
    };
    let typed = if global.yes || order.risk() == Risk::ReadOnly {
        global.confirm.clone().unwrap_or_default()
    } else if io::stdin().is_terminal() && io::stderr().is_terminal() {
        for line in cards(order) {
            talk(line);
        }
        match names.is_empty() {
            true => talk("Enter to do all of it, anything else to leave it:"),
            false => talk(format_args!(
                "Type  {names}  to do all of it, or just Enter to leave it:"
            )),
        }
        let mut typed = String::new();
        let read = io::stdin().lock().read_line(&mut typed);
        let typed = typed.trim().to_owned();
        if !matches!(read, Ok(1..)) || (names.is_empty() && !typed.is_empty()) {
            return Err(not_confirmed());
        }
        typed
    } else {
        return Err(not_confirmed());
    };
    order.confirmations(&typed).ok_or_else(not_confirmed)
}

/// Several plans as scripts read them: the fields of one plan over all, and each plan by itself.
#[derive(Serialize)]
struct OrderView<'a> {
    operation: &'static str,
    risk: &'static str,
    services: Vec<ServiceId>,
    steps: Vec<Value>,
    not_rolled_back: Vec<&'a str>,
    downtime_ms: Option<u64>,
    budget_ms: u64,
    fingerprints: Vec<Value>,
    hash: String,
    parts: Vec<PlanView<'a>>,
}

fn view(order: &Order) -> OrderView<'_> {
    let parts: Vec<PlanView<'_>> = order.plans.iter().map(PlanView::of).collect();
    let steps = order.plans.iter().zip(&parts).flat_map(|(plan, view)| {
        view.steps.iter().cloned().map(|mut step| {
            step["host"] = plan.host.as_str().into();
            step
        })
    });
    let mut not_rolled_back: Vec<&str> = Vec::new();
    for text in order.plans.iter().flat_map(|plan| &plan.not_rolled_back) {
        if !not_rolled_back.contains(&text.as_str()) {
            not_rolled_back.push(text.as_str());
        }
    }
    let first = order.plans.first();
    OrderView {
        operation: first.map_or("", |plan| plan.operation.verb()),
        risk: order.risk().as_str(),
        services: order.services(),
        steps: steps.collect(),
        not_rolled_back,
        downtime_ms: order.plans.iter().map(|plan| plan.downtime_ms).sum(),
        budget_ms: order.plans.iter().map(|plan| plan.budget_ms).sum(),
        fingerprints: parts
            .iter()
            .flat_map(|view| view.fingerprints.clone())
            .collect(),
        hash: order.hash(),
        parts,
    }
}
