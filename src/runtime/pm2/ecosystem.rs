//! What an ecosystem file declares: asked of Node.js, since such a file is a program.
//!
//! A rollback deletes an application before it starts it again from such a file. Whether the file can be read, and
//! says what the checkpoint ran, has to be known before that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Tool;
use crate::domain::pm2::{ECOSYSTEM_FILES, Pm2Restarts};
use crate::host::{Command, Host};
use crate::runtime::RuntimeError;

/// Reading a configuration; one that asks the network for longer would hang a rollback as well.
const LIMIT: Duration = Duration::from_secs(10);
const READ: &str = include_str!("ecosystem.js");

/// An application as an ecosystem file declares it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its script, absolute.
    pub script: PathBuf,
    /// The folder it is to run in.
    pub cwd: PathBuf,
    /// When it is to be started again.
    #[serde(default)]
    pub restarts: Pm2Restarts,
}

/// Whether PM2 reads a file of this name as a list of applications, and lastgood can read it too.
pub fn is_ecosystem_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_json = name.ends_with(".json") && (name.contains("ecosystem") || name.contains("pm2"));
    ECOSYSTEM_FILES.contains(&&*name)
        || is_json
        || name.ends_with(".config.js")
        || name.ends_with(".config.cjs")
}

/// The applications that a file declares, read as if it stood at `place`: what it requires is looked for there. Its
/// program runs, in a clean environment and in its own folder, as `pm2 start` would run it.
///
/// # Errors
/// Node.js was not found, or the file is no such program; with its own message.
pub async fn declared(
    host: &Host,
    tool: &Tool,
    file: &Path,
    place: &Path,
) -> Result<Vec<Declared>, RuntimeError> {
    let argv = [
        "node".to_owned(),
        "-e".to_owned(),
        READ.to_owned(),
        "--".to_owned(),
        file.to_string_lossy().into_owned(),
        place.to_string_lossy().into_owned(),
    ];
    let mut command = Command::new(argv, LIMIT).with_clean_env();
    command.env = tool.variables.clone().into_iter().collect();
    command.cwd = place.parent().filter(|f| f.is_dir()).map(Path::to_owned);
    let what = || format!("cannot read {}", place.display());
    let output = host
        .query(&command)
        .await
        .map_err(|error| RuntimeError::failed(what(), error))?;
    if !output.is_success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // Node draws the place, then says `SyntaxError: …`, then how it came there.
        let cause = said.lines().find(|line| line.contains("Error: "));
        let cause = cause.map_or_else(|| output.describe().to_string(), str::to_owned);
        return Err(RuntimeError::failed(what(), cause));
    }
    let text = output.stdout_text();
    let last = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).map_err(|error| RuntimeError::failed(what(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(name: &str, text: &str) -> Result<Vec<Declared>, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("copy");
        std::fs::write(&file, text).unwrap();
        std::fs::write(dir.path().join("own.js"), "module.exports = 'from-own'").unwrap();
        let tool = Tool {
            program: "pm2".to_owned(),
            variables: std::collections::BTreeMap::new(),
        };
        let place = dir.path().join(name);
        let found = declared(&Host::Local, &tool, &file, &place).await;
        found
            .map(|apps| {
                apps.into_iter()
                    .map(|app| Declared {
                        script: app.script.strip_prefix(dir.path()).unwrap().to_owned(),
                        cwd: app.cwd.strip_prefix(dir.path()).unwrap().to_owned(),
                        ..app
                    })
                    .collect()
            })
            .map_err(|error| crate::domain::safe_text::SafeText::from_error(&error).to_string())
    }

    fn has_node() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join("node").is_file())
    }

    #[tokio::test]
    async fn a_program_is_read_where_it_will_stand() {
        if !has_node() {
            return;
        }
        let text = "console.log('hello'); const own = require('./own');
            module.exports = { apps: [{ name: own, script: './a.js', cwd: 'backend' }, { script: 'b.js' }] }";
        let found = read("ecosystem.config.js", text).await.unwrap();
        let declared = |name: &str, script: &str, cwd: &str| Declared {
            name: name.into(),
            script: script.into(),
            cwd: cwd.into(),
            restarts: Pm2Restarts::default(),
        };
        assert_eq!(
            found,
            [
                declared("from-own", "backend/a.js", "backend"),
                declared("b", "b.js", "")
            ]
        );
        let json = "{ apps: [{ name: 'api', script: 'a.js' }], /* a comment */ }";
        let found = read("ecosystem.config.json", json).await.unwrap();
        assert_eq!(found, [declared("api", "a.js", "")]);
    }

    #[tokio::test]
    async fn spans_are_read_as_pm2_reads_them() {
        if !has_node() {
            return;
        }
        let text = "module.exports = { apps: [
            { name: 'a', script: 'a.js', max_restarts: 15, min_uptime: '5s', restart_delay: 4000, autorestart: false },
            { name: 'b', script: 'b.js', max_restarts: '3', min_uptime: '2m' }] }";
        let found = read("ecosystem.config.js", text).await.unwrap();
        assert_eq!(
            found[0].restarts,
            Pm2Restarts {
                max_restarts: Some(15),
                min_uptime_ms: Some(5_000),
                restart_delay_ms: Some(4_000),
                autorestart: Some(false),
            }
        );
        assert_eq!(found[1].restarts.max_restarts, Some(3));
        assert_eq!(found[1].restarts.min_uptime_ms, Some(120_000));
        assert_eq!(found[1].restarts.autorestart, None);
    }

    #[tokio::test]
    async fn a_broken_program_says_why() {
        if !has_node() {
            return;
        }
        let error = read("ecosystem.config.js", "module.exports = {")
            .await
            .unwrap_err();
        assert!(error.contains("SyntaxError: "), "{error}");
        let error = read("ecosystem.config.js", "require('no-such')")
            .await
            .unwrap_err();
        assert!(error.contains("Cannot find module"), "{error}");
    }

    #[test]
    fn ecosystem_files_are_known_by_their_names() {
        for name in [
            "ecosystem.config.js",
            "api.config.cjs",
            "pm2.json",
            "ecosystem.json",
        ] {
            assert!(
                is_ecosystem_file(Path::new("/srv").join(name).as_path()),
                "{name}"
            );
        }
        for name in ["package.json", "nginx.conf", ".env", "config.js"] {
            assert!(
                !is_ecosystem_file(Path::new("/srv").join(name).as_path()),
                "{name}"
            );
        }
    }
}
