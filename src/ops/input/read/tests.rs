use super::*;
use crate::domain::checkpoint::{MANIFEST_SCHEMA, SavedLog};
use crate::domain::host::HostName;
use crate::domain::outcome::{Actor, AuditPhase};
use crate::domain::service::{Instance, Release, Runtime, ServiceState};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn service(created: i64, started: i64) -> Service {
    Service {
        instances: vec![Instance {
            id: "abc".into(),
            name: SafeText::from_text("backend-1"),
            state: ServiceState::Running,
            health: None,
            image_id: None,
            created_at: Some(at(created)),
            started_at: Some(at(started)),
            restarts: 0,
            exit_code: None,
        }],
        ..Service::new(
            ServiceId::local("shop", "backend"),
            Runtime::Compose,
            ServiceState::Running,
        )
    }
}

fn baseline(created: i64, positions: Vec<LogPosition>) -> Baseline {
    let id = ServiceId::local("shop", "backend");
    Baseline {
        manifest: Manifest {
            schema: MANIFEST_SCHEMA.to_owned(),
            id: "one".into(),
            created_at: at(created),
            label: None,
            by: SafeText::default(),
            services: vec![SavedService {
                id,
                runtime: Runtime::Exec,
                log: Some(SavedLog {
                    file: "logs/shop/backend.log.zst".into(),
                    lines: 1,
                    bytes: 1,
                    from: None,
                    to: None,
                    missing: None,
                    positions,
                }),
                files: Vec::new(),
                release: Release::default(),
                pinned: None,
                health: None,
                probes: Vec::new(),
                compose: None,
                pm2: None,
                image_copy: None,
                schema_revision: None,
                swarm: None,
                restarts: 0,
                limits: None,
            }],
            sums_sha256: String::new(),
            complete: true,
            problems: Vec::new(),
        },
        path: PathBuf::from("/tmp/one"),
    }
}

#[test]
fn after_starts_at_the_creation_and_never_before_the_checkpoint() {
    let none = (None, None);
    assert_eq!(
        request(&service(100, 500), none, None, &[]).window.since,
        Some(at(100))
    );
    let old = baseline(50, Vec::new());
    assert_eq!(
        request(&service(100, 500), none, Some(&old), &[])
            .window
            .since,
        Some(at(100))
    );
    let new = baseline(300, Vec::new());
    assert_eq!(
        request(&service(100, 500), none, Some(&new), &[])
            .window
            .since,
        Some(at(300))
    );
    assert_eq!(
        request(&service(100, 500), (Some(at(10)), None), Some(&new), &[])
            .window
            .since,
        Some(at(300))
    );
}

#[test]
fn files_go_on_where_the_checkpoint_ended() {
    let position = LogPosition {
        path: "/var/log/x".into(),
        inode: 7,
        offset: 4096,
    };
    let found = request(
        &service(100, 500),
        (None, None),
        Some(&baseline(300, vec![position.clone()])),
        &[],
    );
    assert_eq!(
        (found.from, found.window.since),
        (vec![position.clone()], None)
    );
    let asked = request(
        &service(100, 500),
        (Some(at(400)), None),
        Some(&baseline(300, vec![position])),
        &[],
    );
    assert_eq!((asked.from.len(), asked.window.since), (0, Some(at(400))));
}

#[test]
fn warm_up_is_a_minute_or_a_tenth_of_the_window() {
    let window = Window::since(at(500));
    assert_eq!(
        warm_up(&service(100, 500), &window, at(800)),
        [(500_000, 530_000)]
    );
    assert_eq!(
        warm_up(&service(100, 500), &window, at(5000)),
        [(500_000, 560_000)]
    );
    assert!(warm_up(&service(100, 400), &window, at(800)).is_empty());
}

#[test]
fn a_file_is_called_by_its_stem() {
    for (path, name) in [
        ("/a/before.log", "before"),
        ("x.log.gz", "x"),
        (".hidden.log", "hidden"),
    ] {
        assert_eq!(
            file_service(Path::new(path)).to_string(),
            format!("file/{name}")
        );
    }
}

fn rollback(second: i64, name: &str) -> AuditRecord {
    AuditRecord {
        seq: 1,
        at: at(second),
        actor: Actor {
            user: "anna".into(),
            uid: 1000,
            via: "cli".into(),
            from: None,
        },
        host: HostName::local(),
        operation: "roll-back".into(),
        services: vec![ServiceId::local("shop", name)],
        plan_hash: String::new(),
        phase: AuditPhase::Outcome,
        outcome: Some(SafeText::from_text("verified")),
        duration_ms: None,
        run: None,
        steps: Vec::new(),
        prev: String::new(),
        hash: String::new(),
    }
}

#[test]
fn a_log_that_goes_on_is_read_from_the_end_of_the_last_rollback() {
    let position = LogPosition {
        path: "/srv/app.log".into(),
        inode: 7,
        offset: 9000,
    };
    let saved = baseline(300, vec![position]);
    let record = |second: i64, operation: &str, outcome: &str| AuditRecord {
        operation: operation.into(),
        outcome: Some(SafeText::from_text(outcome)),
        ..rollback(second, "backend")
    };
    let asked = |records: &[AuditRecord]| {
        let found = request(&service(100, 500), (None, None), Some(&saved), records);
        (found.from.len(), found.window.since)
    };
    let done = record(400, "roll-back", "verified");
    assert_eq!(asked(std::slice::from_ref(&done)), (0, Some(at(400))));
    // Before the checkpoint, failed, or something else: the checkpoint's place holds.
    assert_eq!(asked(&[record(200, "roll-back", "verified")]).0, 1);
    assert_eq!(asked(&[record(400, "roll-back", "failed_unchanged")]).0, 1);
    assert_eq!(asked(&[record(400, "restart", "verified")]).0, 1);
}

#[test]
fn a_neighbour_is_read_from_the_end_of_the_rollback_too() {
    let mut saved = baseline(300, Vec::new());
    let mut other = saved.manifest.services[0].clone();
    other.id = ServiceId::local("shop", "db");
    saved.manifest.services.push(other);
    let since = |name: &str| {
        let records = [rollback(400, name)];
        request(&service(100, 500), (None, None), Some(&saved), &records)
            .window
            .since
    };
    assert_eq!(since("db"), Some(at(400)));
    // Its own containers were created in the rollback; what they wrote before its end counts.
    assert_eq!(since("backend"), Some(at(300)));
    assert_eq!(since("stranger"), Some(at(300)));
}
