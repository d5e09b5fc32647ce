//! What a service's containers use of what they may use: counted by the kernel where this machine shows it, else by the
//! engine, to which one answer costs 25 ms.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::{ContainerCpuStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::connect::{Engine, explain};
use super::remembered::{self, Facts};
use crate::domain::service::Service;
use crate::domain::signal::Saturation;
use crate::host::{Host, cgroup, machine};
use crate::runtime::RuntimeError;

/// Two samples lie a second apart, so an answer takes that long.
const ANSWER: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 16;

/// CPU and memory of a service: CPU since it was last asked for, or over about a second. A stopped service has no values.
/// What a look has just found needs no engine where the kernel shows it.
///
/// # Errors
/// The engine is unreachable or refused.
pub async fn saturation(host: &Host, service: &Service) -> Result<Saturation, RuntimeError> {
    let is_here = matches!(host, Host::Local);
    if is_here
        && let Some(seen) = remembered::facts(service)
        && let Some(found) = all_by_kernel(&seen).await
    {
        return Ok(found);
    }
    Engine::ask(host, |engine| async move {
        if !is_here && let Some(seen) = remembered::facts(service) {
            match all_by_engine(&engine, &seen, is_here).await {
                // Another container stands in its place since.
                Err(RuntimeError::NotFound(_)) => {}
                found => return found,
            }
        }
        let seen = remembered::facts_anew(&engine, service).await?;
        match all_by_engine(&engine, &seen, is_here).await {
            Err(RuntimeError::NotFound(_)) => Ok(Saturation::default()),
            found => found,
        }
    })
    .await
}

/// `None` where the kernel does not show one of them: it was started again since, or is not of this machine.
async fn all_by_kernel(containers: &[Facts]) -> Option<Saturation> {
    let running = containers.iter().filter(|facts| facts.is_running);
    let measured = running.map(|facts| async move {
        let (now, before) = by_kernel(facts).await?;
        Some(measure(facts.own_cores, &now, before.as_ref()))
    });
    let measured: Option<Vec<_>> = join_all(measured).await.into_iter().collect();
    Some(total(measured?))
}

async fn all_by_engine(
    engine: &Engine,
    containers: &[Facts],
    is_here: bool,
) -> Result<Saturation, RuntimeError> {
    let running = containers.iter().filter(|facts| facts.is_running);
    // Made before they are streamed: a closure over references inside the stream would not be `Send`.
    let asked: Vec<_> = running
        .map(|facts| async move {
            let by_kernel = match is_here {
                true => by_kernel(facts).await,
                false => None,
            };
            let (now, before) = match by_kernel {
                Some(found) => found,
                None => by_engine(engine, &facts.id).await?,
            };
            Ok::<_, RuntimeError>(measure(facts.own_cores, &now, before.as_ref()))
        })
        .collect();
    let answers: Vec<_> = stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let has_asked = !answers.is_empty();
    let mut measured = Vec::new();
    let mut gone = None;
    for answer in answers {
        match answer {
            Ok(one) => measured.push(one),
            Err(error @ RuntimeError::NotFound(_)) => gone = Some(error),
            Err(error) => return Err(error),
        }
    }
    match gone {
        // One of several that has just ended is no longer in use.
        Some(error) if has_asked && measured.is_empty() => Err(error),
        _ => Ok(total(measured)),
    }
}

fn total(measured: Vec<Saturation>) -> Saturation {
    let mut total = Saturation::default();
    for one in measured {
        total.cpu_cores = sum(total.cpu_cores, one.cpu_cores);
        total.memory_bytes = match (total.memory_bytes, one.memory_bytes) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        total.cpu = largest(total.cpu, one.cpu);
        total.memory = largest(total.memory, one.memory);
    }
    total
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

/// What was counted of a container at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    /// CPU time of the container since it began, in nanoseconds.
    used_ns: u64,
    /// CPU time of all the machine's cores, whether used or not, on the clock of whoever counted.
    whole_ns: Option<u64>,
    cores: Option<f64>,
    memory: Option<u64>,
    limit: Option<u64>,
    /// Who counted: clocks of two sources are never compared.
    is_kernels: bool,
}

/// The last sample of each container, by its id: whoever measures again and again takes one sample each time and not two.
static LAST: Mutex<BTreeMap<String, (Instant, Sample)>> = Mutex::new(BTreeMap::new());
/// Samples that lie closer together, or further apart, say nothing about now.
const APART: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(120);
/// Between two samples of the kernel's where there is none to begin with: as far as the engine's own lie apart.
const PAUSE: Duration = Duration::from_secs(1);
/// More containers than a machine runs are those of the past.
const REMEMBERED: usize = 1_000;

/// The count of a container before this one; one of another count, or of before it was started again, is no beginning.
fn count_before(id: &str, now: &Sample) -> Option<Sample> {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let (at, before) = last.get(id)?;
    let fits = APART.contains(&at.elapsed())
        && before.is_kernels == now.is_kernels
        && now.used_ns >= before.used_ns;
    fits.then_some(*before)
}

