//! The clock that runs while something is done to services: how long that may take before people should act otherwise,
//! and the word once it is over. It stops nothing: a half-done rollback is worse than a late one.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;

/// A service is back within this time, in milliseconds …
pub(crate) const SERVICE_MS: u64 = 120_000;
/// … a database, which has to read its files first, within this …
const DATABASE_MS: u64 = 300_000;
/// … and everything there is within this.
const ALL_MS: u64 = 900_000;
/// Images, without registry and tag, that are databases.
const DATABASES: &[&str] = &[
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "mongo",
    "mongodb",
    "redis",
    "valkey",
    "clickhouse",
    "elasticsearch",
    "opensearch",
    "cassandra",
    "timescaledb",
];

/// The budget for these services, in milliseconds.
pub(crate) fn budget_ms<'a>(services: impl IntoIterator<Item = &'a Service>) -> u64 {
    let of = |service| match is_database(service) {
        true => DATABASE_MS,
        false => SERVICE_MS,
    };
    let sum: u64 = services.into_iter().map(of).sum();
    sum.clamp(SERVICE_MS, ALL_MS)
}

fn is_database(service: &Service) -> bool {
    let image = service.release.image.as_ref().map_or("", SafeText::as_str);
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split([':', '@']).next().unwrap_or(name);
    DATABASES.contains(&name)
}

/// Does the work, and says when its time is over.
pub(super) async fn timed<T>(
    budget_ms: u64,
    progress: &mpsc::Sender<Progress>,
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = tokio::time::sleep(Duration::from_millis(budget_ms)) => {}
    }
    let text = format!(
        "over its budget of {} min: it goes on; consider acting by hand",
        budget_ms / 60_000
    );
    let _ = progress.try_send(Progress::Note(SafeText::from_text(&text)));
    work.await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;
    use crate::domain::service::{Runtime, ServiceId, ServiceState};

    fn service(image: &str) -> Service {
        let id = ServiceId::local("shop", "x");
        let mut service = Service::new(id, Runtime::Compose, ServiceState::Running);
        service.release.image = Some(SafeText::from_text(image));
        service
    }

    #[test]
    fn a_database_has_more_time_and_everything_has_an_end() {
        let minutes = |images: &[&str]| {
            let all: Vec<Service> = images.iter().map(|image| service(image)).collect();
            budget_ms(&all) / 60_000
        };
        assert_eq!(minutes(&["shop:1.4"]), 2);
        assert_eq!(minutes(&["docker.io/library/postgres:15"]), 5);
        assert_eq!(minutes(&["postgres-exporter:1"]), 2);
        assert_eq!(minutes(&["shop:1.4", "redis@sha256:00"]), 7);
        assert_eq!(minutes(&["a"; 40]), 15);
        assert_eq!(minutes(&[]), 2);
    }

    #[tokio::test]
    async fn the_word_comes_once_and_only_when_it_is_over() {
        let (to, mut from) = mpsc::channel(4);
        timed(60_000, &to, tokio::task::yield_now()).await;
        assert!(from.try_recv().is_err());
        timed(20, &to, tokio::time::sleep(Duration::from_millis(100))).await;
        let Ok(Progress::Note(text)) = from.try_recv() else {
            panic!("nothing was said");
        };
        assert!(text.as_str().contains("over its budget"), "{text}");
        assert!(from.try_recv().is_err());
    }
}
