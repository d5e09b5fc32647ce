//! A PM2 daemon of one test, with a home of its own; killed with its applications when dropped.
//!
//! Daemons are found by their process titles as well, so one test's daemon would be seen by every other test. PM2
//! lets its daemon be called otherwise: these are found by their `PM2_HOME` alone.

use super::{Sandbox, unique, wait_for};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// `pm2` with a temporary `PM2_HOME`.
pub(crate) struct Pm2 {
    home: PathBuf,
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

impl Pm2 {
    /// A sandbox whose `PM2_HOME` is a folder inside, and the `pm2` that belongs to it. No daemon runs yet.
    pub(crate) fn new(name: &str) -> (Sandbox, Pm2) {
        let sandbox = Sandbox::new(name);
        let home = sandbox.path("pm2");
        std::fs::create_dir(&home).unwrap();
        let sandbox = sandbox.with("PM2_HOME", home.to_str().unwrap());
        let pm2 = Pm2 {
            folder: sandbox.work(),
            variables: sandbox.variables(),
            home,
        };
        (sandbox, pm2)
    }

    /// `pm2 …`; fails with what it said.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "pm2 {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("pm2");
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .env("PM2_DAEMON_TITLE", unique("pm2"));
        command
    }

    /// Starts an application `unique(name)` that runs `script` (JavaScript), with `options` on top of the
    /// configuration; gives its name. Waits until PM2 has taken it.
    pub(crate) fn start(&self, name: &str, script: &str, options: Value) -> String {
        let app = unique(name);
        let file = self.folder.join(format!("{name}.js"));
        std::fs::write(&file, script).unwrap();
        let mut config = json!({"name": app, "script": file});
        if let (Some(to), Value::Object(from)) = (config.as_object_mut(), options) {
            to.extend(from);
        }
        let ecosystem = self.folder.join(format!("{name}.config.json"));
        std::fs::write(&ecosystem, json!({"apps": [config]}).to_string()).unwrap();
        self.run(&["start", ecosystem.to_str().unwrap()]);
        app
    }

    /// The file of a stream (`out` or `error`) of an application that shares no file with another instance.
    pub(crate) fn log(&self, app: &str, stream: &str) -> PathBuf {
        self.home.join(format!("logs/{app}-{stream}.log"))
    }

    /// Waits until a log file has `count` lines.
    pub(crate) fn wait_for_lines(&self, app: &str, stream: &str, count: usize) {
        let file = self.log(app, stream);
        wait_for(
            &format!("{count} lines in {}", file.display()),
            Duration::from_secs(60),
            || {
                let text = std::fs::read_to_string(&file).ok()?;
                (text.lines().count() >= count).then_some(())
            },
        );
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        // Without a daemon `pm2 kill` would start one first.
        if self.home.join("rpc.sock").exists() {
            let _ = self.command(&["kill"]).output();
        }
    }
}
