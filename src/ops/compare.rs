//! What the deploy changed, and the verdict.

mod changes;
mod facts;
#[cfg(test)]
mod golden;
mod history;
mod live;
mod measured;
mod request;
mod swarm;

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::input::{self, Input, ReadOptions, ReadSide};
use super::{Context, ErrorKind, OpsError, checkpoint, health, secrets};
use crate::analysis::compare::{self, SideLogs};
use crate::analysis::redact::Redactor;
use crate::domain::comparison::Comparison;
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;

pub use live::Live;
pub use request::find_request;

/// The newest complete checkpoint: what a comparison starts from when nothing was named.
///
/// # Errors
/// There is none; [`ErrorKind::NotSure`].
pub fn newest(ctx: &Context) -> Result<Input, OpsError> {
    let found = checkpoint::list(ctx)?
        .into_iter()
        .find(|c| c.manifest.as_ref().is_ok_and(|m| m.complete));
    match found {
        Some(checkpoint) => Ok(Input::Checkpoint {
            id: checkpoint.id,
            service: None,
        }),
        None => Err(OpsError::new(
            ErrorKind::NotSure,
            "there is no complete checkpoint to compare with",
        )
        .fix("lastgood checkpoint create, or lastgood compare BEFORE AFTER")),
    }
}

/// Compares two sides, service by service where both have services, and judges. Only with `side_by_side` it is kept in what
/// order they wrote: that costs time and memory.
///
/// # Errors
/// An input that cannot be read. Missing data is not an error: it makes the verdict inconclusive.
pub async fn compare(
    ctx: &Context,
    before: &Input,
    after: &Input,
    service: Option<&str>,
    side_by_side: bool,
    progress: mpsc::Sender<Progress>,
    cancel: CancellationToken,
) -> Result<Comparison, OpsError> {
    if before == &Input::Stdin && after == &Input::Stdin {
        return Err(OpsError::new(
            ErrorKind::Usage,
            "only one side can be standard input",
        ));
    }
    let baseline = match before {
        Input::Checkpoint { id, .. } if after.is_live() => Some(input::open_checkpoint(ctx, id)?),
        _ => None,
    };
    // Nobody has to listen: progress that finds no room is left out.
    let _ = progress.try_send(Progress::Note(SafeText::from_text(&format!(
        "reading {before} and {after}"
    ))));
    let options = ReadOptions {
        course: side_by_side,
        ..ReadOptions::default()
    };
    // The after side of a checkpoint's one service is compared with that service only.
    let only = service.or(match (before, after) {
        (Input::Checkpoint { service, .. }, Input::Now) => service.as_deref(),
        _ => None,
    });
    let (old, new) = tokio::try_join!(
        input::read(ctx, before, None, service, options, &cancel),
        input::read(ctx, after, baseline.as_ref(), only, options, &cancel),
    )?;
    let redactor = secrets::redactor(ctx, &new.live).await?;
    let mut unread = Vec::new();
    let with_machines = after == &Input::Now && only.is_none();
    let (report, measured) = match (new.live.as_slice(), &new.baseline) {
        ([], None) => (None, Vec::new()),
        ([], Some(after)) => (None, measured::saved(&after.path, &mut unread)),
        (services, _) if old.baseline.is_none() => {
            (Some(health::check(ctx, services).await), Vec::new())
        }
        (services, _) => {
            let health = health::check(ctx, services);
            let measuring = measured::now(ctx, services, with_machines);
            let (health, measured) = tokio::join!(health, measuring);
            (Some(health), measured)
        }
    };
    let mut facts = facts::gather(ctx, &old, &new, report.as_ref(), &redactor).await;
    facts.dispersion = dispersion(ctx, &old).await;
    if let Some(baseline) = &old.baseline {
        let before = measured::saved(&baseline.path, &mut unread);
        measured::add(&before, &measured, &mut facts);
    }
    facts.missing.extend(unread);
    let _ = progress.try_send(Progress::Note(SafeText::from_text("judging")));
    let judged = tokio::task::spawn_blocking(move || judge(old, new, facts, &redactor)).await;
    judged.map_err(|error| {
        OpsError::new(ErrorKind::Failed, "the comparison broke off").because(error)
    })
}

