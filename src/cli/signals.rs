//! `lastgood signals`: the golden signals with their grades.

use std::sync::Arc;

use clap::Args;
use futures_util::{StreamExt, stream};
use jiff::Zoned;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop};
use super::services::{columns, print_unreachable};
use crate::domain::log::Window;
use crate::domain::service::Inventory;
use crate::domain::signal::{Grade, ServiceSignals, Signal};
use crate::domain::time;
use crate::ops::{Context, ErrorKind, OpsError, services, signals};

const AT_ONCE: usize = 4;

/// `lastgood signals`: the golden signals with their grades.
#[derive(Debug, Clone, Args)]
pub struct SignalsArgs {
    /// Names of services, or host/machine; all without any
    pub services: Vec<String>,
    /// Measure from this time on: 30m (ago), 15:00, "2025-12-27 14:50", or RFC 3339
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    services: &'a [ServiceSignals],
}

/// Runs it. Ends with 4 where a runtime could not be read and nothing was found.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &SignalsArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let since = args
        .since
        .as_deref()
        .map(|t| time::parse(t, &Zoned::now()).map_err(|e| OpsError::new(ErrorKind::Usage, e)))
        .transpose()?;
    let is_machine = |name: &&String| name.rsplit(':').next() == Some("host/machine");
    let (of_machines, of_services): (Vec<&String>, Vec<&String>) =
        args.services.iter().partition(is_machine);
    let of_services: Vec<String> = of_services.into_iter().cloned().collect();
    let all = args.services.is_empty();
    let mut inventory = Inventory::default();
    let mut measured: Vec<ServiceSignals> = Vec::new();
    if all || !of_services.is_empty() {
        inventory = services::discover_for(ctx, &of_services).await;
        let chosen = services::choose(&inventory, &of_services)?;
        let window = Window { since, until: None };
        measured = stream::iter(&chosen)
            .map(|service| signals::measure(ctx, service, window))
            .buffered(AT_ONCE)
            .collect()
            .await;
    }
    let nothing_read = all && measured.is_empty() && !inventory.unreachable.is_empty();
    if all || !of_machines.is_empty() {
        let mut machines = signals::machines(ctx).await;
        machines.retain(|m| all || of_machines.iter().any(|name| m.id.matches(name)));
        measured.extend(machines);
    }
    if out.is_json() {
        out.json(
            "signals",
            &Report {
                services: &measured,
            },
        )?;
    } else {
        print(&measured, out)?;
        if args.services.is_empty() {
            print_unreachable(&inventory.unreachable, out)?;
        }
    }
    Ok(if nothing_read {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn print(measured: &[ServiceSignals], out: &mut Output) -> Result<(), Stop> {
    if measured.is_empty() {
        return out.line("No services found.");
    }
    let all: Vec<(&ServiceSignals, &Signal)> = measured
        .iter()
        .flat_map(|s| s.signals.iter().map(move |signal| (s, signal)))
        .collect();
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(service, signal)| {
            vec![
                signal.grade.glyph().to_owned(),
                service.id.to_string(),
                signal.signal.to_string(),
                signal
                    .route
                    .as_ref()
                    .map_or("all".to_owned(), ToString::to_string),
                value(signal),
                signal.grade.as_str().to_owned(),
                signal.detail.to_string(),
            ]
        })
        .collect();
    let head = [
        "", "SERVICE", "SIGNAL", "ROUTE", "VALUE", "GRADE", "RESTS ON",
    ];
    let lines = columns(&head, &rows);
    out.line(out.paint(Paint::Dim, &lines[0]))?;
    for ((_, signal), line) in all.iter().zip(&lines[1..]) {
        match signal.grade {
            Grade::Critical => out.line(out.paint(Paint::Bad, line))?,
            Grade::Warning => out.line(out.paint(Paint::Warning, line))?,
            Grade::Unknown => out.line(out.paint(Paint::Dim, line))?,
            Grade::Ok => out.line(line)?,
        }
    }
    Ok(())
}

/// The value as people read it: `812 ms`, `3.2 %`, `12.4 /s`.
fn value(signal: &Signal) -> String {
    let Some(value) = signal.value else {
        return "-".to_owned();
    };
    match signal.unit.as_str() {
        "ms" => format!("{value:.0} ms"),
        "1/s" => format!("{value:.1} /s"),
        "fraction" => format!("{:.1} %", value * 100.0),
        unit => format!("{value} {unit}").trim_end().to_owned(),
    }
}
