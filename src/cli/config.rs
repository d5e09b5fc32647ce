//! `lastgood config`: the configuration in force.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output, Paint};
use crate::analysis::redact::{Redactor, is_secret_name};
use crate::domain::safe_text::SafeText;
use crate::ops::{Context, secrets};

/// `lastgood config`: the configuration in force.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &ConfigArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    // The files were read, and refused if broken, when the context was opened.
    let files: Vec<SafeText> = ctx
        .config
        .sources
        .iter()
        .map(|path| SafeText::from_text(&path.display().to_string()))
        .collect();
    match args.command {
        ConfigCommand::Check if out.is_json() => {
            let content = Checked {
                ok: true,
                files: &files,
            };
            out.json("config-check", &content)?;
        }
        ConfigCommand::Check if files.is_empty() => {
            out.line("no configuration file is there: every default holds")?;
        }
        ConfigCommand::Check => {
            for file in &files {
                out.line(format_args!("{} {file}", out.paint(Paint::Good, "✔")))?;
            }
        }
        ConfigCommand::Show => {
            let redactor = secrets::redactor(ctx, &[]).await?;
            let mut table = ctx.config.raw.clone();
            mask(&mut table, &redactor);
            if out.is_json() {
                out.json(
                    "config",
                    &Shown {
                        files: &files,
                        config: &table,
                    },
                )?;
                return Ok(Exit::Done);
            }
            if files.is_empty() && table.is_empty() {
                // A comment, so that the output is a configuration file in any case.
                out.line("# no configuration file is there: every default holds")?;
            }
            for file in &files {
                out.line(format_args!("# {file}"))?;
            }
            for line in SafeText::lines(&table.to_string()) {
                out.line(line)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Masks every text whose key or shape says that it is a secret.
fn mask(table: &mut toml::Table, redactor: &Redactor) {
    for (key, value) in table.iter_mut() {
        let is_secret = is_secret_name(key) && !key.ends_with("_env") && !key.ends_with("_command");
        mask_value(is_secret, value, redactor);
    }
}

fn mask_value(is_secret: bool, value: &mut toml::Value, redactor: &Redactor) {
    match value {
        toml::Value::String(text) if is_secret => {
            // Given the shape of a secret, so that it gets a token that keeps its identity.
            let shaped = format!("secret={text:?}");
            let token = redactor.redact(&shaped);
            *text = token.strip_prefix("secret=").map_or_else(
                || "[REDACTED]".to_owned(),
                |t| t.trim_matches('"').to_owned(),
            );
        }
        toml::Value::String(text) => *text = redactor.redact(text).into_owned(),
        toml::Value::Array(values) => {
            for value in values {
                mask_value(is_secret, value, redactor);
            }
        }
        toml::Value::Table(table) => mask(table, redactor),
        _ => {}
    }
}

#[derive(Serialize)]
struct Checked<'a> {
    ok: bool,
    files: &'a [SafeText],
}

#[derive(Serialize)]
struct Shown<'a> {
    files: &'a [SafeText],
    config: &'a toml::Table,
}

/// What to do with the configuration.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print it, secrets masked
    Show,
    /// Check the files and say which are read
    Check,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::analysis::redact::{KnownSecrets, RedactionKey};

    #[test]
    fn secrets_are_masked_and_names_of_variables_are_not() {
        let redactor = Redactor::new(&KnownSecrets::default(), RedactionKey([1; 32]));
        let mut table: toml::Table = toml::from_str(
            "[sinks.a]\nkey = \"abcdef12345\"\nkey_env = \"PAGERDUTY_KEY\"\nurl = \"https://u:pw1234@h/x\"\n",
        )
        .unwrap();
        mask(&mut table, &redactor);
        let shown = table.to_string();
        assert!(
            !shown.contains("abcdef12345") && !shown.contains("pw1234"),
            "{shown}"
        );
        assert!(
            shown.contains("PAGERDUTY_KEY") && shown.contains("[REDACTED:secret:"),
            "{shown}"
        );
    }
}
