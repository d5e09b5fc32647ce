//! What runs: every service of every runtime on every host.

mod away;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Context, ErrorKind, OpsError};
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Instance, Inventory, ResolveError, Runtime, Service, ServiceId};
use crate::domain::settings::ServiceSettings;
use crate::host::Host;
use crate::runtime::{self, Changed, Changes, RuntimeError};

/// A host that has not answered by then is unreachable, whatever hangs there.
const HOST_TIMEOUT: Duration = Duration::from_secs(30);
/// After a first change, so long is waited for more: a deploy is a burst of events.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Between the two looks that tell a crash loop from a start.
const SECOND_LOOK: Duration = Duration::from_secs(3);
/// What started within so many milliseconds is looked at twice.
const YOUNG_MS: u64 = 60_000;
/// Restarts within this span are a loop when there are two or more.
const LOOP_SPAN: Duration = Duration::from_secs(60);
const AT_ONCE: usize = 8;

/// Looks once at every runtime of every host. Never fails: what could not be read stands in
/// [`Inventory::unreachable`] with its cause and its fix.
pub async fn discover(ctx: &Context) -> Inventory {
    discover_where(ctx, |_| true, ctx.only).await
}

/// Looks at one host only: what is done to a service waits for no other machine, and none hides what became of it.
pub(crate) async fn discover_on(ctx: &Context, host: &HostName) -> Inventory {
    discover_at(ctx, host, ctx.only).await
}

/// Looks for one service where it can be: see [`discover_these`].
pub(crate) async fn discover_one(ctx: &Context, id: &ServiceId) -> Inventory {
    discover_these(ctx, &id.host, std::slice::from_ref(id)).await
}

/// Looks for services of one host where they can be: nothing but an engine has `shop/backend`. An operation looks a dozen
/// times, and neither the other daemons nor the commands of other services are asked each time.
pub(crate) async fn discover_these(
    ctx: &Context,
    host: &HostName,
    services: &[ServiceId],
) -> Inventory {
    let is_elsewhere = |id: &ServiceId| {
        ["pm2", "exec", "file"]
            .iter()
            .any(|kind| id.group.starts_with(kind))
            || ctx.config.service(id).exec.is_some()
    };
    let only = match services.iter().any(is_elsewhere) {
        true => ctx.only,
        false => ctx.only.or(Some(Runtime::Docker)),
    };
    discover_at(ctx, host, only).await
}

async fn discover_at(ctx: &Context, host: &HostName, only: Option<Runtime>) -> Inventory {
    let found = discover_where(ctx, |name| name == host, only).await;
    if host.is_local() || found.unreachable.is_empty() {
        return found;
    }
    // Lost on the way, it may be there again.
    discover_where(ctx, |name| name == host, only).await
}

/// Looks as [`discover`] does, at the hosts that the names can mean: where each begins with a host's, at those only.
pub async fn discover_for(ctx: &Context, names: &[String]) -> Inventory {
    let hosts: Option<Vec<&Host>> = names.iter().map(|name| host_in(ctx, name)).collect();
    match hosts {
        Some(hosts) if !hosts.is_empty() => {
            let is_meant = |host: &HostName| hosts.iter().any(|meant| meant.name() == *host);
            discover_where(ctx, is_meant, ctx.only).await
        }
        _ => discover(ctx).await,
    }
}

fn host_in<'a>(ctx: &'a Context, name: &str) -> Option<&'a Host> {
    let (host, _) = name.rsplit_once(':')?;
    ctx.hosts.iter().find(|known| known.name().as_str() == host)
}

async fn discover_where(
    ctx: &Context,
    is_wanted: impl Fn(&HostName) -> bool,
    only: Option<Runtime>,
) -> Inventory {
    // Whoever asks for containers alone is told where there is no engine: it may be on its way up.
    let configured = match only {
        Some(Runtime::Docker) => Vec::new(),
        _ => configured(ctx),
    };
    let looks = ctx
        .hosts
        .iter()
        .filter(|host| is_wanted(&host.name()))
        .map(|host| look_at(host, &configured, only));
    merge(future::join_all(looks).await)
}

