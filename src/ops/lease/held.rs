//! The leases that an operation holds: here, and on the machine that it changes.
//!
//! On another machine a lease is a word with a time limit, renewed before each step for as long as that step may take: a
//! console that dies or loses its link is out of the way after that. What is done there is told there as well, by a copy
//! of the audit records.
//!
//! A machine whose state folder cannot be written is no reason to leave a bad release running: the operation goes on with
//! the lease of this machine alone, and says so.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Permit;
use crate::domain::host::HostName;
use crate::domain::operation::{Operation, Plan};
use crate::domain::outcome::StepResult;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::host::ssh::{Session, Swap};
use crate::host::{Host, HostError};
use crate::ops::operation::host_by_name;
use crate::ops::{Context, OpsError};
use crate::store::lease::{self, Holder, Lease, LeaseError, Written};

/// On top of what a step may take: for the looks around it.
const MARGIN: Duration = Duration::from_secs(30);
/// Until the first step begins.
const AT_FIRST: Duration = Duration::from_secs(60);
/// Others may be taking it just now.
const TRIES: usize = 5;

/// Whether the services may still be changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nobody else may.
    Ours,
    /// Somebody broke it, or it ran out and somebody has it now.
    Lost,
    /// The other machine did not answer.
    Unknown(SafeText),
}

/// The leases of the services of a plan.
#[derive(Debug)]
pub(crate) struct Leases {
    here: Vec<Lease>,
    there: Option<There>,
}

/// Those on another machine.
#[derive(Debug)]
struct There {
    session: Arc<Session>,
    held: Vec<One>,
    /// What could not be kept there.
    missing: Vec<SafeText>,
}

/// One of them, as it stands there.
#[derive(Debug)]
struct One {
    file: String,
    text: String,
    written: Written,
}

impl Leases {
    /// Takes the lease of every service on this machine, in the order of their names, so that two sessions never wait
    /// for each other.
    ///
    /// # Errors
    /// Someone else holds one; those taken are given back.
    pub(crate) fn take(ctx: &Context, plan: &Plan) -> Result<Self, OpsError> {
        let mut here = Vec::new();
        for service in services(plan) {
            here.push(Lease::take(&ctx.state, &holder(ctx, plan, service))?);
        }
        Ok(Self { here, there: None })
    }

    /// Whether one of them was left by a process that died.
    pub(crate) fn has_abandoned(&self) -> bool {
        self.here.iter().any(|lease| lease.abandoned.is_some())
    }

    /// Says which run they are held for, so that others can see its step.
    pub(crate) fn name_run(&mut self, run: &str) {
        self.here.iter_mut().for_each(|lease| lease.name_run(run));
    }

    /// Takes them on the machine that is changed too, and leaves a copy of the intent there.
    ///
    /// # Errors
    /// Someone else holds one there; those taken are given back.
    pub(crate) async fn take_there(
        &mut self,
        ctx: &Context,
        plan: &Plan,
        permit: &Permit,
    ) -> Result<(), OpsError> {
        let Ok(Host::Ssh(session)) = host_by_name(ctx, &plan.host) else {
            return Ok(());
        };
        let services = services(plan);
        if services.is_empty() {
            return Ok(());
        }
        let mut there = There {
            session: Arc::clone(session),
            held: Vec::new(),
            missing: Vec::new(),
        };
        for service in services {
            match there.take(permit, holder(ctx, plan, service)).await {
                Ok(()) => {}
                Err(Refused::Held(error)) => {
                    there.give_back(permit).await;
                    return Err(error);
                }
                Err(Refused::Cannot(error)) => {
                    there.miss("the lease", &error);
                    break;
                }
            }
        }
        there.mirror(ctx, permit.run()).await;
        self.there = Some(there);
        Ok(())
    }

    /// Says which step is next and how long it may take; others see it. Tells whether it may begin.
    pub(crate) async fn hold(&mut self, permit: &Permit, step: &str, limit: Duration) -> Hold {
        if !self.here.iter().all(Lease::is_held) {
            return Hold::Lost;
        }
        match &mut self.there {
            Some(there) => there.renew(permit, step, limit + MARGIN).await,
            None => Hold::Ours,
        }
    }

    /// Gives back those on the machine that was changed. Those of this machine end with this value.
    pub(crate) async fn give_back(&mut self, permit: &Permit) {
        if let Some(there) = &mut self.there {
            there.give_back(permit).await;
        }
    }

    /// Leaves a copy of the outcome on the machine that was changed. Returns what could not be kept there, as lines of
    /// the outcome.
    pub(crate) async fn mirror(&mut self, ctx: &Context, run: &str) -> Vec<StepResult> {
        let Some(there) = &mut self.there else {
            return Vec::new();
        };
        there.mirror(ctx, run).await;
        let name = there.session.name();
        let missing = there.missing.iter().map(|detail| StepResult {
            text: SafeText::from_text(&format!("leave lease and audit record on {name}")),
            ok: false,
            ms: 0,
            detail: detail.clone(),
        });
        missing.collect()
    }
}

/// Why there is no lease on the other machine.
enum Refused {
    Held(OpsError),
    Cannot(HostError),
}

