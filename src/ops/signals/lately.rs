//! The last minutes of a log, for those who look at it again and again: each look reads what was written since the one
//! before, and what was counted earlier is kept in slices that grow old and are dropped.
//!
//! A look at twenty services would otherwise make the engine give the same minutes of twenty logs every few seconds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::log::{self, LogTally};
use crate::domain::log::{LogPosition, LogRequest, Window};
use crate::domain::own_signal::OwnSignal;
use crate::domain::service::{Runtime, Service, ServiceId};
use crate::host::Host;
use crate::ops::services::{failed, host_of};
use crate::ops::{Context, OpsError};
use crate::runtime;

/// What was written so recently may not be in the log yet: the next look reads it.
const SETTLED: Duration = Duration::from_secs(1);
/// Lines at the end of a log without times that a first look takes.
const FIRST: u64 = 50_000;
/// What a link has not carried by then is more than it carries: only the newest lines are taken …
const LOOK_LIMIT: Duration = Duration::from_secs(4);
/// … so many of them, which even a slow one brings in a second or two.
const NEWEST: u64 = 500;
/// So many looks at most take the newest lines at once before all of them are tried again.
const MOST_SHORT: u32 = 16;
/// A span is kept in about so many slices: it is longer than asked for by one of them at most.
const SLICES: i32 = 10;

/// What was counted of each service's log.
#[derive(Debug, Default)]
pub struct Lately(Mutex<BTreeMap<ServiceId, Arc<tokio::sync::Mutex<Slices>>>>);

#[derive(Debug, Default)]
struct Slices {
    /// The instances whose logs these are: others begin anew.
    instances: Vec<String>,
    slices: VecDeque<Slice>,
    /// Where the files of a log without times ended at the last look.
    ends: Vec<LogPosition>,
    /// How often in a row the link did not carry what was written …
    over: u32,
    /// … and how many of the next looks do not try.
    short: u32,
}

#[derive(Debug)]
struct Slice {
    since: Timestamp,
    until: Timestamp,
    tally: LogTally,
}

/// Whether a log is read in slices: where each line has the time at which it was written, or where the log goes on is known by
/// its place in the files. The files of a user are searched by time, which is cheap.
pub(super) fn is_sliced(service: &Service) -> bool {
    matches!(
        service.runtime,
        Runtime::Compose | Runtime::Docker | Runtime::Pm2
    )
}

/// Whether it holds anything of the time since then.
fn is_newer(kept: &tokio::sync::Mutex<Slices>, since: Timestamp) -> bool {
    let Ok(kept) = kept.try_lock() else {
        return true;
    };
    let last = kept.slices.back();
    last.is_some_and(|last| last.until > since)
}

/// Reads what was written since the last look, and gives the count of the whole window, with the window it is of.
///
/// # Errors
/// The log cannot be read; the next look reads what this one did not.
pub(super) async fn read(
    ctx: &Context,
    service: &Service,
    window: Window,
    own: &[&OwnSignal],
) -> Result<(LogTally, Window), OpsError> {
    let (Some(since), Some(now)) = (window.since, window.until) else {
        let tally = log::read(ctx, service, window, own).await?;
        return Ok((tally, window));
    };
    let until = now.checked_sub(SETTLED).unwrap_or(now).max(since);
    let limit = match host_of(ctx, &service.id)? {
        Host::Ssh(_) => Some(LOOK_LIMIT),
        Host::Local => None,
    };
    let kept = {
        let mut all = ctx.lately.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody looks any more at what was not looked at for a whole window: a wall that stands for weeks sees many
        // services come and go.
        all.retain(|_, kept| Arc::strong_count(kept) > 1 || is_newer(kept, since));
        Arc::clone(all.entry(service.id.clone()).or_default())
    };
    let mut kept = kept.lock().await;
    if service.runtime == Runtime::Pm2 {
        read_files(ctx, service, (since, now), own, (&mut kept, limit)).await?;
        return Ok(kept.all(window));
    }
    let instances = service.instances.iter().map(|i| i.id.clone());
    kept.begin(instances.collect(), since);
    let from = kept.slices.back().map_or(since, |last| last.until);
    if from < until {
        let part = LogRequest {
            window: Window {
                since: Some(from),
                until: Some(until),
            },
            ..LogRequest::default()
        };
        // The first look reads the whole span, and what is old in it is to be dropped before the rest.
        let borders = borders(from, until, length(since, until));
        let read = log::read_parts(ctx, service, &part, own, borders.clone());
        let Some(tallies) = kept.in_time(limit, read).await? else {
            let tally = newest(ctx, service, from, own).await?;
            kept.take_newest(tally, (from, until), length(since, until));
            return Ok(kept.all(window));
        };
        let starts = std::iter::once(from).chain(borders.iter().copied());
        let ends = borders.iter().copied().chain([until]);
        for ((since_part, until_part), tally) in starts.zip(ends).zip(tallies) {
            let slice = Slice {
                since: since_part,
                until: until_part,
                tally: tally.bounded(),
            };
            kept.push(slice, length(since, until));
        }
    }
    Ok(kept.all(Window {
        since: Some(since),
        until: Some(until),
    }))
}

