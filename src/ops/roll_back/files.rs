//! Which saved configuration files differ from those in place, and the steps that put them back.

use std::collections::BTreeMap;
use std::path::Path;

use super::kept;
use crate::analysis::redact::Redactor;
use crate::domain::checkpoint::{Checkpoint, SavedFile, SavedService};
use crate::domain::operation::{Fingerprint, FingerprintSubject, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::ops::operation::{ABSENT, describe, look_at};
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError};

/// Lines of a difference that the plan shows; more are counted.
const SHOWN: usize = 12;
/// Bigger files are put back without their difference being shown.
const MAX_DIFF: u64 = 1024 * 1024;
const WRITE_LIMIT_MS: u64 = 10_000;

/// Files to put back.
#[derive(Default)]
pub(super) struct PutBack {
    /// One step a file.
    pub(super) steps: Vec<Step>,
    /// The differences, secrets masked.
    pub(super) notes: Vec<SafeText>,
}

/// The saved files of a service that differ from those in place.
///
/// # Errors
/// A file cannot be looked at: what cannot be compared is not overwritten.
pub(super) async fn put_back(
    ctx: &Context,
    service: &Service,
    checkpoint: &Checkpoint,
    saved: &SavedService,
) -> Result<PutBack, OpsError> {
    let mut result = PutBack::default();
    let redactor = crate::ops::secrets::redactor(ctx, std::slice::from_ref(service)).await?;
    // A list of all applications of a daemon is not brought back for one of them: `pm2 save` writes it.
    let is_list = |file: &&SavedFile| {
        let pm2 = saved.pm2.as_ref();
        pm2.is_some_and(|pm2| pm2.app.is_saved_list(&file.path))
    };
    for file in saved.files.iter().filter(|file| !is_list(file)) {
        let subject = FingerprintSubject::File {
            host: service.id.host.clone(),
            path: file.path.clone(),
        };
        let now = look_at(ctx, &subject).await?;
        if now == file.sha256 {
            continue;
        }
        let source = checkpoint.path.join(&file.file);
        let (summary, notes) = difference(ctx, service, file, &source, &now, &redactor).await?;
        let undo = if now == ABSENT {
            StepWork::Command {
                argv: vec!["rm".into(), "--".into(), file.path.display().to_string()],
                cwd: None,
                env: BTreeMap::new(),
            }
        } else {
            StepWork::WriteFile {
                path: file.path.clone(),
                source: kept(ctx, &now),
                from_machine: false,
                mix: None,
                sha256: now.clone(),
                mode: file.mode,
            }
        };
        let work = StepWork::WriteFile {
            path: file.path.clone(),
            source,
            from_machine: false,
            mix: None,
            sha256: file.sha256.clone(),
            mode: file.mode,
        };
        let text = format!("put back {} ({summary})", file.path.display());
        result.steps.push(Step {
            text: SafeText::from_text(&text),
            manual: Some(SafeText::from_text(&describe(&work))),
            work,
            undo: Some(undo),
            fingerprints: vec![Fingerprint {
                subject,
                value: now,
            }],
            timeout_ms: WRITE_LIMIT_MS,
            may_fail: false,
        });
        result.notes.extend(notes);
    }
    Ok(result)
}

/// How a file differs: `2 lines differ`, and the lines.
async fn difference(
    ctx: &Context,
    service: &Service,
    file: &SavedFile,
    source: &Path,
    now: &str,
    redactor: &Redactor,
) -> Result<(String, Vec<SafeText>), OpsError> {
    if now == ABSENT {
        return Ok(("it is gone".to_owned(), Vec::new()));
    }
    let fail = |error: Box<dyn std::error::Error + Send + Sync>| {
        OpsError::new(
            ErrorKind::Failed,
            format!("cannot compare {}", file.path.display()),
        )
        .because(error)
    };
    let host = host_of(ctx, &service.id)?;
    let present = match host.read_file(&file.path, MAX_DIFF).await {
        Ok(content) => content,
        Err(crate::host::HostError::TooLarge { .. }) => {
            return Ok(("it differs".to_owned(), Vec::new()));
        }
        Err(error) => return Err(fail(error.into())),
    };
    let saved = tokio::fs::read(source).await.map_err(|e| fail(e.into()))?;
    let present = String::from_utf8_lossy(&present);
    let saved = String::from_utf8_lossy(&saved);
    let gone = only_in(&present, &saved);
    let back = only_in(&saved, &present);
    let count = gone.len().max(back.len());
    let summary = match count {
        0 => "the order of lines differs".to_owned(),
        1 => "1 line differs".to_owned(),
        n => format!("{n} lines differ"),
    };
    let lines = gone
        .iter()
        .map(|line| ('-', line))
        .chain(back.iter().map(|line| ('+', line)));
    let name = file
        .path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut notes: Vec<SafeText> = lines
        .take(SHOWN)
        .map(|(sign, line)| {
            let clean = redactor.redact(line);
            SafeText::from_text(&format!("{name} {sign} {clean}"))
        })
        .collect();
    let all = gone.len() + back.len();
    if all > SHOWN {
        let more = format!("{name} … {} more lines", all - SHOWN);
        notes.push(SafeText::from_text(&more));
    }
    Ok((summary, notes))
}

/// Lines of `a` that `b` has not, or has fewer of.
fn only_in<'a>(a: &'a str, b: &str) -> Vec<&'a str> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for line in b.lines() {
        *left.entry(line).or_default() += 1;
    }
    a.lines()
        .filter(|line| match left.get_mut(line) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_with_their_repeats() {
        assert_eq!(only_in("a\nb\nb\nc", "b\nc"), ["a", "b"]);
        assert!(only_in("b\na", "a\nb").is_empty());
    }
}
