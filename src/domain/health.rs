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
    /// Answered, but over 2 s, or some instances are down.
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

/// One probe and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What was asked: `http http://localhost:8000/health`, `container health`, `running`.
    pub name: SafeText,
    /// Whether the answer was the expected one.
    pub ok: bool,
    /// How long the answer took; `None` where nothing was timed.
    pub ms: Option<u64>,
    /// What was seen: the status, the failing part, the cause of no answer.
    pub detail: SafeText,
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