async fn look_at(
    host: &Host,
    configured: &[(ServiceId, ServiceSettings)],
    only: Option<Runtime>,
) -> Inventory {
    let mut look = runtime::Look::default();
    let looked = look_again(&mut look, host, configured, &Changed::all(only)).await;
    looked.unwrap_or_else(|| away::silent(host))
}

/// Looks at what changed, and tells of all that is known; nothing where the machine does not answer in time.
async fn look_again(
    look: &mut runtime::Look,
    host: &Host,
    configured: &[(ServiceId, ServiceSettings)],
    changed: &Changed,
) -> Option<Inventory> {
    let looking = async {
        look.again(host, configured, changed).await;
        look.inventory(host, configured).await
    };
    tokio::time::timeout(HOST_TIMEOUT, looking).await.ok()
}

fn configured(ctx: &Context) -> Vec<(ServiceId, ServiceSettings)> {
    ctx.config
        .services
        .iter()
        .filter_map(|(name, settings)| Some((ServiceId::parse(name)?, settings.clone())))
        .collect()
}

/// Looks as [`discover`] does, then measures CPU and memory, and looks again 3 s later where something is younger
/// than a minute, so that a crash loop is not taken for a start. Takes about a second, or three.
pub async fn look_closely(ctx: &Context) -> Inventory {
    let mut first = discover(ctx).await;
    let is_young =
        |s: &Service| s.crash_loop.is_none() || s.uptime_ms.is_some_and(|up| up < YOUNG_MS);
    let has_young = first.services.iter().any(is_young);
    let second = async {
        if !has_young {
            return None;
        }
        tokio::time::sleep(SECOND_LOOK).await;
        Some(discover(ctx).await)
    };
    let (second, measured) = future::join(second, measure(ctx, &first.services)).await;
    if let Some(mut second) = second {
        for service in &mut second.services {
            if let Some(before) = first.find(&service.id) {
                settle(service, before);
            }
        }
        first = second;
    }
    for service in &mut first.services {
        if let Some(used) = measured.get(&service.id) {
            service.cpu = used.cpu_cores;
            service.memory_bytes = used.memory_bytes;
        }
    }
    first
}

/// Decides after a second look whether a service is in a crash loop.
fn settle(service: &mut Service, before: &Service) {
    let is_loop = match service.runtime {
        Runtime::Pm2 => service.instances.iter().any(|now| {
            let was = before.instances.iter().find(|was| was.name == now.name);
            was.is_some_and(|was| is_crash(was.restarts, now))
        }),
        _ => service.restarts > before.restarts,
    };
    if is_loop {
        mark_crash_loop(service);
    }
}

/// Whether an instance that was restarted between two looks crashed. PM2 counts restarts by hand as well, and a
/// reload restarts each instance once: it takes two, or an exit code other than those of an end by a signal (PM2 says
/// 0; a shell 130 and 143).
fn is_crash(restarts_before: u64, now: &Instance) -> bool {
    let grown = now.restarts.saturating_sub(restarts_before);
    let has_failed = !matches!(now.exit_code, None | Some(0 | 130 | 143));
    grown >= 2 || (grown == 1 && has_failed)
}

fn mark_crash_loop(service: &mut Service) {
    if service.crash_loop == Some(true) {
        return;
    }
    service.crash_loop = Some(true);
    service.problems.push(SafeText::from_text(&format!(
        "crash loop: restarted {} times",
        service.restarts
    )));
}

async fn measure(
    ctx: &Context,
    services: &[Service],
) -> BTreeMap<ServiceId, crate::domain::signal::Saturation> {
    // So many of each machine: what one takes for an answer keeps no other waiting.
    let hosts = ctx.hosts.iter().map(|host| {
        let own: Vec<_> = services
            .iter()
            .filter(|service| service.id.host == host.name())
            .map(|service| async move {
                let used = runtime::saturation(host, service).await.ok()?;
                Some((service.id.clone(), used))
            })
            .collect();
        stream::iter(own)
            .buffer_unordered(AT_ONCE)
            .filter_map(future::ready)
            .collect::<Vec<_>>()
    });
    let measured = future::join_all(hosts).await;
    measured.into_iter().flatten().collect()
}

