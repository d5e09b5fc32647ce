//! Every probe of every shipped runbook, asked on a shop that really runs: it ticks its item and keeps what it saw, or says
//! exactly what is wrong.

use crate::compose_story::list;
use crate::harness::{Database, DemoShop, Sandbox, missing, no_full_disk, wait_for};
use lastgood::demo::Member;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

/// The shipped runbooks.
pub(crate) const RUNBOOKS: [&str; 10] = [
    "deploy",
    "release-plan",
    "post-deploy-verification",
    "emergency-rollback-pm2",
    "emergency-rollback-compose",
    "blue-green",
    "production-readiness",
    "deployment-checklist",
    "incident-response",
    "backup-and-restore",
];

/// What a probe has to say: the line as it stands in the runbook, where its item has to end, and what was seen. Several
/// items ask the same.
struct Expected {
    probe: String,
    state: &'static str,
    seen: &'static str,
}

fn expect(probe: impl Into<String>, state: &'static str, seen: &'static str) -> Expected {
    Expected {
        probe: probe.into(),
        state,
        seen,
    }
}

/// What every shop answers whose api is well.
fn of_the_api() -> Vec<Expected> {
    vec![
        expect("service exec/api healthy", "done", "healthy"),
        expect("signal exec/api error_rate < 1%", "done", " %"),
        expect("signal exec/api latency_p95 < 500ms", "done", " ms"),
        expect("signal exec/api latency_p95 < 1s", "done", " ms"),
        expect("signal exec/api cpu < 70%", "done", " %"),
        expect("signal exec/api memory < 80%", "done", " %"),
    ]
}

/// Starts a run of every shipped runbook, lets every probe be asked, and holds each item that ticks itself against what
/// is expected. Every probe is expected, and everything that is expected is asked somewhere.
fn every_probe_ends_as(shop: &DemoShop, set: &[String], expected: &[Expected]) {
    let mut asked = BTreeSet::new();
    let mut items = 0;
    for name in RUNBOOKS {
        let mut start = vec!["runbook", "start", name];
        for variable in set {
            start.extend(["--set", variable]);
        }
        let run = shop.json(0, "runbook-status", &start)["run"].clone();
        let run = run.as_str().unwrap().to_owned();
        open_gates(shop, name, &run);
        let mut last = Value::Null;
        wait_for(
            &format!("the probes of {name}"),
            Duration::from_secs(60),
            || {
                last = shop
                    .run(&["runbook", "status", "--run", &run, "--format", "json"])
                    .json("runbook-status");
                let automatic = list(&last["items"])
                    .iter()
                    .filter(|item| item["automatic"] == true);
                // Requests are only counted from the start of the run on: there have to be some.
                automatic
                    .clone()
                    .all(|item| is_said(item) && !is_too_early(item))
                    .then_some(())
            },
        );
        for item in list(&last["items"])
            .iter()
            .filter(|item| item["automatic"] == true)
        {
            let evidence = item["evidence"].as_str().unwrap();
            let found = expected
                .iter()
                .find(|e| evidence.starts_with(&format!("{}: ", e.probe)));
            let found = found.unwrap_or_else(|| panic!("{name}: nobody expects {item:#}"));
            assert_eq!(item["state"], found.state, "{name}: {item:#}");
            assert!(
                evidence.contains(found.seen),
                "{name}: {:?} in {item:#}",
                found.seen
            );
            if found.state != "open" {
                assert_eq!(item["by"], "auto", "{name}: {item:#}");
                assert!(item["at"].is_string(), "when it was seen: {item:#}");
            }
            asked.insert(found.probe.clone());
            items += 1;
        }
    }
    let all: BTreeSet<String> = expected.iter().map(|e| e.probe.clone()).collect();
    assert_eq!(asked, all, "what is expected and was never asked");
    let listed = shop.json(0, "runbook-list", &["runbook", "list"]);
    let automatic = list(&listed["runbooks"])
        .iter()
        .map(|row| row["automatic"].as_u64().unwrap());
    assert_eq!(
        items,
        automatic.sum::<u64>(),
        "every probe of the shipped runbooks was asked"
    );
}

fn is_said(item: &Value) -> bool {
    item["evidence"]
        .as_str()
        .is_some_and(|text| !text.is_empty())
}

fn is_too_early(item: &Value) -> bool {
    let text = item["evidence"].as_str().unwrap_or_default();
    text.contains("needs 20") || text.contains("no requests")
}

/// Says that the change is made which the later probes prove the result of.
fn open_gates(shop: &DemoShop, name: &str, run: &str) {
    let store = lastgood::store::runbook::RunbookStore::new(std::path::Path::new("/nowhere"), None);
    let shipped = store.load(name).unwrap().runbook;
    for gate in shipped.items().filter(|item| item.is_gate) {
        let number = gate.number.to_string();
        shop.run(&["runbook", "tick", &number, "--run", run])
            .exits(0);
    }
}

