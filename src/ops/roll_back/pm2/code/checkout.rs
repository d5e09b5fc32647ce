//! Checking a recorded commit out again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::Part;
use crate::domain::digest;
use crate::domain::operation::{Fingerprint, Step, StepWork};
use crate::domain::pm2::GitCheckout;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{ServiceId, short_id};
use crate::host::{Command, Host};
use crate::ops::operation::describe;
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError};

/// A checkout of a large work tree from a cold disk.
const CHECKOUT_LIMIT_MS: u64 = 60_000;
/// `npm ci` of a large application.
const INSTALL_LIMIT_MS: u64 = 300_000;
/// A question to git.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const MAX_FILE: usize = 16 * 1024 * 1024;

/// The words of a checkout of a commit or a branch.
fn checking_out(folder: &Path, branch: Option<&str>, commit: &str) -> Vec<String> {
    let folder = folder.display().to_string();
    let mut words: Vec<String> = ["git", "-C", &folder, "checkout", "--quiet"]
        .map(str::to_owned)
        .to_vec();
    match branch {
        Some(branch) => words.push(branch.to_owned()),
        None => words.extend(["--detach".to_owned(), commit.to_owned()]),
    }
    words
}

/// The steps that check the recorded commit out and install what it needs. Files that the commit holds are no longer
/// put back one by one.
///
/// # Errors
/// The commit is gone, or git cannot be asked.
pub(super) async fn checkout(
    ctx: &Context,
    id: &ServiceId,
    was: &GitCheckout,
    is: &GitCheckout,
    seen: Fingerprint,
    part: &mut Part,
) -> Result<(), OpsError> {
    let host = host_of(ctx, id)?;
    let commit = format!("{}^{{commit}}", was.commit);
    if ask(host, &was.folder, &["cat-file", "-e", &commit])
        .await?
        .0
        != Some(0)
    {
        return Err(OpsError::new(
            ErrorKind::No,
            format!(
                "commit {} is not in {} any more",
                was.commit,
                was.folder.display()
            ),
        )
        .fix(format!("git -C {} fetch", was.folder.display())));
    }
    // What the commit holds comes back with it.
    let mut left = Vec::new();
    for file in part.files.drain(..) {
        let held = match file.path.strip_prefix(&was.folder) {
            Ok(rest) => {
                let blob = format!("{}:{}", was.commit, rest.display());
                let (code, content) = ask(host, &was.folder, &["cat-file", "blob", &blob]).await?;
                (code == Some(0)).then(|| digest::sha256(&content))
            }
            Err(_) => None,
        };
        if held.as_ref() != Some(&file.sha256) {
            left.push(file);
        }
    }
    part.files = left;
    let settings = ctx.config.service(id);
    let watched = settings.install_if.clone();
    let lock = watched.unwrap_or_else(|| "package-lock.json".into());
    let lock_text = lock.display().to_string();
    let range = ["diff", "--quiet", &is.commit, &was.commit, "--", &lock_text];
    let is_lock_same = ask(host, &was.folder, &range).await?.0 == Some(0);
    let install = settings
        .install
        .filter(|_| !is_lock_same || settings.install_if.is_none());
    if install.is_none() && !is_lock_same {
        let note = format!(
            "{lock_text} differs between the commits and no install command is configured: the installed packages stay as they are"
        );
        part.notes.push(SafeText::from_text(&note));
    }
    let forward = checking_out(&was.folder, None, &was.commit);
    let mut back = checking_out(&is.folder, is.branch.as_deref(), &is.commit);
    if let Some(install) = &install {
        let line = format!("{} && {install}", shell_words::join(&back));
        back = vec!["sh".to_owned(), "-c".to_owned(), line];
    }
    let command = |argv: Vec<String>| StepWork::Command {
        argv,
        cwd: Some(was.folder.clone()),
        env: BTreeMap::new(),
    };
    let work = command(forward.clone());
    let now = is.branch.as_deref().unwrap_or("no branch");
    let text = format!(
        "{}  (now {} on {now})",
        shell_words::join(&forward),
        short_id(&is.commit)
    );
    part.notes.push(SafeText::from_text(&format!(
        "{} is left at commit {} without a branch",
        was.folder.display(),
        short_id(&was.commit)
    )));
    part.steps.push(Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: Some(command(back)),
        fingerprints: vec![seen],
        timeout_ms: CHECKOUT_LIMIT_MS,
        may_fail: false,
    });
    if let Some(install) = install {
        let work = command(vec!["sh".to_owned(), "-c".to_owned(), install.clone()]);
        part.steps.push(Step {
            text: SafeText::from_text(&format!("run: {install}")),
            manual: Some(SafeText::from_text(&describe(&work))),
            work,
            // The way back of the checkout installs again.
            undo: None,
            fingerprints: Vec::new(),
            timeout_ms: INSTALL_LIMIT_MS,
            may_fail: false,
        });
    }
    Ok(())
}

/// Asks git about a checkout; its exit code and what it printed.
async fn ask(
    host: &Host,
    folder: &Path,
    words: &[&str],
) -> Result<(Option<i32>, Vec<u8>), OpsError> {
    let folder = folder.to_string_lossy();
    let argv = ["git", "-C", &folder]
        .into_iter()
        .chain(words.iter().copied());
    let mut command = Command::new(argv, ANSWER_LIMIT).with_clean_env();
    command.max_output = MAX_FILE;
    let output = host.query(&command).await.map_err(|error| {
        OpsError::new(ErrorKind::Failed, format!("cannot ask git in {folder}")).because(error)
    })?;
    Ok((output.code, output.stdout))
}
