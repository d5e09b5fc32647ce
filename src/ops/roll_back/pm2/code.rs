//! The code of an application: brought back by its release link or its checkout, or left alone and said so.
//!
//! A checkpoint holds configuration, not code. A link to a release folder and a clean checkout lead back to the code
//! that ran. Without either nothing does: then it is enough that the script which the checkpoint ran stands there
//! unchanged, as where each release has a script of its own and the ecosystem file chooses one. If that file was
//! changed in place, is gone, or was never read, the old configuration would start other code than the checkpoint
//! ran, so that it has to be asked for by `--configs-only`. What a script loads is not compared, which the plan says.

mod checkout;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::domain::checkpoint::{Checkpoint, SavedFile, SavedService};
use crate::domain::operation::{Fingerprint, FingerprintSubject, Step, StepWork};
use crate::domain::pm2::{GitCheckout, Pm2Code, ReleaseLink, SavedPm2};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId, short_id};
use crate::host::Host;
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError, code};

const LINK_LIMIT_MS: u64 = 10_000;
/// Makes a link lead elsewhere in one step, so that no start finds none.
const RELINK: &str = r#"ln -sfn -- "$1" "$2.lastgood" && mv -T -- "$2.lastgood" "$2" && [ "$(readlink -- "$2")" = "$1" ]"#;

/// What is to be done about the code.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It is what it was, as far as is said.
    Same(String),
    /// The link has to lead to the recorded release again.
    Relink(ReleaseLink, PathBuf),
    /// The recorded commit has to be checked out again.
    Checkout(GitCheckout, GitCheckout),
    /// Nothing brings it back, and why.
    Left(String),
}

/// The part of a rollback that concerns the code.
pub(super) struct Part {
    /// Its steps, the first of all that change something.
    pub(super) steps: Vec<Step>,
    /// What to know, the first line first.
    pub(super) notes: Vec<SafeText>,
    /// The files that have to be put back after those steps, at the places where they stand then.
    pub(super) files: Vec<SavedFile>,
    /// What must still be so when the application is deleted.
    pub(super) fingerprints: Vec<Fingerprint>,
}

fn decide(recorded: &Pm2Code, now: &Pm2Code, script: &str, saved: &[SavedFile]) -> Decision {
    let is_config = |path: &PathBuf| saved.iter().any(|file| file.path == *path);
    match (&recorded.link, &now.link) {
        (Some(was), Some(is)) if was.path == is.path && was.target != is.target => {
            return Decision::Relink(was.clone(), is.target.clone());
        }
        (Some(was), is) if is.as_ref().map(|is| &is.path) != Some(&was.path) => {
            return Decision::Left(format!("{} is no link any more", was.path.display()));
        }
        _ => {}
    }
    if let Some(was) = &recorded.git {
        let Some(is) = now.git.as_ref().filter(|is| is.folder == was.folder) else {
            let why = now.problem.as_ref().map(|text| format!(" ({text})"));
            return Decision::Left(format!(
                "{} is no checkout that holds it any more{}",
                was.folder.display(),
                why.unwrap_or_default()
            ));
        };
        let is_clean = was.changed.iter().chain(&is.changed).all(is_config);
        if was.commit == is.commit && is_clean {
            return Decision::Same(format!("commit {} is checked out", short_id(&was.commit)));
        }
        let changed = was.changed.iter().chain(&is.changed).next();
        return match changed {
            None => Decision::Checkout(was.clone(), is.clone()),
            Some(path) if was.changed.contains(path) => Decision::Left(format!(
                "the checkout was not clean at the checkpoint: {} differed from commit {}",
                path.display(),
                short_id(&was.commit)
            )),
            Some(path) => Decision::Left(format!(
                "{} has uncommitted changes, which a checkout of {} would lose",
                path.display(),
                short_id(&was.commit)
            )),
        };
    }
    let why = match &recorded.problem {
        Some(problem) => problem.to_string(),
        None => "it is neither in a git checkout nor behind a release link".to_owned(),
    };
    match (&recorded.script_sha256, &now.script_sha256) {
        (Some(was), Some(is)) if was == is => Decision::Same(format!(
            "{script} is what it was; what it loads was not compared"
        )),
        (Some(_), Some(_)) => Decision::Left(format!("{script} was changed in place, and {why}")),
        (Some(_), None) => Decision::Left(format!("{script} is gone, and {why}")),
        (None, _) => Decision::Left(format!("the checkpoint could not read {script}, and {why}")),
    }
}

