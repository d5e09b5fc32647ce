//! Each fault is found, alone, and a service without one is all ok.

use super::*;
use crate::domain::check::CheckGrade;

fn good() -> ServiceFacts {
    ServiceFacts {
        id: ServiceId::local("shop", "backend"),
        runtime: Runtime::Compose,
        crash_loop: Some(false),
        restarts: 0,
        has_probe: true,
        health: (HealthState::Healthy, "http: 200".into()),
        certificate: Some(("certificate ends in 54 days".into(), false)),
        containers: Some(Ok(vec![container()])),
        pm2: Some(Ok(restarts())),
        ecosystem: Some(Ok(EcosystemFacts {
            file: Some("/srv/ecosystem.config.js".into()),
            restarts: Some(restarts()),
        })),
        artifacts: Some(Ok(Vec::new())),
        secret_files: vec![SecretFile {
            path: "/srv/.env".into(),
            mode: 0o640,
        }],
        unread_files: Vec::new(),
        switches: vec![Switch {
            name: "SENTRY_ENABLED".into(),
            value: "true".into(),
            file: "/srv/.env".into(),
        }],
        drift: Some(Ok(Vec::new())),
        migrations: Some(Ok(Migrations {
            current: vec!["a (head)".into()],
            head: Some(vec!["a".into()]),
        })),
        pinned: Some(("20251227-145000".into(), None)),
    }
}

fn container() -> ContainerFacts {
    ContainerFacts {
        name: "shop-backend-1".into(),
        image: "shop:1.5".into(),
        restart_policy: "unless-stopped".into(),
        log_driver: "json-file".into(),
        is_log_cache_off: false,
        log_max_size: Some("20m".into()),
    }
}

fn restarts() -> Pm2Restarts {
    Pm2Restarts {
        max_restarts: Some(3),
        min_uptime_ms: Some(30_000),
        ..Pm2Restarts::default()
    }
}

fn facts(service: ServiceFacts) -> Facts {
    Facts {
        unreachable: Vec::new(),
        services: vec![service],
        disks: Ok(vec![DiskUse {
            mount: "/".into(),
            bytes: (100, 60),
            inodes: Some((100, 60)),
        }]),
        backups: vec![BackupFacts {
            name: "main".into(),
            rpo_s: Some(3600),
            age_s: Ok(Some(60)),
            damage: None,
            restore_test: Some((60, true, SafeText::from_text("3 keys"))),
            is_provable: true,
            copy_failed: None,
        }],
        skipped: Vec::new(),
    }
}

/// What is not ok and was not left out.
fn found(facts: &Facts) -> Vec<(&'static str, CheckGrade)> {
    judge(facts)
        .iter()
        .filter(|check| check.grade >= CheckGrade::Warning)
        .map(|check| (check.name, check.grade))
        .collect()
}

#[test]
fn a_service_without_a_fault_is_all_ok() {
    let checks = judge(&facts(good()));
    assert_eq!(found(&facts(good())), []);
    // Each check was made, in the order in which they are listed.
    let made: Vec<&str> = checks.iter().map(|check| check.name).collect();
    let listed: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(made, listed);
}

