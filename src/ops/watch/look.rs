//! One look of the watch: health and signals of every service, held against the newest good checkpoint.

use std::collections::BTreeMap;

use futures_util::future;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::book::Keeper;
use crate::analysis::redact::Redactor;
use crate::analysis::rules::{self, Measured, Watched};
use crate::domain::alert::{AlertBook, AlertState, KnownService, Notification, Observation};
use crate::domain::health::{HealthReport, HealthState};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId, ServiceState};
use crate::domain::settings::ServiceSettings;
use crate::domain::signal::{Limits, ServiceSignals, Signal};
use crate::ops::notify;
use crate::ops::services::RestartHistory;
use crate::ops::{Context, OpsError, checkpoint, health, secrets, signals};
use crate::store::config::Config;

/// Signals are measured over so much of the log: an outage shows within a minute, and one slow request does not.
const SPAN: SignedDuration = SignedDuration::from_mins(5);
/// A service that was removed is told of for so long.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);

/// What one look needs of those before.
#[derive(Debug, Default)]
pub(super) struct Looking {
    restarts: RestartHistory,
    /// Signals of the newest checkpoints, by id: they never change.
    baselines: BTreeMap<String, Vec<ServiceSignals>>,
    /// What a service is held against, as it was known last.
    baseline: BTreeMap<ServiceId, Vec<Signal>>,
    pub(super) keeper: Keeper,
}

/// What one look saw.
pub(super) struct Look {
    pub(super) inventory: Inventory,
    pub(super) health: HealthReport,
    signals: Vec<ServiceSignals>,
    machines: Vec<ServiceSignals>,
    baseline: BTreeMap<ServiceId, Vec<Signal>>,
    /// What of the checkpoints could not be read.
    unread: Vec<SafeText>,
    redactor: Redactor,
}

impl Looking {
    /// Looks at everything that was found.
    pub(super) async fn look(
        &mut self,
        ctx: &Context,
        mut inventory: Inventory,
    ) -> Result<Look, OpsError> {
        self.restarts.judge(&mut inventory, Instant::now());
        let services = &inventory.services;
        // Without a value, and not without a signal: what fires goes on firing, and says that nobody could look.
        let measure = |service| signals::measure_in_time(ctx, service, SPAN);
        let (health, measured, machines) = future::join3(
            health::check_again(ctx, services),
            future::join_all(services.iter().map(measure)),
            signals::machines(ctx),
        )
        .await;
        let redactor = secrets::redactor(ctx, services).await?;
        let unread = self.find_baseline(ctx, services, &machines);
        Ok(Look {
            health,
            machines,
            signals: measured,
            baseline: self.baseline.clone(),
            unread,
            redactor,
            inventory,
        })
    }

    /// The signals of each service at the newest whole checkpoint at which it was healthy; none without. Returns what
    /// cannot be read; what was known before goes on to be held against then.
    fn find_baseline(
        &mut self,
        ctx: &Context,
        services: &[Service],
        machines: &[ServiceSignals],
    ) -> Vec<SafeText> {
        let checkpoints = match checkpoint::list(ctx) {
            Ok(checkpoints) => checkpoints,
            Err(error) => return vec![error.to_safe_text()],
        };
        let mut found = BTreeMap::new();
        let mut unread = Vec::new();
        let mut used = Vec::new();
        let ids = services.iter().map(|service| &service.id);
        for id in ids.chain(machines.iter().map(|machine| &machine.id)) {
            // A machine has no health of its own: any whole checkpoint will do.
            let is_machine = machines.iter().any(|machine| machine.id == *id);
            let good = checkpoints.iter().find(|checkpoint| {
                checkpoint.manifest.as_ref().is_ok_and(|manifest| {
                    let own = manifest.services.iter().find(|s| s.id == *id);
                    let is_well = own.is_some_and(|s| s.health == Some(HealthState::Healthy));
                    manifest.complete && (is_machine || is_well)
                })
            });
            let Some(good) = good else { continue };
            used.push(good.id.clone());
            if !self.baselines.contains_key(&good.id) {
                match checkpoint::saved_signals(&good.path) {
                    Ok(signals) => _ = self.baselines.insert(good.id.clone(), signals),
                    // Once of a checkpoint, not of each service in it.
                    Err(error) => {
                        let text = error.to_safe_text();
                        if !unread.contains(&text) {
                            unread.push(text);
                        }
                        let before = self.baseline.get(id).cloned();
                        found.insert(id.clone(), before.unwrap_or_default());
                        continue;
                    }
                }
            }
            // Even without signals it says that the service was healthy.
            let all = self.baselines.get(&good.id).into_iter().flatten();
            let own = all.into_iter().find(|signals| signals.id == *id);
            let own = own.map_or_else(Vec::new, |signals| signals.signals.clone());
            found.insert(id.clone(), own);
        }
        self.baselines.retain(|id, _| used.contains(id));
        self.baseline = found;
        unread
    }
}

