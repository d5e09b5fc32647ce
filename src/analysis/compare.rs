//! Two sides of a deploy, read by the same scanner, become rows, signals and a verdict.
//!
//! A line by line difference of concurrent logs is noise; patterns and their rates are compared instead, against
//! requests where a service logs them, else against time.

pub mod lines;
pub mod statistics;

mod drift;
mod renamed;
pub mod request;
mod rows;
mod side_by_side;
mod sides;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::change::Change;
use crate::domain::comparison::{Comparison, HealthChange, ServiceVerdict, SignalChange};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::signal::Limits;

use super::judge::{self, Evidence, HardFact, Judgement, Relevelled, RouteEvidence, TestedPattern};
use super::pattern::group::{self, Pattern, Patterns};
use super::scan::{Example, ServiceScan};

pub use drift::Drift;
pub use sides::summarise;

/// One service's log on one side.
#[derive(Debug, Clone)]
pub struct SideService {
    /// The service.
    pub id: ServiceId,
    /// What it wrote.
    pub scan: ServiceScan,
    /// The span it was watched, in milliseconds since 1970, where that is known better than by its records.
    pub observed: Option<(i64, i64)>,
}

/// One side.
#[derive(Debug, Clone)]
pub struct SideLogs {
    /// What was read: a path, `checkpoint:…`.
    pub input: SafeText,
    /// Each service.
    pub services: Vec<SideService>,
}

impl SideLogs {
    fn service(&self, id: &ServiceId) -> Option<(usize, &SideService)> {
        self.services.iter().enumerate().find(|(_, s)| &s.id == id)
    }
}

/// What is known beside the logs.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What the deploy changed.
    pub changes: Vec<Change>,
    /// Health on both sides.
    pub health: Vec<HealthChange>,
    /// Hard gates, by service.
    pub hard: BTreeMap<ServiceId, Vec<HardFact>>,
    /// Probes that the checkpoint had and that could not be asked, by service.
    pub missing_probes: BTreeMap<ServiceId, Vec<SafeText>>,
    /// Other data that could not be had, in words.
    pub missing: Vec<SafeText>,
    /// Limits by service; the defaults where nothing is said.
    pub limits: BTreeMap<ServiceId, Limits>,
    /// How much the error rate of a service varied between its earlier quiet windows, where that was measured
    /// ([`statistics::dispersion`]).
    pub dispersion: BTreeMap<ServiceId, f64>,
    /// Signals that stand in no log, on both sides.
    pub signals: Vec<SignalChange>,
}

/// Compares the two sides and judges each service. `show` makes a raw record safe to show: it takes secrets out.
pub fn compare(
    before: &SideLogs,
    after: &SideLogs,
    facts: Facts,
    show: &dyn Fn(&[u8]) -> SafeText,
) -> Comparison {
    let scans: Vec<&ServiceScan> = before
        .services
        .iter()
        .chain(&after.services)
        .map(|s| &s.scan)
        .collect();
    let mut patterns = group::group(&scans);
    let renamed = renamed::find(&World {
        before,
        after,
        patterns: &patterns,
        dispersion: &facts.dispersion,
        show,
    });
    patterns.join(&renamed);
    let world = World {
        before,
        after,
        patterns: &patterns,
        dispersion: &facts.dispersion,
        show,
    };
    let rows = rows::build(&world);
    let drifts = drift::find(&world);
    let ids: BTreeSet<&ServiceId> = before
        .services
        .iter()
        .chain(&after.services)
        .map(|s| &s.id)
        .chain(facts.hard.keys())
        .chain(facts.missing_probes.keys())
        .collect();
    let defaults = Limits::default();
    let mut judgements: Vec<Judgement> = Vec::new();
    let mut services = Vec::new();
    let mut signals = Vec::new();
    for id in ids {
        let limits = facts.limits.get(id).unwrap_or(&defaults);
        let evidence = world.evidence(id, limits, &facts, &rows, &drifts);
        let judgement = judge::judge(&evidence);
        signals.extend(sides::signals(&evidence, &judgement.verdict));
        services.push(ServiceVerdict {
            id: id.clone(),
            verdict: judgement.verdict.clone(),
            wanted_requests: judgement.wanted_requests,
        });
        judgements.push(judgement);
    }
    let verdict = judge::overall(&judgements);
    let mut missing: Vec<SafeText> = judgements
        .iter()
        .flat_map(|j| j.missing.iter().cloned())
        .collect();
    if judgements.is_empty() {
        missing.push(SafeText::from_text("neither side has a record"));
    }
    missing.extend(facts.missing.iter().cloned());
    signals.extend(facts.signals);
    let by_status = |id: &ServiceId| world.by_status(id);
    let side_by_side = side_by_side::build(&world, &rows, &services);
    Comparison {
        before: summarise(before, &by_status),
        after: summarise(after, &by_status),
        changes: facts.changes,
        health: facts.health,
        patterns: rows.into_iter().map(|r| r.row).collect(),
        signals,
        services,
        verdict,
        missing,
        side_by_side,
    }
}

