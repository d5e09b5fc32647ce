#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

use super::*;
use crate::domain::log::{LogBlock, Stream};
use crate::store::archive::ArchiveError;

fn state() -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path().join("state"));
    (dir, state)
}

fn manifest() -> Manifest {
    Manifest {
        schema: MANIFEST_SCHEMA.into(),
        id: String::new(),
        created_at: Timestamp::now(),
        label: None,
        by: SafeText::from_text("anna"),
        services: Vec::new(),
        sums_sha256: String::new(),
        complete: true,
        problems: Vec::new(),
    }
}

fn noon() -> jiff::Zoned {
    "2025-12-27T14:50:00+03:00[+03:00]".parse().unwrap()
}

fn block(lines: &[&str]) -> LogBlock {
    let mut block = LogBlock::default();
    for (second, line) in lines.iter().enumerate() {
        let at = Timestamp::from_second(1_766_836_200 + second as i64).unwrap();
        block.push(Some(at), Stream::Stdout, line.as_bytes(), 0);
    }
    block
}

fn make(state: &StateDir, label: Option<&str>) -> Checkpoint {
    let staging = Staging::begin(state, label, &noon()).unwrap();
    staging.add(Path::new("health.json"), b"{}\n").unwrap();
    staging
        .add(
            &config_place(Path::new("shop/backend"), Path::new("/srv/a \\b\n/.env")),
            b"A=1\n",
        )
        .unwrap();
    let mut log = staging
        .add_log(Path::new("logs/shop/backend.log.zst"), true)
        .unwrap();
    log.write(&block(&["one", "two"])).unwrap();
    log.write(&block(&["three"])).unwrap();
    let totals = log.finish().unwrap();
    assert_eq!((totals.lines, totals.bytes), (3, 3 * 32 + 11));
    let (manifest, path) = staging.finish(manifest()).unwrap();
    Checkpoint {
        id: manifest.id.clone(),
        path,
        manifest: Ok(manifest),
    }
}

