//! Data backups on a real PostgreSQL, real redis servers and real files: what was backed up comes back to the row, and
//! what is no backup is never told as one.

use crate::compose_story::list;
use crate::harness::{PASSWORD, Postgres, Sandbox, missing, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const LONG: Duration = Duration::from_secs(60);
const SHOP: &str = "CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);
    INSERT INTO users (name) SELECT 'user ' || g || E'\\nsecond line' FROM generate_series(1, 3000) g;
    CREATE TABLE \"Odd (one)\" (x int REFERENCES users);
    INSERT INTO \"Odd (one)\" VALUES (1), (2);
    CREATE VIEW names AS SELECT name FROM users;
    ALTER DATABASE shop SET work_mem = '9MB';
    REVOKE CONNECT ON DATABASE shop FROM PUBLIC";

pub(crate) fn sandbox(name: &str) -> Sandbox {
    Sandbox::new(name)
        .with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
        .with("DATA_PASSWORD", PASSWORD)
}

pub(crate) fn configure(sandbox: &Sandbox, text: &str) {
    fs::write(sandbox.path("config/lastgood/config.toml"), text).unwrap();
}

/// The backups of a name, the newest first.
pub(crate) fn listed(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let document = sandbox.json(0, "backups", &["backup", "list", name]);
    list(&document["backups"]).clone()
}

pub(crate) fn folder(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.state().join("backups").join(name)
}

/// The names of everything in the folder of a backup.
pub(crate) fn files(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder(sandbox, name)) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The only data file of the newest backup.
pub(crate) fn data_file(sandbox: &Sandbox, name: &str) -> PathBuf {
    let newest = &listed(sandbox, name)[0];
    folder(sandbox, name).join(newest["files"][0].as_str().unwrap())
}

/// A program of that name in front of the real one.
pub(crate) fn wrap(sandbox: &Sandbox, program: &str, script: &str) {
    let path = sandbox.path("bin").join(program);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A sandbox whose programs are looked for in its own folder `bin` first.
pub(crate) fn with_own_programs(sandbox: Sandbox) -> Sandbox {
    let path = format!(
        "{}:{}",
        sandbox.path("bin").display(),
        std::env::var("PATH").unwrap()
    );
    sandbox.with("PATH", &path)
}

fn postgres_section(port: u16, more: &str) -> String {
    format!(
        "[backups.main]\nkind = \"postgres\"\ndatabase = \"shop\"\naddress = \"127.0.0.1:{port}\"\nuser = \"postgres\"\npassword_env = \"DATA_PASSWORD\"\nrpo = \"6h\"\n{more}"
    )
}

/// A server with a shop, and the sandbox that backs it up.
pub(crate) fn shop(name: &str, more: &str) -> (Postgres, Sandbox) {
    let postgres = Postgres::start(name);
    postgres.sql("postgres", "CREATE DATABASE shop");
    postgres.sql("shop", SHOP);
    let sandbox = with_own_programs(sandbox(name));
    configure(&sandbox, &postgres_section(postgres.port, more));
    (postgres, sandbox)
}

pub(crate) const RUN: [&str; 3] = ["backup", "run", "main"];
pub(crate) const VERIFY: [&str; 3] = ["backup", "verify", "main"];
pub(crate) const RESTORE: [&str; 6] = ["backup", "restore", "main", "--yes", "--confirm", "main"];

#[test]
fn a_database_is_backed_up_proved_and_restored_to_the_row() {
    if missing(&["postgres"]) {
        return;
    }
    let (postgres, sandbox) = shop("backup-pg", "");
    let seen = sandbox.path("seen");
    wrap(
        &sandbox,
        "pg_dump",
        &format!(
            "tr '\\0' ' ' < /proc/$$/cmdline >> {0}; echo >> {0}; exec /usr/bin/pg_dump \"$@\"",
            seen.display()
        ),
    );
    let plan = sandbox.json(0, "plan", &["backup", "run", "main", "--dry-run"]);
    assert_eq!(plan["risk"], "read_only", "{plan:#}");
    assert!(files(&sandbox, "main").is_empty());
    let outcome = sandbox.json(0, "outcome", &RUN);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let all = listed(&sandbox, "main");
    assert_eq!(all.len(), 1);
    let made = &all[0];
    assert_eq!(made["name"], "main");
    assert_eq!(made["ok"], true, "{made:#}");
    assert_eq!(made["restore_test"], Value::Null, "{made:#}");
    assert_eq!(made["counts"]["public.users"], 3000, "{made:#}");
    assert_eq!(made["counts"]["public.\"Odd (one)\""], 2, "{made:#}");
    // Neither an argument nor a file holds the password.
    let arguments = fs::read_to_string(&seen).unwrap();
    assert!(arguments.contains("-Fc"), "{arguments}");
    assert!(!arguments.contains("hunter-2"), "{arguments}");
    let found = Command::new("grep")
        .args(["-r", "-l", "hunter-2"])
        .arg(sandbox.state())
        .output()
        .unwrap();
    assert!(found.stdout.is_empty(), "{found:?}");
    // It can be read without lastgood.
    let path = data_file(&sandbox, "main");
    let file = path.display();
    let toc = Command::new("sh")
        .args(["-c", &format!("zstd -dc {file} | pg_restore -l")])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&toc.stdout).contains("TABLE DATA public users"));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let outcome = sandbox.json(0, "outcome", &VERIFY);
    let last = list(&outcome["steps"]).last().unwrap();
    assert!(
        last["detail"]
            .as_str()
            .unwrap()
            .contains("2 tables, 3002 rows"),
        "{outcome:#}"
    );
    assert_eq!(
        postgres.databases(),
        ["shop"],
        "the scratch database is gone"
    );
    assert_eq!(listed(&sandbox, "main")[0]["restore_test"]["ok"], true);

    // A bad release: rows are gone, and a table refers to what the backup knows.
    postgres.sql(
        "shop",
        "DELETE FROM \"Odd (one)\"; DELETE FROM users WHERE id > 5; CREATE TABLE later (id int REFERENCES users)",
    );
    let refused = sandbox.run(&["backup", "restore", "main"]).exits(5);
    refused.says(&["--confirm main"]);
    sandbox
        .run(&["backup", "restore", "main", "--yes"])
        .exits(5);
    sandbox
        .run(&[&["--read-only"], &RESTORE[..]].concat())
        .exits(5)
        .says(&["read-only"]);
    assert_eq!(postgres.rows("users"), 5);
    let plan = sandbox.json(0, "plan", &["backup", "restore", "main", "--dry-run"]);
    assert_eq!(plan["risk"], "data_losing", "{plan:#}");
    assert_eq!(plan["services"][0], "backup/main", "{plan:#}");
    let outcome = sandbox.json(0, "outcome", &RESTORE);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(postgres.rows("users"), 3000);
    assert_eq!(postgres.rows("names"), 3000);
    assert!(postgres.try_sql("shop", "SELECT * FROM later").is_err());
    // What belongs to the database and not to its dump is as it was.
    assert_eq!(postgres.sql("shop", "SHOW work_mem"), "9MB");
    let acl = "SELECT has_database_privilege('public', 'shop', 'CONNECT')";
    assert_eq!(postgres.sql("postgres", acl), "f");
    // What was there can be had back.
    let databases = postgres.databases();
    assert_eq!(databases.len(), 2, "{databases:?}");
    assert!(databases[1].starts_with("shop_before_"), "{databases:?}");
    assert_eq!(
        postgres.sql(&databases[1], "SELECT count(*) FROM users"),
        "5"
    );
    sandbox.run(&["audit", "verify"]).exits(0);
}

