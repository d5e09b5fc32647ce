//! The alerts that the watch keeps, for people: what fires, and who has taken it.

use std::time::Duration;

use jiff::Timestamp;

use super::notify::{Delivery, Postman};
use super::{Context, ErrorKind, OpsError, notify};
use crate::analysis::alerts::{self, silence};
use crate::domain::alert::{Acknowledgement, AlertBook, Silence};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
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

/// What a deploy takes besides being watched: a window that nobody closed ends by itself.
const DEPLOY: Duration = Duration::from_secs(30 * 60);

/// For so long nobody is told of these services (all where none is named), unless it is a P0. Returns when it ends.
///
/// # Errors
/// No reason; the state folder cannot be written.
pub fn silence(
    ctx: &Context,
    services: &[String],
    length: Duration,
    reason: &str,
) -> Result<Timestamp, OpsError> {
    if reason.trim().is_empty() {
        return Err(OpsError::new(ErrorKind::Usage, "a silence needs a reason")
            .fix("lastgood alerts --silence SERVICE --for 1h --reason \"database upgrade\""));
    }
    let name = match services {
        [] => "all".to_owned(),
        services => services.join(" "),
    };
    let opened = opened(ctx, name, services.to_vec(), length, reason);
    let until = opened.until;
    change(ctx, |book| silence::open(book, opened))?;
    Ok(until)
}

/// Ends the silence of these services.
///
/// # Errors
/// There is none ([`ErrorKind::No`]); the state folder cannot be written.
pub fn end_silence(ctx: &Context, name: &str) -> Result<(), OpsError> {
    let mut found = false;
    change(ctx, |book| found = silence::close(book, name))?;
    match found {
        true => Ok(()),
        false => Err(
            OpsError::new(ErrorKind::No, format!("nothing named {name:?} is silenced"))
                .fix("lastgood alerts"),
        ),
    }
}

/// A deploy of these services begins: below P0 nobody is told of them while it goes on and is watched for so long. Gives
/// the name that closes the window; one that is not closed ends by itself.
///
/// # Errors
/// The state folder cannot be written.
pub fn open_window(
    ctx: &Context,
    services: &[ServiceId],
    watched: Duration,
) -> Result<String, OpsError> {
    let name = format!("deploy {}", std::process::id());
    let services = services.iter().map(ToString::to_string).collect();
    let opened = opened(
        ctx,
        name.clone(),
        services,
        watched + DEPLOY,
        "a deploy under guard",
    );
    change(ctx, |book| silence::open(book, opened))?;
    Ok(name)
}

/// The deploy is over: what still fires is told now.
///
/// # Errors
/// The state folder cannot be written.
pub fn close_window(ctx: &Context, name: &str) -> Result<(), OpsError> {
    change(ctx, |book| {
        silence::close(book, name);
    })
}

fn opened(
    ctx: &Context,
    name: String,
    services: Vec<String>,
    length: Duration,
    reason: &str,
) -> Silence {
    let now = Timestamp::now();
    Silence {
        name,
        services,
        since: now,
        until: now.checked_add(length).unwrap_or(Timestamp::MAX),
        reason: SafeText::from_text(reason.trim()),
        by: SafeText::from_text(&ctx.actor.user),
    }
}

fn change(ctx: &Context, how: impl FnOnce(&mut AlertBook)) -> Result<(), OpsError> {
    let lock = BookLock::take(&ctx.state)?;
    let mut book = lock.read()?;
    how(&mut book);
    lock.write(&book)?;
    Ok(())
}
