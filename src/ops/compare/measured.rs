//! Signals that stand in no log, on both sides: saturation, connections, own signals, and those of the machines.
//!
//! A checkpoint keeps what was measured when it was made; now is measured now. They are shown beside the verdict: one
//! instant on each side is too little to judge by.

use std::path::Path;

use futures_util::future;

use crate::analysis::compare::Facts;
use crate::domain::comparison::SignalChange;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::signal::{ServiceSignals, Signal, SignalName};
use crate::ops::{Context, checkpoint, signals};

/// Measures services as they run now, and with `machines` the machines below them.
pub(super) async fn now(
    ctx: &Context,
    services: &[Service],
    machines: bool,
) -> Vec<ServiceSignals> {
    let each = services
        .iter()
        .map(|service| signals::measure_beside_logs(ctx, service));
    let below = async {
        match machines {
            true => signals::machines(ctx).await,
            false => Vec::new(),
        }
    };
    let (mut found, below) = future::join(future::join_all(each), below).await;
    found.extend(below);
    found
}

/// What a checkpoint kept; why it cannot be read goes to `unread`.
pub(super) fn saved(checkpoint: &Path, unread: &mut Vec<SafeText>) -> Vec<ServiceSignals> {
    checkpoint::saved_signals(checkpoint).unwrap_or_else(|error| {
        unread.push(error.to_safe_text());
        Vec::new()
    })
}

/// Adds what both sides have. What had a value before and has none now is missing, with the reason.
pub(super) fn add(before: &[ServiceSignals], after: &[ServiceSignals], facts: &mut Facts) {
    for new in after {
        let Some(old) = before.iter().find(|old| old.id == new.id) else {
            continue;
        };
        for signal in new.signals.iter().filter(|signal| is_of_no_log(signal)) {
            let same = |old: &&Signal| old.signal == signal.signal && old.route == signal.route;
            let Some(value) = old.signals.iter().find(same).and_then(|old| old.value) else {
                continue;
            };
            if signal.value.is_none() {
                let text = format!("{} of {}: {}", signal.signal, new.id, signal.detail);
                facts.missing.push(SafeText::from_text(&text));
            }
            facts.signals.push(SignalChange {
                signal: signal.signal.clone(),
                service: new.id.clone(),
                route: signal.route.clone(),
                before: Some(value),
                after: signal.value,
                unit: signal.unit.clone(),
                grade: signal.grade,
            });
        }
    }
}

/// Latency, errors and traffic of both sides are counted from their logs, over the same windows as the verdict.
fn is_of_no_log(signal: &Signal) -> bool {
    !matches!(
        signal.signal,
        SignalName::LatencyP95 | SignalName::ErrorRate | SignalName::Traffic
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::ServiceId;
    use crate::domain::signal::Grade;

    fn measured(values: &[(&str, Option<f64>)]) -> Vec<ServiceSignals> {
        let signals = values.iter().map(|(name, value)| Signal {
            signal: SignalName::parse(name),
            route: None,
            value: *value,
            unit: "USD".into(),
            grade: Grade::Unknown,
            age_ms: None,
            detail: "away".into(),
        });
        vec![ServiceSignals {
            id: ServiceId::local("shop", "api"),
            signals: signals.collect(),
        }]
    }

    #[test]
    fn what_both_sides_have_is_compared_and_what_is_gone_is_missing() {
        let before = measured(&[
            ("cost", Some(40.0)),
            ("cpu", Some(0.2)),
            ("latency_p95", Some(80.0)),
            ("never", None),
        ]);
        let after = measured(&[
            ("cost", Some(90.0)),
            ("cpu", None),
            ("latency_p95", Some(90.0)),
            ("never", None),
            ("new", Some(1.0)),
        ]);
        let mut facts = Facts::default();
        add(&before, &after, &mut facts);
        let found: Vec<_> = facts
            .signals
            .iter()
            .map(|s| (s.signal.as_str(), s.before, s.after))
            .collect();
        assert_eq!(
            found,
            [("cost", Some(40.0), Some(90.0)), ("cpu", Some(0.2), None)]
        );
        assert_eq!(facts.missing, ["cpu of shop/api: away".into()]);
    }
}
