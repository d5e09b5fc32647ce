//! `lastgood health`: one look at every probe.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop};
use super::services::print_unreachable;
use crate::domain::health::{HealthReport, HealthState};
use crate::domain::service::Unreachable;
use crate::ops::{Context, health, services};

/// `lastgood health`: one look at every probe.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Names of services; all without any
    pub services: Vec<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a HealthReport,
    unreachable: &'a [Unreachable],
}

/// Runs it. Asked for everything, what could not be looked at makes the whole unreachable, never healthy.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &HealthArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let inventory = services::discover_for(ctx, &args.services).await;
    let chosen = services::choose(&inventory, &args.services)?;
    let mut report = health::check(ctx, &chosen).await;
    let unreachable = match args.services.is_empty() {
        true => inventory.unreachable.as_slice(),
        false => &[],
    };
    if !unreachable.is_empty() {
        report.state = HealthState::Unreachable;
    }
    if out.is_json() {
        let document = Document {
            report: &report,
            unreachable,
        };
        out.json("health", &document)?;
    } else {
        print(&report, out)?;
        print_unreachable(unreachable, out)?;
    }
    Ok(Exit::from(report.state))
}

fn print(report: &HealthReport, out: &mut Output) -> Result<(), Stop> {
    if report.services.is_empty() {
        out.line("No services found.")?;
    }
    for service in &report.services {
        let (glyph, paint) = match service.state {
            HealthState::Healthy => ("✔", Paint::Good),
            HealthState::Degraded => ("▲", Paint::Warning),
            HealthState::Unhealthy => ("✖", Paint::Bad),
            HealthState::Unreachable => ("?", Paint::Bad),
        };
        let line = format!("{glyph} {}  {}", service.id, service.state.as_str());
        out.line(out.paint(paint, &line))?;
        for check in &service.checks {
            let glyph = match (check.ok, check.is_well()) {
                (false, _) => "✖",
                (true, false) => "▲",
                (true, true) => "✔",
            };
            let took = check.ms.map(|ms| format!("  {ms} ms")).unwrap_or_default();
            out.line(format_args!(
                "    {glyph} {}  {}{took}",
                check.name, check.detail
            ))?;
        }
    }
    Ok(())
}
