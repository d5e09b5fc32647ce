//! `lastgood restart`, `stop` and `start`.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use super::{Global, confirm};
use crate::domain::operation::Operation;
use crate::domain::service::ServiceId;
use crate::ops::{Context, OpsError, services};

/// Restarts the services as they are.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn restart(
    args: &RestartArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let services = resolve(ctx, &args.services.services).await?;
    let operation = Operation::Restart {
        services,
        reload: args.reload,
        rolling: args.rolling,
    };
    confirm::run(ctx, &operation, global, out).await
}

/// Stops the services.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn stop(
    args: &ServicesToChange,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let services = resolve(ctx, &args.services).await?;
    confirm::run(ctx, &Operation::Stop { services }, global, out).await
}

/// Starts the services.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn start(
    args: &ServicesToChange,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let services = resolve(ctx, &args.services).await?;
    confirm::run(ctx, &Operation::Start { services }, global, out).await
}

/// The ids that names mean, each once.
pub(super) async fn resolve(ctx: &Context, names: &[String]) -> Result<Vec<ServiceId>, OpsError> {
    let inventory = services::discover_for(ctx, names).await;
    let chosen = services::choose(&inventory, names)?;
    Ok(chosen.into_iter().map(|service| service.id).collect())
}

/// `lastgood restart`.
#[derive(Debug, Clone, Args)]
pub struct RestartArgs {
    /// The services.
    #[command(flatten)]
    pub services: ServicesToChange,
    /// One instance after the other, so that the service goes on answering (PM2 in cluster mode)
    #[arg(long)]
    pub reload: bool,
    /// One instance after the other, each proved before the next is touched; stops at the first that fails
    #[arg(long, conflicts_with = "reload")]
    pub rolling: bool,
}

/// The services to restart, to stop or to start.
#[derive(Debug, Clone, Args)]
pub struct ServicesToChange {
    /// Names of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}
