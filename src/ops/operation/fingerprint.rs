//! What a plan was made for, looked at again: if it is no longer so, the plan is stale.

use std::path::Path;

use crate::domain::digest;
use crate::domain::host::HostName;
use crate::domain::operation::{Fingerprint, FingerprintSubject};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId, short_id};
use crate::host::Host;
use crate::ops::services::{discover_one, host_of};
use crate::ops::{Context, ErrorKind, OpsError, code, migrations};
use crate::runtime::{docker, pm2, swarm};

/// The value of something that is not there.
pub(crate) const ABSENT: &str = "absent";
/// A configuration file of more bytes than this was not put there by a plan.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What is seen now.
///
/// # Errors
/// It could not be looked at.
pub(crate) async fn look_at(
    ctx: &Context,
    subject: &FingerprintSubject,
) -> Result<String, OpsError> {
    match subject {
        FingerprintSubject::Instances { service } => {
            let inventory = discover_one(ctx, service).await;
            match inventory.find(service) {
                Some(found) => Ok(instances(found)),
                None => match inventory.unreachable.first() {
                    Some(cause) => Err(OpsError::new(
                        ErrorKind::Failed,
                        format!("{service} could not be looked at: {}", cause.error),
                    )
                    .fix(cause.fix.to_string())),
                    None => Ok(ABSENT.to_owned()),
                },
            }
        }
        FingerprintSubject::Code { service, app } => {
            Ok(code::look(ctx, service, app).await?.to_string())
        }
        FingerprintSubject::Schema {
            host,
            folder,
            current,
        } => migrations::revision(host_of(ctx, &on(host))?, folder.as_deref(), current).await,
        FingerprintSubject::File { host, path } => file(ctx, host, path).await,
        FingerprintSubject::Image { host, reference } => {
            let host = host_of(ctx, &on(host))?;
            let found = docker::image_id(host, reference).await.map_err(|error| {
                OpsError::new(
                    ErrorKind::Failed,
                    format!("cannot look at the image {reference}"),
                )
                .because(error)
            })?;
            Ok(found.unwrap_or_else(|| ABSENT.to_owned()))
        }
    }
}

/// A machine by its name.
///
/// # Errors
/// The session does not know it.
pub(crate) fn host_by_name<'a>(ctx: &'a Context, name: &HostName) -> Result<&'a Host, OpsError> {
    host_of(ctx, &on(name))
}

/// An id that stands for a host alone.
pub(super) fn on(host: &HostName) -> ServiceId {
    ServiceId {
        host: host.clone(),
        group: String::new(),
        name: String::new(),
    }
}

/// The instances of a service: ids and images, sorted. Processes of an exec service come and go under other ids,
/// so there it is the release. So do those of an application in a crash loop, which is when a rollback is wanted: of
/// PM2 it is the numbers, which a delete takes away, and what they run.
pub(crate) fn instances(service: &Service) -> String {
    if service.runtime == Runtime::Exec {
        return service.release.identity().unwrap_or("unknown").to_owned();
    }
    if let Some(app) = pm2::app(service) {
        if app.ids.is_empty() {
            return ABSENT.to_owned();
        }
        let ids: Vec<String> = app.ids.iter().map(ToString::to_string).collect();
        return format!("{} of {}", ids.join(" "), app.identity());
    }
    if let Some(digest) = swarm::spec_digest(service) {
        return digest.to_owned();
    }
    let mut all: Vec<String> = service
        .instances
        .iter()
        .map(|i| {
            let image = i.image_id.as_deref().unwrap_or("?");
            format!("{}@{}", short_id(&i.id), short_id(image))
        })
        .collect();
    all.sort();
    all.join(" ")
}

async fn file(ctx: &Context, host: &HostName, path: &Path) -> Result<String, OpsError> {
    let host = host_of(ctx, &on(host))?;
    match host.read_file(path, MAX_FILE).await {
        Ok(content) => Ok(digest::sha256(&content)),
        Err(error) if error.is_not_found() => Ok(ABSENT.to_owned()),
        Err(error) => Err(OpsError::new(ErrorKind::Failed, error.to_string()).because(error)),
    }
}

/// Holds one fingerprint against what is there.
///
/// # Errors
/// [`ErrorKind::Refused`] where it differs; it could not be looked at.
pub(crate) async fn check(ctx: &Context, fingerprint: &Fingerprint) -> Result<(), OpsError> {
    let seen = look_at(ctx, &fingerprint.subject).await?;
    if seen == fingerprint.value {
        return Ok(());
    }
    let what = match &fingerprint.subject {
        FingerprintSubject::Instances { service } => format!("the instances of {service}"),
        FingerprintSubject::Code { service, .. } => format!("the code of {service}"),
        FingerprintSubject::Schema { current, .. } => format!("the schema ({current})"),
        FingerprintSubject::File { path, .. } => path.display().to_string(),
        FingerprintSubject::Image { reference, .. } => format!("the image {reference}"),
    };
    let text = format!(
        "the plan is stale: {what} changed since it was made ({} then, {} now)",
        short(&fingerprint.value),
        short(&seen)
    );
    Err(
        OpsError::new(ErrorKind::Refused, SafeText::from_text(&text).to_string())
            .fix("ask for the plan again and look at it"),
    )
}

fn short(value: &str) -> &str {
    if value.contains(' ') || value.contains('@') {
        value
    } else {
        short_id(value)
    }
}
