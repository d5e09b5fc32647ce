#![allow(clippy::unwrap_used, clippy::panic)]

//! Rollbacks of a service run by commands, from real checkpoints in a temporary folder.

use std::fs;
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::health::HealthState;
use crate::domain::host::HostName;
use crate::domain::outcome::{Outcome, OutcomeKind};
use crate::domain::settings::{ExecCommands, ServiceSettings};
use crate::ops::checkpoint::{self, CreateCheckpoint};
use crate::ops::{Access, Confirmation};
use crate::store::config::Config;

struct Shop {
    dir: tempfile::TempDir,
    ctx: Context,
    id: ServiceId,
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let exec = ExecCommands {
            status: Some(format!("test -e {}", at("up"))),
            release_command: Some(format!("cat {}", at("release"))),
            roll_back: Some(format!(
                "test ! -e {} && echo $LASTGOOD_RELEASE > {}",
                at("broken"),
                at("release")
            )),
            ..ExecCommands::default()
        };
        let settings = ServiceSettings {
            exec: Some(exec),
            env_files: vec![dir.path().join(".env")],
            log_files: vec![dir.path().join("app.log")],
            ..ServiceSettings::default()
        };
        let id = ServiceId::local("exec", "bot");
        let mut config = Config::default();
        config.services.insert(id.to_string(), settings);
        let ctx = Context::of_anna(dir.path(), config, Access::Full);
        let shop = Self { dir, ctx, id };
        shop.write("up", "");
        shop.write("app.log", "2025-12-27T14:50:00Z INFO started\n");
        shop.deploy("1.4", "20");
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn deploy(&self, release: &str, pool: &str) {
        self.write("release", &format!("{release}\n"));
        self.write(
            ".env",
            &format!("POOL={pool}\nDB_PASSWORD=secret-of-{release}\n"),
        );
    }

    async fn checkpoint(&self, label: &str) -> Checkpoint {
        let what = CreateCheckpoint {
            services: vec!["exec/bot".into()],
            label: Some(label.into()),
            since: None,
        };
        let (to, _from) = mpsc::channel(64);
        let (manifest, path) = checkpoint::create(&self.ctx, &what, to, CancellationToken::new())
            .await
            .unwrap();
        assert!(manifest.complete, "{:?}", manifest.problems);
        Checkpoint {
            id: manifest.id.clone(),
            path,
            manifest: Ok(manifest),
        }
    }

    fn roll_back(&self, to: RollBackTarget, configs_only: bool) -> Operation {
        Operation::RollBack {
            service: self.id.clone(),
            to,
            configs_only,
            save_logs: true,
            downgrade: false,
        }
    }