/// Plans it. With `is_left` nothing is done about the code.
///
/// # Errors
/// Nothing brings the code back and that was not accepted ([`ErrorKind::Refused`]); the release that it should be is
/// gone or was changed ([`ErrorKind::No`]).
pub(super) async fn plan(
    ctx: &Context,
    service: &Service,
    checkpoint: &Checkpoint,
    saved: &SavedService,
    pm2: &SavedPm2,
    is_left: bool,
) -> Result<Part, OpsError> {
    let id = &service.id;
    let host = host_of(ctx, id)?;
    let now = code::look(ctx, id, &pm2.app).await?;
    let script = pm2.app.script().map(Path::to_owned);
    let shown = script.as_ref().map_or_else(
        || "its script".to_owned(),
        |script| script.display().to_string(),
    );
    let mut part = Part {
        steps: Vec::new(),
        notes: Vec::new(),
        files: saved.files.clone(),
        fingerprints: Vec::new(),
    };
    let decision = decide(&pm2.code, &now, &shown, &saved.files);
    if is_left {
        let now = match decision {
            Decision::Same(how) => format!("the code stays as it is ({how})"),
            Decision::Left(why) => format!("code is NOT rolled back: {why}"),
            Decision::Relink(..) | Decision::Checkout(..) => {
                format!("code is NOT rolled back, as asked for: it stays at {now}")
            }
        };
        part.notes.push(SafeText::from_text(&now));
        return Ok(part);
    }
    match decision {
        Decision::Same(how) => {
            let note = format!("the code stays as it is: {how}");
            part.notes.push(SafeText::from_text(&note));
            if let (Some(path), Some(sha256)) = (script, now.script_sha256) {
                let host = id.host.clone();
                part.fingerprints.push(Fingerprint {
                    subject: FingerprintSubject::File { host, path },
                    value: sha256,
                });
            }
        }
        Decision::Left(why) => {
            return Err(OpsError::new(
                ErrorKind::Refused,
                format!("the code of {id} is NOT rolled back: {why}"),
            )
            .fix(format!(
                "lastgood roll-back {id} --to {} --configs-only puts back its configuration and starts it with the code that stands there now",
                checkpoint.id
            )));
        }
        Decision::Relink(link, now_at) => {
            prove_release(host, id, &link, pm2).await?;
            let folder = link.folder();
            for file in &mut part.files {
                if let Ok(rest) = file.path.strip_prefix(&link.path) {
                    file.path = folder.join(rest);
                }
            }
            part.steps
                .push(relink(&link, &now_at, as_seen(id, pm2, &now)));
        }
        Decision::Checkout(was, is) => {
            let seen = as_seen(id, pm2, &now);
            checkout::checkout(ctx, id, &was, &is, seen, &mut part).await?;
        }
    }
    Ok(part)
}

fn relinking(target: &Path, link: &Path) -> StepWork {
    let words = ["sh", "-c", RELINK, "sh"].map(str::to_owned);
    let paths = [target, link].map(|path| path.display().to_string());
    StepWork::Command {
        argv: words.into_iter().chain(paths).collect(),
        cwd: None,
        env: BTreeMap::new(),
    }
}

/// The release folder is there, and its script is the one that ran.
async fn prove_release(
    host: &Host,
    id: &ServiceId,
    link: &ReleaseLink,
    pm2: &SavedPm2,
) -> Result<(), OpsError> {
    let folder = link.folder();
    let gone = |what: String| {
        OpsError::new(
            ErrorKind::No,
            format!("the release that {id} ran is not there any more: {what}"),
        )
        .fix("bring it back, or deploy it anew")
    };
    if !host
        .stat(&folder)
        .await
        .is_ok_and(|found| found.is_some_and(|f| f.is_folder))
    {
        return Err(gone(format!("there is no folder {}", folder.display())));
    }
    let rest = pm2
        .app
        .script()
        .and_then(|s| s.strip_prefix(&link.path).ok());
    let Some(script) = rest.map(|rest| folder.join(rest)) else {
        return Ok(());
    };
    if code::sha256(host, &script).await == pm2.code.script_sha256 {
        return Ok(());
    }
    Err(gone(format!("{} is not what it was", script.display())))
}

