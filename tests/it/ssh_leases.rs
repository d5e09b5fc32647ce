//! Who acts on another machine: one at a time, from wherever they come, and the machine itself knows who it was.

use crate::compose_story::list;
use crate::harness::{Fleet, Sandbox, Sshd, missing, wait_for};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

/// A service that is a file and a log of what was done to it, on a machine behind ssh.
struct Far {
    anna: Sandbox,
    _fleet: Fleet,
    sshd: Sshd,
}

impl Far {
    fn new(name: &str, last: u8) -> Far {
        let sandbox = Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/none.sock");
        let (anna, mut fleet) = Fleet::new(sandbox);
        let sshd = fleet.start("prod-1", last, &[]);
        let far = Far {
            anna,
            _fleet: fleet,
            sshd,
        };
        far.configure(&far.anna, "prod-1:exec/bot", "0.7");
        far
    }

    /// Another engineer with a state folder of their own, on another laptop as far as anybody can tell.
    fn boris(&self, name: &str) -> Sandbox {
        let config = self.anna.path("ssh/config");
        let boris = Sandbox::new(name)
            .with("DOCKER_HOST", "unix:///nonexistent/none.sock")
            .with("LASTGOOD_SSH_CONFIG", config.to_str().unwrap());
        self.configure(&boris, "prod-1:exec/bot", "0.7");
        boris
    }

    fn configure(&self, sandbox: &Sandbox, id: &str, pause: &str) {
        let work = self.anna.work();
        let work = work.display();
        let host = if id.starts_with("prod-1") {
            "[hosts.prod-1]\n"
        } else {
            ""
        };
        sandbox.write(
            "lastgood.toml",
            format!(
                "{host}[services.\"{id}\"]\nstatus = \"test -e {work}/up\"\nstart = \"touch {work}/up\"\n\
                 stop = \"echo stopped >> {work}/log; sleep {pause}; rm -f {work}/up\"\n"
            ),
        );
    }

    fn is_up(&self) {
        self.anna.write("up", "");
        let _ = fs::remove_file(self.anna.work().join("log"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.anna.work().join("log")).unwrap_or_default()
    }

    /// What lastgood keeps on the machine itself.
    fn state(&self) -> std::path::PathBuf {
        self.sshd.folder().join("state/lastgood")
    }
}

fn begin(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

fn lines(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            all.extend(fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        }
    }
    all
}

const STOP: &[&str] = &["stop", "prod-1:exec/bot", "--yes"];
const BREAK: &[&str] = &[
    "lease",
    "break",
    "prod-1:exec/bot",
    "--yes",
    "--confirm",
    "bot",
];

#[test]
fn another_engineer_sees_who_acts_on_a_machine_and_its_own_engineers_do_too() {
    if missing(&["sshd"]) {
        return;
    }
    let far = Far::new("ssh-lease", 24);
    let boris = far.boris("ssh-lease-b");
    far.configure(&far.anna, "prod-1:exec/bot", "6");
    far.is_up();
    let acting = begin(&far.anna, STOP);
    let seen = wait_for("the lease", LONG, || {
        let status = boris.run(&["lease", "status", "--format", "json"]);
        let report: Value = serde_json::from_str(&status.stdout).ok()?;
        let one = list(&report["leases"]).first()?.clone();
        one["holder"]["step"].is_string().then_some(one)
    });
    let holder = &seen["holder"];
    assert_eq!(holder["service"], "prod-1:exec/bot", "{seen:#}");
    assert_eq!(holder["reason"], "stop", "{seen:#}");
    assert!(holder["machine"].is_string(), "{seen:#}");
    assert!(
        holder["step"]
            .as_str()
            .unwrap()
            .starts_with("step 1 of 2: run:")
    );
    assert_eq!(seen["is_alive"], true);
    boris.run(STOP).exits(5).says(&[
        "prod-1:exec/bot is held by",
        " from ",
        "step 1 of 2",
        "since",
    ]);
    // Who sits at the machine itself finds the same lease.
    let there = Sandbox::new("ssh-lease-c")
        .with("DOCKER_HOST", "unix:///nonexistent/none.sock")
        .with("LASTGOOD_STATE_DIR", far.state().to_str().unwrap());
    far.configure(&there, "exec/bot", "15");
    there
        .run(&["stop", "exec/bot", "--yes"])
        .exits(5)
        .says(&["exec/bot is held by", " from "]);
    let (code, said) = end(acting);
    assert_eq!(code, 0, "{said}");
    assert_eq!(far.log(), "stopped\n");
    let status = boris.json(0, "lease", &["lease", "status"]);
    assert!(list(&status["leases"]).is_empty(), "{status:#}");

    // And the other way round.
    far.is_up();
    let acting = begin(&there, &["stop", "exec/bot", "--yes"]);
    wait_for("its effect", LONG, || (!far.log().is_empty()).then_some(()));
    far.anna.run(STOP).exits(5).says(&["is held by"]);
    let (code, said) = end(acting);
    assert_eq!(code, 0, "{said}");
    assert_eq!(far.log(), "stopped\n");

    // The machine has a copy of what was done from elsewhere, and its own log goes on as it did.
    let own = lines(&far.anna.state().join("audit"));
    let copy = lines(&far.state().join("audit/from"));
    assert!(copy.len() >= 2, "{copy:#?}");
    assert!(
        copy.iter().all(|line| own.contains(line)),
        "{copy:#?}\n{own:#?}"
    );
    for phase in ["intent", "outcome"] {
        let phase = format!("\"phase\":\"{phase}\"");
        assert!(copy.iter().any(|line| line.contains(&phase)), "{copy:#?}");
    }
    there.run(&["audit", "verify"]).exits(0);
    far.anna.run(&["audit", "verify"]).exits(0);
}

#[test]
fn of_two_engineers_elsewhere_exactly_one_acts() {
    if missing(&["sshd"]) {
        return;
    }
    let far = Far::new("ssh-race", 25);
    let boris = far.boris("ssh-race-b");
    for race in 0..4 {
        far.is_up();
        let both = [begin(&far.anna, STOP), begin(&boris, STOP)];
        let ends: Vec<(i32, String)> = both.into_iter().map(end).collect();
        let mut codes: Vec<i32> = ends.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 5], "race {race}: {ends:#?}");
        assert_eq!(far.log(), "stopped\n", "race {race}: {ends:#?}");
    }
}