/// Sends the inventory now and again after every change that the runtimes tell of (containers started, ended,
/// recreated, health changed), at most five times a second. Reconnects by itself. Ends when nobody listens.
///
/// Each host is looked at for itself: one that is far or away holds up none of the others, and stands among the
/// unreachable until it has answered.
pub async fn watch(ctx: Arc<Context>, to: mpsc::Sender<Inventory>) {
    let (found, mut founds) = mpsc::channel(AT_ONCE);
    let mut watchers = JoinSet::new();
    for (index, host) in ctx.hosts.iter().cloned().enumerate() {
        watchers.spawn(watch_host(Arc::clone(&ctx), host, index, found.clone()));
    }
    drop(found);
    let mut parts: Vec<Inventory> = ctx.hosts.iter().map(away::pending).collect();
    let mut restarts = RestartHistory::default();
    loop {
        let next = tokio::select! {
            () = to.closed() => return,
            next = founds.recv() => next,
        };
        let Some((index, part)) = next else { return };
        parts[index] = part;
        while let Ok((index, part)) = founds.try_recv() {
            parts[index] = part;
        }
        let mut inventory = merge(parts.clone());
        restarts.judge(&mut inventory, Instant::now());
        if to.send(inventory).await.is_err() {
            return;
        }
    }
}

async fn watch_host(
    ctx: Arc<Context>,
    host: Host,
    index: usize,
    to: mpsc::Sender<(usize, Inventory)>,
) {
    let changes = Arc::new(Changes::from_now());
    let configured = configured(&ctx);
    let only = ctx.only;
    // It begins after the first look, which is what somebody waits for.
    let mut watcher = JoinSet::new();
    let mut look = runtime::Look::default();
    let mut changed = Changed::all(only);
    let mut all_at = Instant::now() + whole_look_after(ctx.config.measure_every);
    // What was seen while the machine could be reached: it stays in the list, and is told to be old.
    let mut last: Option<Inventory> = None;
    let mut lost_since = Instant::now();
    loop {
        let found = {
            let looking = look_again(&mut look, &host, &configured, &changed);
            let mut looking = std::pin::pin!(looking);
            let found = tokio::select! {
                found = &mut looking => Some(found),
                () = away::lost(&host), if last.is_some() => None,
            };
            match (found, &last) {
                (Some(found), _) => found,
                (None, Some(seen)) => {
                    let away = away::without_link(&host, seen);
                    if to.send((index, away)).await.is_err() {
                        return;
                    }
                    looking.await
                }
                (None, None) => looking.await,
            }
        };
        let found = match &found {
            Some(seen) if away::is_torn(&host, last.as_ref(), seen) => {
                look_again(&mut look, &host, &configured, &Changed::all(only)).await
            }
            _ => found,
        };
        let is_silent = found.is_none();
        let found = found.unwrap_or_else(|| away::silent(&host));
        let is_lost = is_silent || away::is_lost(&host, &found);
        let shown = match (&last, is_lost) {
            (Some(seen), true) => away::kept(seen, found),
            _ => {
                (last, lost_since) = (Some(found.clone()).filter(|_| !is_lost), Instant::now());
                found
            }
        };
        if to.send((index, shown)).await.is_err() {
            return;
        }
        if watcher.is_empty() {
            let (host, configured) = (host.clone(), configured.clone());
            let changes = Arc::clone(&changes);
            watcher.spawn(runtime::watch(&look, host, configured, only, changes));
        }
        if last.is_some() && is_lost {
            all_at = Instant::now() + away::pause(lost_since.elapsed());
        }
        let is_all = tokio::select! {
            () = to.closed() => return,
            () = changes.wait() => is_lost,
            () = away::lost(&host), if last.is_some() && !is_lost => true,
            () = tokio::time::sleep_until(all_at) => true,
        };
        tokio::time::sleep(DEBOUNCE).await;
        changed = changes.take();
        if is_all {
            (changed, all_at) = (
                Changed::all(only),
                Instant::now() + whole_look_after(ctx.config.measure_every),
            );
        }
    }
}

