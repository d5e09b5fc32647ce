//! Preflight of the machine below the services: daemons, disks, inodes; and that every check has a test that plants its fault.

use crate::compose_story::list;
use crate::harness::{Sandbox, Tmpfs, missing};
use crate::preflight::{found, without_the_disk};
use std::fs;

#[test]
fn a_daemon_that_does_not_answer_is_found() {
    let sandbox =
        Sandbox::new("predaemon").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    without_the_disk(&sandbox);
    let document = sandbox.json(3, "preflight", &["preflight"]);
    let wanted = [("reachable".to_owned(), "warning".to_owned())];
    assert_eq!(found(&document), wanted, "{document:#}");
}

#[test]
fn a_full_disk_and_one_without_inodes_are_found_and_only_that() {
    if missing(&["root"]) {
        return;
    }
    let sandbox = Sandbox::new("predisk");
    // A service without a fault, whose folder and state lie on the small disk.
    let disk = Tmpfs::mount(sandbox.path("small"), "size=64m,nr_inodes=2000");
    let state = disk.0.join("state");
    let look = || {
        let state = state.to_str().unwrap();
        let run = sandbox.run(&["--state-dir", state, "preflight", "--format", "json"]);
        let document = run.json("preflight");
        let here = disk.0.to_str().unwrap();
        let of_disk = list(&document["checks"]).iter().filter(|check| {
            let detail = check["detail"].as_str().unwrap();
            detail.starts_with(&format!("{here}: "))
        });
        let found: Vec<(String, String)> = of_disk
            .map(|check| {
                let text = |name: &str| check[name].as_str().unwrap().to_owned();
                (text("name"), text("grade"))
            })
            .collect();
        (found, document)
    };
    let is = |disk: &str, inodes: &str| {
        let (found, document) = look();
        let wanted = [("disk", disk), ("inodes", inodes)];
        let wanted = wanted.map(|(name, grade)| (name.to_owned(), grade.to_owned()));
        assert_eq!(found, wanted, "{document:#}");
        document
    };
    is("ok", "ok");
    let file = disk.0.join("big");
    fs::write(&file, vec![b'x'; 57 << 20]).unwrap();
    is("warning", "ok");
    fs::write(&file, vec![b'x'; 62 << 20]).unwrap();
    let document = is("critical", "ok");
    let found = list(&document["checks"]);
    let full = found
        .iter()
        .find(|check| check["grade"] == "critical")
        .unwrap();
    assert!(
        full["fix"].as_str().unwrap().contains("make room"),
        "{full:#}"
    );
    fs::remove_file(&file).unwrap();
    for number in 0..1_920 {
        fs::write(disk.0.join(format!("small-{number}")), "").unwrap();
    }
    is("ok", "critical");
    for number in 0..1_920 {
        fs::remove_file(disk.0.join(format!("small-{number}"))).unwrap();
    }
    is("ok", "ok");
}

/// Each check of the product, and the test that plants its fault.
#[test]
fn every_check_has_a_fault_that_it_finds() {
    let planted = [
        ("reachable", "a_daemon_that_does_not_answer_is_found"),
        ("crash-loop", "a_crash_loop_is_critical"),
        ("health", "each_fault_of_a_container_is_found_and_only_that"),
        (
            "certificate",
            "a_certificate_that_ends_soon_degrades_and_holds_nothing_back",
        ),
        (
            "restart-policy",
            "each_fault_of_a_container_is_found_and_only_that",
        ),
        (
            "image-tag",
            "each_fault_of_a_container_is_found_and_only_that",
        ),
        (
            "log-driver",
            "each_fault_of_a_container_is_found_and_only_that",
        ),
        (
            "log-size",
            "each_fault_of_a_container_is_found_and_only_that",
        ),
        (
            "pm2-restarts",
            "settings_of_pm2_that_hide_a_crash_loop_are_found",
        ),
        (
            "ecosystem",
            "settings_of_pm2_that_hide_a_crash_loop_are_found",
        ),
        (
            "artifacts",
            "each_fault_of_files_is_found_and_fixed_by_a_plan",
        ),
        (
            "secret-files",
            "each_fault_of_files_is_found_and_fixed_by_a_plan",
        ),
        (
            "monitoring",
            "each_fault_of_files_is_found_and_fixed_by_a_plan",
        ),
        ("drift", "each_fault_of_a_container_is_found_and_only_that"),
        (
            "migrations",
            "migrations_and_backups_are_held_against_the_configuration",
        ),
        (
            "pinned-image",
            "each_fault_of_a_container_is_found_and_only_that",
        ),
        (
            "backup",
            "migrations_and_backups_are_held_against_the_configuration",
        ),
        ("restore-test", "freshness_and_proof_show_in_preflight"),
        (
            "disk",
            "a_full_disk_and_one_without_inodes_are_found_and_only_that",
        ),
        (
            "inodes",
            "a_full_disk_and_one_without_inodes_are_found_and_only_that",
        ),
    ];
    let names = lastgood::analysis::preflight::CHECKS
        .iter()
        .map(|(name, _)| *name);
    assert!(
        names.eq(planted.iter().map(|(name, _)| *name)),
        "a check without a planted fault"
    );
    let here = [
        include_str!("preflight.rs"),
        include_str!("preflight_machine.rs"),
        include_str!("backup_files.rs"),
        include_str!("certificates.rs"),
    ]
    .concat();
    for (check, test) in planted {
        let from = here
            .find(&format!("fn {test}()"))
            .unwrap_or_else(|| panic!("no test {test}"));
        let body = &here[from..];
        let body = &body[..body.find("\n}\n").unwrap()];
        assert!(
            body.contains(&format!("\"{check}\"")),
            "{test} plants no fault for {check}"
        );
    }
}
