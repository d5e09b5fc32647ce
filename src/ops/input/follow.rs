//! The side "now" of a comparison, kept reading: what a service writes is scanned as it comes, and what was scanned up
//! to now can be taken at any time.
//!
//! A service is read again from its beginning where that has moved (it was deployed again, or rolled back), and where
//! the span after its start that no test counts has grown: a tenth of what is watched, a minute at most.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{Timestamp, Zoned};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::Input;
use super::read::{
    Baseline, ReadOptions, ReadSide, blocking, observed, request, scan_options, take, warm_up,
};
use crate::analysis::scan::{Scan, ScanOptions, Scanner};
use crate::domain::log::{LogEvent, LogRequest};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId};
use crate::ops::{Context, OpsError, audit, logs};

/// Blocks that may wait between a source and its scanner.
const BLOCKS: usize = 16;
/// What comes from a file is looked at so often …
const LOOK: Duration = Duration::from_millis(300);
/// … and where less than this came, it was read to its end: from then on it is as slow as who writes it.
const CAUGHT_UP: u64 = 256 * 1024;
/// An engine may hand lines out so much later than their times.
const LATE: Duration = Duration::from_secs(2);
/// Nobody waits longer than this for the first reading of all sources.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running services of a checkpoint, followed.
#[derive(Debug)]
pub(crate) struct Followed {
    ctx: Arc<Context>,
    baseline: Arc<Baseline>,
    options: ReadOptions,
    sources: Vec<Source>,
    /// What could not be looked at, as of the last look.
    missing: Vec<SafeText>,
    live: Vec<Service>,
    grown: Arc<Notify>,
}

/// One service that is read. Dropping it ends the reading.
#[derive(Debug)]
struct Source {
    id: ServiceId,
    request: LogRequest,
    warm_up: Vec<(i64, i64)>,
    shared: Arc<Mutex<Growing>>,
    _tasks: JoinSet<()>,
}

/// What was read of a service up to now.
#[derive(Debug)]
struct Growing {
    scanner: Scanner,
    missing: Vec<SafeText>,
    /// Bytes of lines that came.
    bytes: u64,
    /// Whether everything that stood there at the beginning was read.
    is_read: bool,
    failure: Option<SafeText>,
}

impl Followed {
    pub(crate) fn new(ctx: Arc<Context>, baseline: Arc<Baseline>, options: ReadOptions) -> Self {
        Self {
            ctx,
            baseline,
            options,
            sources: Vec::new(),
            missing: Vec::new(),
            live: Vec::new(),
            grown: Arc::default(),
        }
    }

    /// The services as they were at the last look.
    pub(crate) fn live(&self) -> &[Service] {
        &self.live
    }

    /// The names of the services that the checkpoint holds.
    pub(crate) fn names(&self) -> Vec<String> {
        let services = self.baseline.manifest.services.iter();
        services.map(|saved| saved.id.to_string()).collect()
    }

    /// Takes over what runs now: new sources are opened, those of services that are gone closed.
    ///
    /// # Errors
    /// The audit log cannot be read, or the rules of a service are broken.
    pub(crate) fn look(&mut self, inventory: &Inventory) -> Result<(), OpsError> {
        let records = audit::list(&self.ctx)?;
        self.missing.clear();
        self.live.clear();
        let unreachable = inventory.unreachable.iter().map(|u| {
            let runtime = u.runtime.as_str();
            format!("{runtime} on {} could not be read: {}", u.host, u.error)
        });
        self.missing
            .extend(unreachable.map(|text| SafeText::from_text(&text)));
        let baseline = Arc::clone(&self.baseline);
        let mut kept = Vec::new();
        for saved in &baseline.manifest.services {
            let Some(service) = inventory.find(&saved.id) else {
                let text = format!(
                    "{}: it was in the checkpoint and is not found now",
                    saved.id
                );
                self.missing.push(SafeText::from_text(&text));
                continue;
            };
            let request = request(service, (None, None), Some(&baseline), &records);
            let warm_up = warm_up(service, &request.window, Timestamp::now());
            let at = self.sources.iter().position(|source| {
                source.id == service.id && source.request == request && source.warm_up == warm_up
            });
            kept.push(match at {
                Some(at) => self.sources.swap_remove(at),
                None => self.open(service, request, warm_up)?,
            });
            self.live.push(service.clone());
        }
        self.sources = kept;
        Ok(())
    }

    fn open(
        &self,
        service: &Service,
        request: LogRequest,
        warm_up: Vec<(i64, i64)>,
    ) -> Result<Source, OpsError> {
        let rules = self.ctx.config.service(&service.id).requests;
        let base = scan_options(&rules, &Zoned::now(), self.options)?;
        let scanner = Scanner::new(ScanOptions {
            prefixes: false,
            warm_up: warm_up.clone(),
            ..base
        });
        let shared = Arc::new(Mutex::new(Growing {
            scanner,
            missing: Vec::new(),
            bytes: 0,
            is_read: false,
            failure: None,
        }));
        let mut tasks = JoinSet::new();
        let reading = read(
            Arc::clone(&self.ctx),
            service.clone(),
            request.clone(),
            Arc::clone(&shared),
            Arc::clone(&self.grown),
        );
        tasks.spawn(reading);
        Ok(Source {
            id: service.id.clone(),
            request,
            warm_up,
            shared,
            _tasks: tasks,
        })
    }

