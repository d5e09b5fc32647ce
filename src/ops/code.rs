//! Which code an application under PM2 runs: the release that a link chooses, a commit, or only its script.
//!
//! PM2 knows a path and the version in a `package.json`. A deploy that writes other code to the same path leaves both
//! as they are, so a checkpoint looks at the files themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::services::host_of;
use super::{Context, ErrorKind, OpsError};
use crate::domain::digest;
use crate::domain::pm2::{GitCheckout, Pm2App, Pm2Code, ReleaseLink};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::host::{Command, Host, HostError};

/// The state of a large work tree takes git a second; on a cold disk, several.
const GIT_LIMIT: Duration = Duration::from_secs(20);
/// A bundled script has some MiB.
const MAX_SCRIPT: u64 = 64 * 1024 * 1024;
/// Says, each with a NUL after it: the top folder, the commit, the branch, then the tracked files that differ. `$2` is
/// a file that the checkout must hold, or nothing. Exit 3: it is in no checkout.
const LOOK: &str = r#"cd "$1" || exit 1
git rev-parse --git-dir >/dev/null 2>&1 || { git rev-parse --git-dir 2>&1 | grep -q "not a git repository" && exit 3; }
top=$(git rev-parse --show-toplevel) && commit=$(git rev-parse --verify HEAD) || exit 1
[ -z "$2" ] || git ls-files --error-unmatch -- "$2" >/dev/null 2>&1 || exit 3
printf '%s\0%s\0%s\0' "$top" "$commit" "$(git symbolic-ref -q --short HEAD)"
exec git status --porcelain=v1 -z --untracked-files=no"#;
const NOT_IN_GIT: i32 = 3;

/// Looks at the code that stands now where an application has its script. Of a checkout that the configuration names
/// it is taken as said that it holds the code; any other has to track the script.
///
/// # Errors
/// The session does not know the host.
pub(super) async fn look(ctx: &Context, id: &ServiceId, app: &Pm2App) -> Result<Pm2Code, OpsError> {
    let host = host_of(ctx, id)?;
    let script = app.script();
    let folder = folder_of(app);
    let (link, closed) = match folder.map(|folder| deepest_link(host, folder)) {
        Some(looking) => match looking.await {
            Ok(link) => (link, None),
            Err(error) if error.is_lost() => {
                let what = format!("cannot look at the code of {id}");
                return Err(OpsError::new(ErrorKind::Failed, what).because(error));
            }
            Err(error) => (None, Some(SafeText::from_error(&error))),
        },
        None => (None, None),
    };
    let (git, problem) = match (ctx.config.service(id).git, folder) {
        (Some(configured), _) => git(host, &configured, None).await,
        (None, Some(folder)) => git(host, folder, script).await,
        (None, None) => (None, None),
    };
    Ok(Pm2Code {
        link,
        git,
        script_sha256: match script {
            Some(script) => sha256(host, script).await,
            None => None,
        },
        problem: closed.or(problem),
    })
}

/// SHA-256 of a file, hex; `None` where it cannot be read.
pub(super) async fn sha256(host: &Host, path: &Path) -> Option<String> {
    let content = host.read_file(path, MAX_SCRIPT).await.ok()?;
    Some(digest::sha256(&content))
}

/// The folder that holds the code: the script's, unless that is a program from elsewhere (`npm`), or else where it runs.
fn folder_of(app: &Pm2App) -> Option<&Path> {
    match (app.script(), app.cwd.as_deref()) {
        (Some(script), Some(cwd)) if !script.starts_with(cwd) => Some(cwd),
        (Some(script), _) => script.parent(),
        (None, cwd) => cwd,
    }
}

/// The last link on the way to a folder: releases are switched as near to the code as can be.
async fn deepest_link(host: &Host, folder: &Path) -> Result<Option<ReleaseLink>, HostError> {
    for path in folder.ancestors() {
        if let Some(target) = host.read_link(path).await? {
            return Ok(Some(ReleaseLink {
                path: path.to_owned(),
                target,
            }));
        }
    }
    Ok(None)
}

