//! The tasks around secrets in logs: to know them, and to record that somebody sees them.

use std::sync::Arc;

use super::{Ended, blocking};
use crate::domain::service::{Service, ServiceId};
use crate::ops::{self, Context};
use crate::tui::msg::Msg;
use crate::tui::panes::logs::Secrets;

pub(super) async fn learn(ctx: Arc<Context>, services: Vec<Service>) -> Ended {
    let redactor = ops::secrets::redactor(&ctx, &services).await?;
    Ok(Some(Msg::SecretsKnown(Secrets::new(redactor))))
}

pub(super) async fn reveal(ctx: Arc<Context>, services: Vec<ServiceId>) -> Ended {
    blocking(move || ops::audit::note_reveal(&ctx, services)).await?;
    Ok(Some(Msg::SecretsRevealed))
}
