//! The watch over a machine that goes silent: it is told of, and nothing that ran there is called gone or well.

use crate::harness::{missing, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(90);

#[test]
fn the_applications_of_a_silent_machine_are_not_called_gone() {
    if missing(&["pm2", "sshd"]) {
        return;
    }
    let (sandbox, pm2, mut sshd) = crate::ssh_story::remote_pm2("watch-away", 72);
    let sandbox = sandbox.with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    let app = pm2.start("away", "setInterval(() => {}, 1000);\n", json!({}));
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    let id = format!("prod-1:pm2/{app}");
    wait_for("that it is known", LONG, || {
        let book = std::fs::read_to_string(sandbox.state().join("alerts.json")).ok()?;
        let book: Value = serde_json::from_str(&book).ok()?;
        let known = book["known"].as_array()?.iter();
        let mut known = known.filter(|known| known["has_run"] == true);
        known.any(|known| known["id"] == id.as_str()).then_some(())
    });
    sshd.kill();
    let about = |line: &str, turn: &str| {
        line.contains("\"docker on prod-1\"") && line.contains(&format!("\"turn\":\"{turn}\""))
    };
    watch.until("the machine", LONG, |line| about(line, "firing"));
    let told = watch.seen.last().unwrap();
    assert!(told.contains("prod-1 cannot be read"), "{told}");
    let gone: Vec<&String> = watch
        .seen
        .iter()
        .filter(|line| line.contains(&app) && line.contains("is gone"))
        .collect();
    assert!(gone.is_empty(), "{gone:#?}");
    sshd.revive();
    watch.until("its end", LONG, |line| about(line, "resolved"));
    assert_eq!(watch.end_with(Signal::TERM), 143);
}
