//! What the processes of an application use, added up: never over fewer processes than run.
//!
//! A process that ends while it is measured, or of which PM2 has not measured anything yet, would make a service look idle.

use std::time::Duration;

use super::list;
use crate::domain::signal::Saturation;
use crate::runtime::process::Process;

/// A process that ran, at both ends of the moment that it was measured over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// At its begin; `None` where it was gone.
    pub(super) before: Option<Process>,
    /// At its end; `None` where it was gone.
    pub(super) after: Option<Process>,
    /// What its memory is held against, in bytes; `None` where that is not known.
    pub(super) limit: Option<u64>,
}

/// What was used over a moment: where one was gone, its sums are unknown; where all were, everything.
pub(super) fn of_measured(all: &[Measured], over: Duration) -> Saturation {
    let (mut seconds, mut bytes, mut memory, mut count) = (0.0, 0, None, 0);
    for one in all {
        let (Some(before), Some(after)) = (one.before, one.after) else {
            continue;
        };
        count += 1;
        seconds += (after.cpu_seconds - before.cpu_seconds).max(0.0);
        bytes += after.memory_bytes;
        if let Some(limit) = one.limit {
            let share = after.memory_bytes as f64 / limit as f64;
            memory = Some(memory.map_or(share, |most: f64| most.max(share)));
        }
    }
    let is_whole = count > 0 && count == all.len();
    let cores = is_whole.then(|| seconds / over.as_secs_f64());
    let machine = std::thread::available_parallelism().ok();
    Saturation {
        cpu_cores: cores,
        cpu: cores
            .zip(machine)
            .map(|(cores, n)| (cores / n.get() as f64).min(1.0)),
        memory_bytes: is_whole.then_some(bytes),
        memory,
    }
}

/// What the daemon itself measured last: processes of another machine are not looked at from here.
pub(super) fn as_told(processes: &[&list::Process]) -> Saturation {
    let running = || processes.iter().filter(|p| p.pid().is_some());
    let is_running = running().next().is_some();
    let share = |p: &&list::Process| Some(p.memory_bytes()? as f64 / p.memory_limit()? as f64);
    Saturation {
        cpu_cores: running()
            .map(|p| p.cpu())
            .sum::<Option<f64>>()
            .filter(|_| is_running),
        cpu: None,
        memory_bytes: running()
            .map(|p| p.memory_bytes())
            .sum::<Option<u64>>()
            .filter(|_| is_running),
        memory: running().filter_map(share).reduce(f64::max),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn one_that_ended_meanwhile_makes_no_service_idle() {
        let at = |cpu_seconds| Process {
            started_at: Timestamp::UNIX_EPOCH,
            cpu_seconds,
            memory_bytes: 100,
        };
        let stays = Measured {
            before: Some(at(1.0)),
            after: Some(at(1.5)),
            limit: Some(200),
        };
        let ended = Measured {
            after: None,
            ..stays
        };
        let of = |all: &[Measured]| of_measured(all, Duration::from_secs(1));
        let whole = of(&[stays, stays]);
        assert_eq!(
            (whole.cpu_cores, whole.memory_bytes, whole.memory),
            (Some(1.0), Some(200), Some(0.5))
        );
        let part = of(&[stays, ended]);
        assert_eq!(
            (part.cpu_cores, part.cpu, part.memory_bytes),
            (None, None, None)
        );
        assert_eq!(
            part.memory,
            Some(0.5),
            "the one that runs has its own limit"
        );
        assert_eq!(of(&[ended]), Saturation::default());
        assert_eq!(of(&[]), Saturation::default());
    }

    #[test]
    fn what_the_daemon_has_not_measured_is_unknown() {
        let process = |more: &str| -> list::Process {
            serde_json::from_str(&format!(
                r#"{{"name":"api","pm_id":0,"pid":7,"pm2_env":{{"status":"online"}}{more}}}"#
            ))
            .unwrap()
        };
        let known = process(r#","monit":{"memory":100,"cpu":50}"#);
        let unknown = process("");
        let both = as_told(&[&known, &known]);
        assert_eq!((both.cpu_cores, both.memory_bytes), (Some(1.0), Some(200)));
        let part = as_told(&[&known, &unknown]);
        assert_eq!((part.cpu_cores, part.memory_bytes), (None, None));
        assert_eq!(as_told(&[]), Saturation::default());
    }
}
