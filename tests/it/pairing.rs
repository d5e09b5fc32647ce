//! Two engineers, each with a user of their own, work through one runbook in two panes of tmux; a third only looks on.

use crate::compose_story::{GOOD, list};
use crate::harness::{PROMPT, Project, Sandbox, Tmux, binary, missing, wait_for};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Users that are removed again, also when the test fails, and the group they share.
struct Users {
    group: String,
    names: Vec<String>,
}

fn must(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Users {
    fn add(names: &[&str]) -> Users {
        let number = std::process::id() % 10_000;
        let mut users = Users {
            group: format!("lgtest{number}"),
            names: Vec::new(),
        };
        must("groupadd", &[&users.group]);
        for name in names {
            let name = format!("{name}{number}");
            must("useradd", &["-M", "-N", "-s", "/bin/sh", &name]);
            users.names.push(name);
        }
        users
    }

    fn id(name: &str) -> u32 {
        must("id", &["-u", name]).parse().unwrap()
    }

    fn gid(&self) -> u32 {
        let entry = must("getent", &["group", &self.group]);
        entry.split(':').nth(2).unwrap().parse().unwrap()
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("userdel").arg(name).output();
        }
        let _ = Command::new("groupdel").arg(&self.group).output();
    }
}

/// The desk of one user: a home, and a shell in a terminal.
struct Desk {
    name: String,
    uid: u32,
    /// What goes before the arguments of the program to run it as this user.
    prefix: String,
    tmux: Tmux,
    _sandbox: Sandbox,
}

impl Desk {
    /// `groups` beside none of its own: those of the state folder and of Docker's socket.
    fn new(name: &str, groups: &[u32], program: &Path, state: &Path, size: (u16, u16)) -> Desk {
        let sandbox = Sandbox::new(name);
        open_to_all(&sandbox.path(""));
        let uid = Users::id(name);
        for inner in [
            "home",
            "config",
            "config/lastgood",
            "runtime",
            "cache",
            "work",
            "tmp",
        ] {
            chown(sandbox.path(inner), Some(uid), None).unwrap();
        }
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        let groups = match groups.is_empty() {
            true => "--clear-groups".to_owned(),
            false => format!("--groups={}", groups.join(",")),
        };
        let prefix = format!(
            "setpriv --reuid={uid} --regid=65534 {groups} env LASTGOOD_STATE_DIR={} {}",
            state.display(),
            program.display()
        );
        Desk {
            name: name.to_owned(),
            uid,
            prefix,
            tmux: Tmux::start(&sandbox, size),
            _sandbox: sandbox,
        }
    }

    /// Under a shell of its own: a console that is stopped must not go to the background of this one.
    fn open(&self, arguments: &str) {
        let prefix = &self.prefix;
        self.tmux.line(&format!(
            "clear; sh -c '{prefix} {arguments}; echo left $?'"
        ));
    }

    /// Waits until the row of an item holds all of the words.
    fn sees(&self, item: &str, words: &[&str]) -> String {
        let what = format!("{item} with {words:?} for {}", self.name);
        self.tmux.wait_until(&what, |screen| {
            let row = screen.lines().find(|line| line.contains(item));
            row.is_some_and(|row| words.iter().all(|word| row.contains(word)))
        })
    }