#[test]
fn a_checkpoint_can_be_read_without_lastgood() {
    let (_dir, state) = state();
    let checkpoint = make(&state, Some("pre 1.2"));
    assert_eq!(checkpoint.id, "20251227-145000-pre-1.2");
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&checkpoint.path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = fs::read(checkpoint.path.join("logs/shop/backend.log.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(log.as_slice()).unwrap()).unwrap();
    assert_eq!(
        text,
        "2025-12-27T11:50:00.000000000Z one\n2025-12-27T11:50:01.000000000Z two\n2025-12-27T11:50:00.000000000Z three\n"
    );
    let whole = Checked {
        files: 3,
        ..Checked::default()
    };
    assert_eq!(verify_files(&checkpoint), whole);
    assert_eq!(list(&state).unwrap(), [checkpoint]);
}

#[test]
fn ids_are_unique_and_labels_become_names() {
    let (_dir, state) = state();
    assert_eq!(make(&state, None).id, "20251227-145000");
    assert_eq!(make(&state, None).id, "20251227-145000-2");
    assert_eq!(make(&state, Some("../../etc")).id, "20251227-145000-etc");
    assert_eq!(make(&state, Some("перед")).id, "20251227-145000-3");
    let long = make(&state, Some(&"x".repeat(300))).id;
    assert!(long.len() < 80, "{long}");
}

#[test]
fn whatever_is_changed_is_found() {
    let (_dir, state) = state();
    type Tamper = fn(&Path);
    let cases: [(&str, Tamper); 6] = [
        ("health.json was changed", |p| {
            fs::write(p.join("health.json"), "{ }\n").unwrap();
        }),
        ("health.json is missing", |p| {
            fs::remove_file(p.join("health.json")).unwrap();
        }),
        ("SHA256SUMS was changed", |p| {
            fs::write(p.join("health.json"), "{ }\n").unwrap();
            let files = sums::files_below(p).unwrap();
            let files: Vec<_> = files
                .into_iter()
                .filter(|f| ![MANIFEST, SUMS].map(PathBuf::from).contains(f))
                .collect();
            fs::write(p.join(SUMS), sums::sums_of(p, &files).unwrap()).unwrap();
        }),
        ("extra was added later", |p| {
            fs::write(p.join("extra"), "").unwrap();
        }),
        ("SHA256SUMS: not a checksum: ../x", |p| {
            let mut text = fs::read_to_string(p.join(SUMS)).unwrap();
            text.push_str("../x\n");
            fs::write(p.join(SUMS), text).unwrap();
        }),
        ("SHA256SUMS is missing", |p| {
            fs::remove_file(p.join(SUMS)).unwrap();
        }),
    ];
    for (expected, tamper) in cases {
        let checkpoint = make(&state, None);
        tamper(&checkpoint.path);
        let checked = verify_files(&checkpoint);
        let problems = &checked.damage;
        assert!(
            problems.iter().any(|p| p.as_str().starts_with(expected)),
            "{expected}: {checked:?}"
        );
        assert!(checked.unread.is_empty(), "{checked:?}");
    }
}

#[test]
fn what_cannot_be_read_is_not_changed() {
    let (_dir, state) = state();
    for file in ["health.json", SUMS] {
        let checkpoint = make(&state, None);
        let path = checkpoint.path.join(file);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let checked = verify_files(&checkpoint);
        assert!(checked.damage.is_empty(), "{checked:?}");
        let why = checked.problems()[0].to_string();
        assert!(why.starts_with(&format!("cannot read {file}")), "{why}");
    }
}

#[test]
fn one_that_was_not_finished_leaves_nothing() {
    let (_dir, state) = state();
    let staging = Staging::begin(&state, None, &noon()).unwrap();
    staging.add(Path::new("health.json"), b"{}").unwrap();
    let listed = list(&state).unwrap();
    assert_eq!(listed.len(), 1);
    assert!(
        listed[0]
            .manifest
            .as_ref()
            .unwrap_err()
            .why()
            .as_str()
            .starts_with("partial")
    );
    drop(staging);
    assert!(list(&state).unwrap().is_empty());
}

#[test]
fn damaged_manifests_are_listed_with_their_fault() {
    let (_dir, state) = state();
    for (fault, words) in [
        ("", "damaged"),
        ("{\"schema\":1}", "damaged"),
        ("gone", "partial"),
        ("loop", "cannot read MANIFEST.json"),
        ("schema", "another version"),
        ("outside", "names a file outside"),
        ("renamed", "renamed"),
    ] {
        let checkpoint = make(&state, None);
        let path = checkpoint.path.join(MANIFEST);
        let good = checkpoint.manifest.unwrap();
        match fault {
            "gone" => fs::remove_file(&path).unwrap(),
            "loop" => {
                fs::remove_file(&path).unwrap();
                std::os::unix::fs::symlink(&path, &path).unwrap();
            }
            "schema" | "outside" | "renamed" => {
                let mut text = serde_json::to_value(&good).unwrap();
                match fault {
                    "schema" => text["schema"] = "lastgood.checkpoint/9".into(),
                    "renamed" => text["id"] = "another".into(),
                    _ => {
                        text["services"] = serde_json::json!([{
                            "id": "shop/api", "runtime": "compose", "log": null, "release": {},
                            "files": [{"path": "/x", "file": "../../x", "sha256": "", "mode": 0}],
                            "pinned": null, "health": null,
                        }]);
                    }
                }
                fs::write(&path, text.to_string()).unwrap();
            }
            text => fs::write(&path, text).unwrap(),
        }
        let listed = list(&state).unwrap();
        let found = listed.iter().find(|c| c.id == good.id).unwrap();
        let cause = found.manifest.as_ref().unwrap_err();
        assert!(cause.why().as_str().contains(words), "{fault}: {cause}");
        let is_partial = matches!(cause, NoManifest::Partial(_));
        assert_eq!(is_partial, fault == "gone", "{fault}: {cause}");
        assert_eq!(verify_files(found).problems(), [cause.why().clone()]);
    }
}

#[test]
fn one_that_cannot_be_looked_at_is_listed() {
    let (_dir, state) = state();
    let good = make(&state, None);
    let path = state.checkpoints().join("loop");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    fs::write(state.checkpoints().join("a file"), "").unwrap();
    let listed = list(&state).unwrap();
    let ids: Vec<&str> = listed.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, [good.id.as_str(), "loop"]);
    let why = listed[1].manifest.as_ref().unwrap_err();
    assert!(matches!(why, NoManifest::Unread(_)), "{why}");
}

#[test]
fn an_export_is_the_same_folder() {
    let (dir, state) = state();
    let checkpoint = make(&state, None);
    for (name, flag) in [("x.tar.gz", "-xzf"), ("x.tar.zst", "-xf")] {
        let to = dir.path().join(name);
        let size = export(&checkpoint, &to, None).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().len(), size);
        assert!(matches!(
            export(&checkpoint, &to, None),
            Err(ArchiveError::Exists(_))
        ));
        if name.ends_with("zst") {
            let tar = zstd::decode_all(fs::File::open(&to).unwrap()).unwrap();
            fs::write(&to, tar).unwrap();
        }
        let into = dir.path().join(format!("{name}.d"));
        fs::create_dir(&into).unwrap();
        let tar = Command::new("tar")
            .arg(flag)
            .arg(&to)
            .arg("-C")
            .arg(&into)
            .status();
        assert!(tar.unwrap().success());
        let diff = Command::new("diff")
            .arg("-r")
            .arg(&checkpoint.path)
            .arg(into.join(&checkpoint.id))
            .status();
        assert!(diff.unwrap().success());
    }
    let error = export(&checkpoint, &dir.path().join("x.zip"), None).unwrap_err();
    assert!(error.to_string().contains(".tar.gz"), "{error}");
}

#[test]
fn an_export_goes_through_the_command_that_encrypts_it_or_is_not_there() {
    let (dir, state) = state();
    let checkpoint = make(&state, None);
    let before = fs::read_dir(dir.path()).unwrap().count();
    let to = dir.path().join("x.tar.zst.enc");
    let error = export(
        &checkpoint,
        &to,
        Some("cat >/dev/null; echo no key >&2; exit 3"),
    );
    let text = error.unwrap_err().to_string();
    assert!(text.contains("no key") && text.contains("3"), "{text}");
    let early = export(&checkpoint, &to, Some("exit 0")).unwrap_err();
    assert!(matches!(
        early,
        ArchiveError::NotEncrypted { .. } | ArchiveError::Store(_)
    ));
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, before, "nothing is left behind");
    // A program's own ending may follow, and only with a program.
    assert!(export(&checkpoint, &to, None).is_err());
    export(&checkpoint, &to, Some("gzip -c")).unwrap();
    let mode = fs::metadata(&to).unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
}