/// The code as it was seen for the plan.
fn as_seen(id: &ServiceId, pm2: &SavedPm2, now: &Pm2Code) -> Fingerprint {
    Fingerprint {
        value: now.to_string(),
        subject: FingerprintSubject::Code {
            service: id.clone(),
            app: Box::new(pm2.app.clone()),
        },
    }
}

fn relink(link: &ReleaseLink, now_at: &Path, seen: Fingerprint) -> Step {
    let work = relinking(&link.target, &link.path);
    let text = format!(
        "point {} to {} (now {})",
        link.path.display(),
        link.target.display(),
        now_at.display()
    );
    Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&shell_words::join([
            "ln".to_owned(),
            "-sfn".to_owned(),
            link.target.display().to_string(),
            link.path.display().to_string(),
        ]))),
        work,
        undo: Some(relinking(now_at, &link.path)),
        fingerprints: vec![seen],
        timeout_ms: LINK_LIMIT_MS,
        may_fail: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(sha256: Option<&str>) -> Pm2Code {
        Pm2Code {
            script_sha256: sha256.map(str::to_owned),
            ..Pm2Code::default()
        }
    }

    fn link(path: &str, target: &str) -> Pm2Code {
        Pm2Code {
            link: Some(ReleaseLink {
                path: path.into(),
                target: target.into(),
            }),
            ..script(Some("a"))
        }
    }

    fn git(commit: &str, changed: &[&str]) -> Pm2Code {
        Pm2Code {
            git: Some(GitCheckout {
                folder: "/srv".into(),
                commit: commit.repeat(40),
                branch: Some("main".into()),
                changed: changed.iter().map(PathBuf::from).collect(),
            }),
            ..script(Some("a"))
        }
    }

    fn decision(was: &Pm2Code, is: &Pm2Code) -> Decision {
        let config = SavedFile {
            path: "/srv/ecosystem.config.js".into(),
            file: PathBuf::new(),
            sha256: String::new(),
            mode: 0o644,
        };
        decide(was, is, "/srv/api.js", &[config])
    }

    fn left(was: &Pm2Code, is: &Pm2Code) -> String {
        match decision(was, is) {
            Decision::Left(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_script_alone_must_be_what_it_was() {
        let same = decision(&script(Some("a")), &script(Some("a")));
        assert!(
            matches!(same, Decision::Same(how) if how.contains("what it loads was not compared"))
        );
        assert!(left(&script(Some("a")), &script(Some("b"))).contains("changed in place"));
        assert!(left(&script(Some("a")), &script(None)).contains("is gone"));
        assert!(left(&script(None), &script(Some("a"))).contains("could not read"));
    }

    #[test]
    fn a_link_is_led_back_and_one_of_the_system_proves_nothing() {
        let was = link("/srv/current", "releases/41");
        let is = link("/srv/current", "releases/42");
        let Decision::Relink(to, now) = decision(&was, &is) else {
            panic!("no relink");
        };
        assert_eq!(to.folder(), Path::new("/srv/releases/41"));
        assert_eq!(now, Path::new("releases/42"));
        assert!(left(&was, &script(Some("a"))).contains("no link any more"));
        // `/srv` itself may be a link: that it leads where it did says nothing of the code below.
        let home = link("/srv", "data/srv");
        let changed = Pm2Code {
            script_sha256: Some("b".into()),
            ..home.clone()
        };
        assert!(left(&home, &changed).contains("changed in place"));
    }

    #[test]
    fn a_clean_checkout_is_checked_out_again() {
        assert!(matches!(
            decision(&git("a", &[]), &git("b", &[])),
            Decision::Checkout(..)
        ));
        assert!(matches!(
            decision(&git("a", &[]), &git("a", &["/srv/ecosystem.config.js"])),
            Decision::Same(_)
        ));
        for (was, is, why) in [
            (git("a", &[]), git("b", &["/srv/api.js"]), "uncommitted"),
            (git("a", &[]), git("a", &["/srv/api.js"]), "uncommitted"),
            (
                git("a", &["/srv/api.js"]),
                git("b", &[]),
                "not clean at the checkpoint",
            ),
            (git("a", &[]), script(Some("a")), "no checkout"),
        ] {
            let said = left(&was, &is);
            assert!(said.contains(why), "{said}");
        }
    }
}
