//! After the verdict: rolls back, asks, or says what to type.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use super::report::{Report, RolledBack, say_next};
use super::signals::Signals;
use super::{GuardArgs, WhenBad};
use crate::cli::exit::Exit;
use crate::cli::output::{Output, Stop, talk, talk_error};
use crate::cli::{Global, confirm};
use crate::domain::checkpoint::Manifest;
use crate::domain::comparison::Comparison;
use crate::domain::operation::{Operation, Plan, RollBackTarget};
use crate::domain::outcome::Outcome;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::verdict::Decision;
use crate::ops::{self, Confirmation, Context, guard};

/// Rolls back what has to be, as it was asked for. Gives the signal that ended it, where one came.
#[allow(clippy::too_many_arguments)]
pub(super) async fn decide(
    args: &GuardArgs,
    global: &Global,
    ctx: &Arc<Context>,
    signals: &mut Signals,
    manifest: &Manifest,
    found: &Comparison,
    report: &mut Report,
    out: &mut Output,
) -> Option<Exit> {
    if found.verdict.decision != Decision::RollBack {
        return None;
    }
    let is_auto = args.roll_back == WhenBad::Auto;
    let bad = guard::to_roll_back(found, &report.touched, is_auto);
    let all_bad = guard::to_roll_back(found, &report.touched, false);
    if all_bad.is_empty() {
        talk("nothing to roll back: the deploy touched none of the services that are worse");
        return None;
    }
    let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
    let is_left_to_people = match args.roll_back {
        WhenBad::Never => true,
        WhenBad::Auto => bad.is_empty(),
        WhenBad::Ask => !can_ask && !global.yes,
    };
    if is_left_to_people {
        say_next("not rolled back", manifest, all_bad, report);
        return None;
    }
    for service in bad {
        talk(format_args!("rolling back {service}"));
        let mut ended = None;
        let (outcome, error) =
            match roll_back(ctx, global, signals, manifest, &service, is_auto, out).await {
                Ok(Rolled::Done(outcome, by_signal)) => {
                    ended = by_signal;
                    (Some(*outcome), None)
                }
                Ok(Rolled::Declined) => {
                    say_next("not rolled back", manifest, vec![service], report);
                    match signals.came() {
                        Some(exit) => return Some(exit),
                        None => continue,
                    }
                }
                Err(Stop::Ops(error)) => {
                    talk_error(&error);
                    (None, Some(error.to_safe_text()))
                }
                Err(_) => (None, Some(SafeText::from_text("it could not be told"))),
            };
        if error.is_some() {
            say_next("not rolled back", manifest, vec![service.clone()], report);
        }
        report.roll_backs.push(RolledBack {
            service,
            outcome,
            error,
        });
        if let Some(exit) = ended.or_else(|| signals.came()) {
            return Some(exit);
        }
    }
    None
}

/// What became of one rollback.
enum Rolled {
    /// It was carried out, and the signal that came meanwhile.
    Done(Box<Outcome>, Option<Exit>),
    /// The person at the terminal did not want it, or ended the program instead of answering.
    Declined,
}

async fn roll_back(
    ctx: &Arc<Context>,
    global: &Global,
    signals: &mut Signals,
    manifest: &Manifest,
    service: &ServiceId,
    is_auto: bool,
    out: &mut Output,
) -> Result<Rolled, Stop> {
    let operation = Operation::RollBack {
        service: service.clone(),
        to: RollBackTarget::Checkpoint(manifest.id.clone()),
        configs_only: false,
        save_logs: true,
        downgrade: false,
    };
    let plan = ops::plan(ctx, &operation).await?;
    let confirmation = match is_auto {
        true => Confirmation {
            plan_hash: plan.hash.clone(),
            typed: Some(service.to_string()),
        },
        false => match ask(&plan, global, signals).await {
            Some(confirmation) => confirmation,
            None => return Ok(Rolled::Declined),
        },
    };
    let (outcome, ended) = confirm::execute(ctx, &plan, &confirmation, out).await?;
    if !out.is_json() {
        // A reader that went away does not undo what was done.
        let _ = confirm::print_outcome(&outcome, out);
        let _ = out.flush();
    }
    Ok(Rolled::Done(Box::new(outcome), ended))
}

/// Asks the person at the terminal, who may answer with a Ctrl-C as well: signals are heard meanwhile.
async fn ask(plan: &Plan, global: &Global, signals: &mut Signals) -> Option<Confirmation> {
    let (shown, options) = (plan.clone(), global.clone());
    let asked = tokio::task::spawn_blocking(move || confirm::confirm(&shown, &options));
    tokio::select! {
        answered = asked => match answered {
            Ok(Ok(confirmation)) => Some(confirmation),
            Ok(Err(error)) => {
                talk_error(&error);
                None
            }
            Err(_) => None,
        },
        _ = signals.next() => None,
    }
}
