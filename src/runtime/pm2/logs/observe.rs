//! Watches one application over its daemon's bus while its log is followed.
//!
//! Nothing here waits for the listener: the bus has to be drained whatever the console does (see [`bus`]). A
//! look replaces the one before it, and output that finds no room is counted.
//!
//! [`bus`]: super::super::bus

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::super::bus::{Bus, BusEvent, Written};
use super::super::daemon::{AskError, Daemon};
use super::super::list::Process;
use super::super::{FIRST_WAIT, LONGEST_WAIT, service};
use crate::domain::safe_text::SafeText;

/// A restart is a burst of events; it is looked at when it is over.
const BURST: Duration = Duration::from_millis(150);

/// What is known of the application.
#[derive(Debug, Clone, Default)]
pub(super) enum Look {
    /// Nothing yet.
    #[default]
    None,
    /// Its processes.
    Processes(Vec<Process>),
    /// The daemon does not answer, and why.
    Lost(SafeText),
}

/// Output of the application, and how many lines before it found no room.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) written: Written,
    pub(super) skipped: u64,
}

/// Observes until nobody takes looks any more. Output is sent only where somebody takes it.
pub(super) async fn run(
    daemon: Daemon,
    name: String,
    looks: watch::Sender<Look>,
    output: Option<mpsc::Sender<Output>>,
) {
    let mut wait = FIRST_WAIT;
    while !looks.is_closed() {
        match Bus::connect(&daemon).await {
            Ok(bus) => {
                let was_there = observe(bus, &daemon, &name, &looks, output.as_ref()).await;
                if was_there || daemon.there.is_none() {
                    wait = FIRST_WAIT;
                }
                // A forwarded socket takes every connection: whether a daemon is behind it tells who asks it.
                if daemon.there.is_some() {
                    let listed = tokio::select! {
                        () = looks.closed() => return,
                        listed = daemon.list() => listed,
                    };
                    if let Err(error) = listed {
                        looks.send_replace(Look::Lost(SafeText::from_error(&error)));
                    }
                }
            }
            Err(error) => {
                looks.send_replace(Look::Lost(SafeText::from_error(&error)));
            }
        }
        tokio::select! {
            () = looks.closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection, until it is lost. Says whether anything was seen over it.
async fn observe(
    mut bus: Bus,
    daemon: &Daemon,
    name: &str,
    looks: &watch::Sender<Look>,
    output: Option<&mpsc::Sender<Output>>,
) -> bool {
    let mut was_there = false;
    let mut looking: JoinSet<Result<Vec<Process>, AskError>> = JoinSet::new();
    // Connected before the first look, so that no change falls between them.
    let mut due = Some(Instant::now());
    let mut skipped = 0;
    loop {
        let at = due.unwrap_or_else(Instant::now);
        tokio::select! {
            () = looks.closed() => return was_there,
            event = bus.next(output.is_some()) => match event {
                Ok(BusEvent::Changed(of)) if of == name => {
                    due = due.or_else(|| Some(Instant::now() + BURST));
                }
                Ok(BusEvent::Written(written)) if written.name == name => {
                    if let Some(to) = output {
                        skipped = hand_over(to, written, skipped);
                    }
                }
                Ok(_) => {}
                Err(_) => return was_there,
            },
            () = sleep_until(at), if due.is_some() && looking.is_empty() => {
                due = None;
                let daemon = daemon.clone();
                looking.spawn(async move { daemon.list().await });
            }
            Some(looked) = looking.join_next() => {
                let look = match looked {
                    Ok(Ok(list)) => Look::Processes(of_name(&list, name)),
                    Ok(Err(error)) => Look::Lost(SafeText::from_error(&error)),
                    Err(error) => Look::Lost(SafeText::from_error(&error)),
                };
                was_there |= matches!(look, Look::Processes(_));
                looks.send_replace(look);
            }
        }
    }
}

/// Sends output where there is room. Returns how many lines were skipped and not told yet.
fn hand_over(to: &mpsc::Sender<Output>, written: Written, skipped: u64) -> u64 {
    match to.try_send(Output { written, skipped }) {
        Ok(()) => 0,
        Err(
            mpsc::error::TrySendError::Full(output) | mpsc::error::TrySendError::Closed(output),
        ) => {
            let lines = memchr::memchr_iter(b'\n', output.written.data.as_bytes()).count();
            skipped + (lines as u64).max(1)
        }
    }
}

fn of_name(list: &[Process], name: &str) -> Vec<Process> {
    service::by_name(list)
        .remove(name)
        .unwrap_or_default()
        .into_iter()
        .cloned()
        .collect()
}