impl Look {
    /// Every rule held against it, the texts redacted.
    pub(super) fn observe(&self, ctx: &Context, known: &[KnownService]) -> Vec<Observation> {
        let config = &ctx.config;
        let settings: Vec<_> = self
            .inventory
            .services
            .iter()
            .map(|service| config.service(&service.id))
            .collect();
        let watched: Vec<Watched<'_>> = self
            .inventory
            .services
            .iter()
            .zip(&settings)
            .filter_map(|(service, settings)| {
                let health = self.health.services.iter().find(|h| h.id == service.id)?;
                let signals = self.signals.iter().find(|s| s.id == service.id);
                let baseline = self.baseline.get(&service.id);
                Some(Watched {
                    service,
                    health,
                    measured: Measured {
                        id: &service.id,
                        signals: signals.map_or(&[], |s| s.signals.as_slice()),
                        baseline: baseline.map_or(&[], Vec::as_slice),
                        limits: &settings.limits,
                    },
                    is_job: self.is_job(service, settings, known),
                })
            })
            .collect();
        let limits: Vec<Limits> = self
            .machines
            .iter()
            .map(|machine| signals::machine_limits(ctx, &machine.id))
            .collect();
        let machines: Vec<Measured<'_>> = self
            .machines
            .iter()
            .zip(&limits)
            .map(|(machine, limits)| Measured {
                id: &machine.id,
                signals: &machine.signals,
                baseline: self.baseline.get(&machine.id).map_or(&[], Vec::as_slice),
                limits,
            })
            .collect();
        let mut found = rules::observe(
            &config.rules,
            &config.signals,
            &watched,
            &machines,
            known,
            &self.inventory.unreachable,
        );
        for one in &mut found {
            one.text = notify::redact(&self.redactor, &one.text);
        }
        found
    }

    /// Keeps what was measured for those who look at it later.
    pub(super) fn keep_signals(&self, ctx: &Context) -> Result<(), OpsError> {
        signals::keep(ctx, &self.signals)?;
        signals::keep(ctx, &self.machines)
    }

    /// The worst of what is to run; with nothing that is, nothing is known.
    pub(super) fn state(&self, config: &Config, known: &[KnownService]) -> HealthState {
        let services = self.inventory.services.iter();
        let wanted =
            services.filter(|service| !self.is_job(service, &config.service(&service.id), known));
        let states = wanted.filter_map(|service| {
            let own = self.health.services.iter().find(|h| h.id == service.id);
            own.map(|own| own.state)
        });
        states.max().unwrap_or(HealthState::Unreachable)
    }

    /// What is healthy, and of which nothing that pages fires or begins to.
    pub(super) fn good(&self, book: &AlertBook) -> Vec<ServiceId> {
        let is_ill = |id: &ServiceId| {
            book.alerts.iter().any(|alert| {
                alert.state != AlertState::Resolved
                    && alert.severity.pages()
                    && alert.service.as_ref() == Some(id)
            })
        };
        let healthy = self.health.services.iter();
        healthy
            .filter(|service| service.of_release() == HealthState::Healthy && !is_ill(&service.id))
            .map(|service| service.id.clone())
            .collect()
    }

    /// A container that has done its work and nothing says that it should run: a migration, an init container.
    fn is_job(
        &self,
        service: &Service,
        settings: &ServiceSettings,
        known: &[KnownService],
    ) -> bool {
        let is_container = matches!(service.runtime, Runtime::Compose | Runtime::Docker);
        let has_ended_well = service.state == ServiceState::Stopped
            && !service.instances.is_empty()
            && service.instances.iter().all(|i| i.exit_code == Some(0));
        let is_wanted = known.iter().any(|k| k.id == service.id && k.has_run)
            || self.baseline.contains_key(&service.id)
            || settings.probe.is_some()
            || service.limits.contains_key("restarts");
        is_container && has_ended_well && !is_wanted
    }

