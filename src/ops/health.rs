//! One look at every probe.

use super::Context;
use crate::domain::health::HealthReport;
use crate::domain::service::Service;

/// Asks every probe of the given services: configured probes, the container's own health check, the state of
/// its instances. A service that cannot be asked is unreachable, never healthy.
pub async fn check(_ctx: &Context, _services: &[Service]) -> HealthReport {
    todo!("runtime")
}
