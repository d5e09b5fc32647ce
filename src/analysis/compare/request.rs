//! One request before and one after: which to look for, and their records beside each other.

use std::collections::BTreeSet;

use super::side_by_side::aligned;
use crate::analysis::parse::json::{self, Object};
use crate::analysis::parse::request::{RequestFields, RequestReader};
use crate::analysis::pattern::hash;
use crate::domain::before_after::Side;
use crate::domain::comparison::{Comparison, PatternRow};
use crate::domain::safe_text::SafeText;
use crate::domain::settings::RequestRules;
use crate::domain::side_by_side::{
    Axis, Item, Of, RequestPair, RequestRecord, RequestWanted, Sequence,
};

/// The examples of so many patterns are looked at for requests of the other side.
const PATTERNS: usize = 2_000;

/// The request to look for where a pattern is selected: that of its example after, else of the one before. `None` where
/// neither carries an id. `record` is looked at first: the very record that is selected, and its side.
pub fn wanted(
    comparison: &Comparison,
    pattern: &PatternRow,
    record: Option<(Side, &SafeText)>,
) -> Option<RequestWanted> {
    let reader = RequestReader::new(&RequestRules::default()).ok()?;
    let example = |side: Side| Some((side, pattern.examples.side(side).as_ref()?));
    let (side, id) = [record, example(Side::After), example(Side::Before)]
        .into_iter()
        .flatten()
        .find_map(|(side, text)| Some((side, id_of(&reader, text)?)))?;
    let other = side.other();
    let others = (comparison.patterns.iter().take(PATTERNS))
        .filter_map(|row| row.examples.side(other).as_ref())
        .filter_map(|text| Some((text.clone(), id_of(&reader, text)?)))
        .collect();
    Some(RequestWanted { side, id, others })
}

/// The request id that a record carries.
fn id_of(reader: &RequestReader, record: &SafeText) -> Option<SafeText> {
    let text = record.as_str();
    let bytes = text.as_bytes();
    let mut fields = RequestFields::default();
    match text.find('{').and_then(|at| Object::read(&bytes[at..])) {
        Some(object) => json::read_request(&object, &mut fields),
        None => fields = reader.read(bytes),
    }
    fields.request_id.map(SafeText::from_bytes)
}

/// The id of the request of the other side that wrote a record most like one of these; `None` where none has at least half
/// of its words. Of words with numbers only the front counts: `/api/cart/7871`, `status=500`.
pub fn counterpart<'w>(wanted: &'w RequestWanted, found: &[RequestRecord]) -> Option<&'w SafeText> {
    let front = |word: &str| {
        let end = word.find(|c: char| c.is_ascii_digit());
        word[..end.unwrap_or(word.len())].to_owned()
    };
    let words = |text: &SafeText| -> BTreeSet<String> {
        let words = text.as_str().split_whitespace().map(front);
        words.filter(|word| !word.is_empty()).collect()
    };
    let found: Vec<BTreeSet<String>> = found.iter().map(|r| words(&r.text)).collect();
    let likeness = |other: &BTreeSet<String>| {
        let shares = found.iter().map(|own| {
            let common = own.intersection(other).count();
            common as f64 / own.len().max(other.len()).max(1) as f64
        });
        shares.fold(0.0, f64::max)
    };
    let mut best: Option<(f64, &SafeText)> = None;
    for (text, id) in &wanted.others {
        let share = likeness(&words(text));
        if share >= 0.5 && best.is_none_or(|(most, _)| share > most) {
            best = Some((share, id));
        }
    }
    best.map(|(_, id)| id)
}

/// What a record is about: its words without numbers, so that one request that failed and one that did not are told
/// to end with the same thing.
fn gist(pattern: &PatternRow) -> u64 {
    let words = pattern.template.as_str().split_whitespace();
    let kept = words.filter(|w| !w.contains('*') && !w.bytes().any(|b| b.is_ascii_digit()));
    kept.fold(0, |seed, word| hash(word.as_bytes(), seed))
}

/// Both requests aligned by what their records are about. A record whose pattern the comparison does not know yet is left out.
pub fn sequence(comparison: &Comparison, pair: &RequestPair) -> Sequence {
    let items = pair.records.as_ref().map(|records| {
        let start = records.first().and_then(|r| r.at);
        let first = records.first().map_or(0, |r| r.line);
        let item = |record: &RequestRecord| {
            let at = match comparison.side_by_side.axis {
                Axis::Time => match (record.at, start) {
                    (Some(at), Some(start)) => at.abs_diff(start),
                    _ => 0,
                },
                Axis::Lines => record.line.abs_diff(first),
            };
            let services = &comparison.services;
            Some(Item {
                pattern: *comparison.side_by_side.patterns.get(&record.shape)?,
                count: 1,
                at,
                line: record.line,
                // Two files of one service have one name in the comparison.
                service: (services.iter())
                    .position(|s| s.id == record.service)
                    .or((services.len() == 1).then_some(0))?,
                text: Some(record.text.clone()),
            })
        };
        records.iter().filter_map(item).collect::<Vec<Item>>()
    });
    let ids = items.as_ref().map(|items| {
        items
            .iter()
            .map(|i| gist(&comparison.patterns[i.pattern]))
            .collect::<Vec<u64>>()
    });
    Sequence {
        of: Of::Request(pair.ids.clone()),
        rows: aligned(&ids, |side, at| items.side(side)[at].clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_request_is_the_counterpart() {
        let safe = SafeText::from_text;
        let wanted = RequestWanted {
            side: Side::After,
            id: safe("b7"),
            others: vec![
                (safe("10:00:00 INFO job finished in 3 ms id=a0"), safe("a0")),
                (
                    safe("10:00:01 INFO GET /api/orders/12 completed in 0.1s status=200 id=a1"),
                    safe("a1"),
                ),
                (
                    safe("10:00:02 INFO GET /api/cart/9 completed in 0.1s status=200 id=a2"),
                    safe("a2"),
                ),
            ],
        };
        let record = |text: &str| RequestRecord {
            at: None,
            shape: 0,
            line: 1,
            service: crate::domain::service::ServiceId::local("shop", "api"),
            text: safe(text),
        };
        let found = [
            record("15:00:00 ERROR Division by zero id=b7"),
            record("15:00:00 INFO GET /api/cart/7871 completed in 2.7s status=500 id=b7"),
        ];
        assert_eq!(counterpart(&wanted, &found), Some(&safe("a2")));
        assert_eq!(counterpart(&wanted, &found[..1]), None);
    }

    #[test]
    fn ids_are_found_in_text_and_json() {
        let reader = RequestReader::new(&RequestRules::default()).unwrap();
        let id = |text: &str| {
            let found = id_of(&reader, &SafeText::from_text(text));
            found.map(|id| id.as_str().to_owned())
        };
        assert_eq!(id("ERROR lookup failed req_id=aa1 x"), Some("aa1".into()));
        assert_eq!(
            id(r#"{"level":50,"msg":"no","reqId":"r-7"}"#),
            Some("r-7".into())
        );
        assert_eq!(id("ERROR out of paper"), None);
    }
}
