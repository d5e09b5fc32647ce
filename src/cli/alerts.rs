//! `lastgood alerts`: what fires, and taking it.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output, Paint};
use crate::domain::alert::{Alert, AlertState};
use crate::ops::notify::Delivery;
use crate::ops::{Context, alerts};

/// `lastgood alerts`: what fires, and taking it.
#[derive(Debug, Clone, Args)]
pub struct AlertsArgs {
    /// Take what fires under this key or of this service: reminders and escalation end, and everyone who was told hears of it
    #[arg(long, value_name = "KEY|SERVICE")]
    pub acknowledge: Option<String>,
}

#[derive(Serialize)]
struct Alerts<'a> {
    looked_at: Option<Timestamp>,
    alerts: &'a [Alert],
}

#[derive(Serialize)]
struct Taken<'a> {
    taken: usize,
    deliveries: &'a [Delivery],
}

/// Runs it. Exit 0 when nothing of P0 or P1 fires, 1 when something does, 3 when nobody has looked yet.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &AlertsArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    if let Some(name) = &args.acknowledge {
        let (taken, deliveries) = alerts::acknowledge(ctx, name).await?;
        if out.is_json() {
            let deliveries = &deliveries;
            out.json("alerts", &Taken { taken, deliveries })?;
        } else {
            out.line(format_args!("{taken} taken"))?;
            for delivery in &deliveries {
                let how = match &delivery.error {
                    None => "told".to_owned(),
                    Some(error) => format!("failed: {error}"),
                };
                out.line(format_args!("  {}: {how}", delivery.sink))?;
            }
        }
        return Ok(Exit::Done);
    }
    let book = alerts::read(ctx)?;
    let open: Vec<&Alert> = book
        .alerts
        .iter()
        .filter(|alert| alert.state != AlertState::Resolved)
        .collect();
    if out.is_json() {
        let document = Alerts {
            looked_at: book.looked_at,
            alerts: &book.alerts,
        };
        out.json("alerts", &document)?;
    } else {
        match book.looked_at {
            None => out.line("No watch has looked yet: lastgood watch --once")?,
            Some(at) => out.line(format_args!("{} open, as of {at:.0}", open.len()))?,
        }
        for alert in open {
            let state = match (&alert.acknowledged, alert.state) {
                (Some(taken), _) => format!("taken by {}", taken.by),
                (None, AlertState::Pending) => "pending".to_owned(),
                (None, _) => "firing".to_owned(),
            };
            let line = format!("{} {state}: {}", alert.severity, alert.text);
            let paint = match alert.severity.pages() {
                true => Paint::Bad,
                false => Paint::Warning,
            };
            out.line(out.paint(paint, &line))?;
            out.line(format_args!(
                "    {}  since {:.0}",
                alert.key, alert.pending_at
            ))?;
        }
    }
    Ok(match (book.looked_at, book.worst()) {
        (None, _) => Exit::NotSure,
        (_, Some(worst)) if worst.pages() => Exit::No,
        _ => Exit::Done,
    })
}
