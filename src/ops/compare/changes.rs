//! What the deploy changed: image, commit, configuration files, environment. Secrets are tokens that keep their
//! identity, so that a changed secret shows as changed and nothing more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{show, swarm};
use crate::analysis::align::{LineChange, line_changes};
use crate::analysis::redact::Redactor;
use crate::domain::change::{Change, ChangeKind};
use crate::domain::checkpoint::{SavedFile, SavedService};
use crate::domain::pm2::SavedPm2;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Release, RuntimeLimits, Service, ServiceId, short_id};
use crate::domain::settings::ServiceSettings;
use crate::host::{Host, HostError};
use crate::ops::Context;
use crate::ops::input::Baseline;
use crate::ops::services::host_of;

/// So many changed lines of one file are told one by one.
const MAX_LINES: usize = 20;
/// A bigger file is told as changed, not line by line.
const MAX_FILE: u64 = 1024 * 1024;

/// Everything that differs between a service of the checkpoint and the service as it runs now, and what could
/// not be looked at.
pub(super) async fn find(
    ctx: &Context,
    baseline: &Baseline,
    before: &SavedService,
    now: &Service,
    settings: &ServiceSettings,
    redactor: &Redactor,
) -> (Vec<Change>, Vec<SafeText>) {
    let mut changes = of_releases(&now.id, &before.release, &now.release);
    changes.extend(of_limits(
        &now.id,
        before.limits.as_ref(),
        Some(&now.limits),
    ));
    let specs = Box::pin(swarm::find(ctx, baseline, before, now, redactor));
    let (specs, lost) = specs.await;
    changes.extend(specs);
    let mut missing: Vec<SafeText> = lost.into_iter().collect();
    for file in &before.files {
        // Lists of what PM2 runs, of all applications: uptimes and environments, which change by themselves.
        let is_list = |saved: &SavedPm2| saved.app.is_saved_list(&file.path);
        if before.pm2.as_ref().is_some_and(is_list) {
            continue;
        }
        match read_both(ctx, baseline, &now.id, file).await {
            Ok((old, new)) if new.as_ref() == Some(&old) => {}
            Ok((old, new)) => changes.extend(of_file(
                &now.id,
                file,
                &old,
                new.as_deref(),
                is_env(file, settings),
                redactor,
            )),
            Err(why) => missing.push(SafeText::from_text(&format!(
                "{}: {} could not be compared: {why}",
                now.id,
                file.path.display()
            ))),
        }
    }
    (changes, missing)
}

/// The copy in the checkpoint, and the file now; `None` where it is gone.
async fn read_both(
    ctx: &Context,
    baseline: &Baseline,
    id: &ServiceId,
    file: &SavedFile,
) -> Result<(String, Option<String>), String> {
    let copy = baseline.path.join(&file.file);
    let old = read(&Host::Local, &copy).await?;
    let old = old.ok_or("its copy in the checkpoint is gone")?;
    let host = host_of(ctx, id).map_err(|error| error.to_safe_text().to_string())?;
    Ok((old, read(host, &file.path).await?))
}

async fn read(host: &Host, path: &Path) -> Result<Option<String>, String> {
    match host.read_file(path, MAX_FILE).await {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.is_not_found() => Ok(None),
        Err(HostError::TooLarge { .. }) => Err("it is over 1 MiB".to_owned()),
        Err(error) => Err(SafeText::from_error(&error).to_string()),
    }
}