/// How much the services of a checkpoint varied before it; nothing where the side is none.
async fn dispersion(ctx: &Context, old: &ReadSide) -> BTreeMap<ServiceId, f64> {
    let Some(baseline) = old.baseline.clone() else {
        return BTreeMap::new();
    };
    let state = ctx.state.clone();
    let measured = tokio::task::spawn_blocking(move || history::measure(&state, &baseline)).await;
    measured.unwrap_or_default()
}

fn judge(old: ReadSide, new: ReadSide, facts: compare::Facts, redactor: &Redactor) -> Comparison {
    let (mut before, mut after) = (old.logs, new.logs);
    pair(&mut before, &mut after);
    compare::compare(&before, &after, facts, &|text| show(redactor, text))
}

/// The one place where raw text becomes text that may be shown: secrets out, then sanitised.
pub(super) fn show(redactor: &Redactor, text: &[u8]) -> SafeText {
    SafeText::from_text(&redactor.redact(&String::from_utf8_lossy(text)))
}

/// Gives the two sides of one service one name: files have none of their own.
fn pair(before: &mut SideLogs, after: &mut SideLogs) {
    if let ([b], [a]) = (
        before.services.as_mut_slice(),
        after.services.as_mut_slice(),
    ) {
        if a.id.group == "file" && b.id.group != "file" {
            a.id = b.id.clone();
        } else {
            b.id = a.id.clone();
        }
        return;
    }
    let names = |side: &SideLogs| -> Vec<ServiceId> {
        side.services.iter().map(|s| s.id.clone()).collect()
    };
    let (old_names, new_names) = (names(before), names(after));
    for (side, others) in [(&mut *before, new_names), (&mut *after, old_names)] {
        for service in side.services.iter_mut().filter(|s| s.id.group == "file") {
            let mut same = others
                .iter()
                .filter(|o| o.name == service.id.name && o.group != "file");
            if let (Some(one), None) = (same.next(), same.next()) {
                service.id = one.clone();
            }
        }
    }
    // Lines without a prefix are called by their file, and files differ by name.
    let unnamed = |side: &SideLogs| -> Vec<usize> {
        (0..side.services.len())
            .filter(|at| {
                side.services[*at].scan.name.is_none() && side.services[*at].id.group == "file"
            })
            .collect()
    };
    if let ([b], [a]) = (unnamed(before).as_slice(), unnamed(after).as_slice()) {
        before.services[*b].id = after.services[*a].id.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::compare::SideService;
    use crate::analysis::scan::ServiceScan;

    fn side(services: &[(&str, Option<&str>)]) -> SideLogs {
        SideLogs {
            input: SafeText::default(),
            services: services
                .iter()
                .map(|(id, prefix)| SideService {
                    id: ServiceId::parse(id).unwrap(),
                    scan: ServiceScan {
                        name: prefix.map(str::to_owned),
                        ..ServiceScan::default()
                    },
                    observed: None,
                })
                .collect(),
        }
    }

    fn paired(
        before: &[(&str, Option<&str>)],
        after: &[(&str, Option<&str>)],
    ) -> (Vec<String>, Vec<String>) {
        let (mut before, mut after) = (side(before), side(after));
        pair(&mut before, &mut after);
        let names = |side: &SideLogs| side.services.iter().map(|s| s.id.to_string()).collect();
        (names(&before), names(&after))
    }

    #[test]
    fn two_sides_of_one_service_have_one_name() {
        let text = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            paired(&[("file/before", None)], &[("file/after", None)]),
            (text(&["file/after"]), text(&["file/after"]))
        );
        assert_eq!(
            paired(&[("shop/api", None)], &[("file/after", None)]),
            (text(&["shop/api"]), text(&["shop/api"]))
        );
        assert_eq!(
            paired(
                &[("shop/api", None), ("shop/db", None)],
                &[("file/api", Some("api")), ("file/db", Some("db"))]
            ),
            (
                text(&["shop/api", "shop/db"]),
                text(&["shop/api", "shop/db"])
            )
        );
        assert_eq!(
            paired(
                &[("file/before", None), ("file/db", Some("db"))],
                &[("file/after", None), ("file/db", Some("db"))]
            ),
            (
                text(&["file/after", "file/db"]),
                text(&["file/after", "file/db"])
            )
        );
    }
}
