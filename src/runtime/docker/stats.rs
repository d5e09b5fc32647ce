//! What a service's containers use of what they may use, from the engine's statistics.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::{ContainerCpuStats, ContainerInspectResponse, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use futures_util::{StreamExt, stream};

use super::connect::{Engine, explain};
use super::inspect::{containers_of, own_cores};
use crate::domain::service::Service;
use crate::domain::signal::Saturation;
use crate::host::Host;
use crate::runtime::RuntimeError;

/// Two samples lie a second apart, so an answer takes that long.
const ANSWER: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 16;

/// CPU and memory of a service: CPU since it was last asked for, or over about a second. A stopped service has no values.
///
/// # Errors
/// The engine is unreachable or refused.
pub async fn saturation(host: &Host, service: &Service) -> Result<Saturation, RuntimeError> {
    let engine = Engine::connect(host).await?;
    let containers = containers_of(&engine, service).await?;
    let running = containers
        .into_iter()
        .filter(|c| c.state.as_ref().and_then(|s| s.running) == Some(true));
    let mut measured = stream::iter(running)
        .map(|container| {
            let engine = engine.clone();
            async move {
                let stats = sample(&engine, &container).await?;
                Ok::<_, RuntimeError>(measure(&container, &stats))
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut total = Saturation::default();
    while let Some(one) = measured.next().await {
        let one = match one {
            Ok(one) => one,
            Err(RuntimeError::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        total.cpu_cores = sum(total.cpu_cores, one.cpu_cores);
        total.memory_bytes = match (total.memory_bytes, one.memory_bytes) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        total.cpu = largest(total.cpu, one.cpu);
        total.memory = largest(total.memory, one.memory);
    }
    Ok(total)
}

fn sum(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn largest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// The last sample of each container, by its id: whoever measures again and again asks the engine for one sample each time
/// and not for two, which is half of what measuring costs it.
static LAST: Mutex<BTreeMap<String, (Instant, ContainerCpuStats)>> = Mutex::new(BTreeMap::new());
/// Samples that lie closer together, or further apart, say nothing about now.
const APART: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(120);
/// More containers than a machine runs are those of the past.
const REMEMBERED: usize = 1_000;

async fn sample(
    engine: &Engine,
    container: &ContainerInspectResponse,
) -> Result<ContainerStatsResponse, RuntimeError> {
    let id = container.id.as_deref().unwrap_or_default();
    let before = LAST
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(id)
        .cloned();
    let before = before.filter(|(at, _)| APART.contains(&at.elapsed()));
    if let Some((_, before)) = before {
        let mut found = ask(engine, id, true).await?;
        remember(id, &found);
        found.precpu_stats = Some(before);
        if cores_in_use(&found, None).is_some() {
            return Ok(found);
        }
        // It was started again since: its count began anew.
    }
    let found = ask(engine, id, false).await?;
    remember(id, &found);
    Ok(found)
}

fn remember(id: &str, found: &ContainerStatsResponse) {
    let Some(cpu) = found.cpu_stats.clone() else {
        return;
    };
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.len() >= REMEMBERED {
        last.retain(|_, (at, _)| APART.contains(&at.elapsed()));
    }
    last.insert(id.to_owned(), (Instant::now(), cpu));
}

async fn ask(
    engine: &Engine,
    id: &str,
    one_shot: bool,
) -> Result<ContainerStatsResponse, RuntimeError> {
    let options = StatsOptions {
        stream: false,
        one_shot,
    };
    let mut stats = engine.docker.stats(id, Some(options));
    match tokio::time::timeout(ANSWER, stats.next()).await {
        Ok(Some(Ok(stats))) => Ok(stats),
        Ok(Some(Err(error))) => Err(explain(&format!("measure the container {id}"), error)),
        Ok(None) => Err(RuntimeError::NotFound(format!("the container {id}"))),
        Err(_) => Err(super::connect::hanging(ANSWER)),
    }
}

fn measure(container: &ContainerInspectResponse, stats: &ContainerStatsResponse) -> Saturation {
    let host = container.host_config.as_ref();
    let machine_cores = stats
        .cpu_stats
        .as_ref()
        .and_then(|c| c.online_cpus)
        .filter(|n| *n > 0)
        .map(f64::from);
    let own_cores = host.and_then(own_cores);
    let cpu_cores = cores_in_use(stats, machine_cores);
    let may_use = own_cores.or(machine_cores);
    let memory = stats.memory_stats.as_ref();
    let memory_bytes = memory.and_then(|m| {
        let cache = m
            .stats
            .as_ref()
            .and_then(|s| {
                s.get("total_inactive_file")
                    .or_else(|| s.get("inactive_file"))
            })
            .copied()
            .unwrap_or(0);
        m.usage.map(|usage| usage.saturating_sub(cache))
    });
    let limit = memory.and_then(|m| m.limit).filter(|l| *l > 0);
    Saturation {
        cpu: cpu_cores.zip(may_use).map(|(used, may)| used / may),
        cpu_cores,
        memory: memory_bytes
            .zip(limit)
            .map(|(used, limit)| used as f64 / limit as f64),
        memory_bytes,
    }
}

/// Cores in use between the two samples: the share of the container in the machine's time, times its cores.
fn cores_in_use(stats: &ContainerStatsResponse, machine_cores: Option<f64>) -> Option<f64> {
    let now = stats.cpu_stats.as_ref()?;
    let before = stats.precpu_stats.as_ref()?;
    let used = now
        .cpu_usage
        .as_ref()?
        .total_usage?
        .checked_sub(before.cpu_usage.as_ref()?.total_usage?)?;
    let whole = now
        .system_cpu_usage?
        .checked_sub(before.system_cpu_usage?)?;
    (whole > 0).then(|| used as f64 / whole as f64 * machine_cores.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuUsage, ContainerMemoryStats, HostConfig};

    use super::*;

    fn cpu(total: u64, system: u64) -> ContainerCpuStats {
        ContainerCpuStats {
            cpu_usage: Some(ContainerCpuUsage {
                total_usage: Some(total),
                ..ContainerCpuUsage::default()
            }),
            system_cpu_usage: Some(system),
            online_cpus: Some(4),
            throttling_data: None,
        }
    }

    fn stats() -> ContainerStatsResponse {
        ContainerStatsResponse {
            cpu_stats: Some(cpu(1_500, 14_000)),
            precpu_stats: Some(cpu(1_000, 10_000)),
            memory_stats: Some(ContainerMemoryStats {
                usage: Some(100),
                limit: Some(160),
                stats: Some([("total_inactive_file".to_owned(), 20)].into()),
                ..ContainerMemoryStats::default()
            }),
            ..ContainerStatsResponse::default()
        }
    }

    #[test]
    fn use_is_held_against_the_containers_own_limit() {
        let mut container = ContainerInspectResponse::default();
        let free = measure(&container, &stats());
        assert_eq!(free.cpu_cores, Some(0.5));
        assert_eq!(free.cpu, Some(0.125));
        assert_eq!((free.memory_bytes, free.memory), (Some(80), Some(0.5)));
        container.host_config = Some(HostConfig {
            nano_cpus: Some(500_000_000),
            ..HostConfig::default()
        });
        assert_eq!(measure(&container, &stats()).cpu, Some(1.0));
    }

    #[test]
    fn a_first_sample_alone_is_unknown_and_not_zero() {
        let mut stats = stats();
        stats.precpu_stats = None;
        assert_eq!(
            measure(&ContainerInspectResponse::default(), &stats).cpu,
            None
        );
    }
}