/// Both sides with their patterns.
pub(super) struct World<'a> {
    before: &'a SideLogs,
    after: &'a SideLogs,
    patterns: &'a Patterns,
    dispersion: &'a BTreeMap<ServiceId, f64>,
    show: &'a dyn Fn(&[u8]) -> SafeText,
}

impl<'a> World<'a> {
    /// The side and the service of a source of the patterns.
    fn source(&self, source: usize) -> (Side, &'a SideService) {
        match source.checked_sub(self.before.services.len()) {
            None => (Side::Before, &self.before.services[source]),
            Some(at) => (Side::After, &self.after.services[at]),
        }
    }

    /// Lines of a service that show a pattern on one side, with their place.
    fn evidence_of(&self, pattern: &Pattern, id: &ServiceId, side: Side) -> Vec<SafeText> {
        let parts = pattern.parts.iter().filter(|part| {
            let (its, service) = self.source(part.source);
            its == side && &service.id == id
        });
        let examples = parts.flat_map(|part| &part.examples);
        examples.take(3).map(|e| placed(e, self.show)).collect()
    }

    fn pair(&self, id: &ServiceId) -> BeforeAfter<Option<&'a SideService>> {
        BeforeAfter::new(
            self.before.service(id).map(|(_, s)| s),
            self.after.service(id).map(|(_, s)| s),
        )
    }

    /// How much the rates of these services vary: as much as the one that varies most.
    fn dispersion<'s>(&self, ids: impl IntoIterator<Item = &'s ServiceId>) -> f64 {
        let known = |id| self.dispersion.get(id).copied();
        let each = ids
            .into_iter()
            .map(|id| known(id).unwrap_or(statistics::OVER_DISPERSION));
        each.reduce(f64::max).unwrap_or(statistics::OVER_DISPERSION)
    }

    /// Whether the errors of a service are told by status: they are where any of its requests carries one.
    fn by_status(&self, id: &ServiceId) -> bool {
        let with_status =
            |s: Option<&SideService>| s.is_some_and(|s| s.scan.total.counts.with_status > 0);
        let pair = self.pair(id);
        with_status(pair.before) || with_status(pair.after)
    }

    fn evidence<'e>(
        &self,
        id: &'e ServiceId,
        limits: &'e Limits,
        facts: &Facts,
        rows: &'e [rows::TestedRow],
        drifts: &'e [Drift],
    ) -> Evidence<'e>
    where
        'a: 'e,
    {
        let pair = self.pair(id);
        let tested: Vec<&TestedPattern> = rows
            .iter()
            .filter(|r| r.row.services.contains(id))
            .filter_map(|r| r.tested.as_ref())
            .collect();
        let mut lines: Vec<&rows::TestedRow> = rows
            .iter()
            .filter(|r| r.row.services.contains(id) && r.row.after > 0)
            .collect();
        lines.sort_by_key(|r| std::cmp::Reverse(r.row.after));
        let errors = lines
            .iter()
            .filter(|r| {
                r.row.level >= Some(crate::domain::log::Level::Error)
                    || has_failed_status(r.row.template.as_str())
            })
            .flat_map(|r| r.evidence.first().cloned())
            .take(5)
            .collect();
        let mut slow: Vec<&(f64, Example)> = pair
            .after
            .iter()
            .flat_map(|s| s.scan.routes.values())
            .filter_map(|r| r.slowest.as_ref())
            .collect();
        slow.sort_by(|a, b| b.0.total_cmp(&a.0));
        Evidence {
            service: id,
            limits,
            total: pair.map(|s| s.map(|s| &s.scan.total)),
            records: pair.map(|s| s.map_or(0, |s| s.scan.records)),
            seconds: pair.map(|s| s.and_then(sides::seconds)),
            by_status: self.by_status(id),
            dispersion: self.dispersion([id]),
            routes: routes(pair, self.show),
            patterns: tested,
            relevelled: relevelled(id, rows),
            drifts: drifts.iter().filter(|d| &d.service == id).collect(),
            hard: facts.hard.get(id).cloned().unwrap_or_default(),
            missing_probes: facts.missing_probes.get(id).cloned().unwrap_or_default(),
            missing: facts.missing.clone(),
            error_lines: errors,
            slow_lines: slow
                .iter()
                .take(3)
                .map(|(_, e)| placed(e, self.show))
                .collect(),
        }
    }
}