/// Looked again without any event, every second time that signals are measured: uptimes and problems grow old.
pub fn whole_look_after(measure_every: Duration) -> Duration {
    measure_every.saturating_mul(2)
}

fn merge(parts: impl IntoIterator<Item = Inventory>) -> Inventory {
    let mut all = Inventory::default();
    for part in parts {
        all.services.extend(part.services);
        all.unreachable.extend(part.unreachable);
    }
    all.services.sort_by(|a, b| a.id.cmp(&b.id));
    all.unreachable
        .sort_by(|a, b| (&a.host, a.runtime).cmp(&(&b.host, b.runtime)));
    all
}

/// Restart counts of the last minute, by service.
#[derive(Debug, Default)]
pub(super) struct RestartHistory {
    seen: BTreeMap<ServiceId, Vec<(Instant, u64)>>,
}

/// What is held against the restarts of a minute ago: of PM2's instances that which was restarted most often, since a
/// reload of a cluster restarts each of them once.
fn counted(service: &Service) -> u64 {
    let most = || service.instances.iter().map(|i| i.restarts).max();
    match service.runtime {
        Runtime::Pm2 => most().unwrap_or(0),
        _ => service.restarts,
    }
}

impl RestartHistory {
    pub(super) fn judge(&mut self, inventory: &mut Inventory, now: Instant) {
        for service in &mut inventory.services {
            let restarts = counted(service);
            let seen = self.seen.entry(service.id.clone()).or_default();
            // A recreated service counts from 0 again.
            if seen.last().is_some_and(|(_, n)| *n > restarts) {
                seen.clear();
            }
            seen.retain(|(at, _)| now.duration_since(*at) <= LOOP_SPAN);
            if seen.first().is_some_and(|(_, n)| restarts >= n + 2) {
                mark_crash_loop(service);
            }
            seen.push((now, restarts));
        }
    }
}

/// The one service that a name means. A name that was not found while a runtime could not be read is a failure to
/// look, not a wrong name.
///
/// # Errors
/// Unknown or ambiguous ([`ErrorKind::Usage`]), or nobody could look ([`ErrorKind::Failed`]).
pub fn resolve<'a>(inventory: &'a Inventory, name: &str) -> Result<&'a Service, OpsError> {
    inventory.resolve(name).map_err(|error| {
        let first = inventory.unreachable.first();
        match (&error, first) {
            (ResolveError::Unknown { .. }, Some(unreachable)) => OpsError::new(
                ErrorKind::Failed,
                format!(
                    "cannot find {name:?}: {} on {} could not be read: {}",
                    unreachable.runtime.as_str(),
                    unreachable.host,
                    unreachable.error
                ),
            )
            .fix(unreachable.fix.as_str()),
            _ => error.into(),
        }
    })
}

/// The services that the names mean, in that order; all without any name.
///
/// # Errors
/// See [`resolve`].
pub fn choose(inventory: &Inventory, names: &[String]) -> Result<Vec<Service>, OpsError> {
    if names.is_empty() {
        return Ok(inventory.services.clone());
    }
    let mut chosen: Vec<Service> = Vec::new();
    for name in names {
        let service = resolve(inventory, name)?;
        if !chosen.iter().any(|s| s.id == service.id) {
            chosen.push(service.clone());
        }
    }
    Ok(chosen)
}

/// The machine of a service.
///
/// # Errors
/// The session does not know that host.
pub(crate) fn host_of<'a>(ctx: &'a Context, id: &ServiceId) -> Result<&'a Host, OpsError> {
    ctx.hosts
        .iter()
        .find(|h| h.name() == id.host)
        .ok_or_else(|| {
            OpsError::new(
                ErrorKind::Usage,
                format!("host {} is not part of this session", id.host),
            )
            .fix(format!("lastgood --host {} …", id.host))
        })
}

