//! What the end of a stream means, and what is done about it.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use tokio::time::Instant;

use super::known::{self, Life};
use super::{Follower, send_all};
use crate::domain::log::{LogEvent, LogNoteKind};
use crate::runtime::RuntimeError;
use crate::runtime::docker::inspect::inspect_container;
use crate::runtime::docker::logs::{Source, later};

/// The engine ends a stream a moment before it says that the container ended.
const SETTLING: Duration = Duration::from_millis(500);
const SETTLING_STEP: Duration = Duration::from_millis(25);
/// A process may write before the engine says that it was started.
const STARTING: Duration = Duration::from_secs(2);
/// The shortest time there is.
const INSTANT: Duration = Duration::from_nanos(1);

impl Follower {
    /// A container may be removed while it is being asked for: the next event tells that, and it is no failure.
    pub(super) async fn unless_removed(
        &self,
        id: &str,
        result: Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        match result {
            Err(error) if !error.is_unreachable() => {
                match self.engine.quick(inspect_container(&self.engine, id)).await {
                    Err(RuntimeError::NotFound(_)) => Ok(()),
                    Ok(container) if known::is_going(&container) => Ok(()),
                    _ => Err(error),
                }
            }
            result => result,
        }
    }

    /// Goes on with a container that is there, where its stream ended or it was started again.
    pub(super) async fn settle(
        &mut self,
        id: &str,
        container: &ContainerInspectResponse,
        was_lost: bool,
    ) -> Result<(), RuntimeError> {
        let Some(known) = self.known.get(id) else {
            return Ok(());
        };
        let is_restarted = known.started_at != known::started_at(container);
        match known.life {
            Life::Read | Life::Gone => Ok(()),
            Life::Ended if !is_restarted => Ok(()),
            Life::Ended => self.restart(id, container).await,
            Life::Broken(_) if known::is_running(container) && !is_restarted => {
                let settled = match was_lost {
                    true => container.clone(),
                    false => self.wait_for_end(id, container).await?,
                };
                if !known::is_running(&settled) || known::started_at(&settled) != known.started_at {
                    // The next look tells the rest.
                    return Box::pin(self.settle(id, &settled, was_lost)).await;
                }
                let (ask, position) = (known.ask.clone(), known.position);
                self.begin(container, ask, position).await
            }
            Life::Broken(_) => {
                let container = self.read_rest(id, container).await?;
                let Some(known) = self.known.get_mut(id) else {
                    return Ok(());
                };
                if known.started_at != known::started_at(&container) {
                    return self.restart(id, &container).await;
                }
                known.life = Life::Ended;
                let from = known.position.newest;
                let detail = self.known.how_it_ended(id, Some(&container));
                self.notes.tell(LogNoteKind::Ended, from, &detail).await;
                Ok(())
            }
        }
    }

    /// The stream ended. Gives the container's state once that is explained, or when it is not explained in time.
    async fn wait_for_end(
        &self,
        id: &str,
        container: &ContainerInspectResponse,
    ) -> Result<ContainerInspectResponse, RuntimeError> {
        let deadline = Instant::now() + SETTLING;
        loop {
            let now = match self.engine.quick(inspect_container(&self.engine, id)).await {
                Err(RuntimeError::NotFound(_)) => return Ok(container.clone()),
                now => now?,
            };
            let is_same = known::started_at(&now) == known::started_at(container);
            if !known::is_running(&now) || !is_same || Instant::now() >= deadline {
                return Ok(now);
            }
            tokio::time::sleep(SETTLING_STEP).await;
        }
    }

    /// Gives the container once it was started again, or when it was not in time.
    async fn wait_for_start(
        &self,
        id: &str,
        ended: ContainerInspectResponse,
    ) -> Result<ContainerInspectResponse, RuntimeError> {
        let deadline = Instant::now() + STARTING;
        loop {
            let now = self
                .engine
                .quick(inspect_container(&self.engine, id))
                .await?;
            let is_same = known::started_at(&now) == known::started_at(&ended);
            if !is_same || Instant::now() >= deadline {
                return Ok(now);
            }
            tokio::time::sleep(SETTLING_STEP).await;
        }
    }

    /// Sends what the container wrote until it ended and the stream did not give: the engine may end a stream before
    /// its last lines, and a broken one lacks them anyway. Gives the container as it is then: it may have been
    /// started again meanwhile, and the lines of its new run stand behind the seam.
    async fn read_rest(
        &mut self,
        id: &str,
        container: &ContainerInspectResponse,
    ) -> Result<ContainerInspectResponse, RuntimeError> {
        let mut container = container.clone();
        let mut too_late = None;
        loop {
            let Some(known) = self.known.get_mut(id) else {
                return Ok(container);
            };
            let is_restarted = known.started_at != known::started_at(&container);
            let until = match is_restarted {
                true => known::end_of_last_run(&container, true),
                false => too_late.or_else(|| known::end_of_last_run(&container, false)),
            };
            let mut ask = known.ask.clone();
            ask.follow = false;
            let whole = ask.window.until;
            ask.window.until = whole.into_iter().chain(until).min();
            let mut rest = Source::resume(&self.engine, &ask, known.position).await?;
            let sent = send_all(&mut rest, &self.notes, &self.to, None).await;
            known.position = rest.position();
            sent?;
            too_late = rest.beyond().map(|at| later(at, INSTANT));
            let is_outside = whole.is_some_and(|whole| too_late > Some(whole));
            if is_restarted || too_late.is_none() || is_outside {
                return Ok(container);
            }
            // Lines that are too late for the run that ended are those of the next, of which the engine may not know
            // yet, unless there is none.
            container = self.wait_for_start(id, container).await?;
        }
    }

    async fn restart(
        &mut self,
        id: &str,
        container: &ContainerInspectResponse,
    ) -> Result<(), RuntimeError> {
        let Some(known) = self.known.get(id) else {
            return Ok(());
        };
        let (ask, position) = (known.ask.clone(), known.position);
        let mut detail = known.name.clone();
        if !matches!(known.life, Life::Ended)
            && let Some(code) = known.exit_code
        {
            detail.push_str(&format!(", after exit {code}"));
        }
        let kind = LogNoteKind::Restarted;
        self.notes.tell(kind, position.newest, &detail).await;
        self.begin(container, ask, position).await
    }

    /// The container is not there any more.
    pub(super) async fn bury(&mut self, id: &str) {
        let detail = self.known.how_it_ended(id, None);
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        match std::mem::replace(&mut known.life, Life::Gone) {
            // Its stream will end, and then it is buried.
            Life::Read => known.life = Life::Read,
            Life::Ended | Life::Gone => {}
            Life::Broken(mut source) => {
                if let Some(last) = source.rest() {
                    // Nobody listening is found out by the loop.
                    let _ = self.to.send(LogEvent::Block(last)).await;
                }
                let from = source.position().newest;
                self.notes.tell(LogNoteKind::Ended, from, &detail).await;
            }
        }
    }
}
