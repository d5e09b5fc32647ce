//! `lastgood demo`: the built-in shop.
//!
//! With `--headless` the whole story is played by the same use cases as every other verb calls, and printed: the
//! shop runs, a checkpoint, a bad deploy, the verdict, the rollback, the verdict again, the audit log.

use std::io::{self, IsTerminal};

use clap::Args;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop, talk, talk_error};
use crate::demo::Shop;
use crate::domain::safe_text::SafeText;
use crate::ops::{Context, ErrorKind, OpsError};

mod story;

use story::{Broken, Story};

/// `lastgood demo`: the built-in shop.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Play the whole story and print it
    #[arg(long)]
    pub headless: bool,
    /// Keep the folder with the shop
    #[arg(long)]
    pub keep: bool,
}

/// Starts the shop, with this very binary as its processes. An error is told and is an exit code.
///
/// # Errors
/// No terminal for the console, or the shop does not start; 128 + the signal that came meanwhile.
pub async fn start(args: &DemoArgs) -> Result<Shop, u8> {
    let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !args.headless && !has_terminal {
        talk(
            "lastgood: the demo's console needs a terminal; `lastgood demo --headless` plays the story",
        );
        return Err(Exit::Usage.code());
    }
    let program =
        std::env::current_exe().map_err(|error| told("this program is not found", error))?;
    tokio::select! {
        shop = Shop::start(&program, args.keep) => {
            shop.map_err(|error| told("the demo does not start", error))
        }
        code = interrupted() => Err(code),
    }
}

/// Ends the shop. `Some` with an exit code where that fails.
pub async fn stop(shop: Shop, args: &DemoArgs) -> Option<u8> {
    let folder = shop.folder().root().to_owned();
    if let Err(error) = shop.stop().await {
        return Some(told("the demo does not end", error));
    }
    if args.keep {
        talk(format_args!("kept: {}", folder.display()));
    }
    None
}

fn told(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> u8 {
    talk_error(&OpsError::new(ErrorKind::Failed, what).because(error));
    Exit::Failed.code()
}

/// Waits for a signal that ends the program; the exit code that belongs to it.
pub async fn interrupted() -> u8 {
    Exit::by_signal().await.code()
}

/// Plays the story on a running shop and prints it. Exits 0 when it ends as it should, 1 when anything differs,
/// and says what.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn play(shop: &Shop, ctx: &Context, out: &mut Output) -> Ended {
    let mut story = Story::new(shop, ctx, out);
    let ended = story.play().await;
    let told = story.into_told();
    let why = match ended {
        Ok(()) => None,
        Err(Broken::Differs(why)) => Some(why),
        Err(Broken::Stop(Stop::Ops(error))) => {
            let mut why = error.to_safe_text().to_string();
            if let Some(fix) = &error.fix {
                why.push_str("; try: ");
                why.push_str(fix);
            }
            Some(why)
        }
        Err(Broken::Stop(stop)) => return Err(stop),
    };
    if out.is_json() {
        out.json("demo", &told.finish(why.as_deref()))?;
    }
    match why {
        None => {
            if !out.is_json() {
                out.line(out.paint(
                    Paint::Good,
                    "The story ended as it should: the bad release was seen, taken back, and proved gone.",
                ))?;
            }
            Ok(Exit::Done)
        }
        Some(why) => {
            out.flush()?;
            let why = SafeText::from_text(&why);
            talk(format_args!("lastgood: the demo's story broke off: {why}"));
            Ok(Exit::No)
        }
    }
}

/// What the console's header says: the story's steps with the keys of the default keymap. Short, since the header
/// holds other things too.
pub fn banner() -> String {
    format!(
        "demo: a c checkpoint · {} deploys itself · c compare · L, a b roll back",
        crate::demo::BAD
    )
}