#[test]
fn a_session_that_holds_the_database_does_not_stop_a_restore() {
    if missing(&["postgres"]) {
        return;
    }
    let (postgres, sandbox) = shop("backup-pg-busy", "");
    sandbox.run(&RUN).exits(0);
    let mut client = Command::new("psql")
        .args([
            "-X",
            "-c",
            "BEGIN; UPDATE users SET name = 'x'; SELECT pg_sleep(100)",
        ])
        .env("PGPASSWORD", PASSWORD)
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &postgres.port.to_string(),
            "-U",
            "postgres",
            "shop",
        ])
        .spawn()
        .unwrap();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
    wait_for("the client", LONG, || {
        (postgres.sql("postgres", busy) == "1").then_some(())
    });
    sandbox.run(&RESTORE).exits(0);
    assert!(!client.wait().unwrap().success());
    assert_eq!(postgres.rows("users"), 3000);
}

#[test]
fn a_damaged_backup_is_never_ok_and_never_restored() {
    if missing(&["postgres"]) {
        return;
    }
    let (postgres, sandbox) = shop("backup-damage", "");
    sandbox.run(&RUN).exits(0);
    let path = data_file(&sandbox, "main");
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], &[]] {
        fs::write(&path, damaged).unwrap();
        let all = listed(&sandbox, "main");
        assert_eq!(all[0]["ok"], false, "{:#}", all[0]);
        sandbox.run(&["backup", "list"]).exits(0);
        sandbox.run(&VERIFY).exits(1);
        sandbox.run(&RESTORE).exits(1).says(&["no good backup"]);
        let id = all[0]["id"].as_str().unwrap();
        let words = [&RESTORE[..], &["--at", id]].concat();
        sandbox.run(&words).exits(1);
    }
    // Whole files that hold less than was counted: what a checksum does not see.
    fs::write(&path, &whole).unwrap();
    sandbox.run(&VERIFY).exits(0);
    let description = path.with_file_name(format!(
        "{}.json",
        listed(&sandbox, "main")[0]["id"].as_str().unwrap()
    ));
    let text = fs::read_to_string(&description).unwrap();
    fs::write(
        &description,
        text.replace("\"public.users\": 3000", "\"public.users\": 3001"),
    )
    .unwrap();
    let run = sandbox.run(&VERIFY).exits(1);
    assert!(run.stdout.contains("3000 rows came back of 3001"), "{run}");
    let all = listed(&sandbox, "main");
    assert_eq!(all[0]["ok"], false, "{:#}", all[0]);
    assert_eq!(all[0]["restore_test"]["ok"], false, "{:#}", all[0]);
    sandbox.run(&RESTORE).exits(1);
    assert_eq!(postgres.databases(), ["shop"]);
    assert_eq!(postgres.rows("users"), 3000);
}

