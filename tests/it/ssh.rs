//! Machines behind ssh: what works without anything installed there, and what is said where it does not.

use crate::compose_story::list;
use crate::harness::{Fleet, Project, Sandbox, Sshd, Terminal, missing, wait_for};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) const WRITES: &str = r#"i=0; while true; do i=$((i+1)); echo "$(date +%Y-%m-%dT%H:%M:%S) INFO line $i"; sleep 0.1; done"#;

pub(crate) fn fleet(name: &str) -> (Sandbox, Fleet) {
    Fleet::new(Sandbox::new(name))
}

/// The one entry of `unreachable` for a host, but for applications of PM2: other tests have theirs on this machine.
fn unreachable(found: &Value, host: &str) -> (String, String) {
    let all: Vec<&Value> = list(&found["unreachable"])
        .iter()
        .filter(|one| one["host"] == host && one["runtime"] != "pm2")
        .collect();
    assert_eq!(all.len(), 1, "{found:#}");
    let text = |key: &str| all[0][key].as_str().unwrap().to_owned();
    (text("error"), text("fix"))
}

fn says(found: &(String, String), words: &[&str]) {
    for word in words {
        assert!(
            found.0.contains(word) || found.1.contains(word),
            "{word:?} in {found:?}"
        );
    }
    assert!(!found.1.contains("keyscan"), "{found:?}");
}

#[test]
fn services_of_a_machine_stand_beside_our_own_and_a_dead_one_hides_neither() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-list");
    let mut project = Project::of_one(&sandbox, "ssh-list");
    project.image(WRITES);
    project.up();
    let _sshd = fleet.start("prod-1", 2, &[]);
    let id = format!("prod-1:{}", project.service("backend"));

    let found = sandbox.json(0, "services", &["--host", "prod-1", "services"]);
    let own = list(&found["services"]);
    let by = |id: &str| own.iter().find(|s| s["id"] == id).cloned();
    let remote = by(&id).unwrap_or_else(|| panic!("no {id}: {found:#}"));
    assert_eq!(remote["host"], "prod-1");
    assert_eq!(remote["runtime"], "compose");
    assert_eq!(remote["state"], "running");
    assert!(by(&project.service("backend")).is_some(), "{found:#}");

    // Configured, and one that nobody listens at.
    let config = format!(
        "[hosts.prod-1]\n[hosts.away]\nssh = \"{}@127.0.0.3:1\"\n",
        crate::harness::sshd_user()
    );
    let file = sandbox.write("lastgood.toml", config);
    assert!(file.is_file());
    let found = sandbox.json(0, "services", &["services"]);
    assert!(
        list(&found["services"]).iter().any(|s| s["id"] == id),
        "{found:#}"
    );
    says(
        &unreachable(&found, "away"),
        &["Connection refused", "sshd"],
    );
    sandbox.run(&["logs", &id, "--until", "0s"]).exits(0);
}

