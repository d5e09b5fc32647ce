//! One look at every probe of a service, and what it says.

use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::ServiceId;

/// How a service answers. Ordered from good to bad, so that the worst of several is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Every probe answered as expected within 2 s.
    Healthy,
    /// Answered, but later than it should or with a certificate that ends soon, or some instances are down.
    Degraded,
    /// Wrong answer, over 5 s, no answer, or not running.
    Unhealthy,
    /// The host or the daemon did not answer, so nothing is known.
    Unreachable,
}

impl HealthState {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What speaks against an answer that is the expected one: it degrades the service, and no check fails by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthWarning {
    /// It came later than it should.
    Slow,
    /// The certificate that it came with ends soon, or was not seen.
    Certificate,
}

/// One probe and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What was asked: `http http://localhost:8000/health`, `container health`, `running`.
    pub name: SafeText,
    /// Whether the answer was the expected one.
    pub ok: bool,
    /// How long the answer took; `None` where nothing was timed.
    pub ms: Option<u64>,
    /// What was seen: the status, the failing part, the cause of no answer, each warning in words.
    pub detail: SafeText,
    /// What speaks against it although it is well; empty where it fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<HealthWarning>,
}

impl HealthCheck {
    /// A check that was not timed and has no warnings.
    pub fn new(name: impl AsRef<str>, ok: bool, detail: impl AsRef<str>) -> Self {
        Self {
            name: SafeText::from_text(name.as_ref()),
            ok,
            ms: None,
            detail: SafeText::from_text(detail.as_ref()),
            warnings: Vec::new(),
        }
    }

    /// It is as it should be, and nothing speaks against it.
    pub fn is_well(&self) -> bool {
        self.ok && self.warnings.is_empty()
    }
}

/// The health of one service at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// The service.
    pub id: ServiceId,
    /// The worst of its checks.
    pub state: HealthState,
    /// Every check with its answer.
    pub checks: Vec<HealthCheck>,
}

impl ServiceHealth {
    /// Its state as far as its release can have a part in it.
    ///
    /// That a certificate ends in nine days is shown and told, and is no reason to go back, to hold a deploy, or to call
    /// a checkpoint no good one: no older release has a younger certificate, and for two weeks there would be no last
    /// good one to go back to.
    pub fn of_release(&self) -> HealthState {
        let mut warnings = self
            .checks
            .iter()
            .flat_map(|check| &check.warnings)
            .peekable();
        let is_all_of_it = warnings.peek().is_some()
            && warnings.all(|warning| *warning == HealthWarning::Certificate)
            && self.checks.iter().all(|check| check.ok);
        match self.state {
            HealthState::Degraded if is_all_of_it => HealthState::Healthy,
            state => state,
        }
    }
}

/// The health of several services. With no service at all it is unreachable, never healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// The worst of the services.
    pub state: HealthState,
    /// Each service.
    pub services: Vec<ServiceHealth>,
}

impl HealthReport {
    /// Sums up: the worst service decides.
    pub fn new(services: Vec<ServiceHealth>) -> Self {
        let state = services
            .iter()
            .map(|s| s.state)
            .max()
            .unwrap_or(HealthState::Unreachable);
        Self { state, services }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_release_can_have_done_speaks_against_it() {
        use HealthState::{Degraded, Healthy, Unhealthy};
        use HealthWarning::{Certificate, Slow};
        let of = |state, checks: &[(bool, &[HealthWarning])]| {
            let check = |(ok, warnings): &(bool, &[HealthWarning])| HealthCheck {
                warnings: warnings.to_vec(),
                ..HealthCheck::new("http x", *ok, "")
            };
            let id = ServiceId::local("shop", "api");
            let checks = checks.iter().map(check).collect();
            ServiceHealth { id, state, checks }.of_release()
        };
        assert_eq!(of(Healthy, &[(true, &[])]), Healthy);
        assert_eq!(
            of(Degraded, &[(true, &[]), (true, &[Certificate])]),
            Healthy
        );
        assert_eq!(of(Degraded, &[(true, &[Slow, Certificate])]), Degraded);
        assert_eq!(
            of(Degraded, &[(true, &[Slow]), (true, &[Certificate])]),
            Degraded
        );
        // Half of its instances are down as well.
        assert_eq!(
            of(Degraded, &[(false, &[]), (true, &[Certificate])]),
            Degraded
        );
        assert_eq!(of(Degraded, &[(false, &[])]), Degraded);
        assert_eq!(of(Unhealthy, &[(true, &[Certificate])]), Unhealthy);
    }

    #[test]
    fn a_check_without_warnings_has_no_such_field() {
        let check = HealthCheck::new("tcp x", true, "connected");
        let written = serde_json::to_value(&check).unwrap();
        let fields =
            serde_json::json!({ "name": "tcp x", "ok": true, "ms": null, "detail": "connected" });
        assert_eq!(written, fields);
        assert_eq!(
            serde_json::from_value::<HealthCheck>(fields).unwrap(),
            check
        );
    }
}
