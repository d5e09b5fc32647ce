//! Pins the images of a checkpoint by a tag of their own, so that a plain prune cannot take them.

use super::may_pin;
use crate::audit::Intent;
use crate::domain::checkpoint::{Manifest, SavedService};
use crate::domain::outcome::OutcomeKind;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, short_id};
use crate::ops::hosts::may_change;
use crate::ops::services::{self, host_of};
use crate::ops::{Context, OpsError};
use crate::runtime::docker;

/// The repository that pins the images of a service: `lastgood/<project>-<service>`.
fn repository(service: &SavedService) -> String {
    let part = |text: &str| -> String {
        let clean: String = text
            .to_ascii_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        // A repository's name neither begins nor ends with a separator.
        clean.trim_matches('-').to_owned()
    };
    format!(
        "lastgood/{}-{}",
        part(&service.id.group),
        part(&service.id.name)
    )
}

pub(super) fn has_image(service: &SavedService) -> bool {
    matches!(
        service.runtime,
        Runtime::Compose | Runtime::Docker | Runtime::Swarm
    )
}

/// Tags every image and says in the rows which were. Returns what could not be pinned; the checkpoint is whole
/// without, but a prune may take its images.
pub(super) async fn pin_all(ctx: &Context, id: &str, rows: &mut [SavedService]) -> Vec<SafeText> {
    let wanted: Vec<(usize, String, String)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| has_image(row))
        .filter_map(|(index, row)| Some((index, row.release.digest.clone()?, repository(row))))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    if !may_pin(ctx) {
        return vec![SafeText::from_text(
            "images are not pinned: this session is read-only, a prune may take them",
        )];
    }
    match tag_all(ctx, id, &wanted, rows).await {
        Ok(problems) => problems,
        Err(error) => vec![SafeText::from_text(&format!(
            "images are not pinned: {}",
            error.to_safe_text()
        ))],
    }
}

async fn tag_all(
    ctx: &Context,
    id: &str,
    wanted: &[(usize, String, String)],
    rows: &mut [SavedService],
) -> Result<Vec<SafeText>, OpsError> {
    let intent = Intent {
        operation: "checkpoint".to_owned(),
        host: crate::domain::host::HostName::local(),
        services: wanted
            .iter()
            .map(|(index, ..)| rows[*index].id.clone())
            .collect(),
        plan_hash: String::new(),
        steps: wanted
            .iter()
            .map(|(_, image, repository)| {
                SafeText::from_text(&format!("docker tag {} {repository}:{id}", short_id(image)))
            })
            .collect(),
    };
    let audit = ctx.audit();
    let permit = audit.begin_intent(intent, &ctx.actor, ctx.access)?;
    let mut problems = Vec::new();
    for (index, image, repository) in wanted {
        let row = &mut rows[*index];
        let host = host_of(ctx, &row.id)?;
        if let Err(error) = may_change(ctx, &row.id.host) {
            problems.push(SafeText::from_text(&format!(
                "{}: its image is not pinned: {}",
                row.id, error.message
            )));
            continue;
        }
        match docker::tag_image(host, &permit, image, repository, id).await {
            Ok(()) => row.pinned = Some(format!("{repository}:{id}")),
            Err(error) => problems.push(SafeText::from_text(&format!(
                "{}: its image is not pinned: {}",
                row.id,
                SafeText::from_error(&error)
            ))),
        }
    }
    let outcome = if problems.is_empty() {
        OutcomeKind::Verified
    } else {
        OutcomeKind::FailedPartial
    };
    audit.finish(permit, outcome)?;
    Ok(problems)
}

/// Takes the tags of a checkpoint away, recorded like everything that changes a machine.
///
/// # Errors
/// Refused, the audit log cannot be written, or the engine said no to one: then the checkpoint still holds its images.
pub(crate) async fn unpin_all(ctx: &Context, manifest: &Manifest) -> Result<(), OpsError> {
    let pinned: Vec<(&SavedService, &str)> = manifest
        .services
        .iter()
        .filter_map(|service| Some((service, service.pinned.as_deref()?)))
        .collect();
    if pinned.is_empty() {
        return Ok(());
    }
    let intent = Intent {
        operation: "checkpoint-prune".to_owned(),
        host: crate::domain::host::HostName::local(),
        services: pinned.iter().map(|(row, _)| row.id.clone()).collect(),
        plan_hash: String::new(),
        steps: pinned
            .iter()
            .map(|(_, name)| SafeText::from_text(&format!("docker image rm --no-prune {name}")))
            .collect(),
    };
    let audit = ctx.audit();
    let permit = audit.begin_intent(intent, &ctx.actor, ctx.access)?;
    let mut failed = None;
    for (row, name) in pinned {
        let host = host_of(ctx, &row.id)?;
        if let Err(error) = docker::untag_image(host, &permit, name).await {
            failed = Some(services::failed(
                format!("{name} still pins an image of {}", manifest.id),
                error,
            ));
            break;
        }
    }
    let outcome = match failed {
        None => OutcomeKind::Verified,
        Some(_) => OutcomeKind::FailedPartial,
    };
    audit.finish(permit, outcome)?;
    failed.map_or(Ok(()), Err)
}

/// What is wrong with the image of a service in a checkpoint; `None` where it is there, or there is none.
pub(super) async fn problem_of(ctx: &Context, service: &SavedService) -> Option<SafeText> {
    let image = service
        .release
        .digest
        .as_deref()
        .filter(|_| has_image(service))?;
    let problem = |text: String| Some(SafeText::from_text(&format!("{}: {text}", service.id)));
    let host = match host_of(ctx, &service.id) {
        Ok(host) => host,
        Err(error) => return problem(error.to_string()),
    };
    let name = service.pinned.as_deref().unwrap_or(image);
    match docker::image_id(host, name).await {
        Ok(Some(found)) if found == image => None,
        Ok(Some(found)) => problem(format!(
            "{name} is {} now, not {}",
            short_id(&found),
            short_id(image)
        )),
        Ok(None) if service.image_copy.is_some() => None,
        Ok(None) => problem(format!(
            "the image {} is gone ({name}): it cannot be rolled back to",
            short_id(image)
        )),
        Err(error) => problem(format!(
            "its image could not be looked at: {}",
            SafeText::from_error(&error)
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn repositories_have_names_that_the_engine_takes() {
        let mut service: SavedService = serde_json::from_value(serde_json::json!({
            "id": "Shop_1/back.end", "runtime": "compose", "log": null, "files": [],
            "release": {}, "pinned": null, "health": null,
        }))
        .unwrap();
        assert_eq!(repository(&service), "lastgood/shop-1-back-end");
        service.id.name = "-x-".into();
        assert_eq!(repository(&service), "lastgood/shop-1-x");
    }
}