/// Image and commit, by identity.
pub(super) fn of_releases(id: &ServiceId, before: &Release, after: &Release) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |what, old: Option<String>, new: Option<String>| {
        changes.push(Change {
            service: id.clone(),
            what,
            before: old.map(|t| SafeText::from_text(&t)),
            after: new.map(|t| SafeText::from_text(&t)),
        });
    };
    let image = |release: &Release| {
        let digest = release.digest.as_deref()?;
        Some(match &release.image {
            Some(name) => format!("{name} ({})", short_id(digest)),
            None => short_id(digest).to_owned(),
        })
    };
    if before.digest != after.digest {
        add(ChangeKind::Image, image(before), image(after));
    }
    if before.git != after.git {
        add(ChangeKind::Git, before.git.clone(), after.git.clone());
    } else if before.path != after.path && before.digest.is_none() && after.digest.is_none() {
        // A service run by commands says in its own words which release it is.
        let text = |release: &Release| release.path.as_ref().map(ToString::to_string);
        add(ChangeKind::Image, text(before), text(after));
    }
    changes
}

/// Limits of the supervisor that differ. Where one side did not keep them there is nothing to tell.
pub(super) fn of_limits(
    id: &ServiceId,
    before: Option<&RuntimeLimits>,
    after: Option<&RuntimeLimits>,
) -> Vec<Change> {
    let (Some(before), Some(after)) = (before, after) else {
        return Vec::new();
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let told = |limits: &RuntimeLimits, name: &String| {
        let text = match limits.get(name) {
            Some(value) => format!("{name} {value}"),
            None => format!("no limit of {name}"),
        };
        Some(SafeText::from_text(&text))
    };
    let moved = names
        .into_iter()
        .filter(|n| before.get(*n) != after.get(*n));
    moved
        .map(|name| Change {
            service: id.clone(),
            what: ChangeKind::Limits,
            before: told(before, name),
            after: told(after, name),
        })
        .collect()
}

fn is_env(file: &SavedFile, settings: &ServiceSettings) -> bool {
    let name = file
        .path
        .file_name()
        .map(|n| n.to_string_lossy())
        .unwrap_or_default();
    name == ".env"
        || name.starts_with(".env.")
        || name.ends_with(".env")
        || settings.env_files.iter().any(|e| file.path.ends_with(e))
}

/// The lines that changed, each as one change; what is over the bound is counted.
fn of_file(
    id: &ServiceId,
    file: &SavedFile,
    old: &str,
    new: Option<&str>,
    is_env: bool,
    redactor: &Redactor,
) -> Vec<Change> {
    let what = if is_env {
        ChangeKind::Env
    } else {
        ChangeKind::Config
    };
    let name = file
        .path
        .file_name()
        .map(|n| n.to_string_lossy())
        .unwrap_or_default();
    let Some(new) = new else {
        let lines = format!("{name}: {} lines", old.lines().count());
        return vec![Change {
            service: id.clone(),
            what,
            before: Some(show(redactor, lines.as_bytes())),
            after: None,
        }];
    };
    of_texts(id, what, &name, (old, new), redactor)
}

/// The lines of a text that changed, each as one change; what is over the bound is counted.
pub(super) fn of_texts(
    id: &ServiceId,
    what: ChangeKind,
    name: &str,
    (old, new): (&str, &str),
    redactor: &Redactor,
) -> Vec<Change> {
    let change = |before: Option<String>, after: Option<String>| Change {
        service: id.clone(),
        what,
        before: before.map(|t| show(redactor, t.as_bytes())),
        after: after.map(|t| show(redactor, t.as_bytes())),
    };
    // A pathological pair of files must not hold the verdict up.
    let deadline = Instant::now() + Duration::from_millis(200);
    let lines = line_changes(old, new, Some(deadline));
    let text = |line: &Option<(usize, String)>| {
        line.as_ref()
            .map(|(number, text)| format!("{name}:{number}: {}", text.trim_end()))
    };
    let mut changes: Vec<Change> = lines
        .iter()
        .filter(|l| !is_blank(l))
        .take(MAX_LINES)
        .map(|l| change(text(&l.before), text(&l.after)))
        .collect();
    let more = lines
        .iter()
        .filter(|l| !is_blank(l))
        .count()
        .saturating_sub(MAX_LINES);
    if more > 0 {
        changes.push(change(
            Some(format!("{name}: … and {more} more changed lines")),
            Some(format!("{name}: …")),
        ));
    }
    changes
}

fn is_blank(line: &LineChange) -> bool {
    let blank = |l: &Option<(usize, String)>| l.as_ref().is_none_or(|(_, t)| t.trim().is_empty());
    blank(&line.before) && blank(&line.after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::redact::{KnownSecrets, RedactionKey};

    fn redactor() -> Redactor {
        Redactor::new(&KnownSecrets::default(), RedactionKey([7; 32]))
    }

    fn id() -> ServiceId {
        ServiceId::local("shop", "backend")
    }

    fn file(path: &str) -> SavedFile {
        SavedFile {
            path: path.into(),
            file: "configs/x".into(),
            sha256: String::new(),
            mode: 0o600,
        }
    }

    #[test]
    fn an_image_is_told_by_its_id() {
        let release = |tag: &str, digest: &str| Release {
            image: Some(SafeText::from_text(tag)),
            digest: Some(format!("sha256:{digest}")),
            ..Release::default()
        };
        let changes = of_releases(
            &id(),
            &release("shop:latest", "aaaaaaaaaaaabbbb"),
            &release("shop:latest", "ccccccccccccdddd"),
        );
        assert_eq!(changes.len(), 1);
        assert_eq!(
            changes[0].before.as_ref().unwrap().as_str(),
            "shop:latest (aaaaaaaaaaaa)"
        );
        assert!(
            of_releases(&id(), &release("a", "1"), &release("b", "1")).is_empty(),
            "a tag alone is no change"
        );
    }

    #[test]
    fn limits_are_told_one_by_one() {
        let limits = |all: &[(&str, &str)]| -> RuntimeLimits {
            let owned = all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        let before = limits(&[("cpus", "0.5"), ("memory", "256 MiB")]);
        let after = limits(&[("cpus", "0.5"), ("restarts", "on-failure:3")]);
        let changes = of_limits(&id(), Some(&before), Some(&after));
        let told: Vec<String> = (changes.iter())
            .map(|c| {
                let (b, a) = (c.before.as_ref().unwrap(), c.after.as_ref().unwrap());
                format!("{} {b} → {a}", c.what.as_str())
            })
            .collect();
        assert_eq!(
            told,
            [
                "limits memory 256 MiB → no limit of memory",
                "limits no limit of restarts → restarts on-failure:3"
            ]
        );
        assert!(of_limits(&id(), None, Some(&after)).is_empty());
    }

    #[test]
    fn a_changed_secret_shows_as_changed_and_nothing_more() {
        let old = "PORT=80\nAPI_TOKEN=sk-aaaaaaaaaaaaaaaaaaaaaaaa\n";
        let new = "PORT=81\nAPI_TOKEN=sk-bbbbbbbbbbbbbbbbbbbbbbbb\n";
        let changes = of_file(
            &id(),
            &file("/srv/shop/.env"),
            old,
            Some(new),
            true,
            &redactor(),
        );
        assert_eq!(changes.len(), 2);
        assert!(changes.iter().all(|c| c.what == ChangeKind::Env));
        assert_eq!(
            changes[0].after.as_ref().unwrap().as_str(),
            ".env:1: PORT=81"
        );
        let (before, after) = (
            changes[1].before.as_ref().unwrap(),
            changes[1].after.as_ref().unwrap(),
        );
        assert_ne!(before, after);
        assert!(
            !before.as_str().contains("aaaaaaaa") && !after.as_str().contains("bbbbbbbb"),
            "{before} {after}"
        );
    }

    #[test]
    fn a_file_that_is_gone_is_a_change() {
        let changes = of_file(
            &id(),
            &file("/srv/nginx.conf"),
            "a\nb\n",
            None,
            false,
            &redactor(),
        );
        assert_eq!((changes.len(), changes[0].after.clone()), (1, None));
    }
}
