//! Two engineers, each with a user of their own, work through one runbook in two panes of tmux; a third only looks on.

use crate::compose_story::{GOOD, list};
use crate::harness::{PROMPT, Project, Sandbox, Tmux, binary, missing, wait_for};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static ACCOUNTS: Mutex<()> = Mutex::new(());

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
        // The programs that write the user database give up where another holds it.
        let _alone = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users = Users {
            group: format!("lgtest{number}{}", names[0]),
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
        let _alone = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// How many commands were given in it.
    commands: Cell<u32>,
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
            commands: Cell::new(0),
            _sandbox: sandbox,
        }
    }

    /// Under a shell of its own: a console that is stopped must not go to the background of this
    /// one. Numbered: the end of the one before may still be on the screen.
    fn open(&self, arguments: &str) {
        let number = self.commands.get() + 1;
        self.commands.set(number);
        let prefix = &self.prefix;
        self.tmux.line(&format!(
            "clear; sh -c '{prefix} {arguments}; echo command {number} left $?'"
        ));
    }

    /// Waits until what was opened last has ended with this exit code.
    fn leaves(&self, code: i32) {
        let number = self.commands.get();
        self.tmux.wait_for(&format!("command {number} left {code}"));
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

const TWO: &str = "# Restore

## Now

- [ ] Say that it begins
- [ ] Two people agree {two-person}

  ```sh run
  touch {{file}}
  ```
- [ ] Say that it is over
";

/// Two users with a shared state folder and a console each; no Docker.
struct Pair {
    anna: Desk,
    boris: Desk,
    sandbox: Sandbox,
    state: PathBuf,
    _users: Users,
}

impl Pair {
    fn new(name: &str, names: [&str; 2]) -> Pair {
        let sandbox =
            Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
        open_to_all(&sandbox.path(""));
        let program: PathBuf = sandbox.path("lastgood");
        fs::copy(binary(), &program).unwrap();
        open_to_all(&program);
        let users = Users::add(&names);
        let state = sandbox.path("shared");
        let path = state.to_str().unwrap();
        sandbox
            .run(&["--state-dir", path, "init", "--shared", &users.group])
            .exits(0);
        let groups = [users.gid()];
        let desk =
            |index: usize| Desk::new(&users.names[index], &groups, &program, &state, (120, 40));
        let (anna, boris) = (desk(0), desk(1));
        Pair {
            anna,
            boris,
            sandbox,
            state,
            _users: users,
        }
    }

    /// Runs the binary as root on the shared folder.
    fn run(&self, arguments: &[&str]) -> crate::harness::Run {
        let mut all = vec!["--state-dir", self.state.to_str().unwrap()];
        all.extend(arguments);
        self.sandbox.run(&all)
    }

    /// Both open the runbook.
    fn open(&self, first: &str) {
        for desk in [&self.anna, &self.boris] {
            desk.open("tui --only runbook");
            desk.tmux.wait_for(first);
        }
    }
}

#[test]
fn what_needs_two_people_needs_two_users() {
    if missing(&["tmux", "root", "useradd", "setpriv"]) {
        return;
    }
    let pair = Pair::new("twoperson", ["adam", "bella"]);
    let (anna, boris) = (&pair.anna, &pair.boris);
    // Anna's own file; the run carries it to the others.
    let folder = anna._sandbox.path("config/lastgood/runbooks");
    fs::create_dir_all(&folder).unwrap();
    open_to_all(&folder);
    let done = pair.sandbox.path("shared/restored");
    fs::write(folder.join("restore.md"), TWO).unwrap();
    anna.open("runbook start restore");
    anna.tmux.wait_for("nobody says what `file` is");
    anna.leaves(2);
    anna.open(&format!(
        "runbook start restore --set file={}",
        done.display()
    ));
    anna.tmux.wait_for("Say that it is over");
    anna.open("runbook run 2 --yes");
    anna.tmux.wait_for("nobody agreed yet");
    anna.leaves(5);

    pair.open("Say that it begins");
    let item = "Two people agree";
    anna.tmux.keys(&["j", "Space"]);
    anna.sees(item, &["[~]", &anna.name]);
    boris.sees(item, &["[~]", &anna.name]);
    // The same user again is not the second one, and what was not agreed to is not run.
    anna.tmux.keys(&["Space"]);
    anna.tmux.wait_for("needs two different people");
    anna.sees(item, &["[~]"]);
    let status = pair
        .run(&["--format", "json", "runbook", "status"])
        .json("runbook-status");
    assert_eq!(list(&status["items"])[1]["state"], "claimed", "{status:#}");
    anna.tmux.keys(&["q"]);
    anna.leaves(0);
    anna.open("runbook run 2 --yes");
    anna.tmux
        .wait_for("you agreed to it, so somebody else has to run it");
    assert!(!done.exists());

    boris.tmux.keys(&["q"]);
    boris.leaves(0);
    boris.open("runbook run 2 --yes");
    boris.leaves(0);
    assert!(done.exists(), "the second one runs it");
    pair.open("Say that it begins");
    boris.tmux.keys(&["j", "Space"]);
    for desk in [anna, boris] {
        desk.sees(item, &["[x]", &boris.name]);
    }
    let status = pair
        .run(&["--format", "json", "runbook", "status"])
        .json("runbook-status");
    let item = &list(&status["items"])[1];
    assert_eq!(
        (&item["state"], item["by"].as_str()),
        (&"done".into(), Some(boris.name.as_str()))
    );
    assert_eq!(
        item["evidence"].as_str(),
        Some(format!("{} agreed", anna.name).as_str())
    );
}

#[test]
fn what_is_said_in_an_incident_is_on_the_other_screen() {
    if missing(&["tmux", "root", "useradd", "setpriv"]) {
        return;
    }
    let pair = Pair::new("liveincident", ["carl", "dora"]);
    let (anna, boris) = (&pair.anna, &pair.boris);
    for desk in [anna, boris] {
        desk.open("tui --only services,runbook");
        desk.tmux.wait_for("incident-response");
        desk.tmux.keys(&["I"]);
        desk.tmux.wait_for("No incident is open");
    }
    // One opens it with a command, both see it; nobody presses a key for it.
    pair.run(&["incident", "start", "checkout fails"]).exits(0);
    for desk in [anna, boris] {
        desk.tmux.wait_for("checkout fails");
    }
    pair.run(&["incident", "note", "payment answers with HTML"])
        .exits(0);
    pair.run(&["incident", "severity", "P0", "--reason", "all shops"])
        .exits(0);
    pair.run(&["incident", "role", "scribe", &boris.name])
        .exits(0);
    let scribe = format!("scribe {}", boris.name);
    for desk in [anna, boris] {
        for part in ["payment answers with HTML", "P0", "all shops", &scribe] {
            desk.tmux.wait_for(part);
        }
    }
    // And from one console to the other.
    anna.tmux.keys(&["n"]);
    anna.tmux.line("it is the proxy");
    anna.tmux.keys(&["C-s"]);
    boris.tmux.wait_for("it is the proxy");
    pair.run(&["incident", "end"]).exits(0);
    for desk in [anna, boris] {
        desk.tmux.wait_for("No incident is open");
        desk.tmux.keys(&["Escape"]);
    }
    for desk in [anna, boris] {
        desk.tmux.console_takes_keys_and_quits();
    }
}

/// From a key in one console to the screen of the other, through tmux on both sides. How soon is for people to read: other tests
/// have the processors, too. `cargo test --test it tick_is_on_the_other_screen -- --nocapture` prints what was measured.
#[test]
fn a_tick_is_on_the_other_screen_and_how_soon() {
    if missing(&["tmux", "root", "useradd", "setpriv"]) {
        return;
    }
    let pair = Pair::new("measured", ["emil", "fina"]);
    let (anna, boris) = (&pair.anna, &pair.boris);
    pair.run(&["runbook", "start", "production-readiness"])
        .exits(0);
    let item = "Metrics are collected";
    pair.open(item);
    anna.tmux.keys(&["j"]);
    anna.tmux.wait_for("Dashboards");
    boris.sees(item, &[&format!("{}…", anna.name)]);
    let mut took: Vec<u128> = Vec::new();
    for round in 0..11 {
        let (key, mark) = if round % 2 == 0 {
            ("Space", "[x]")
        } else {
            ("u", "[ ]")
        };
        let is_there = |screen: &str| {
            let row = screen.lines().find(|line| line.contains(item));
            row.is_some_and(|row| row.contains(mark))
        };
        let pressed = Instant::now();
        anna.tmux.keys(&[key]);
        while !is_there(&boris.tmux.screen()) {
            assert!(
                pressed.elapsed() < Duration::from_secs(10),
                "{}",
                boris.tmux.screen()
            );
        }
        took.push(pressed.elapsed().as_millis());
        // Both are at rest before the next one.
        anna.sees(item, &[mark]);
        std::thread::sleep(Duration::from_millis(150));
    }
    took.sort_unstable();
    println!(
        "from the key to the other screen, in ms, eleven times: {took:?}, half within {}",
        took[5]
    );
}
