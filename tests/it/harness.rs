//! What the tests share: the binary in a sandbox, images without a registry, projects that are always taken down,
//! a second Docker daemon that may be killed, terminals.

mod certificate;
mod counted;
mod data;
mod demo_shop;
mod docker;
mod load;
mod mail;
mod nginx;
mod pm2;
mod postgres;
mod private_docker;
mod project;
mod prometheus;
mod proxy;
mod receiver;
mod run;
mod sandbox;
mod skip;
mod sshd;
mod swarm;
mod terminal;
mod tmpfs;
mod tmux;
mod web;

pub(crate) use certificate::{Authority, Certificate};
pub(crate) use counted::Counted;
pub(crate) use data::{PASSWORD, Postgres, Redis};
pub(crate) use demo_shop::DemoShop;
pub(crate) use docker::Docker;
pub(crate) use load::{Busy, Knob};
pub(crate) use mail::{MailServer, Tls};
pub(crate) use nginx::BlueGreen;
pub(crate) use pm2::Pm2;
pub(crate) use postgres::Database;
pub(crate) use private_docker::PrivateDocker;
pub(crate) use project::Project;
pub(crate) use prometheus::Prometheus;
pub(crate) use proxy::Proxy;
pub(crate) use receiver::{Received, Receiver};
pub(crate) use run::Run;
pub(crate) use sandbox::{Sandbox, binary};
pub(crate) use skip::{is_root, missing};
pub(crate) use sshd::{Fleet, Sshd, user as sshd_user};
pub(crate) use swarm::Swarm;
pub(crate) use terminal::Terminal;
pub(crate) use tmpfs::{Tmpfs, no_full_disk};
pub(crate) use tmux::{PROMPT, Tmux};
pub(crate) use web::WebServer;

use std::time::{Duration, Instant};

/// Asks until the answer is `Some`, and fails with `what` when `limit` is over.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < end,
            "waited {} s for {what}",
            limit.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The id of this test run: `tests/run` gives it, so that it can remove everything that carries it.
pub(crate) fn run_id() -> String {
    std::env::var("LASTGOOD_TEST_RUN").unwrap_or_else(|_| std::process::id().to_string())
}

/// A name for containers, projects and images of one test: what a killed run leaves is found by its prefix.
pub(crate) fn unique(name: &str) -> String {
    format!("lastgood-test-{}-{name}", run_id())
}