#[test]
fn each_fault_is_found_and_only_that() {
    use CheckGrade::{Critical, Warning};
    type Change = fn(&mut ServiceFacts);
    let with = |change: fn(&mut ContainerFacts)| {
        let mut changed = container();
        change(&mut changed);
        let mut service = good();
        service.containers = Some(Ok(vec![container(), changed]));
        found(&facts(service))
    };
    let of = |change: Change| {
        let mut service = good();
        change(&mut service);
        found(&facts(service))
    };
    assert_eq!(
        of(|s| s.crash_loop = Some(true)),
        [("crash-loop", Critical)]
    );
    assert_eq!(of(|s| s.crash_loop = None), [("crash-loop", Warning)]);
    assert_eq!(of(|s| s.has_probe = false), [("health", Warning)]);
    assert_eq!(
        of(|s| s.health.0 = HealthState::Unhealthy),
        [("health", Warning)]
    );
    assert_eq!(
        of(|s| s.certificate = Some(("certificate ends in 9 days".into(), true))),
        [("certificate", Warning)]
    );
    assert_eq!(
        with(|c| c.restart_policy = "no".into()),
        [("restart-policy", Warning)]
    );
    assert_eq!(
        with(|c| c.image = "shop:latest".into()),
        [("image-tag", Warning)]
    );
    assert_eq!(
        with(|c| c.log_driver = "none".into()),
        [("log-driver", Warning)]
    );
    let uncached = with(|c| {
        c.log_driver = "syslog".into();
        c.is_log_cache_off = true;
    });
    assert_eq!(uncached, [("log-driver", Warning)]);
    assert_eq!(
        with(|c| c.log_driver = "syslog".into()),
        [],
        "the engine keeps a copy"
    );
    assert_eq!(with(|c| c.log_max_size = None), [("log-size", Warning)]);
    assert_eq!(
        of(|s| s.pm2.as_mut().unwrap().as_mut().unwrap().min_uptime_ms = Some(5_000)),
        [("pm2-restarts", Critical)]
    );
    assert_eq!(
        of(|s| s.ecosystem.as_mut().unwrap().as_mut().unwrap().restarts = None),
        [("ecosystem", Warning)]
    );
    assert_eq!(
        of(|s| s.ecosystem = Some(Err("SyntaxError".into()))),
        [("ecosystem", Critical)]
    );
    let left = |is_configured| {
        let mut service = good();
        service.artifacts = Some(Ok(vec![Artifact {
            path: "/srv/dist".into(),
            bytes: None,
            is_configured,
        }]));
        found(&facts(service))
    };
    assert_eq!(left(false), [("artifacts", Warning)]);
    assert_eq!(
        left(true),
        [("artifacts", Critical)],
        "the configuration says so"
    );
    assert_eq!(
        of(|s| s.secret_files[0].mode = 0o644),
        [("secret-files", Warning)]
    );
    assert_eq!(
        of(|s| s.switches[0].value = "false".into()),
        [("monitoring", Warning)]
    );
    assert_eq!(
        of(|s| s.drift = Some(Ok(vec!["PORT".into()]))),
        [("drift", Warning)]
    );
    assert_eq!(
        of(|s| s.migrations.as_mut().unwrap().as_mut().unwrap().head = Some(vec!["b".into()])),
        [("migrations", Warning)]
    );
    assert_eq!(
        of(|s| s.pinned = Some(("x".into(), Some("gone".into())))),
        [("pinned-image", Warning)]
    );
}

#[test]
fn what_could_not_be_looked_at_is_never_ok() {
    let why = || SafeText::from_text("permission denied");
    let mut service = good();
    service.containers = Some(Err(why()));
    service.pm2 = Some(Err(why()));
    service.artifacts = Some(Err(why()));
    service.unread_files = vec![why()];
    service.drift = Some(Err(why()));
    service.migrations = Some(Err(why()));
    let mut all = facts(service);
    all.disks = Err(why());
    all.backups[0].age_s = Err(why());
    all.unreachable = vec![(why(), "usermod".into())];
    let names: Vec<&str> = found(&all).iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "reachable",
            "restart-policy",
            "pm2-restarts",
            "artifacts",
            "secret-files",
            "drift",
            "migrations",
            "backup",
            "disk"
        ]
    );
    let checks = judge(&all);
    let denied = checks
        .iter()
        .filter(|c| c.detail.as_str().contains("permission denied"));
    assert_eq!(denied.count(), names.len());
}

#[test]
fn a_check_that_is_switched_off_says_so() {
    let mut service = good();
    service.crash_loop = Some(true);
    let mut all = facts(service);
    all.skipped = vec!["crash-loop".into()];
    assert_eq!(found(&all), []);
    let checks = judge(&all);
    let check = checks
        .iter()
        .find(|check| check.name == "crash-loop")
        .unwrap();
    assert_eq!(check.grade, CheckGrade::Skipped);
    assert!(check.detail.as_str().contains("preflight.skip"));
}

#[test]
fn a_wrong_name_gets_the_nearest() {
    assert_eq!(known("artifacts"), Ok("artifacts"));
    assert!(known("artefacts").unwrap_err().contains("artifacts"));
    assert!(known("zzzzzz").is_err());
}