    /// The process of the console, by what it shows of itself to the others.
    fn process(&self, state: &Path) -> rustix::process::Pid {
        let names = fs::read_dir(state.join("presence")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut own = names.filter_map(|name| {
            let pid = name.strip_prefix(&format!("{}-", self.uid))?;
            pid.strip_suffix(".json")?.parse().ok()
        });
        rustix::process::Pid::from_raw(own.next().expect("a console of this user")).unwrap()
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn two_users_walk_one_runbook_and_a_third_looks_on() {
    let needed = [
        "docker", "compose", "busybox", "tmux", "root", "useradd", "setpriv",
    ];
    if missing(&needed) {
        return;
    }
    let sandbox = Sandbox::new("pairing");
    open_to_all(&sandbox.path(""));
    let mut project = Project::of_one(&sandbox, "pairing");
    project.image(GOOD);
    project.up();
    let program: PathBuf = sandbox.path("lastgood");
    fs::copy(binary(), &program).unwrap();
    open_to_all(&program);

    let users = Users::add(&["anna", "boris", "clara"]);
    let state = sandbox.path("shared");
    let path = state.to_str().unwrap();
    let init = ["--state-dir", path, "init", "--shared", &users.group];
    sandbox.run(&init).exits(0);
    let docker = fs::metadata("/var/run/docker.sock").unwrap().gid();
    let groups = [users.gid(), docker];
    let desk = |index: usize, groups: &[u32], size| {
        Desk::new(&users.names[index], groups, &program, &state, size)
    };
    let anna = desk(0, &groups, (120, 40));
    let boris = desk(1, &groups, (120, 40));
    let clara = desk(2, &[], (100, 30));

    anna.open("runbook start post-deploy-verification");
    anna.tmux.wait_for("Say how it ended");
    for desk in [&anna, &boris] {
        desk.open("tui --only runbook");
        desk.tmux.wait_for("Announce the start");
    }
    // Each sees where the other is.
    let (first, second, third) = (
        "Announce the start",
        "A checkpoint from before",
        "AI and other external",
    );
    anna.sees(first, &[&format!("{}…", boris.name)]);
    boris.sees(first, &[&format!("{}…", anna.name)]);
    boris.tmux.wait_for(&format!("{} here", anna.name));

    // Ticks cross, with the name of who ticked.
    let ticked = Instant::now();
    anna.tmux.keys(&["Space"]);
    boris.sees(first, &["[x]", &anna.name]);
    let took = ticked.elapsed();
    assert!(
        took < Duration::from_secs(2),
        "the tick took {took:?} to the other screen"
    );
    boris.tmux.keys(&["j"]);
    anna.sees(second, &[&format!("{}…", boris.name)]);
    boris.tmux.keys(&["Space"]);
    anna.sees(second, &["[x]", &boris.name]);

    // Both act on what they saw: the second is told who was first.
    anna.tmux.keys(&["j", "j", "j", "j", "j"]);
    boris.tmux.keys(&["j", "j", "j", "j"]);
    anna.sees(third, &[&format!("{}…", boris.name)]);
    boris.sees(third, &[&format!("{}…", anna.name)]);
    let process = boris.process(&state);
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    anna.tmux.keys(&["Space"]);
    anna.sees(third, &["[x]"]);
    boris.tmux.keys(&["Space"]);
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    boris.tmux.wait_for("changed meanwhile");
    boris.tmux.wait_for(&format!("done by {}", anna.name));
    boris.sees(third, &["[x]", &anna.name]);

    // A killed console loses nothing, and the other sees it go.
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    anna.tmux
        .wait_until("one who was killed is gone", |screen| {
            !screen.contains(&format!("{}…", boris.name))
        });
    wait_for(
        "the end of the killed console",
        Duration::from_secs(10),
        || {
            rustix::process::test_kill_process(process)
                .is_err()
                .then_some(())
        },
    );
    // It could not put its terminal right.
    boris.tmux.line("");
    boris.tmux.line("reset");
    boris.tmux.wait_until("a terminal put right", |screen| {
        !screen.contains(first) && screen.contains(PROMPT)
    });
    boris.open("tui --only runbook");
    boris.sees(first, &["[x]", &anna.name]);
    boris.sees(second, &["[x]", &boris.name]);
    boris.sees(third, &["[x]", &anna.name]);
    anna.tmux.wait_for(&format!("{} here", boris.name));

    // Who may read and nothing else sees it all go on.
    must("chmod", &["-R", "o+rX", path]);
    clara.open("tui --read-only --only runbook");
    clara.sees(third, &["[x]", &anna.name]);
    let other = "Half the traffic";
    let fourth = "Traffic is normal";
    anna.tmux.keys(&["j", "j"]);
    anna.tmux.wait_for(other);
    anna.tmux.keys(&["Space"]);
    clara.sees(fourth, &["[x]", &anna.name]);
    clara.tmux.keys(&["g", "g", "u"]);
    clara.tmux.wait_for("but not write to it");
    clara.sees(first, &["[x]", &anna.name]);
    clara.tmux.keys(&["q"]);
    clara.tmux.resize((40, 10));
    clara.open("tui --read-only --wall");
    clara.tmux.wait_for("runbook post-deploy");

    let run = |arguments: &[&str]| {
        let mut all = vec!["--state-dir", path];
        all.extend(arguments);
        sandbox.run(&all)
    };
    let status = run(&["--format", "json", "runbook", "status"]).json("runbook-status");
    let by = |text: &str| {
        let mut items = list(&status["items"]).iter();
        let item = items.find(|item| item["text"].as_str().unwrap().starts_with(text));
        item.unwrap()["by"].as_str().unwrap().to_owned()
    };
    let wanted = [&anna.name, &boris.name, &anna.name, &anna.name];
    assert_eq!([first, second, third, fourth].map(by).each_ref(), wanted);
    assert!(list(&status["lost"]).is_empty(), "{status:#}");
    for desk in [&anna, &boris] {
        desk.tmux.console_takes_keys_and_quits();
    }
}
