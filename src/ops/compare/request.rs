//! The records of one request before and one after, read again from both sides.
//!
//! A comparison keeps patterns, not requests: millions of those would need as much room as the logs. So the logs are read
//! once more, for the records of one id.

use tokio_util::sync::CancellationToken;

use super::show;
use crate::analysis::compare::request::counterpart;
use crate::analysis::redact::Redactor;
use crate::analysis::scan::{MAX_TRACED, request_key};
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::safe_text::SafeText;
use crate::domain::side_by_side::{RequestPair, RequestRecord, RequestWanted};
use crate::ops::input::{self, Input, ReadOptions, ReadSide};
use crate::ops::{Context, ErrorKind, OpsError, secrets, services};

/// Finds the request that is wanted, and one of the other side that wrote the same.
///
/// # Errors
/// An input that cannot be read, and a request that is not there any more ([`ErrorKind::NotSure`]).
pub async fn find_request(
    ctx: &Context,
    before: &Input,
    after: &Input,
    wanted: &RequestWanted,
    cancel: CancellationToken,
) -> Result<RequestPair, OpsError> {
    let baseline = match before {
        Input::Checkpoint { id, .. } if after.is_live() => Some(input::open_checkpoint(ctx, id)?),
        _ => None,
    };
    // The secrets of what runs now are those of the compare itself: what one side hides the other must not show.
    let live = match after.is_live() {
        true => services::discover(ctx).await.services,
        false => Vec::new(),
    };
    let redactor = secrets::redactor(ctx, &live).await?;
    let read = async |side: Side, id: &SafeText| {
        let (input, baseline) = match side {
            Side::Before => (before, None),
            Side::After => (after, baseline.as_ref()),
        };
        let options = ReadOptions {
            traced: Some(request_key(id.as_str().as_bytes())),
            ..ReadOptions::default()
        };
        let read = input::read(ctx, input, baseline, None, options, &cancel).await?;
        Ok::<_, OpsError>(records(&read, &redactor))
    };
    let found = read(wanted.side, &wanted.id).await?;
    if found.is_empty() {
        let what = format!("no record of request {} was found again", wanted.id);
        return Err(OpsError::new(ErrorKind::NotSure, what));
    }
    let other = counterpart(wanted, &found).cloned();
    let (mut ids, mut both) = (BeforeAfter::default(), BeforeAfter::default());
    let side = wanted.side.other();
    if let Some(id) = &other {
        *both.side_mut(side) = read(side, id).await?;
    }
    *ids.side_mut(side) = other;
    *ids.side_mut(wanted.side) = Some(wanted.id.clone());
    *both.side_mut(wanted.side) = found;
    Ok(RequestPair { ids, records: both })
}

/// The records that were kept, of all services in the order of time.
fn records(side: &ReadSide, redactor: &Redactor) -> Vec<RequestRecord> {
    let mut records: Vec<RequestRecord> = Vec::new();
    for service in &side.logs.services {
        records.extend(service.scan.traced.iter().map(|traced| RequestRecord {
            at: traced.at,
            shape: traced.shape,
            line: traced.example.line,
            service: service.id.clone(),
            text: show(redactor, &traced.example.text),
        }));
    }
    // Stable: what one service wrote at one time stays in its order.
    records.sort_by_key(|r| r.at);
    records.truncate(MAX_TRACED);
    records
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::analysis::compare::request::{sequence, wanted};
    use crate::domain::side_by_side::Of;
    use crate::ops::Access;
    use crate::store::config::Config;

    /// Requests of three records; from some number on the second one is an error.
    fn log(requests: std::ops::Range<u32>, broken: u32) -> String {
        let request = |n: u32| {
            let at = format!("2025-12-27T14:{:02}:{:02}Z", n / 60 % 60, n % 60);
            let second = if n >= broken {
                "ERROR payment service sent no JSON"
            } else {
                "INFO payment accepted"
            };
            format!(
                "{at} INFO order taken req_id=r{n}\n{at} {second} req_id=r{n}\n\
                 {at} INFO POST /orders completed in 0.05s status=200 req_id=r{n}\n"
            )
        };
        requests.map(request).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_request_of_an_error_is_held_against_one_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let ctx = Context::of_anna(folder.path(), Config::default(), Access::Full);
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Input::Path(path)
        };
        let before = file("before.log", log(0..200, 1000));
        let after = file("after.log", log(300..500, 400));
        let (progress, _told) = mpsc::channel(4);
        let cancel = CancellationToken::new();
        let found =
            super::super::compare(&ctx, &before, &after, None, true, progress, cancel.clone());
        let found = found.await.unwrap();
        let broken = &found.patterns[0];
        assert!(broken.template.as_str().contains("no JSON"), "{broken:?}");
        let wanted = wanted(&found, broken, None).unwrap();
        assert_eq!((wanted.side, wanted.id.as_str()), (Side::After, "r400"));
        let pair = find_request(&ctx, &before, &after, &wanted, cancel.clone());
        let pair = pair.await.unwrap();
        let lines = pair.records.as_ref().map(|side| {
            let lines = side.iter().map(|r| r.line);
            lines.collect::<Vec<u64>>()
        });
        assert_eq!(
            (lines.before, lines.after),
            (vec![1, 2, 3], vec![301, 302, 303])
        );
        let sequence = sequence(&found, &pair);
        let items: Vec<bool> = (sequence.rows.iter())
            .map(|row| {
                let items = row.items();
                items.before.map(|i| i.pattern) == items.after.map(|i| i.pattern)
            })
            .collect();
        assert_eq!(items, [true, false, true]);
        assert!(
            matches!(&sequence.of, Of::Request(ids) if ids.before == Some(SafeText::from_text("r0")))
        );
        let gone = RequestWanted {
            id: SafeText::from_text("r999"),
            ..wanted
        };
        let error = find_request(&ctx, &before, &after, &gone, cancel).await;
        assert_eq!(error.unwrap_err().kind, ErrorKind::NotSure);
    }
}