/// A port of this machine where nobody listens.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn every_shipped_probe_is_right_about_the_demo_shop() {
    let sandbox =
        Sandbox::new("probes").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let shop = DemoShop::start(sandbox);
    let (api, gateway) = (shop.address(Member::Api), shop.address(Member::Gateway));
    let nobody = closed();
    // What the shop does not have: a second side, webhooks, a database that listens, a dashboard. Its own names it has
    // from its configuration.
    let set = [
        format!("green_url=http://{nobody}/health"),
        format!("webhook_url=http://{nobody}/webhook"),
        format!("postgres_address={nobody}"),
        format!("metrics_address={gateway}"),
        format!("dashboard_address={nobody}"),
    ];
    let mut expected = of_the_api();
    expected.extend([
        expect("service db healthy", "open", "cannot find \"db\""),
        expect("signal db connections < 80%", "open", "cannot find \"db\""),
        expect("signal db disk < 85%", "open", "cannot find \"db\""),
        expect("service redis healthy", "open", "cannot find \"redis\""),
        expect(
            "service redis-node-1 healthy",
            "open",
            "cannot find \"redis-node-1\"",
        ),
        expect(
            "service app_green healthy",
            "open",
            "cannot find \"app_green\"",
        ),
        expect(
            "signal app_green error_rate < 5%",
            "open",
            "cannot find \"app_green\"",
        ),
        expect(
            "signal app_green latency_p95 < 2s",
            "open",
            "cannot find \"app_green\"",
        ),
        expect(format!("http http://{api}/health"), "done", "200"),
        expect(format!("http http://{gateway}/health"), "done", "200"),
        expect(format!("http http://{nobody}/health"), "failed", "refused"),
        expect(format!("http http://{nobody}/webhook"), "failed", "refused"),
        expect(format!("tcp {nobody}"), "failed", "refused"),
        expect(format!("tcp {gateway}"), "done", "connected"),
        expect("file-absent dist", "done", "nothing is there"),
    ]);
    every_probe_ends_as(&shop, &set, &expected);

    // The bad release: the same probes say what is wrong with it, in figures.
    shop.deploy_bad();
    std::fs::create_dir(shop.sandbox.work().join("dist")).unwrap();
    let failed = |name: &str, probe: &str, seen: &str| {
        let run = shop.json(0, "runbook-status", &["runbook", "start", name])["run"].clone();
        let run = run.as_str().unwrap().to_owned();
        open_gates(&shop, name, &run);
        wait_for(&format!("{probe} fails"), Duration::from_secs(60), || {
            let status = shop
                .run(&["runbook", "status", "--run", &run, "--format", "json"])
                .json("runbook-status");
            let mut items = list(&status["items"]).iter();
            let is_it = |item: &&Value| {
                item["evidence"]
                    .as_str()
                    .is_some_and(|e| e.starts_with(probe))
            };
            let item = items.find(is_it)?;
            if item["state"] != "failed" {
                return None;
            }
            assert!(
                item["evidence"].as_str().unwrap().contains(seen),
                "{item:#}"
            );
            Some(())
        });
    };
    failed(
        "incident-response",
        "signal exec/api error_rate < 1%: ",
        " %",
    );
    failed(
        "emergency-rollback-pm2",
        "file-absent dist: ",
        "a folder of that name is there",
    );
}

#[test]
fn every_shipped_probe_ticks_its_item_on_a_shop_that_has_everything() {
    if missing(&["docker", "postgres", "redis-server"]) {
        return;
    }
    let _alone = no_full_disk();
    let database = Database::postgres("probes-db", 20);
    let redis = Database::redis("probes-redis", 20);
    let shop = DemoShop::start(Sandbox::new("allprobes"));
    let (api, gateway) = (shop.address(Member::Api), shop.address(Member::Gateway));
    let (db, cache) = (database.service(), redis.service());
    let set = [
        format!("db={db}"),
        format!("redis={cache}"),
        "green=exec/gateway".to_owned(),
        format!("green_url=http://{gateway}/health"),
        format!("webhook_url=http://{gateway}/health"),
        format!("postgres_address={gateway}"),
        format!("metrics_address={gateway}"),
        format!("dashboard_address={gateway}"),
    ];
    let mut expected = of_the_api();
    expected.extend([
        expect(format!("service {db} healthy"), "done", "healthy"),
        expect(format!("signal {db} connections < 80%"), "done", " %"),
        expect(format!("signal {db} disk < 85%"), "done", "free on "),
        expect(format!("service {cache} healthy"), "done", "healthy"),
        expect("service exec/gateway healthy", "done", "healthy"),
        expect("signal exec/gateway error_rate < 5%", "done", " %"),
        expect("signal exec/gateway latency_p95 < 2s", "done", " ms"),
        expect(format!("http http://{api}/health"), "done", "200"),
        expect(format!("http http://{gateway}/health"), "done", "200"),
        expect(format!("tcp {gateway}"), "done", "connected"),
        expect("file-absent dist", "done", "nothing is there"),
    ]);
    every_probe_ends_as(&shop, &set, &expected);
}
