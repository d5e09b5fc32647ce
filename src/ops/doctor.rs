//! Whether lastgood can work here: what it reaches, what it may write, and which programs it will need.
//!
//! It opens nothing that others need, so that it also answers where a configuration file is broken or the state folder is
//! unusable: those are what it is asked about. Each check names the command that puts it right.

mod machine;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;

use crate::analysis::preflight::judge_disks;
use crate::domain::check::{Check, CheckGrade};
use crate::domain::safe_text::SafeText;
use crate::host::{Command, Host, user_name};
use crate::ops::preflight::disks_of;
use crate::ops::{Options, hosts};
use crate::runtime::{RuntimeError, compose, docker};
use crate::store::config::{self, Config};
use crate::store::paths::StateDir;

/// Programs that print their version are quick.
const LIMIT: Duration = Duration::from_secs(5);
/// Looks for a program by its name; prints where it is.
const FIND: &str = "command -v -- \"$1\"";

/// What the front end knows of its terminal.
#[derive(Debug, Clone, Default)]
pub struct Terminal {
    /// Whether standard output is one.
    pub is_terminal: bool,
    /// `TERM`.
    pub term: Option<String>,
    /// `LC_ALL`, `LC_CTYPE` or `LANG`, the first that is set.
    pub locale: Option<String>,
    /// `COLORTERM`.
    pub colorterm: Option<String>,
    /// Whether `TMUX` or `STY` is set.
    pub is_multiplexed: bool,
}

/// Makes every check: of this machine, then of each machine behind ssh that is configured or asked for.
pub async fn check(options: &Options, terminal: &Terminal) -> Vec<Check> {
    let host = Host::Local;
    let places = config::Places::usual(options.config.as_deref());
    let loaded = config::load(&places);
    let engine = docker::Engine::connect(&host).await.map(drop);
    let pm2 = program(&host, "pm2").await;
    let address = std::env::var("DOCKER_HOST");
    let address = address.unwrap_or_else(|_| docker::DEFAULT_ADDRESS.to_owned());
    let mut checks = vec![docker_socket(&engine, pm2.is_some(), Some(&address))];
    checks.push(docker_group(&host, &engine).await);
    checks.push(compose_plugin(&host, engine.is_ok()).await);
    checks.push(pm2_tool(&host, pm2.as_deref()).await);
    checks.push(tmux(&host, terminal).await);
    checks.extend(screen(terminal));
    checks.extend(state(options, &host).await);
    checks.push(clock(&host).await);
    checks.push(match &loaded {
        Ok(config) => files(config),
        Err(error) => Check::new("config", CheckGrade::Critical, error.to_string())
            .fix("lastgood config check shows the line"),
    });
    let config = loaded.unwrap_or_default();
    checks.push(ssh(&host, &config).await);
    match hosts::open(&config, &options.hosts) {
        Ok(hosts) => checks.extend(machines(&hosts).await),
        Err(error) => {
            let fix = error.fix.clone().unwrap_or_default();
            checks.push(critical("ssh", error.to_string()).fix(fix));
        }
    }
    checks
}

/// All at once: one that does not answer keeps nobody waiting.
async fn machines(hosts: &[Host]) -> Vec<Check> {
    let sessions = hosts.iter().filter_map(|host| match host {
        Host::Local => None,
        Host::Ssh(session) => Some(machine::check(session)),
    });
    join_all(sessions).await.concat()
}

fn ok(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Ok, detail)
}

fn skipped(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Skipped, detail)
}

fn warning(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Warning, detail)
}

fn critical(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Critical, detail)
}

/// Where a program is, on the path of this user.
async fn program(host: &Host, name: &str) -> Option<String> {
    let output = host
        .query(&Command::shell(FIND, &[name], LIMIT))
        .await
        .ok()?;
    let text = output.stdout_text().trim().to_owned();
    (output.is_success() && !text.is_empty()).then(|| SafeText::from_text(&text).to_string())
}

/// The first line that a program prints, on either stream.
async fn version(host: &Host, argv: &[&str]) -> Option<String> {
    said(host, &Command::new(argv.iter().copied(), LIMIT)).await
}

/// The same of any command.
async fn said(host: &Host, command: &Command) -> Option<String> {
    let output = host.query(command).await.ok()?;
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    output
        .is_success()
        .then(|| SafeText::from_text(line).to_string())
}

/// Whether the engine at an address of this machine answers, or that of another machine.
fn docker_socket(engine: &Result<(), RuntimeError>, has_pm2: bool, address: Option<&str>) -> Check {
    let name = "docker-socket";
    let (place, on) = match address {
        Some(address) => (format!("at {address}"), ""),
        None => ("there".to_owned(), "there: "),
    };
    match engine {
        Ok(()) => ok(name, format!("the engine {place} answers")),
        Err(error) if error.is_absent() && has_pm2 => {
            skipped(name, format!("{error}, and PM2 is there"))
        }
        Err(error) => {
            let fix = error
                .fix()
                .map_or_else(|| format!("{on}docker info"), ToString::to_string);
            critical(name, SafeText::from_error(error).as_str()).fix(fix)
        }
    }
}