#[test]
fn a_dump_that_fails_half_way_leaves_nothing() {
    if missing(&["postgres"]) {
        return;
    }
    let (_postgres, sandbox) = shop("backup-half", "");
    sandbox.run(&RUN).exits(0);
    let before = files(&sandbox, "main");
    for (script, said) in [
        // Dies with its last words, having written half of it.
        (
            "/usr/bin/pg_dump \"$@\" | head -c 20000; echo 'the disk of the server died' >&2; exit 1",
            "the disk of the server died",
        ),
        // Half of it, and says that all is well.
        (
            "/usr/bin/pg_dump \"$@\" | head -c 20000; exit 0",
            "cannot read what pg_dump wrote",
        ),
        ("exit 0", "cannot read what pg_dump wrote"),
        ("kill -9 $$", "signal 9"),
    ] {
        wrap(&sandbox, "pg_dump", script);
        let outcome = sandbox.json(4, "outcome", &RUN);
        assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
        assert!(outcome.to_string().contains(said), "{outcome:#}");
        assert_eq!(files(&sandbox, "main"), before, "{script}");
    }
    assert_eq!(listed(&sandbox, "main").len(), 1);
    fs::remove_file(sandbox.path("bin/pg_dump")).unwrap();
    // A password that is wrong, a database that is not there.
    let config = sandbox.path("config/lastgood/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("DATA_PASSWORD", "HOME")).unwrap();
    let run = sandbox.run(&RUN).exits(4);
    assert!(
        run.stdout.contains("password authentication failed"),
        "{run}"
    );
    fs::write(&config, text.replace("DATA_PASSWORD", "NOT_SET")).unwrap();
    let run = sandbox.run(&RUN).exits(4);
    assert!(run.stdout.contains("NOT_SET"), "{run}");
    assert_eq!(files(&sandbox, "main"), before);
}

#[test]
fn a_run_that_is_killed_leaves_no_backup_and_no_scratch_database() {
    if missing(&["postgres"]) {
        return;
    }
    let (postgres, sandbox) = shop("backup-killed", "");
    let begun = sandbox.path("begun");
    let slow = |program: &str| {
        let script = format!(
            "case \"$*\" in *data-only*) exec /usr/bin/{program} \"$@\";; esac\n/usr/bin/{program} \"$@\" || exit; touch {}; sleep 100",
            begun.display()
        );
        wrap(&sandbox, program, &script);
    };
    let kill = |words: &[&str]| {
        let mut running = sandbox.command(words).spawn().unwrap();
        wait_for("the program", LONG, || begun.exists().then_some(()));
        running.kill().unwrap();
        running.wait().unwrap();
        fs::remove_file(&begun).unwrap();
    };
    slow("pg_dump");
    kill(&RUN);
    let left = files(&sandbox, "main");
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].ends_with(".partial"), "{left:?}");
    assert!(listed(&sandbox, "main").is_empty());
    sandbox.run(&VERIFY).exits(1);
    fs::remove_file(sandbox.path("bin/pg_dump")).unwrap();
    sandbox.run(&RUN).exits(0);
    assert_eq!(files(&sandbox, "main").len(), 2);

    slow("pg_restore");
    kill(&VERIFY);
    assert_eq!(postgres.databases().len(), 2, "the killed one had no time");
    fs::remove_file(sandbox.path("bin/pg_restore")).unwrap();
    sandbox.run(&VERIFY).exits(0);
    assert_eq!(postgres.databases(), ["shop"]);

    // A restore that is killed while it is staged has changed nothing; it is taken back, or begun anew.
    postgres.sql("shop", "DELETE FROM \"Odd (one)\"");
    slow("pg_restore");
    kill(&RESTORE);
    fs::remove_file(sandbox.path("bin/pg_restore")).unwrap();
    assert_eq!(postgres.rows("\"Odd (one)\""), 0);
    sandbox
        .run(&["resume", "--undo", "--yes", "--confirm", "main"])
        .exits(4);
    assert_eq!(postgres.databases(), ["shop"]);
    sandbox.run(&RESTORE).exits(0);
    assert_eq!(postgres.rows("\"Odd (one)\""), 2);
}