    /// Waits until a service has written something since the last [`side`](Self::side).
    pub(crate) async fn grown(&self) {
        self.grown.notified().await;
    }

    /// What is there now, after everything that stood there at the beginning was read.
    pub(crate) async fn side(&self) -> ReadSide {
        let began = Instant::now();
        while began.elapsed() < PATIENCE && !self.sources.iter().all(Source::is_read) {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let mut side = ReadSide::new(&Input::Now);
        side.missing.clone_from(&self.missing);
        let now = Timestamp::now();
        for source in &self.sources {
            let (scan, missing) = source.scan();
            side.missing.extend(missing);
            let observed = observed(&source.request, Some(&self.baseline), now);
            side.add_live(&source.id, scan, observed);
        }
        side.live.clone_from(&self.live);
        side
    }
}

impl Source {
    fn is_read(&self) -> bool {
        lock(&self.shared).is_read
    }

    /// What was scanned up to now, and what of it is missing.
    fn scan(&self) -> (Scan, Vec<SafeText>) {
        let growing = lock(&self.shared);
        let mut missing = growing.missing.clone();
        if let Some(failure) = &growing.failure {
            missing.push(failure.clone());
        } else if !growing.is_read {
            let text = format!("{}: its log is still being read", self.id);
            missing.push(SafeText::from_text(&text));
        }
        let scanner = growing.scanner.clone();
        drop(growing);
        (scanner.finish(), missing)
    }
}

/// A scanner that panicked has told it already; what it had read stands.
fn lock(shared: &Mutex<Growing>) -> std::sync::MutexGuard<'_, Growing> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a service from the beginning of `request` on, and goes on.
async fn read(
    ctx: Arc<Context>,
    service: Service,
    request: LogRequest,
    shared: Arc<Mutex<Growing>>,
    grown: Arc<Notify>,
) {
    let result = read_all(&ctx, &service, request, &shared, &grown).await;
    let mut growing = lock(&shared);
    growing.is_read = true;
    if let Err(error) = result {
        let text = format!(
            "{}: its log could not be read: {}",
            service.id,
            error.to_safe_text()
        );
        growing.failure = Some(SafeText::from_text(&text));
    }
    drop(growing);
    grown.notify_one();
}

async fn read_all(
    ctx: &Context,
    service: &Service,
    mut request: LogRequest,
    shared: &Arc<Mutex<Growing>>,
    grown: &Arc<Notify>,
) -> Result<(), OpsError> {
    let is_container = matches!(
        service.runtime,
        Runtime::Compose | Runtime::Docker | Runtime::Swarm
    );
    // An engine looks through all that a container ever wrote before the first line comes: only a closed reading says
    // when all is read. Lines have its times, so that the following goes on where that ended.
    if is_container && let Ok(until) = Timestamp::now().checked_sub(LATE) {
        let mut closed = request.clone();
        closed.window.until = Some(until);
        if request.window.since.is_none_or(|since| since < until) {
            follow(ctx, service, &closed, shared, grown).await?;
            request.window.since = Some(until);
        }
        lock(shared).is_read = true;
    }
    request.follow = true;
    follow(ctx, service, &request, shared, grown).await
}

/// Reads what is asked for into the scanner.
async fn follow(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    shared: &Arc<Mutex<Growing>>,
    grown: &Arc<Notify>,
) -> Result<(), OpsError> {
    let (to, mut from) = mpsc::channel(BLOCKS);
    let id = service.id.clone();
    let (growing, told) = (Arc::clone(shared), Arc::clone(grown));
    let scanning = blocking(move || {
        while let Some(event) = from.blocking_recv() {
            let mut growing = lock(&growing);
            if let LogEvent::Block(block) = &event {
                growing.bytes += block.iter().map(|(_, text)| text.len() as u64).sum::<u64>();
            }
            let lost = take(event, &id, &mut growing.scanner);
            growing.missing.extend(lost);
            drop(growing);
            told.notify_one();
        }
        Ok(())
    });
    let catching_up = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let mut growing = lock(shared);
            growing.is_read |= growing.bytes - before < CAUGHT_UP;
            if growing.is_read {
                return;
            }
            before = growing.bytes;
        }
    };
    let reading = logs::read(ctx, service, request, to);
    if request.follow {
        let (sent, scanned, ()) = tokio::join!(reading, scanning, catching_up);
        return sent.and(scanned);
    }
    let (sent, scanned) = tokio::join!(reading, scanning);
    sent.and(scanned)
}
