use std::collections::HashSet;

use super::*;

fn shipped() -> RunbookStore {
    RunbookStore::new(Path::new("/nowhere"), None)
}

#[test]
fn every_shipped_runbook_parses_and_has_unique_slugs() {
    let listing = shipped().list().unwrap();
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    assert_eq!(listing.runbooks.len(), SHIPPED.len());
    for source in &listing.runbooks {
        let name = &source.runbook.name;
        let slugs: HashSet<&str> = source
            .runbook
            .items()
            .map(|item| item.slug.as_str())
            .collect();
        assert_eq!(slugs.len(), source.runbook.items().count(), "{name}");
        let boxes = source
            .text
            .lines()
            .filter(|line| line.trim_start().starts_with("- [ ]"))
            .count();
        assert_eq!(
            boxes,
            source.runbook.items().count(),
            "{name}: every box is an item"
        );
        let texts: HashSet<&str> = source
            .runbook
            .items()
            .map(|item| item.text.as_str())
            .collect();
        assert_eq!(
            texts.len(),
            slugs.len(),
            "{name}: two items that say the same cannot be told apart"
        );
        assert!(
            source
                .runbook
                .phases
                .iter()
                .all(|phase| !phase.items.is_empty()),
            "{name}: an empty phase"
        );
        assert!(
            !source.runbook.intro.is_empty(),
            "{name} says what it is for"
        );
        assert!(source.path.is_none());
    }
}

/// What the source documents ask for, each by a piece of its item's text.
#[test]
fn the_key_items_are_all_there() {
    let store = shipped();
    let has = |name: &str, pieces: &[&str]| {
        let source = store.load(name).unwrap();
        for piece in pieces {
            let found = source.runbook.items().any(|item| {
                item.text
                    .as_str()
                    .to_lowercase()
                    .contains(&piece.to_lowercase())
            });
            assert!(found, "{name} lacks an item `{piece}`");
        }
    };
    has(
        "post-deploy-verification",
        &[
            "API health check",
            "Database health check",
            "Redis health check",
            "AI and other",
            "Latency is normal",
            "Traffic is normal",
            "Errors are normal",
            "Saturation is normal",
            "Authentication flow",
            "Project creation",
            "AI generation",
            "File operations",
            "User management",
            "Project management",
            "AI integration",
            "Performance tests",
            "Authentication security",
            "API security",
            "Data protection",
        ],
    );
    has(
        "production-readiness",
        &[
            "Health checks are set up",
            "Metrics are collected",
            "Dashboards",
            "Alerts are set",
            "Retry strategy",
            "Circuit breakers",
            "Error logging",
            "Graceful degradation",
            "Secrets come from the environment",
            "Permissions are limited",
            "Audit logging",
            "Rate limiting",
            "Caching",
            "Load balancing",
            "Connection pooling",
            "optimised: queries",
            "Unit tests",
            "Integration tests",
            "Load tests",
            "Chaos tests",
            "Cost tracking",
            "Budget alerts",
            "Costs were optimised",
            "Limits are set",
            "Deployment strategy",
            "Rollback plan",
            "Backup strategy",
            "Deploy runbook",
            "Architecture",
            "Incident runbook",
            "On-call",
            "Contacts",
            "Check all health checks",
            "Look at the metrics",
            "Read the logs",
            "response time",
            "throughput",
            "error rate",
            "resource usage",
            "costs",
            "Watch the alerts",
            "feedback",
            "edge cases",
            "ready to roll back",
            "Critical alerts",
            "Backups of the night",
            "Trends",
            "Documentation brought",
            "Incident review",
            "Capacity planning",
            "Security audit",
            "Performance review",
            "Cost review",
            "structured",
            "fits the daily budget",
            "Security review: rights, secrets, prompt injection",
        ],
    );
    has(
        "deployment-checklist",
        &[
            "meets the requirements",
            "Docker Engine",
            "Firewall is on",
            "System parameters",
            "TLS certificates",
            "Environment variables",
            "Secrets are not in the code",
            "Firewall rules",
            "belongs to this environment",
            "tunnel",
            "Credentials of outside APIs",
            "Rate limits",
            "PostgreSQL runs",
            "Alembic migrations",
            "Backups are set up",
            "Connections are monitored",
            "All nodes run",
            "cluster is formed",
            "Password authentication",
            "Replication works",
            "starts without errors",
            "API endpoints",
            "Webhook endpoints",
            "Integrations",
            "Metrics are collected",
            "Logs are written",
            "Alerts reach people",
            "dashboard",
            "Runbooks are updated",
            "Support contacts",
            "Recovery procedures",
            "Changes are logged",
        ],
    );
    has(
        "blue-green",
        &[
            "Final readiness check",
            "CI/CD pipeline: all tests pass",
            "Images are built, tested",
            "Database migrations are tested",
            "Secrets are managed",
            "Health checks answer on every endpoint",
            "Golden signals are measured",
            "Rollback plan was rehearsed",
            "Backup strategy: automatic",
            "Post-deploy verification is ready",
            "Documentation is up to date",
            "Send a small share first",
            "Tell the team",
            "Check the backups",
            "Final tests in staging",
            "Prepare the release",
            "Tell the users",
            "Switch all traffic to green",
            "0 to 2 minutes",
            "2 to 5 minutes",
            "5 to 10 minutes",
            "within 15 minutes",
        ],
    );
    has(
        "emergency-rollback-pm2",
        &[
            "ecosystem file",
            "Delete and start",
            "dist/",
            "Fail fast",
            "Deploy scripts check for artifacts before and after, and probe health after",
            "Error tracking",
            "External monitoring",
        ],
    );
    has(
        "emergency-rollback-compose",
        &[
            "Roll back to the last good checkpoint",
            "Downgrade to the revision",
            "Save the failing logs",
        ],
    );
    has(
        "backup-and-restore",
        &[
            "3 copies on 2 kinds of media",
            "scratch database",
            "Redis",
            "RPO and RTO",
        ],
    );
    has(
        "incident-response",
        &[
            "severity",
            "wake the second engineer",
            "First message",
            "blame",
            "Acknowledge the page",
            "An update every 30 minutes",
            "Hand over in writing",
            "Write the report",
            "A guard makes the same failure impossible",
        ],
    );
}

