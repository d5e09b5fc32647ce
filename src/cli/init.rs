//! `lastgood init`: make the state folder, private to this user or shared by the engineers of a box.

use clap::Args;
use serde::Serialize;

use super::Global;
use super::exit::Exit;
use super::output::{Ended, Output, Paint};
use crate::domain::safe_text::SafeText;
use crate::ops::{Options, init};

/// `lastgood init`: make the state folder.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Share it with everyone of this group (in /var/lib/lastgood unless --state-dir names another folder)
    #[arg(long, value_name = "GROUP")]
    pub shared: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    path: SafeText,
    shared: bool,
    group: Option<&'a str>,
    mode: &'a str,
    done: Vec<SafeText>,
    dry_run: bool,
}

/// Runs it. No other file is read: it has to work where the configuration does not.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &InitArgs, global: &Global, out: &mut Output) -> Ended {
    let options = Options {
        state_dir: global.state_dir.clone(),
        read_only: global.read_only,
        ..Options::default()
    };
    let made = init::init(&options, args.shared.as_deref(), global.dry_run).await?;
    let path = SafeText::from_text(&made.path.display().to_string());
    let done: Vec<SafeText> = made
        .done
        .iter()
        .map(|text| SafeText::from_text(text))
        .collect();
    if out.is_json() {
        let document = Document {
            path,
            shared: made.mode.starts_with('2'),
            group: made.group.as_deref(),
            mode: &made.mode,
            done,
            dry_run: global.dry_run,
        };
        out.json("init", &document)?;
        return Ok(Exit::Done);
    }
    for text in &done {
        out.line(format_args!(
            "{}{text}",
            if global.dry_run { "would: " } else { "" }
        ))?;
    }
    if done.is_empty() {
        let mark = out.paint(Paint::Good, "✔");
        out.line(format_args!(
            "{mark} {path} (mode {}): nothing to do",
            made.mode
        ))?;
    }
    if let Some(group) = &made.group {
        out.line(format_args!(
            "everyone of the group {group} works in it now: sudo usermod -aG {group} USER lets another in"
        ))?;
    }
    Ok(Exit::Done)
}
