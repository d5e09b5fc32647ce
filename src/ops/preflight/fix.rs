//! `--fix CHECK` as a plan: leftovers are moved out of the folder, files with secrets are closed to others.
//!
//! Only what can be taken back is done: nothing is deleted. The other checks say in words what to do, since what is right
//! there only people know.

use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::gather;
use crate::analysis::preflight::{Facts, known};
use crate::domain::operation::{Operation, Plan, Risk, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::ops::{Context, ErrorKind, OpsError};

/// Checks for which there is a plan.
const WITH_PLAN: &[&str] = &["artifacts", "secret-files"];
const STEP_LIMIT_MS: u64 = 60_000;
/// Compares the permission bits of a file with those that it should have.
const HAS_MODE: &str = r#"test "$(stat -c %a -- "$1")" = "$2""#;

/// Whether there is a plan that makes a check ok.
pub fn has_plan(check: &str) -> bool {
    WITH_PLAN.contains(&check)
}

/// The plan that makes one check ok.
///
/// # Errors
/// No such check, none that a plan can fix, unknown service ([`ErrorKind::Usage`]); nothing to fix
/// ([`ErrorKind::No`]); services of several hosts.
pub(in crate::ops) async fn plan(
    ctx: &Context,
    operation: &Operation,
    check: &str,
    names: &[String],
) -> Result<Plan, OpsError> {
    let check = known(check).map_err(|text| {
        OpsError::new(ErrorKind::Usage, text).fix("lastgood preflight --help lists them")
    })?;
    if !has_plan(check) {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "{check} is not fixed by a plan: `lastgood preflight` says what to do about it"
            ),
        )
        .fix(format!("--fix {}", WITH_PLAN.join(" or --fix "))));
    }
    let facts = gather(ctx, names).await?;
    let (services, steps) = match check {
        "artifacts" => artifacts(&facts),
        _ => secret_files(&facts),
    };
    let Some(first) = services.first() else {
        return Err(OpsError::new(
            ErrorKind::No,
            format!("nothing to fix: {check} is ok"),
        ));
    };
    let host = first.host.clone();
    if let Some(other) = services.iter().find(|id| id.host != host) {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!("{first} and {other} are on two hosts: one plan is for one host"),
        )
        .fix(format!("lastgood preflight {first} --fix {check}")));
    }
    Ok(Plan {
        operation: operation.clone(),
        host,
        risk: Risk::Disruptive,
        services,
        from: None,
        to: None,
        notes: vec![SafeText::from_text(
            "nothing is restarted and nothing is deleted",
        )],
        steps,
        not_rolled_back: Vec::new(),
        on_failure: Some(SafeText::from_text(
            "what was done is taken back, the newest first",
        )),
        downtime_ms: Some(0),
        budget_ms: STEP_LIMIT_MS * 2,
        hash: String::new(),
    }
    .seal())
}

/// Each leftover is moved into a folder beside the service's own, on the same disk, so that it is whole, can be put back
/// and takes no time.
fn artifacts(facts: &Facts) -> (Vec<ServiceId>, Vec<Step>) {
    let stamp = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let (mut services, mut steps) = (Vec::new(), Vec::new());
    for service in &facts.services {
        let found = service.artifacts.iter().flatten().flatten();
        let paths: Vec<&PathBuf> = found.map(|artifact| &artifact.path).collect();
        let Some(folder) = paths.first().and_then(|path| path.parent()) else {
            continue;
        };
        services.push(service.id.clone());
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let to = folder.with_file_name(format!("{name}.removed-{stamp}"));
        steps.push(step(
            &format!("make {}", to.display()),
            command(["mkdir", "-m", "700", "--"], &[&to]),
            Some(command(["rmdir", "--", "", ""], &[&to])),
        ));
        for path in paths {
            let target = to.join(path.file_name().unwrap_or_default());
            steps.push(step(
                &format!("move {} to {}", path.display(), target.display()),
                command(["mv", "-T", "-n", "--"], &[path, &target]),
                Some(command(["mv", "-T", "-n", "--"], &[&target, path])),
            ));
            steps.push(step(
                &format!("{} is gone from the folder", path.display()),
                command(["test", "!", "-e", ""], &[path]),
                None,
            ));
        }
    }
    (services, steps)
}

/// Nobody but owner and group may read them.
fn secret_files(facts: &Facts) -> (Vec<ServiceId>, Vec<Step>) {
    let (mut services, mut steps) = (Vec::new(), Vec::new());
    for service in &facts.services {
        let open: Vec<_> = service
            .secret_files
            .iter()
            .filter(|file| file.is_open())
            .collect();
        if open.is_empty() {
            continue;
        }
        services.push(service.id.clone());
        for file in open {
            let path = &file.path;
            let was = format!("{:o}", file.mode & 0o7777);
            let closed = format!("{:o}", file.mode & 0o7770);
            steps.push(step(
                &format!(
                    "close {} to others: mode {closed}, {was} before",
                    path.display()
                ),
                command(["chmod", &closed, "--", ""], &[path]),
                Some(command(["chmod", &was, "--", ""], &[path])),
            ));
            let text = path.to_string_lossy();
            let argv = ["sh", "-c", HAS_MODE, "sh", &*text, &*closed].map(str::to_owned);
            steps.push(step(
                &format!("{} has mode {closed}", path.display()),
                StepWork::Command {
                    argv: argv.to_vec(),
                    cwd: None,
                    env: Default::default(),
                },
                None,
            ));
        }
    }
    (services, steps)
}

/// Fixed words, of which empty ones are left out, then paths.
fn command<const N: usize>(words: [&str; N], paths: &[&Path]) -> StepWork {
    let words = words
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| (*word).to_owned());
    let paths = paths.iter().map(|path| path.to_string_lossy().into_owned());
    StepWork::Command {
        argv: words.chain(paths).collect(),
        cwd: None,
        env: Default::default(),
    }
}

fn step(text: &str, work: StepWork, undo: Option<StepWork>) -> Step {
    let manual = SafeText::from_text(&crate::ops::operation::describe(&work));
    Step {
        text: SafeText::from_text(text),
        work,
        undo,
        manual: Some(manual),
        fingerprints: Vec::new(),
        timeout_ms: STEP_LIMIT_MS,
        may_fail: false,
    }
}
