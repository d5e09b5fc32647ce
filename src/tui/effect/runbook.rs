//! The tasks around runbooks: the list of them, and the probes of a run.

use std::sync::Arc;
use std::time::Duration;

use super::Ended;
use crate::domain::runbook::RunState;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Inventory;
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