#[test]
fn logs_come_from_there_and_go_on_after_a_lost_link() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-logs");
    let mut project = Project::of_one(&sandbox, "ssh-logs");
    project.image(WRITES);
    project.up();
    project.wait_for_lines("backend", 10);
    let mut sshd = fleet.start("prod-1", 4, &[]);
    let id = format!("prod-1:{}", project.service("backend"));
    let mut follow = sandbox.follow(&[
        "--host", "prod-1", "logs", &id, "--follow", "--format", "json",
    ]);
    let limit = Duration::from_secs(30);
    follow.until("line 12", limit, |line| line.contains("line 12\""));
    sshd.kill();
    std::thread::sleep(Duration::from_secs(1));
    sshd.revive();
    follow.until("the link is back", limit, |line| {
        line.contains("reconnected")
    });
    follow.until("line 60", limit, |line| line.contains("line 60\""));
    let numbers: Vec<u64> = follow
        .seen
        .iter()
        .filter_map(|line| {
            serde_json::from_str::<Value>(line).ok()?["text"]
                .as_str()?
                .rsplit(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    let first = numbers[0];
    let expected: Vec<u64> = (first..first + numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "nothing lost, nothing doubled");
}

/// Everything that may be wrong between here and there says what it is, and what helps.
#[test]
fn what_is_wrong_is_said_with_what_helps() {
    if missing(&["sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-wrong");
    let wrong_key = fleet.start("wrong-key", 5, &[]);
    let unknown = fleet.start("unknown", 6, &[]);
    let refused = fleet.start("refused", 7, &[]);
    let _nologin = fleet.start("nologin", 8, &["ForceCommand /usr/sbin/nologin"]);
    let known = fs::read_to_string(fleet.path("known_hosts")).unwrap();
    let other = fs::read_to_string(fleet.path("other.pub")).unwrap();
    let other: Vec<&str> = other.split(' ').take(2).collect();
    let kept: Vec<String> = known
        .lines()
        .filter(|line| !line.contains(&format!(":{} ", unknown.port)))
        .map(
            |line| match line.contains(&format!(":{} ", wrong_key.port)) {
                true => format!(
                    "[{}]:{} {}",
                    wrong_key.address,
                    wrong_key.port,
                    other.join(" ")
                ),
                false => line.to_owned(),
            },
        )
        .collect();
    fs::write(fleet.path("known_hosts"), kept.join("\n") + "\n").unwrap();
    fs::copy(
        fleet.path("other.pub"),
        refused.folder().join("authorized_keys"),
    )
    .unwrap();

    let begun = Instant::now();
    let mut arguments = vec!["services"];
    for host in ["wrong-key", "unknown", "refused", "nologin"] {
        arguments.extend(["--host", host]);
    }
    let found = sandbox
        .run(&[&arguments[..], &["--format", "json"]].concat())
        .json("services");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let fingerprint = |sshd: &Sshd| {
        let output = std::process::Command::new("ssh-keygen")
            .args(["-lf", sshd.folder().join("host_key.pub").to_str().unwrap()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    };
    says(
        &unreachable(&found, "wrong-key"),
        &[
            "not the one that is known",
            "known_hosts:",
            "ssh-keygen -R",
            &fingerprint(&wrong_key),
        ],
    );
    says(
        &unreachable(&found, "unknown"),
        &["is not known", &fingerprint(&unknown), "ssh_host_*_key.pub"],
    );
    says(
        &unreachable(&found, "refused"),
        &["refused every key", "publickey", "authorized_keys"],
    );
    says(
        &unreachable(&found, "nologin"),
        &["not available", "login shell"],
    );
    // Nothing was accepted on the way.
    let after = fs::read_to_string(fleet.path("known_hosts")).unwrap();
    assert_eq!(after, kept.join("\n") + "\n");
}

#[test]
fn limits_of_a_server_are_kept_or_named() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-limits");
    let mut project = Project::of_one(&sandbox, "ssh-limits");
    project.image(WRITES);
    project.up();
    let service = project.service("backend");
    let _few = fleet.start("few", 9, &["MaxSessions 3"]);
    let _closed = fleet.start("closed", 10, &["DisableForwarding yes"]);
    let _banner = fleet.start(
        "banner",
        11,
        &[r#"ForceCommand sh -c 'echo "Welcome to prod, $USER!"; eval "$SSH_ORIGINAL_COMMAND"'"#],
    );
    let _inner = fleet.start_with("inner", 12, &[], &["ProxyJump few"]);
    let mut arguments = vec!["services"];
    for host in ["few", "closed", "banner", "inner"] {
        arguments.extend(["--host", host]);
    }
    let found = sandbox.json(0, "services", &arguments);
    for host in ["few", "banner", "inner"] {
        let id = format!("{host}:{service}");
        assert!(
            list(&found["services"]).iter().any(|s| s["id"] == id),
            "{id} in {found:#}"
        );
    }
    says(
        &unreachable(&found, "closed"),
        &["forbids forwarding", "AllowStreamLocalForwarding"],
    );

    arguments[0] = "doctor";
    let run = sandbox.run(
        &[
            &arguments[..],
            &["--host", "nowhere.invalid", "--format", "json"],
        ]
        .concat(),
    );
    let document = run.exits(1).json("doctor");
    let graded = |host: &str, name: &str| {
        let checks = list(&document["checks"]);
        let check = checks
            .iter()
            .find(|check| check["host"] == host && check["name"] == name);
        check.map(|check| {
            let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            (text("grade"), text("detail"), text("fix"))
        })
    };
    for host in ["few", "banner", "inner"] {
        for name in [
            "ssh",
            "shell",
            "clock",
            "forwarding",
            "docker-socket",
            "compose-plugin",
        ] {
            let (grade, detail, _) =
                graded(host, name).unwrap_or_else(|| panic!("{name}: {document:#}"));
            assert_eq!(grade, "ok", "{host}: {name}: {detail}");
        }
        assert!(graded(host, "disk").is_some(), "{document:#}");
    }
    let (grade, _, fix) = graded("closed", "forwarding").unwrap();
    assert!(
        grade == "critical" && fix.contains("AllowStreamLocalForwarding"),
        "{fix}"
    );
    let (grade, detail, _) = graded("nowhere.invalid", "ssh").unwrap();
    assert!(
        grade == "critical" && detail.contains("nowhere.invalid"),
        "{detail}"
    );
    assert!(graded("nowhere.invalid", "clock").is_none());
}

/// 0700 and gone afterwards; what a killed run left is gone after the next.
#[test]
fn no_master_and_no_socket_is_left() {
    if missing(&["sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-left");
    let sshd = fleet.start("prod-1", 13, &[]);
    let run = sandbox.run(&["--host", "prod-1", "services"]);
    assert!([0, 4].contains(&run.code), "{run}");
    wait_for("its master to end", Duration::from_secs(5), || {
        (sshd.connections() == 0).then_some(())
    });
    let config = fleet.path("config");
    assert_eq!(masters(config.to_str().unwrap()), 0);

    // Ended by a signal while it is connected.
    let ended = sandbox.follow(&["--host", "prod-1", "services"]);
    wait_for("its connection", Duration::from_secs(20), || {
        (masters(config.to_str().unwrap()) == 1).then_some(())
    });
    let id = ended.id();
    assert_eq!(ended.end_with(rustix::process::Signal::TERM), 143);
    wait_for("its master to end", Duration::from_secs(5), || {
        (masters(config.to_str().unwrap()) == 0).then_some(())
    });
    let of = |id: u32| -> Vec<String> {
        let all = fs::read_dir("/tmp").unwrap();
        all.filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with(&format!("lastgood-ssh-{id}-")))
            .collect()
    };
    assert!(of(id).is_empty());

    // Killed while it is connected: the next start removes what it left.
    fs::write(sandbox.work().join("far.log"), "one\n").unwrap();
    let log = sandbox.work().join("far.log");
    sandbox.write(
        "lastgood.toml",
        format!("[hosts.prod-1]\n[services.\"prod-1:file/far\"]\nlog_files = [{log:?}]\n"),
    );
    let mut follow = sandbox.follow(&["logs", "prod-1:file/far", "--follow"]);
    follow.until("its line", Duration::from_secs(20), |line| {
        line.contains("one")
    });
    let follow_id = follow.id();
    let folders = || of(follow_id);
    assert_eq!(folders().len(), 1);
    use std::os::unix::fs::MetadataExt;
    let mode = fs::metadata(Path::new("/tmp").join(&folders()[0]))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(!sshd.running().is_empty(), "nothing runs there");
    follow.signal(rustix::process::Signal::KILL);
    std::thread::sleep(Duration::from_millis(300));
    sandbox.run(&["logs", "prod-1:file/far"]).exits(0);
    wait_for("no master", Duration::from_secs(5), || {
        (masters(config.to_str().unwrap()) == 0 && folders().is_empty()).then_some(())
    });
    wait_for("no process there", Duration::from_secs(60), || {
        sshd.running().is_empty().then_some(())
    });
}

/// The masters that were started with a configuration.
fn masters(config: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| {
            let line = String::from_utf8_lossy(line);
            line.starts_with("ssh") && line.contains(config)
        })
        .count()
}

#[test]
fn hostile_names_run_nothing() {
    let sandbox = Sandbox::new("ssh-hostile");
    let mark = sandbox.path("mark");
    let touch = format!("touch {}", mark.display());
    let forms = [
        "-oProxyCommand={}",
        "-o ProxyCommand={}",
        "$({})",
        "`{}`",
        ";{}",
        "|{}",
        "&&{}",
        "\n{}",
        "a;{}",
        "a b",
        "a\n{}",
        "a`{}`",
        "a$({})",
        "'{}'",
        "\"{}\"",
        "{}@h",
        "h:{}",
        "u@-o{}",
        "u@$({})",
        "-F/dev/null",
        "--",
        "-",
        "[-o{}]",
        "[::1;{}]",
        "u@[::1]{}",
        "u@h:22;{}",
        "u@h -o{}",
        "%h",
        "~",
        "*",
        "a\t{}",
        "\u{202e}a",
        "é",
        "a\u{0}b",
        "ssh://-o{}",
        "u@@h",
        "@",
        "u@",
        ":22",
        "h:99999",
        "h:-1",
    ];
    let mut tried = 0;
    for form in forms {
        for payload in [touch.as_str(), "id -u", "sync&sync"] {
            let name = form.replace("{}", payload);
            if name.contains('\0') {
                continue;
            }
            let run = sandbox.run(&["--host", &name, "services"]);
            assert_eq!(run.code, 2, "{name:?}: {run}");
            tried += 1;
        }
    }
    assert!(tried >= 120, "{tried}");
    assert!(!mark.exists());
}

#[test]
fn a_machine_can_be_read_only_or_protected_and_is_probed_from_itself() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-guarded");
    let mut project = Project::of_one(&sandbox, "ssh-guarded");
    project.image(WRITES);
    project.up();
    let _fixed = fleet.start("fixed", 18, &[]);
    let _guarded = fleet.start("guarded", 19, &[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nup");
        }
    });
    let service = project.service("backend");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[hosts.fixed]\nread_only = true\n[hosts.guarded]\nprotected = true\n\
             [services.\"guarded:{service}\"]\nprobe = \"http://localhost:{port}/health\"\n\
             [services.\"fixed:{service}\"]\nprobe = \"http://localhost:1/health\"\n"
        ),
    );
    let (fixed, guarded) = (format!("fixed:{service}"), format!("guarded:{service}"));
    sandbox
        .run(&["restart", &fixed, "--yes"])
        .exits(5)
        .says(&["fixed is read-only"]);
    sandbox
        .run(&["restart", &guarded, "--yes"])
        .exits(5)
        .says(&["--confirm backend"]);
    let done = ["restart", &guarded, "--yes", "--confirm", "backend"];
    assert_eq!(sandbox.json(0, "outcome", &done)["outcome"], "verified");
    let health = sandbox.json(0, "health", &["health", &guarded]);
    assert!(health.to_string().contains("200 OK"), "{health:#}");
    let health = sandbox.json(1, "health", &["health", &fixed]);
    assert!(health.to_string().contains("refused"), "{health:#}");
    sandbox.run(&["signals", &guarded]).exits(0);
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &fixed]);
    assert!(
        created["problems"].to_string().contains("not pinned"),
        "{created:#}"
    );
}

#[test]
fn the_console_shows_other_machines_and_waits_for_none() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-tui");
    let mut project = Project::of_one(&sandbox, "ssh-tui");
    project.image(WRITES);
    project.up();
    let _sshd = fleet.start("prod-1", 21, &[]);
    // It takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    sandbox.write(
        "lastgood.toml",
        format!("[hosts.prod-1]\n[hosts.silent]\nssh = \"root@127.0.0.1:{port}\"\n"),
    );
    // However many services other tests run on this machine: the pane is as tall as they need.
    let mut console = Terminal::start(&sandbox, &["tui"], (160, 250));
    let begun = Instant::now();
    console.wait_for("prod-1:");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    console.wait_for("silent");
    // Small, too: what cannot be read stands above the list.
    console.resize((100, 24));
    console.wait_for("Docker on silent");
    console.keys("q");
    assert_eq!(console.exit_code(), 0);
    console.is_left_sane();
}