    /// Keeps what was seen, so that what is gone tomorrow is known to be gone.
    pub(super) fn remember(&self, known: &mut Vec<KnownService>, now: Timestamp) {
        for service in &self.inventory.services {
            let runs = matches!(service.state, ServiceState::Running | ServiceState::Partial);
            match known.iter_mut().find(|known| known.id == service.id) {
                Some(known) => {
                    known.seen_at = now;
                    known.runtime = service.runtime;
                    known.has_run |= runs;
                }
                None => known.push(KnownService {
                    id: service.id.clone(),
                    runtime: service.runtime,
                    seen_at: now,
                    has_run: runs,
                }),
            }
        }
        known.retain(|known| now.duration_since(known.seen_at) < FORGOTTEN);
    }

    /// What could not be looked at, in words; `unseen` beside what the look itself knows of.
    pub(super) fn missing(&self, book: &AlertBook, unseen: &[SafeText]) -> Vec<SafeText> {
        let mut missing: Vec<String> = self
            .inventory
            .unreachable
            .iter()
            .map(|u| format!("{} on {}: {}", u.runtime.as_str(), u.host, u.error))
            .collect();
        if self.inventory.services.is_empty() && missing.is_empty() {
            missing.push("no services found".to_owned());
        }
        let unknown = self
            .health
            .services
            .iter()
            .filter(|service| service.state == HealthState::Unreachable);
        missing.extend(unknown.map(|service| format!("{}: no probe could be asked", service.id)));
        let blind = book
            .alerts
            .iter()
            .filter(|a| a.state == AlertState::Firing && a.missing_since.is_some());
        missing.extend(blind.map(|alert| format!("{}: no data", alert.key)));
        missing.extend(self.unread.iter().chain(unseen).map(ToString::to_string));
        missing
            .iter()
            .map(|text| SafeText::from_text(&self.redactor.redact(text)))
            .collect()
    }

    /// The message with its secrets replaced.
    pub(super) fn redact(&self, message: &mut Notification) {
        let clean = |text: &mut SafeText| *text = notify::redact(&self.redactor, text);
        clean(&mut message.title);
        message.alerts.iter_mut().for_each(clean);
        message.evidence.iter_mut().for_each(clean);
        message.verdict.iter_mut().for_each(clean);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::ops::Access;

    #[test]
    fn a_checkpoint_that_cannot_be_read_is_told_and_what_was_known_stays() {
        let folder = tempfile::tempdir().unwrap();
        let ctx = Context::of_anna(folder.path(), Config::default(), Access::ReadOnly);
        let id = ServiceId::local("shop", "backend");
        let services = [Service::new(
            id.clone(),
            Runtime::Compose,
            ServiceState::Running,
        )];
        let kept = |name: &str, signals: &str| {
            let path = ctx.state.checkpoints().join(name);
            fs::create_dir_all(&path).unwrap();
            let manifest = json!({
                "schema": crate::domain::checkpoint::MANIFEST_SCHEMA, "id": name, "created_at": "2025-12-27T14:00:00Z",
                "label": null, "by": "anna", "sums_sha256": "", "complete": true, "problems": [],
                "services": [{
                    "id": "shop/backend", "runtime": "compose", "log": null, "files": [],
                    "release": {}, "pinned": null, "health": "healthy",
                }],
            });
            fs::write(path.join("MANIFEST.json"), manifest.to_string()).unwrap();
            fs::write(path.join("signals.json"), signals).unwrap();
            path.join("signals.json")
        };
        let cpu = json!({"signal": "cpu", "route": null, "value": 0.5, "unit": "", "grade": "ok", "age_ms": 0, "detail": ""});
        let good = json!([{"id": "shop/backend", "signals": [cpu]}]).to_string();
        let mut looking = Looking::default();
        let mut look = || {
            let unread = looking.find_baseline(&ctx, &services, &[]);
            let known = looking.baseline.get(&id).map(Vec::len);
            (unread.len(), known)
        };
        assert_eq!(look(), (0, None), "no checkpoint is no trouble");
        let path = kept("20251227-140000-a", "[{");
        assert_eq!(look(), (1, Some(0)), "healthy, and against nothing");
        fs::write(&path, &good).unwrap();
        assert_eq!(look(), (0, Some(1)), "it is read again");
        kept("20251227-150000-b", "[{");
        let newer = ctx.state.checkpoints().join("20251227-150000-b");
        let text = fs::read_to_string(newer.join("MANIFEST.json")).unwrap();
        fs::write(newer.join("MANIFEST.json"), text.replace("T14:", "T15:")).unwrap();
        assert_eq!(look(), (1, Some(1)), "the newest is unreadable");
        fs::remove_dir_all(ctx.state.checkpoints()).unwrap();
        fs::write(ctx.state.checkpoints(), "no folder").unwrap();
        assert_eq!(look(), (1, Some(1)), "nothing can be listed");
    }
}