async fn docker_group(host: &Host, engine: &Result<(), RuntimeError>) -> Check {
    let name = "docker-group";
    let uid = rustix::process::geteuid().as_raw();
    let user = user_name(uid).unwrap_or_else(|| uid.to_string());
    if uid == 0 {
        return ok(name, "root needs no group");
    }
    let groups = version(host, &["id", "-nG"]).await.unwrap_or_default();
    let is_member = groups.split_whitespace().any(|group| group == "docker");
    match (is_member, engine) {
        (true, _) => ok(name, format!("{user} is in the group docker")),
        (false, Ok(())) => ok(
            name,
            format!("{user} reaches the engine without the group docker"),
        ),
        (false, Err(error)) if error.is_absent() => skipped(name, "no Docker here"),
        (false, Err(_)) => warning(
            name,
            format!("{user} is not in the group docker ({groups})"),
        )
        .fix(format!(
            "sudo usermod -aG docker {user}, then sign in again"
        )),
    }
}

async fn compose_plugin(host: &Host, has_engine: bool) -> Check {
    let name = "compose-plugin";
    match compose::version(host).await {
        Ok(version) => ok(name, format!("docker compose {}", SafeText::from_text(&version))),
        Err(_) if !has_engine => skipped(name, "no engine that answers"),
        Err(error) => warning(name, format!("no rollback of Compose services: {}", SafeText::from_error(&error)))
            .fix("sudo apt-get install docker-compose-plugin (Docker's packages) or docker-compose-v2 (Ubuntu)"),
    }
}

async fn pm2_tool(host: &Host, pm2: Option<&str>) -> Check {
    let name = "pm2";
    let home = std::env::var_os("PM2_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pm2")));
    let is_used = home
        .as_ref()
        .is_some_and(|home| home.join("dump.pm2").exists() || home.join("rpc.sock").exists());
    let Some(pm2) = pm2 else {
        return match is_used {
            true => warning(
                name,
                "applications run under PM2 and the `pm2` command is not in the path",
            )
            .fix("put its folder into PATH (nvm: source ~/.nvm/nvm.sh), or npm install -g pm2"),
            false => skipped(name, "no `pm2`, and no daemon of this user"),
        };
    };
    match version(host, &["node", "--version"]).await {
        Some(node) => ok(name, format!("{pm2}, node {node}")),
        None => warning(
            name,
            format!("{pm2} is there, and `node` is not in the path"),
        )
        .fix("put node's folder into PATH: pm2 begins with #!/usr/bin/env node"),
    }
}

async fn tmux(host: &Host, terminal: &Terminal) -> Check {
    let name = "tmux";
    match (program(host, "tmux").await, terminal.is_multiplexed) {
        (_, true) => ok(name, "inside: a link that is lost does not end the console"),
        (Some(path), false) => ok(
            name,
            format!("{path}: start the console inside, and a lost link does not end it"),
        ),
        (None, false) => warning(
            name,
            "not there: a lost link ends the console (an operation under way is finished)",
        )
        .fix("sudo apt-get install tmux"),
    }
}

fn screen(terminal: &Terminal) -> Vec<Check> {
    let term = terminal.term.as_deref().unwrap_or_default();
    let mut checks = vec![match (terminal.is_terminal, term) {
        (false, _) => skipped("terminal", "standard output is no terminal"),
        (true, "" | "dumb") => warning(
            "terminal",
            format!("TERM is {term:?}: the console cannot draw there"),
        )
        .fix("export TERM=xterm-256color"),
        (true, term) => {
            let colours = match terminal.colorterm.as_deref() {
                Some("truecolor" | "24bit") => "16 million colours",
                _ if term.contains("256") => "256 colours",
                _ => "16 colours",
            };
            ok("terminal", format!("{term}, {colours}"))
        }
    }];
    let locale = terminal.locale.as_deref().unwrap_or("not set");
    let is_utf8 = locale.to_lowercase().replace('-', "").contains("utf8");
    checks.push(match is_utf8 {
        true => ok("locale", locale),
        false => warning(
            "locale",
            format!("{locale}: marks and other scripts may be drawn wrongly"),
        )
        .fix("export LC_ALL=C.UTF-8"),
    });
    checks
}

async fn state(options: &Options, host: &Host) -> Vec<Check> {
    let name = "state-folder";
    let state = match StateDir::find(options.state_dir.as_deref()) {
        Ok(state) => state,
        Err(error) => {
            let text = SafeText::from_error(&error);
            return vec![
                critical(name, text.as_str()).fix("give --state-dir DIR or set LASTGOOD_STATE_DIR"),
            ];
        }
    };
    let mut checks = vec![state_folder(&state)];
    checks.extend(judge_disks(&disks_of(host, &state.root).await));
    checks
}

