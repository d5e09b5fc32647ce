//! What a look changes in the book of alerts, and what people are told of it, also while nothing can be written.
//!
//! In order: the book with the new messages is on the disk before a message is in the outbox, so that a crash loses none.
//! Where the disk is full the book goes on in memory until it can be written, and messages are sent at once.

use std::collections::BTreeSet;

use futures_util::future;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::look::Look;
use super::{WatchEvent, problem, tell};
use crate::analysis::alerts::{self, Turn};
use crate::analysis::freshness;
use crate::domain::alert::{AlertBook, Condition, Notification};
use crate::domain::safe_text::SafeText;
use crate::ops::notify::Delivery;
use crate::ops::{Context, OpsError, notify, preflight};
use crate::store::StoreError;
use crate::store::alerts::BookLock;
use crate::store::outbox;

/// Keeps the book from look to look.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// The book as it is, where it could not be written.
    unwritten: Option<AlertBook>,
}

impl Keeper {
    /// Takes a look into the book, and tells people what they are to know. Gives, beside what turned, what of the backups
    /// could not be looked at.
    pub(super) async fn keep(
        &mut self,
        ctx: &Context,
        seen: &Look,
        now: Timestamp,
        to: &mpsc::Sender<WatchEvent>,
    ) -> Result<(Vec<(String, Turn)>, AlertBook, Vec<SafeText>), OpsError> {
        let (turns, mut messages, full, unseen) = {
            let lock = BookLock::take(&ctx.state)?;
            let mut book = self.read(&lock)?;
            let mut observations = seen.observe(ctx, &book.known);
            let backups = preflight::backups_by_size(&ctx.config, &ctx.state);
            let backups = freshness::observe(&backups);
            let unseen = backups.iter().filter(|b| b.condition == Condition::Unknown);
            let unseen: Vec<SafeText> = unseen.map(|backup| backup.text.clone()).collect();
            observations.extend(backups);
            let turns = alerts::advance(&mut book, &observations, now);
            seen.remember(&mut book.known, now);
            let host = notify::host_name();
            let messages = alerts::page(&mut book, &turns, &ctx.config.routes, &host, now);
            // What a crash left behind, and what is new: kept with the alerts that it belongs to.
            book.unsent.extend(messages);
            let messages = book.unsent.clone();
            (turns, messages, self.write(&lock, book)?, unseen)
        };
        if let Some(full) = full {
            problem(to, OpsError::from(full).to_safe_text()).await;
        }
        // Side by side: each waits for a log and a comparison, and a page is urgent.
        let services = &seen.inventory.services;
        let completing = messages
            .iter_mut()
            .map(|m| notify::complete(ctx, m, services));
        future::join_all(completing).await;
        let mut sent = BTreeSet::new();
        for message in &mut messages {
            seen.redact(message);
            if hand_over(ctx, message, to).await? {
                sent.insert(message.id.clone());
            }
        }
        let lock = BookLock::take(&ctx.state)?;
        let mut book = self.read(&lock)?;
        book.unsent.retain(|unsent| !sent.contains(&unsent.id));
        // That it cannot be written was told above.
        self.write(&lock, book.clone())?;
        Ok((turns, book, unseen))
    }

    fn read(&mut self, lock: &BookLock) -> Result<AlertBook, StoreError> {
        match self.unwritten.take() {
            Some(book) => Ok(book),
            None => lock.read(),
        }
    }

    /// Gives the error of a full disk back; the book is then kept here.
    fn write(
        &mut self,
        lock: &BookLock,
        book: AlertBook,
    ) -> Result<Option<StoreError>, StoreError> {
        match lock.write(&book) {
            Ok(()) => Ok(None),
            Err(error) if error.is_full() => {
                self.unwritten = Some(book);
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Puts a message into the outbox, or sends it at once where nothing can be put there. Says whether it is out of our hands:
/// one that no sink took is tried again at the next look, under the same id.
async fn hand_over(
    ctx: &Context,
    message: &Notification,
    to: &mpsc::Sender<WatchEvent>,
) -> Result<bool, OpsError> {
    match outbox::put(&ctx.state, message) {
        Ok(()) => return Ok(true),
        Err(error) if !error.is_full() => return Err(error.into()),
        Err(_) => {}
    }
    let deliveries = notify::send_at_once(ctx, message).await;
    let is_taken = deliveries.iter().any(Delivery::is_taken) || message.sinks.is_empty();
    for delivery in deliveries {
        tell(to, delivery).await;
    }
    Ok(is_taken)
}
