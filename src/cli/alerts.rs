//! `lastgood alerts`: what fires, and taking it.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output, Paint};
use crate::domain::alert::{Alert, AlertState, Silence};
use crate::domain::time::parse_span;
use crate::ops::notify::Delivery;
use crate::ops::{Context, ErrorKind, OpsError, alerts};

/// `lastgood alerts`: what fires, and taking it.
#[derive(Debug, Clone, Args)]
pub struct AlertsArgs {
    /// Take what fires under this key or of this service: reminders and escalation end, and everyone who was told hears of it
    #[arg(long, value_name = "KEY|SERVICE")]
    pub acknowledge: Option<String>,
    /// For a while tell nobody of this service (repeatable; all: of every one). A P0 is told all the same, and what still
    /// fires at the end is told then
    #[arg(long, value_name = "SERVICE", conflicts_with = "acknowledge")]
    pub silence: Vec<String>,
    /// How long
    #[arg(
        long = "for",
        value_name = "SPAN",
        default_value = "1h",
        requires = "silence"
    )]
    pub length: String,
    /// Why; it stands beside the silence
    #[arg(long, requires = "silence")]
    pub reason: Option<String>,
    /// End a silence before its time
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["acknowledge", "silence"])]
    pub end_silence: Option<String>,
}

#[derive(Serialize)]
struct Alerts<'a> {
    looked_at: Option<Timestamp>,
    alerts: &'a [Alert],
    silences: &'a [Silence],
}

#[derive(Serialize)]
struct Silenced<'a> {
    silenced: &'a [String],
    until: Option<Timestamp>,
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
    if !args.silence.is_empty() {
        return silence(args, ctx, out);
    }
    if let Some(name) = &args.end_silence {
        alerts::end_silence(ctx, name)?;
        if out.is_json() {
            let silenced = std::slice::from_ref(name);
            let until = None;
            out.json("alerts", &Silenced { silenced, until })?;
        } else {
            out.line(format_args!("{name}: no longer silenced"))?;
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
            silences: &book.silences,
        };
        out.json("alerts", &document)?;
    } else {
        match book.looked_at {
            None => out.line("No watch has looked yet: lastgood watch --once")?,
            Some(at) => out.line(format_args!("{} open, as of {at:.0}", open.len()))?,
        }
        for alert in open {
            let state = match (&alert.acknowledged, alert.state) {
                (Some(taken), _) => format!("taken by {} at {:.0}", taken.by, taken.at),
                _ if alert.is_silenced => "silenced".to_owned(),
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
        for silence in &book.silences {
            let line = format!(
                "silenced: {} until {:.0}, by {}: {}",
                silence.name, silence.until, silence.by, silence.reason
            );
            out.line(out.paint(Paint::Dim, &line))?;
        }
    }
    Ok(match (book.looked_at, book.worst()) {
        (None, _) => Exit::NotSure,
        (_, Some(worst)) if worst.pages() => Exit::No,
        _ => Exit::Done,
    })
}

fn silence(args: &AlertsArgs, ctx: &Context, out: &mut Output) -> Ended {
    let length = parse_span(&args.length)
        .and_then(|span| std::time::Duration::try_from(span).ok())
        .filter(|length| !length.is_zero())
        .ok_or_else(|| {
            OpsError::new(
                ErrorKind::Usage,
                format!("not a length of time: {:?}; write 30m, 2h", args.length),
            )
        })?;
    let is_all = args.silence.iter().any(|name| name == "all");
    let services = if is_all { &[] } else { args.silence.as_slice() };
    let reason = args.reason.as_deref().unwrap_or_default();
    let until = alerts::silence(ctx, services, length, reason)?;
    let silenced = args.silence.as_slice();
    if out.is_json() {
        let until = Some(until);
        out.json("alerts", &Silenced { silenced, until })?;
    } else {
        out.line(format_args!(
            "{}: nobody is told of anything below P0 until {until:.0}",
            silenced.join(" ")
        ))?;
    }
    Ok(Exit::Done)
}
