//! One wish for several machines: one after the other in the order they are named, until one does not prove itself.

use crate::compose_story::list;
use crate::harness::{Sandbox, Sshd, Terminal, missing, wait_for};
use crate::ssh::fleet;
use std::cmp::Ordering;
use std::fs;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["prod-1", "prod-2", "prod-3"];

/// A service of each machine that is a few files, and a log of what was done to all of them.
fn configure(sandbox: &Sandbox, broken: &str) {
    let work = sandbox.work();
    let work = work.display();
    let mut config = String::new();
    for host in NAMES {
        let end = if host == broken { "; exit 3" } else { "" };
        config.push_str(&format!(
            "[hosts.{host}]\n[services.\"{host}:exec/web\"]\nstatus = \"true\"\nrelease_command = \"cat {work}/{host}\"\n\
             log_files = [\"{work}/web.log\"]\n\
             restart = \"echo {host} >> {work}/log{end}\"\n\
             roll_back = 'echo back-{host} >> {work}/log{end}; echo \"$LASTGOOD_RELEASE\" > {work}/{host}'\n"
        ));
    }
    sandbox.write("lastgood.toml", config);
}

/// The machines, on addresses from that one on, each with the release that is good.
fn machines(name: &str, first: u8) -> (Sandbox, Vec<Sshd>) {
    let (sandbox, mut fleet) = fleet(name);
    let sandbox = sandbox.with("DOCKER_HOST", "unix:///nonexistent/none.sock");
    let start = |(name, at)| fleet.start(name, at, &[]);
    let servers = NAMES.into_iter().zip(first..).map(start).collect();
    sandbox.write("web.log", "2025-12-27T14:50:00Z INFO up\n");
    for host in NAMES {
        sandbox.write(host, "1.5\n");
    }
    (sandbox, servers)
}

fn all_of_checkpoint(services: &[String]) -> Vec<String> {
    let words = ["checkpoint", "create"].map(str::to_owned);
    words.iter().chain(services).cloned().collect()
}

