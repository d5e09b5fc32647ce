//! The steps for an application under PM2: its code, its files, then `delete` and `start` from its ecosystem file.
//!
//! `restart` and `reload` keep the old script path and variables that the file no longer has; only a delete and a
//! start in a clean environment apply all of it. Between the two the application is gone, so everything that the
//! start needs is proved before: the saved ecosystem file is read as PM2 will read it, and has to declare the
//! application with the script that the checkpoint ran.

pub(super) mod absent;
mod code;
mod ecosystem;

use std::path::Path;

use super::{Target, Wish, files};
use crate::domain::checkpoint::{Checkpoint, SavedService};
use crate::domain::operation::{Step, StepWork};
use crate::domain::pm2::{Pm2App, SavedPm2};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Service};
use crate::host::Host;
use crate::ops::restart::is_as_planned;
use crate::ops::restart::pm2::{app, command, limit_ms, stable_ms, tool};
use crate::ops::services::{failed, host_of};
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime::pm2::{self, Tool};
use crate::store::checkpoint::config_place;

const SAVE_LIMIT_MS: u64 = 30_000;

/// What a rollback of an application is made of.
pub(super) struct Parts {
    /// The steps between saving the logs and the proof.
    pub(super) steps: Vec<Step>,
    /// What comes after the proof.
    pub(super) after: Option<Step>,
    /// What to know, the code first.
    pub(super) notes: Vec<SafeText>,
    /// What happens if a step fails.
    pub(super) on_failure: String,
    /// How long it must run without a restart, in milliseconds.
    pub(super) stable_ms: u64,
}

/// Plans it.
///
/// # Errors
/// An image was asked for; the checkpoint holds no ecosystem file that declares what it ran; the code cannot be brought
/// back; `pm2` cannot be called for this daemon.
pub(super) async fn parts(
    ctx: &Context,
    inventory: &Inventory,
    service: &Service,
    target: &Target,
    wish: &Wish<'_>,
) -> Result<Parts, OpsError> {
    let Some((checkpoint, saved, pm2)) = recorded(target) else {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "{} runs under PM2: it has no image to go back to, but checkpoints",
                service.id
            ),
        ));
    };
    let running = app(service)?;
    check_name(service, &running)?;
    let tool = tool(service, &running)?;
    let file = ecosystem::find(ctx, service, &tool, checkpoint, saved, pm2).await?;
    let code = code::plan(ctx, service, checkpoint, saved, pm2, wish.configs_only).await?;
    if code.steps.is_empty() {
        script_is_there(ctx, service, &pm2.app).await?;
    }
    let brings_code = !code.steps.is_empty();
    let moved = SavedService {
        files: code.files,
        ..saved.clone()
    };
    let put_back = files::put_back(ctx, service, checkpoint, &moved).await?;

    let (mut start, line) = start(service, checkpoint, &tool, &running, &file.path);
    let can_go_back = ecosystem::is_what_starts(ctx, service, &tool, &running, &file.path).await;
    let again = can_go_back.then(|| start_again(&tool, &running, &line));
    let on_failure = match &again {
        Some(_) => format!(
            "what was done is taken back, the newest first, and {} is started again",
            service.release
        ),
        None if running.ids.is_empty() => {
            format!(
                "what was done is taken back, and {} stays gone from PM2",
                running.name
            )
        }
        None => format!(
            "what was done is taken back; what runs now is not what {} would start, so that after a failed start {} is gone from PM2",
            file.path.display(),
            running.name
        ),
    };
    let mut fingerprints = vec![is_as_planned(service)];
    if !brings_code {
        fingerprints.extend(code.fingerprints);
        fingerprints.extend(ecosystem::untouched(service, file, &put_back.steps));
    }
    start.undo.clone_from(&again);
    let mut steps = code.steps;
    steps.extend(put_back.steps);
    if running.ids.is_empty() {
        start.fingerprints = fingerprints;
    } else {
        let delete = command(&running, &tool, "delete", &running.ids);
        steps.push(Step {
            undo: again,
            fingerprints,
            ..delete
        });
    }
    steps.push(start);
    let mut notes = code.notes;
    notes.extend(put_back.notes);
    notes.push(SafeText::from_text(&format!(
        "{} starts with what {} and the files it reads say: variables of the shell that once started it are not brought back",
        running.name,
        file.path.display()
    )));
    let host = host_of(ctx, &service.id)?;
    let after = save(host, inventory, &running, &tool, &mut notes).await;
    let stable_ms = stable_ms(&pm2.app);
    Ok(Parts {
        steps,
        after,
        notes,
        on_failure,
        stable_ms,
    })
}

fn recorded(target: &Target) -> Option<(&Checkpoint, &SavedService, &SavedPm2)> {
    let (checkpoint, saved) = target.saved.as_ref()?;
    Some((checkpoint, saved, saved.pm2.as_ref()?))
}

/// `--only` takes a list of names, and `delete` takes a number, a regular expression and `all`.
fn check_name(service: &Service, app: &Pm2App) -> Result<(), OpsError> {
    let name = app.name.as_str();
    let is_plain = name != "all"
        && !name.starts_with(['/', '-'])
        && !name.contains([',', ' '])
        && name.parse::<f64>().is_err();
    if is_plain {
        return Ok(());
    }
    Err(OpsError::new(
        ErrorKind::Refused,
        format!(
            "{} cannot be started alone: PM2 takes the name {name:?} for something else",
            service.id
        ),
    )
    .fix("give it a name of letters and dashes in its ecosystem file"))
}