/// The container's use now and, where one is remembered or can be taken, the count before; `None` where the kernel does not
/// show it.
async fn by_kernel(facts: &Facts) -> Option<(Sample, Option<Sample>)> {
    let id = &facts.id;
    let now = kernels(facts.pid?, id)?;
    if let Some(before) = count_before(id, &now) {
        remember(id, now);
        return Some((now, Some(before)));
    }
    tokio::time::sleep(PAUSE).await;
    let later = kernels(facts.pid?, id);
    remember(id, later.unwrap_or(now));
    Some((later.unwrap_or(now), later.and(Some(now))))
}

/// The same as the engine counts.
async fn by_engine(engine: &Engine, id: &str) -> Result<(Sample, Option<Sample>), RuntimeError> {
    let is_remembered = {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        (last.get(id)).is_some_and(|(at, _)| APART.contains(&at.elapsed()))
    };
    if is_remembered
        && let Some(now) = engines(&ask(engine, id, true).await?)
        && let Some(before) = count_before(id, &now)
    {
        remember(id, now);
        return Ok((now, Some(before)));
    }
    let found = ask(engine, id, false).await?;
    let now = engines(&found)
        .ok_or_else(|| RuntimeError::NotFound(format!("what the container {id} uses")))?;
    remember(id, now);
    Ok((now, found.precpu_stats.as_ref().and_then(cpu)))
}

/// What the kernel counts of a container on this machine; `None` where it shows nothing.
fn kernels(pid: i64, id: &str) -> Option<Sample> {
    /// The machine's own clock, for spans only.
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let used = cgroup::of_container(pid, id)?;
    let cores = machine::online()?;
    let whole = u64::try_from(BEGUN.elapsed().as_nanos()).ok()?;
    Some(Sample {
        used_ns: used.cpu_ns,
        whole_ns: whole.checked_mul(cores),
        cores: Some(cores as f64),
        memory: Some(used.memory),
        limit: used.limit.or_else(machine::memory),
        is_kernels: true,
    })
}

fn remember(id: &str, sample: Sample) {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.len() >= REMEMBERED {
        last.retain(|_, (at, _)| APART.contains(&at.elapsed()));
    }
    last.insert(id.to_owned(), (Instant::now(), sample));
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

/// What the engine counts of a container.
fn engines(stats: &ContainerStatsResponse) -> Option<Sample> {
    let memory = stats.memory_stats.as_ref();
    let bytes = memory.and_then(|m| {
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
    Some(Sample {
        memory: bytes,
        limit: memory.and_then(|m| m.limit).filter(|l| *l > 0),
        ..cpu(stats.cpu_stats.as_ref()?)?
    })
}

fn cpu(stats: &ContainerCpuStats) -> Option<Sample> {
    Some(Sample {
        used_ns: stats.cpu_usage.as_ref()?.total_usage?,
        whole_ns: stats.system_cpu_usage,
        cores: stats.online_cpus.filter(|n| *n > 0).map(f64::from),
        memory: None,
        limit: None,
        is_kernels: false,
    })
}

fn measure(own_cores: Option<f64>, now: &Sample, before: Option<&Sample>) -> Saturation {
    let cpu_cores = before.and_then(|before| cores_in_use(now, before));
    let may_use = own_cores.or(now.cores);
    Saturation {
        cpu: cpu_cores.zip(may_use).map(|(used, may)| used / may),
        cpu_cores,
        memory: now
            .memory
            .zip(now.limit)
            .map(|(used, limit)| used as f64 / limit as f64),
        memory_bytes: now.memory,
    }
}

/// Cores in use between two samples: the share of the container in the machine's time, times its cores.
fn cores_in_use(now: &Sample, before: &Sample) -> Option<f64> {
    let used = now.used_ns.checked_sub(before.used_ns)?;
    let whole = now.whole_ns?.checked_sub(before.whole_ns?)?;
    (whole > 0).then(|| used as f64 / whole as f64 * now.cores.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuUsage, ContainerMemoryStats};

    use super::*;

    fn cpu_stats(total: u64, system: u64) -> ContainerCpuStats {
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
            cpu_stats: Some(cpu_stats(1_500, 14_000)),
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
        let (now, before) = (engines(&stats()).unwrap(), cpu(&cpu_stats(1_000, 10_000)));
        let free = measure(None, &now, before.as_ref());
        assert_eq!(free.cpu_cores, Some(0.5));
        assert_eq!(free.cpu, Some(0.125));
        assert_eq!((free.memory_bytes, free.memory), (Some(80), Some(0.5)));
        assert_eq!(measure(Some(0.5), &now, before.as_ref()).cpu, Some(1.0));
    }

    #[test]
    fn a_first_sample_alone_is_unknown_and_not_zero() {
        let now = engines(&stats()).unwrap();
        assert_eq!(measure(None, &now, None).cpu, None);
    }

    #[test]
    fn a_count_that_began_anew_is_unknown_and_not_less_than_nothing() {
        let (now, before) = (
            cpu(&cpu_stats(10, 200)).unwrap(),
            cpu(&cpu_stats(90, 100)).unwrap(),
        );
        assert_eq!(cores_in_use(&now, &before), None);
    }
}