    async fn execute(&self, plan: &Plan) -> Outcome {
        let confirmation = Confirmation {
            plan_hash: plan.hash.clone(),
            typed: Some("bot".into()),
        };
        let (to, _from) = mpsc::channel(64);
        crate::ops::execute(&self.ctx, plan, &confirmation, to)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_good_checkpoint_is_brought_back_and_proved() {
    let shop = Shop::new();
    let saved = shop.checkpoint("good").await;
    let bot = &saved.manifest.as_ref().unwrap().services[0];
    assert_eq!(bot.health, Some(HealthState::Healthy));
    assert_eq!(bot.log.as_ref().unwrap().lines, 1);
    assert_eq!(bot.log.as_ref().unwrap().positions[0].offset, 34);
    assert_eq!(bot.files.len(), 1);
    let patterns = fs::read_to_string(saved.path.join("patterns.json")).unwrap();
    let patterns: serde_json::Value = serde_json::from_str(&patterns).unwrap();
    assert_eq!(patterns[0]["id"], "exec/bot");
    assert_eq!(patterns[0]["report"]["records"], 1, "{patterns}");
    shop.deploy("1.5", "100");
    // A checkpoint of the failing release is no target.
    shop.checkpoint("after").await;

    let operation = shop.roll_back(RollBackTarget::LastGood, false);
    let plan = crate::ops::plan(&shop.ctx, &operation).await.unwrap();
    let texts: Vec<&str> = plan.steps.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert!(texts[1].contains(".env (2 lines differ)"), "{texts:?}");
    let notes = plan.notes.iter().map(SafeText::as_str).collect::<Vec<_>>();
    assert!(notes.contains(&".env + POOL=20"), "{notes:?}");
    assert!(!notes.iter().any(|n| n.contains("secret-of")), "{notes:?}");
    assert_eq!(plan.risk, Risk::Destructive);

    let outcome = shop.execute(&plan).await;
    assert_eq!(outcome.outcome, OutcomeKind::Verified, "{outcome:?}");
    assert_eq!(fs::read_to_string(shop.path("release")).unwrap(), "1.4\n");
    let env = fs::read_to_string(shop.path(".env")).unwrap();
    assert_eq!(env, "POOL=20\nDB_PASSWORD=secret-of-1.4\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_fails_puts_the_files_back() {
    let shop = Shop::new();
    let saved = shop.checkpoint("good").await;
    shop.deploy("1.5", "100");
    let operation = shop.roll_back(RollBackTarget::Checkpoint(saved.id), false);
    let plan = crate::ops::plan(&shop.ctx, &operation).await.unwrap();
    shop.write("broken", "");
    let outcome = shop.execute(&plan).await;
    // Its own undo fails the same way, so it is not claimed that nothing changed.
    assert_eq!(outcome.outcome, OutcomeKind::FailedPartial, "{outcome:?}");
    assert!(!outcome.manual.is_empty());
    let env = fs::read_to_string(shop.path(".env")).unwrap();
    assert_eq!(env, "POOL=100\nDB_PASSWORD=secret-of-1.5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_target_every_checkpoint_has_its_reason() {
    let shop = Shop::new();
    let operation = shop.roll_back(RollBackTarget::LastGood, false);
    let error = crate::ops::plan(&shop.ctx, &operation).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::No);
    assert!(error.message.contains("there is no checkpoint"), "{error}");

    let damaged = shop.checkpoint("damaged").await;
    fs::write(damaged.path.join("health.json"), "{}").unwrap();
    fs::remove_file(shop.path("up")).unwrap();
    shop.checkpoint("unhealthy").await;
    shop.write("up", "");
    shop.deploy("1.5", "100");
    shop.checkpoint("same").await;
    let partial = shop
        .ctx
        .state
        .checkpoints()
        .join(".20990101-000000.partial");
    fs::create_dir(partial).unwrap();

    let error = crate::ops::plan(&shop.ctx, &operation).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::No);
    let lines: Vec<&str> = error.lines.iter().map(SafeText::as_str).collect();
    for (name, reason) in [
        ("partial", "partial: it is being made"),
        ("same", "the same release as runs now"),
        ("unhealthy", "the service was unhealthy"),
        ("damaged", "health.json was changed"),
    ] {
        let is_said = lines.iter().any(|line| line.contains(reason));
        assert!(is_said, "{name}: {lines:?}");
    }
    // Named, an unhealthy one is allowed and says so; a damaged one never is.
    let named = shop.roll_back(RollBackTarget::Checkpoint("unhealthy".into()), false);
    let plan = crate::ops::plan(&shop.ctx, &named).await.unwrap();
    assert!(plan.notes[0].as_str().contains("unhealthy then"));
    let named = shop.roll_back(RollBackTarget::Checkpoint("damaged".into()), false);
    let error = crate::ops::plan(&shop.ctx, &named).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::No);
    let image = shop.roll_back(RollBackTarget::Image("lastgood-test-none:1".into()), false);
    assert!(crate::ops::plan(&shop.ctx, &image).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_alone_can_be_restored() {
    let shop = Shop::new();
    let saved = shop.checkpoint("good").await;
    shop.deploy("1.5", "100");
    for operation in [
        Operation::RestoreConfigs {
            checkpoint: saved.id.clone(),
            service: None,
        },
        shop.roll_back(RollBackTarget::LastGood, true),
    ] {
        shop.deploy("1.5", "100");
        let plan = crate::ops::plan(&shop.ctx, &operation).await.unwrap();
        let outcome = shop.execute(&plan).await;
        assert_eq!(outcome.outcome, OutcomeKind::Verified, "{outcome:?}");
        assert_eq!(fs::read_to_string(shop.path("release")).unwrap(), "1.5\n");
        let env = fs::read_to_string(shop.path(".env")).unwrap();
        assert!(env.starts_with("POOL=20"), "{env}");
        let error = crate::ops::plan(&shop.ctx, &operation).await.unwrap_err();
        assert!(error.message.contains("every file is as it was"), "{error}");
    }
    // A file that is gone comes back, and goes again if the plan fails.
    fs::remove_file(shop.path(".env")).unwrap();
    let operation = shop.roll_back(RollBackTarget::LastGood, true);
    let plan = crate::ops::plan(&shop.ctx, &operation).await.unwrap();
    assert!(plan.steps[0].text.as_str().contains("it is gone"));
    assert_eq!(shop.execute(&plan).await.outcome, OutcomeKind::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_checkpoint_leaves_nothing() {
    let shop = Shop::new();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let (to, _from) = mpsc::channel(64);
    let what = CreateCheckpoint {
        services: vec!["exec/bot".into()],
        ..CreateCheckpoint::default()
    };
    checkpoint::create(&shop.ctx, &what, to, cancel)
        .await
        .unwrap_err();
    let left = fs::read_dir(shop.ctx.state.checkpoints()).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_saved_makes_it_incomplete_and_is_named() {
    let shop = Shop::new();
    fs::remove_file(shop.path(".env")).unwrap();
    let (to, _from) = mpsc::channel(64);
    let what = CreateCheckpoint {
        services: vec!["exec/bot".into()],
        ..CreateCheckpoint::default()
    };
    let (manifest, _) = checkpoint::create(&shop.ctx, &what, to, CancellationToken::new())
        .await
        .unwrap();
    assert!(!manifest.complete);
    assert!(
        manifest.problems[0].as_str().contains(".env"),
        "{:?}",
        manifest.problems
    );
    let found = checkpoint::find(&shop.ctx, &manifest.id[..10]).unwrap();
    assert_eq!(found.id, manifest.id);
    assert!(checkpoint::verify(&shop.ctx, &found).await.ok);
    assert!(checkpoint::find(&shop.ctx, "2001").is_err());
}

#[test]
fn files_of_several_hosts_are_not_put_back_on_one() {
    let id = |host: &str| ServiceId {
        host: HostName::parse(host).unwrap(),
        ..ServiceId::local("shop", "backend")
    };
    let (one, two) = (id("prod-1"), id("prod-2"));
    assert!(is_of_one_host("x", [&one, &one].into_iter()).is_ok());
    let error = is_of_one_host("x", [&one, &one, &two].into_iter()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.contains("prod-2:shop/backend"), "{error}");
}
