//! Services that are nothing but log files: `[services."file/nginx"]` with `log_files`, or a path on the command line.
//!
//! Nobody supervises them, so there is no release, no health and nothing to restart: what can be known is whether the
//! files can be read.

use std::io;
use std::path::PathBuf;

use futures_util::future::join_all;

use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId, ServiceState};
use crate::domain::settings::ServiceSettings;
use crate::host::{Host, tail};

/// The group of these services.
pub const GROUP: &str = "file";

/// Looks for the files of every such service. What cannot be read stands in the service's problems; where nothing can,
/// its state is not known.
pub async fn discover(host: &Host, configured: &[(ServiceId, ServiceSettings)]) -> Vec<Service> {
    let files = configured
        .iter()
        .filter(|(id, settings)| id.host == host.name() && is_file(id, settings));
    join_all(files.map(|(id, settings)| look(host, id.clone(), &settings.log_files))).await
}

/// Whether the settings are those of plain files: log files and no command.
fn is_file(id: &ServiceId, settings: &ServiceSettings) -> bool {
    id.group == GROUP && settings.exec.is_none() && !settings.log_files.is_empty()
}

async fn look(host: &Host, id: ServiceId, files: &[PathBuf]) -> Service {
    let found = tail::check_on(host, files).await;
    let state = match found.iter().any(|(_, found)| found.is_ok()) {
        true => ServiceState::Running,
        false => ServiceState::Unknown,
    };
    Service {
        // Nothing runs here that could crash.
        crash_loop: Some(false),
        problems: found.iter().filter_map(problem).collect(),
        ..Service::new(id, Runtime::File, state)
    }
}

fn problem((path, found): &(PathBuf, io::Result<()>)) -> Option<SafeText> {
    let error = found.as_ref().err()?;
    let path = path.display();
    Some(SafeText::from_text(&match error.kind() {
        io::ErrorKind::NotFound => format!("{path} is missing"),
        _ => format!("{path} cannot be read: {error}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(paths: &[PathBuf]) -> ServiceSettings {
        ServiceSettings {
            log_files: paths.to_vec(),
            ..ServiceSettings::default()
        }
    }

    #[tokio::test]
    async fn the_state_is_whether_the_files_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let (here, gone) = (dir.path().join("here.log"), dir.path().join("gone.log"));
        std::fs::write(&here, "").unwrap();
        let configured = [
            (
                ServiceId::local(GROUP, "both"),
                settings(&[here.clone(), gone.clone()]),
            ),
            (
                ServiceId::local(GROUP, "gone"),
                settings(&[gone, dir.path().join("*.none")]),
            ),
            (
                ServiceId::local(GROUP, "all"),
                settings(&[dir.path().join("*.log")]),
            ),
            (ServiceId::local("shop", "api"), settings(&[here])),
        ];
        let found = discover(&Host::Local, &configured).await;
        let states: Vec<_> = found
            .iter()
            .map(|s| (s.id.name.as_str(), s.state, s.problems.len()))
            .collect();
        assert_eq!(
            states,
            [
                ("both", ServiceState::Running, 1),
                ("gone", ServiceState::Unknown, 2),
                ("all", ServiceState::Running, 0)
            ]
        );
        assert!(
            found[1].problems[0]
                .as_str()
                .ends_with("gone.log is missing")
        );
    }
}
