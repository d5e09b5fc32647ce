//! Backups of files, and what holds for backups of every kind: what stays, full disks, encryption, copies, a second
//! person, kills at the borders of a restore.

use crate::backup::{
    RESTORE, RUN, VERIFY, configure, data_file, files, folder, listed, sandbox, with_own_programs,
};
use crate::compose_story::list;
use crate::harness::{Sandbox, missing};
use crate::policy::another_user_approves;
use crate::resume::run_until;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

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
            .map(|n| ((n * 7919) >> 3) as u8)
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
                // Its end was written before it died, or it had not begun.
                (1, _) => assert!(now == old || now == b"two\n", "{point}: {resumed}"),
                (4, true) => assert_eq!(now, b"two\n", "{point}: {resumed}"),
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
fn what_could_not_be_looked_at_stays_and_lets_no_other_go() {
    let sandbox = data("backup-unread", "keep = { last = 1 }\n");
    let run = || -> String {
        sandbox.run(&RUN).exits(0);
        let newest = &listed(&sandbox, "main")[0];
        newest["id"].as_str().unwrap().to_owned()
    };
    let ids = || -> Vec<String> {
        let all = listed(&sandbox, "main");
        let ids = all.iter().map(|one| one["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    let at = folder(&sandbox, "main");
    // Of a version that is not here yet.
    let newer = run();
    let description = at.join(format!("{newer}.json"));
    let own = fs::read_to_string(&description).unwrap();
    let theirs = own.replace("lastgood.backup/1", "lastgood.backup/9");
    fs::write(&description, theirs).unwrap();
    // Its data cannot be read for a while. A test of it does not make that a damage.
    let away = run();
    let file = data_file(&sandbox, "main");
    let aside = sandbox.path("aside");
    fs::rename(&file, &aside).unwrap();
    symlink(&file, &file).unwrap();
    let verified = sandbox.run(&VERIFY);
    assert_ne!(verified.code, 0, "{verified}");
    let plan = sandbox.json(0, "plan", &["backup", "run", "main", "--dry-run"]);
    assert!(!plan["steps"].to_string().contains("remove "), "{plan:#}");
    for (id, why) in [(&newer, "lastgood.backup/9"), (&away, "cannot read ")] {
        let stays = format!("{id} stays: whether it is good is not known: ");
        let notes = list(&plan["notes"]).iter();
        let own: Vec<&str> = notes
            .filter_map(|note| note.as_str().unwrap().strip_prefix(&stays))
            .collect();
        assert!(own.len() == 1 && own[0].contains(why), "{plan:#}");
    }
    let last = run();
    assert_eq!(ids(), [&last, &away, &newer].map(String::clone));
    // Both can be looked at again: they are as they were, and old.
    fs::rename(&aside, &file).unwrap();
    fs::write(&description, own).unwrap();
    assert!(listed(&sandbox, "main").iter().all(|one| one["ok"] == true));
    let last = run();
    assert_eq!(ids(), [last]);
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
    let _unmount = Unmount(at);
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
    another_user_approves(&sandbox, hash).exits(0);
    let outcome = sandbox.json(0, "outcome", &RESTORE);
    assert_eq!(outcome["plan_hash"], hash, "the plan that was approved");
    assert_eq!(fs::read_to_string(&at).unwrap(), "one\n");
    sandbox.run(&RESTORE).exits(5).says(&["second person"]);
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
    let watched = sandbox.run(&["watch", "--once"]).exits(1);
    assert!(watched.stdout.contains("no whole backup main"), "{watched}");
    sandbox.run(&RUN).exits(0);
    // Over is what was fine in two looks.
    sandbox.run(&["watch", "--once"]);
    let watched = sandbox.run(&["watch", "--once"]);
    assert_ne!(watched.code, 1, "{watched}");
    assert_eq!(check("backup")["grade"], "ok");
    assert_eq!(check("restore-test")["grade"], "warning");
    sandbox.run(&VERIFY).exits(0);
    assert_eq!(check("restore-test")["grade"], "ok");
    // A new file of today does not make an old backup a good one.
    let path = data_file(&sandbox, "main");
    fs::write(&path, "damaged").unwrap();
    let found = check("backup");
    assert_eq!(found["grade"], "critical", "{found:#}");
    // Backups that cannot be looked at are neither late nor in time.
    let folder = path.parent().unwrap();
    fs::remove_dir_all(folder).unwrap();
    fs::write(folder, "no folder").unwrap();
    let watched = sandbox.run(&["watch", "--once", "--format", "json"]);
    assert_ne!(watched.code, 0, "{watched}");
    let looked = &watched.json_lines("watch")[..];
    let missing = looked.last().unwrap()["missing"].to_string();
    assert!(missing.contains("main could not be looked at"), "{missing}");
}
