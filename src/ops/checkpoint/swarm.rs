//! Keeps how a swarm makes a service: its specification, whole, in a file of its own.

use std::path::{Path, PathBuf};

use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::domain::swarm::SavedSwarm;
use crate::ops::services::host_of;
use crate::ops::{Context, OpsError};
use crate::runtime::swarm;
use crate::store::checkpoint::Staging;

/// `specs/[<host>/]<group>/<name>.json`.
fn place(service: &Service) -> PathBuf {
    let mut place = Path::new("specs").join(service.id.relative_path());
    place.as_mut_os_string().push(".json");
    place
}

/// Writes the specification of a swarm's service. Gives what could not be kept, too; nothing of both where the service
/// is no swarm's.
///
/// # Errors
/// The checkpoint cannot be written.
pub(super) async fn save(
    ctx: &Context,
    service: &Service,
    staging: &Staging,
) -> Result<(Option<SavedSwarm>, Option<SafeText>), OpsError> {
    if service.runtime != Runtime::Swarm {
        return Ok((None, None));
    }
    let lost = |why: &str| {
        let text = format!(
            "{}: how the swarm makes it was not saved: {why}",
            service.id
        );
        Ok((None, Some(SafeText::from_text(&text))))
    };
    let name = swarm::full_name(service).filter(|_| swarm::spec_digest(service).is_some());
    let Some(name) = name else {
        return lost("this node works in a swarm and manages none");
    };
    let found = match swarm::inspect(host_of(ctx, &service.id)?, name).await {
        Ok(found) => found,
        Err(error) => return lost(SafeText::from_error(&error).as_str()),
    };
    let place = place(service);
    staging.add(&place, &found.spec.to_bytes())?;
    let saved = SavedSwarm {
        image: found.spec.image().unwrap_or_default().to_owned(),
        sha256: found.spec.digest(),
        name: found.name,
        spec: place,
    };
    Ok((Some(saved), None))
}
