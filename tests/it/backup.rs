//! Data backups on a real PostgreSQL, real redis servers and real files: what was backed up comes back to the row, and
//! what is no backup is never told as one.

use crate::compose_story::list;
use crate::harness::{Fleet, PASSWORD, Postgres, Project, Redis, Sandbox, missing, wait_for};
use crate::resume::run_until;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const SHOP: &str = "CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);
    INSERT INTO users (name) SELECT 'user ' || g || E'\\nsecond line' FROM generate_series(1, 3000) g;
    CREATE TABLE \"Odd (one)\" (x int REFERENCES users);
    INSERT INTO \"Odd (one)\" VALUES (1), (2);
    CREATE VIEW names AS SELECT name FROM users;
    ALTER DATABASE shop SET work_mem = '9MB';
    REVOKE CONNECT ON DATABASE shop FROM PUBLIC";

fn sandbox(name: &str) -> Sandbox {
    Sandbox::new(name)
        .with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
        .with("DATA_PASSWORD", PASSWORD)
}

fn configure(sandbox: &Sandbox, text: &str) {
    fs::write(sandbox.path("config/lastgood/config.toml"), text).unwrap();
}

/// The backups of a name, the newest first.
fn listed(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let document = sandbox.json(0, "backups", &["backup", "list", name]);
    list(&document["backups"]).clone()
}

fn folder(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.state().join("backups").join(name)
}

