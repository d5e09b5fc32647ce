//! The alerts that the watch keeps, for people: what fires, and who has taken it.

use jiff::Timestamp;

use super::notify::{Delivery, Postman};
use super::{Context, ErrorKind, OpsError, notify};
use crate::analysis::alerts;
use crate::domain::alert::{Acknowledgement, AlertBook};
use crate::domain::safe_text::SafeText;
use crate::store::alerts::{self as store, BookLock};
use crate::store::outbox;

/// What the watch knows, as of its last look.
///
/// # Errors
/// The book cannot be read.
pub fn read(ctx: &Context) -> Result<AlertBook, OpsError> {
    Ok(store::read(&ctx.state)?)
}

/// Takes every firing alert of that key or service: reminders and escalation end, and everyone who was told hears of
/// it. Returns how many were taken, and how telling went.
///
/// # Errors
/// Nothing of that name fires ([`ErrorKind::No`]); the state folder cannot be written.
pub async fn acknowledge(ctx: &Context, name: &str) -> Result<(usize, Vec<Delivery>), OpsError> {
    let by = Acknowledgement {
        by: SafeText::from_text(&ctx.actor.user),
        at: Timestamp::now(),
    };
    let taken = {
        let lock = BookLock::take(&ctx.state)?;
        let mut book = lock.read()?;
        let (taken, messages) = alerts::acknowledge(&mut book, name, &by, &notify::host_name());
        if taken == 0 {
            return Err(OpsError::new(
                ErrorKind::No,
                format!("nothing named {name:?} fires that nobody has taken yet"),
            )
            .fix("lastgood alerts"));
        }
        for message in &messages {
            outbox::put(&ctx.state, message)?;
        }
        lock.write(&book)?;
        taken
    };
    // A watch that runs delivers itself; without one it is done here.
    let deliveries = notify::deliver(ctx, &mut Postman::default()).await?;
    Ok((taken, deliveries))
}