impl There {
    async fn take(&mut self, permit: &Permit, holder: Holder) -> Result<(), Refused> {
        let own = holder.clone().of(&HostName::local());
        let (file, here) = (lease::file_name(&own.service), self.session.name());
        let held = |other: Option<Holder>| {
            Refused::Held(OpsError::from(match other {
                Some(other) => LeaseError::Held(Box::new(other.of(&here))),
                None => LeaseError::HeldByUnknown(holder.service.clone()),
            }))
        };
        let mut expected = String::new();
        for _ in 0..TRIES {
            let Some(found) = Written::parse(expected.as_bytes()) else {
                let service = holder.service.clone();
                let error = LeaseError::Damaged { service, file };
                return Err(Refused::Held(error.into()));
            };
            let now = now_there(&self.session).await.map_err(Refused::Cannot)?;
            if let Some(other) = found.holder.filter(|other| other.is_current(now)) {
                return Err(held(Some(other)));
            }
            let mut own = own.clone();
            (own.since, own.until) = (now, now + AT_FIRST);
            own.machine = Some(SafeText::from_text(&machine_name()));
            let written = Written {
                fence: found.fence + 1,
                holder: Some(own),
            };
            let text = written.to_text();
            let swapped = self.session.swap_lease(permit, &file, &expected, &text);
            match swapped.await {
                Ok(Swap::Done) => {
                    self.held.push(One {
                        file,
                        text,
                        written,
                    });
                    return Ok(());
                }
                Ok(Swap::Changed(text)) => expected = text,
                Ok(Swap::Locked(text)) => {
                    let written = Written::parse(text.as_bytes());
                    return Err(held(written.and_then(|written| written.holder)));
                }
                Err(error) => return Err(Refused::Cannot(error)),
            }
        }
        Err(held(None))
    }

    async fn renew(&mut self, permit: &Permit, step: &str, limit: Duration) -> Hold {
        for one in &mut self.held {
            let now = match now_there(&self.session).await {
                Ok(now) => now,
                Err(error) => return Hold::Unknown(SafeText::from_error(&error)),
            };
            let mut written = one.written.clone();
            if let Some(holder) = &mut written.holder {
                holder.until = now + limit;
                holder.step = Some(SafeText::from_text(step));
            }
            let text = written.to_text();
            let swapped = self.session.swap_lease(permit, &one.file, &one.text, &text);
            match swapped.await {
                Ok(Swap::Done) => (one.text, one.written) = (text, written),
                Ok(Swap::Changed(_) | Swap::Locked(_)) => return Hold::Lost,
                Err(error) => return Hold::Unknown(SafeText::from_error(&error)),
            }
        }
        Hold::Ours
    }

    /// Copies the newest record of a run: its intent, its outcome.
    async fn mirror(&mut self, ctx: &Context, run: &str) {
        let recorded = match ctx.audit().newest_of(run) {
            Ok(recorded) => recorded,
            Err(error) => {
                self.missing.push(SafeText::from_error(&error));
                return;
            }
        };
        let name: String = format!("{}-{}", machine_name(), ctx.actor.user)
            .chars()
            .map(|c| match c {
                c if c.is_ascii_alphanumeric() || "._-".contains(c) => c,
                _ => '_',
            })
            .collect();
        let file = format!("{name}.jsonl");
        let appended = self.session.append_record(&recorded, &file);
        if let Err(error) = appended.await {
            self.miss("the audit record", &error);
        }
    }

    async fn give_back(&mut self, permit: &Permit) {
        for one in self.held.drain(..) {
            let free = Written {
                fence: one.written.fence,
                holder: None,
            };
            let text = free.to_text();
            let swapped = self.session.swap_lease(permit, &one.file, &one.text, &text);
            // One that stays has a time limit.
            let _ = swapped.await;
        }
    }

    fn miss(&mut self, what: &str, error: &HostError) {
        let text = SafeText::from_text(&format!("{what}: {}", SafeText::from_error(error)));
        if !self.missing.contains(&text) {
            self.missing.push(text);
        }
    }
}

/// What time it is on another machine: its leases run by that.
pub(super) async fn now_there(session: &Session) -> Result<Timestamp, HostError> {
    let ahead = session.ahead().await?;
    let now = Timestamp::now();
    Ok(now.checked_add(ahead).unwrap_or(now))
}

/// The services whose leases a plan needs, each once.
fn services(plan: &Plan) -> Vec<&ServiceId> {
    if matches!(plan.operation, Operation::BreakLease { .. }) {
        // It is somebody else's, which is why.
        return Vec::new();
    }
    let mut services: Vec<&ServiceId> = plan.services.iter().collect();
    services.sort();
    services.dedup();
    services
}

fn holder(ctx: &Context, plan: &Plan, service: &ServiceId) -> Holder {
    let now = Timestamp::now();
    Holder {
        service: service.clone(),
        actor: ctx.actor.clone(),
        pid: std::process::id(),
        reason: SafeText::from_text(plan.operation.verb()),
        since: now,
        until: now + Duration::from_millis(plan.budget_ms),
        run: None,
        step: None,
        machine: None,
    }
}

/// What this machine calls itself.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match SafeText::from_text(name.trim()).as_str() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}