/// Without a step that brings the code, the script has to be there already.
async fn script_is_there(ctx: &Context, service: &Service, app: &Pm2App) -> Result<(), OpsError> {
    let Some(script) = app.script() else {
        return Ok(());
    };
    let found = host_of(ctx, &service.id)?.stat(script).await;
    if found.is_ok_and(|found| found.is_some()) {
        return Ok(());
    }
    Err(OpsError::new(
        ErrorKind::No,
        format!(
            "{} cannot be started: its script {} is gone",
            service.id,
            script.display()
        ),
    ))
}

/// The start, and the line to type for it.
fn start(
    service: &Service,
    checkpoint: &Checkpoint,
    tool: &Tool,
    app: &Pm2App,
    place: &Path,
) -> (Step, String) {
    let file = place.display().to_string();
    let argv = [&tool.program, "start", &file, "--only", &app.name].map(str::to_owned);
    let words = shell_words::join(&argv);
    // Relative folders in the file are taken from where the command runs.
    let folder = place.parent().map(Path::to_owned);
    let saved = checkpoint
        .path
        .join(config_place(&service.id.relative_path(), Path::new("")));
    let line = by_hand(&words, folder.as_deref(), tool, &saved);
    let step = Step {
        text: SafeText::from_text(&format!("{words}  in a clean environment")),
        manual: Some(SafeText::from_text(&line)),
        work: StepWork::Command {
            argv: argv.to_vec(),
            cwd: folder,
            env: tool.variables.clone(),
        },
        undo: None,
        fingerprints: Vec::new(),
        timeout_ms: limit_ms(app),
        may_fail: false,
    };
    (step, line)
}

/// The line that starts it, with nothing of the shell in which it is typed, and where the files are that it needs.
fn by_hand(words: &str, folder: Option<&Path>, tool: &Tool, saved: &Path) -> String {
    let mut line = String::new();
    if let Some(folder) = folder {
        line = format!("cd {} && ", shell_words::quote(&folder.to_string_lossy()));
    }
    line.push_str(r#"env -i HOME="$HOME" USER="$USER" "#);
    if !tool.variables.contains_key("PATH") {
        line.push_str(r#"PATH="$PATH" "#);
    }
    for (name, value) in &tool.variables {
        line.push_str(&format!("{name}={} ", shell_words::quote(value)));
    }
    format!(
        "{line}{words}  # its files as they were: {}",
        saved.display()
    )
}

/// The way back of a delete and of a start, once the files are as they are now: the line to type for a start, after
/// what a start that failed may have left.
fn start_again(tool: &Tool, running: &Pm2App, line: &str) -> StepWork {
    let delete = shell_words::join([&tool.program, "delete", &running.name]);
    StepWork::Command {
        argv: vec![
            "sh".to_owned(),
            "-c".to_owned(),
            format!("{delete} >/dev/null 2>&1; {line}"),
        ],
        cwd: None,
        env: tool.variables.clone(),
    }
}

/// `pm2 save`, so that the next boot starts what was proved. Not where nobody ever saved, nor where that would forget
/// applications which the list has and PM2 does not run now.
async fn save(
    host: &Host,
    inventory: &Inventory,
    running: &Pm2App,
    tool: &Tool,
    notes: &mut Vec<SafeText>,
) -> Option<Step> {
    let listed = match pm2::saved_names(host, running).await {
        Ok(listed) => listed?,
        Err(error) => {
            let error = failed("pm2 save is left out", error).to_safe_text();
            notes.push(error);
            return None;
        }
    };
    let known: Vec<String> = inventory
        .services
        .iter()
        .filter(|service| service.id.host == host.name())
        .filter_map(pm2::app)
        .filter(|app| app.home == running.home)
        .map(|app| app.name)
        .collect();
    let lost: Vec<&str> = listed
        .iter()
        .filter(|name| **name != running.name && !known.contains(name))
        .map(String::as_str)
        .collect();
    if !lost.is_empty() {
        notes.push(SafeText::from_text(&format!(
            "pm2 save is left out: it would forget {}, which dump.pm2 lists and PM2 does not run; until it is done a reboot starts what dump.pm2 says of {}",
            lost.join(", "),
            running.name
        )));
        return None;
    }
    let mut step = command(running, tool, "save", &[]);
    step.text = SafeText::from_text("pm2 save: a reboot starts what was proved");
    step.timeout_ms = SAVE_LIMIT_MS;
    step.may_fail = true;
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(variables: &[(&str, &str)]) -> Tool {
        Tool {
            program: "pm2".into(),
            variables: variables
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn the_start_by_hand_is_clean_and_says_where_the_files_are() {
        let words = "pm2 start /srv/my shop/ecosystem.config.js --only api";
        let line = |tool: &Tool| {
            by_hand(
                words,
                Some(Path::new("/srv/my shop")),
                tool,
                Path::new("/state/configs/pm2/api"),
            )
        };
        assert_eq!(
            line(&tool(&[("PM2_HOME", "/root/.pm2")])),
            "cd '/srv/my shop' && env -i HOME=\"$HOME\" USER=\"$USER\" PATH=\"$PATH\" PM2_HOME=/root/.pm2 \
             pm2 start /srv/my shop/ecosystem.config.js --only api  # its files as they were: /state/configs/pm2/api"
        );
        let own_node = line(&tool(&[("PATH", "/bin:/nvm/bin"), ("PM2_HOME", "/h")]));
        assert!(
            own_node.contains("PATH=/bin:/nvm/bin PM2_HOME=/h"),
            "{own_node}"
        );
        assert!(!own_node.contains("$PATH"), "{own_node}");
    }
}
