//! The golden signals of a service: latency, traffic and errors from its logs, saturation from its runtime.

use super::Context;
use crate::domain::log::Window;
use crate::domain::service::Service;
use crate::domain::signal::ServiceSignals;

/// Measures every signal of a service over a window of its logs (default: the last 15 minutes, at most since
/// its creation). What cannot be measured is there with `value: None` and the reason.
pub async fn measure(_ctx: &Context, _service: &Service, _window: Window) -> ServiceSignals {
    todo!("runtime")
}
