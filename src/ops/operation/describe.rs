//! The work of a step as a command that people can type: what a card, a plan and an outcome name where something has to be
//! done by hand.

use super::swarm;
use crate::domain::backup::BackupAct;
use crate::domain::operation::StepWork;
use crate::domain::settings::ProbeKind;

/// The work as a command that can be typed.
pub(crate) fn describe(work: &StepWork) -> String {
    match work {
        StepWork::SaveLogs { service, .. } => format!("lastgood logs {service}"),
        StepWork::Command { argv, cwd, env } => {
            let mut line = String::new();
            if let Some(cwd) = cwd {
                line = format!("cd {} && ", shell_words::quote(&cwd.to_string_lossy()));
            }
            for (name, value) in env {
                line.push_str(&format!("{name}={} ", shell_words::quote(value)));
            }
            line + &shell_words::join(argv)
        }
        StepWork::TagImage { image, reference } => format!("docker tag {image} {reference}"),
        StepWork::LoadImage { source, .. } => {
            let source = source.display().to_string();
            format!("zstdcat {} | docker load", shell_words::quote(&source))
        }
        StepWork::WriteFile {
            path,
            source,
            mix: Some(mix),
            ..
        } => format!(
            "{} with servers of {}, {}, as {}",
            source.display(),
            mix.with.display(),
            mix.share,
            path.display()
        ),
        StepWork::WriteFile { path, source, .. } => shell_words::join([
            "cp".to_owned(),
            source.display().to_string(),
            path.display().to_string(),
        ]),
        StepWork::Container {
            container, action, ..
        } => format!("docker {} {container}", action.as_str()),
        StepWork::UpdateService { name, change } => swarm::describe(name, change),
        StepWork::Downgrade {
            command, folder, ..
        } => match folder {
            Some(folder) => {
                let folder = folder.to_string_lossy();
                format!("cd {} && {command}", shell_words::quote(&folder))
            }
            None => command.clone(),
        },
        StepWork::RemoveCheckpoint { folder } => {
            shell_words::join(["rm", "-r", "--", &folder.display().to_string()])
        }
        StepWork::Backup { act, name, id, .. } => match act {
            BackupAct::Room | BackupAct::Dump | BackupAct::DumpBefore | BackupAct::Copy => {
                format!("lastgood backup run {name}")
            }
            BackupAct::Check | BackupAct::Test => {
                format!("lastgood backup verify {name} --at {id}")
            }
            BackupAct::Remove => format!("lastgood backup list {name}"),
            _ => format!("lastgood backup restore {name} --at {id}"),
        },
        StepWork::BreakLease { service, .. } => format!("lastgood lease break {service}"),
        StepWork::Verify { service, .. } => format!("lastgood health {service}"),
        StepWork::Ask { probe, .. } => ask_command(&probe.kind),
        StepWork::Judge {
            services: Some(both),
            ..
        } => format!(
            "lastgood compare service:{} service:{}",
            both.before, both.after
        ),
        StepWork::Judge { probes, .. } => {
            let all: Vec<String> = probes
                .iter()
                .map(|probe| ask_command(&probe.kind))
                .collect();
            all.join(" && ")
        }
    }
}

fn ask_command(kind: &ProbeKind) -> String {
    match kind {
        ProbeKind::Http {
            url, ca: Some(ca), ..
        } => {
            let ca = ca.display().to_string();
            shell_words::join(["curl", "-fsS", "--cacert", ca.as_str(), url])
        }
        ProbeKind::Http { url, .. } => shell_words::join(["curl", "-fsS", url]),
        ProbeKind::Tcp { address } => {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
            shell_words::join(["nc", "-z", host, port])
        }
        ProbeKind::Command { command } => command.clone(),
    }
}