#[test]
fn a_lease_elsewhere_is_broken_and_its_owner_stops() {
    if missing(&["sshd"]) {
        return;
    }
    let far = Far::new("ssh-break", 26);
    let boris = far.boris("ssh-break-b");
    far.configure(&far.anna, "prod-1:exec/bot", "5");
    far.is_up();
    let acting = begin(&far.anna, STOP);
    wait_for("its effect", LONG, || (!far.log().is_empty()).then_some(()));
    let outcome = boris.json(0, "outcome", BREAK);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let (code, said) = end(acting);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the lease was broken"), "{said}");

    // A console that was killed is out of the way when its time is over, or at once where somebody says so.
    far.is_up();
    let mut acting = begin(&far.anna, STOP);
    wait_for("its effect", LONG, || (!far.log().is_empty()).then_some(()));
    acting.kill().unwrap();
    acting.wait().unwrap();
    boris.run(STOP).exits(5).says(&["is held by"]);
    boris.run(BREAK).exits(0);
    wait_for("the end of what it left", LONG, || {
        (!far.anna.work().join("up").exists()).then_some(())
    });
    far.is_up();
    boris.run(STOP).exits(0);
}

#[test]
fn a_lease_that_cannot_be_read_is_not_free() {
    if missing(&["sshd"]) {
        return;
    }
    let mut far = Far::new("ssh-damaged", 73);
    far.is_up();
    let lease = far.state().join("leases/exec%2fbot.lease");
    fs::create_dir_all(lease.parent().unwrap()).unwrap();
    // As a disk that is full leaves it, which says nothing of who had it.
    let half = "{\"fence\":7,\"holder\":{\"service\":\"exec/bot\",\"act";
    fs::write(&lease, half).unwrap();
    let is_told = |words: &[&str]| {
        let run = far.anna.run(&["lease", "status"]).exits(4);
        assert!(words.iter().all(|word| run.stdout.contains(word)), "{run}");
    };
    is_told(&["prod-1 unreachable", "exec%2fbot.lease", "damaged"]);
    far.anna.run(STOP).exits(5).says(&[
        "who holds the lease of prod-1:exec/bot cannot be told",
        "leases/exec%2fbot.lease",
    ]);
    assert_eq!(fs::read_to_string(&lease).unwrap(), half);
    assert_eq!(far.log(), "");
    // Nobody reads a folder as a file.
    fs::remove_file(&lease).unwrap();
    fs::create_dir(&lease).unwrap();
    is_told(&["prod-1 unreachable", "exec%2fbot.lease"]);
    fs::remove_dir(&lease).unwrap();
    far.anna.run(BREAK).exits(1).says(&["nobody holds"]);
    far.sshd.kill();
    far.anna
        .run(BREAK)
        .exits(4)
        .says(&["is not known", "prod-1 cannot be reached"]);
    far.sshd.revive();
    far.anna.run(STOP).exits(0);
}