/// Whether a program runs that was told this port of a server.
fn runs(program: &str, port: u16) -> bool {
    let port = format!("PGPORT={port}\0");
    let is_it = |folder: PathBuf| {
        let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
        let (line, env) = (read("cmdline"), read("environ"));
        String::from_utf8_lossy(&line).contains(program)
            && String::from_utf8_lossy(&env).contains(&port)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.map(|entry| entry.path()).any(is_it)
}

#[test]
fn a_signal_ends_a_long_dump_at_once_and_leaves_nothing_of_it() {
    if missing(&["postgres"]) {
        return;
    }
    let (postgres, sandbox) = shop("backup-signal", "");
    // A dump waits for a table that somebody has locked, for as long as that takes.
    let mut locked = postgres.lock("shop", "users");
    let dumps = || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE%public.users%' AND wait_event_type = 'Lock'";
        postgres.sql("postgres", sql)
    };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let run = sandbox.follow(&RUN);
        wait_for("the dump", LONG, || (dumps() == "1").then_some(()));
        let since = Instant::now();
        assert_eq!(run.end_with(signal), code);
        assert!(since.elapsed() < Duration::from_secs(10));
        assert_eq!(listed(&sandbox, "main"), Vec::<Value>::new());
        assert_eq!(files(&sandbox, "main"), Vec::<String>::new());
        wait_for("the end of pg_dump", LONG, || {
            (!runs("pg_dump", postgres.port)).then_some(())
        });
        // A server that waits for a lock does not see that nobody asks any more.
        postgres.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lastgood'",
        );
        wait_for("its server", LONG, || (dumps() == "0").then_some(()));
    }
    let records = sandbox.json(0, "", &["audit", "list"]);
    let outcomes: Vec<&Value> = list(&records["records"])
        .iter()
        .filter(|record| record["phase"] == "outcome")
        .map(|record| &record["outcome"])
        .collect();
    assert_eq!(outcomes, ["failed_unchanged", "failed_unchanged"]);
    sandbox.run(&["resume"]).exits(1);
    postgres.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()",
    );
    locked.wait().unwrap();
    sandbox.run(&RUN).exits(0);
    assert_eq!(listed(&sandbox, "main").len(), 1);
}