#[test]
fn machines_are_changed_one_after_the_other_until_one_fails() {
    if missing(&["sshd"]) {
        return;
    }
    let (sandbox, _servers) = machines("ssh-order", 27);
    let services: Vec<String> = NAMES.iter().map(|n| format!("{n}:exec/web")).collect();
    let log = || {
        let text = fs::read_to_string(sandbox.work().join("log")).unwrap_or_default();
        let _ = fs::remove_file(sandbox.work().join("log"));
        text
    };
    let all = |verb: &'static str, order: &[usize], rest: &[&'static str]| {
        let mut words = vec![verb.to_owned()];
        words.extend(order.iter().map(|at| services[*at].clone()));
        words.extend(rest.iter().map(|word| (*word).to_owned()));
        words
    };
    let run = |code: i32, schema: &str, words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        sandbox.json(code, schema, &words)
    };

    // The whole plan first, in the order of the names; nothing is done.
    configure(&sandbox, "prod-2");
    let plan = run(0, "plan", &all("restart", &[2, 0], &["--dry-run"]));
    let hosts: Vec<&str> = list(&plan["steps"])
        .iter()
        .map(|step| step["host"].as_str().unwrap())
        .collect();
    assert_eq!(hosts, ["prod-3", "prod-3", "prod-1", "prod-1"], "{plan:#}");
    assert_eq!(list(&plan["parts"]).len(), 2);
    assert_eq!(plan["hash"].as_str().unwrap().len(), 64);
    let words: Vec<String> = all("restart", &[0, 1], &[]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    sandbox.run(&words).exits(5).says(&["not confirmed"]);
    assert_eq!(log(), "");

    // The second fails: the third is not begun, and that is said.
    let outcome = run(4, "outcome", &all("restart", &[0, 1, 2], &["--yes"]));
    assert_eq!(log(), "prod-1\nprod-2\n");
    assert_eq!(outcome["not_begun"], serde_json::json!(["prod-3:exec/web"]));
    let ends: Vec<&str> = list(&outcome["parts"])
        .iter()
        .map(|part| part["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(ends[0], "verified", "{outcome:#}");
    assert!(ends[1].starts_with("failed"), "{outcome:#}");
    assert_eq!(outcome["outcome"], "failed_partial", "{outcome:#}");
    let words: Vec<String> = all("restart", &[1, 2], &["--yes"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = sandbox.run(&words).exits(4);
    assert!(told.stdout.contains("not begun: prod-3:exec/web"), "{told}");
    assert_eq!(log(), "prod-2\n");

    // Back, each to what its checkpoint says, with one name for all.
    configure(&sandbox, "none");
    let created = run(0, "checkpoint", &all_of_checkpoint(&services));
    assert_eq!(created["complete"], true, "{created:#}");
    for host in NAMES {
        sandbox.write(host, "1.6\n");
    }
    let back = all("roll-back", &[1, 0], &["--yes", "--confirm", "web"]);
    let outcome = run(0, "outcome", &back);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(log(), "back-prod-2\nback-prod-1\n");
    assert_eq!(list(&outcome["not_begun"]).len(), 0);
    let release = |host: &str| fs::read_to_string(sandbox.work().join(host)).unwrap();
    assert_eq!(
        (release("prod-1"), release("prod-3")),
        ("1.5\n".into(), "1.6\n".into())
    );
    let records = sandbox.json(0, "", &["audit", "list"]);
    for host in ["prod-1", "prod-2"] {
        assert!(
            list(&records["records"])
                .iter()
                .any(|r| r["host"] == host && r["operation"] == "roll-back"),
            "{records:#}"
        );
    }
}

/// The same in the console: marked one by one, planned and confirmed together.
#[test]
fn the_console_changes_marked_machines_one_after_the_other() {
    if missing(&["sshd"]) {
        return;
    }
    let (sandbox, _servers) = machines("ssh-order-tui", 91);
    let log = sandbox.work().join("log");
    configure(&sandbox, "prod-1");
    // However many services other tests run on this machine: the pane is as tall as they need.
    let mut console = Terminal::start(&sandbox, &["tui"], (160, 250));
    for host in NAMES {
        console.wait_for(&format!("{host}:exec"));
    }
    console.keys("1");
    for host in ["prod-3", "prod-1", "prod-2"] {
        let group = format!("║ {host}:exec");
        let seen = || {
            let screen = console.screen();
            let find = |text: &str| screen.lines().position(|line| line.contains(text));
            (find("║▌"), find("║◆"), find(&group))
        };
        wait_for(&format!("the mark of {host}"), LONG, || {
            let before = seen();
            // The service stands below its group.
            let wanted = before.2? + 1;
            match before.1.or(before.0)?.cmp(&wanted) {
                Ordering::Less => console.keys("j"),
                Ordering::Greater => console.keys("k"),
                Ordering::Equal if before.1.is_some() => return Some(()),
                Ordering::Equal => console.keys(" "),
            }
            wait_for("what the key does", LONG, || {
                (seen() != before).then_some(())
            });
            None
        });
    }
    console.keys("La");
    console.wait_for("3 marked services");
    console.keys("r");
    let card = console.wait_for("Restart 3 services: 3 plans");
    let place = |host: &str| card.find(&format!(". {host}:exec/web")).unwrap();
    assert!(place("prod-3") < place("prod-1") && place("prod-1") < place("prod-2"));
    assert!(!log.exists());
    console.keys("\r");
    console.wait_until("the end", LONG, |screen| {
        screen.contains("the audit log has it")
    });
    for text in [
        "2 of 3 on prod-1",
        "prod-3:exec/web  ✔ VERIFIED",
        "prod-2:exec/web  not begun",
    ] {
        console.wait_for(text);
    }
    console.keys("\rq");
    assert_eq!(console.exit_code(), 0);
    assert_eq!(fs::read_to_string(&log).unwrap(), "prod-3\nprod-1\n");
}
