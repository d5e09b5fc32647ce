//! One request before and one after: which to look for, and their records beside each other.

use std::collections::HashMap;

use crate::analysis::align::{self, align};
use crate::analysis::parse::json::{self, Object};
use crate::analysis::parse::request::{RequestFields, RequestReader};
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::comparison::{Comparison, PatternRow};
use crate::domain::safe_text::SafeText;
use crate::domain::settings::RequestRules;
use crate::domain::side_by_side::{
    Axis, Item, Of, RequestPair, RequestRecord, RequestWanted, Row, Sequence,
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
    let other = match side {
        Side::Before => Side::After,
        Side::After => Side::Before,
    };
    let ids: HashMap<usize, SafeText> = (comparison.patterns.iter().enumerate())
        .take(PATTERNS)
        .filter_map(|(at, row)| Some((at, id_of(&reader, row.examples.side(other).as_ref()?)?)))
        .collect();
    let others = (comparison.side_by_side.patterns.iter())
        .filter_map(|(shape, at)| Some((*shape, ids.get(at)?.clone())))
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

/// The id of a request of the other side that wrote something which this one wrote too.
pub fn counterpart<'w>(wanted: &'w RequestWanted, found: &[RequestRecord]) -> Option<&'w SafeText> {
    found.iter().find_map(|r| wanted.others.get(&r.shape))
}

/// Both requests aligned by their patterns. A record whose pattern the comparison does not know yet is left out.
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
    let ids = items
        .as_ref()
        .map(|items| items.iter().map(|i| i.pattern as u64).collect::<Vec<u64>>());
    let item = |side: Side, at: usize| items.side(side).get(at).cloned();
    let rows = align(&ids.before, &ids.after, None).into_iter().map(|row| {
        Row::Aligned(match row {
            align::Row::Same { before, after } | align::Row::Changed { before, after } => {
                BeforeAfter::new(item(Side::Before, before), item(Side::After, after))
            }
            align::Row::Removed(at) => BeforeAfter::new(item(Side::Before, at), None),
            align::Row::Added(at) => BeforeAfter::new(None, item(Side::After, at)),
        })
    });
    Sequence {
        of: Of::Request(pair.ids.clone()),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
