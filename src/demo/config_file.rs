//! The configuration that an engineer would have written for the shop: a file in its folder, read back by the
//! same loader as every other. So the demo has no way of its own, and the other verbs work on the running shop
//! from another terminal: `lastgood --config …/lastgood.toml --state-dir …/state services`.

use std::path::Path;

use toml::{Table, Value};

use super::Member;
use super::files::{Folder, quote};

/// What the worker writes for a job that is done counts as a request.
const JOB: &str = r"job (?<route>[a-z]+) done in (?<ms>\d+) ms";

/// The text of the file. `ports` are the loopback ports of the services.
pub(super) fn text(folder: &Folder, ports: &[(Member, u16)]) -> String {
    let services: Table = ports
        .iter()
        .map(|(member, port)| {
            let name = format!("exec/{}", member.as_str());
            (name, Value::Table(service(folder, *member, *port)))
        })
        .collect();
    let mut root = Table::new();
    root.insert("services".to_owned(), Value::Table(services));
    let mut runbooks = Table::new();
    runbooks.insert("variables".to_owned(), Value::Table(variables(ports)));
    root.insert("runbooks".to_owned(), Value::Table(runbooks));
    format!(
        "# What an engineer would write for this shop.\n\n{}",
        toml::to_string(&root).expect("a table of strings is TOML")
    )
}

/// What the shipped runbooks speak of, as far as the shop has it: it has one side of everything and no database.
fn variables(ports: &[(Member, u16)]) -> Table {
    let mut table = Table::new();
    let mut set = |name: &str, value: String| table.insert(name.to_owned(), Value::from(value));
    for name in ["backend", "app", "blue"] {
        set(name, format!("exec/{}", Member::Api.as_str()));
    }
    set("worker", format!("exec/{}", Member::Worker.as_str()));
    for (member, port) in ports {
        let address = format!("http://127.0.0.1:{port}/health");
        match member {
            Member::Api => {
                set("blue_url", address.clone());
                set("health_url", address);
            }
            Member::Gateway => {
                set("public_url", address);
            }
            Member::Worker | Member::Load => {}
        }
    }
    table
}

fn service(folder: &Folder, member: Member, port: u16) -> Table {
    let script = quote(&folder.script());
    let command = |verb: &str| Value::from(format!("{script} {verb} {}", member.as_str()));
    let file = |path: &Path| Value::Array(vec![Value::from(path.to_string_lossy().into_owned())]);
    let mut table = Table::new();
    let mut set = |key: &str, value: Value| table.insert(key.to_owned(), value);
    set(
        "probe",
        Value::from(format!("http://127.0.0.1:{port}/health")),
    );
    set("log_files", file(&folder.log(member)));
    for verb in ["status", "start", "stop", "restart"] {
        set(verb, command(verb));
    }
    set("release_command", command("release"));
    match member {
        Member::Api => {
            set("env_files", file(&folder.api_env()));
            set("roll_back", command("roll-back"));
        }
        Member::Gateway => {
            set("config_files", file(&folder.gateway_conf()));
        }
        Member::Worker => {
            set("request_regex", Value::from(JOB));
        }
        Member::Load => {}
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::ServiceId;
    use crate::store::config::{Places, load};

    #[test]
    fn the_file_says_the_same_to_the_usual_loader() {
        let dir = tempfile::Builder::new()
            .prefix("lastgood-test-a space-")
            .tempdir()
            .unwrap();
        let folder = Folder::new(dir.path());
        let ports = [(Member::Api, 1001), (Member::Worker, 1002)];
        std::fs::write(folder.config(), text(&folder, &ports)).unwrap();
        let places = Places {
            files: Vec::new(),
            given: Some(folder.config()),
            variables: Vec::new(),
        };
        let config = load(&places).unwrap();
        let api = config.service(&ServiceId::local("exec", "api"));
        let commands = api.exec.unwrap();
        let script = quote(&folder.script());
        assert!(script.starts_with('\''), "a space needs quotes: {script}");
        assert_eq!(commands.status, Some(format!("{script} status api")));
        assert_eq!(commands.roll_back, Some(format!("{script} roll-back api")));
        assert_eq!(
            api.probe.unwrap().name(),
            "http http://127.0.0.1:1001/health"
        );
        assert_eq!(api.env_files, [folder.api_env()]);
        assert_eq!(api.log_files, [folder.log(Member::Api)]);
        assert_eq!(config.runbook_variables["backend"], "exec/api");
        assert_eq!(
            config.runbook_variables["health_url"],
            "http://127.0.0.1:1001/health"
        );
        let worker = config.service(&ServiceId::local("exec", "worker"));
        assert_eq!(worker.requests.request_regex.as_deref(), Some(JOB));
        assert_eq!(worker.exec.unwrap().roll_back, None);
    }
}
