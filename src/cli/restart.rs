//! `lastgood restart`, `stop` and `start`.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use super::{Global, confirm, several};
use crate::domain::operation::Operation;
use crate::domain::service::ServiceId;
use crate::ops::several::by_host;
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
    carry_out(ctx, &operation, global, out).await
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
    carry_out(ctx, &Operation::Stop { services }, global, out).await
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
    carry_out(ctx, &Operation::Start { services }, global, out).await
}

/// One plan, or one a machine where the services are on several.
async fn carry_out(
    ctx: &Arc<Context>,
    operation: &Operation,
    global: &Global,
    out: &mut Output,
) -> Ended {
    match by_host(operation).as_slice() {
        [one] => confirm::run(ctx, one, global, out).await,
        all => several::run(ctx, all, global, out).await,
    }
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
    /// Names of services; of several machines one machine after the other, in this order
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}
