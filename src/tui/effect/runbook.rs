//! The tasks around runbooks: the list of them, and the probes of a run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Ended, blocking};
use crate::domain::runbook::RunState;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Inventory;
use crate::ops::runbook::{Follow, News, Place};
use crate::ops::{self, Context};
use crate::tui::msg::Msg;
use crate::tui::panes::runbook::{Entry, Runbooks};

/// The list, and the newest run if it still has something to do. That there is no run at all is no failure.
pub(super) fn read_runbooks(ctx: &Context) -> Result<Msg, ops::OpsError> {
    let listing = ops::runbook::list(ctx)?;
    let list = Runbooks {
        entries: listing
            .runbooks
            .iter()
            .map(|source| Entry {
                name: source.runbook.name.clone(),
                title: source.runbook.title.clone(),
                items: source.runbook.items().count(),
                automatic: source.runbook.automatic_count(),
            })
            .collect(),
        problems: listing
            .problems
            .iter()
            .map(|problem| SafeText::from_error(problem))
            .collect(),
    };
    let run = if ops::runbook::runs(ctx)?.is_empty() {
        None
    } else {
        Some(ops::runbook::status(ctx, None)?).filter(|run| !run.is_complete())
    };
    Ok(Msg::Runbooks {
        list,
        run: run.map(Box::new),
    })
}

/// Asks what is due and writes down what came of it.
pub(super) async fn ask_probes(
    ctx: Arc<Context>,
    run: Box<RunState>,
    inventory: Box<Inventory>,
    after: Duration,
) -> Ended {
    tokio::time::sleep(after).await;
    let state = ops::runbook::ask_due(&ctx, *run, &inventory).await?;
    Ok(Some(Msg::Probed(Box::new(state))))
}

/// Tells what others do to a run, and which runs they start, until it is replaced.
pub(super) async fn follow(
    ctx: Arc<Context>,
    run: Option<String>,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    let mut follow = blocking(move || Follow::start(&ctx, run.as_deref())).await?;
    loop {
        let looked = blocking(move || {
            let news = follow.look()?;
            Ok((follow, news))
        });
        let news;
        (follow, news) = looked.await?;
        for news in news {
            let msg = match news {
                News::Run(run) => Msg::RunbookWentOn(run),
                News::Started(run) => Msg::RunbookStarted(SafeText::from_text(&run)),
                News::Others(others) => Msg::Others(others),
                News::Incident(brief) => Msg::Incident(brief),
            };
            if inbox.send(msg).await.is_err() {
                return Ok(None);
            }
        }
        follow.changed().await;
    }
}

/// Shows the others where this console is, once it stays there.
pub(super) async fn go_to(ctx: Arc<Context>, place: Place, run: String, item: usize) -> Ended {
    tokio::time::sleep(super::SETTLE).await;
    blocking(move || place.go(&ctx, &run, item)).await?;
    Ok(None)
}
