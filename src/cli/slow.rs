//! `lastgood slow`: mean, percentiles and the slowest endpoints.

use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::errors::{parse_inputs, print_missing};
use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop};
use crate::domain::time;
use crate::ops::slow::{SlowReport, slow};
use crate::ops::{Context, ErrorKind, OpsError};

/// `lastgood slow`: mean, percentiles and the slowest endpoints.
#[derive(Debug, Clone, Args)]
pub struct SlowArgs {
    /// A path (plain, .gz, .zst), -, checkpoint:ID[/service] or service:NAME[?since=30m&until=5m]
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Requests over this are slow: 1s, 1.5s, 500ms
    #[arg(long, default_value = "1s", value_name = "T")]
    pub threshold: String,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &SlowArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let threshold = parse_threshold(&args.threshold)?;
    let inputs = parse_inputs(&args.inputs)?;
    let report = slow(ctx, &inputs, threshold, &CancellationToken::new()).await?;
    if out.is_json() {
        out.json("slow", &report)?;
    } else {
        print(&report, out)?;
    }
    Ok(match report.count {
        0 => Exit::NotSure,
        _ => Exit::Done,
    })
}

/// `1s`, `1.0s`, `500ms`, or seconds without a unit, in milliseconds.
fn parse_threshold(text: &str) -> Result<f64, OpsError> {
    let seconds = text.parse::<f64>().ok().map(|s| s * 1000.0);
    let ms = text.strip_suffix("ms").and_then(|n| n.parse::<f64>().ok());
    let s = text
        .strip_suffix('s')
        .and_then(|n| n.parse::<f64>().ok())
        .map(|s| s * 1000.0);
    let span = time::parse_span(text).map(|d| d.as_secs_f64() * 1000.0);
    ms.or(s)
        .or(seconds)
        .or(span)
        .filter(|ms| ms.is_finite() && *ms >= 0.0)
        .ok_or_else(|| {
            OpsError::new(ErrorKind::Usage, format!("not a duration: {text:?}"))
                .fix("--threshold 1s, 1.5s or 500ms")
        })
}

/// Milliseconds for people.
pub(super) fn duration(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), crate::analysis::judge::milliseconds)
}

fn print(report: &SlowReport, out: &mut Output) -> Result<(), Stop> {
    let head = format!(
        "{} requests with a duration, {} over {}",
        report.count,
        report.over_threshold,
        duration(Some(report.threshold_ms))
    );
    out.line(out.paint(Paint::Bold, &head))?;
    print_missing(&report.missing, out)?;
    if report.count == 0 {
        return Ok(());
    }
    let l = &report.latency_ms;
    out.line(format_args!(
        "mean {}  p50 {}  p95 {}  p99 {}  max {}",
        duration(l.mean),
        duration(l.p50),
        duration(l.p95),
        duration(l.p99),
        duration(l.max)
    ))?;
    out.line("")?;
    let columns = format!(
        "{:>9}  {:>8}  {:>8}  {:>8}  ENDPOINT",
        "REQUESTS", "MEAN", "P95", "MAX"
    );
    out.line(out.paint(Paint::Dim, &columns))?;
    for e in &report.endpoints {
        out.line(format_args!(
            "{:>9}  {:>8}  {:>8}  {:>8}  {}",
            e.count,
            duration(e.mean),
            duration(e.p95),
            duration(e.max),
            e.endpoint
        ))?;
    }
    out.line("")?;
    out.line(out.paint(Paint::Dim, "SLOWEST"))?;
    for s in &report.slowest {
        out.line(format_args!("{:>9}  {}", duration(Some(s.ms)), s.line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_have_many_forms() {
        for (text, ms) in [
            ("1s", 1000.0),
            ("1.0s", 1000.0),
            ("500ms", 500.0),
            ("2", 2000.0),
            ("1m", 60_000.0),
            ("0.25s", 250.0),
        ] {
            assert_eq!(parse_threshold(text).unwrap(), ms, "{text}");
        }
        for text in ["", "fast", "-1s", "infs"] {
            assert!(parse_threshold(text).is_err(), "{text}");
        }
    }
}
