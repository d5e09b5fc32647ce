//! Asks the probes of a runbook: services and signals through the use cases that look at them, addresses from this
//! machine, paths on this machine.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    answer_check, answer_file_absent, answer_health, answer_signal, answer_unknown, record_probe,
    signal_window,
};
use crate::domain::runbook::run::{DueProbe, ProbeAnswer};
use crate::domain::runbook::{Probe, RunState};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Inventory;
use crate::domain::signal::SignalName;
use crate::host::{Host, probe};
use crate::ops::{Context, ErrorKind, OpsError, health, services, signals};

/// Asks the probes of every due item and writes down what came of it. Returns the run as it is then.
///
/// # Errors
/// The journal cannot be read or written.
pub async fn ask_due(
    ctx: &Arc<Context>,
    state: RunState,
    inventory: &Inventory,
) -> Result<RunState, OpsError> {
    let mut state = state;
    for due in state.due_probes() {
        let answers = ask(ctx, &state, &due, inventory).await;
        let (ctx, run) = (Arc::clone(ctx), state.run.clone());
        // The journal's lock may have to be waited for.
        let recording =
            tokio::task::spawn_blocking(move || record_probe(&ctx, &run, &due, &answers));
        state = recording.await.map_err(|error| {
            OpsError::new(ErrorKind::Failed, "writing down a probe broke off").because(error)
        })??;
    }
    Ok(state)
}

/// Asks every probe of an item. Services are looked up in `inventory`; one that is not there, or not sure to be
/// meant, leaves its probe unknown. Changes nothing.
async fn ask(
    ctx: &Context,
    state: &RunState,
    due: &DueProbe,
    inventory: &Inventory,
) -> Vec<ProbeAnswer> {
    let mut answers = Vec::with_capacity(due.probes.len());
    for probe in &due.probes {
        answers.push(ask_one(ctx, state, probe, inventory).await);
    }
    answers
}

async fn ask_one(
    ctx: &Context,
    state: &RunState,
    asked: &Probe,
    inventory: &Inventory,
) -> ProbeAnswer {
    if let Some(check) = asked.to_check() {
        return answer_check(asked, &probe::ask(&Host::Local, &check).await);
    }
    let name = match asked {
        Probe::Signal { service, .. } | Probe::ServiceHealthy { service } => service,
        Probe::FileAbsent { .. } => return answer_file_absent(asked),
        Probe::Http { .. } | Probe::Tcp { .. } => {
            return answer_unknown(asked, &SafeText::from_text("this probe cannot be asked"));
        }
    };
    let service = match services::resolve(inventory, name) {
        Ok(service) => service,
        Err(error) => return answer_unknown(asked, &error.to_safe_text()),
    };
    if let Probe::Signal {
        signal: SignalName::Disk,
        ..
    } = asked
    {
        // No service has a disk of its own: it is that of its machine which runs full under it.
        return match signals::machine_of(ctx, &service.id.host).await {
            Some(measured) => answer_signal(asked, &measured),
            None => answer_unknown(asked, &SafeText::from_text("its machine is not known")),
        };
    }
    if matches!(asked, Probe::Signal { .. }) {
        let window = signal_window(state, Timestamp::now());
        return answer_signal(asked, &signals::measure(ctx, service, window).await);
    }
    let report = health::check(ctx, std::slice::from_ref(service)).await;
    match report.services.first() {
        Some(seen) => answer_health(asked, seen),
        None => answer_unknown(asked, &SafeText::from_text("the service was not looked at")),
    }
}