/// PM2 gives its lines no time: what was appended since the last look is what was written since. The first look takes the end
/// of the log for the window; a file of months would say nothing about now.
async fn read_files(
    ctx: &Context,
    service: &Service,
    (since, until): (Timestamp, Timestamp),
    own: &[&OwnSignal],
    (kept, limit): (&mut Slices, Option<Duration>),
) -> Result<(), OpsError> {
    // The files go on where a process ends.
    kept.begin(Vec::new(), since);
    let from = kept.slices.back().map_or(since, |last| last.until);
    // Taken before the log is read: a line that is written meanwhile is counted twice rather than never.
    let ends = ends(ctx, service).await?;
    let part = match kept.ends.is_empty() {
        true => LogRequest {
            window: Window::since(since),
            tail: Some(FIRST),
            ..LogRequest::default()
        },
        false => LogRequest {
            from: kept.ends.clone(),
            ..LogRequest::default()
        },
    };
    let read = log::read_parts(ctx, service, &part, own, Vec::new());
    let Some(tallies) = kept.in_time(limit, read).await? else {
        let tally = newest(ctx, service, from, own).await?;
        kept.ends = ends;
        kept.take_newest(tally, (from, until), length(since, until));
        return Ok(());
    };
    kept.ends = ends;
    for tally in tallies {
        let slice = Slice {
            since: from,
            until,
            tally: tally.bounded(),
        };
        kept.push(slice, length(since, until));
    }
    Ok(())
}

/// The newest lines of a log whose link does not carry all of them.
async fn newest(
    ctx: &Context,
    service: &Service,
    since: Timestamp,
    own: &[&OwnSignal],
) -> Result<LogTally, OpsError> {
    let request = LogRequest {
        window: Window::since(since),
        tail: Some(NEWEST),
        ..LogRequest::default()
    };
    let tallies = log::read_parts(ctx, service, &request, own, Vec::new()).await?;
    Ok(tallies.into_iter().next().unwrap_or_default())
}

async fn ends(ctx: &Context, service: &Service) -> Result<Vec<LogPosition>, OpsError> {
    let host = host_of(ctx, &service.id)?;
    let settings = ctx.config.service(&service.id);
    let found = runtime::positions(host, service, &settings).await;
    found.map_err(|error| failed(format!("cannot look at the log of {}", service.id), error))
}

/// How long a slice of a span is.
fn length(since: Timestamp, until: Timestamp) -> SignedDuration {
    until.duration_since(since) / SLICES
}

/// Where the second slice of a span begins, and each behind it.
fn borders(from: Timestamp, until: Timestamp, length: SignedDuration) -> Vec<Timestamp> {
    if !length.is_positive() {
        return Vec::new();
    }
    let next = |at: &Timestamp| at.checked_add(length).ok();
    std::iter::successors(next(&from), next)
        .take_while(|at| *at < until)
        .collect()
}

impl Slices {
    /// Forgets what is not of this log, or not of the window any more.
    fn begin(&mut self, mut instances: Vec<String>, since: Timestamp) {
        instances.sort_unstable();
        if self.instances != instances {
            self.slices.clear();
            self.instances = instances;
        }
        self.slices.retain(|slice| slice.until > since);
    }

    /// What a look reads; nothing where a link does not carry it in time: a log that is busier than
    /// its link would take all of it from everything else, and never be read to its end.
    async fn in_time<T>(
        &mut self,
        limit: Option<Duration>,
        read: impl Future<Output = Result<T, OpsError>>,
    ) -> Result<Option<T>, OpsError> {
        let Some(limit) = limit else {
            return read.await.map(Some);
        };
        if self.short > 0 {
            self.short -= 1;
            return Ok(None);
        }
        if let Ok(read) = tokio::time::timeout(limit, read).await {
            self.over = 0;
            return read.map(Some);
        }
        self.short = 2_u32.saturating_pow(self.over).min(MOST_SHORT);
        self.over += 1;
        Ok(None)
    }

