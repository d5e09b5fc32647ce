//! The policy in force, and the yes of a second person where it asks for one.

use jiff::Timestamp;

use super::{Context, ErrorKind, OpsError};
use crate::audit::Intent;
use crate::domain::operation::{Operation, Plan};
use crate::domain::outcome::AuditPhase;
use crate::domain::policy::{Ruling, rule};
use crate::store::approval::{self, Waiting};

/// Whether the policy allows this user to carry out a plan, now.
///
/// # Errors
/// [`ErrorKind::Refused`] naming the rule, or that a second person has not said yes.
pub(super) fn check(ctx: &Context, plan: &Plan) -> Result<(), OpsError> {
    let host = ctx.config.hosts.get(plan.host.as_str());
    if host.is_some_and(|host| host.read_only) {
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!("{} is read-only by the configuration", plan.host),
        )
        .fix(format!("[hosts.{}] read_only = false", plan.host)));
    }
    let Some(rules) = ctx.config.policy() else {
        return Ok(());
    };
    match rule(&rules, &ctx.actor.user, plan) {
        Ruling::Allowed => Ok(()),
        Ruling::Refused(why) => {
            Err(OpsError::new(ErrorKind::Refused, why).fix("lastgood config show: [policy] rules"))
        }
        Ruling::WithSecondPerson(number) => {
            let yes = approval::approved_by(&ctx.state, &plan.hash, Timestamp::now());
            if yes.is_some_and(|uid| uid != ctx.actor.uid) {
                return Ok(());
            }
            let hash = plan.hash.get(..12).unwrap_or(&plan.hash);
            Err(OpsError::new(
                ErrorKind::Refused,
                format!(
                    "rule {number} of the policy asks for a second person: a {} plan waits for another user's yes",
                    plan.risk.as_str()
                ),
            )
            .fix(format!(
                "another user: lastgood approve {hash}; then the same command again, within 10 minutes"
            )))
        }
    }
}

/// The plan that waits for a second person because of the same wish of the same user: its hash is what they say yes to.
///
/// # Errors
/// The state folder cannot be read.
pub(super) fn waiting_for(ctx: &Context, operation: &Operation) -> Result<Option<Plan>, OpsError> {
    if ctx.config.policy().is_none() {
        return Ok(None);
    }
    let all = approval::waiting(&ctx.state, Timestamp::now())?;
    let own = all
        .into_iter()
        .rev()
        .find(|w| w.by.uid == ctx.actor.uid && w.plan.operation == *operation);
    Ok(own.map(|waiting| waiting.plan))
}

/// Lets a plan wait where the policy asks for a second person.
///
/// # Errors
/// The state folder cannot be written.
pub(super) fn let_wait(ctx: &Context, plan: &Plan) -> Result<(), OpsError> {
    let Some(rules) = ctx.config.policy() else {
        return Ok(());
    };
    if let Ruling::WithSecondPerson(_) = rule(&rules, &ctx.actor.user, plan) {
        approval::wait(
            &ctx.state,
            &Waiting {
                plan: plan.clone(),
                by: ctx.actor.clone(),
                at: Timestamp::now(),
            },
        )?;
    }
    Ok(())
}

/// Forgets a plan that was carried out or is stale, and the yes to it.
pub(super) fn forget(ctx: &Context, plan: &Plan) {
    if ctx.config.policy().is_some() {
        approval::forget(&ctx.state, &plan.hash);
    }
}

/// The plan that waits for a yes, by its hash or the start of it.
///
/// # Errors
/// None or several wait under it; it is this user's own ([`ErrorKind::Refused`]).
pub fn find(ctx: &Context, hash: &str) -> Result<Waiting, OpsError> {
    let all = approval::waiting(&ctx.state, Timestamp::now())?;
    let mut found = all
        .into_iter()
        .filter(|waiting| !hash.is_empty() && waiting.plan.hash.starts_with(hash));
    let waiting = match (found.next(), found.next()) {
        (Some(one), None) => one,
        (None, _) => {
            return Err(OpsError::new(
                ErrorKind::No,
                format!("no plan {hash} waits for a second person: a plan waits for 10 minutes"),
            ));
        }
        _ => {
            return Err(OpsError::new(
                ErrorKind::Usage,
                format!("{hash} is the start of several plans: give more of it"),
            ));
        }
    };
    if waiting.by.uid == ctx.actor.uid {
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!(
                "the plan is your own: a second person has another user id than {}",
                ctx.actor.uid
            ),
        ));
    }
    Ok(waiting)
}

/// Says yes to it.
///
/// # Errors
/// A read-only session; the state folder or the audit log cannot be written.
pub fn approve(ctx: &Context, waiting: &Waiting) -> Result<(), OpsError> {
    if ctx.access == super::Access::ReadOnly {
        return Err(OpsError::new(
            ErrorKind::Refused,
            "approve is refused: this session is read-only",
        ));
    }
    // In the log first: a yes of which it knows nothing must not count.
    ctx.audit().note(
        AuditPhase::Approved,
        &Intent::from(&waiting.plan),
        &ctx.actor,
    )?;
    Ok(approval::approve(&ctx.state, &waiting.plan.hash)?)
}