/// Patterns of this service alone whose level the deploy changed.
fn relevelled(id: &ServiceId, rows: &[rows::TestedRow]) -> Vec<Relevelled> {
    let own = rows
        .iter()
        .map(|r| &r.row)
        .filter(|r| r.services == [id.clone()]);
    own.filter_map(|row| {
        let was = row.was.as_ref()?;
        (was.level != row.level).then(|| Relevelled {
            template: row.template.clone(),
            levels: BeforeAfter::new(was.level, row.level),
            counts: BeforeAfter::new(row.before, row.after),
        })
    })
    .collect()
}

/// A record with its place: `line 12: …`.
fn placed(example: &Example, show: &dyn Fn(&[u8]) -> SafeText) -> SafeText {
    SafeText::from_text(&format!("line {}: {}", example.line, show(&example.text)))
}

/// Whether a template is that of a request that failed: masks keep statuses.
pub fn has_failed_status(template: &str) -> bool {
    ["status=5", "\" 5", "status: 5", "statusCode=5"]
        .iter()
        .any(|mark| template.contains(mark))
}

/// The routes that both sides have with enough requests, the busiest first.
fn routes<'a>(
    pair: BeforeAfter<Option<&'a SideService>>,
    show: &dyn Fn(&[u8]) -> SafeText,
) -> Vec<RouteEvidence<'a>> {
    let (Some(before), Some(after)) = (pair.before, pair.after) else {
        return Vec::new();
    };
    let mut routes: Vec<_> = after
        .scan
        .routes
        .iter()
        .filter_map(|(key, after)| Some((before.scan.routes.get(key)?, after)))
        .filter(|(b, a)| {
            b.tally.counts.requests.min(a.tally.counts.requests) >= judge::RATED_REQUESTS
        })
        .collect();
    routes.sort_by(|a, b| {
        b.1.tally
            .counts
            .requests
            .cmp(&a.1.tally.counts.requests)
            .then_with(|| a.1.name.cmp(&b.1.name))
    });
    // A service with one route is judged as a whole.
    if routes.len() < 2 {
        routes.clear();
    }
    routes
        .into_iter()
        .take(100)
        .map(|(before, after)| RouteEvidence {
            name: show(after.name.as_bytes()),
            tally: BeforeAfter::new(Some(&before.tally), Some(&after.tally)),
            slow_line: after.slowest.as_ref().map(|(_, e)| placed(e, show)),
            error_line: after.failed.as_ref().map(|e| placed(e, show)),
        })
        .collect()
}

#[cfg(test)]
mod tests;