    /// Takes the newest lines. Where they are not all that was written since the slices before, what lies between was not
    /// read, and they are all that is known.
    fn take_newest(
        &mut self,
        tally: LogTally,
        (from, until): (Timestamp, Timestamp),
        length: SignedDuration,
    ) {
        let mut since = from;
        if !tally.is_all_since(from, NEWEST) {
            self.slices.clear();
            since = tally.begins().unwrap_or(from).clamp(from, until);
        }
        let tally = tally.bounded();
        self.push(
            Slice {
                since,
                until,
                tally,
            },
            length,
        );
    }

    /// Puts a slice behind the others; short ones become one of at most that length.
    fn push(&mut self, slice: Slice, length: SignedDuration) {
        match self.slices.back_mut() {
            Some(last) if slice.until.duration_since(last.since) <= length => {
                last.tally.merge(&slice.tally);
                last.until = slice.until;
            }
            _ => self.slices.push_back(slice),
        }
    }

    fn all(&self, window: Window) -> (LogTally, Window) {
        let mut slices = self.slices.iter();
        let Some(first) = slices.next() else {
            return (LogTally::default(), window);
        };
        let mut tally = first.tally.clone();
        slices.for_each(|later| tally.merge(&later.tally));
        let since = Some(first.since);
        (tally, Window { since, ..window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn is(instance: &str) -> Vec<String> {
        vec![instance.to_owned()]
    }

    #[test]
    fn a_span_is_kept_whole_in_few_slices_and_what_is_older_goes() {
        let mut kept = Slices::default();
        for look in 0..200 {
            let (since, until) = (at(1_000 + look * 10 - 300), at(1_000 + look * 10));
            kept.begin(is("a"), since);
            let from = kept.slices.back().map_or(since, |last| last.until);
            let length = length(since, until);
            let borders = borders(from, until, length);
            let starts = std::iter::once(from).chain(borders.clone());
            for (since, until) in starts.zip(borders.clone().into_iter().chain([until])) {
                kept.push(slice(since, until), length);
            }
            assert!(kept.slices.len() <= 11, "{}", kept.slices.len());
            let (_, window) = kept.all(Window::since(since));
            let begun = window.since.unwrap();
            assert!(begun <= since, "{begun} {since}");
            assert!(
                since.duration_since(begun).as_secs() < 30,
                "{begun} {since}"
            );
            assert_eq!(kept.slices.back().unwrap().until, until);
            for (one, next) in kept.slices.iter().zip(kept.slices.iter().skip(1)) {
                assert_eq!(one.until, next.since);
            }
        }
    }

    fn slice(since: Timestamp, until: Timestamp) -> Slice {
        Slice {
            since,
            until,
            tally: LogTally::default(),
        }
    }

    #[tokio::test]
    async fn what_a_link_does_not_carry_is_tried_ever_more_rarely() {
        let mut kept = Slices::default();
        let mut tried = Vec::new();
        let limit = Some(Duration::from_millis(1));
        for look in 0..40 {
            let hangs = async {
                tried.push(look);
                std::future::pending::<Result<(), OpsError>>().await
            };
            assert_eq!(kept.in_time(limit, hangs).await.unwrap(), None);
        }
        assert_eq!(tried, [0, 2, 5, 10, 19, 36]);
        // It carries it again.
        kept.short = 0;
        let read = |n| async move { Ok(n) };
        assert_eq!(kept.in_time(limit, read(1)).await.unwrap(), Some(1));
        assert_eq!(kept.in_time(limit, read(2)).await.unwrap(), Some(2));
        assert_eq!(kept.in_time(None, read(3)).await.unwrap(), Some(3));
    }

    fn lines(count: u64) -> LogTally {
        let span = Some((at(301).as_millisecond(), at(310).as_millisecond()));
        LogTally::test(count, span)
    }

    #[test]
    fn what_was_not_carried_is_no_part_of_the_window() {
        let begins = |newest| {
            let mut kept = Slices::default();
            let length = SignedDuration::from_secs(30);
            kept.push(slice(at(0), at(300)), length);
            kept.take_newest(newest, (at(300), at(320)), length);
            kept.all(Window::since(at(20))).1.since
        };
        assert_eq!(begins(lines(NEWEST)), Some(at(301)));
        // All of it came: what was counted before is as good as it was.
        assert_eq!(begins(lines(NEWEST - 1)), Some(at(0)));
        assert_eq!(begins(LogTally::default()), Some(at(0)));
    }

    #[test]
    fn another_container_begins_anew() {
        let mut kept = Slices::default();
        kept.begin(is("a"), at(0));
        kept.push(slice(at(0), at(9)), SignedDuration::from_secs(30));
        kept.begin(is("a"), at(1));
        assert_eq!(kept.slices.len(), 1);
        kept.begin(is("b"), at(1));
        assert!(kept.slices.is_empty());
    }
}
