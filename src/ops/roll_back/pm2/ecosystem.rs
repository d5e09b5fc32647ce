//! The ecosystem file that an application is started from: found among the saved ones, and read before it is needed.

use std::path::Path;

use crate::domain::checkpoint::{Checkpoint, SavedFile, SavedService};
use crate::domain::operation::{Fingerprint, FingerprintSubject, Step, StepWork};
use crate::domain::pm2::{ECOSYSTEM_FILES, Pm2App, SavedPm2};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::ops::secrets::in_folder;
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime::pm2::Tool;
use crate::runtime::pm2::ecosystem::{Declared, declared, is_ecosystem_file};

/// The saved ecosystem file that declares the application with the script that the checkpoint ran.
///
/// # Errors
/// There is none; with what each file says instead.
pub(super) async fn find<'a>(
    ctx: &Context,
    service: &Service,
    tool: &Tool,
    checkpoint: &Checkpoint,
    saved: &'a SavedService,
    pm2: &SavedPm2,
) -> Result<&'a SavedFile, OpsError> {
    let host = host_of(ctx, &service.id)?;
    let mut reasons = String::new();
    for file in candidates(ctx, service, saved, &pm2.app) {
        let place = file.path.display();
        let source = checkpoint.path.join(&file.file);
        let reason = match declared(host, tool, &source, &file.path).await {
            Err(error) => SafeText::from_error(&error).to_string(),
            Ok(apps) => match apps.iter().find(|found| found.name == pm2.app.name) {
                None => format!("{place} does not declare {}", pm2.app.name),
                Some(found) if pm2.app.script() == Some(&found.script) => return Ok(file),
                Some(found) => format!(
                    "{place} starts {}, and the checkpoint ran {}",
                    found.script.display(),
                    pm2.app.identity()
                ),
            },
        };
        reasons.push_str(&reason);
        reasons.push('\n');
    }
    let text = if reasons.is_empty() {
        format!(
            "checkpoint {} holds no ecosystem file of {}: PM2 cannot start it again as it was",
            checkpoint.id, service.id
        )
    } else {
        format!(
            "no ecosystem file of checkpoint {} starts what {} ran",
            checkpoint.id, service.id
        )
    };
    Err(OpsError::new(ErrorKind::No, text)
        .lines(&reasons)
        .fix(format!(
            "name the file for the next checkpoint: [services.\"{}\"] config_files = [\"/path/ecosystem.config.js\"]",
            service.id
        )))
}

/// The saved files that may be it: the configured ones first, then those beside the application.
fn candidates<'a>(
    ctx: &Context,
    service: &Service,
    saved: &'a SavedService,
    app: &Pm2App,
) -> Vec<&'a SavedFile> {
    let cwd = app.cwd.as_deref();
    let configured = ctx.config.service(&service.id).config_files;
    let configured = configured.iter().map(|path| in_folder(cwd, path));
    let beside = ECOSYSTEM_FILES
        .iter()
        .filter_map(|name| Some(cwd?.join(name)));
    let mut found: Vec<&SavedFile> = Vec::new();
    for path in configured
        .filter(|path| is_ecosystem_file(path))
        .chain(beside)
    {
        let file = saved.files.iter().find(|file| file.path == path);
        found.extend(file.filter(|file| !found.contains(file)));
    }
    found
}

/// Whether the ecosystem file as it is now would start what runs now.
pub(super) async fn is_what_starts(
    ctx: &Context,
    service: &Service,
    tool: &Tool,
    running: &Pm2App,
    place: &Path,
) -> bool {
    let Ok(host) = host_of(ctx, &service.id) else {
        return false;
    };
    let is_it =
        |found: &Declared| found.name == running.name && running.script() == Some(&found.script);
    let apps = declared(host, tool, place, place).await;
    apps.is_ok_and(|apps| apps.iter().any(is_it))
}

/// The ecosystem file where no step writes it: if it changes, the plan was made for something else.
pub(super) fn untouched(
    service: &Service,
    ecosystem: &SavedFile,
    steps: &[Step],
) -> Option<Fingerprint> {
    let is_written = steps.iter().any(
        |step| matches!(&step.work, StepWork::WriteFile { path, .. } if *path == ecosystem.path),
    );
    (!is_written).then(|| Fingerprint {
        subject: FingerprintSubject::File {
            host: service.id.host.clone(),
            path: ecosystem.path.clone(),
        },
        value: ecosystem.sha256.clone(),
    })
}
