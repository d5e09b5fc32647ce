//! The shop's worker: takes jobs from the queue folder, one after the other, and logs JSON lines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Member;
use super::files::Folder;
use super::http::{Response, serve};
use super::pid::Identity;
use super::process::{Log, listen};
use super::random::Random;

/// The worker's release: this one is never deployed in the demo.
pub(super) const RELEASE: &str = "3.2";
const LOOK_PERIOD: Duration = Duration::from_millis(100);
const MEDIAN: Duration = Duration::from_millis(30);

pub(super) async fn run(folder: &Folder, stop: impl Future<Output = ()>) -> io::Result<()> {
    let log = Log::open(&folder.log(Member::Worker))?;
    let listener = listen(folder, Member::Worker).await?;
    Identity::own().write(&folder.pid_file(Member::Worker), RELEASE)?;
    tell(
        &log,
        "info",
        &format!("\"msg\":\"shop-worker {RELEASE} started\""),
    );
    let queue = folder.queue();
    let health = serve(
        listener,
        move |request| {
            let depth = jobs(&queue).map(|jobs| jobs.len());
            async move {
                match (request.path.as_str(), depth) {
                    ("/health", Ok(depth)) => {
                        Response::json(200, format!("{{\"status\":\"ok\",\"queue\":{depth}}}"))
                    }
                    ("/health", Err(error)) => {
                        Response::json(503, format!("{{\"status\":\"{}\"}}", error.kind()))
                    }
                    _ => Response::json(404, "{}"),
                }
            }
        },
        stop,
    );
    tokio::select! {
        () = health => {}
        () = work(&log, folder.queue()) => {}
    }
    tell(
        &log,
        "info",
        &format!("\"msg\":\"shop-worker {RELEASE} stopped\""),
    );
    Ok(())
}

async fn work(log: &Log, queue: PathBuf) {
    let mut random = Random::new(Timestamp::now().as_nanosecond() as u64);
    loop {
        for path in jobs(&queue).unwrap_or_default() {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let begun = Instant::now();
            tokio::time::sleep(random.duration_around(MEDIAN)).await;
            let _ = fs::remove_file(&path);
            match text.trim().split_once(' ') {
                Some((job, order)) => tell(log, "info", &done(job, order, begun.elapsed())),
                None => tell(
                    log,
                    "error",
                    "\"msg\":\"a job that cannot be read was dropped\"",
                ),
            }
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}

fn done(job: &str, order: &str, took: Duration) -> String {
    format!(
        "\"msg\":\"job {job} done in {} ms\",\"order\":{order}",
        took.as_millis()
    )
}

/// The waiting jobs, the oldest first: names begin with their time.
fn jobs(queue: &Path) -> io::Result<Vec<PathBuf>> {
    let mut jobs = Vec::new();
    for entry in fs::read_dir(queue)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "job") {
            jobs.push(path);
        }
    }
    jobs.sort();
    Ok(jobs)
}

fn tell(log: &Log, level: &str, fields: &str) {
    log.raw(&format!(
        "{{\"time\":\"{:.3}\",\"level\":\"{level}\",{fields}}}",
        Timestamp::now()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_and_jobs_come_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20-1.job", "10-0.job", ".30-2"] {
            fs::write(dir.path().join(name), "invoice 7\n").unwrap();
        }
        let names: Vec<String> = jobs(dir.path())
            .unwrap()
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["10-0.job", "20-1.job"]);
        let path = dir.path().join("worker.log");
        let log = Log::open(&path).unwrap();
        tell(
            &log,
            "info",
            &done("invoice", "7", Duration::from_millis(31)),
        );
        let line: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(line["msg"], "job invoice done in 31 ms");
        assert_eq!(line["level"], "info");
    }
}
