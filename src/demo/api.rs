//! The shop's api. Which release it is decides how well it works: `current/release.toml` says so.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Member;
use super::files::Folder;
use super::http::{Request, Response, serve};
use super::metrics::Metrics;
use super::pid::Identity;
use super::process::{Log, listen};
use super::random::Random;

/// `release.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    median_ms: u64,
    /// The share of requests that wait for the database.
    slow_share: f64,
    slow_ms: (u64, u64),
    errors: bool,
}

struct Api {
    log: Log,
    behaviour: Behaviour,
    release: String,
    pool: Semaphore,
    random: Mutex<Random>,
    queue: std::path::PathBuf,
    jobs: AtomicU64,
    metrics: Metrics,
}

/// What will become of one request.
struct Fate {
    takes: Duration,
    error: Option<&'static str>,
    number: u64,
    /// Stands in every line of the request.
    id: u64,
    misses_cache: bool,
}

pub(super) async fn run(folder: &Folder, stop: impl Future<Output = ()>) -> io::Result<()> {
    let log = Log::open(&folder.log(Member::Api))?;
    let release = folder.current()?;
    let behaviour: Behaviour = toml::from_str(&fs::read_to_string(folder.release_file())?)
        .map_err(|error| io::Error::other(format!("release.toml: {error}")))?;
    let env = fs::read_to_string(folder.api_env())?;
    let pool_size = setting(&env, "POOL_SIZE")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| io::Error::other("api.env: POOL_SIZE is missing or no number"))?;
    let listener = listen(folder, Member::Api).await?;
    log.line(
        "INFO",
        format_args!(
            "shop-api {release} started: pool_size={pool_size} pricing={}",
            setting(&env, "PRICING").unwrap_or("v1")
        ),
    );
    Identity::own().write(&folder.pid_file(Member::Api), &release)?;
    let api = Arc::new(Api {
        log,
        behaviour,
        release,
        pool: Semaphore::new(pool_size),
        random: Mutex::new(Random::new(Timestamp::now().as_nanosecond() as u64)),
        queue: folder.queue(),
        jobs: AtomicU64::new(0),
        metrics: Metrics::default(),
    });
    let handler = Arc::clone(&api);
    serve(
        listener,
        move |request| {
            let api = Arc::clone(&handler);
            async move { api.answer(&request).await }
        },
        stop,
    )
    .await;
    api.log
        .line("INFO", format_args!("shop-api {} stopped", api.release));
    Ok(())
}

/// The value of a variable in an environment file.
fn setting<'a>(env: &'a str, name: &str) -> Option<&'a str> {
    env.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

impl Api {
    async fn answer(&self, request: &Request) -> Response {
        if request.path == "/health" {
            return Response::json(
                200,
                format!("{{\"status\":\"ok\",\"release\":\"{}\"}}", self.release),
            );
        }
        if request.path == "/metrics" {
            return Response::text(self.metrics.text());
        }
        if !request.path.starts_with("/api/") {
            return Response::json(404, "{\"error\":\"not found\"}");
        }
        let begun = Instant::now();
        let Ok(_connection) = self.pool.acquire().await else {
            return Response::json(503, "{\"error\":\"stopping\"}");
        };
        let fate = self.decide(request);
        if fate.misses_cache {
            self.log.line(
                "WARN",
                format_args!(
                    "cache miss for product {} request_id={:08x}",
                    fate.number, fate.id
                ),
            );
        }
        tokio::time::sleep(fate.takes).await;
        let status = match fate.error {
            Some(error) => {
                self.log
                    .line("ERROR", format_args!("{error} request_id={:08x}", fate.id));
                500
            }
            None if request.method == "POST" => {
                self.enqueue(request, fate.number);
                201
            }
            None => 200,
        };
        self.metrics.count(status, begun.elapsed());
        self.log.line(
            "INFO",
            format_args!(
                "{} {} completed in {:.3}s status={status} request_id={:08x}",
                request.method,
                request.path,
                begun.elapsed().as_secs_f64(),
                fate.id
            ),
        );
        Response::json(status, format!("{{\"id\":{}}}", fate.number))
    }

    fn decide(&self, request: &Request) -> Fate {
        let mut random = self
            .random
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let median = Duration::from_millis(self.behaviour.median_ms);
        let takes = if random.happens(self.behaviour.slow_share) {
            let (low, high) = self.behaviour.slow_ms;
            Duration::from_millis(random.between(low, high))
        } else {
            random.duration_around(median)
        };
        let error = if self.behaviour.errors {
            failure(&request.method, &request.path)
                .filter(|(probability, _)| random.happens(*probability))
                .map(|(_, text)| text)
        } else {
            None
        };
        Fate {
            takes,
            error,
            number: random.between(1000, 90_000),
            id: random.between(1, u64::from(u32::MAX)),
            misses_cache: request.path.starts_with("/api/products") && random.happens(0.05),
        }
    }

    /// Leaves a job for the worker: a file that appears whole.
    fn enqueue(&self, request: &Request, order: u64) {
        let kind = if request.path == "/api/checkout" {
            "invoice"
        } else {
            "confirmation"
        };
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", Timestamp::now().as_microsecond());
        let staged = self.queue.join(format!(".{name}"));
        let job = format!("{kind} {order}\n");
        let done = fs::write(&staged, job)
            .and_then(|()| fs::rename(&staged, self.queue.join(format!("{name}.job"))));
        if let Err(error) = done {
            self.log
                .line("ERROR", format_args!("cannot enqueue a job: {error}"));
        }
    }
}

/// How the bad release fails: each kind of request in its own way.
fn failure(method: &str, path: &str) -> Option<(f64, &'static str)> {
    match (method, path) {
        ("POST", "/api/orders") => Some((0.45, "Invalid JSON response from payment service")),
        ("POST", "/api/checkout") => Some((0.45, "Division by zero in calculate_discount()")),
        ("GET", path) if path.starts_with("/api/orders/") => {
            Some((0.35, "NoneType has no attribute 'id'"))
        }
        ("GET", path) if path.starts_with("/api/cart/") => {
            Some((0.40, "Division by zero in calculate_discount()"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_past_comments() {
        let env = "# POOL_SIZES\nPOOL_SIZE = 20\nPRICING=v1\n";
        assert_eq!(setting(env, "POOL_SIZE"), Some("20"));
        assert_eq!(setting(env, "PRICING"), Some("v1"));
        assert_eq!(setting(env, "POOL"), None);
    }

    #[test]
    fn the_catalogue_never_fails_and_orders_do() {
        assert!(failure("GET", "/api/products/7").is_none());
        assert!(failure("GET", "/api/orders/7").is_some());
        assert!(failure("POST", "/api/checkout").is_some());
    }
}