/// Says what could not be done and keeps the runtime's cause and fix.
pub(crate) fn failed(what: impl Into<String>, error: RuntimeError) -> OpsError {
    let fix = error.fix().map(ToString::to_string);
    let mut failed = OpsError::new(ErrorKind::Failed, what).because(error);
    failed.fix = fix;
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::{ServiceState, Unreachable};

    fn service(restarts: u64) -> Service {
        Service {
            restarts,
            uptime_ms: Some(2_000),
            ..Service::new(
                ServiceId::local("shop", "api"),
                Runtime::Compose,
                ServiceState::Running,
            )
        }
    }

    fn inventory(restarts: u64) -> Inventory {
        Inventory {
            services: vec![service(restarts)],
            unreachable: Vec::new(),
        }
    }

    #[test]
    fn a_second_look_finds_the_loop_and_says_it_once() {
        let mut s = service(5);
        settle(&mut s, &service(5));
        assert_eq!(s.crash_loop, None);
        settle(&mut s, &service(4));
        settle(&mut s, &service(3));
        assert_eq!(s.crash_loop, Some(true));
        assert_eq!(s.problems.len(), 1);
    }

    fn cluster(instances: [(u64, i64); 2]) -> Service {
        let instance = |(n, (restarts, exit_code)): (usize, (u64, i64))| Instance {
            id: n.to_string(),
            name: SafeText::from_text(&format!("api:{n}")),
            state: ServiceState::Running,
            health: None,
            image_id: None,
            created_at: None,
            started_at: None,
            restarts,
            exit_code: Some(exit_code),
        };
        Service {
            runtime: Runtime::Pm2,
            instances: instances.into_iter().enumerate().map(instance).collect(),
            ..service(instances.iter().map(|(n, _)| n).sum())
        }
    }

    #[test]
    fn a_reload_of_a_cluster_is_no_loop_and_a_crash_is_one() {
        let settled = |now| {
            let mut now = cluster(now);
            settle(&mut now, &cluster([(3, 0), (3, 0)]));
            now.crash_loop == Some(true)
        };
        assert!(!settled([(4, 0), (4, 143)]), "a reload");
        assert!(settled([(4, 1), (3, 0)]));
        assert!(settled([(5, 0), (3, 0)]));
        let mut history = RestartHistory::default();
        let mut judge = |now| {
            let mut found = Inventory {
                services: vec![cluster(now)],
                unreachable: Vec::new(),
            };
            history.judge(&mut found, Instant::now());
            found.services[0].crash_loop == Some(true)
        };
        assert!(!judge([(0, 0), (0, 0)]));
        assert!(!judge([(1, 0), (1, 0)]), "a reload");
        assert!(judge([(2, 0), (1, 0)]));
    }

    #[test]
    fn two_restarts_in_a_minute_are_a_loop_and_two_in_an_hour_are_not() {
        let start = Instant::now();
        let mut history = RestartHistory::default();
        let mut judge = |seconds, restarts| {
            let mut found = inventory(restarts);
            history.judge(&mut found, start + Duration::from_secs(seconds));
            found.services[0].crash_loop == Some(true)
        };
        assert!(!judge(0, 0));
        assert!(!judge(100, 1));
        assert!(!judge(3000, 2));
        assert!(!judge(3010, 3));
        assert!(judge(3020, 4));
        assert!(!judge(3025, 0), "recreated");
    }

    #[test]
    fn a_name_that_could_not_be_looked_for_is_not_a_wrong_name() {
        let mut found = inventory(0);
        assert_eq!(resolve(&found, "web").unwrap_err().kind, ErrorKind::Usage);
        found.unreachable.push(Unreachable {
            host: crate::domain::host::HostName::local(),
            runtime: Runtime::Docker,
            is_whole_host: false,
            error: "permission denied".into(),
            fix: "usermod".into(),
        });
        let error = resolve(&found, "web").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.to_string().contains("permission denied"));
        assert!(resolve(&found, "api").is_ok());
    }
}