/// The names of everything in the folder of a backup.
fn files(sandbox: &Sandbox, name: &str) -> Vec<String> {
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
fn data_file(sandbox: &Sandbox, name: &str) -> PathBuf {
    let newest = &listed(sandbox, name)[0];
    folder(sandbox, name).join(newest["files"][0].as_str().unwrap())
}

/// A program of that name in front of the real one.
fn wrap(sandbox: &Sandbox, program: &str, script: &str) {
    let path = sandbox.path("bin").join(program);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A sandbox whose programs are looked for in its own folder `bin` first.
fn with_own_programs(sandbox: Sandbox) -> Sandbox {
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
fn shop(name: &str, more: &str) -> (Postgres, Sandbox) {
    let postgres = Postgres::start(name);
    postgres.sql("postgres", "CREATE DATABASE shop");
    postgres.sql("shop", SHOP);
    let sandbox = with_own_programs(sandbox(name));
    configure(&sandbox, &postgres_section(postgres.port, more));
    (postgres, sandbox)
}

const RUN: [&str; 3] = ["backup", "run", "main"];
const VERIFY: [&str; 3] = ["backup", "verify", "main"];
const RESTORE: [&str; 6] = ["backup", "restore", "main", "--yes", "--confirm", "main"];

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
        .args(["-X", "-c", "BEGIN; DELETE FROM users; SELECT pg_sleep(100)"])
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

fn files_section(sandbox: &Sandbox, more: &str) -> String {
    format!(
        "[backups.main]\nkind = \"files\"\nfiles = [\"{}\"]\n{more}",
        sandbox.work().join("data").display()
    )
}

/// A folder with files of every kind, and the sandbox that backs it up.
fn data(name: &str, more: &str) -> Sandbox {
    let sandbox = with_own_programs(sandbox(name));
    sandbox.write("data/a.txt", "one\n");
    sandbox.write(
        "data/deep/er/b.bin",
        (0..200_000_u32)
            .map(|n| (n * 7919 >> 3) as u8)
            .collect::<Vec<_>>(),
    );
    sandbox.write("data/odd \\name\nwith a break", "odd\n");
    sandbox.write("data/-dash", "dash\n");
    fs::create_dir(sandbox.work().join("data/empty")).unwrap();
    symlink("a.txt", sandbox.work().join("data/link")).unwrap();
    fs::set_permissions(
        sandbox.work().join("data/a.txt"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    configure(&sandbox, &files_section(&sandbox, more));
    sandbox
}

/// Every file below a folder, with its content or where it leads.
fn tree(at: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            all.push((path, target.to_str().unwrap().into()));
        } else if path.is_dir() {
            all.extend(tree(&path));
        } else {
            let content = fs::read(&path).unwrap();
            all.push((path, content));
        }
    }
    all.sort();
    all
}

#[test]
fn files_come_back_as_they_were_and_what_was_there_is_kept() {
    let sandbox = data("backup-files", "");
    let at = sandbox.work().join("data");
    let before = tree(&at);
    sandbox.run(&RUN).exits(0);
    assert_eq!(listed(&sandbox, "main")[0]["counts"]["files"], 4);
    sandbox.run(&VERIFY).exits(0);
    assert_eq!(
        files(&sandbox, "main").len(),
        2,
        "nothing is left of the test"
    );
    fs::write(at.join("a.txt"), "two\n").unwrap();
    fs::remove_dir_all(at.join("deep")).unwrap();
    let changed = tree(&at);
    sandbox.run(&RESTORE).exits(0);
    assert_eq!(tree(&at), before);
    let mode = fs::metadata(at.join("a.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let kept: Vec<PathBuf> = fs::read_dir(sandbox.work())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| *path != at)
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let kept_files: Vec<Vec<u8>> = tree(&kept[0])
        .into_iter()
        .map(|(_, content)| content)
        .collect();
    let changed_files: Vec<Vec<u8>> = changed.into_iter().map(|(_, content)| content).collect();
    assert_eq!(kept_files, changed_files);
    // Where it is gone altogether it comes back too.
    fs::remove_dir_all(&at).unwrap();
    sandbox.run(&RESTORE).exits(0);
    assert_eq!(tree(&at), before);
}

#[test]
fn a_restore_killed_at_any_border_is_ended_or_taken_back() {
    if missing(&["strace"]) {
        return;
    }
    let is_every = std::env::var("LASTGOOD_TEST_EVERY_POINT").is_ok_and(|value| value == "1");
    let points: Vec<usize> = match is_every {
        true => (3..=13).collect(),
        false => vec![5, 7, 8, 9],
    };
    for point in points {
        for is_undo in [false, true] {
            let sandbox = data(&format!("backup-border-{point}-{is_undo}"), "");
            let at = sandbox.work().join("data");
            sandbox.run(&RUN).exits(0);
            let old = fs::read(at.join("a.txt")).unwrap();
            fs::write(at.join("a.txt"), "two\n").unwrap();
            let killed = run_until(&sandbox, &RESTORE, "KILL", point);
            if killed.code == 0 {
                assert_eq!(fs::read(at.join("a.txt")).unwrap(), old);
                continue;
            }
            let mut words = vec!["resume", "--yes", "--confirm", "main"];
            if is_undo {
                words.push("--undo");
            }
            let resumed = sandbox.run(&words);
            let now = fs::read(at.join("a.txt")).unwrap();
            match (resumed.code, is_undo) {
                (0, false) => assert_eq!(now, old, "{point}: {resumed}"),
                // Nothing had begun, or it was taken back.
                (1 | 4, _) => assert_eq!(now, b"two\n", "{point}: {resumed}"),
                _ => panic!("{point}: {resumed}"),
            }
            let run = sandbox.run(&["resume"]).exits(1);
            run.says(&["every run has ended"]);
            sandbox.run(&RESTORE).exits(0);
            assert_eq!(fs::read(at.join("a.txt")).unwrap(), old);
        }
    }
}

#[test]
fn old_backups_go_and_the_last_good_one_stays() {
    let sandbox = data("backup-keep", "keep = { last = 2 }\n");
    for n in 1..=4 {
        sandbox.write("data/a.txt", format!("{n}\n"));
        sandbox.run(&RUN).exits(0);
        // Their names are of the second.
        assert_eq!(listed(&sandbox, "main").len(), n.min(2));
    }
    assert_eq!(
        files(&sandbox, "main").len(),
        4,
        "{:?}",
        files(&sandbox, "main")
    );
    // The only good one is neither of the two newest.
    sandbox.run(&VERIFY).exits(0);
    let proved = listed(&sandbox, "main")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for _ in 0..2 {
        sandbox.run(&RUN).exits(0);
    }
    let all = listed(&sandbox, "main");
    assert_eq!(all.len(), 3, "the one that was proved stays: {all:#?}");
    assert_eq!(all[2]["id"], proved.as_str());
}

#[test]
fn a_full_disk_leaves_the_backups_that_there_are() {
    if missing(&["root"]) {
        return;
    }
    let sandbox = data("backup-full", "");
    let at = folder(&sandbox, "main");
    fs::create_dir_all(&at).unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=2m,mode=700 lastgood-test '{}'",
        at.display()
    );
    let mounted = Command::new("sh").args(["-c", &mount]).status().unwrap();
    assert!(mounted.success());
    struct Unmount(PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(at.clone());
    // More than there is room for, seen before anything is written.
    let noise: Vec<u8> = fs::read("/bin/sh").unwrap();
    let large: Vec<u8> = noise.iter().cycle().take(6 << 20).copied().collect();
    sandbox.write("data/large", &large);
    let run = sandbox.run(&RUN).exits(4);
    assert!(run.stdout.contains("no room for a backup"), "{run}");
    fs::remove_file(sandbox.work().join("data/large")).unwrap();
    sandbox.run(&RUN).exits(0);
    // The newest one said that little is needed: the disk is full half way.
    let mut random = vec![0; 3 << 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut random).unwrap();
    sandbox.write("data/random", &random);
    let outcome = sandbox.json(4, "outcome", &RUN);
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    assert!(outcome.to_string().contains("No space left"), "{outcome:#}");
    let all = listed(&sandbox, "main");
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0]["ok"], true, "{all:#?}");
    assert_eq!(files(&sandbox, "main").len(), 2);
    fs::remove_file(sandbox.work().join("data/random")).unwrap();
    sandbox.run(&VERIFY).exits(0);
}

#[test]
fn what_is_encrypted_is_read_by_its_key_only() {
    if missing(&["openssl"]) {
        return;
    }
    let key = |direction: &str, file: &str| {
        format!("openssl enc {direction} -aes-256-cbc -pbkdf2 -pass file:{file}")
    };
    let sandbox = data("backup-sealed", "");
    let path = sandbox.write("key", "a key\n").display().to_string();
    let other = sandbox
        .write("other", "another key\n")
        .display()
        .to_string();
    let set = |encrypt: &str, decrypt: &str| {
        let more = format!("encrypt = \"{encrypt}\"\ndecrypt = \"{decrypt}\"\n");
        configure(&sandbox, &files_section(&sandbox, &more));
    };
    set(&key("-e", &path), "");
    sandbox.run(&RUN).exits(0);
    let all = listed(&sandbox, "main");
    assert_eq!(all[0]["encrypted"], true, "{all:#?}");
    let sealed = fs::read(data_file(&sandbox, "main")).unwrap();
    assert!(sealed.starts_with(b"Salted__"));
    // Without the key nothing is proved, and nothing said against it.
    let run = sandbox.run(&VERIFY).exits(1);
    assert!(run.stdout.contains("does not say `decrypt`"), "{run}");
    assert_eq!(listed(&sandbox, "main")[0]["ok"], true);
    set(&key("-e", &path), &key("-d", &other));
    sandbox.run(&VERIFY).exits(1);
    set(&key("-e", &path), &key("-d", &path));
    sandbox.run(&VERIFY).exits(0);
    assert_eq!(listed(&sandbox, "main")[0]["ok"], true);
    let at = sandbox.work().join("data");
    let before = tree(&at);
    fs::remove_dir_all(&at).unwrap();
    sandbox.run(&RESTORE).exits(0);
    assert_eq!(tree(&at), before);
    // A program that fails, or dies half way: no backup.
    let count = files(&sandbox, "main").len();
    for broken in ["cat; exit 3", "head -c 100; exit 1", "exit 127"] {
        set(broken, "cat");
        let run = sandbox.run(&RUN).exits(4);
        assert!(run.stdout.contains("encrypting by"), "{run}");
        assert_eq!(files(&sandbox, "main").len(), count, "{broken}");
    }
}

#[test]
fn a_copy_elsewhere_is_looked_at_and_one_that_fails_is_told() {
    let sandbox = data("backup-copy", "");
    let off = sandbox.path("off");
    fs::create_dir(&off).unwrap();
    let off = off.display();
    let set = |copy: &str, check: &str| {
        let more = format!("copy = \"{copy}\"\ncopy_check = \"{check}\"\nkeep = {{ last = 1 }}\n");
        configure(&sandbox, &files_section(&sandbox, &more));
    };
    let check = format!("sha256sum < {off}/{{name}}");
    set(&format!("cp {{file}} {off}/"), &check);
    sandbox.run(&RUN).exits(0);
    let id = listed(&sandbox, "main")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(sandbox.path("off").join(format!("{id}.tar.zst")).is_file());
    assert!(sandbox.path("off").join(format!("{id}.json")).is_file());
    for (copy, said) in [
        ("cp {file} /nonexistent/off/".to_owned(), "/nonexistent/off"),
        // It says that all is well, and half of it is there.
        (
            format!("head -c 50 {{file}} > {off}/$(basename {{file}})"),
            "has the checksum",
        ),
    ] {
        set(&copy, &check);
        let outcome = sandbox.json(1, "outcome", &RUN);
        assert_eq!(outcome["outcome"], "applied_not_verified", "{outcome:#}");
        assert!(outcome.to_string().contains(said), "{outcome:#}");
        let all = listed(&sandbox, "main");
        assert_eq!(all[0]["ok"], true, "the one here is good: {all:#?}");
        assert!(
            all[0]["copy"].as_str().unwrap().starts_with("failed"),
            "{all:#?}"
        );
        // Nothing old goes while the new one has no copy.
        assert!(all.iter().any(|one| one["id"] == id.as_str()), "{all:#?}");
    }
}

#[test]
fn a_second_person_says_yes_to_a_restore() {
    if missing(&["root", "setpriv"]) {
        return;
    }
    let policy = "[policy]\nrules = [{ user = \"*\", two_person = [\"data_losing\"] }]\n";
    let sandbox = data("backup-second", policy);
    sandbox.run(&RUN).exits(0);
    sandbox.write("data/a.txt", "two\n");
    let plan = sandbox.json(0, "plan", &["backup", "restore", "main", "--dry-run"]);
    let hash = plan["hash"].as_str().unwrap();
    sandbox
        .run(&RESTORE)
        .exits(5)
        .says(&["second person", &hash[..12]]);
    sandbox.run(&["approve", hash]).exits(5).says(&["your own"]);
    let at = sandbox.work().join("data/a.txt");
    assert_eq!(fs::read_to_string(&at).unwrap(), "two\n");
}

fn redis_section(port: u16) -> String {
    format!(
        "[backups.main]\nkind = \"redis\"\naddress = \"127.0.0.1:{port}\"\npassword_env = \"DATA_PASSWORD\"\n"
    )
}

#[test]
fn a_redis_server_is_saved_proved_and_restored() {
    if missing(&["redis-server"]) {
        return;
    }
    let redis = Redis::start("backup-redis", &["--appendonly", "yes"]);
    let sandbox = with_own_programs(sandbox("backup-redis"));
    configure(&sandbox, &redis_section(redis.port));
    redis.ask(&["debug", "populate", "0"]);
    for n in 0..200 {
        redis.ask(&["set", &format!("key:{n}"), &format!("value {n}")]);
    }
    redis.ask(&["-n", "3", "rpush", "queue", "a", "b", "c"]);
    sandbox.run(&RUN).exits(0);
    let made = &listed(&sandbox, "main")[0];
    assert_eq!(
        made["counts"][format!("127.0.0.1:{}", redis.port)],
        201,
        "{made:#}"
    );
    sandbox.run(&VERIFY).exits(0);
    assert_eq!(listed(&sandbox, "main")[0]["restore_test"]["ok"], true);
    redis.ask(&["flushall"]);
    redis.ask(&["set", "written", "since"]);
    let outcome = sandbox.json(0, "outcome", &RESTORE);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(redis.ask(&["dbsize"]), "200");
    assert_eq!(redis.ask(&["get", "key:7"]), "value 7");
    assert_eq!(
        redis.ask(&["-n", "3", "lrange", "queue", "0", "-1"]),
        "a\nb\nc"
    );
    assert!(redis.ask(&["info", "replication"]).contains("role:master"));
    assert_eq!(redis.ask(&["exists", "written"]), "0");
    // Nothing is left of the servers in between.
    assert_eq!(fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
    // What was there was saved first, and only its name brings it back.
    let all = listed(&sandbox, "main");
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_eq!(all[0]["before_restore"], true, "{all:#?}");
    let id = all[0]["id"].as_str().unwrap();
    sandbox
        .run(&[&RESTORE[..], &["--at", id]].concat())
        .exits(0);
    assert_eq!(redis.ask(&["get", "written"]), "since");
    assert_eq!(redis.ask(&["dbsize"]), "1");

    // A snapshot that redis does not take, whatever its checksum here.
    wrap(&sandbox, "cat", "/bin/cat \"$@\" | head -c 40");
    let run = sandbox.run(&RUN);
    fs::remove_file(sandbox.path("bin/cat")).unwrap();
    assert_eq!(run.code, 0, "{run}");
    redis.ask(&["set", "more", "1"]);
    sandbox.run(&VERIFY).exits(1);
    assert_eq!(listed(&sandbox, "main")[0]["ok"], false);
    // A wrong password, a server that is away.
    configure(
        &sandbox,
        &redis_section(redis.port).replace("DATA_PASSWORD", "HOME"),
    );
    let run = sandbox.run(&RUN).exits(4);
    assert!(run.stdout.contains("AUTH"), "{run}");
    configure(&sandbox, &redis_section(1));
    let run = sandbox.run(&RUN).exits(4);
    assert!(run.stdout.contains("refused"), "{run}");
}

#[test]
fn every_master_of_a_cluster_is_saved() {
    if missing(&["redis-server"]) {
        return;
    }
    let options = ["--cluster-enabled", "yes", "--save", ""];
    let nodes: Vec<Redis> = (0..3)
        .map(|n| Redis::start(&format!("backup-cluster-{n}"), &options))
        .collect();
    let mut words = vec!["--cluster".to_owned(), "create".to_owned()];
    words.extend(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
    words.push("--cluster-yes".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = nodes[0].ask(&words);
    wait_for(&format!("the cluster: {said}"), LONG, || {
        let info = nodes[0].ask(&["cluster", "info"]);
        info.contains("cluster_state:ok").then_some(())
    });
    for n in 0..60 {
        nodes[0].ask(&["-c", "set", &format!("key:{n}"), "v"]);
    }
    let sandbox = sandbox("backup-cluster");
    configure(&sandbox, &redis_section(nodes[0].port));
    sandbox.run(&RUN).exits(0);
    let made = &listed(&sandbox, "main")[0];
    assert_eq!(list(&made["files"]).len(), 3, "{made:#}");
    let keys: u64 = made["counts"]
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(keys, 60, "{made:#}");
    let run = sandbox.run(&VERIFY).exits(0);
    assert!(run.stdout.contains("60 keys came back"), "{run}");
    sandbox.run(&RESTORE).exits(5).says(&["cluster"]);
    // A master that is down takes its keys along: that is no backup.
    drop(nodes.into_iter().next_back());
    sandbox.run(&RUN).exits(4);
    assert_eq!(listed(&sandbox, "main").len(), 1);
}

#[test]
fn freshness_and_proof_show_in_preflight() {
    let sandbox = data("backup-fresh", "rpo = \"6h\"\n");
    let check = |name: &str| {
        let run = sandbox.run(&["preflight", "--format", "json"]);
        let document = run.json("preflight");
        list(&document["checks"])
            .iter()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("{document:#}"))
            .clone()
    };
    assert_eq!(check("backup")["grade"], "critical");
    assert_eq!(check("restore-test")["grade"], "skipped");
    sandbox.run(&RUN).exits(0);
    assert_eq!(check("backup")["grade"], "ok");
    assert_eq!(check("restore-test")["grade"], "warning");
    sandbox.run(&VERIFY).exits(0);
    assert_eq!(check("restore-test")["grade"], "ok");
    // A new file of today does not make an old backup a good one.
    let path = data_file(&sandbox, "main");
    fs::write(&path, "damaged").unwrap();
    let found = check("backup");
    assert_eq!(found["grade"], "critical", "{found:#}");
}

const DB: &str = "services:
  db:
    image: {project}:latest
    network_mode: none
    stop_grace_period: 0s
    user: \"65534:65534\"
    environment: { POSTGRES_USER: shopkeeper }
    volumes: [\"/usr:/usr:ro\", \"/etc:/etc:ro\"]
    tmpfs: [\"/data:uid=65534,mode=700\", \"/run/postgresql:uid=65534\", \"/tmp\"]
    entrypoint: [\"/bin/sh\", \"-c\"]
    command: [\"d=$$(ls -d /usr/lib/postgresql/*/bin | tail -1); $$d/initdb -N -U shopkeeper -A trust -D /data/pg && exec $$d/postgres -c listen_addresses= -c fsync=off -k /run/postgresql -D /data/pg\"]
";

#[test]
fn a_database_in_a_container_is_backed_up_and_restored_there() {
    if missing(&["docker", "compose", "postgres"]) {
        return;
    }
    let sandbox = Sandbox::new("backup-db");
    let mut project = Project::new(&sandbox, "backup-db", DB);
    project.bare_image();
    project.up();
    let container = project.container("db");
    let sql = |database: &str, sql: &str| {
        let words = [
            "exec",
            &container,
            "psql",
            "-X",
            "-A",
            "-t",
            "-q",
            "-h",
            "/run/postgresql",
            "-U",
            "shopkeeper",
            "-d",
            database,
            "-c",
            sql,
        ];
        project.docker.run(&words)
    };
    wait_for("PostgreSQL in the container", LONG, || {
        (sql("postgres", "SELECT 1") == "1").then_some(())
    });
    sql("postgres", "CREATE DATABASE shop");
    sql(
        "shop",
        "CREATE TABLE users (id int, blob bytea); INSERT INTO users SELECT g, decode(repeat('00ff0a01', 500), 'hex') FROM generate_series(1, 2000) g",
    );
    configure(
        &sandbox,
        &format!(
            "[backups.main]\nkind = \"postgres\"\nservice = \"{}\"\ndatabase = \"shop\"\n",
            project.service("db")
        ),
    );
    let outcome = sandbox.json(0, "outcome", &RUN);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let made = &listed(&sandbox, "main")[0];
    assert_eq!(made["counts"]["public.users"], 2000, "{made:#}");
    assert_eq!(made["service"], project.service("db").as_str(), "{made:#}");
    sandbox.run(&VERIFY).exits(0);
    sql("shop", "DELETE FROM users");
    sandbox.run(&RESTORE).exits(0);
    assert_eq!(sql("shop", "SELECT count(*) FROM users"), "2000");
    assert_eq!(project.container("db"), container, "nobody touched it");
    // Not running, its data cannot be asked for.
    project.compose(&["stop", "-t", "0", "db"]);
    sandbox.run(&RUN).exits(4).says(&["does not run"]);
    assert_eq!(listed(&sandbox, "main").len(), 1);
}

#[test]
fn data_of_another_machine_comes_here() {
    if missing(&["postgres", "sshd"]) {
        return;
    }
    let (postgres, sandbox) = shop("backup-ssh", "");
    let (sandbox, mut fleet) = Fleet::new(sandbox);
    let _sshd = fleet.start("prod-1", 61, &[]);
    let seen = sandbox.path("seen");
    let run = [&["--host", "prod-1"], &RUN[..]].concat();
    let spy = Command::new("sh")
        .args([
            "-c",
            "while [ -e \"$0\" ]; do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -a -o 'hunter-2' ; sleep 0.01; done > \"$1\"",
        ])
        .arg(sandbox.write("spying", ""))
        .arg(&seen)
        .spawn();
    sandbox.run(&run).exits(0);
    sandbox
        .run(&[&["--host", "prod-1"], &VERIFY[..]].concat())
        .exits(0);
    postgres.sql("shop", "DELETE FROM \"Odd (one)\"");
    sandbox
        .run(&[&["--host", "prod-1"], &RESTORE[..]].concat())
        .exits(0);
    fs::remove_file(sandbox.work().join("spying")).unwrap();
    spy.unwrap().wait().unwrap();
    assert_eq!(postgres.rows("\"Odd (one)\""), 2);
    assert_eq!(
        fs::read_to_string(&seen).unwrap(),
        "",
        "no argument there holds the password"
    );
    let listed = sandbox.json(0, "", &["audit", "list"]);
    assert_eq!(list(&listed["records"])[0]["host"], "prod-1", "{listed:#}");
}
