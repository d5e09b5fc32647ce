#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn plan() -> Plan {
    Plan {
        steps: Vec::new(),
        budget_ms: 1000,
        ..crate::domain::operation::tests::plan()
    }
    .seal()
}

fn actor() -> Actor {
    Actor {
        user: "anna".into(),
        uid: 1000,
        via: "cli".into(),
        from: None,
    }
}

fn audit() -> (tempfile::TempDir, Audit) {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::of(&StateDir::at(dir.path().join("state")));
    (dir, audit)
}

fn write(audit: &Audit, operations: usize) {
    for _ in 0..operations {
        let permit = audit.begin(&plan(), &actor(), Access::Full).unwrap();
        audit.finish(permit, OutcomeKind::Verified).unwrap();
    }
}

fn only_file(audit: &Audit) -> PathBuf {
    let files = audit.files().unwrap();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

#[test]
fn an_operation_leaves_an_intent_and_an_outcome() {
    let (_dir, audit) = audit();
    write(&audit, 1);
    let records = audit.list().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].phase, AuditPhase::Intent);
    assert_eq!(records[0].prev, GENESIS);
    assert_eq!(records[0].plan_hash, plan().hash);
    assert_eq!(records[1].phase, AuditPhase::Outcome);
    assert_eq!(records[1].outcome.as_ref().unwrap().as_str(), "verified");
    assert_eq!(records[1].prev, records[0].hash);
    assert_eq!(records[0].run, records[1].run);
    let head = audit.verify(None).unwrap();
    assert_eq!((head.records, head.hash), (2, records[1].hash.clone()));
}

#[test]
fn an_empty_log_agrees_with_itself() {
    let (_dir, audit) = audit();
    assert_eq!(audit.verify(None).unwrap().records, 0);
    assert!(audit.list().unwrap().is_empty());
}

#[test]
fn a_read_only_session_gets_no_permit_and_a_record() {
    let (_dir, audit) = audit();
    let error = audit
        .begin(&plan(), &actor(), Access::ReadOnly)
        .unwrap_err();
    assert!(matches!(error, AuditError::Denied { .. }), "{error}");
    let records = audit.list().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].phase, AuditPhase::Denied);
    assert_eq!(
        records[0].outcome.as_ref().unwrap().as_str(),
        "this session is read-only"
    );
    audit.verify(None).unwrap();
}

#[test]
fn every_single_edited_byte_is_found() {
    let (_dir, audit) = audit();
    write(&audit, 1);
    let path = only_file(&audit);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let verified = audit.verify(None);
        // Without its break the last line looks cut off by a crash: then its record is not counted.
        let is_found = verified.is_err() || verified.is_ok_and(|head| head.records != 2);
        assert!(is_found, "byte {at}");
    }
}

#[test]
fn an_edited_record_is_named_with_file_and_line() {
    let (_dir, audit) = audit();
    write(&audit, 3);
    let path = only_file(&audit);
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[3] = lines[3].replace("backend", "backenx");
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let error = audit.verify(None).unwrap_err().to_string();
    assert!(error.contains(&format!("{}:4", path.display())), "{error}");
    assert!(error.contains("edited"), "{error}");
}

#[test]
fn a_dropped_and_a_moved_record_are_found() {
    let (_dir, audit) = audit();
    write(&audit, 2);
    let path = only_file(&audit);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (order, line) in [
        (vec![0, 2, 3], 2),
        (vec![1, 2, 3], 1),
        (vec![0, 2, 1, 3], 2),
        (vec![0, 0, 1, 2, 3], 2),
    ] {
        let changed: String = order.iter().map(|i| format!("{}\n", lines[*i])).collect();
        fs::write(&path, changed).unwrap();
        let error = audit.verify(None).unwrap_err().to_string();
        assert!(error.contains(&format!(":{line}:")), "{order:?}: {error}");
    }
}

#[test]
fn a_record_forged_with_its_own_hash_breaks_the_next_link() {
    let (_dir, audit) = audit();
    write(&audit, 2);
    let path = only_file(&audit);
    let mut records = audit.list().unwrap();
    records[1].actor.user = "boris".into();
    let mut text = Vec::new();
    for record in records {
        // Only the second line is sealed anew; the others come out as they were.
        text.extend_from_slice(&chain::seal(record).0);
    }
    fs::write(&path, text).unwrap();
    let error = audit.verify(None).unwrap_err().to_string();
    assert!(
        error.contains(":3:") && error.contains("does not continue"),
        "{error}"
    );
}

#[test]
fn a_cut_tail_is_found_by_an_anchor() {
    let (_dir, audit) = audit();
    write(&audit, 2);
    let head = audit.verify(None).unwrap().hash;
    audit.verify(Some(&head)).unwrap();
    write(&audit, 1);
    audit.verify(Some(&head)).unwrap();
    let path = only_file(&audit);
    let text = fs::read_to_string(&path).unwrap();
    let cut: String = text.lines().take(2).map(|l| format!("{l}\n")).collect();
    fs::write(&path, cut).unwrap();
    audit.verify(None).unwrap();
    let error = audit.verify(Some(&head)).unwrap_err();
    assert!(matches!(error, AuditError::AnchorMissing(_)), "{error}");
}

#[test]
fn a_line_cut_off_by_a_crash_is_reported_and_set_aside_by_the_next_record() {
    let (_dir, audit) = audit();
    write(&audit, 1);
    let path = only_file(&audit);
    let good = fs::read(&path).unwrap();
    for cut in [1, 20, 200] {
        let mut torn = good.clone();
        torn.extend_from_slice(&good[..cut]);
        fs::write(&path, &torn).unwrap();
        let head = audit.verify(None).unwrap();
        assert_eq!(head.records, 2);
        assert!(head.torn.unwrap().as_str().ends_with(".jsonl:3"));
        assert_eq!(audit.list().unwrap().len(), 2);
    }
    write(&audit, 1);
    let head = audit.verify(None).unwrap();
    assert_eq!((head.records, head.torn), (4, None));
    let aside = fs::read_dir(audit.state.audit())
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| {
            p.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("torn-")
        })
        .unwrap();
    assert_eq!(fs::read(aside).unwrap(), good[..200]);
}

#[test]
fn the_chain_goes_on_over_files_compressed_ones_included() {
    let (_dir, audit) = audit();
    write(&audit, 2);
    let path = only_file(&audit);
    let old = path.with_file_name("2020-01-01.jsonl.zst");
    let text = fs::read(&path).unwrap();
    fs::write(&old, zstd::encode_all(text.as_slice(), 1).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    write(&audit, 1);
    assert_eq!(audit.files().unwrap().len(), 2);
    assert_eq!(audit.verify(None).unwrap().records, 6);
    fs::remove_file(&old).unwrap();
    let error = audit.verify(None).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_damaged_last_record_does_not_forbid_the_next_and_stays_visible() {
    let (_dir, audit) = audit();
    write(&audit, 1);
    let path = only_file(&audit);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("nonsense\n");
    fs::write(&path, text).unwrap();
    write(&audit, 1);
    let error = audit.verify(None).unwrap_err().to_string();
    assert!(error.contains(":3:"), "{error}");
}

#[test]
fn writers_of_several_processes_keep_one_chain() {
    let (_dir, audit) = audit();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| write(&audit, 5));
        }
    });
    assert_eq!(audit.verify(None).unwrap().records, 40);
}
