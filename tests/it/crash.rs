//! Killed at any point of its writing, a checkpoint is whole or it is no checkpoint.

use crate::checkpoint::one_container;
use crate::harness::{Run, Sandbox, missing};
use serde_json::Value;
use std::process::Command;

#[test]
fn a_checkpoint_killed_at_any_write_is_whole_or_partial() {
    if missing(&["docker", "busybox", "strace"]) {
        return;
    }
    let sandbox = Sandbox::new("crash");
    let (_docker, service) = one_container("crash-checkpoint", "seq 1 200; sleep 600");
    let binary = sandbox
        .command(&[])
        .get_program()
        .to_str()
        .unwrap()
        .to_string();
    let mut killed = 0;
    for point in 1..200 {
        let mut command = Command::new("strace");
        sandbox.surround(&mut command);
        // The calls that make bytes lasting, and the rename that makes a checkpoint one.
        let calls = "fsync,fdatasync,rename,renameat,renameat2,linkat,mkdir,mkdirat";
        command
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={calls}"),
                "-e",
                &format!("inject={calls}:signal=KILL:when={point}"),
            ])
            .arg(&binary)
            .args([
                "checkpoint",
                "create",
                &service,
                "--label",
                &format!("at-{point}"),
            ]);
        let run = Run::of(command);
        if run.code == 0 {
            break;
        }
        assert_eq!(run.code, 137, "killed at call {point}, not failed: {run}");
        killed += 1;
        is_whole(&sandbox, point);
    }
    assert!(
        killed >= 5,
        "killed at {killed} points only: were the calls traced?"
    );
    // What was left behind stands in nobody's way.
    sandbox.run(&["checkpoint", "create", &service]).exits(0);
    sandbox.run(&["audit", "verify"]).exits(0);
}

fn is_whole(sandbox: &Sandbox, point: usize) {
    let listed = sandbox
        .run(&["checkpoint", "list", "--format", "json"])
        .exits(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    for checkpoint in listed["checkpoints"].as_array().into_iter().flatten() {
        if checkpoint["complete"] == true {
            let id = checkpoint["id"].as_str().unwrap();
            let run = sandbox.run(&["checkpoint", "verify", id]);
            assert_eq!(run.code, 0, "after a kill at call {point}: {run}");
        }
    }
}
