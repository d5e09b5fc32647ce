//! Reads a part of a log again: the lines before or after one that the screen holds.
//!
//! The engine cannot be asked for "500 lines before this one". It gives the last N messages of a log, whatever
//! `until` says, and stops at the first line after `until`; so for older lines it is asked for as many as the log
//! has had since and some more, and gives only those up to the border. The border is then found in the lines
//! themselves, by its place and not by its time: two lines may share a time, and neighbours may be out of order.

use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;

use self::cut::{Border, Part};
use super::connect::Engine;
use super::logs::{Ask, Source, TAIL_SLACK, later};
use super::remembered::{self, Facts};
use crate::domain::log::{LogPage, PageBorder, PageRequest, Window};
use crate::domain::service::Service;
use crate::host::Host;
use crate::runtime::RuntimeError;

mod cut;

/// How far around the border is asked, since lines may be out of order: at first …
const NEAR: Duration = Duration::from_millis(100);
/// … and when the border was not in it.
const FAR: Duration = Duration::from_secs(5);

/// Reads the lines before or after the border, of all containers of the service, merged by time. A container that
/// is gone took its lines with it: they are in no page.
///
/// # Errors
/// The engine is unreachable or refuses, the service has no container, or the border is a place in a file.
pub async fn read_page(
    host: &Host,
    service: &Service,
    request: &PageRequest,
) -> Result<LogPage, RuntimeError> {
    let PageBorder::Time { at, same, newer } = request.border else {
        return Err(RuntimeError::Unsupported {
            what: "reading a log from a place in a file",
            service: service.id.clone(),
            runtime: service.runtime,
        });
    };
    let border = Border { at, same };
    let read = |engine: Engine| async move {
        if let Some(seen) = remembered::facts(service) {
            match read_of(&engine, &seen, border, newer, request).await {
                // Another container stands in its place since.
                Err(RuntimeError::NotFound(_)) => {}
                page => return page,
            }
        }
        let containers = remembered::facts_anew(&engine, service).await?;
        if containers.is_empty() {
            let what = format!("a container of {}", service.id);
            return Err(RuntimeError::NotFound(what));
        }
        read_of(&engine, &containers, border, newer, request).await
    };
    Engine::ask(host, read).await
}

async fn read_of(
    engine: &Engine,
    containers: &[Facts],
    border: Border,
    newer: u64,
    request: &PageRequest,
) -> Result<LogPage, RuntimeError> {
    let mut around = NEAR;
    loop {
        let ask = PageAsk {
            engine,
            at: border.at,
            around,
            lines: request.lines,
            near: newer.saturating_add(border.same),
        };
        let parts = containers.iter().map(async |container| {
            if request.is_backward {
                ask.before(container).await
            } else {
                ask.after(container).await
            }
        });
        let parts = try_join_all(parts).await?;
        let (page, is_found) = if request.is_backward {
            cut::before(&parts, border, request.lines)
        } else {
            cut::after(&parts, border, request.lines)
        };
        if is_found || around == FAR {
            return Ok(page);
        }
        around = FAR;
    }
}

/// What one container is asked for.
struct PageAsk<'a> {
    engine: &'a Engine,
    at: Timestamp,
    around: Duration,
    lines: u64,
    /// Lines on the near side of the border, the newest of all being the last of them.
    near: u64,
}

impl PageAsk<'_> {
    /// More lines before the border's time than asked for, or all there are; and what stands around the border.
    async fn before(&self, container: &Facts) -> Result<Part, RuntimeError> {
        let until = later(self.at, self.around);
        let wanted = self.near.saturating_add(self.lines);
        let mut tail = Some(wanted.saturating_add(TAIL_SLACK));
        loop {
            let mut ask = Ask::window(container, Window::ALL);
            ask.until = Some(until);
            ask.tail = tail;
            let mut source = Source::open(self.engine, &ask).await?;
            let mut part = Part::default();
            part.is_whole = tail.is_none();
            while let Some(block) = source.next().await? {
                part.push_before(block, self.at, self.lines);
            }
            // The first line may be the end of a long one: it is whole only if another stands before it.
            if part.is_whole || part.count > self.lines {
                return Ok(part);
            }
            // The engine does not say whether it gave all: what it counts as newer lines is not known here.
            let oldest = self.oldest(container).await?;
            tail = match (source.first(), oldest) {
                (_, None) => None,
                (Some(first), Some(oldest)) if first <= oldest => None,
                (None, Some(oldest)) if oldest > until => None,
                _ => tail.map(|n| n.saturating_mul(4)).filter(|n| *n < 1 << 40),
            };
        }
    }

    /// The time of the first line that the engine still has.
    async fn oldest(&self, container: &Facts) -> Result<Option<Timestamp>, RuntimeError> {
        let ask = Ask::window(container, Window::ALL);
        let mut source = Source::open(self.engine, &ask).await?;
        let _first = source.next().await?;
        Ok(source.first())
    }

    /// What stands around the border, and more lines after its time than asked for, or all there are.
    async fn after(&self, container: &Facts) -> Result<Part, RuntimeError> {
        let since = self.at.checked_sub(self.around).unwrap_or(Timestamp::MIN);
        // Without `since`, which would make the engine look at every line from its first on.
        let mut ask = Ask::window(container, Window::since(since));
        ask.since = None;
        ask.tail = Some(self.near.saturating_add(TAIL_SLACK));
        loop {
            let mut source = Source::open(self.engine, &ask).await?;
            let mut part = Part::default();
            while part.count <= self.lines {
                let Some(block) = source.next().await? else {
                    part.is_whole = true;
                    break;
                };
                part.push_after(block, self.at);
            }
            // Only a line before all that is wanted proves that nothing was left out.
            let is_proved = source.first().is_some_and(|first| first < since);
            if is_proved || ask.tail.is_none() {
                return Ok(part);
            }
            ask.tail = None;
            ask.since = Some(since);
        }
    }
}