async fn git(
    host: &Host,
    folder: &Path,
    tracked: Option<&Path>,
) -> (Option<GitCheckout>, Option<SafeText>) {
    let folder = folder.to_string_lossy();
    let tracked = tracked.map(Path::to_string_lossy).unwrap_or_default();
    let mut command = Command::shell(LOOK, &[&*folder, &*tracked], GIT_LIMIT)
        .with_clean_env()
        // Looking must not write the index anew.
        .with_env("GIT_OPTIONAL_LOCKS", "0")
        .with_env("LC_ALL", "C");
    command.max_output = 16 * 1024 * 1024;
    match host.query(&command).await {
        Ok(output) if output.is_success() => match parse(&output.stdout) {
            Some(checkout) => (Some(checkout), None),
            None => (
                None,
                Some(SafeText::from_text("git: an answer that cannot be read")),
            ),
        },
        Ok(output) if output.code == Some(NOT_IN_GIT) => (None, None),
        Ok(output) => {
            let text = format!("git in {folder}: {}", output.describe());
            (None, Some(SafeText::from_text(&text)))
        }
        Err(error) => (None, Some(SafeText::from_error(&error))),
    }
}

fn parse(output: &[u8]) -> Option<GitCheckout> {
    let text = String::from_utf8_lossy(output);
    let mut parts = text.split('\0');
    let folder = PathBuf::from(parts.next().filter(|top| top.starts_with('/'))?);
    let commit = parts.next().filter(|commit| commit.len() >= 40)?.to_owned();
    let branch = parts.next()?;
    let mut changed = Vec::new();
    while let Some(entry) = parts.next() {
        // Two letters, a blank, the path.
        let Some((state, path)) = entry.split_at_checked(3) else {
            continue;
        };
        changed.push(folder.join(path));
        if state.starts_with(['R', 'C']) {
            changed.extend(parts.next().map(|from| folder.join(from)));
        }
    }
    Some(GitCheckout {
        folder,
        commit,
        branch: (!branch.is_empty()).then(|| branch.to_owned()),
        changed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pm2::tests::{app, run};

    async fn sh(folder: &Path, line: &str) {
        let command = Command::shell(line, &[], GIT_LIMIT).in_folder(folder);
        let output = Host::Local.query(&command).await.unwrap();
        assert!(output.is_success(), "{line}: {}", output.describe());
    }

    #[tokio::test]
    async fn a_checkout_is_its_commit_and_what_differs_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let script = dir.join("api.js");
        assert_eq!(git(&Host::Local, &dir, Some(&script)).await, (None, None));
        sh(
            &dir,
            "git init -q -b main . && echo 1 > api.js && echo 1 > 'two words' && git add . \
             && git -c user.name=a -c user.email=a@b commit -q -m one && echo 2 > untracked.js",
        )
        .await;
        let (checkout, problem) = git(&Host::Local, &dir, Some(&script)).await;
        assert_eq!(problem, None);
        let checkout = checkout.unwrap();
        assert_eq!(checkout.folder, dir);
        assert_eq!(checkout.branch.as_deref(), Some("main"));
        assert_eq!(checkout.commit.len(), 40);
        assert!(checkout.changed.is_empty(), "{checkout:?}");
        sh(
            &dir,
            "echo 2 > 'two words'; git mv api.js moved.js; git checkout -q --detach",
        )
        .await;
        let moved = dir.join("moved.js");
        let (checkout, _) = git(&Host::Local, &dir, Some(&moved)).await;
        let checkout = checkout.unwrap();
        assert_eq!(checkout.branch, None);
        assert_eq!(
            checkout.changed,
            [moved, script, dir.join("two words")],
            "{checkout:?}"
        );
        // What the checkout does not hold it does not bring back.
        let untracked = dir.join("untracked.js");
        assert_eq!(
            git(&Host::Local, &dir, Some(&untracked)).await,
            (None, None)
        );
    }

    #[tokio::test]
    async fn the_link_nearest_to_the_code_chooses_the_release() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("data/releases/41/dist")).unwrap();
        std::os::unix::fs::symlink("data", at("srv")).unwrap();
        std::os::unix::fs::symlink("releases/41", at("data/current")).unwrap();
        let folder = at("srv/current/dist");
        let link = deepest_link(&Host::Local, &folder).await;
        let link = link.unwrap().unwrap();
        assert_eq!(link.path, at("srv/current"));
        assert_eq!(link.target, Path::new("releases/41"));
        assert_eq!(link.folder(), at("srv/releases/41"));
    }

    #[test]
    fn a_program_from_elsewhere_is_not_the_code() {
        let npm = app([run("/usr/bin/npm", 3)]);
        assert_eq!(folder_of(&npm), Some(Path::new("/srv/shop")));
        let own = app([run("/srv/shop/dist/api.js", 3)]);
        assert_eq!(folder_of(&own), Some(Path::new("/srv/shop/dist")));
    }
}
