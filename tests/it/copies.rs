//! What a checkpoint can be kept as besides itself: copies of its images, and an export that only a key opens.

use crate::compose_story::{GOOD, list};
use crate::harness::{Project, Sandbox, missing};
use std::fs;
use std::path::Path;
use std::process::Command;

fn configure(sandbox: &Sandbox, text: &str) {
    fs::write(sandbox.path("config/lastgood/config.toml"), text).unwrap();
}

#[test]
fn an_image_that_was_pruned_comes_back_from_its_copy() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("copies");
    configure(&sandbox, "[checkpoint]\nsave_images = true\n");
    let mut project = Project::of_one(&sandbox, "copies");
    let good = project.image(GOOD);
    project.up();
    let service = project.service("backend");
    let made = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let copy = made["services"][0]["image_copy"].as_str().unwrap();
    assert!(
        Path::new(made["path"].as_str().unwrap())
            .join(copy)
            .is_file()
    );
    sandbox.run(&["checkpoint", "verify", "--all"]).exits(0);

    project.image("echo the new release; sleep 600");
    project.up();
    // As `docker image prune -a` would: the pin and every other name are gone.
    project.docker.must(&["rmi", "-f", &good]);
    let gone = project
        .docker
        .run(&["image", "inspect", "-f", "{{.Id}}", &good]);
    assert_eq!(gone, "", "the image is gone");
    sandbox.run(&["checkpoint", "verify", "--all"]).exits(0);
    let plan = sandbox.json(0, "plan", &["roll-back", &service, "--dry-run"]);
    assert!(
        plan["notes"].to_string().contains("copy of it is loaded"),
        "{plan:#}"
    );
    let steps = plan["steps"].to_string();
    assert!(steps.contains("POST /images/load"), "{plan:#}");
    let words = ["roll-back", &service, "--yes", "--confirm", "backend"];
    let outcome = sandbox.json(0, "outcome", &words);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(project.running_image("backend"), good);
    assert!(outcome["budget_ms"] == 120_000, "{outcome:#}");

    // A copy that was changed is no copy.
    project.image("echo the newest release; sleep 600");
    project.up();
    project.docker.must(&["rmi", "-f", &good]);
    let path = Path::new(made["path"].as_str().unwrap()).join(copy);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    sandbox
        .run(&words)
        .exits(1)
        .says(&["checksums do not agree"]);
}

#[test]
fn an_export_is_opened_by_its_key_only() {
    if missing(&["openssl", "zstd"]) {
        return;
    }
    let sandbox =
        Sandbox::new("encrypted").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let log = sandbox.write("app.log", "the secret line\n");
    let service = format!(
        "[services.\"file/app\"]\nlog_files = [\"{}\"]\n[checkpoint]\n",
        log.display()
    );
    let encrypt = "openssl enc -aes-256-cbc -pbkdf2 -pass pass:right";
    configure(&sandbox, &format!("{service}encrypt = \"{encrypt}\"\n"));
    let made = sandbox.json(0, "checkpoint", &["checkpoint", "create", "file/app"]);
    let id = made["id"].as_str().unwrap();
    let to = sandbox.work().join("x.tar.zst.enc");
    let to = to.to_str().unwrap();
    sandbox.run(&["checkpoint", "export", id, to]).exits(0);
    let open = |key: &str| {
        let script = format!(
            "openssl enc -d -aes-256-cbc -pbkdf2 -pass pass:{key} -in {to} | zstdcat | tar -tf -"
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(open("right").contains("MANIFEST.json"));
    assert!(!open("wrong").contains("MANIFEST.json"));

    configure(&sandbox, &format!("{service}encrypt = \"false\"\n"));
    let other = sandbox.work().join("y.tar.zst");
    sandbox
        .run(&["checkpoint", "export", id, other.to_str().unwrap()])
        .exits(4)
        .says(&["`false` did not encrypt it"]);
    assert!(!other.exists());
    assert_eq!(list(&made["services"]).len(), 1);
}
