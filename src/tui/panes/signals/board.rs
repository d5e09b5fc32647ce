//! The signals of all services at once, for a screen that shows every service: measured one after the other while someone
//! can see them.

use jiff::Timestamp;

use crate::domain::alert::{Alert, AlertSeverity, AlertState};
use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId};
use crate::domain::signal::{Grade, ServiceSignals, Signal, SignalName};

/// What was measured of every service and machine, and what fires.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Services and machines.
    pub signals: Vec<ServiceSignals>,
    /// What the watch knows.
    pub alerts: Vec<Alert>,
    /// Why the alerts could not be read.
    pub unread: Option<SafeText>,
}

/// The newest measurement of everything.
#[derive(Debug, Default)]
pub struct Board {
    /// What was measured.
    pub reading: Reading<Measured>,
    /// Whether a measurement is under way or planned.
    pub is_sampling: bool,
    /// When the next one is due.
    pub next_at: Option<Timestamp>,
    /// Whether the pane shows all services in place of the selected one.
    pub is_shown: bool,
    /// The row under the cursor, among [`super::heat::rows`].
    pub cursor: usize,
}

impl Board {
    /// What was measured of a service or machine; nothing where it was not looked at.
    pub fn of(&self, id: &ServiceId) -> &[Signal] {
        let measured = self.reading.value();
        let own = measured.and_then(|all| all.signals.iter().find(|one| one.id == *id));
        own.map_or(&[], |own| own.signals.as_slice())
    }

    /// What is wrong with a service or machine, the worst first; nothing where it was not measured.
    pub fn trouble(&self, id: &ServiceId) -> Vec<&Signal> {
        let measured = self.reading.value();
        let own = measured.and_then(|all| all.signals.iter().find(|one| one.id == *id));
        let mut bad: Vec<&Signal> = own
            .iter()
            .flat_map(|own| &own.signals)
            .filter(|signal| signal.route.is_none() && is_bad(signal.grade))
            .collect();
        bad.sort_by_key(|signal| (std::cmp::Reverse(signal.grade), super::rank(&signal.signal)));
        bad
    }

    /// Whether nothing at all could be measured of a service whose supervisor counts what it uses: its machine does not
    /// answer any more, however well the service was when it last did.
    pub fn is_blind(&self, service: &Service) -> bool {
        let is_counted = !matches!(service.runtime, Runtime::Exec | Runtime::File);
        let measured = self.reading.value();
        let own = measured.and_then(|all| all.signals.iter().find(|one| one.id == service.id));
        is_counted && own.is_some_and(|own| own.signals.iter().all(|one| one.value.is_none()))
    }

    /// Machines that are short of something.
    pub fn machines(&self) -> Vec<&ServiceId> {
        let measured = self.reading.value();
        measured
            .iter()
            .flat_map(|all| &all.signals)
            .map(|one| &one.id)
            .filter(|id| id.is_machine() && !self.trouble(id).is_empty())
            .collect()
    }

    /// The worst of all signals that could be graded and of the alerts that fire and page.
    pub fn worst(&self) -> Grade {
        let Some(all) = self.reading.value() else {
            return Grade::Ok;
        };
        let signals = all.signals.iter().flat_map(|one| &one.signals);
        let bad = signals
            .filter(|signal| signal.route.is_none() && is_bad(signal.grade))
            .map(|signal| signal.grade);
        let fires = self.firing().into_iter().map(|alert| grade(alert.severity));
        bad.chain(fires).max().unwrap_or(Grade::Ok)
    }

    /// The alerts that fire, as the pane orders them.
    pub fn firing(&self) -> Vec<&Alert> {
        let all = self.reading.value();
        super::around::firing(all.map_or(&[], |all| all.alerts.as_slice()))
    }

    /// Whether something fires that must not scroll away.
    pub fn has_p0(&self) -> bool {
        let all = self.reading.value();
        all.iter()
            .flat_map(|all| &all.alerts)
            .any(|alert| alert.state == AlertState::Firing && alert.severity == AlertSeverity::P0)
    }
}

fn is_bad(grade: Grade) -> bool {
    matches!(grade, Grade::Warning | Grade::Critical)
}

/// How an alert of that urgency looks.
pub fn grade(severity: AlertSeverity) -> Grade {
    match severity {
        AlertSeverity::P0 | AlertSeverity::P1 => Grade::Critical,
        AlertSeverity::P2 | AlertSeverity::P3 => Grade::Warning,
    }
}

/// The name of a signal where there is room for a word.
pub fn short(signal: &SignalName) -> &str {
    match signal {
        SignalName::LatencyP95 => "p95",
        SignalName::Memory => "mem",
        SignalName::Connections => "conn",
        other => super::name(other),
    }
}
