//! Whether a side bears the requests that it gets: asked and compared for as long as a step says.
//!
//! Nobody sends more requests to a side that is not known to be well. So a step is passed by a keep alone: a watch and an
//! inconclusive verdict stop it as a roll back does, only not before its time is over.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::before_after::BeforeAfter;
use crate::domain::comparison::Comparison;
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::settings::Probe;
use crate::domain::verdict::Decision;
use crate::host::{self, Host};
use crate::ops::guard::Watch;
use crate::ops::input::Input;
use crate::ops::{Context, ErrorKind, OpsError, compare};

/// What the side that answered until now wrote in this time before is compared with as well: it gets ever less.
const BASELINE: Duration = Duration::from_secs(600);
/// Between two questions of a probe.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// One answer alone may have been lost.
const BAD_ANSWERS: u32 = 2;

/// Looks until the time is over, or until it does not bear them. Returns the evidence.
///
/// # Errors
/// [`ErrorKind::No`] where it does not bear them, or where that is not known when the time is over.
pub(in crate::ops) async fn judge(
    ctx: &Context,
    host: &Host,
    probes: &[Probe],
    services: Option<&BeforeAfter<ServiceId>>,
    hold: Duration,
    progress: &mpsc::Sender<Progress>,
) -> Result<SafeText, OpsError> {
    let started = Instant::now();
    let inputs = services.map(|both| inputs(both, hold));
    let every = Watch::of(hold).every;
    let mut was_bad = false;
    loop {
        let next = (started.elapsed() + every).min(hold);
        ask_for(host, probes, started, next, progress).await?;
        let is_over = started.elapsed() >= hold;
        let Some(inputs) = &inputs else {
            if is_over {
                let text = format!("every probe answered for {} s", hold.as_secs());
                return Ok(SafeText::from_text(&text));
            }
            continue;
        };
        match look(ctx, inputs).await {
            Ok(found) => {
                let decision = found.verdict.decision;
                let is_bad = decision == Decision::RollBack;
                // Logs are read while they are written: before its time one look is not enough.
                if is_bad && (was_bad || is_over) || is_over && decision != Decision::Keep {
                    return Err(OpsError::new(ErrorKind::No, describe(&found)));
                }
                if is_over {
                    return Ok(SafeText::from_text(&describe(&found)));
                }
                was_bad = is_bad;
            }
            Err(error) if is_over => return Err(error),
            // It is looked at again.
            Err(_) => {}
        }
    }
}

/// What the one wrote lately, and what the other writes from now on.
fn inputs(both: &BeforeAfter<ServiceId>, hold: Duration) -> BeforeAfter<Input> {
    let now = Timestamp::now();
    let input = |service: &ServiceId, since: Timestamp| Input::Service {
        name: service.to_string(),
        since: Some(since.to_string()),
        until: None,
    };
    let earlier = now.checked_sub(BASELINE.max(hold)).unwrap_or(now);
    BeforeAfter::new(input(&both.before, earlier), input(&both.after, now))
}

async fn look(ctx: &Context, inputs: &BeforeAfter<Input>) -> Result<Comparison, OpsError> {
    let (progress, _nobody) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let (before, after) = (&inputs.before, &inputs.after);
    Box::pin(compare::compare(
        ctx, before, after, None, false, progress, cancel,
    ))
    .await
}

/// Asks every probe until then.
async fn ask_for(
    host: &Host,
    probes: &[Probe],
    started: Instant,
    until: Duration,
    progress: &mpsc::Sender<Progress>,
) -> Result<(), OpsError> {
    let mut bad = vec![0; probes.len()];
    loop {
        for (probe, bad) in probes.iter().zip(&mut bad) {
            let answer = host::probe::ask(host, probe).await;
            *bad = if answer.ok { 0 } else { *bad + 1 };
            if *bad >= BAD_ANSWERS {
                let text = format!("{}: {}", answer.name, answer.detail);
                return Err(OpsError::new(ErrorKind::No, text));
            }
        }
        let _ = progress.try_send(Progress::Counted {
            what: SafeText::from_text("seconds"),
            done: started.elapsed().as_secs().min(until.as_secs()),
            total: None,
        });
        let is_doubtful = bad.iter().any(|bad| *bad > 0);
        let left = until.saturating_sub(started.elapsed());
        if left.is_zero() && !is_doubtful {
            return Ok(());
        }
        tokio::time::sleep(match is_doubtful {
            true => ASK_AGAIN,
            false => left.min(ASK_AGAIN),
        })
        .await;
    }
}

/// The verdict with what it rests on.
fn describe(found: &Comparison) -> String {
    let verdict = &found.verdict;
    let mut text = format!(
        "{}: {} requests, {} errors",
        verdict.decision.as_str(),
        found.after.requests,
        found.after.errors
    );
    let reasons = verdict.findings.iter().map(|finding| &finding.text);
    for reason in reasons.chain(&found.missing).take(2) {
        text.push_str(&format!("; {reason}"));
    }
    text
}