#[test]
fn the_times_and_figures_carry_over() {
    let store = shipped();
    let due = |name: &str, slug_part: &str| {
        let source = store.load(name).unwrap();
        let item = source
            .runbook
            .items()
            .find(|item| item.slug.contains(slug_part))
            .unwrap();
        (
            item.due.unwrap().to_string(),
            item.owner.as_ref().unwrap().to_string(),
        )
    };
    let owned = |due: &str, owner: &str| (due.to_owned(), owner.to_owned());
    assert_eq!(
        due("post-deploy-verification", "announce-the-start"),
        owned("T+0", "release-manager")
    );
    assert_eq!(
        due("post-deploy-verification", "redis"),
        owned("T+5m", "devops")
    );
    assert_eq!(
        due("post-deploy-verification", "latency"),
        owned("T+10m", "devops")
    );
    assert_eq!(
        due("post-deploy-verification", "authentication-flow"),
        owned("T+15m", "qa")
    );
    assert_eq!(
        due("post-deploy-verification", "user-management"),
        owned("T+20m", "backend")
    );
    assert_eq!(
        due("post-deploy-verification", "project-management"),
        owned("T+20m", "frontend")
    );
    assert_eq!(
        due("post-deploy-verification", "compare-with"),
        owned("T+30m", "release-manager")
    );
    for (slug, time) in [
        ("final-readiness", "T-24h"),
        ("tell-the-team", "T-12h"),
        ("check-the-backups", "T-6h"),
        ("final-tests", "T-2h"),
        ("prepare-the-release", "T-1h"),
        ("tell-the-users", "T-30m"),
    ] {
        assert_eq!(due("blue-green", slug).0, time);
    }
    let deploy = store.load("deploy").unwrap();
    let steps: Vec<&str> = deploy
        .runbook
        .phases
        .iter()
        .map(|phase| phase.title.as_str())
        .collect();
    assert_eq!(steps.len(), 6);
    assert!(
        steps
            .iter()
            .enumerate()
            .all(|(i, step)| step.starts_with(&format!("Step {}:", i + 1))),
        "{steps:?}"
    );
    let readiness = store.load("production-readiness").unwrap();
    assert!(
        readiness.runbook.phases[..8]
            .iter()
            .all(|phase| phase.items.len() == 4)
    );
    for budget in ["service 2 minutes", "database 5", "everything 15"] {
        assert!(
            readiness.text.contains(budget)
                && store
                    .load("emergency-rollback-compose")
                    .unwrap()
                    .text
                    .contains(budget)
        );
    }
}
