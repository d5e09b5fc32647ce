//! The tasks around secrets in logs: to know them, and to record that somebody sees them.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};

use super::{Ended, blocking};
use crate::domain::service::{Service, ServiceId};
use crate::ops::secrets::EnvFiles;
use crate::ops::{self, Context};
use crate::tui::msg::Msg;
use crate::tui::panes::logs::Secrets;

/// A log is opened after this although a machine has not told its secrets yet: what has their shape is hidden all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of more machines than these, the files are asked for when no other has come to the list for a moment: each question is a
/// login there, which those that are still connected to would wait for.
const FEW: usize = 2;
const MOMENT: Duration = Duration::from_millis(500);

/// Whether the secrets of what was found are known: no log is opened before.
#[derive(Debug, Clone)]
pub(super) struct Learned(Arc<watch::Sender<bool>>, Arc<Mutex<EnvFiles>>);

impl Default for Learned {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)), Arc::default())
    }
}

impl Learned {
    /// Something was found whose secrets are not known yet.
    pub(super) fn begin(&self) -> Self {
        self.0.send_replace(false);
        self.clone()
    }

    /// Waits until they are.
    pub(super) async fn wait(&self) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|is_known| *is_known).await;
    }
}

/// Reads what was not read yet; with `is_anew`, all of it.
pub(super) async fn learn(
    ctx: Arc<Context>,
    (services, is_anew): (Vec<Service>, bool),
    learned: Learned,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    let mut files = learned.1.lock().await;
    if is_anew {
        *files = EnvFiles::default();
    }
    let machines: BTreeSet<_> = services.iter().map(|service| &service.id.host).collect();
    if machines.len() > FEW && !is_anew {
        tokio::time::sleep(MOMENT).await;
    }
    let learning = ops::secrets::redactor_from(&ctx, &services, &mut files);
    let mut learning = pin!(learning);
    let found = match tokio::time::timeout(PATIENCE, &mut learning).await {
        Ok(found) => found,
        Err(_) => {
            learned.0.send_replace(true);
            learning.await
        }
    };
    // Told first: a line that is drawn before it is drawn as it is.
    if let Ok(redactor) = &found {
        let known = Secrets::new(redactor.clone());
        let _ = inbox.send(Msg::SecretsKnown(known)).await;
    }
    learned.0.send_replace(true);
    found?;
    Ok(None)
}

pub(super) async fn reveal(ctx: Arc<Context>, services: Vec<ServiceId>) -> Ended {
    blocking(move || ops::audit::note_reveal(&ctx, services)).await?;
    Ok(Some(Msg::SecretsRevealed))
}