fn state_folder(state: &StateDir) -> Check {
    let name = "state-folder";
    let root = &state.root;
    let meta = match std::fs::metadata(root) {
        Ok(meta) if !meta.is_dir() => {
            return critical(name, format!("{} is no folder", root.display()))
                .fix("move it away, then lastgood init");
        }
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match is_writable(&super::preflight::nearest_folder(root)) {
                true => ok(
                    name,
                    format!("{} is made when the first file is written", root.display()),
                ),
                false => critical(name, format!("{} cannot be made", root.display()))
                    .fix("sudo lastgood init --shared GROUP, or give --state-dir DIR"),
            };
        }
        Err(error) => {
            return critical(name, format!("cannot look at {}: {error}", root.display()))
                .fix("give --state-dir DIR");
        }
    };
    let owner = user_name(meta.uid()).unwrap_or_else(|| meta.uid().to_string());
    let mode = meta.mode() & 0o7777;
    let seen = format!("{} (mode {mode:04o}, {owner})", root.display());
    if !is_writable(root) {
        return critical(name, format!("{seen} cannot be written")).fix(match state.is_shared {
            true => "join its group, then sign in again: no change goes unrecorded".to_owned(),
            false => format!("sudo chown {} {}", whoami(), root.display()),
        });
    }
    if state.is_shared {
        return ok(name, format!("{seen}, shared: pairing on"));
    }
    if mode & 0o077 != 0 {
        return warning(
            name,
            format!("{seen} is open to others: checkpoints hold secrets"),
        )
        .fix(format!("lastgood init, or chmod 0700 {}", root.display()));
    }
    ok(
        name,
        format!("{seen}, private: pairing off (sudo lastgood init --shared GROUP shares one)"),
    )
}

fn whoami() -> String {
    let uid = rustix::process::geteuid().as_raw();
    user_name(uid).unwrap_or_else(|| uid.to_string())
}

fn is_writable(folder: &Path) -> bool {
    let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(folder, wanted).is_ok()
}

/// A clock that is wrong puts logs of two machines, and before and after, into the wrong order.
async fn clock(host: &Host) -> Check {
    let name = "clock";
    let argv = [
        "timedatectl",
        "show",
        "--property=NTPSynchronized",
        "--value",
    ];
    match version(host, &argv).await.as_deref() {
        Some("yes") => ok(name, "synchronised"),
        Some("no") => warning(
            name,
            "not synchronised: logs of several machines cannot be put in order",
        )
        .fix("sudo timedatectl set-ntp true"),
        _ => skipped(name, "timedatectl does not say whether it is synchronised"),
    }
}

fn files(config: &Config) -> Check {
    let files: Vec<String> = config
        .sources
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match files.is_empty() {
        true => ok(
            "config",
            "no configuration file is there: every default holds",
        ),
        false => ok("config", files.join(", ")),
    }
}

async fn ssh(host: &Host, config: &Config) -> Check {
    let name = "ssh";
    match (version(host, &["ssh", "-V"]).await, config.hosts.is_empty()) {
        (Some(version), _) => ok(name, version),
        (None, true) => skipped(name, "no ssh client, and no other host is configured"),
        (None, false) => warning(
            name,
            "no ssh client: the configured hosts cannot be reached",
        )
        .fix("sudo apt-get install openssh-client"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn terminal(term: &str, locale: &str) -> Vec<(&'static str, CheckGrade)> {
        let found = screen(&Terminal {
            is_terminal: true,
            term: Some(term.into()),
            locale: Some(locale.into()),
            ..Terminal::default()
        });
        found
            .iter()
            .map(|check| (check.name, check.grade))
            .collect()
    }

    #[test]
    fn a_terminal_that_cannot_draw_is_told() {
        use CheckGrade::{Ok, Skipped, Warning};
        assert_eq!(
            terminal("xterm-256color", "en_US.UTF-8"),
            [("terminal", Ok), ("locale", Ok)]
        );
        assert_eq!(
            terminal("dumb", "C"),
            [("terminal", Warning), ("locale", Warning)]
        );
        assert_eq!(screen(&Terminal::default())[0].grade, Skipped);
    }

    #[test]
    fn a_state_folder_that_others_can_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let grade = || state_folder(&StateDir::at(dir.path().to_owned())).grade;
        mode(0o755);
        assert_eq!(grade(), CheckGrade::Warning);
        mode(0o700);
        assert_eq!(grade(), CheckGrade::Ok);
        mode(0o2770);
        let shared = state_folder(&StateDir::at(dir.path().to_owned()));
        assert!(
            shared.detail.as_str().contains("shared"),
            "{}",
            shared.detail
        );
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(
            state_folder(&StateDir::at(file)).grade,
            CheckGrade::Critical
        );
    }
}
