//! What is done, in words: as the title of its card, and as the command line that does the same.

use crate::domain::operation::{Operation, SwitchWay};
use crate::domain::service::ServiceId;
use crate::tui::app::App;

/// The name of what is done, for people: `Roll back backend`, `Restart 3 services`.
pub fn name(operations: &[Operation]) -> String {
    let (verb, count) = match operations {
        [one] => return name_of(one),
        [Operation::Restart { .. }, ..] => ("Restart", services(operations).len()),
        [Operation::Stop { .. }, ..] => ("Stop", services(operations).len()),
        [Operation::Start { .. }, ..] => ("Start", services(operations).len()),
        all => ("Roll back", all.len()),
    };
    format!("{verb} {count} services")
}

/// The services of all of them, in their order.
fn services(operations: &[Operation]) -> Vec<&ServiceId> {
    let each = operations.iter().map(|operation| match operation {
        Operation::Restart { services, .. }
        | Operation::Stop { services }
        | Operation::Start { services } => services.as_slice(),
        Operation::RollBack { service, .. } => std::slice::from_ref(service),
        _ => &[],
    });
    each.flatten().collect()
}

fn name_of(operation: &Operation) -> String {
    let names = |services: &[ServiceId]| {
        services
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match operation {
        Operation::Restart { services, .. } => format!("Restart {}", names(services)),
        Operation::Stop { services } => format!("Stop {}", names(services)),
        Operation::Start { services } => format!("Start {}", names(services)),
        Operation::RollBack { service, .. } => format!("Roll back {}", service.name),
        Operation::RestoreConfigs { checkpoint, .. } => format!("Restore configs of {checkpoint}"),
        Operation::Fix { check, .. } => format!("Fix {check}"),
        Operation::Prune { .. } => "Remove old checkpoints".to_owned(),
        Operation::Switch { service, to, way } => {
            let how = match way {
                SwitchWay::AtOnce => "",
                SwitchWay::Canary => " by shares",
                SwitchWay::Rolling => " by servers",
            };
            format!("Switch {} to {}{how}", service.name, to.as_str())
        }
        Operation::BackupRun { backup, .. } => format!("Back up {}", backup.name),
        Operation::BackupVerify { backup, id } => format!("Prove {} of {}", id, backup.name),
        Operation::BackupRestore { backup, id } => format!("Restore {} of {}", id, backup.name),
        Operation::BreakLease { service, .. } => format!("Break the lease of {}", service.name),
        Operation::Resume { undo, of, .. } => {
            let verb = if *undo { "Take back" } else { "Resume" };
            format!("{verb}: {}", name_of(of))
        }
        Operation::RunCommand { title, .. } => format!("Run: {title}"),
    }
}

/// The command line that does the same, to be copied.
pub fn command_line(app: &App) -> Option<String> {
    let operations = &app.operating.as_ref()?.operations;
    let operation = operations.first()?;
    let all_services = || services(operations).into_iter().map(ToString::to_string);
    let words: Vec<String> = match operation {
        Operation::Restart { .. } | Operation::Stop { .. } | Operation::Start { .. } => {
            let mut words = vec!["lastgood".to_owned(), operation.verb().to_owned()];
            words.extend(all_services());
            words
        }
        Operation::RollBack {
            to,
            configs_only,
            save_logs,
            downgrade,
            ..
        } => {
            let mut words = vec!["lastgood".to_owned(), "roll-back".to_owned()];
            words.extend(all_services());
            match to {
                crate::domain::operation::RollBackTarget::LastGood => {}
                crate::domain::operation::RollBackTarget::Checkpoint(id) => {
                    words.extend(["--to".to_owned(), id.clone()]);
                }
                crate::domain::operation::RollBackTarget::Image(reference) => {
                    words.extend(["--to".to_owned(), format!("image:{reference}")]);
                }
            }
            if *configs_only {
                words.push("--configs-only".to_owned());
            }
            if !save_logs {
                words.push("--no-save-logs".to_owned());
            }
            if *downgrade {
                words.push("--downgrade".to_owned());
            }
            words
        }
        Operation::RestoreConfigs {
            checkpoint,
            service,
        } => {
            let mut words = vec![
                "lastgood".to_owned(),
                "checkpoint".to_owned(),
                "restore".to_owned(),
                checkpoint.clone(),
            ];
            if let Some(service) = service {
                words.extend(["--service".to_owned(), service.to_string()]);
            }
            words
        }
        Operation::Fix { check, services } => {
            let mut words = vec!["lastgood".to_owned(), "preflight".to_owned()];
            words.extend(services.iter().cloned());
            words.extend(["--fix".to_owned(), check.clone()]);
            words
        }
        Operation::Prune { keep_last, .. } => {
            let mut words = ["lastgood", "checkpoint", "prune"]
                .map(str::to_owned)
                .to_vec();
            words.extend(
                keep_last
                    .iter()
                    .flat_map(|n| ["--keep-last".to_owned(), n.to_string()]),
            );
            words
        }
        Operation::Switch { service, to, way } => {
            let mut words = vec!["lastgood".to_owned()];
            if !service.host.is_local() {
                words.extend(["--host".to_owned(), service.host.to_string()]);
            }
            words.extend(["switch", &service.name, to.as_str()].map(str::to_owned));
            words.extend(way.option().map(str::to_owned));
            words
        }
        Operation::BackupRun { backup, .. } => ["lastgood", "backup", "run", &backup.name]
            .map(str::to_owned)
            .to_vec(),
        Operation::BackupVerify { backup, id } => {
            ["lastgood", "backup", "verify", &backup.name, "--at", id]
                .map(str::to_owned)
                .to_vec()
        }
        Operation::BackupRestore { backup, id } => {
            ["lastgood", "backup", "restore", &backup.name, "--at", id]
                .map(str::to_owned)
                .to_vec()
        }
        Operation::BreakLease { service, .. } => {
            let words = ["lastgood", "lease", "break"].map(str::to_owned);
            words.into_iter().chain([service.to_string()]).collect()
        }
        Operation::Resume { run, undo, .. } => {
            let mut words = ["lastgood", "resume", run].map(str::to_owned).to_vec();
            words.extend(undo.then(|| "--undo".to_owned()));
            words
        }
        Operation::RunCommand { .. } => return None,
    };
    Some(shell_words::join(words))
}
